"""From class probabilities and foreground masks to candidate segments: ConTrans, STALE, B-II.

Every snippet that is sure enough of a class proposes, at each threshold, the stretch of its mask
that it lies in (STALE section 3.3, ConTrans section 4). NumPy; candidates stay in snippets until
`to_detections`. Axes: k classes, t snippets, h thresholds, n candidates.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray as Array

from openmoment.postprocess import runs, soft_nms
from openmoment.types import Detections, SnippetGrid

_STEPS = tuple(round(0.1 + 0.05 * i, 2) for i in range(17))


@dataclass(frozen=True)
class MaskDecoding:
    """How masks become segments. The defaults are for THUMOS14. Raises ValueError."""

    class_threshold: float = 0.01  # a snippet of less class probability proposes nothing
    num_snippets: int = 0  # the best so many propose; 0 is all
    mask_thresholds: tuple[float, ...] = _STEPS
    candidate: Literal["run", "span"] = "run"  # the stretch around the snippet, or first to last
    min_length: float = 1.0  # of a candidate, in snippets
    include_whole_video: bool = False
    label_mode: Literal["snippet", "video"] = "snippet"  # whose class a candidate gets
    cas_candidates: bool = False  # also where a class's own curve exceeds the thresholds
    nms_sigma: float = 0.3  # of Gaussian Soft-NMS
    nms_per_label: bool = True
    max_out: int = 200
    min_score: float = 0.3  # weaker moments are not reported; 0 ranks all

    def __post_init__(self) -> None:
        if not all(0 <= threshold < 1 for threshold in self.mask_thresholds):
            raise ValueError(f"mask_thresholds must lie in [0, 1), got {self.mask_thresholds}")
        if self.nms_sigma <= 0 or self.max_out < 1:
            raise ValueError("nms_sigma and max_out must be positive")


@runtime_checkable
class Suppression(Protocol):
    """What of a way to decode says what is left of candidates."""

    @property
    def nms_sigma(self) -> float: ...
    @property
    def nms_per_label(self) -> bool: ...
    @property
    def max_out(self) -> int: ...
    @property
    def min_score(self) -> float: ...


class Candidates(NamedTuple):
    """Half-open runs of snippets, each with a class and a score in [0, 1]."""

    runs: Int[Array, "n 2"]
    labels: Int[Array, " n"]
    scores: Float[Array, " n"]


def decode(
    probabilities: Float[Array, "k t"],
    masks: Float[Array, "rows t"],
    how: MaskDecoding,
    *,
    confidence: Float[Array, " t"] | None = None,
) -> Candidates:
    """The candidates of one piece of video, each stretch and class once.

    ``probabilities`` of the classes, without background; ``masks`` one row for each snippet, or
    a single row for all. A candidate's score is its snippet's class probability times the
    highest mask inside it, times the mean ``confidence`` there if that is given.
    """
    k, t = probabilities.shape
    chosen, labels, scores = _proposers(probabilities, how)
    rows = np.zeros_like(chosen) if len(masks) == 1 else chosen
    found = [_stretches(masks, rows, chosen, threshold, how) for threshold in how.mask_thresholds]
    if how.include_whole_video:
        found.append(np.broadcast_to(np.array([0, t]), (len(chosen), 2)))
    spans = np.concatenate(found) if found else np.zeros((0, 2), dtype=np.int64)
    source = np.tile(np.arange(len(chosen)), len(found))
    is_long = spans[:, 1] - spans[:, 0] >= max(1.0, min(how.min_length, t))
    spans, source = spans[is_long], source[is_long]
    scores = scores[source] * _highest(masks, spans, rows[source])
    if confidence is not None:
        sums = np.concatenate([[0.0], np.cumsum(confidence)])
        means = (sums[spans[:, 1]] - sums[spans[:, 0]]) / (spans[:, 1] - spans[:, 0])
        scores = scores * np.clip(means, 0, 1)
    by_mask = Candidates(spans, labels[source], scores)
    if not how.cas_candidates:
        return _unique(by_mask)
    own = masks[0] if len(masks) == 1 else np.diagonal(masks)
    return _unique(_join([by_mask, _from_curves(probabilities, own, how)]))


def to_detections(
    pieces: Sequence[tuple[SnippetGrid, Candidates]], names: Sequence[str], how: Suppression
) -> Detections:
    """The candidates of all pieces in seconds, after Soft-NMS over the whole video.

    A query's presence is the best score that it gets anywhere.
    """
    if not pieces:
        return Detections.empty(names)
    scores = np.concatenate([found.scores for _, found in pieces]).astype(np.float64)
    labels = np.concatenate([found.labels for _, found in pieces])
    presence = np.zeros(len(names))
    np.maximum.at(presence, labels, scores)
    found = Detections(
        np.concatenate([grid.runs_to_seconds(found.runs) for grid, found in pieces]),
        scores,
        labels,
        tuple(names),
        presence,
    )
    return soft_nms(
        found,
        sigma=how.nms_sigma,
        min_score=max(how.min_score, 1e-4),
        max_out=how.max_out,
        per_label=how.nms_per_label,
    )


def _proposers(
    probabilities: Float[Array, "k t"], how: MaskDecoding
) -> tuple[Int[Array, " n"], Int[Array, " n"], Float[Array, " n"]]:
    """The snippets that propose, and each one's class and probability."""
    best, labels = probabilities.max(axis=0), probabilities.argmax(axis=0)
    passing = np.flatnonzero(best > how.class_threshold)
    if how.label_mode == "video" and len(passing):
        label = int(probabilities[:, passing].mean(axis=1).argmax())
        labels = np.full_like(labels, label)
        best = probabilities[label]
    order = passing[np.argsort(-best[passing], kind="stable")]
    chosen = np.sort(order[: how.num_snippets or None])
    return chosen, labels[chosen], best[chosen]


def _stretches(
    masks: Float[Array, "m t"],
    rows: Int[Array, " n"],
    snippets: Int[Array, " n"],
    threshold: float,
    how: MaskDecoding,
) -> Int[Array, "n 2"]:
    """Where each snippet's row exceeds the threshold around it; empty where it does not there."""
    t = masks.shape[1]
    above = masks > threshold
    if how.candidate == "span":
        last = np.where(above.any(axis=1), t - above[:, ::-1].argmax(axis=1), 0)
        return np.stack([above.argmax(axis=1), last], axis=1)[rows]
    index = np.arange(t)
    before = np.maximum.accumulate(np.where(above, -1, index), axis=1)[rows, snippets] + 1
    after = np.minimum.accumulate(np.where(above, t, index)[:, ::-1], axis=1)[:, ::-1]
    inside = above[rows, snippets]
    return np.stack([before, np.where(inside, after[rows, snippets], before)], axis=1)


def _highest(
    masks: Float[Array, "m t"], runs: Int[Array, "n 2"], rows: Int[Array, " n"]
) -> Float[Array, " n"]:
    """The highest value of a row inside each run."""
    if not len(runs):
        return np.zeros(0)
    padded = np.concatenate([masks, np.zeros((len(masks), 1), masks.dtype)], axis=1)
    width = padded.shape[1]
    bounds = (rows[:, None] * width + runs).ravel()
    return np.maximum.reduceat(padded.ravel(), bounds)[::2].astype(np.float64)


def _from_curves(
    probabilities: Float[Array, "k t"], mask: Float[Array, " t"], how: MaskDecoding
) -> Candidates:
    """Where each class exceeds each threshold; its highest probability times the highest mask."""
    found: list[Candidates] = []
    for label, curve in enumerate(probabilities):
        for threshold in how.mask_thresholds:
            stretches = runs(curve > threshold)
            lengths = stretches[:, 1] - stretches[:, 0]
            stretches = stretches[lengths >= min(how.min_length, len(curve))]
            rows = np.zeros(len(stretches), dtype=np.int64)
            best = _highest(curve[None], stretches, rows) * _highest(mask[None], stretches, rows)
            found.append(Candidates(stretches, np.full(len(stretches), label), best))
    return _join(found)


def _join(parts: Sequence[Candidates]) -> Candidates:
    return Candidates(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _unique(found: Candidates) -> Candidates:
    """Each run and class once, at its best score."""
    keys = np.concatenate([found.runs, found.labels[:, None]], axis=1)
    order = np.argsort(-found.scores, kind="stable")
    _, first = np.unique(keys[order], axis=0, return_index=True)
    kept = np.sort(order[first])
    return Candidates(found.runs[kept], found.labels[kept], found.scores[kept])
