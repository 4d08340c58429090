"""What openmoment evaluate says of a run, and compare of a result."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from openmoment.cli.text.console import print_json, say
from openmoment.evaluation.protocol import Protocol, Run
from openmoment.evaluation.published import published_beside
from openmoment.evaluation.result import AVERAGE, Result
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
from openmoment.experiments.kept import keep, strange_names
from openmoment.experiments.summary import Summary
from openmoment.report.diagnosis import write_diagnosis


@dataclass(frozen=True)
class Told:
    """How a result is told, and where it is kept."""

    form: TableFormat
    as_json: bool
    with_classes: bool
    out: Path | None


def tell(summary: Summary, told: Told, diagnose: Path | None) -> None:
    """Keep a run, print it, and write the page of its diagnosis."""
    run = summary.run
    if told.out:
        keep(run.result, run.predictions, run.truth, told.out)
    if told.as_json:
        print_json(summary.to_dict())
    else:
        show(summary, told.form, with_classes=told.with_classes)
    if diagnose and summary.diagnosis:
        card = run.result.card
        title = f"Diagnosis of {card.method} on {card.dataset} {card.subset}"
        write_diagnosis(summary.diagnosis, diagnose, title=title)
        say(f"Wrote {diagnose}: open it in a browser.")
    if told.out:
        say_kept(told.out)


def show(summary: Summary, form: TableFormat, *, with_classes: bool) -> None:
    """Tables of percent: the splits, who else was scored, and all that was asked besides."""
    result = summary.run.result
    typer.echo(describe(result) + "\n")
    typer.echo(render(*splits_table(result), form))
    if with_classes:
        typer.echo("\n" + render(*classes_table(result), form))
    rows = [("this result", result), *summary.checks.items()]
    if summary.oracle:
        rows.append(("whole video, true labels (oracle)", summary.oracle))
    published = published_beside(result.card.dataset, result.card.setting)
    if len(rows) > 1 or published:
        typer.echo("\n" + render(*comparison_table(rows, published), form))
    if summary.has_regions:
        told = "With the label given: the region above one half, and all that is annotated."
        typer.echo(f"\n{told}\n\n" + render(*regions_table(rows, result.card), form))
    if summary.recall:
        told = "Recall of the best proposals of a video, labels aside, over tIoU 0.5 to 0.95."
        cells = [percent(value) for value in summary.recall.values()]
        typer.echo(f"\n{told}\n\n" + render(list(summary.recall), [cells], form))
    if summary.checks:
        typer.echo("\n" + _drops(result, summary.checks))
    for part in (summary.grounding, summary.review, summary.diagnosis):
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


def say_unchecked(unchecked: Sequence[tuple[str, str]]) -> None:
    """Which queries of reviews are left out, each with its video."""
    if not unchecked:
        return
    (query, video), videos = unchecked[0], {video for _, video in unchecked}
    say(
        f"Left out, as nobody checked: {query!r} in {video}"
        + (f" and {len(unchecked) - 1} more, in {len(videos)} videos" if unchecked[1:] else "")
        + "."
    )


def say_of_file(run: Run, protocol: Protocol) -> None:
    """Predictions that do not count, and names that only one side has."""
    if run.num_aside:
        queries = ", or of queries," if protocol.dataset.known else ""
        say(
            f"{run.num_aside} predictions are in videos{queries} that are not evaluated; they do "
            "not count."
        )
    predicted, true = strange_names(run)
    for names, told in (
        (predicted, "is predicted and no class of the ground truth"),
        (true, "is a class and was never predicted"),
    ):
        if names:
            others = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
            say(f"{min(names)!r}{others} {told}.")


def say_kept(folder: Path) -> None:
    """Where a result is."""
    say(f"Result, predictions and ground truth are in {folder}.")
