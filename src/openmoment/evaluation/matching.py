"""Which predictions cover which instances: what detection mAP and proposal recall share.

Axes: n predictions or instances, p pairs of them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray as Array

from openmoment.errors import FormatError
from openmoment.postprocess import paired_tiou

PAIRS_AT_ONCE = 2_000_000
"""How many tIoUs are held in memory before those below the lowest threshold go."""


@dataclass(frozen=True)
class Columns:
    """Segments of many videos, one a row. ``labels`` below 0 name nothing that is evaluated."""

    videos: Int[Array, " n"]
    labels: Int[Array, " n"]
    segments: Float[Array, "n 2"]

    def __len__(self) -> int:
        return len(self.videos)

    def __getitem__(self, rows: Int[Array, " m"] | Bool[Array, " n"]) -> "Columns":
        return Columns(self.videos[rows], self.labels[rows], self.segments[rows])


@dataclass(frozen=True)
class Pairs:
    """Predictions and instances that overlap, ordered by prediction, its best tIoU first.

    A prediction with equal tIoUs prefers the later instance, as the official evaluator does.
    """

    prediction: Int[Array, " p"]
    instance: Int[Array, " p"]
    tiou: Float[Array, " p"]


def overlapping(
    predicted: Float[Array, "n 2"],
    predicted_group: Int[Array, " n"],
    true: Float[Array, "m 2"],
    true_group: Int[Array, " m"],
    *,
    min_tiou: float,
) -> Pairs:
    """All pairs of one group with a tIoU of at least ``min_tiou``.

    The true segments are ordered by group. Equal segments have 1, even without any length.
    """
    groups, first, size = np.unique(true_group, return_index=True, return_counts=True)
    if len(groups) == 0:
        return Pairs(np.zeros(0, int), np.zeros(0, int), np.zeros(0))
    at = np.minimum(np.searchsorted(groups, predicted_group), len(groups) - 1)
    rows = np.flatnonzero(groups[at] == predicted_group)
    at = at[rows]
    parts = []
    for part in _portions(size[at]):
        counts = size[at[part]]
        prediction = np.repeat(rows[part], counts)
        offset = np.repeat(np.cumsum(counts) - counts - first[at[part]], counts)
        instance = np.arange(len(prediction)) - offset
        a, b = predicted[prediction], true[instance]
        is_equal = (a[:, 0] == b[:, 0]) & (a[:, 1] == b[:, 1])
        tiou = np.where(is_equal, 1.0, paired_tiou(a, b))
        keep = np.flatnonzero(tiou >= min_tiou)
        parts.append((prediction[keep], instance[keep], tiou[keep]))
    prediction, instance, tiou = (np.concatenate(column) for column in zip(*parts, strict=True))
    return _by_preference(prediction, instance, tiou)


def _portions(sizes: Int[Array, " n"]) -> Iterator[slice]:
    """Slices of the rows, with about `PAIRS_AT_ONCE` pairs each; at least one."""
    ends = np.cumsum(sizes)
    num_portions = 1 + (int(ends[-1]) // PAIRS_AT_ONCE if len(ends) else 0)
    cuts = np.searchsorted(ends, np.arange(1, num_portions) * PAIRS_AT_ONCE)
    edges = [0, *cuts.tolist(), len(sizes)]
    return (slice(a, b) for a, b in zip(edges[:-1], edges[1:], strict=True))


def _by_preference(
    prediction: Int[Array, " p"], instance: Int[Array, " p"], tiou: Float[Array, " p"]
) -> Pairs:
    """Only predictions with a choice need sorting, and they are few."""
    same = prediction[1:] == prediction[:-1]
    has_choice = np.concatenate([same, [False]]) | np.concatenate([[False], same])
    rows = np.flatnonzero(has_choice[: len(prediction)])
    order = rows[np.lexsort((-instance[rows], -tiou[rows], prediction[rows]))]
    instance[rows], tiou[rows] = instance[order], tiou[order]
    return Pairs(prediction, instance, tiou)


def matched(
    pairs: Pairs, ranks: Int[Array, " n"], tiou: float, *, num_instances: int, nobody: int
) -> Int[Array, " m"]:
    """For each instance the rank of its true positive at ``tiou``, or ``nobody``.

    The predictions of one group differ in rank; the lowest is the most confident. The official
    rule lets them choose one after the other. All choosing at once gives the same, if who is
    outdone by a more confident one goes on to the next choice: stable matching (Gale and
    Shapley, 1962) has one solution when all instances rank the predictions alike. It takes as
    many rounds as there are disputes in a row, not as many as there are predictions.
    """
    valid = pairs.tiou >= tiou
    prediction, instance = pairs.prediction[valid], pairs.instance[valid]
    rank = ranks[prediction]
    holder = np.full(num_instances, nobody)
    is_new = np.concatenate([[True], prediction[1:] != prediction[:-1], [True]])
    choice, is_last = np.flatnonzero(is_new[:-1]), is_new[1:]
    while len(prediction):
        np.minimum.at(holder, instance[choice], rank[choice])
        is_outdone = holder[instance[choice]] != rank[choice]
        if not is_outdone.any():
            break
        goes_on = ~(is_outdone & is_last[choice])
        choice = choice[goes_on] + is_outdone[goes_on]
    return holder


def refuse_bad(
    segments: Float[Array, "n 2"],
    scores: Float[Array, " n"],
    where: Callable[[int], str],
) -> None:
    """Raise FormatError for the first row whose segment or score cannot be evaluated."""
    is_finite = np.isfinite(segments)
    bad = ~(is_finite[:, 0] & is_finite[:, 1] & (segments[:, 0] <= segments[:, 1]))
    if bad.any():
        row = int(bad.argmax())
        raise FormatError(
            f"{where(row)} has the segment {segments[row].tolist()}: expected finite seconds, "
            "start before end. Correct or remove it."
        )
    if np.isnan(scores).any():
        raise FormatError(f"{where(int(np.isnan(scores).argmax()))} has the score NaN.")
