"""A table for spreadsheets: video, start_s, end_s, query, score, answer; one moment a row.

In order of video, then time. Queries that were not found, and videos without any moment, are
listed nowhere: use json where "does not occur" matters. Quoting follows RFC 4180.
"""

import csv
import io
from dataclasses import replace
from pathlib import Path

from openmoment.detections import Row, from_rows
from openmoment.export.base import Format, Found, Read, by_video
from openmoment.export.table import read_table
from openmoment.storage.atomic import write_text
from openmoment.storage.reading import check_order, check_score, to_number

COLUMNS = ("video", "start_s", "end_s", "query", "score")
ANSWER = "answer"
"""A last column, "found" or "unsure", which a table that is read need not have."""


def write(found: Found, path: Path) -> None:
    """Write the table, times to a millisecond. Raises OpenMomentError."""
    table = io.StringIO(newline="")
    writer = csv.writer(table)
    writer.writerow((*COLUMNS, ANSWER))
    for video, moments in by_video(found).items():
        for start_s, end_s, query, score in moments.by_time():
            row = (video, f"{start_s:.3f}", f"{end_s:.3f}", query, f"{score:.4f}")
            writer.writerow((*row, moments.answer_of(query)))
    write_text(table.getvalue(), path)


def read(path: Path) -> Read:
    """Detections by video; rows of no video go by the file's stem.

    Columns may come in any order, and others are passed over. A query's best score stands for its
    presence. Raises FormatError.
    """
    videos: dict[str, list[Row]] = {}
    unsure: dict[str, set[str]] = {}
    for line, cells in read_table(path, COLUMNS):
        row = _to_row(cells, f"{path}, line {line}")
        video = cells["video"] or path.stem
        videos.setdefault(video, []).append(row)
        if cells.get(ANSWER) == "unsure":
            unsure.setdefault(video, set()).add(row.query)
    return {
        video: replace(from_rows(rows), unsure=frozenset(unsure.get(video, ())))
        for video, rows in videos.items()
    }


CSV = Format(
    write,
    read,
    extension=".csv",
    about="a table for spreadsheets, a moment a row",
    loses="queries that were not found, how likely each occurs at all, and where it all comes from",
    marks=COLUMNS,
    holds_several=True,
)


def _to_row(cells: dict[str, str], where: str) -> Row:
    start_s, end_s, score = (
        to_number(cells[column], f"{where}: {column}") for column in ("start_s", "end_s", "score")
    )
    check_order(start_s, end_s, where)
    check_score(score, f"{where}: score")
    return Row(start_s, end_s, cells["query"], score)
