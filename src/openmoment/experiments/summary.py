"""Everything that is told of one run: scores, text checks, oracle, recall, review, diagnosis."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from openmoment.errors import ConfigError
from openmoment.evaluation.detection import average_recall
from openmoment.evaluation.diagnosis import Diagnosis
from openmoment.evaluation.diagnosis import diagnose as diagnosis_of
from openmoment.evaluation.grounding import Grounding, among, evaluate_grounding
from openmoment.evaluation.protocol import (
    Protocol,
    Run,
    score_split,
    whole_video_with_true_labels,
)
from openmoment.evaluation.result import Result
from openmoment.evaluation.review import Review, review_cost
from openmoment.experiments.kept import plain_published
from openmoment.postprocess import EVEN, Decision, decide
from openmoment.types import Annotations, Detections

_NUM_PROPOSALS = (1, 5, 10, 50, 100)
"""Of a video, on average: those of the ActivityNet proposal task, and some below."""


@dataclass(frozen=True)
class Summary:
    """A run, and what was asked about it besides its scores."""

    run: Run
    checks: Mapping[str, Result] = field(default_factory=dict[str, Result])
    has_regions: bool = False
    """Whether GRIZAL's metrics, with the label given, are told too."""
    recall: Mapping[str, float] = field(default_factory=dict[str, float])
    """Of proposals: AR@AN and the area under it."""
    oracle: Result | None = None
    """Whole videos under their true labels, where that is hard to beat."""
    review: Review | None = None
    diagnosis: Diagnosis | None = None
    grounding: Grounding | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold, with what papers report."""
        card = self.run.result.card
        document = self.run.result.to_dict()
        if self.checks:
            document["text_check"] = {name: check.mean for name, check in self.checks.items()}
        if self.recall:
            document["proposal_recall"] = self.recall
        if self.oracle:
            document["whole_video_true_labels"] = self.oracle.mean
        if self.review:
            document["review"] = self.review.to_dict()
        if self.diagnosis:
            document["diagnosis"] = self.diagnosis.to_dict()
        if self.grounding:
            document["grounding"] = self.grounding.to_dict()
        document["published_percent"] = plain_published(card.dataset, card.setting)
        return document


def summarise(
    run: Run,
    checks: Mapping[str, Result],
    *,
    review: float | None = None,
    diagnose: bool = False,
    regions: bool = False,
    recall: bool = False,
    grounding: Protocol | None = None,
    groups: Mapping[str, Collection[str]] | None = None,
) -> Summary:
    """What was asked about a run.

    ``review`` is a recall, ``groups`` are class names to diagnose apart; both need a single split.
    ``regions`` adds GRIZAL's metrics, ``recall`` those of proposals, ``grounding``, the protocol
    of the run, whether it is told what occurs. Raises ConfigError where
    there is nothing to say.
    """
    if regions and not run.result.label_given:
        raise ConfigError(
            "--label-given needs a score for every class and snippet: --method or --checkpoint "
            "of one that has them."
        )
    found = Summary(
        run,
        checks,
        has_regions=regions,
        recall=_recall(run) if recall else {},
        oracle=_oracle(run) if run.result.card.dataset == "activitynet" else None,
        grounding=_grounding(run, grounding) if grounding else None,
    )
    if review is None and not diagnose:
        return found
    if len(run.truth) > 1:
        raise ConfigError("--review and --diagnose look at one split: add --splits 0.")
    (name,) = run.truth
    predictions, truth = run.predictions[name], run.truth[name]
    tious = run.result.card.tious
    return replace(
        found,
        review=None if review is None else review_cost(predictions, truth, recall=review),
        diagnosis=(
            diagnosis_of(predictions, truth, tious=tious, groups=groups) if diagnose else None
        ),
    )


def seen_and_unseen(protocol: Protocol) -> dict[str, tuple[str, ...]]:
    """The classes of either kind, where the one split evaluates both."""
    if not (protocol.generalized and len(protocol.splits) == 1):
        return {}
    (part,) = protocol.parts.values()
    return {"seen": part.seen, "unseen": part.unseen}


def _grounding(run: Run, protocol: Protocol) -> Grounding:
    """Of all candidates of every split's videos, as the method decides; of files by one half.

    Files of our own form hold what was decided.
    """
    said: dict[str, Detections] = {}
    truth: dict[str, Annotations] = {}
    for split, videos in run.truth.items():
        classes = protocol.parts[split].candidates
        for video, true in videos.items():
            known = protocol.dataset.known.get(video, classes)
            found = run.predictions[split].get(video, Detections.empty(classes))
            if run.decision is not None:
                found = decide(found, run.decision)
            elif found.origin is None:
                found = decide(found, Decision(min_score=EVEN))
            key = f"{split}/{video}"
            said[key], truth[key] = among(found, [n for n in classes if n in known]), true
    return evaluate_grounding(said, truth)


def _recall(run: Run) -> dict[str, float]:
    """AR@AN and the area under it up to the last of these, the mean over the splits."""
    curves = [average_recall(run.predictions[name], truth) for name, truth in run.truth.items()]
    found = {f"AR@{n}": [curve.at(float(n)) for curve in curves] for n in _NUM_PROPOSALS}
    found["AUC"] = [curve.auc for curve in curves]
    return {name: sum(values) / len(values) for name, values in found.items()}


def _oracle(run: Run) -> Result:
    card = replace(run.result.card, method="whole_video", settings={}, backbone="")
    scores = [
        score_split(name, whole_video_with_true_labels(truth), truth, card.tious)
        for name, truth in run.truth.items()
    ]
    return Result(card, tuple(scores))
