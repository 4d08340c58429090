"""What openmoment ablate says: each row as it comes, and the table beside the paper's."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from openmoment.cli.text.console import progress_bar, say
from openmoment.evaluation.result import AVERAGE
from openmoment.evaluation.tables import percent, render

if TYPE_CHECKING:
    from openmoment.experiments.ablation import Ablation, RowBeside
    from openmoment.training.loop import Heard

_USUAL = ("mAP@0.5", AVERAGE)
_REGIONS = ("R@IoU0.5", "mIoU")
"""What GRIZAL reports, with the label given."""


def follow(ablation: "Ablation", table: str) -> "list[RowBeside]":
    """Run the rows of a table with a bar, and say what each comes to."""
    rows: list[RowBeside] = []
    with progress_bar(f"{ablation.plan.method}, table {table}") as advance:

        def hear(label: str, heard: "Heard") -> None:
            if advance:
                advance(heard.step, heard.num_steps, label)

        for row in ablation.beside_paper(table, hear=hear):
            rows.append(row)
            say(f"{row.row}: {percent(row.ours[AVERAGE]) if row.ours else row.note}")
    return rows


def show(table: str, rows: "Sequence[RowBeside]", ours: str) -> None:
    """The table in percent; ``ours`` says what our numbers are of."""
    papers = [row.paper for row in rows if row.paper]
    has_regions = any(paper.percent.keys() >= set(_REGIONS) for paper in papers)
    reports = _REGIONS if has_regions else _USUAL
    metrics = [row.printed for row in rows if row.printed][-1:]
    names = [*(metrics[0] if metrics else ()), *(_REGIONS if has_regions else ())]
    header = [f"Table {table}", *names, *(f"paper {name}" for name in reports), "note"]
    lines = [
        [
            row.row,
            *(percent(row.ours[name]) if row.ours else "" for name in names),
            *(str(row.paper.percent.get(name, "")) if row.paper else "" for name in reports),
            row.note,
        ]
        for row in rows
    ]
    typer.echo(render(header, lines, "text"))
    typer.echo(f"\nOurs: {ours}.")
    for told in sorted({f"{paper.dataset}, {paper.setting}" for paper in papers}):
        typer.echo(f"The paper's: {told}, CLIP ViT-B/16.")
