"""Scoring predictions by the zero-shot protocol: one split after the other, with a card.

The reported number is the mean over the ten splits of each metric (methods differ by up to 15
points between splits), so a result of fewer says "1 of 10 splits".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from openmoment.datasets.base import Dataset
from openmoment.datasets.names import published_splits
from openmoment.datasets.splits import NUM_SPLITS, Rule, Split, ZeroShot, zero_shot
from openmoment.errors import ConfigError, FormatError
from openmoment.evaluation.detection import PROFILES, evaluate_detection
from openmoment.evaluation.regions import label_given
from openmoment.evaluation.result import Card, Result, SplitScore, made_here
from openmoment.postprocess import Decision
from openmoment.types import Annotations, Detections

ALL_CLASSES = "all"
"""The setting without unseen classes: every class is a candidate and counts."""
OWN_CLASSES = "own"
"""The name of the one split whose unseen classes were named one by one."""


@dataclass(frozen=True)
class Protocol:
    """What is evaluated: a dataset, a setting, splits, and by whose rule videos are kept."""

    dataset: Dataset
    setting: str = ALL_CLASSES
    splits: tuple[int, ...] = ()
    rule: Rule = "openmoment"
    subset: str | None = None
    generalized: bool = False
    unseen: tuple[str, ...] = ()
    """Classes named one by one, where no published split is meant."""

    def __post_init__(self) -> None:
        if self.unseen:
            if self.setting != ALL_CLASSES or self.splits:
                raise ConfigError("Name the unseen classes, or a published split: not both.")
            object.__setattr__(self, "setting", f"unseen: {', '.join(sorted(self.unseen))}")
            return
        if self.setting == ALL_CLASSES:
            return
        if self.dataset.name not in published_splits():
            raise ConfigError(
                f"{self.dataset.name} has no published class splits; use --setting {ALL_CLASSES}."
            )
        if not self.splits:
            object.__setattr__(self, "splits", tuple(range(NUM_SPLITS)))
        for index in self.splits:
            Split(self.dataset.name, self.setting, index)

    @property
    def tious(self) -> tuple[float, ...]:
        """Of the dataset's profile; none where frames or sentences are scored."""
        return PROFILES.get(self.dataset.profile, ())

    @property
    def evaluated(self) -> str:
        """The subset whose videos are evaluated, or several: ``"validation+test"``."""
        if self.subset:
            return self.subset
        train, test = self.dataset.train_subset, self.dataset.test_subset
        return f"{train}+{test}" if self.rule == "t3al-code" else test

    @cached_property
    def parts(self) -> dict[str, ZeroShot]:
        """Each split by its number, or "all": videos and candidate names."""
        if self.setting == ALL_CLASSES:
            names = self.dataset.class_names
            part = zero_shot(self.dataset, names, rule=self.rule, eval_subset=self.evaluated)
            return {ALL_CLASSES: part}
        if self.unseen:
            unseen = {OWN_CLASSES: self.unseen}
        else:
            split_of = partial(Split, self.dataset.name, self.setting)
            unseen = {str(index): split_of(index).unseen for index in self.splits}
        return {
            name: zero_shot(
                self.dataset,
                names,
                rule=self.rule,
                eval_subset=self.evaluated,
                generalized=self.generalized,
            )
            for name, names in unseen.items()
        }

    def card(self, **made: object) -> Card:
        """The card's protocol half, and whatever says how the predictions were made."""
        values: dict[str, object] = {
            "dataset": self.dataset.name,
            "subset": self.evaluated,
            "profile": self.dataset.profile,
            "tious": self.tious,
            "setting": self.setting,
            "splits": self.splits,
            "rule": self.rule,
            "generalized": self.generalized,
            "excluded": self.dataset.excluded,
        }
        return Card(**(values | made_here() | made))  # type: ignore[arg-type]


def score_split(
    name: str,
    predictions: Mapping[str, Detections],
    truth: Mapping[str, Annotations],
    tious: Sequence[float],
    *,
    only_predicted: bool = False,
) -> SplitScore:
    """The average precisions of one split.

    ``only_predicted`` counts the ground truth of videos with predictions alone, as STALE's
    evaluator does; the result is not comparable with any other.
    """
    if only_predicted:
        truth = {video: true for video, true in truth.items() if video in predictions}
        if not truth:
            raise FormatError("No video of the ground truth has predictions.")
    scores = evaluate_detection(predictions, truth, tious=tious)
    regions = label_given(predictions, truth, tious)
    return SplitScore.of(name, scores, truth, predictions, regions)


@dataclass(frozen=True)
class Run:
    """A result, and of each split what was scored against what."""

    result: Result
    predictions: Mapping[str, Mapping[str, Detections]]
    truth: Mapping[str, Mapping[str, Annotations]]
    num_aside: int = 0
    """Predictions that no split counts: see `in_scope`."""
    decision: Decision | None = None
    """What the method says of what it ranks, as it is shipped; None of predictions from files."""


def score_files(
    protocol: Protocol,
    predictions: Mapping[str, Mapping[str, Detections]],
    *,
    method: str,
    external_scores: str = "none",
    only_predicted: bool = False,
) -> Run:
    """Score predictions by split, or the same ones under "all" for every split.

    Raises FormatError when no predicted video is in the ground truth, which is a mistake in the
    ids.
    """
    scores: list[SplitScore] = []
    truth: dict[str, Mapping[str, Annotations]] = {}
    counted: dict[str, Mapping[str, Detections]] = {}
    num_aside = 0
    for name, part in protocol.parts.items():
        given = predictions.get(name, predictions.get(ALL_CLASSES))
        if given is None:
            raise FormatError(f"There are no predictions for split {name}.")
        counted[name] = in_scope(protocol, match_ids(given, part.test), part.test)
        num_aside += sum(map(len, given.values())) - sum(map(len, counted[name].values()))
        truth[name] = part.test
        score = score_split(
            name, counted[name], part.test, protocol.tious, only_predicted=only_predicted
        )
        scores.append(score)
    card = protocol.card(
        method=method, external_scores=external_scores, only_predicted=only_predicted
    )
    return Run(Result(card, tuple(scores)), counted, truth, num_aside)


def in_scope(
    protocol: Protocol, predictions: Mapping[str, Detections], truth: Mapping[str, Annotations]
) -> dict[str, Detections]:
    """Without the predictions in videos of the dataset that this split does not evaluate.

    Those are of another subset, excluded, or without any instance of the split's classes. With
    all classes the last ones stay, as in the official evaluator: every prediction there is
    false, and so is every one in a video that the dataset does not know. Where videos were
    annotated for some classes alone, only predictions of these stay.
    """
    data = protocol.dataset
    evaluated = truth.keys() if protocol.splits else data.subset(protocol.evaluated).keys()
    known = {video for videos in data.subsets.values() for video in videos}
    known.update(data.excluded)
    aside = known - evaluated
    if data.known:
        aside |= predictions.keys() - data.known.keys()
    kept = {video: found for video, found in predictions.items() if video not in aside}
    return {video: only_known(data, video, found) for video, found in kept.items()}


def only_known(data: Dataset, video: str, found: Detections) -> Detections:
    """The detections of classes that the video was annotated for."""
    if video not in data.known:
        return found
    known = np.array([name in data.known[video] for name in found.names], dtype=bool)
    return found[known[found.labels]]


def match_ids(
    predictions: Mapping[str, Detections], truth: Mapping[str, Annotations]
) -> dict[str, Detections]:
    """The predictions under the ids of the ground truth, which may lack or have a ``v_``.

    Raises FormatError when none of them is in the ground truth, or when two become one.
    """
    found: dict[str, Detections] = {}
    num_known = 0
    for name, detections in predictions.items():
        stem = Path(name).stem if Path(name).suffix.lower() in (".mp4", ".mkv", ".avi") else name
        options = (name, stem, stem.removeprefix("v_"), f"v_{stem}")
        known = next((option for option in options if option in truth), None)
        num_known += known is not None
        if (known or name) in found:
            raise FormatError(f"Predictions: the video {name!r} is there twice.")
        found[known or name] = detections
    if predictions and not num_known:
        raise FormatError(
            f"None of the {len(predictions)} predicted videos is in the ground truth: "
            f"{next(iter(predictions))!r} there, {next(iter(truth))!r} here. Compare the ids."
        )
    return found


def whole_video_with_true_labels(truth: Mapping[str, Annotations]) -> dict[str, Detections]:
    """Every video's whole length under each of its own labels: an oracle without localization.

    On ActivityNet it beats several published methods, so it is printed beside every result there.
    """
    oracle = {}
    for video, true in sorted(truth.items()):  # all scores tie: an order that no file decides
        labels = np.unique(true.labels)
        end_s = true.duration_s if np.isfinite(true.duration_s) else float(true.segments.max())
        oracle[video] = Detections(
            segments=np.tile([0.0, end_s], (len(labels), 1)),
            scores=np.ones(len(labels)),
            labels=labels,
            names=true.names,
            presence=np.ones(len(true.names)),
        )
    return oracle
