"""SRT: moments as subtitles, for players that know no WebVTT; one video in a file.

The text is the query and, in brackets, the score: ``pole vault (0.87)``. SRT can neither escape
nor comment, so runs of white space become one space and ``-->`` an arrow, and queries that were
not found, and the video, are not in the file.
"""

from pathlib import Path

from openmoment.detections import Row, from_rows
from openmoment.export.base import Format, Found, Read, from_label, only_video, to_label
from openmoment.export.cues import format_span, parse_cue, split_blocks
from openmoment.storage.atomic import write_text
from openmoment.storage.reading import read_text


def write(found: Found, path: Path) -> None:
    """Write numbered subtitles in order of time. Raises FormatError for several videos."""
    _, detections = only_video(found, path)
    blocks: list[str] = []
    for number, (start_s, end_s, query, score) in enumerate(detections.by_time(), start=1):
        text = to_label(query, score).replace("-->", "→")
        blocks.append(f"{number}\n{format_span(start_s, end_s, point=',')}\n{text}\n")
    write_text("\n".join(blocks), path)


def read(path: Path) -> Read:
    """The detections, under the file's stem; a text without a score has 1. Raises FormatError."""
    rows: list[Row] = []
    for number, block in split_blocks(read_text(path)):
        cue = parse_cue(block, f"{path}, line {number}")
        rows.append(Row(cue.start_s, cue.end_s, *from_label(cue.text)))
    return {path.stem: from_rows(rows)}


SRT = Format(
    write,
    read,
    extension=".srt",
    about="subtitles, for players that know no WebVTT",
    loses="the video, queries that were not found, how likely each occurs at all, where it all "
    "comes from, scores beyond two digits, and line breaks and --> in a query",
)
