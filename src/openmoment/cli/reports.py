"""openmoment bench report, ledger, cards: what is told of finished runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from openmoment.cli.text.console import say, verb

if TYPE_CHECKING:
    from openmoment.bench.record import Record

Results = Annotated[
    list[Path], typer.Argument(metavar="RESULTS...", help="Folders that bench --out wrote.")
]
MaybeResults = Annotated[
    list[Path] | None,
    typer.Argument(metavar="[RESULTS]...", help="Folders that bench --out wrote."),
]


@verb
def report_verb(
    results: Results,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where report.html, .md, .tex go.")],
    title: Annotated[str, typer.Option(help="Of the report.")] = "Benchmark",
) -> None:
    """Write one report of all finished runs below RESULTS: HTML, Markdown, LaTeX."""
    from openmoment.bench.record import unfinished
    from openmoment.bench.report import told_missing, write_reports

    records = _records(results)
    missing = [name for folder in results for name in unfinished(folder)]
    out.mkdir(parents=True, exist_ok=True)
    if missing:
        say(told_missing(len(records), missing))
    paths = write_reports(records, out, title=title, missing=missing)
    say(f"Wrote {', '.join(map(str, paths))}.")


@verb
def ledger_verb(
    results: MaybeResults = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.md", help="What to write; by default stdout.")
    ] = None,
) -> None:
    """Write the reproduction ledger: the papers' numbers, ours beside them, what is not done."""
    from openmoment.bench.ledger import to_ledger
    from openmoment.storage.atomic import write_text

    text = to_ledger(_records(results or []))
    if out is None:
        typer.echo(text, nl=False)
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(text, out)
    say(f"Wrote {out}.")


@verb
def cards_verb(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the pages go.")],
    results: MaybeResults = None,
) -> None:
    """Write a page for each method: what it is, its choices, presets, cost and failure modes."""
    from openmoment.bench.cards import card_pages
    from openmoment.storage.atomic import write_text

    pages = card_pages(_records(results or []))
    out.mkdir(parents=True, exist_ok=True)
    for name, text in pages.items():
        write_text(text, out / name)
    say(f"Wrote {len(pages)} pages to {out}.")


def _records(results: Sequence[Path]) -> "list[Record]":
    from openmoment.bench.record import read_records

    return [record for folder in results for record in read_records(folder)]
