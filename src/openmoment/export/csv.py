"""A table for spreadsheets: video, start_s, end_s, query, score, one moment a row.

In order of video, then time. Queries that were not found, and videos without any moment, are
listed nowhere: use json where "does not occur" matters. Quoting follows RFC 4180.
"""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from openmoment.errors import FormatError
from openmoment.export.base import Format, Found, Row, by_video, check_score, to_detections
from openmoment.files import write_text
from openmoment.reading import check_order, read_text, to_number
from openmoment.types import Detections

COLUMNS = ("video", "start_s", "end_s", "query", "score")


def write(found: Found, path: Path) -> None:
    """Write the table, times to a millisecond. Raises OpenMomentError."""
    table = io.StringIO(newline="")
    writer = csv.writer(table)
    writer.writerow(COLUMNS)
    for video, moments in by_video(found).items():
        for start_s, end_s, query, score in moments.by_time():
            writer.writerow((video, f"{start_s:.3f}", f"{end_s:.3f}", query, f"{score:.4f}"))
    write_text(table.getvalue(), path)


def read(path: Path) -> dict[str, Detections]:
    """Detections by video; rows of no video go by the file's stem.

    Columns may come in any order, and others are passed over. A query's best score stands for its
    presence. Raises FormatError.
    """
    videos: dict[str, list[Row]] = {}
    for line, cells in _read_cells(path):
        row = _to_row(cells, f"{path}, line {line}")
        videos.setdefault(cells["video"] or path.stem, []).append(row)
    return {video: to_detections(rows) for video, rows in videos.items()}


CSV = Format(write, read, holds_several=True)


def _read_cells(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows below the heading, each with the number of its last line, each one whole."""
    table = csv.DictReader(io.StringIO(read_text(path), newline=""))
    try:
        missing = [column for column in COLUMNS if column not in (table.fieldnames or ())]
        if missing:
            raise FormatError(f"{path}, line 1: column {missing[0]!r} is missing.")
        for cells in table:
            short = [column for column in COLUMNS if cells[column] is None]
            if short:
                raise FormatError(f"{path}, line {table.line_num}: {short[0]} is missing.")
            yield table.line_num, cells
    except csv.Error as error:
        raise FormatError(f"{path}, line {table.line_num}: is not CSV: {error}.") from error


def _to_row(cells: dict[str, str], where: str) -> Row:
    start_s, end_s, score = (
        to_number(cells[column], f"{where}: {column}") for column in ("start_s", "end_s", "score")
    )
    check_order(start_s, end_s, where)
    check_score(score, f"{where}: score")
    return Row(start_s, end_s, cells["query"], score)
