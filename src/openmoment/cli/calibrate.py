"""openmoment calibrate: fit thresholds and presence to what people marked."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from openmoment.cli.options.outputs import Json
from openmoment.cli.text.console import counted, print_json, say, verb

if TYPE_CHECKING:
    from openmoment.calibration import Estimate, Fitted, Gathered

FEW_MARKS = 60
SLACK = 0.02
"""By how much a measured precision may be off without a word."""


@verb
def calibrate_verb(
    reviews: Annotated[
        list[Path], typer.Argument(help="Review files, or folders of them.", show_default=False)
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE.json", help="Write the calibration: for find --calibration."),
    ] = None,
    precision: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="The lowest cut that promises it, such as 0.9.",
            show_default="the cut of the highest F1",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Fit score thresholds and presence to what people accepted and rejected.

    Says how good decisions on the marked videos are, as the method makes them and as the
    calibration would: each video decided by a fit on the others.

    openmoment calibrate FOLDER/openmoment/reviews --out calibration.json
    """
    from openmoment.calibration import estimate, fit, marks_of, write_calibration
    from openmoment.reviews import read_reviews

    gathered = marks_of(read_reviews(reviews).values())
    fitted = fit(gathered.source, gathered.marks, precision=precision)
    report = estimate(gathered.source, gathered.marks, precision=precision)
    warnings = warn(gathered, report, precision)
    if out:
        write_calibration(fitted, report, out)
    if as_json:
        print_json(
            fitted.to_dict()
            | {"fingerprint": fitted.fingerprint, "marks": report.to_dict(), "warnings": warnings}
        )
    else:
        show(fitted, gathered, report)
    for warning in warnings:
        say(warning)
    if out:
        say(f"Wrote {out}: openmoment find VIDEO ... --calibration {out}")


def warn(gathered: "Gathered", report: "Estimate", precision: float | None) -> list[str]:
    """What a person should know before believing the numbers."""
    marks = gathered.marks
    warnings: list[str] = []
    for source, count in gathered.others.items():
        warnings.append(f"Left out: {count} queries of videos that {source.described} was asked.")
    if len(marks) < FEW_MARKS:
        warnings.append(f"{len(marks)} marks are few: take all of this for a first guess.")
    if report.is_held_out:
        warnings += warn_of_loss(report, precision)
    else:
        warnings.append('One video alone: "after" is the fit itself, and flatters.')
    if not marks.is_checked.any():
        warnings.append(
            "No query was checked: recall is that of what was marked, and the cut stays at or "
            "above the method's own. Check queries to learn what is missed."
        )
    return warnings


def warn_of_loss(report: "Estimate", precision: float | None) -> list[str]:
    """Whether videos that were held out show less than is promised: a higher F1, or a precision."""
    from openmoment.evaluation.tables import percent

    before, after = report.before, report.after
    if precision is not None:
        if after.precision >= precision - SLACK:
            return []
        return [
            f"The precision asked for was {precision:g}; on held-out videos it is "
            f"{after.precision:.2f}. Mark more, or ask for more."
        ]
    if round(after.f1, 3) >= round(before.f1, 3):
        return []
    return [
        f"Worse than before on held-out videos: F1 was {percent(before.f1)} %, and is "
        f"{percent(after.f1)} %. Do not use this calibration yet: mark more."
    ]


def show(fitted: "Fitted", gathered: "Gathered", report: "Estimate") -> None:
    """The table, the cut and what it is in scores."""
    from tabulate import tabulate

    from openmoment.evaluation.tables import percent

    missed = f", {report.num_missed} missed" if report.num_missed else ""
    typer.echo(
        f"{gathered.source.described}: {report.num_right} right, {report.num_wrong} wrong{missed}, "
        f"in {counted(report.num_videos, 'video')}"
    )
    rows = [
        [name, percent(d.precision), percent(d.recall), percent(d.f1), f"{d.brier:.3f}"]
        + ["-" if d.presence_right is None else percent(d.presence_right)]
        for name, d in (("before", report.before), ("after", report.after))
    ]
    header = ["", "precision %", "recall %", "F1 %", "Brier", "occurs right %"]
    align = ["left"] + ["right"] * (len(header) - 1)
    table = tabulate(rows, header, tablefmt="plain", colalign=align, disable_numparse=True)
    typer.echo(f"\n{table}\n")
    typer.echo(f"Kept from a probability of {fitted.threshold:.2f} on, which is this score:")
    rows = [
        [name, f"{fitted.score.score_at(fitted.threshold, name):.2f}", f"{count} marks"]
        for name, count in gathered.marks.counts.items()
    ]
    rows.append(["any other", f"{fitted.score.score_at(fitted.threshold, ''):.2f}", ""])
    typer.echo(tabulate(rows, tablefmt="plain", disable_numparse=True))
    if fitted.presence is None:
        typer.echo("Presence stays as the method says it: too few queries are known.")
