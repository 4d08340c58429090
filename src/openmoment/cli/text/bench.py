"""What openmoment bench says of runs: of those to do, and of each as it ends."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from openmoment.bench.job import Job
    from openmoment.bench.places import Brought
    from openmoment.bench.runner import Outcome
    from openmoment.bench.suite import DatasetPart, MethodPart, Suite

    Planned = list[tuple[Job, DatasetPart, MethodPart]]


def show_plan(suite: "Suite", planned: "Planned", brought: "Brought", out: Path | None) -> None:
    """What the suite brings, what is missing, and what is to do."""
    from openmoment.bench.places import missing_places
    from openmoment.bench.record import is_finished, read_failure

    typer.echo("\n".join(filter(None, [suite.title, suite.description.strip()])) + "\n")
    for part in {part.name: part for _, part, _ in planned}.values():
        made = "made by this command" if part.is_made else "to be brought"
        typer.echo(f"{part.name}: {part.dataset}, {made}")
        if part.obtain:
            typer.echo(part.obtain.strip() + "\n")
    for option, told in missing_places(planned, brought).items():
        typer.echo(f"missing: {option} ({told})")
    typer.echo("")
    for job, _, _ in planned:
        status = "to do"
        if out and is_finished(job.folder(out)):
            status = "finished"
        elif out and (message := read_failure(job.folder(out))):
            status = f"failed: {message}"
        typer.echo(f"{job.name}: {status}")


def told_outcome(outcome: "Outcome", out: Path) -> str:
    """One run that has ended: its decisive number, or why it failed."""
    from openmoment.bench.record import read_record
    from openmoment.bench.summary import DECISIVE
    from openmoment.types import clock

    if outcome.status == "failed":
        return f"{outcome.job.name}: failed: {outcome.message}"
    record = read_record(outcome.job.folder(out))
    metric = DECISIVE[record.task]
    value = 100 * record.metrics[metric]
    return f"{outcome.job.name}: {metric} {value:.1f} ({clock(outcome.seconds)})"
