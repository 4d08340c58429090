"""The picture: one lane for each query, its moments as bars over its score curve; or one strip."""

import warnings
from pathlib import Path, PurePath
from textwrap import wrap
from typing import TYPE_CHECKING

from openmoment.errors import FormatError
from openmoment.extras import require
from openmoment.figures.timeline import (
    colour_of,
    curve_of,
    downsample,
    is_strip,
    length_s,
    ticks,
)
from openmoment.storage.atomic import atomic_write
from openmoment.types import Detections

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

_WIDTH_IN, _LANE_IN, _MARGIN_IN, _TALLEST_IN = 10.0, 0.62, 1.1, 200.0
_LEGEND_COLUMNS = 3
_SEEN = "\u200b"  # no width: a legend leaves out what begins with an underscore
_CURVE, _BAR = (0.06, 0.52), (0.64, 0.26)  # bottom and height, of a lane
_GREY = "#8a8f98"
_FONTS = (
    *("DejaVu Sans", "Noto Sans CJK SC", "Noto Sans CJK JP", "WenQuanYi Zen Hei"),
    *("PingFang SC", "Hiragino Sans", "Microsoft YaHei", "Malgun Gothic"),
)


def plot(found: Detections) -> "matplotlib.figure.Figure":
    """A figure of a video's moments; opacity tells the score, queries not found are grey.

    Action segmentation is one strip, with a legend of what was found. It belongs to no window and
    no global state. Raises MissingExtraError without matplotlib.
    """
    figure_module = require("matplotlib.figure", extra="plot")
    in_strip = is_strip(found)
    num_rows = -(-len(set(found.labels.tolist())) // _LEGEND_COLUMNS) / 2 + 1
    num_rows = num_rows if in_strip else max(len(found.names), 1)
    height_in = min(_MARGIN_IN + _LANE_IN * num_rows, _TALLEST_IN)
    figure = figure_module.Figure(figsize=(_WIDTH_IN, height_in), layout="constrained")
    axes = figure.add_subplot()
    _draw_axis(axes, found)
    if in_strip:
        _draw_strip(axes, found)
        return figure
    _draw_names(axes, found)
    for label in range(len(found.names)):
        _draw_lane(axes, found, label)
    return figure


def save_plot(found: Detections, path: Path) -> None:
    """Write `plot`'s figure. Raises as `save_figure`, MissingExtraError without matplotlib."""
    save_figure(plot(found), path)


def save_figure(figure: "matplotlib.figure.Figure", path: Path) -> None:
    """Write a figure in the format of the extension: png, pdf, svg and so on.

    Raises FormatError for an extension that matplotlib does not know.
    """
    agg = require("matplotlib.backends.backend_agg", extra="plot")
    known = agg.FigureCanvasAgg(figure).get_supported_filetypes()
    if path.suffix.lower().removeprefix(".") not in known:
        raise FormatError(f"{path}: expected a picture, one of {', '.join(sorted(known))}.")
    with atomic_write(path) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # drawn as a box
        figure.savefig(temporary, dpi=150)


def draw_title(axes: "matplotlib.axes.Axes", text: str, *, size: int) -> None:
    """One bold line above the axes, on the left, in fonts that have its letters."""
    axes.set_title(
        lines_of(text, 90, at_most=1),
        loc="left",
        fontsize=size,
        fontweight="bold",
        fontfamily=known_fonts(),
        parse_math=False,
    )


def _draw_axis(axes: "matplotlib.axes.Axes", found: Detections) -> None:
    """Title and time axis."""
    duration_s = length_s(found)
    title = PurePath(found.origin.video).name if found.origin else ""
    draw_title(axes, title, size=11)
    axes.set_xlim(0, duration_s or 1)
    times_s, labels = ticks(duration_s, at_most=10)
    axes.set_xticks(times_s, labels, fontsize=8, color="#444444")
    axes.tick_params(axis="x", color="#bbbbbb")
    axes.grid(axis="x", color="#ececec", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color("#bbbbbb")


def _draw_names(axes: "matplotlib.axes.Axes", found: Detections) -> None:
    """The names of the lanes, the first on top."""
    count = len(found.names)
    axes.set_ylim(count or 1, 0)
    missing = {*found.not_found, *found.not_understood}
    axes.set_yticks(
        [label + 0.5 for label in range(count)],
        [lines_of(name, 30, at_most=2) + _said(name, found) for name in found.names],
        fontsize=9,
        fontfamily=known_fonts(),
        parse_math=False,
    )
    for tick, name in zip(axes.get_yticklabels(), found.names, strict=True):
        tick.set_color(_GREY if name in missing else "#222222")
    axes.tick_params(axis="y", length=0, pad=8)
    axes.hlines(range(1, count), *axes.get_xlim(), color="#dddddd", linewidth=0.8)


def _said(name: str, found: Detections) -> str:
    answer = found.answer_of(name)
    return "" if answer == "found" else f"\n({answer})"


def _draw_strip(axes: "matplotlib.axes.Axes", found: Detections) -> None:
    """Every segment in the colour of its query, background in grey, and a legend below."""
    axes.set_ylim(0, 1)
    axes.set_yticks([])
    axes.broken_barh([axes.get_xlim()], (0.1, 0.8), facecolors="#e8e9ec")
    for label in sorted(set(found.labels.tolist())):
        own = found[found.labels == label]
        spans = [(start_s, end_s - start_s) for start_s, end_s in own.segments]
        name = lines_of(found.names[label], 40, at_most=1) or " "
        axes.broken_barh(spans, (0.1, 0.8), facecolors=colour_of(label), label=_SEEN + name)
    if len(found):
        legend = axes.legend(
            loc="upper left",
            bbox_to_anchor=(0, -0.25),
            ncols=_LEGEND_COLUMNS,
            frameon=False,
            prop={"family": known_fonts(), "size": 9},
        )
        for text in legend.get_texts():
            text.set_parse_math(False)


def _draw_lane(axes: "matplotlib.axes.Axes", found: Detections, label: int) -> None:
    own = found[found.labels == label]
    colour = colour_of(label) if len(own) else _GREY
    floor = label + 1 - _CURVE[0]  # the axis points down
    curve = curve_of(found, label)
    if curve:
        times_s, scores = downsample(*curve, at_most=1500)
        heights = floor - _CURVE[1] * scores
        axes.fill_between(times_s, floor, heights, color=colour, alpha=0.14, linewidth=0)
        axes.plot(times_s, heights, color=colour, linewidth=1.0, solid_joinstyle="round")
        if found.origin and found.origin.occurs_at:
            high = floor - _CURVE[1] * found.origin.occurs_at
            axes.hlines(high, *axes.get_xlim(), color=_GREY, linewidth=0.6, linestyle=(0, (2, 4)))
    if len(own):
        spans = [(start_s, end_s - start_s) for start_s, end_s in own.segments]
        axes.broken_barh(
            spans,
            (label + 1 - sum(_BAR), _BAR[1]),
            facecolors=[(colour, 0.3 + 0.7 * float(score)) for score in own.scores],
            edgecolor=colour,
            linewidth=0.6,
            linestyle="--" if found.names[label] in found.unsure else "-",
        )


def lines_of(text: str, width: int, *, at_most: int) -> str:
    """The text in lines of that many letters, with an ellipsis if it needs more of them."""
    return "\n".join(wrap(text, width, max_lines=at_most, placeholder="…"))


def known_fonts() -> list[str]:
    """Those of our fonts that are here, so that names in most scripts can be drawn."""
    manager = require("matplotlib.font_manager", extra="plot")
    here = {font.name for font in manager.fontManager.ttflist}
    return [font for font in _FONTS if font in here] or ["sans-serif"]
