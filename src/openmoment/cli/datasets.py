"""openmoment datasets: what is known of each, and what is in the files at hand."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from openmoment.cli.compose import compose_verb
from openmoment.cli.options.datasets import Root, Subset
from openmoment.cli.options.outputs import Json
from openmoment.cli.synthesize import synthesize_verb
from openmoment.cli.text.console import INPUT_FAULT, print_json, say, verb

if TYPE_CHECKING:
    from openmoment.datasets.lint import Report

_EXAMPLES = 3

app = typer.Typer(
    help="List datasets, check their files, show class splits, compose one, make one up.",
    no_args_is_help=True,
)
app.command("synthesize")(synthesize_verb)
app.command("compose")(compose_verb)


@app.command("list")
@verb
def list_verb(as_json: Json = False) -> None:
    """List the datasets: what they are for, which files are known, where to get them."""
    from openmoment.datasets import DATASETS

    rows = [
        {
            "name": name,
            "title": benchmark.title,
            "task": benchmark.task,
            "files": [" + ".join(layout.files) for layout in benchmark.layouts],
            "where": benchmark.where_to_get,
        }
        for name, benchmark in DATASETS.items()
    ]
    if as_json:
        print_json({"datasets": rows})
        return
    for row in rows:
        typer.echo(f"{row['name']}: {row['title']}, {row['task']}")
        typer.echo(f"  files: {'; or '.join(row['files'])}")
        typer.echo(f"  {row['where']}\n")


@app.command("check")
@verb
def check_verb(
    name: Annotated[str, typer.Argument(metavar="NAME", help="openmoment datasets list.")],
    root: Root,
    annotations: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Which file, where there are several.")
    ] = None,
    videos: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Check that the videos are there.")
    ] = None,
    features: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Check that the feature files are there.")
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Print every finding, not only examples.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Report what is present, missing, extra, out of range, inverted, repeated or mislabelled.

    Exits with 2 when the annotations cannot be evaluated as they are.
    """
    from openmoment.datasets import DATASETS
    from openmoment.datasets.base import read_records
    from openmoment.datasets.lint import lint

    benchmark = DATASETS[name]
    records, sources = read_records(benchmark, root, annotations)
    report = lint(benchmark, records, sources=sources, files=_files(videos, features))
    if as_json:
        print_json(report.to_dict())
    else:
        _print_report(report, every=every)
        if report.counts.get("missing"):
            say(f"What is missing: {benchmark.where_to_get}")
    if not report.is_usable:
        raise typer.Exit(INPUT_FAULT)


@app.command("splits")
@verb
def splits_verb(
    split: Annotated[str, typer.Argument(metavar="SPLIT", help="Such as thumos14/50-50/3.")],
    as_json: Json = False,
) -> None:
    """Print the seen and unseen classes of one published split."""
    from openmoment.datasets.splits import parse_split

    found = parse_split(split)
    if as_json:
        print_json({"split": str(found), "seen": found.seen, "unseen": found.unseen})
        return
    for title, names in (("seen", found.seen), ("unseen", found.unseen)):
        typer.echo(f"{title} ({len(names)}): {', '.join(names)}")


@app.command("queries")
@verb
def queries_verb(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A dataset of moment retrieval.")],
    root: Root,
    out: Annotated[Path, typer.Option(metavar="FILE.jsonl", help="What to write.")],
    subset: Subset = None,
) -> None:
    """Write the sentences of a dataset, with ids and windows, one a line, as QVHighlights does.

    Answer them by qid, and openmoment evaluate scores it.
    """
    from openmoment.datasets import load_retrieval
    from openmoment.evaluation.retrieval_files import write_queries

    data = load_retrieval(name, root)
    moments = data.subset(subset or data.test_subset)
    write_queries(moments, out)
    say(f"Wrote {len(moments)} queries to {out}.")


def _files(videos: Path | None, features: Path | None) -> set[str] | None:
    """The ids of the files at hand, when the user said where they are."""
    from openmoment.features.file import find_features
    from openmoment.storage.listing import find_videos

    if videos is None and features is None:
        return None
    found = {path.stem for path in find_videos(videos)} if videos else set()
    if features:
        found |= {path.stem for path in find_features(features).values()}
    return found


def _print_report(report: "Report", *, every: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    from openmoment.datasets.lint import KINDS

    typer.echo(f"{report.title}: {', '.join(str(path) for path in report.sources)}\n")
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column("subset")
    for column in ("videos", "published", "instances", "published"):
        table.add_column(column, justify="right")
    for row in report.subsets:
        table.add_row(*("" if cell is None else str(cell) for cell in row.values()))
    Console(highlight=False).print(table)
    if not report.findings:
        typer.echo("\nNothing to report.")
    for kind, count in report.counts.items():
        typer.echo(f"\n{kind}: {count} ({KINDS[kind]})")
        mine = [finding for finding in report.findings if finding.kind == kind]
        for finding in mine if every else mine[:_EXAMPLES]:
            typer.echo(f"  {finding.video}" + (f": {finding.detail}" if finding.detail else ""))
        if not every and count > _EXAMPLES:
            typer.echo(f"  and {count - _EXAMPLES} more (--all)")
