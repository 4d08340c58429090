"""What openmoment find prints of one video: a table, and which queries do not occur."""

from pathlib import Path

from openmoment.types import Detections, clock

_COLUMNS = ("start", "end", "query", "score")


def show(path: Path, found: Detections, *, with_name: bool) -> None:
    """The table: in order of time, or, of sentences, one after the other by rank."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    if with_name:
        console.print(Text(str(path), style="bold"))
    if len(found):
        table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
        is_ranked = found.origin is not None and found.origin.task == "mr"
        for column in ("rank", *_COLUMNS) if is_ranked else _COLUMNS:
            justify = "left" if column == "query" else "right"
            table.add_column(column, justify=justify, overflow="fold")
        for row in ranked_rows(found) if is_ranked else timed_rows(found):
            table.add_row(*(Text(cell) for cell in row))
        console.print(table)
    if found.not_found:
        presence = dict(zip(found.names, found.presence, strict=True))
        missing = ", ".join(f"{name} ({presence[name]:.2f})" for name in found.not_found)
        console.print(Text(f"not found: {missing}"))


def timed_rows(found: Detections) -> list[tuple[str, ...]]:
    """Start, end, query and score of each moment, in order of time."""
    return [
        (clock(start_s), clock(end_s), name, f"{score:.2f}")
        for start_s, end_s, name, score in found.by_time()
    ]


def ranked_rows(found: Detections) -> list[tuple[str, ...]]:
    """The same with the rank among the moments of its query, the queries as they were asked."""
    return [
        (str(rank), clock(start_s), clock(end_s), name, f"{score:.2f}")
        for label in range(len(found.names))
        for rank, (start_s, end_s, name, score) in enumerate(found[found.labels == label], start=1)
    ]
