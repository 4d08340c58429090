"""Are two results different? A paired bootstrap over splits or over videos."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray as Array

from openmoment.errors import ConfigError
from openmoment.evaluation.detection import Matching, match
from openmoment.evaluation.result import AVERAGE, Result, unlike
from openmoment.types import Annotations, Detections

Files = Sequence[tuple[Mapping[str, Detections], Mapping[str, Annotations]]]
"""Predictions and ground truth of each split."""

FEWEST_SPLITS = 5
"""To tell two results apart. Of two that are alike, all of five splits agree in sign once in 16
times; of two splits, every other time."""
FEWEST_VIDEOS = 10
"""To tell two results apart. The interval of ten resampled values is a fifth too narrow (against
Student's t), that of five a third; that of one has no width at all."""
_FEWEST = {"splits": FEWEST_SPLITS, "videos": FEWEST_VIDEOS}


@dataclass(frozen=True)
class Difference:
    """How much better the first result is, as a fraction of average mAP.

    ``low_high`` holds 95 % of the bootstrap's differences; ``share_better`` is the share of them
    above zero; ``num_resampled`` is how many splits or videos there are to draw from.
    """

    over: str
    difference: float
    low_high: tuple[float, float]
    share_better: float
    num_samples: int
    num_resampled: int

    @property
    def is_enough(self) -> bool:
        """Whether there are enough splits or videos to say anything."""
        return self.num_resampled >= _FEWEST[self.over]

    @property
    def is_clear(self) -> bool:
        """Whether there are enough, and the interval leaves out zero."""
        return self.is_enough and (self.low_high[0] > 0 or self.low_high[1] < 0)

    @property
    def verdict(self) -> str:
        """In words; where there are too few, how many it takes."""
        if not self.is_enough:
            few, enough = self.num_resampled, _FEWEST[self.over]
            return f"too few to tell ({self.over}: {few}, it takes {enough})"
        return "a clear difference" if self.is_clear else "no clear difference"


def require_alike(results: Mapping[str, Result]) -> None:
    """Raises ConfigError naming the fields that differ, when two cards may not share a table."""
    (first_name, first), *others = results.items()
    for name, other in others:
        if differences := unlike(first.card, other.card):
            raise ConfigError(
                f"{first_name} and {name} cannot be compared. They differ in "
                f"{'; '.join(differences)}."
            )


def over_splits(a: Result, b: Result, *, num_samples: int = 10_000, seed: int = 0) -> Difference:
    """Resample the splits, the same ones for both. Raises ConfigError for fewer than two."""
    differences = a.metrics[AVERAGE] - b.metrics[AVERAGE]
    if len(differences) < 2:
        raise ConfigError("A bootstrap over splits needs at least two splits; compare over videos.")
    rng = np.random.default_rng(seed)
    picks = rng.integers(len(differences), size=(num_samples, len(differences)))
    sampled = differences[picks].mean(axis=1)
    return _difference("splits", float(differences.mean()), sampled, len(differences))


def over_videos(
    a: Files, b: Files, *, tious: Sequence[float], num_samples: int = 1000, seed: int = 0
) -> Difference:
    """Resample the videos of each split, the same ones for both, and average over the splits.

    A video that is drawn twice counts as two videos. Classes that a sample has no instance of
    are left out of its mean. Annotated videos alone decide whether there are enough; one that
    several splits share is one video.
    """
    rng = np.random.default_rng(seed)
    sampled = np.zeros(num_samples)
    plain = 0.0
    for (predicted_a, truth), (predicted_b, _) in zip(a, b, strict=True):
        videos = sorted(truth)
        everyone = dict.fromkeys([*videos, *predicted_a, *predicted_b])
        index = {video: i for i, video in enumerate(everyone)}
        weights = np.zeros((num_samples, len(index)), dtype=np.int32)
        for row in weights:
            row += np.bincount(rng.integers(len(index), size=len(index)), minlength=len(index))
        for predicted, sign in ((predicted_a, 1), (predicted_b, -1)):
            matching, _, own = match(predicted, truth, tious=tious)
            columns = np.array([index[video] for video in own])
            sampled += sign * weighted_average(matching, weights[:, columns]) / len(a)
            unweighted = np.ones((1, len(own)), dtype=np.int32)
            plain += sign * float(weighted_average(matching, unweighted)[0]) / len(a)
    annotated = {video for _, truth in a for video in truth}
    return _difference("videos", plain, sampled, len(annotated))


def _difference(
    over: str, plain: float, sampled: Float[Array, " s"], num_resampled: int
) -> Difference:
    low, high = np.quantile(sampled, [0.025, 0.975])
    share = float(np.mean(sampled > 0) + np.mean(sampled == 0) / 2)
    return Difference(over, plain, (float(low), float(high)), share, len(sampled), num_resampled)


def weighted_average(matching: Matching, weights: Int[Array, "s videos"]) -> Float[Array, " s"]:
    """The average mAP when every video counts ``weights`` times, one value per row.

    Copies of a video have equal scores, so each prediction becomes a run of equal ones: the
    precision that counts is that at the end of the run.
    """
    total = np.zeros(len(weights))
    num_classes = np.zeros(len(weights))
    for label in np.unique(matching.instance_labels):
        is_mine = matching.prediction_labels == label
        ranked = matching.prediction_videos[is_mine][np.argsort(matching.ranks[is_mine])]
        is_instance = matching.instance_labels == label
        videos = matching.instance_videos[is_instance]
        num_instances = weights[:, videos].sum(axis=1)
        sums = [
            _sum_of_precisions(holder, videos, ranked, weights)
            for holder in np.where(matching.holders < matching.nobody, matching.holders, 0)[
                is_instance
            ].T
        ]
        total += np.mean(sums, axis=0) / np.maximum(num_instances, 1)
        num_classes += num_instances > 0
    return total / np.maximum(num_classes, 1)


def _sum_of_precisions(
    holder: Int[Array, " m"],
    videos: Int[Array, " m"],
    ranked: Int[Array, " n"],
    weights: Int[Array, "s videos"],
) -> Float[Array, " s"]:
    """Over the true positives of one class and tIoU, in all copies, of the best precision after.

    ``holder`` is the rank of each instance's true positive, or 0; ``ranked`` the video of each
    prediction, best first.
    """
    order = np.argsort(holder, kind="stable")[np.sum(holder == 0) :]
    if len(order) == 0:
        return np.zeros(len(weights))
    # How many predictions of each video come up to each true positive.
    up_to = np.zeros((weights.shape[1], len(order) + 1))
    np.add.at(up_to, (ranked, np.searchsorted(holder[order], np.arange(1, len(ranked) + 1))), 1)
    seen = weights @ up_to.cumsum(axis=1)[:, :-1]
    copies = weights[:, videos[order]]
    precision = copies.cumsum(axis=1) / np.maximum(seen, 1)
    best_after = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    return (best_after * copies).sum(axis=1)
