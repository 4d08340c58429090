"""What is done to detections after a method: suppress, merge, clip, select.

Pure functions of NumPy arrays. Those that rank return the best first, ties in input order. Scores
are taken to be non-negative. Axes: n, m segments, t snippets.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray as Array

from openmoment.types import Detections

Decay = Callable[[Float[Array, " n"], float], Float[Array, " n"]]
"""From the tIoU with the chosen segment and that segment's length in seconds to factors."""


def temporal_iou(a: Float[Array, "n 2"], b: Float[Array, "m 2"]) -> Float[Array, "n m"]:
    """Temporal intersection over union of each segment of ``a`` with each of ``b``.

    Two segments without any length have 0, so that nothing divides by zero.
    """
    return paired_tiou(a[:, None], b[None])


def paired_tiou(
    a: Float[Array, "*#pairs 2"], b: Float[Array, "*#pairs 2"]
) -> Float[Array, "*pairs"]:
    """As `temporal_iou`, of segments that stand at the same place; one may be broadcast."""
    overlap = np.minimum(a[..., 1], b[..., 1]) - np.maximum(a[..., 0], b[..., 0])
    overlap = np.maximum(overlap, 0.0)
    union = (a[..., 1] - a[..., 0]) + (b[..., 1] - b[..., 0]) - overlap
    return np.divide(overlap, union, out=np.zeros_like(overlap), where=union > 0)


# suppression -------------------------------------------------------------------------------


def nms(found: Detections, *, tiou: float, per_label: bool = True) -> Detections:
    """Hard NMS: a detection goes when a better one that stays overlaps it by more than ``tiou``."""
    ranked = _ranked(found)
    kept = [
        group[_unsuppressed(ranked.segments[group], tiou)] for group in _groups(ranked, per_label)
    ]
    return ranked[np.sort(np.concatenate(kept))]


def outermost(found: Detections, *, share: float = 0.5, per_label: bool = True) -> Detections:
    """Without detections that a better one covers, or that cover it, by more than ``share``.

    The share is of the shorter of the two. tIoU lets a short detection inside a long one stand;
    people read it as the same moment twice.
    """
    ranked = _ranked(found)
    kept: list[int] = []
    for group in _groups(ranked, per_label):
        rest = group
        while len(rest):
            best, rest = int(rest[0]), rest[1:]
            kept.append(best)
            start_s, end_s = ranked.segments[best]
            starts, ends = ranked.segments[rest].T
            overlap = np.minimum(ends, end_s) - np.maximum(starts, start_s)
            shorter = np.minimum(ends - starts, end_s - start_s)
            rest = rest[overlap <= share * shorter]
    return ranked[np.sort(np.array(kept, dtype=np.int64))]


def soft_nms(
    found: Detections,
    *,
    sigma: float,
    min_score: float = 0.001,
    max_out: int | None = None,
    per_label: bool = True,
) -> Detections:
    """Gaussian Soft-NMS: each choice multiplies the others' scores by ``exp(-tIoU**2 / sigma)``.

    Stops below ``min_score``, or with ``max_out`` detections over all labels; a score of 0 never
    survives. Source: Bodla et al., ICCV 2017.
    """

    def decay(iou: Float[Array, " n"], _: float) -> Float[Array, " n"]:
        return np.exp(-np.square(iou) / sigma)

    return _soft(found, decay, min_score=min_score, max_out=max_out, per_label=per_label)


def soft_nms_tensorflow(
    found: Detections,
    *,
    sigma: float = 0.3,
    hard_tiou: float | None = None,
    min_score: float = 0.001,
    max_out: int | None = None,
    per_label: bool = True,
) -> Detections:
    """Soft-NMS as in TensorFlow, which UnLoc uses: ``exp(-0.5 * tIoU**2 / sigma)``.

    ``hard_tiou`` gives the form of older releases (theirs: 0.5), which besides suppress what
    overlaps the chosen one by more than that. Otherwise as `soft_nms` with twice the sigma.
    """
    limit = 1.0 if hard_tiou is None else hard_tiou

    def decay(iou: Float[Array, " n"], _: float) -> Float[Array, " n"]:
        return np.where(iou <= limit, np.exp(-0.5 * np.square(iou) / sigma), 0.0)

    return _soft(found, decay, min_score=min_score, max_out=max_out, per_label=per_label)


def soft_nms_bmn(
    found: Detections,
    *,
    duration_s: float,
    alpha: float = 0.4,
    t1: float = 0.5,
    t2: float = 0.9,
    min_score: float = 0.001,
    max_out: int | None = None,
    per_label: bool = True,
) -> Detections:
    """Soft-NMS as in BSN and BMN: the longer the chosen segment, the more overlap it tolerates.

    Only detections with ``tIoU > t1 + (t2 - t1) * width`` decay, by ``exp(-tIoU**2 / alpha)``;
    the width is the chosen segment's share of ``duration_s``. Otherwise as `soft_nms`.
    """

    def decay(iou: Float[Array, " n"], length_s: float) -> Float[Array, " n"]:
        tolerated = t1 + (t2 - t1) * length_s / duration_s
        return np.where(iou > tolerated, np.exp(-np.square(iou) / alpha), 1.0)

    return _soft(found, decay, min_score=min_score, max_out=max_out, per_label=per_label)


def _soft(
    found: Detections, decay: Decay, *, min_score: float, max_out: int | None, per_label: bool
) -> Detections:
    """The choices of each group; those of all groups, if they are more than ``max_out``."""
    limit = len(found) if max_out is None else max_out
    chosen: list[Int[Array, " n"]] = []
    scores: list[Float[Array, " n"]] = []
    for group in _groups(found, per_label):
        local, decayed = _choose(
            found.segments[group], found.scores[group], decay, min_score, limit
        )
        chosen.append(group[local])
        scores.append(decayed)
    return top(replace(found[np.concatenate(chosen)], scores=np.concatenate(scores)), limit)


def _choose(
    segments: Float[Array, "n 2"],
    scores: Float[Array, " n"],
    decay: Decay,
    min_score: float,
    limit: int,
) -> tuple[Int[Array, " m"], Float[Array, " m"]]:
    """Take the best, let the others decay, repeat; what was taken has score 0."""
    left = np.where(scores >= min_score, scores, 0.0)
    chosen = np.zeros(min(limit, len(scores)), dtype=np.int64)
    decayed = np.zeros(len(chosen), dtype=scores.dtype)
    for i in range(len(chosen)):
        best = int(left.argmax())
        if left[best] <= 0 or left[best] < min_score:
            return chosen[:i], decayed[:i]
        chosen[i], decayed[i], left[best] = best, left[best], 0.0
        length_s = float(segments[best, 1] - segments[best, 0])
        left *= decay(paired_tiou(segments[best], segments), length_s)
    return chosen, decayed


def _unsuppressed(segments: Float[Array, "n 2"], tiou: float) -> Int[Array, " m"]:
    """The segments, given best first, that no better one suppresses."""
    kept: list[int] = []
    rest = np.arange(len(segments))
    while len(rest):
        best, rest = int(rest[0]), rest[1:]
        kept.append(best)
        rest = rest[paired_tiou(segments[best], segments[rest]) <= tiou]
    return np.array(kept, dtype=np.int64)


# merging and selecting ---------------------------------------------------------------------


def merge(found: Detections, *, max_gap_s: float, per_label: bool = True) -> Detections:
    """Join detections that overlap or lie at most ``max_gap_s`` apart; the best score stands.

    Without ``per_label`` those of different labels are joined too, under the label of the best.
    """
    merged: list[Detections] = [
        _merge_group(found[g], max_gap_s) for g in _groups(found, per_label)
    ]
    return _ranked(
        replace(
            found,
            segments=np.concatenate([part.segments for part in merged]),
            scores=np.concatenate([part.scores for part in merged]),
            labels=np.concatenate([part.labels for part in merged]),
        )
    )


def _merge_group(found: Detections, max_gap_s: float) -> Detections:
    if len(found) == 0:
        return found
    found = found.by_time()
    starts, ends = found.segments[:, 0], found.segments[:, 1]
    reach = np.maximum.accumulate(ends)
    is_first = np.concatenate([[True], starts[1:] > reach[:-1] + max_gap_s])
    first = np.flatnonzero(is_first)
    best_first = np.lexsort((-found.scores, np.cumsum(is_first)))
    segments = np.stack([starts[first], np.maximum.reduceat(ends, first)], axis=1)
    return replace(found[best_first[first]], segments=segments)


def clip_to(found: Detections, duration_s: float) -> Detections:
    """The parts of the detections that lie in ``[0, duration_s]``; empty ones are dropped."""
    segments = np.clip(found.segments, 0.0, duration_s)
    return replace(found, segments=segments)[segments[:, 1] > segments[:, 0]]


def top(found: Detections, n: int) -> Detections:
    """The ``n`` best detections over all labels."""
    return found[np.argsort(-found.scores, kind="stable")[:n]]


def _ranked(found: Detections) -> Detections:
    return top(found, len(found))


def _groups(found: Detections, per_label: bool) -> list[Int[Array, " n"]]:
    """The positions of each label, in input order; those of all when labels do not matter."""
    if not per_label:
        return [np.arange(len(found))]
    order = np.argsort(found.labels, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(found.labels[order])) + 1)


# what is there at a time -------------------------------------------------------------------


def cover(
    found: Detections, times_s: Float[Array, " t"]
) -> tuple[Int[Array, " t"], Float[Array, " t"]]:
    """The label and the score of the best detection at each time, -1 and 0 where there is none.

    A detection is there from its start up to, and not at, its end.
    """
    labels, scores = np.full(len(times_s), -1), np.zeros(len(times_s))
    for i in np.argsort(found.scores, kind="stable"):  # the best last, over the others
        start_s, end_s = found.segments[i]
        there = (times_s >= start_s) & (times_s < end_s)
        labels[there], scores[there] = found.labels[i], found.scores[i]
    return labels, scores


# runs of snippets --------------------------------------------------------------------------


def runs(mask: Bool[Array, " t"]) -> Int[Array, "n 2"]:
    """The stretches of True, as half-open ``[first, last + 1)``."""
    padded = np.concatenate([[False], mask, [False]])
    return np.flatnonzero(padded[1:] != padded[:-1]).reshape(-1, 2)


def bridge(runs: Int[Array, "n 2"], max_gap: int) -> Int[Array, "m 2"]:
    """Join runs, given in order, that lie at most ``max_gap`` snippets apart."""
    is_gap = runs[1:, 0] - runs[:-1, 1] > max_gap
    first = np.concatenate([[True], is_gap])[: len(runs)]
    last = np.concatenate([is_gap, [True]])[: len(runs)]
    return np.stack([runs[first, 0], runs[last, 1]], axis=1)


EVEN = 0.5
"""The probability that a class has to exceed for a snippet not to be background."""


def label_by_curves(
    curves: Float[Array, "k t"],
) -> tuple[Int[Array, " t"], Float[Array, " t"]]:
    """Each snippet's label and how sure it is: the best class above one half, else background, -1.

    Of equal ones the first. Source: UnLoc, 4.1.1.
    """
    best, score = curves.argmax(axis=0), curves.max(axis=0)
    return np.where(score > EVEN, best, -1), score


NOTHING = 1.0
"""A threshold that no score passes, but one of exactly 1."""


MIN_PRESENCE, SURE, MIN_FIT = 0.4, 0.5, 0.3
"""Of presence and scores that mean the same everywhere: a query of less presence does not occur, or
is unsure; a moment whose score is a smaller share of the presence goes."""


class Decision(NamedTuple):
    """What is said of all that a method ranks. By default everything."""

    min_presence: float = 0.0
    """A query of less presence has no moment."""
    sure: float = 0.0
    """A query of less presence has its best moment alone, as a guess: it is unsure."""
    min_fit: float = 0.0
    """A moment whose score is a smaller share of the presence goes, unless it is the best."""
    min_score: float = 0.0
    """A moment of a lower score goes, whatever else."""


def decide(ranked: Detections, how: Decision) -> Detections:
    """Of ranked moments, best first, those to be said, and which queries are but guessed at."""
    presence = ranked.presence[ranked.labels]
    _, first = np.unique(ranked.labels, return_index=True)
    is_best = np.zeros(len(ranked), dtype=bool)
    is_best[first] = True
    fits = (ranked.scores >= how.min_fit * presence) & (presence >= how.sure)
    is_said = (is_best | fits) & (presence >= how.min_presence) & (ranked.scores >= how.min_score)
    unsure = [
        name
        for name, occurs in zip(ranked.names, ranked.presence, strict=True)
        if how.min_presence <= occurs < how.sure
    ]
    return replace(ranked[is_said], unsure=frozenset(unsure))


def thresholds_of(ranked: Detections, how: Decision) -> dict[str, float]:
    """For each query the score from which on `decide` says its moments: above all where none is."""
    said = decide(ranked, how)
    lowest = dict.fromkeys(ranked.names, NOTHING)
    for moment in said:
        lowest[moment.name] = min(lowest[moment.name], moment.score)
    return lowest
