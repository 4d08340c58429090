"""What openmoment evaluate prints of moment retrieval: sentences, not classes."""

from collections.abc import Mapping, Sequence

import typer

from openmoment.cli.text.console import print_json
from openmoment.cli.text.results import Told, say_kept, told_drops
from openmoment.evaluation.published import Published, published_beside
from openmoment.evaluation.tables import TableFormat, percent, render
from openmoment.experiments.retrieval import (
    FileScore,
    RetrievalRun,
    keep_retrieval,
    to_document,
)

_DECISIVE = "R@1,IoU=0.5"


def tell_file(score: FileScore, told: Told) -> None:
    """Print how good a prediction file is."""
    if told.as_json:
        print_json(score.to_dict())
    else:
        show_file(score, told.form)


def tell(run: RetrievalRun, checks: Mapping[str, Mapping[str, float]], told: Told) -> None:
    """Print a run, and keep it."""
    document = to_document(run, checks)
    if told.as_json:
        print_json(document)
    else:
        show(run, checks, told.form)
    if told.out:
        keep_retrieval(run, document, told.out)
        say_kept(told.out)


def show_file(score: FileScore, form: TableFormat) -> None:
    """Every metric of a prediction file, and those that papers report beside theirs."""
    typer.echo(
        f"{score.file.name} on {score.profile}; {score.num_queries} queries, "
        f"{score.num_answered} answered.\n"
    )
    metrics, published = score.metrics, score.published
    typer.echo(render(["metric", "%"], [[k, percent(v)] for k, v in metrics.items()], form))
    if published:
        names = [metric for metric in metrics if any(metric in row.percent for row in published)]
        table = _rows({"this result": metrics}, "", published, names)
        typer.echo("\n" + render(["result", "method", *names], table, form))


def show(run: RetrievalRun, checks: Mapping[str, Mapping[str, float]], form: TableFormat) -> None:
    """A table of percent: this result, its text checks, and the papers."""
    card, names = run.card, list(run.metrics)
    num_videos = len({moment.video for moment in run.moments})
    typer.echo(
        f"{card.method} on {card.dataset} {card.subset}, {card.backbone}; {len(run.moments)} "
        f"sentences; {num_videos} videos"
        f"{f'; {len(card.missing)} videos missing' if card.missing else ''}. In percent:\n"
    )
    published = published_beside(card.dataset, "closed")
    rows = _rows({"this result": run.metrics, **checks}, card.method, published, names)
    typer.echo(render(["result", "method", *names], rows, form))
    if checks:
        own, num = run.metrics[_DECISIVE], len(run.moments)
        others = {name: check[_DECISIVE] for name, check in checks.items()}
        told = told_drops(_DECISIVE, own, others, num_labels=num, num_scored=num)
        typer.echo("\n" + told)


def _rows(
    ours: Mapping[str, Mapping[str, float]],
    method: str,
    published: Sequence[Published],
    names: Sequence[str],
) -> list[list[str]]:
    """Our results, and below them the papers', in these metrics."""
    return [
        *([name, method, *(percent(found[m]) for m in names)] for name, found in ours.items()),
        *([row.paper, row.method, *map(row.cell, names)] for row in published),
    ]
