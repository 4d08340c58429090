"""SRT: moments as subtitles, for players that know no WebVTT; one video in a file.

The text is the query and, in brackets, the score: ``pole vault (0.87)``. SRT can neither escape
nor comment, so runs of white space become one space and ``-->`` an arrow, and queries that were
not found, and the video, are not in the file.
"""

import re
from pathlib import Path

from openmoment.export.base import Format, Found, Row, only_video, to_detections
from openmoment.export.cues import format_span, parse_cue, split_blocks
from openmoment.files import write_text
from openmoment.reading import read_text
from openmoment.types import Detections


def write(found: Found, path: Path) -> None:
    """Write numbered subtitles in order of time. Raises FormatError for several videos."""
    _, detections = only_video(found, path)
    blocks = [
        f"{number}\n{format_span(start_s, end_s, point=',')}\n{_tidy(query)} ({score:.2f})\n"
        for number, (start_s, end_s, query, score) in enumerate(detections.by_time(), start=1)
    ]
    write_text("\n".join(blocks), path)


def read(path: Path) -> dict[str, Detections]:
    """The detections, under the file's stem; a text without a score has 1. Raises FormatError."""
    rows: list[Row] = []
    for number, block in split_blocks(read_text(path)):
        cue = parse_cue(block, f"{path}, line {number}")
        scored = _SCORED.fullmatch(cue.text)
        text, score = (scored[1], float(scored[2])) if scored else (cue.text, 1.0)
        rows.append(Row(cue.start_s, cue.end_s, text, score))
    return {path.stem: to_detections(rows)}


SRT = Format(write, read, holds_several=False)

_SCORED = re.compile(r"(.*) \((0\.\d\d|1\.00)\)", re.DOTALL)


def _tidy(query: str) -> str:
    return " ".join(query.split()).replace("-->", "→")
