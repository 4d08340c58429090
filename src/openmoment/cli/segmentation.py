"""openmoment evaluate, for action segmentation: every frame has a label, or is background."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from openmoment.cli.options.trained import checkpoints_of
from openmoment.cli.text.console import print_json, progress_bar, say
from openmoment.errors import ConfigError

if TYPE_CHECKING:
    from openmoment.evaluation.protocol import Protocol
    from openmoment.evaluation.tables import TableFormat
    from openmoment.experiments.detection import SnippetSource
    from openmoment.experiments.segmentation import SegmentationRun
    from openmoment.pipeline.answering import Pipeline

RESULT = "segmentation.json"


def is_segmentation(dataset: str) -> bool:
    """Whether a dataset is one of action segmentation."""
    from openmoment.datasets import DATASETS

    return dataset in DATASETS and DATASETS[dataset].task == "segmentation"


def refuse_moments(name: str, *given: object) -> None:
    """Raises ConfigError for a prediction file, and options that speak of moments."""
    if any(one is not None for one in given):
        raise ConfigError(
            f"{name} is for action segmentation: run a method on it, without a prediction file, "
            "--review and --diagnose."
        )


def evaluate_segmentation(
    protocol: "Protocol",
    source_of: "Callable[[Pipeline], SnippetSource]",
    load: "Callable[[Path | None], Pipeline]",
    checkpoint: Path | None,
    *,
    keeps_overlap: bool,
    text_check: bool,
    allow_missing: bool,
    with_classes: bool,
    out: Path | None,
    form: "TableFormat",
    as_json: bool,
) -> None:
    """Run a method over the frames of a subset, and print how good its labels are.

    ``load`` gives the method, of a checkpoint where there is one. Windows of a trained method do
    not overlap, unless the user says by how much.
    """
    from openmoment.experiments.detection import text_checks
    from openmoment.experiments.segmentation import apart, run_segmentation
    from openmoment.storage.atomic import write_text

    trained = checkpoints_of(checkpoint, protocol, load)
    pipeline = trained(next(iter(protocol.parts))) if trained else load(None)
    source = source_of(pipeline if keeps_overlap else apart(pipeline))
    with progress_bar(source.pipeline.method_name) as advance:
        run = run_segmentation(
            protocol,
            source,
            trained_on=trained.trained_on if trained else (),
            allow_missing=allow_missing,
            advance=advance,
        )
    checks: dict[str, SegmentationRun] = {}
    for name, rename in text_checks().items() if text_check else ():
        with progress_bar(name) as advance:
            checks[name] = run_segmentation(
                protocol, source, allow_missing=True, rename=rename, advance=advance
            )
    document = to_dict(run, checks)
    if as_json:
        print_json(document)
    else:
        show(run, checks, form, with_classes=with_classes)
    if out:
        out.mkdir(parents=True, exist_ok=True)
        write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", out / RESULT)
        say(f"Wrote {out / RESULT}.")


def to_dict(run: "SegmentationRun", checks: "dict[str, SegmentationRun]") -> dict[str, Any]:
    """The result as JSON has it, with what papers report of the dataset."""
    from openmoment.evaluation.published import published_beside

    document = run.to_dict()
    if checks:
        document["text_check"] = {name: check.metrics for name, check in checks.items()}
    document["published_percent"] = [
        {**vars(row), "percent": dict(row.percent), "note": row.note}
        for row in published_beside(run.card.dataset, "closed")
    ]
    return document


def show(
    run: "SegmentationRun",
    checks: "dict[str, SegmentationRun]",
    form: "TableFormat",
    *,
    with_classes: bool,
) -> None:
    """Tables of percent: this result, its text checks, who says nothing, and the papers."""
    from openmoment.cli.text.results import told_drops
    from openmoment.evaluation.published import published_beside
    from openmoment.evaluation.tables import percent, render, trained_among
    from openmoment.experiments.segmentation import FPS, frame_metrics

    card, names = run.card, list(run.metrics)
    trained = trained_among(run.classes, card)
    typer.echo(
        f"{card.method} on {card.dataset} {card.subset}, {card.backbone}; {run.num_videos} videos; "
        f"{run.frames.num_frames} frames, {FPS:g} a second; {len(run.classes)} classes"
        f"{f', {card.setting}' if card.setting != 'all' else ''}{f'; {trained}' if trained else ''}"
        f"{f'; {len(card.missing)} videos missing' if card.missing else ''}. In percent:\n"
    )
    ours = {"this result": run.metrics, **{name: check.metrics for name, check in checks.items()}}
    ours["all background"] = frame_metrics(run.all_background)
    rows = [
        [name, *(percent(metrics[m]) if m in metrics else "" for m in names), ""]
        for name, metrics in ours.items()
    ]
    rows += [
        [
            f"{row.method} ({row.paper})",
            *(f"{row.percent[m]:.1f}" if m in row.percent else "" for m in names),
            row.note,
        ]
        for row in published_beside(card.dataset, "closed")
    ]
    typer.echo(render(["result", *names, "note"], rows, form))
    if with_classes:
        per_class = [[name, percent(ap)] for name, ap in run.to_dict()["classes"].items()]
        typer.echo("\n" + render(["class", "AP"], per_class, form))
    if checks:
        others = {name: check.frames.mean_ap for name, check in checks.items()}
        own, num_labels = run.frames.mean_ap, len(run.classes)
        typer.echo("\n" + told_drops("frame mAP", own, others, num_labels=num_labels))
