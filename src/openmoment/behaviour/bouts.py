"""Bouts: the stretches of time in which a behaviour goes on.

Axes: n bouts of one query, k queries, m bouts of all.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray as Array

from openmoment.questions.intervals import merged
from openmoment.types import Detections


@dataclass(frozen=True)
class Bouts:
    """One video's bouts of each query, in order of time; no two of one query overlap."""

    names: tuple[str, ...]
    segments: tuple[Float[Array, "_ 2"], ...]
    duration_s: float

    def of(self, name: str) -> Float[Array, "n 2"]:
        """The bouts of a query; none of one that is not among the names."""
        return self.segments[self.names.index(name)] if name in self.names else np.zeros((0, 2))

    def any_of_them(self) -> Float[Array, "m 2"]:
        """The stretches in which at least one query goes on."""
        every = np.concatenate([np.zeros((0, 2)), *self.segments])
        return merged(every[np.argsort(every[:, 0], kind="stable")])[0]


def bouts_of(found: Detections, duration_s: float) -> Bouts:
    """The bouts of a video of that length.

    Moments of one query that overlap are one bout, and moments that only touch are two. What lies
    outside the video is cut off. A moment without any length is a bout of length 0. Queries that
    are unsure or were not understood are left out: nobody knows of those.
    """
    known = [n for n in found.names if n not in found.unsure and n not in found.not_understood]
    found = found if len(known) == len(found.names) else found.of(*known)
    inside = (found.segments[:, 0] <= duration_s) & (found.segments[:, 1] >= 0)
    segments = np.clip(found.segments, 0.0, duration_s)
    order = np.lexsort((segments[:, 1], segments[:, 0]))
    order = order[inside[order]]
    labels = found.labels[order]
    parts = [merged(segments[order[labels == label]])[0] for label in range(len(found.names))]
    return Bouts(found.names, tuple(parts), duration_s)


def transitions_of(bouts: Bouts, names: tuple[str, ...]) -> Int[Array, "k k"]:
    """How often each query, a row, is followed by each, a column.

    A bout is followed by the one, of any query, that starts first of those that start when it ends
    or later; by each of them, where several start at that time. Those that start while it goes on
    do not follow it. A query may follow itself; nothing follows the last.
    """
    parts = [bouts.of(name) for name in names]
    segments = np.concatenate([np.zeros((0, 2)), *parts])
    labels = np.repeat(np.arange(len(names)), [len(part) for part in parts])
    order = np.argsort(segments[:, 0], kind="stable")
    starts = segments[order, 0]
    own_start, end = segments[:, 0], segments[:, 1]
    later = np.maximum(end, np.nextafter(own_start, np.inf))  # nothing follows itself
    first = np.searchsorted(starts, later)
    has_next = np.flatnonzero(first < len(starts))
    stop = np.searchsorted(starts, starts[first[has_next]], side="right")
    counts = np.zeros((len(names), len(names)), dtype=np.int64)
    for row, begin, behind in zip(has_next, first[has_next], stop, strict=True):
        np.add.at(counts[labels[row]], labels[order[begin:behind]], 1)
    return counts
