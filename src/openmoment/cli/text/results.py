"""What openmoment evaluate says about one run: text for people, JSON for programs."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import typer

from openmoment.errors import ConfigError
from openmoment.evaluation.detection import average_recall
from openmoment.evaluation.diagnosis import Diagnosis
from openmoment.evaluation.diagnosis import diagnose as diagnosis_of
from openmoment.evaluation.protocol import Run, score_split, whole_video_with_true_labels
from openmoment.evaluation.published import published_beside
from openmoment.evaluation.result import AVERAGE, Result
from openmoment.evaluation.review import Review, review_cost
from openmoment.evaluation.tables import (
    TableFormat,
    classes_table,
    comparison_table,
    percent,
    regions_table,
    render,
    splits_note,
    splits_table,
    trained_note,
)
from openmoment.evaluation.text_check import LOWEST, text_verdict, worst_share

_NUM_PROPOSALS = (1, 5, 10, 50, 100)
"""Of a video, on average: those of the ActivityNet proposal task, and some below."""


class Report:
    """Everything that is printed about one run.

    ``review`` is a recall, ``groups`` are class names to diagnose apart; both need a single split.
    ``regions`` adds GRIZAL's metrics, ``recall`` those of proposals. Raises ConfigError where
    there is nothing to say.
    """

    def __init__(
        self,
        run: Run,
        checks: Mapping[str, Result],
        *,
        review: float | None = None,
        diagnose: bool = False,
        regions: bool = False,
        recall: bool = False,
        groups: Mapping[str, Collection[str]] | None = None,
    ) -> None:
        self.run, self.checks, self.regions = run, checks, regions
        self.recall = _recall(run) if recall else {}
        if regions and not run.result.label_given:
            raise ConfigError(
                "--label-given needs a score for every class and snippet: --method or --checkpoint "
                "of one that has them."
            )
        self.oracle = _oracle(run) if run.result.card.dataset == "activitynet" else None
        self.review: Review | None = None
        self.diagnosis: Diagnosis | None = None
        if review is None and not diagnose:
            return
        if len(run.truth) > 1:
            raise ConfigError("--review and --diagnose look at one split: add --splits 0.")
        (name,) = run.truth
        predictions, truth = run.predictions[name], run.truth[name]
        if review is not None:
            self.review = review_cost(predictions, truth, recall=review)
        if diagnose:
            tious = run.result.card.tious
            self.diagnosis = diagnosis_of(predictions, truth, tious=tious, groups=groups)

    def to_dict(self) -> dict[str, Any]:
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
        document["published_percent"] = [
            {**vars(row), "percent": dict(row.percent), "note": row.note}
            for row in published_beside(card.dataset, card.setting)
        ]
        return document

    def show(self, form: TableFormat, *, with_classes: bool) -> None:
        result = self.run.result
        typer.echo(describe(result) + "\n")
        typer.echo(render(*splits_table(result), form))
        if with_classes:
            typer.echo("\n" + render(*classes_table(result), form))
        rows = [("this result", result)]
        rows += list(self.checks.items())
        if self.oracle:
            rows.append(("whole video, true labels (oracle)", self.oracle))
        published = published_beside(result.card.dataset, result.card.setting)
        if len(rows) > 1 or published:
            typer.echo("\n" + render(*comparison_table(rows, published), form))
        if self.regions:
            told = "With the label given: the region above one half, and all that is annotated."
            typer.echo(f"\n{told}\n\n" + render(*regions_table(rows, result.card), form))
        if self.recall:
            told = "Recall of the best proposals of a video, labels aside, over tIoU 0.5 to 0.95."
            cells = [percent(value) for value in self.recall.values()]
            typer.echo(f"\n{told}\n\n" + render(list(self.recall), [cells], form))
        if self.checks:
            typer.echo("\n" + _drops(result, self.checks))
        for part in (self.review, self.diagnosis):
            if part:
                typer.echo("\n" + part.to_text())


def describe(result: Result) -> str:
    """One line: what was evaluated, by which protocol."""
    card = result.card
    parts = [f"{card.method} on {card.dataset} {card.subset}"]
    if card.splits:
        parts.append(f"unseen classes of {card.setting}, {splits_note(result)}")
    parts.append(f"{sum(split.num_videos for split in result.splits)} videos")
    parts.append(f"{sum(sum(split.num_instances) for split in result.splits)} instances")
    if trained := trained_note(result):
        parts.append(trained)
    if card.excluded:
        parts.append(f"without {', '.join(card.excluded)}")
    if card.missing:
        parts.append(f"{len(card.missing)} videos missing")
    if card.rule != "openmoment":
        parts.append(f"by the rule of {card.rule}")
    return "; ".join(parts) + ". In percent:"


def _drops(result: Result, checks: Mapping[str, Result]) -> str:
    return told_drops(
        "average mAP",
        result.mean[AVERAGE],
        {name: check.mean[AVERAGE] for name, check in checks.items()},
        num_labels=min(len(split.classes) for split in result.splits),
        num_scored=sum(sum(split.num_instances) for split in result.splits),
    )


def told_drops(
    metric: str,
    own: float,
    others: Mapping[str, float],
    *,
    num_labels: int,
    num_scored: int | None = None,
) -> str:
    """What a metric, ``own``, becomes in each text check, a line each, and last the verdict.

    ``num_labels`` and ``num_scored`` are as `evaluation.text_check.text_verdict` has them.
    """
    lines = [
        f"{name}: {metric} {percent(own)} becomes {percent(other)}{_left(own, other)}."
        for name, other in others.items()
    ]
    verdict = text_verdict(own, list(others.values()), num_labels=num_labels, num_scored=num_scored)
    return "\n".join([*lines, f"Verdict: {verdict}."])


def _left(own: float, other: float) -> str:
    return f" ({100 * worst_share(own, [other]):.0f} % is left)" if own >= LOWEST else ""


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
