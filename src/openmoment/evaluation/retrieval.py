"""Moment retrieval: recall at K, QVHighlights' metrics, and recall of regions with a given label.

Where the published rules leave something open:

- Equal scores keep their input order; a tIoU equal to the threshold counts.
- A query without prediction is a miss and is counted; one without ground truth raises FormatError.
- A segment that is not finite or runs backwards raises FormatError. One of length 0 is legal and
  overlaps nothing but its exact copy.

All results are fractions. Axes: q queries, n segments.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray as Array

from openmoment.errors import ConfigError, FormatError
from openmoment.evaluation.detection import PROFILES, DetectionResult, evaluate_columns
from openmoment.evaluation.matching import Columns, overlapping, refuse_bad

Key = TypeVar("Key", bound=Hashable)
"""What is asked: a query's id, or a video and a label."""

Segments = Float[Array, "_ 2"]
"""In seconds, in any order."""

RegionMode = Literal["mask", "segment"]

MAX_WINDOWS = 10
"""How many predictions of a query QVHighlights looks at."""

LENGTHS_S: dict[str, tuple[float, float]] = {
    "short": (0.0, 10.0),
    "middle": (10.0, 30.0),
    "long": (30.0, 150.0),
    "full": (-np.inf, np.inf),
}
"""QVHighlights' groups of annotated segments, longer than the first and up to the second."""

RATINGS: dict[str, int] = {"Fair": 2, "Good": 3, "VeryGood": 4}
"""From which rating, of 0 to 4, a clip counts as a highlight."""


@dataclass(frozen=True)
class Retrieved:
    """The segments that were found for one query, in any order.

    Raises ValueError when there is not one score for each segment.
    """

    segments: Float[Array, "n 2"]
    scores: Float[Array, " n"]

    def __post_init__(self) -> None:
        n = len(self.scores)
        if self.segments.shape != (n, 2) or self.scores.shape != (n,):
            raise ValueError(f"segments {self.segments.shape}, scores {self.scores.shape}")


@dataclass(frozen=True)
class RetrievalResult:
    """How well each query was answered, and from that recall and mIoU.

    ``best_tiou`` holds in column K - 1 the best tIoU of the K best-scored segments with any
    annotated one; 0 where there is none.
    """

    queries: tuple[Hashable, ...]
    ks: tuple[int, ...]
    tious: tuple[float, ...]
    best_tiou: Float[Array, "q depth"]

    def at(self, k: int, tiou: float) -> float:
        """R@K, IoU=m: the share of queries with a tIoU of at least m among the K best."""
        return float((self.best_tiou[:, k - 1] >= tiou).mean())

    @property
    def recall(self) -> Float[Array, "ks tious"]:
        """R@K, IoU=m for all that was asked for."""
        return np.array([[self.at(k, tiou) for tiou in self.tious] for k in self.ks])

    @property
    def mean_iou(self) -> float:
        """The mean over the queries of the best-scored segment's tIoU."""
        return float(self.best_tiou[:, 0].mean())


@dataclass(frozen=True)
class LengthResult:
    """QVHighlights' metrics for annotated segments of some length."""

    recall: RetrievalResult
    """R1 at each tIoU."""
    detection: DetectionResult
    """AP at each tIoU; the classes are the queries."""


@dataclass(frozen=True)
class HighlightResult:
    """QVHighlights' highlight detection, for one rating from which a clip counts."""

    mean_ap: float
    hit1: float


# recall ------------------------------------------------------------------------------------


def recall_at(
    predictions: Mapping[str, Retrieved],
    truth: Mapping[str, Segments],
    *,
    ks: Sequence[int] = (1, 5),
    tious: Sequence[float] = (0.5, 0.7),
) -> RetrievalResult:
    """Recall at each K and tIoU, and mIoU, by query id; of several annotated segments the best.

    Raises FormatError for impossible segments, for queries without annotated segment, and when
    there is no query; ConfigError for a K below 1 or a tIoU outside (0, 1].
    """
    return _recall(_Rows.of(predictions, truth), ks, tious)


def region_recall(
    predicted: Mapping[tuple[str, str], Retrieved],
    truth: Mapping[tuple[str, str], Segments],
    duration_s: Mapping[str, float],
    *,
    mode: RegionMode = "mask",
    tious: Sequence[float] = PROFILES["activitynet"],
) -> RetrievalResult:
    """R@tIoU and mIoU over pairs of a video and a label that is given, as GRIZAL reports them.

    ``mask``: the union of all predicted segments against that of all annotated ones, whatever
    their scores; for scores per snippet, ``grid.runs_to_seconds(runs(scores > 0.5))``. A region
    without length has tIoU 0. ``segment``: the best-scored segment against the annotated one it
    fits best. Either way segments are cut to the video. Raises as `recall_at`, and FormatError
    for a video without a duration. Source: GRIZAL, appendix S.2.2.
    """
    rows = _Rows.of(predicted, truth).cut([_duration(video, duration_s) for video, _ in truth])
    if mode == "segment":
        return _recall(rows, (1,), tious)
    _check_thresholds((1,), tious)
    return RetrievalResult(rows.queries, (1,), tuple(tious), _union_tious(rows)[:, None])


def _recall(rows: "_Rows", ks: Sequence[int], tious: Sequence[float]) -> RetrievalResult:
    _check_thresholds(ks, tious)
    return RetrievalResult(rows.queries, tuple(ks), tuple(tious), _best_tious(rows, max(ks)))


def _check_thresholds(ks: Sequence[int], tious: Sequence[float]) -> None:
    if len(ks) == 0 or min(ks) < 1:
        raise ConfigError(f"Recall needs whole numbers K of at least 1, got {tuple(ks)}.")
    if len(tious) == 0 or not (min(tious) > 0 and max(tious) <= 1):
        raise ConfigError(f"tIoU thresholds lie above 0 and up to 1, got {tuple(tious)}.")


def _best_tious(rows: "_Rows", depth: int) -> Float[Array, "q depth"]:
    """Column i holds the best tIoU of the i + 1 best-scored segments."""
    is_used = rows.ranks < depth
    used, ranks = rows.predicted[is_used], rows.ranks[is_used]
    true = rows.true
    pairs = overlapping(used.segments, used.labels, true.segments, true.labels, min_tiou=0.0)
    best = np.zeros((len(rows.queries), depth))
    np.maximum.at(best, (used.labels[pairs.prediction], ranks[pairs.prediction]), pairs.tiou)
    return np.maximum.accumulate(best, axis=1)


def _union_tious(rows: "_Rows") -> Float[Array, " q"]:
    """The tIoU of all that is predicted with all that is annotated, by a sweep over the ends.

    In their order all segments of a query close before the next query's open: the counts of
    open ones need no reset.
    """
    sides = (rows.predicted, rows.true)
    times = np.concatenate([side.segments.T.ravel() for side in sides])
    queries = np.concatenate([np.tile(side.labels, 2) for side in sides])
    order = np.lexsort((times, queries))
    is_covered = []
    for side in (0, 1):
        steps = [np.repeat([1, -1], len(s)) * (i == side) for i, s in enumerate(sides)]
        is_covered.append(np.cumsum(np.concatenate(steps)[order])[:-1] > 0)
    lengths, at = np.diff(times[order]), queries[order][:-1]
    shared, whole = (
        np.bincount(at, weights=lengths * covered, minlength=len(rows.queries))
        for covered in (is_covered[0] & is_covered[1], is_covered[0] | is_covered[1])
    )
    return np.divide(shared, whole, out=np.zeros_like(shared), where=whole > 0)


def _duration(video: str, duration_s: Mapping[str, float]) -> float:
    duration = duration_s.get(video, np.nan)
    if not 0 < duration < np.inf:
        raise FormatError(f"Video {video!r}: expected a duration above 0 s, got {duration}.")
    return duration


# QVHighlights ------------------------------------------------------------------------------


def qvhighlights(
    predictions: Mapping[str, Retrieved], truth: Mapping[str, Segments]
) -> dict[str, LengthResult]:
    """QVHighlights' R1 and mAP by the length of annotated segments: a key of `LENGTHS_S`.

    AP is per query, as in detection, over its `MAX_WINDOWS` best segments, and then averaged
    over the queries. For each length, segments of other lengths are taken out of the ground
    truth alone, and so are queries without one left; a length that no query has is left out of
    the result. Raises as `recall_at`. Source: Lei et al., NeurIPS 2021, and their evaluator,
    which takes files in order of score and knows no query without prediction.
    """
    rows = _Rows.of(predictions, truth)
    lengths = rows.true.segments[:, 1] - rows.true.segments[:, 0]
    results = {}
    for name, (longer_than, up_to) in LENGTHS_S.items():
        in_range = (longer_than < lengths) & (lengths <= up_to)
        if in_range.any():
            results[name] = _length_result(rows.with_true(in_range))
    return results


def _length_result(rows: "_Rows") -> LengthResult:
    tious = PROFILES["activitynet"]
    asked = np.unique(rows.true.labels)
    names = tuple(str(query) for query in rows.queries)
    first = rows.ranks < MAX_WINDOWS
    detection = evaluate_columns(
        rows.predicted[first], rows.scores[first], rows.true, classes=names, tious=tious
    )
    best = _best_tious(rows, 1)[asked]
    return LengthResult(RetrievalResult(detection.classes, (1,), tious, best), detection)


def highlights(
    scores: Mapping[str, Float[Array, " _"]], ratings: Mapping[str, Float[Array, "_ raters"]]
) -> dict[str, HighlightResult]:
    """QVHighlights' highlight detection, by the rating from which a clip counts: `RATINGS`.

    ``scores`` are of a video's clips, higher for better ones; missing ones are 0, and those
    beyond the video are ignored, but for Hit1, where the best may be one of them and miss. Hit1
    asks for any rater's consent, mAP is the mean over raters and queries; a rater for whom no
    clip counts gives 0. Raises FormatError for scores that are NaN, and as `recall_at`.
    """
    _refuse_unknown(scores, ratings)
    per_query = np.zeros((len(ratings), 2, len(RATINGS)))
    for row, (query, rated) in zip(per_query, ratings.items(), strict=True):
        given = scores.get(query, np.zeros(0))
        if np.isnan(given).any():
            raise FormatError(f"Query {query!r}: saliency score {np.isnan(given).argmax()} is NaN.")
        if len(given):
            row[:] = _highlight(given, rated)
    mean_ap, hit1 = per_query.mean(axis=0)
    return {
        name: HighlightResult(float(mean_ap[i]), float(hit1[i])) for i, name in enumerate(RATINGS)
    }


def _highlight(
    scores: Float[Array, " n"], ratings: Float[Array, "clips raters"]
) -> Float[Array, "2 levels"]:
    """AP and Hit1 of one query."""
    counts = ratings[:, :, None] >= np.array(list(RATINGS.values()))
    best = int(scores.argmax())
    hit = counts[best].any(axis=0) if best < len(counts) else np.zeros(len(RATINGS))
    fitted = np.zeros(len(ratings))
    fitted[: len(scores)] = scores[: len(ratings)]
    return np.stack([_stepwise_precision(fitted, counts).mean(axis=0), hit])


def _stepwise_precision(
    scores: Float[Array, " n"], counts: Bool[Array, "n raters levels"]
) -> Float[Array, "raters levels"]:
    """The mean interpolated precision over the scores at which recall grows, each weighing 1.

    So do the authors; the usual AP weighs each by how much recall grows there.
    """
    order = np.argsort(-scores, kind="stable")
    last = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    found = np.cumsum(counts[order], axis=0)[last]
    precision = found / (last + 1)[:, None, None]
    precision = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    grows = np.diff(found, axis=0, prepend=0) > 0
    return (precision * grows).sum(axis=0) / np.maximum(grows.sum(axis=0), 1)


# what papers print -------------------------------------------------------------------------


def metrics_by_name(
    profile: str, predictions: Mapping[str, Retrieved], truth: Mapping[str, Segments]
) -> dict[str, float]:
    """The metrics of a dataset's papers by the names they use; QVHighlights has mAP besides.

    Raises as `recall_at`.
    """
    ks, tious = (1, 5), (0.3, 0.5, 0.7)
    recall = recall_at(predictions, truth, ks=ks, tious=tious)
    metrics = {f"R@{k},IoU={tiou:g}": recall.at(k, tiou) for k in ks for tiou in tious}
    metrics["mIoU"] = recall.mean_iou
    if profile != "qvhighlights":
        return metrics
    by_length = qvhighlights(predictions, truth)
    full = by_length["full"].detection
    for i, tiou in enumerate(full.tious):
        if tiou in (0.5, 0.75):
            metrics[f"mAP@{tiou:g}"] = float(full.mean_ap[i])
    metrics["mAP_avg"] = full.average
    for length in ("short", "middle", "long"):
        if length in by_length:
            metrics[f"mAP_avg {length}"] = by_length[length].detection.average
    return metrics


# rows --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Rows:
    """All queries' segments, one a row; labels and videos are the queries' numbers.

    Both sides are ordered by query, predictions then by ``ranks``: from 0, best-scored first.
    """

    queries: tuple[Hashable, ...]
    predicted: Columns
    scores: Float[Array, " n"]
    ranks: Int[Array, " n"]
    true: Columns

    @classmethod
    def of(cls, predictions: Mapping[Key, Retrieved], truth: Mapping[Key, Segments]) -> "_Rows":
        _refuse_unknown(predictions, truth)
        none = Retrieved(np.zeros((0, 2)), np.zeros(0))
        found = [predictions.get(query, none) for query in truth]
        queries = tuple(truth)
        true = _stack(queries, list(truth.values()), "annotated segment")
        if len(asked := np.unique(true.labels)) < len(queries):
            bare = np.setdiff1d(np.arange(len(queries)), asked)[0]
            raise FormatError(f"Query {queries[bare]!r} has no annotated segment. Leave it out.")
        scores = np.concatenate([part.scores for part in found])
        predicted = _stack(queries, [part.segments for part in found], "prediction", scores)
        order = np.lexsort((-scores, predicted.labels))
        sizes = np.array([len(part.segments) for part in found])
        ranks = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return cls(queries, predicted[order], scores[order], ranks, true)

    def with_true(self, keep: Bool[Array, " m"]) -> "_Rows":
        """The same queries with fewer annotated segments."""
        return _Rows(self.queries, self.predicted, self.scores, self.ranks, self.true[keep])

    def cut(self, durations_s: Sequence[float]) -> "_Rows":
        """The parts of the segments that lie in their videos."""
        ends = np.array(durations_s)
        predicted, true = (
            Columns(c.videos, c.labels, np.clip(c.segments, 0.0, ends[c.labels][:, None]))
            for c in (self.predicted, self.true)
        )
        return _Rows(self.queries, predicted, self.scores, self.ranks, true)


def _stack(
    queries: Sequence[Hashable],
    parts: Sequence[Segments],
    kind: str,
    scores: Float[Array, " n"] | None = None,
) -> Columns:
    """One part after the other. Raises FormatError for the first bad segment, or NaN score."""
    segments = np.concatenate(parts).astype(np.float64, copy=False)
    sizes = [len(part) for part in parts]
    numbers = np.repeat(np.arange(len(parts)), sizes)

    def where(row: int) -> str:
        number = int(numbers[row])
        return f"Query {queries[number]!r}: {kind} {row - sum(sizes[:number])}"

    refuse_bad(segments, np.zeros(len(segments)) if scores is None else scores, where)
    return Columns(numbers, numbers, segments)


def _refuse_unknown(given: Mapping[Key, object], truth: Mapping[Key, object]) -> None:
    if not truth:
        raise FormatError("The ground truth holds no query. Check the subset.")
    unknown = next((query for query in given if query not in truth), None)
    if unknown is not None:
        raise FormatError(
            f"Query {unknown!r} has predictions but no ground truth. Is it of another subset?"
        )
