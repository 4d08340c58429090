"""Spans of time that overlap or touch. Axes: n, m segments."""

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray as Array

NOISE_S = 1e-6
"""Times and lengths that differ by no more are equal."""


def merged(segments: Float[Array, "n 2"]) -> tuple[Float[Array, "m 2"], Int[Array, " m"]]:
    """Segments that overlap as one, and the row of the first of each; touching ones stay apart.

    The segments are in order of start.
    """
    if len(segments) == 0:
        return segments, np.zeros(0, dtype=np.int64)
    reached = np.maximum.accumulate(segments[:, 1])
    first = np.flatnonzero(np.append(True, segments[1:, 0] >= reached[:-1] - NOISE_S))
    last = np.append(first[1:], len(reached)) - 1
    return np.stack([segments[first, 0], reached[last]], axis=1), first
