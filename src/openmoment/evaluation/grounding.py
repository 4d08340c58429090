"""Does it occur, and where: cgF1 over pairs of a video and a query, absent ones among them.

Carion et al., SAM 3: Segment Anything with Concepts, 2025, whose unit is an image and a phrase;
here a video and a query, with temporal IoU. The positive part says how well the moments of what
occurs are found, the correlation (MCC) how well it is told from what does not occur; their product
is nothing unless both are something. Its small constants are kept.

Every query of a video is a pair, whether it occurs or not. What is kept is what the method says:
a guess at a query that is unsure is not. Axes: p pairs, n predicted and m true segments, g tIoUs.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray as Array

from openmoment.errors import FormatError
from openmoment.postprocess import temporal_iou
from openmoment.types import Annotations, Detections

TIOUS = tuple(round(0.5 + 0.05 * i, 2) for i in range(10))
"""Over which the number that is called cgF1 is the mean."""
NUM_BINS = 10
"""Of presence, for its calibration error."""

_EPS, _MCC_EPS = 1e-4, 1e-6


@dataclass(frozen=True)
class Grounding:
    """All as fractions; the MCC from -1 to 1. NaN where the truth leaves nothing to tell apart."""

    tious: tuple[float, ...]
    cgf1: Float[Array, " g"]
    pmf1: Float[Array, " g"]
    """Of the pairs that occur: F1 of their moments."""
    mcc: float
    yes_present: float
    """Of the pairs that occur, how many are found."""
    yes_absent: float
    """Of those that do not."""
    calibration_error: float
    """How far the presence is from how often a query occurs, present and absent weighed alike."""
    num_pairs: int

    @property
    def mean(self) -> float:
        """cgF1, over its tIoUs."""
        return float(np.mean(self.cgf1))

    def to_text(self) -> str:
        """A line or two for people, in percent."""
        if math.isnan(self.mcc):
            all_or_none = "no query" if math.isnan(self.yes_present) else "every query"
            return (
                f"cgF1 cannot be told: of {self.num_pairs:,} pairs of a video and a query, "
                f"{all_or_none} occurs. It takes both."
            )
        at = dict(zip(self.tious, self.cgf1.tolist(), strict=True))
        told = ", ".join(f"{100 * at[t]:.1f} at tIoU {t:g}" for t in (0.5, 0.75) if t in at)
        return (
            f"cgF1 {100 * self.mean:.1f} ({told}): pmF1 {100 * float(np.mean(self.pmf1)):.1f}, "
            f"MCC {self.mcc:.2f}, of {self.num_pairs:,} pairs of a video and a query.\n"
            f"Found: {100 * self.yes_present:.0f} % of the queries that occur, "
            f"{100 * self.yes_absent:.0f} % of those that do not. "
            f"Calibration error of presence: {self.calibration_error:.3f}."
        )

    def to_dict(self) -> dict[str, float | int | dict[str, float] | None]:
        """Plain values for JSON, percentages; None for what is NaN."""
        at = zip(self.tious, map(_percent, self.cgf1.tolist()), strict=True)
        return {
            "cgf1": _percent(self.mean),
            "cgf1_at": {f"{tiou:g}": value for tiou, value in at if value is not None},
            "pmf1": _percent(float(np.mean(self.pmf1))),
            "mcc": None if math.isnan(self.mcc) else round(self.mcc, 4),
            "yes_present": _percent(self.yes_present),
            "yes_absent": _percent(self.yes_absent),
            "calibration_error": _percent(self.calibration_error),
            "pairs": self.num_pairs,
        }


def evaluate_grounding(
    predictions: Mapping[str, Detections],
    truth: Mapping[str, Annotations],
    *,
    tious: Sequence[float] = TIOUS,
) -> Grounding:
    """Score what was said of every query of every video that has a prediction.

    Names of both sides are compared as they are written. Raises FormatError for a video without
    truth, and where there is no pair.
    """
    occurs, says, presence = [], [], []
    counts = np.zeros((len(tious), 3))  # true positives, false positives, false negatives
    for video, found in predictions.items():
        if video not in truth:
            raise FormatError(f"Video {video!r} has predictions but no ground truth.")
        true = truth[video]
        label_of = {name: label for label, name in enumerate(true.names)}
        for label, name in enumerate(found.names):
            own = true.segments[true.labels == label_of.get(name, -1)]
            said = found.segments[found.labels == label] if name not in found.unsure else _NONE
            occurs.append(len(own) > 0)
            says.append(len(said) > 0)
            presence.append(float(found.presence[label]))
            counts += _count(said, own, tious)
    if not occurs:
        raise FormatError("There is no query to score: the predictions name none.")
    return _sum_up(np.array(occurs), np.array(says), np.array(presence), counts, tuple(tious))


def among(found: Detections, names: Sequence[str]) -> Detections:
    """What was said of these queries, in their order; one that was not asked is absent."""
    index = {name: i for i, name in enumerate(names)}
    to_new = np.array([index.get(name, -1) for name in found.names], dtype=np.int64)
    known = to_new >= 0
    presence = np.zeros(len(names))
    presence[to_new[known]] = found.presence[known]
    labels = to_new[found.labels]
    kept = found[labels >= 0]
    return replace(
        kept, labels=labels[labels >= 0], names=tuple(names), presence=presence, origin=None
    )


_NONE = np.zeros((0, 2))


def _count(
    said: Float[Array, "n 2"], own: Float[Array, "m 2"], tious: Sequence[float]
) -> Float[Array, "g 3"]:
    """Of a pair that occurs: right, wrong and missed moments, by the assignment of most tIoU.

    What is said of a pair that does not occur counts in the MCC alone.
    """
    from scipy.optimize import linear_sum_assignment

    if not len(own):
        return np.zeros((len(tious), 3))
    overlaps = temporal_iou(said, own)
    matched = overlaps[linear_sum_assignment(overlaps, maximize=True)]
    right = np.array([(matched >= tiou).sum() for tiou in tious])
    return np.stack([right, len(said) - right, len(own) - right], axis=1).astype(float)


def _sum_up(
    occurs: Bool[Array, " p"],
    says: Bool[Array, " p"],
    presence: Float[Array, " p"],
    counts: Float[Array, "g 3"],
    tious: tuple[float, ...],
) -> Grounding:
    right, wrong, missed = counts.T
    precision, recall = right / (right + wrong + _EPS), right / (right + missed + _EPS)
    pmf1 = 2 * precision * recall / (precision + recall + _EPS)
    mcc = _correlation(occurs, says)
    return Grounding(
        tious,
        pmf1 * mcc,
        pmf1 if occurs.any() else np.full(len(tious), math.nan),
        mcc,
        _mean(says[occurs]),
        _mean(says[~occurs]),
        calibration_error(presence, occurs),
        len(occurs),
    )


def _correlation(occurs: Bool[Array, " p"], says: Bool[Array, " p"]) -> float:
    """Matthews' coefficient: 0 where all or nothing is said, NaN where all or nothing occurs."""
    if occurs.all() or not occurs.any():
        return math.nan
    tp, fp = float((occurs & says).sum()), float((~occurs & says).sum())
    fn, tn = float((occurs & ~says).sum()), float((~occurs & ~says).sum())
    spread = math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    return (tp * tn - fp * fn) / (spread + _MCC_EPS)


def calibration_error(presence: Float[Array, " p"], occurs: Bool[Array, " p"]) -> float:
    """The mean distance, over ten bins of presence, to the share that occurs in them.

    Present and absent pairs weigh the same in all, however many there are of each: presence does
    not know how much is asked in vain. NaN where all or nothing occurs.
    """
    if occurs.all() or not occurs.any():
        return math.nan
    weights = np.where(occurs, 0.5 / occurs.sum(), 0.5 / (~occurs).sum())
    bins = np.clip((presence * NUM_BINS).astype(np.int64), 0, NUM_BINS - 1)
    off = np.zeros(NUM_BINS)
    np.add.at(off, bins, weights * (presence - occurs))
    return float(np.abs(off).sum())


def _mean(values: Bool[Array, " n"]) -> float:
    return float(values.mean()) if len(values) else math.nan


def _percent(value: float) -> float | None:
    return None if math.isnan(value) else round(100 * value, 2)
