"""Detection mAP and proposal recall, by the rules of the ActivityNet evaluators.

Exactly those rules, for all predictions at once, and where they leave something open:

- Equal scores keep their input order; a tIoU equal to the threshold counts.
- A prediction whose best instance is taken may match its next one; a duplicate is a false positive.
- Predictions of a class without instances are ignored; a class without predictions has AP 0.
- Predictions in videos without instances of their class, or not annotated at all, are false.
- Ground truth is never filtered by what was predicted, nor predictions by the video's duration.
- A segment that is not finite or runs backwards raises FormatError. One of length 0 is legal and
  overlaps nothing but its exact copy (officially 0/0, which the mAP code counts as a match).

Axes: n rows, c classes.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray as Array

from openmoment.errors import FormatError
from openmoment.evaluation.matching import Columns, matched, overlapping, refuse_bad
from openmoment.types import Annotations, Detections

PROFILES: dict[str, tuple[float, ...]] = {
    "thumos14": (0.3, 0.4, 0.5, 0.6, 0.7),
    "activitynet": (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95),
    "fine": (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7),
}
"""The thresholds that a dataset's papers report."""

SHARES = np.arange(1, 101) / 100.0
"""The points of a recall curve: parts of each video's proposals."""


@dataclass(frozen=True)
class DetectionResult:
    """Average precision of each class with ground truth, at each tIoU."""

    tious: tuple[float, ...]
    classes: tuple[str, ...]
    ap: Float[Array, "c tious"]
    num_instances: Int[Array, " c"]

    @property
    def mean_ap(self) -> Float[Array, " tious"]:
        """The mAP at each tIoU."""
        return self.ap.mean(axis=0)

    @property
    def average(self) -> float:
        """The mean of the mAPs."""
        return float(self.mean_ap.mean())


# detection mAP -----------------------------------------------------------------------------


def evaluate_detection(
    predictions: Mapping[str, Detections],
    truth: Mapping[str, Annotations],
    *,
    tious: Sequence[float],
    drop_duplicates: bool = False,
    min_length_s: float = 0.0,
    blocked: Collection[str] = (),
) -> DetectionResult:
    """Average precision of detections against annotations, by video id, labels matched by name.

    Of the annotations, exact repetitions can be dropped, and instances shorter than
    ``min_length_s`` (ActionFormer: both, 0.001). ``blocked`` videos are left out of both sides.
    Raises FormatError for impossible segments and when no instance is left.
    """
    predicted, scores, true, classes, _ = to_columns(predictions, truth, blocked=blocked)
    true = true[true.segments[:, 1] - true.segments[:, 0] >= min_length_s]
    if drop_duplicates:
        rows = np.column_stack([true.videos, true.labels, true.segments])
        true = true[np.sort(np.unique(rows, axis=0, return_index=True)[1])]
    return _evaluate(predicted, scores, true, classes, tious)


def evaluate_columns(
    predictions: Columns,
    scores: Float[Array, " n"],
    truth: Columns,
    *,
    classes: Sequence[str],
    tious: Sequence[float],
) -> DetectionResult:
    """As `evaluate_detection`, from columns: videos are numbers, labels index into ``classes``.

    Predictions may have labels that are not in ``classes``; they are ignored.
    """
    sides = (("Instance", truth, np.ones(len(truth))), ("Prediction", predictions, scores))
    for kind, columns, values in sides:

        def where(row: int, kind: str = kind, columns: Columns = columns) -> str:
            return f"{kind} {row} (video {columns.videos[row]})"

        refuse_bad(columns.segments, values, where)
    return _evaluate(predictions, scores, truth, classes, tious)


@dataclass(frozen=True)
class Matching:
    """Which prediction found which instance: all that average precision depends on.

    Classes are numbers; ``ranks`` count from 1 within a class. ``holders`` gives for each
    instance and tIoU the rank of its true positive, or ``nobody``.
    """

    prediction_labels: Int[Array, " n"]
    prediction_videos: Int[Array, " n"]
    ranks: Int[Array, " n"]
    instance_labels: Int[Array, " m"]
    instance_videos: Int[Array, " m"]
    order: Int[Array, " m"]
    """Which row of the ground truth each instance is."""
    holders: Int[Array, "m tious"]
    nobody: int


def match(
    predictions: Mapping[str, Detections],
    truth: Mapping[str, Annotations],
    *,
    tious: Sequence[float],
) -> tuple[Matching, tuple[str, ...], tuple[str, ...]]:
    """The matching behind `evaluate_detection`, the class names and the video ids."""
    predicted, scores, true, classes, videos = to_columns(predictions, truth)
    return match_columns(predicted, scores, true, len(classes), tious), classes, videos


def match_columns(
    predictions: Columns,
    scores: Float[Array, " n"],
    truth: Columns,
    num_classes: int,
    tious: Sequence[float],
) -> Matching:
    """The matching of columns, whose labels are numbers below ``num_classes``, or none."""
    if len(truth) == 0:
        raise FormatError("The ground truth holds no instance. Check the subset and the classes.")
    num_videos = 1 + int(max(truth.videos.max(), predictions.videos.max(initial=0)))
    # By class, then video, so that the instances of a class are consecutive.
    group = truth.labels.astype(np.int64) * num_videos + truth.videos
    order = np.argsort(group, kind="stable")
    pairs = overlapping(
        predictions.segments,
        predictions.labels.astype(np.int64) * num_videos + predictions.videos,
        truth.segments[order],
        group[order],
        min_tiou=min(tious),
    )
    ranks = _ranks(predictions.labels, scores, num_classes)
    nobody = len(predictions) + 1
    holders = [
        matched(pairs, ranks, tiou, num_instances=len(truth), nobody=nobody) for tiou in tious
    ]
    return Matching(
        predictions.labels,
        predictions.videos,
        ranks,
        truth.labels[order],
        truth.videos[order],
        order,
        np.stack(holders, axis=1),
        nobody,
    )


def _evaluate(
    predictions: Columns,
    scores: Float[Array, " n"],
    truth: Columns,
    classes: Sequence[str],
    tious: Sequence[float],
) -> DetectionResult:
    matching = match_columns(predictions, scores, truth, len(classes), tious)
    present, num_instances = np.unique(matching.instance_labels, return_counts=True)
    ap = np.zeros((len(present), len(tious)))
    for i, holders in enumerate(np.split(matching.holders, np.cumsum(num_instances)[:-1])):
        for j, holder in enumerate(holders.T):
            ap[i, j] = _average_precision(np.sort(holder[holder < matching.nobody]), len(holder))
    return DetectionResult(tuple(tious), tuple(classes[int(i)] for i in present), ap, num_instances)


def _ranks(
    labels: Int[Array, " n"], scores: Float[Array, " n"], num_classes: int
) -> Int[Array, " n"]:
    """Each prediction's place in its class, from 1; of equal scores the earlier comes first."""
    is_known = (labels >= 0) & (labels < num_classes)
    narrow = np.where(is_known, labels, num_classes).astype(np.min_scalar_type(num_classes))
    by_label = np.argsort(narrow, kind="stable")  # a radix sort, for so short integers
    ends = np.cumsum(np.bincount(narrow, minlength=num_classes))
    ranks = np.zeros(len(labels), dtype=np.int64)
    for rows in np.split(by_label, ends[:-1]):
        ranks[rows[np.argsort(-scores[rows], kind="stable")]] = np.arange(1, len(rows) + 1)
    return ranks


def _average_precision(ranks: Int[Array, " n"], num_instances: int) -> float:
    """All-point interpolated AP, from the ranks (counted from 1) of the true positives.

    Recall grows only at a true positive, and the best precision from there on is at one too.
    """
    precision = np.arange(1, len(ranks) + 1) / ranks
    return float(np.maximum.accumulate(precision[::-1]).sum() / num_instances)


# proposal recall ---------------------------------------------------------------------------


@dataclass(frozen=True)
class RecallResult:
    """Recall at each tIoU, for growing numbers of proposals per video."""

    tious: tuple[float, ...]
    num_proposals: Float[Array, " points"]
    """Per video, on average."""
    recall: Float[Array, "tious points"]

    @property
    def average_recall(self) -> Float[Array, " points"]:
        """The mean over the tIoUs, for each number of proposals."""
        return self.recall.mean(axis=0)

    @property
    def auc(self) -> float:
        """The area under the average recall, as a share of a perfect one's, in [0, 1]."""
        heights = (self.average_recall[1:] + self.average_recall[:-1]) / 2
        return float(np.dot(heights, np.diff(self.num_proposals)) / self.num_proposals[-1])

    def at(self, num_proposals: float) -> float:
        """AR@AN: the average recall with so many proposals per video, interpolated."""
        return float(np.interp(num_proposals, self.num_proposals, self.average_recall))


def average_recall(
    proposals: Mapping[str, Detections],
    truth: Mapping[str, Annotations],
    *,
    tious: Sequence[float] = PROFILES["activitynet"],
    max_proposals: float = 100.0,
) -> RecallResult:
    """Recall of the best proposals, labels ignored, as in the ActivityNet proposal task.

    The official budget: all videos share ``max_proposals`` times their number, each in
    proportion to the proposals it has. Videos without instances are left out. Raises FormatError
    as `evaluate_detection`.
    """
    annotated = [video for video, annotations in truth.items() if len(annotations)]
    if not annotated:
        raise FormatError("The ground truth holds no instance. Check the subset.")
    videos = {video: i for i, video in enumerate(annotated)}
    true, _ = _columns(truth, videos, ())
    predicted, scores = _columns(proposals, videos, ())
    offered = np.bincount(predicted.videos, minlength=len(videos))
    ratio = max_proposals * len(videos) / max(len(predicted), 1)
    allowed = np.minimum((offered * ratio).astype(int), offered)

    ranked = predicted[np.lexsort((-scores, predicted.videos))]
    first = np.cumsum(offered) - offered
    rank = np.arange(len(ranked)) - first[ranked.videos]
    pairs = overlapping(
        ranked.segments, ranked.videos, true.segments, true.videos, min_tiou=min(tious)
    )
    shares = SHARES * (max_proposals * len(videos) / max(int(allowed.sum()), 1))
    used = np.minimum((allowed[:, None] * shares).astype(int), allowed[:, None])[true.videos]
    recall = np.zeros((len(tious), len(shares)))
    for i, tiou in enumerate(tious):
        hit = pairs.tiou >= tiou
        first_hit = np.full(len(true), len(ranked))
        np.minimum.at(first_hit, pairs.instance[hit], rank[pairs.prediction[hit]])
        recall[i] = (first_hit[:, None] < used).mean(axis=0)
    num_proposals = shares * (int(allowed.sum()) / len(videos))
    return RecallResult(tuple(tious), num_proposals, recall)


# columns -----------------------------------------------------------------------------------


def to_columns(
    predictions: Mapping[str, Detections],
    truth: Mapping[str, Annotations],
    *,
    blocked: Collection[str] = (),
) -> tuple[Columns, Float[Array, " n"], Columns, tuple[str, ...], tuple[str, ...]]:
    """Predictions, their scores and the ground truth as columns, the classes and the videos.

    Annotated videos come first. Raises FormatError for impossible segments.
    """
    everyone = [v for v in dict.fromkeys([*truth, *predictions]) if v not in blocked]
    videos = {video: i for i, video in enumerate(everyone)}
    classes = _class_names(truth)
    true, _ = _columns(truth, videos, classes)
    predicted, scores = _columns(predictions, videos, classes)
    return predicted, scores, true, classes, tuple(videos)


def _class_names(truth: Mapping[str, Annotations]) -> tuple[str, ...]:
    used = {video.names[i] for video in truth.values() for i in np.unique(video.labels)}
    return tuple(sorted(used))


def _columns(
    by_video: Mapping[str, Detections] | Mapping[str, Annotations],
    videos: Mapping[str, int],
    classes: Sequence[str],
) -> tuple[Columns, Float[Array, " n"]]:
    """Columns of the given videos, and the scores: 1 for annotations. Unknown names are -1."""
    wanted = [(video, videos[video]) for video in by_video if video in videos]
    parts = [by_video[video] for video, _ in wanted]
    index = {name: i for i, name in enumerate(classes)}
    tables = {
        names: np.array([index.get(name, -1) for name in names], dtype=np.int64)
        for names in {part.names for part in parts}
    }
    lengths = [len(part) for part in parts]
    segments = np.concatenate([np.zeros((0, 2)), *(part.segments for part in parts)])
    labels = [tables[part.names][part.labels] for part in parts if len(part)]
    scores = [p.scores if isinstance(p, Detections) else np.ones(len(p)) for p in parts]

    def where(row: int) -> str:
        ends = np.cumsum(lengths)
        at = int(np.searchsorted(ends, row, side="right"))
        kind = "detection" if isinstance(parts[at], Detections) else "annotation"
        return f"Video {wanted[at][0]!r}: {kind} {row - int(ends[at]) + lengths[at]}"

    all_scores = np.concatenate([np.zeros(0), *scores])
    refuse_bad(segments, all_scores, where)
    numbers = np.repeat(np.array([i for _, i in wanted], dtype=np.int64), lengths)
    all_labels = np.concatenate([np.zeros(0, dtype=np.int64), *labels])
    return Columns(numbers, all_labels, segments), all_scores
