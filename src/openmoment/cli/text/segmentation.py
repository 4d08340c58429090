"""What openmoment evaluate prints of action segmentation: frames with a label, or background."""

from collections.abc import Mapping

import typer

from openmoment.cli.text.console import print_json, say
from openmoment.cli.text.results import Told, told_drops
from openmoment.evaluation.published import published_beside
from openmoment.evaluation.tables import TableFormat, percent, render, trained_among
from openmoment.experiments.segmentation import (
    FPS,
    SegmentationRun,
    frame_metrics,
    keep_document,
    to_document,
)


def tell(run: SegmentationRun, checks: Mapping[str, SegmentationRun], told: Told) -> None:
    """Print a run, and keep it."""
    document = to_document(run, checks)
    if told.as_json:
        print_json(document)
    else:
        show(run, checks, told.form, with_classes=told.with_classes)
    if told.out:
        say(f"Wrote {keep_document(document, told.out)}.")


def show(
    run: SegmentationRun,
    checks: Mapping[str, SegmentationRun],
    form: TableFormat,
    *,
    with_classes: bool,
) -> None:
    """Tables of percent: this result, its text checks, who says nothing, and the papers."""
    card = run.card
    trained = trained_among(run.classes, card)
    typer.echo(
        f"{card.method} on {card.dataset} {card.subset}, {card.backbone}; {run.num_videos} videos; "
        f"{run.frames.num_frames} frames, {FPS:g} a second; {len(run.classes)} classes"
        f"{f', {card.setting}' if card.setting != 'all' else ''}{f'; {trained}' if trained else ''}"
        f"{f'; {len(card.missing)} videos missing' if card.missing else ''}. In percent:\n"
    )
    typer.echo(render(["result", *run.metrics, "note"], _rows(run, checks), form))
    if with_classes:
        per_class = [[name, percent(ap)] for name, ap in run.to_dict()["classes"].items()]
        typer.echo("\n" + render(["class", "AP"], per_class, form))
    if checks:
        others = {name: check.frames.mean_ap for name, check in checks.items()}
        own, num_labels = run.frames.mean_ap, len(run.classes)
        typer.echo("\n" + told_drops("frame mAP", own, others, num_labels=num_labels))


def _rows(run: SegmentationRun, checks: Mapping[str, SegmentationRun]) -> list[list[str]]:
    """Our results, and below them the papers'."""
    names = list(run.metrics)
    ours = {"this result": run.metrics, **{name: check.metrics for name, check in checks.items()}}
    ours["all background"] = frame_metrics(run.all_background)
    return [
        *(
            [name, *(percent(metrics[m]) if m in metrics else "" for m in names), ""]
            for name, metrics in ours.items()
        ),
        *(
            [f"{row.method} ({row.paper})", *map(row.cell, names), row.note]
            for row in published_beside(run.card.dataset, "closed")
        ),
    ]
