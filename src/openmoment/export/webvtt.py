"""WebVTT: moments as cues of a text track, for players and editors; one video in a file.

A cue's text is its query, in character references where WebVTT would read it as markup. What cues
cannot hold stands in comments: ``NOTE openmoment`` with the head of our JSON (video, backbone,
method, every query with its presence), and before each cue ``NOTE score 0.8734``. Moments may
overlap, as cues may; players that demand chapters in strict sequence will show the first.
"""

import html
import json
import re
from pathlib import Path

from openmoment.detections import Row
from openmoment.errors import FormatError
from openmoment.export.base import Format, Found, Read, only_video
from openmoment.export.cues import format_span, parse_cue, split_blocks
from openmoment.export.json import NO_HEAD, Head, read_head, to_head
from openmoment.storage.atomic import write_text
from openmoment.storage.reading import check_score, read_text, to_number

_HEAD, _SCORE = "NOTE openmoment ", "NOTE score "


def write(found: Found, path: Path) -> None:
    """Write cues in order of time. Raises FormatError for several videos."""
    video, detections = only_video(found, path)
    blocks = ["WEBVTT", _HEAD + json.dumps(to_head(video, detections)).replace(">", r"\u003e")]
    for start_s, end_s, query, score in detections.by_time():
        blocks.append(f"{_SCORE}{score:.4f}")
        blocks.append(f"{format_span(start_s, end_s, point='.')}\n{_escape(query)}")
    write_text("\n\n".join(blocks) + "\n", path)


def read(path: Path) -> Read:
    """The video and its detections, also from other tools' files.

    Without our comments the file's stem names the video, and a cue's score is 1. Raises
    FormatError.
    """
    text = read_text(path)
    if not re.match(r"WEBVTT(\s|$)", text):
        raise FormatError(f"{path}, line 1: expected WEBVTT, got {text[:20]!r}.")
    head, rows, score = NO_HEAD, [], 1.0
    for number, block in split_blocks(text):
        where = f"{path}, line {number}"
        if block[0].startswith(_HEAD):
            head = _parse_head(block[0], where)
        elif block[0].startswith(_SCORE):
            score = to_number(block[0].removeprefix(_SCORE), f"{where}: score")
            check_score(score, f"{where}: score")
        elif not re.match(r"(WEBVTT|NOTE|STYLE|REGION)(\s|$)", block[0]):
            cue = parse_cue(block, where)
            rows.append(Row(cue.start_s, cue.end_s, _unescape(cue.text), score))
            score = 1.0
    return {head.video or path.stem: head.with_rows(rows)}


WEBVTT = Format(
    write,
    read,
    extension=".vtt",
    about="cues of a text track, for players and editors, and the rest in comments",
)


def _parse_head(line: str, where: str) -> Head:
    try:
        entry = json.loads(line.removeprefix(_HEAD))
    except ValueError as error:
        raise FormatError(f"{where}: the comment is not JSON: {error}.") from error
    return read_head(entry, where)


def _escape(query: str) -> str:
    """Text without markup, ``-->`` or ends of lines."""
    text = html.escape(query, quote=False)
    return text.replace("\r", "&#13;").replace("\n", "&#10;")


def _unescape(text: str) -> str:
    return html.unescape(re.sub(r"<[^>]*>", "", text))
