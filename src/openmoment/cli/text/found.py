"""What openmoment find prints of one video: a table, and which queries do not occur."""

from pathlib import Path

from openmoment.postprocess import SURE
from openmoment.types import Detections, clock

_COLUMNS = ("start", "end", "query", "how sure")
_UNSURE = " (unsure)"
_NO_MOMENT = "not found, as no moment is its own"


def show(path: Path, found: Detections, *, with_name: bool, told: set[str] | None = None) -> None:
    """The table: in order of time, or, of sentences, one after the other by rank.

    What is said of the queries themselves joins ``told``, and is not said where it is there.
    """
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
    presence = dict(zip(found.names, found.presence, strict=True))
    kinds: dict[str, list[str]] = {"unsure": [], "not found": [], _NO_MOMENT: []}
    for name in found.names:
        answer = found.answer_of(name)
        kind = _NO_MOMENT if answer == "not found" and presence[name] >= SURE else answer
        if kind in kinds:
            kinds[kind].append(f"{name} ({presence[name]:.2f})")
    for kind, names in kinds.items():
        if names:
            console.print(Text(f"{kind}, how sure it occurs: {', '.join(names)}"))
    told = set() if told is None else told
    refused = [f"not understood: {name}: {why}" for name, why in found.not_understood.items()]
    for line in (*refused, *found.notes):
        if line not in told:
            console.print(Text(line), soft_wrap=True)
            told.add(line)


def timed_rows(found: Detections) -> list[tuple[str, ...]]:
    """Start, end, query and score of each moment, in order of time."""
    return [
        (clock(start_s), clock(end_s), marked(name, found), f"{score:.2f}")
        for start_s, end_s, name, score in found.by_time()
    ]


def marked(name: str, found: Detections) -> str:
    """A query's name, and whether its moments are but guesses."""
    return name + _UNSURE * (name in found.unsure)


def ranked_rows(found: Detections) -> list[tuple[str, ...]]:
    """The same with the rank among the moments of its query, the queries as they were asked."""
    return [
        (str(rank), clock(start_s), clock(end_s), name, f"{score:.2f}")
        for label in range(len(found.names))
        for rank, (start_s, end_s, name, score) in enumerate(found[found.labels == label], start=1)
    ]
