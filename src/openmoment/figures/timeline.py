"""What the picture and the page share: how long, which ticks, which colours, fewer points."""

import colorsys
import math

import numpy as np
from jaxtyping import Float
from numpy import ndarray as Array

from openmoment.types import Detections, clock

COLOURS = (
    "#3778c8",
    "#d5702a",
    "#2f9166",
    "#c2478f",
    "#8a63d2",
    "#a88414",
    "#2a8fa5",
    "#cf4a4a",
)
"""One for each query, as far as they go: apart from each other, and from white and black alike."""

_GOLDEN = (5**0.5 - 1) / 2  # of the circle of hues, between queries after those
_TONES = ((0.45, 0.55), (0.6, 0.5), (0.38, 0.4))  # lightness and saturation, in turn

_STEPS_S = (
    *(0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0),
    *(60.0, 120.0, 300.0, 600.0, 900.0, 1800.0),
    *(3600.0, 7200.0, 14400.0, 21600.0, 43200.0, 86400.0),
)


def colour_of(label: int) -> str:
    """The colour of the query with that index; no two of the first hundreds share one."""
    if label < len(COLOURS):
        return COLOURS[label]
    hue, (lightness, saturation) = label * _GOLDEN % 1, _TONES[label % len(_TONES)]
    rgb = colorsys.hls_to_rgb(hue, lightness, saturation)
    return "#" + "".join(f"{round(255 * part):02x}" for part in rgb)


def is_strip(found: Detections) -> bool:
    """Whether a video has one query, or none, at any time: then one strip shows them all."""
    return found.origin is not None and found.origin.task == "as"


def length_s(found: Detections) -> float:
    """The video's duration, or where the last moment ends; 0 if nothing tells."""
    ends = [float(found.segments[:, 1].max(initial=0.0))]
    if found.origin:
        ends.append(found.origin.duration_s)
        if found.origin.grid:
            ends.append(found.origin.grid.end_s)
    return max(ends)


def ticks(duration_s: float, *, at_most: int) -> tuple[list[float], list[str]]:
    """Round times from 0 on, at most that many, and their labels ``h:mm:ss``; none for 0 s."""
    if duration_s <= 0:
        return [], []
    step_s = next((s for s in _STEPS_S if duration_s / s <= at_most - 1), _STEPS_S[-1])
    while duration_s / step_s > at_most - 1:
        step_s *= 2
    times_s = [i * step_s for i in range(math.floor(duration_s / step_s + 1e-9) + 1)]
    labels = [clock(time_s) for time_s in times_s]
    return times_s, labels if step_s < 1 else [label[:-2] for label in labels]


def downsample(
    x: Float[Array, " t"], y: Float[Array, " t"], *, at_most: int
) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
    """At most that many of the points, in order: the lowest and highest of each stretch."""
    if len(x) <= at_most:
        return x, y
    stretches = np.array_split(np.arange(len(x)), at_most // 2)
    kept = {int(s[pick]) for s in stretches for pick in (y[s].argmin(), y[s].argmax())}
    chosen = np.array(sorted(kept))
    return x[chosen], y[chosen]


def curve_of(found: Detections, label: int) -> tuple[Float[Array, " n"], Float[Array, " n"]] | None:
    """Times and scores of a query's curve from edge to edge, if the detections have it."""
    origin = found.origin
    if origin is None or origin.grid is None or origin.curves is None:
        return None
    grid, scores = origin.grid, origin.curves[label].astype(np.float64)
    times_s = np.concatenate([[grid.start_s], grid.centres_s, [grid.end_s]])
    return times_s, np.concatenate([scores[:1], scores, scores[-1:]])
