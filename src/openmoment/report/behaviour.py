"""Pictures of behaviour: bouts in time, time budget, transitions, and how two people agree."""

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING

import numpy as np

from openmoment.behaviour.agreement import TIOUS, Agreement
from openmoment.behaviour.bouts import Bouts
from openmoment.behaviour.statistics import Statistics
from openmoment.extras import require
from openmoment.figures.plot import draw_title, known_fonts, lines_of
from openmoment.figures.timeline import colour_of, ticks

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

_WIDTH_IN, _ROW_IN, _GAP_IN, _TALLEST_IN = 11.0, 0.26, 1.2, 100.0
_MOST_CELLS = 15
"""Queries of a transition matrix up to which its numbers can be read."""
_GREY, _DARK = "#8a8f98", "#222222"


def plot_statistics(
    together: Statistics, videos: Mapping[str, Bouts]
) -> "matplotlib.figure.Figure":
    """Every video's bouts in time; the time budget and the transitions of all together.

    Raises MissingExtraError without matplotlib.
    """
    names = together.names
    num_lanes = max(len(names), 1)
    tops = [_ROW_IN * num_lanes * max(len(videos), 1) + _GAP_IN, 0.34 * num_lanes + _GAP_IN + 0.8]
    figure = _figure(tops)
    grid = figure.add_gridspec(2, 2, height_ratios=tops, width_ratios=[1, 1])
    lanes = [
        (_lane_name(video, name, len(videos)), label, bouts.of(name))
        for video, bouts in videos.items()
        for label, name in enumerate(names)
    ]
    duration_s = max((bouts.duration_s for bouts in videos.values()), default=0.0)
    raster = figure.add_subplot(grid[0, :])
    _draw_raster(raster, lanes, duration_s, every=num_lanes)
    draw_title(raster, "When" if len(videos) != 1 else PurePath(next(iter(videos))).name, size=10)
    shares = [(q.query, q.share or 0.0) for q in together.queries]
    _draw_budget(figure.add_subplot(grid[1, 0]), [*shares, ("none of them", together.share_none)])
    _draw_transitions(figure.add_subplot(grid[1, 1]), together)
    return figure


def plot_agreement(
    together: Agreement, pairs: Mapping[str, tuple[Bouts, Bouts]], sides: tuple[str, str]
) -> "matplotlib.figure.Figure":
    """Both annotations in time, and kappa and F1 of each query.

    Raises MissingExtraError without matplotlib.
    """
    names = tuple(query.query for query in together.queries)
    num_lanes = 2 * max(len(names), 1)
    scored = [(q.query, q) for q in together.queries] + [("all together", together.overall)]
    heights = [_ROW_IN * num_lanes * max(len(pairs), 1) + _GAP_IN, 0.5 * len(scored) + _GAP_IN]
    figure = _figure(heights)
    raster, left = figure.subplots(2, 1, height_ratios=heights)
    lanes = [
        (_lane_name(video, name, len(pairs)) + f" · {'AB'[side]}", label, pair[side].of(name))
        for video, pair in pairs.items()
        for label, name in enumerate(names)
        for side in (0, 1)
    ]
    duration_s = max((a.duration_s for a, _ in pairs.values()), default=0.0)
    _draw_raster(raster, lanes, duration_s, every=2)
    draw_title(raster, f"A is {sides[0]}, B is {sides[1]}", size=10)
    bars = {"kappa": [q.kappa for _, q in scored]}
    bars |= {f"F1@{tiou:g}": [q.f1[i] for _, q in scored] for i, tiou in enumerate(TIOUS)}
    _draw_bars(left, [name for name, _ in scored], bars)
    return figure


def _figure(heights_in: Sequence[float]) -> "matplotlib.figure.Figure":
    """One that belongs to no window and no global state."""
    figure_module = require("matplotlib.figure", extra="plot")
    height_in = min(sum(heights_in), _TALLEST_IN)
    figure = figure_module.Figure(figsize=(_WIDTH_IN, height_in), layout="constrained")
    figure.get_layout_engine().set(h_pad=0.12)
    return figure


def _lane_name(video: str, name: str, num_videos: int) -> str:
    """The query, after its video's name where there are several."""
    shown = lines_of(name, 30, at_most=1) or " "
    return f"{lines_of(PurePath(video).stem, 20, at_most=1)}: {shown}" if num_videos > 1 else shown


def _draw_raster(
    axes: "matplotlib.axes.Axes",
    lanes: Sequence[tuple[str, int, np.ndarray]],
    duration_s: float,
    *,
    every: int,
) -> None:
    """One lane for each name, its bouts in the colour of its label; a line after so many lanes."""
    axes.set_xlim(0, duration_s or 1)
    axes.set_ylim(len(lanes) or 1, 0)
    for row, (_, label, segments) in enumerate(lanes):
        spans = [(start_s, end_s - start_s) for start_s, end_s in segments]
        colour = colour_of(label)
        axes.broken_barh(
            spans, (row + 0.15, 0.7), facecolors=colour, edgecolor=colour, linewidth=0.5
        )
    axes.hlines(range(every, len(lanes), every), *axes.get_xlim(), color="#cccccc", linewidth=0.8)
    _name_rows(axes, [name for name, _, _ in lanes])
    times_s, labels = ticks(duration_s, at_most=10)
    axes.set_xticks(times_s, labels, fontsize=8, color="#444444")
    axes.grid(axis="x", color="#ececec", linewidth=0.8)
    _tidy(axes)


def _draw_budget(axes: "matplotlib.axes.Axes", shares: Sequence[tuple[str, float | None]]) -> None:
    """The share of time of each query, and of none."""
    values = [100 * (share or 0.0) for _, share in shares]
    colours = [*(colour_of(label) for label in range(len(shares) - 1)), _GREY]
    rows = np.arange(len(shares)) + 0.5
    axes.barh(rows, values, height=0.62, color=colours)
    for row, value in zip(rows, values, strict=True):
        axes.annotate(
            f"{value:.1f} %",
            (value, row),
            (4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    axes.set_xlim(0, max(values, default=0) * 1.18 or 1)
    axes.set_ylim(len(shares), 0)
    axes.set_xlabel("percent of the time", fontsize=8, color="#444444")
    axes.tick_params(axis="x", labelsize=8)
    _name_rows(axes, [name for name, _ in shares])
    draw_title(axes, "Time budget", size=10)
    _tidy(axes)


def _draw_transitions(axes: "matplotlib.axes.Axes", together: Statistics) -> None:
    """Rows: what ended; columns: what started next, in percent of the row."""
    shares, count = 100 * together.transition_shares, len(together.names)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=100, aspect="auto")
    names = [lines_of(name, 22, at_most=1) or " " for name in together.names]
    style = {"fontsize": 8, "fontfamily": known_fonts(), "parse_math": False}
    axes.set_xticks(range(count), names, rotation=30, ha="right", rotation_mode="anchor", **style)
    axes.set_yticks(range(count), names, **style)
    if count <= _MOST_CELLS:
        for row, column in np.argwhere(together.transitions):
            value = shares[row, column]
            colour = "white" if value > 55 else _DARK
            axes.text(
                column, row, f"{value:.0f}", ha="center", va="center", fontsize=8, color=colour
            )
    axes.tick_params(length=0)
    axes.spines[:].set_color("#cccccc")
    draw_title(axes, "What starts next, in percent of the row", size=10)


def _draw_bars(
    axes: "matplotlib.axes.Axes", names: Sequence[str], values: Mapping[str, Sequence[float | None]]
) -> None:
    """A group of bars for each name; what is not defined has none, and says so."""
    height = 0.8 / len(values)
    for i, (kind, numbers) in enumerate(values.items()):
        rows = np.arange(len(names)) + 0.1 + height * (i + 0.5)
        shown = [number or 0.0 for number in numbers]
        colour = ("#3778c8", "#b9bfc9", "#98a0ac", "#767e8b")[i % 4]
        axes.barh(rows, shown, height=height * 0.9, color=colour, label=kind)
        for row, number in zip(rows, numbers, strict=True):
            text = "not defined" if number is None else f"{number:.2f}"
            place = (max(number or 0.0, 0.0), row)
            axes.annotate(text, place, (4, 0), textcoords="offset points", va="center", fontsize=7)
    lowest = min((n for numbers in values.values() for n in numbers if n is not None), default=0.0)
    axes.set_xlim(min(lowest * 1.1, 0.0), 1.08)
    axes.set_ylim(len(names), 0)
    axes.axvline(0, color="#bbbbbb", linewidth=0.8)
    axes.tick_params(axis="x", labelsize=8)
    _name_rows(axes, names)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=8)
    draw_title(axes, "How far they agree", size=10)
    _tidy(axes)


def _name_rows(axes: "matplotlib.axes.Axes", names: Sequence[str]) -> None:
    axes.set_yticks(
        [row + 0.5 for row in range(len(names))],
        [lines_of(name, 52, at_most=1) or " " for name in names],
        fontsize=8,
        fontfamily=known_fonts(),
        parse_math=False,
    )
    axes.tick_params(axis="y", length=0, pad=6, labelcolor=_DARK)


def _tidy(axes: "matplotlib.axes.Axes") -> None:
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color("#bbbbbb")
