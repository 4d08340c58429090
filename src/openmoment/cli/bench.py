"""openmoment bench: many methods on many datasets, and one report of them all."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from openmoment.cli.options.datasets import AllowMissing
from openmoment.cli.reports import cards_verb, ledger_verb, report_verb
from openmoment.cli.text.bench import show_plan, told_outcome
from openmoment.cli.text.console import INPUT_FAULT, counted, progress_bar, say, verb

if TYPE_CHECKING:
    from openmoment.bench.job import Job
    from openmoment.bench.suite import DatasetPart, Suite

_INTERRUPTED = "interrupted. Finished runs are kept; the same command goes on."


class SuiteOrVerb(TyperGroup):
    """``bench SUITE`` is short for ``bench run SUITE``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            args = ["run", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=SuiteOrVerb,
    help="Run a suite of methods and datasets, and report: openmoment bench SUITE --out DIR.",
    no_args_is_help=True,
)


@app.command("list")
@verb
def list_verb() -> None:
    """List the suites that ship with the package."""
    from openmoment.bench.suite import read_suite, shipped_suites

    for name in shipped_suites():
        suite = read_suite(name)
        typer.echo(f"{name}: {suite.title}")
        if suite.description:
            typer.echo(f"  {' '.join(suite.description.split())}\n")


@app.command("run")
@verb
def run_verb(
    suite: Annotated[
        str, typer.Argument(metavar="SUITE", help="openmoment bench list; or a file, SUITE.toml.")
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where runs and the report go.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Where what the suite makes goes.", show_default="OUT/data"
        ),
    ] = None,
    root: Annotated[
        list[str] | None,
        typer.Option(metavar="[NAME=]DIR", help="Annotations of dataset NAME; repeatable."),
    ] = None,
    features: Annotated[
        list[str] | None,
        typer.Option(metavar="[NAME=]DIR", help="Feature files of dataset NAME; repeatable."),
    ] = None,
    videos: Annotated[
        list[str] | None,
        typer.Option(metavar="[NAME=]DIR", help="Videos of dataset NAME; repeatable."),
    ] = None,
    captions: Annotated[
        list[str] | None, typer.Option(metavar="[NAME=]DIR", help="Captions; repeatable.")
    ] = None,
    priors: Annotated[
        list[str] | None,
        typer.Option(metavar="[NAME=]DIR", help="Descriptions and pictures; repeatable."),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LIST",
            help="Runs of these names: of a dataset, setting, split, backbone or method, or "
            "patterns of all of it, such as */75-25/0/*; repeatable.",
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="Runs at a time.", show_default="as many as cores allow"),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="Of each run.", show_default="by suite, or cores by jobs"),
    ] = None,
    device: Annotated[
        str, typer.Option(metavar="NAME", help="Where methods run: cpu, cuda, cuda:1.")
    ] = "cpu",
    allow_missing: AllowMissing = False,
    listed: Annotated[
        bool, typer.Option("--list", help="Show what would run, what is there, what is missing.")
    ] = False,
) -> None:
    """Do all runs of SUITE, in parallel, and write a report.

    openmoment bench smoke --out results/smoke

    openmoment bench thumos14-zero-shot --root DIR --features DIR --out results/thumos14

    What is finished in --out is never done again: the same command goes on, and the same command
    started twice shares the work. A run that fails loses no other; the command then ends with 2.
    """
    from openmoment.bench.job import plan_jobs
    from openmoment.bench.places import parse_places, place, require_places
    from openmoment.bench.suite import read_suite
    from openmoment.errors import ConfigError

    found = read_suite(suite)
    given = {"root": root, "features": features, "videos": videos}
    given |= {"captions": captions, "priors": priors}
    brought = parse_places({k: v or [] for k, v in given.items()}, found.datasets)
    planned = plan_jobs(found, only=",".join(only or []))
    if listed:
        show_plan(found, planned, brought, out)
        return
    if out is None:
        raise ConfigError("Say where runs and the report go: --out DIR.")
    require_places(planned, brought, suite)
    made = data or out / "data"
    placed = [
        place(replace(job, allow_missing=allow_missing), part, method, brought, made)
        for job, part, method in planned
    ]
    parts = {part.name: part for _, part, _ in planned}
    try:
        _run(found, placed, parts, out, made, jobs=jobs, threads=threads, device=device)
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt(_INTERRUPTED) from error


app.command("report")(report_verb)
app.command("ledger")(ledger_verb)
app.command("cards")(cards_verb)


def _run(
    suite: "Suite",
    placed: "Sequence[Job]",
    parts: "Mapping[str, DatasetPart]",
    out: Path,
    data: Path,
    *,
    jobs: int | None,
    threads: int | None,
    device: str,
) -> None:
    from openmoment.bench.material import make_material
    from openmoment.bench.measure import share_cores
    from openmoment.bench.record import is_finished
    from openmoment.bench.runner import run_all

    at_once = jobs or (None if device == "cpu" else 1)
    num_jobs, each = share_cores(at_once, threads or suite.threads)
    done = [replace(job, threads=each, device=device) for job in placed]
    needed: dict[str, list[Job]] = {}
    for job in done:
        if not is_finished(job.folder(out)):
            needed.setdefault(job.part, []).append(job)
    with progress_bar("data") as advance:
        material = [(parts[name], jobs_of) for name, jobs_of in needed.items()]
        hear = _labelled(advance)
        make_material(material, data, tell=say, advance=hear, num_jobs=num_jobs, threads=each)
    how = f"{num_jobs} at a time on {counted(each, 'thread')} each"
    say(f"{suite.title}: {counted(len(done), 'run')}, {how}.")
    failed: list[tuple[str, str]] = []
    with progress_bar(suite.name) as advance:
        for number, outcome in enumerate(run_all(done, out, num_jobs=num_jobs), start=1):
            if advance:
                advance(number, len(done), outcome.job.name)
            if outcome.status == "failed":
                failed.append((outcome.job.name, outcome.message))
            if outcome.status != "present":
                say(f"{number}/{len(done)} {told_outcome(outcome, out)}")
    _report(suite, done, out, failed)
    if failed:
        raise typer.Exit(INPUT_FAULT)


def _labelled(
    advance: "Callable[..., None] | None",
) -> "Callable[[str], Callable[[float, float], None]] | None":
    if advance is None:
        return None
    return lambda label: lambda done, total: advance(done, total, label)


def _report(
    suite: "Suite", jobs: "Sequence[Job]", out: Path, failed: Sequence[tuple[str, str]]
) -> None:
    """Of the runs of the suite that are there."""
    from openmoment.bench.record import is_finished, read_record
    from openmoment.bench.report import write_reports

    folders = [job.folder(out) for job in jobs]
    records = [read_record(folder) for folder in folders if is_finished(folder)]
    if not records:
        return
    paths = write_reports(records, out, title=suite.title, failed=failed)
    say(f"{len(records)} runs are there, {len(failed)} failed. Wrote {', '.join(map(str, paths))}.")
