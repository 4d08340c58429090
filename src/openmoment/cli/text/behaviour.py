"""What openmoment stats and agreement print, and their tables for spreadsheets."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import astuple, fields
from pathlib import Path

import typer

from openmoment.behaviour.agreement import TIOUS, Agreement, Scores
from openmoment.behaviour.statistics import QueryStatistics, Statistics
from openmoment.cli.text.console import counted
from openmoment.storage.atomic import write_text
from openmoment.types import clock

Table = tuple[list[str], list[list[str]]]

_TOGETHER = "(all)"
_NOTHING = "-"


def show_statistics(together: Statistics, *, num_videos: int) -> None:
    """The time budget, and who follows whom."""
    typer.echo(_about(together.duration_s, num_videos) + "\n")
    header = ["query", "bouts", "total s", "share", "mean s", "median s", "sd s", "min s", "max s"]
    header += ["per hour", "first at s", "gap s"]
    rows = [
        [
            q.query,
            str(q.count),
            _number(q.total_s),
            _percent(q.share),
            *map(_number, (q.mean_s, q.median_s, q.sd_s, q.min_s, q.max_s)),
            *map(_number, (q.per_hour, q.latency_s, q.interval_mean_s)),
        ]
        for q in together.queries
    ]
    rows.append(["(none of them)", "", "", _percent(together.share_none), *[""] * 8])
    typer.echo(_aligned(header, rows))
    if together.transitions.any():
        typer.echo("\nWhat starts next after a bout has ended, in percent of its row:\n")
        typer.echo(_aligned(*_transitions(together)))


def statistics_table(together: Statistics, each: Mapping[str, Statistics]) -> Table:
    """One row per video and query, then those of all videos together."""
    header = ["video", *(field.name for field in fields(QueryStatistics)), "duration_s"]
    rows = [
        [video, *map(_cell, astuple(query)), _cell(statistics.duration_s)]
        for video, statistics in [*each.items(), (_TOGETHER, together)]
        for query in statistics.queries
    ]
    return header, rows


def show_agreement(together: Agreement, a: Path, b: Path, *, num_videos: int) -> None:
    """Kappa and F1 of each query, and of all."""
    typer.echo(f"A is {a}, B is {b}; {_about(together.duration_s, num_videos)}\n")
    header = ["query", "agree", "kappa", *(f"F1@{tiou:g}" for tiou in TIOUS)]
    header += ["bouts A", "bouts B", "total A s", "total B s"]
    overall = [_shown("(all)", together.overall)] if len(together.queries) != 1 else []
    typer.echo(_aligned(header, [_shown(q.query, q) for q in together.queries] + overall))


def agreement_table(together: Agreement, each: Mapping[str, Agreement]) -> Table:
    """One row per video and query, and for all queries; then those of all videos together."""
    header = ["video", "query", "agreement", "kappa", *(f"f1@{tiou:g}" for tiou in TIOUS)]
    header += ["count_a", "count_b", "total_a_s", "total_b_s", "duration_s"]
    rows: list[list[str]] = []
    for video, agreement in [*each.items(), (_TOGETHER, together)]:
        named = [(q.query, q) for q in agreement.queries] + [(_TOGETHER, agreement.overall)]
        for name, q in named:
            values = [q.agreement, q.kappa, *q.f1, q.count_a, q.count_b, q.total_a_s, q.total_b_s]
            rows.append([video, name, *map(_cell, values), _cell(agreement.duration_s)])
    return header, rows


def write_table(table: Table, path: Path) -> None:
    """Write a table as CSV. Raises OpenMomentError."""
    text = io.StringIO(newline="")
    header, rows = table
    csv.writer(text).writerows([header, *rows])
    write_text(text.getvalue(), path)


def _about(duration_s: float, num_videos: int) -> str:
    return f"{counted(num_videos, 'video')}, {clock(duration_s)} in all."


def _transitions(together: Statistics) -> Table:
    rows = [
        [name, *(_percent(share) if total else _NOTHING for share in shares), str(total)]
        for name, shares, total in zip(
            together.names,
            together.transition_shares.tolist(),
            together.transitions.sum(axis=1).tolist(),
            strict=True,
        )
    ]
    return ["after / next", *together.names, "times"], rows


def _shown(name: str, q: Scores) -> list[str]:
    shares = [_percent(q.agreement), _number(q.kappa), *map(_percent, q.f1)]
    return [
        name,
        *shares,
        str(q.count_a),
        str(q.count_b),
        *map(_number, (q.total_a_s, q.total_b_s)),
    ]


def _aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose first column is words, and all others are numbers."""
    from tabulate import tabulate

    align = ["left", *["right"] * (len(header) - 1)]
    tidy = [[" ".join(cell.split()) for cell in row] for row in (header, *rows)]
    return tabulate(
        tidy[1:], headers=tidy[0], tablefmt="plain", colalign=align, disable_numparse=True
    )


def _number(value: float | None) -> str:
    return _NOTHING if value is None else f"{value:.2f}"


def _percent(value: float | None) -> str:
    return _NOTHING if value is None else f"{100 * value:.1f} %"


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.6f}" if isinstance(value, float) else str(value)
