"""What it costs a person to review the detections of an archive, at a decision threshold.

The threshold is the highest at which enough instances are found. An instance is found when a kept
detection of its class overlaps it by the tIoU; a detection that overlaps none of its class by
that much is a false alarm. Unlike in mAP, one detection may find several instances, and a second
one of the same instance is no false alarm: it shows what was asked for.

Only annotated videos count, and only classes with instances, as in mAP; durations are needed.

Axes: n detections, m instances, p pairs that overlap.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray as Array

from openmoment.errors import ConfigError, FormatError
from openmoment.evaluation.diagnosis import MIN_TIOU, LinedUp, line_up
from openmoment.evaluation.matching import Pairs, overlapping
from openmoment.evaluation.tables import percent
from openmoment.types import Annotations, Detections

ANY_HIT = MIN_TIOU
"""The tIoU for those who only want to be shown the place."""


@dataclass(frozen=True)
class Cost:
    """What reviewing costs at a threshold."""

    threshold: float
    """Detections with this score or a higher one are kept."""
    recall: float
    num_found: int
    """Instances."""
    num_kept: int
    """Detections."""
    num_false: int
    false_per_hour: float
    """False alarms per hour of video, whether it is watched or not."""
    minutes_per_hit: float
    """Minutes of kept footage, each counted once, per instance that is found."""
    skipped: float
    """The share of the videos that no kept detection covers."""


@dataclass(frozen=True)
class ClassReview:
    """The cost for one class, or for all with one threshold."""

    name: str
    num_instances: int
    best_recall: float
    """With all detections."""
    cost: Cost | None
    """None where the recall is not reached even so."""


@dataclass(frozen=True)
class Review:
    """The cost at one recall, over all and for each class by itself."""

    recall: float
    tiou: float
    hours: float
    """Of video, for each class all of it."""
    overall: ClassReview
    classes: tuple[ClassReview, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        return asdict(self)

    def to_text(self) -> str:
        """A table to read; a dash where the recall is not reached."""
        from tabulate import tabulate

        header = [
            *("", "instances", "threshold", "recall %", "best recall %", "false alarms/hour"),
            *("minutes/hit", "skipped %"),
        ]
        rows = [_row(each) for each in (self.overall, *self.classes)]
        align = ["left"] + ["right"] * (len(header) - 1)
        table = tabulate(rows, header, tablefmt="plain", colalign=align, disable_numparse=True)
        title = (
            f"To find {percent(self.recall)} % of the instances (tIoU {self.tiou:g}) in "
            f"{self.hours:.1f} hours of video:"
        )
        return f"{title}\n\n{table}"


def review_cost(
    predictions: Mapping[str, Detections],
    truth: Mapping[str, Annotations],
    *,
    recall: float = 0.8,
    tiou: float = 0.5,
) -> Review:
    """False alarms, minutes to watch and footage saved when so many instances are to be found.

    A ``tiou`` of `ANY_HIT` asks only to be shown the place. Raises ConfigError for values outside
    (0, 1], FormatError for a video without a duration and as `evaluate_detection`.
    """
    for name, value in (("recall", recall), ("tIoU", tiou)):
        if not 0 < value <= 1:
            raise ConfigError(f"Expected a {name} above 0 and up to 1, got {value:g}.")
    for video, annotations in truth.items():
        if not 0 < annotations.duration_s < math.inf:
            raise FormatError(
                f"Video {video!r} has the duration {annotations.duration_s:g} s: false alarms "
                "per hour need it. Add it to the ground truth."
            )
    annotated = {video: found for video, found in predictions.items() if video in truth}
    lined = line_up(annotated, truth, (tiou,))
    group = [each.labels * len(truth) + each.videos for each in (lined.predicted, lined.true)]
    pairs = overlapping(
        lined.predicted.segments, group[0], lined.true.segments, group[1], min_tiou=tiou
    )
    is_right = np.zeros(len(lined.predicted), dtype=bool)
    is_right[pairs.prediction] = True
    view = _View(lined, is_right, _found_at(pairs, lined))
    named = lined.predicted.labels >= 0
    classes = [
        view.review(name, recall, lined.true.labels == i, lined.predicted.labels == i)
        for i, name in enumerate(lined.classes)
    ]
    everything = np.ones(len(lined.true), dtype=bool)
    overall = view.review("all", recall, everything, named)
    return Review(recall, tiou, view.total_s / 3600, overall, tuple(classes))


def _found_at(pairs: Pairs, lined: LinedUp) -> Float[Array, " m"]:
    """The highest threshold at which each instance is found; -inf for never."""
    scores = np.full(len(lined.true), -np.inf)
    np.maximum.at(scores, pairs.instance, lined.scores[pairs.prediction])
    return scores


@dataclass(frozen=True)
class _View:
    """All that the cost at a threshold depends on."""

    lined: LinedUp
    is_right: Bool[Array, " n"]
    found_at: Float[Array, " m"]

    @property
    def total_s(self) -> float:
        return float(self.lined.durations_s.sum())

    def review(
        self, name: str, recall: float, mine: Bool[Array, " m"], asked: Bool[Array, " n"]
    ) -> ClassReview:
        found_at = -np.sort(-self.found_at[mine])
        needed = math.ceil(recall * len(found_at) - 1e-9)
        threshold = float(found_at[needed - 1])
        best = float(np.mean(found_at > -np.inf))
        cost = None if threshold == -np.inf else self._cost(threshold, found_at, asked)
        return ClassReview(name, len(found_at), best, cost)

    def _cost(
        self, threshold: float, found_at: Float[Array, " found"], asked: Bool[Array, " n"]
    ) -> Cost:
        kept = np.flatnonzero(asked & (self.lined.scores >= threshold))
        num_found = int(np.sum(found_at >= threshold))
        num_false = int(np.sum(~self.is_right[kept]))
        watched_s = self._watched_s(kept)
        return Cost(
            threshold=threshold,
            recall=num_found / len(found_at),
            num_found=num_found,
            num_kept=len(kept),
            num_false=num_false,
            false_per_hour=num_false / (self.total_s / 3600),
            minutes_per_hit=watched_s / 60 / num_found,
            skipped=1 - watched_s / self.total_s,
        )

    def _watched_s(self, kept: Int[Array, " k"]) -> float:
        """The length of the union of detections, inside their videos."""
        columns = self.lined.predicted[kept]
        ends_s = self.lined.durations_s
        # One time axis for all videos, one after the other.
        offset_s = (np.cumsum(ends_s) - ends_s)[columns.videos]
        inside = np.clip(columns.segments, 0, ends_s[columns.videos][:, None]) + offset_s[:, None]
        inside = inside[np.argsort(inside[:, 0])]
        reached = np.maximum.accumulate(np.concatenate([[0.0], inside[:, 1]]))[:-1]
        return float(np.maximum(inside[:, 1] - np.maximum(inside[:, 0], reached), 0).sum())


def _row(review: ClassReview) -> list[str]:
    cost = review.cost
    start = [review.name, str(review.num_instances)]
    best = percent(review.best_recall)
    if cost is None:
        return [*start, "-", "-", best, "-", "-", "-"]
    return [
        *start,
        f"{cost.threshold:.4g}",
        percent(cost.recall),
        best,
        f"{cost.false_per_hour:.1f}",
        f"{cost.minutes_per_hit:.2f}",
        percent(cost.skipped),
    ]
