"""BORIS' aggregated events: a table of behaviours with their start and stop, an event a row.

The columns are those of BORIS 8, so that scripts made for it find theirs; what we do not know is
left empty. A moment is a STATE, one without length a POINT. Its score stands in its comment,
``score 0.8734``, and what made it in the description of the observation.
"""

import csv
import io
import re
from pathlib import Path, PurePath

from openmoment.detections import Row, from_rows
from openmoment.errors import FormatError
from openmoment.export.base import Format, Found, Read, by_video, describe
from openmoment.export.table import read_table
from openmoment.storage.atomic import write_text
from openmoment.storage.reading import check_order, check_score, to_number
from openmoment.types import Detections

COLUMNS: tuple[str, ...] = (
    "Observation id",
    "Observation date",
    "Description",
    "Observation type",
    "Source",
    "Time offset (s)",
    "Coding duration",
    "Media duration (s)",
    "FPS (frame/s)",
    "Subject",
    "Observation duration by subject by observation",
    "Behavior",
    "Behavioral category",
    "Behavior type",
    "Start (s)",
    "Stop (s)",
    "Duration (s)",
    "Media file name",
    "Image index start",
    "Image index stop",
    "Image file path start",
    "Image file path stop",
    "Comment start",
    "Comment stop",
)
_NEEDED = ("Behavior", "Behavior type", "Start (s)", "Stop (s)")
_VIDEO = ("Media file name", "Media file", "Observation id")
"""Columns that name the video, the best first; before BORIS 8 it was the second."""
_SCORE = re.compile(r"score (\S+)")


def write(found: Found, path: Path) -> None:
    """Write the table in order of video, then time, to a millisecond. Raises OpenMomentError."""
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, COLUMNS, restval="")
    writer.writeheader()
    for video, detections in by_video(found).items():
        observation = _describe(video, detections)
        for start_s, end_s, query, score in detections.by_time():
            event = {
                "Behavior": query,
                "Behavior type": "STATE" if end_s > start_s else "POINT",
                "Start (s)": f"{start_s:.3f}",
                "Stop (s)": f"{end_s:.3f}",
                "Duration (s)": f"{end_s - start_s:.3f}",
                "Comment start": f"score {score:.4f}",
            }
            writer.writerow(observation | event)
    write_text(table.getvalue(), path)


def read(path: Path) -> Read:
    """Detections by media file, of files of BORIS 7 and 8, with commas or tabs between.

    Subjects and modifiers are passed over. A row of no media goes by its observation, else by the
    file's stem. An event without a score has 1. Raises FormatError.
    """
    videos: dict[str, list[Row]] = {}
    for line, cells in read_table(path, _NEEDED):
        video = next((cells[column] for column in _VIDEO if cells.get(column)), path.stem)
        videos.setdefault(video, []).append(_to_row(cells, f"{path}, line {line}"))
    return {video: from_rows(rows) for video, rows in videos.items()}


BORIS = Format(
    write,
    read,
    extension=".csv",
    about="the aggregated events of BORIS, for those who count behaviours",
    loses="queries that were not found, how likely each occurs at all, and where it all comes "
    "from but for a description",
    marks=_NEEDED,
    holds_several=True,
)


def _describe(video: str, found: Detections) -> dict[str, str]:
    """The cells that are the same for all events of a video."""
    origin = found.origin
    cells = {
        "Observation id": PurePath(video).stem,
        "Observation type": "MEDIA",
        "Subject": "No focal subject",
        "Media file name": video,
    }
    if origin is None:
        return cells
    sha256 = f"; video's sha256 {origin.source_sha256}" if origin.source_sha256 else ""
    return cells | {
        "Description": f"openmoment: {describe(origin)}{sha256}",
        "Media duration (s)": f"{origin.duration_s:.3f}",
    }


def _to_row(cells: dict[str, str], where: str) -> Row:
    kind = cells["Behavior type"].strip().upper()
    if kind not in ("STATE", "POINT"):
        raise FormatError(
            f"{where}: Behavior type: expected STATE or POINT, got {cells['Behavior type']!r}."
        )
    start_s = to_number(cells["Start (s)"], f"{where}: Start (s)")
    end_s = start_s if kind == "POINT" else to_number(cells["Stop (s)"], f"{where}: Stop (s)")
    check_order(start_s, end_s, where)
    comment = _SCORE.fullmatch(cells.get("Comment start") or "")
    score = to_number(comment[1], f"{where}: Comment start") if comment else 1.0
    check_score(score, f"{where}: Comment start")
    return Row(start_s, end_s, cells["Behavior"], score)
