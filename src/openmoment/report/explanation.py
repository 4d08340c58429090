"""How test-time adaptation came to its answer, as a page to look at.

Per video: how like each query the video is; per query that was looked for, its scores before and
after adaptation, the frames that were drawn as positives and negatives, and every region with
what became of it.
"""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path, PurePath

import numpy as np
from jaxtyping import Float
from numpy import ndarray as Array

from openmoment.errors import OpenMomentError
from openmoment.figures.timeline import colour_of, downsample
from openmoment.methods.t3al import Adaptation, Explanation
from openmoment.report.document import document
from openmoment.report.thumbnails import Pictures, to_address
from openmoment.storage.atomic import write_text
from openmoment.types import SnippetGrid, clock
from openmoment.version import __version__

_POINTS = 1000
_WIDTH, _HEIGHT = 1000, 100
_SHORT_SIDE = 96
_FOOT = (
    "<footer>After Liberatori et al., Test-Time Zero-Shot Temporal Action Localization, CVPR 2024. "
    f"Written by OpenMoment {__version__}.</footer>\n"
)
_STYLE = """
h3 { font-size: 1rem; margin: 1.5rem 0 0.25rem; }
.soft { color: var(--soft); font-size: 0.8125rem; }
.likeness { display: grid; grid-template-columns: 12rem 1fr 3rem; gap: 0.25rem 0.75rem;
  font-size: 0.8125rem; align-items: center; font-variant-numeric: tabular-nums; }
.likeness i { display: block; height: 1rem; border-radius: 3px; background: #8a929c; }
.likeness i.first { background: #3778c8; }
.curves { position: relative; height: 9rem; border: 1px solid var(--line); border-radius: 6px;
  background: var(--sheet); overflow: hidden; }
.curves svg { position: absolute; inset: 0; width: 100%; height: 100%; }
.curves path { fill: none; stroke-width: 1.5px; vector-effect: non-scaling-stroke; }
.curves .before { stroke: #8a929c; stroke-dasharray: 4 3; }
.curves .after { stroke: var(--colour); }
.curves rect { fill: var(--colour); opacity: 0.22; }
.curves rect.gone { fill: none; stroke: #c2478f; stroke-dasharray: 5 4; opacity: 1;
  vector-effect: non-scaling-stroke; }
.drawn { display: flex; flex-wrap: wrap; gap: 0.5rem; margin: 0.5rem 0; }
.drawn figure { margin: 0; font-size: 0.75rem; color: var(--soft); text-align: center; }
.drawn img { display: block; height: 4rem; border-radius: 4px; border: 3px solid #2f9166; }
.drawn .negative img { border-color: #8a929c; }
table.regions { max-width: 48rem; }
.regions th:last-child { text-align: left; }
"""


def write_explanation(
    found: Mapping[str, tuple[Explanation, SnippetGrid]],
    path: Path,
    *,
    pictures: Pictures | None = None,
) -> None:
    """Write a page about the explanations of one or several videos, by path.

    A video that cannot be read is explained without pictures. Raises OpenMomentError where the
    page cannot be written.
    """
    body = "".join(
        _section(video, explanation, grid, pictures) for video, (explanation, grid) in found.items()
    )
    write_text(document("Explanation", body, foot=_FOOT, style=_STYLE), path)


def _section(
    video: str, explanation: Explanation, grid: SnippetGrid, pictures: Pictures | None
) -> str:
    names: tuple[str, ...] = explanation.detections.names
    parts = [f"<section>\n<h1>{escape(PurePath(video).name)}</h1>\n"]
    parts.append(_likeness(names, explanation.likeness))
    for adaptation in explanation.adaptations:
        parts.append(_adaptation(video, names[adaptation.label], adaptation, grid, pictures))
    if not explanation.adaptations:
        parts.append('<p class="note">No query seems to occur: nothing was adapted.</p>\n')
    return "".join(parts) + "</section>\n"


def _likeness(names: Sequence[str], likeness: Float[Array, " k"]) -> str:
    order: list[int] = np.argsort(-likeness, kind="stable").tolist()
    low, high = min(float(likeness.min()), 0.0), max(float(likeness.max()), 1e-9)
    rows = "".join(
        f'<bdi>{escape(names[i])}</bdi><i class="{"first" if i == order[0] else ""}" '
        f'style="width:{max(float(likeness[i]) - low, 0) / (high - low):.1%}"></i>'
        f"<span>{likeness[i]:.3f}</span>"
        for i in order
    )
    return (
        "<h3>What the whole video is like</h3>\n"
        '<p class="soft">Cosine of each query with the mean of all frames.</p>\n'
        f'<div class="likeness">{rows}</div>\n'
    )


def _adaptation(
    video: str, name: str, adaptation: Adaptation, grid: SnippetGrid, pictures: Pictures | None
) -> str:
    losses = adaptation.losses
    told = "Not adapted."
    if losses:
        told = f"{len(losses)} steps; the loss went from {losses[0]:.4f} to {losses[-1]:.4f}."
    return (
        f'<h3 style="color:{colour_of(adaptation.label)}"><bdi>{escape(name)}</bdi></h3>\n'
        f'<p class="soft">{told} Dashed: scores before; line: after. Filled: regions that stay; '
        "outlined: suppressed.</p>\n"
        f"{_curves(adaptation, grid)}"
        f"{_drawn(video, adaptation, grid, pictures)}"
        f"{_regions(adaptation)}"
    )


def _curves(adaptation: Adaptation, grid: SnippetGrid) -> str:
    start_s, length_s = grid.start_s, grid.end_s - grid.start_s
    bars = ""
    for region in adaptation.regions:
        left, right = ((t - start_s) / length_s * _WIDTH for t in region.segment)
        kind = "" if region.is_kept else ' class="gone"'
        bars += f'<rect{kind} x="{left:.1f}" y="0" width="{right - left:.1f}" height="{_HEIGHT}"/>'
    paths = "".join(
        f'<path class="{kind}" d="{_path(scores, grid)}"/>'
        for kind, scores in (("before", adaptation.before), ("after", adaptation.after))
    )
    return (
        f'<div class="curves" style="--colour:{colour_of(adaptation.label)}">'
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" preserveAspectRatio="none" role="img" '
        f'aria-label="Scores over time">{bars}{paths}</svg></div>\n'
    )


def _path(scores: Float[Array, " t"], grid: SnippetGrid) -> str:
    times_s, values = downsample(grid.centres_s, scores, at_most=_POINTS)
    x = (times_s - grid.start_s) / (grid.end_s - grid.start_s) * _WIDTH
    y = (1 - np.clip(values, 0, 1)) * (_HEIGHT - 6) + 3
    return "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in zip(x, y, strict=True))


def _drawn(video: str, adaptation: Adaptation, grid: SnippetGrid, pictures: Pictures | None) -> str:
    """The frames of the last step's positives and negatives."""
    if not len(adaptation.positives):
        return ""
    if pictures is None:
        from openmoment.video import read_pictures as pictures
    figures = ""
    for kind, drawn in (("positive", adaptation.positives), ("negative", adaptation.negatives)):
        times_s = np.unique(grid.centres_s[drawn]).tolist()
        try:
            read = pictures(Path(video), times_s, short_side=_SHORT_SIDE)
        except OpenMomentError:
            read = []
        for time_s, picture in zip(times_s, read, strict=False):
            figures += (
                f'<figure class="{kind}"><img alt="" src="{to_address(picture)}">'
                f"<figcaption>{kind}, {clock(time_s)}</figcaption></figure>"
            )
    return f'<div class="drawn">{figures}</div>\n'


def _regions(adaptation: Adaptation) -> str:
    rows = "".join(
        f"<tr><td>{clock(region.segment[0])}</td><td>{clock(region.segment[1])}</td>"
        f'<td class="score">{region.score:.2f}</td><td class="query">'
        + (
            "stays"
            if region.is_kept
            else f"suppressed: told like {region.support:.0%} of the regions"
        )
        + "</td></tr>\n"
        for region in adaptation.regions
    )
    return (
        '<table class="regions"><thead><tr><th>Start</th><th>End</th><th>Score</th>'
        f"<th>What became of it</th></tr></thead><tbody>\n{rows}</tbody></table>\n"
    )
