"""Edit decision lists (CMX 3600), which editing programs conform: a cut for each moment.

The moments stand one after the other from 01:00:00:00 on, as a reel of selects; where they are in
the video is the source's time. Timecode is non-drop: at 29.97 frames a second it counts to 30, and
runs apart from the clock by design. Comments hold what a person wants to read, ``* COMMENT:``, and
what `read` wants, ``* OPENMOMENT:``, the head of our JSON and of each cut its query and score.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from openmoment.detections import Row
from openmoment.errors import FormatError
from openmoment.export.base import Format, Found, Read, from_label, only_video, to_label
from openmoment.export.json import NO_HEAD, Head, read_head, to_head
from openmoment.export.rate import rate_of, to_frames
from openmoment.storage.atomic import write_text
from openmoment.storage.reading import check_order, check_score, get, get_number, read_text

MOST = 999
"""Cuts of a list, as their numbers have three digits."""
RECORD_START_S = 3600
DAY_S = 24 * 3600
_OURS = "* OPENMOMENT:"


def write(found: Found, path: Path, *, fps: float | None = None) -> None:
    """Write cuts in order of time. Raises FormatError for several videos, over 999 moments, times
    of 24 hours and more, and where the rate of the frames is unknown.
    """
    video, detections = only_video(found, path)
    if len(detections) > MOST:
        raise FormatError(
            f"{path}: a CMX 3600 list holds {MOST} cuts, got {len(detections)} moments."
        )
    rate = rate_of(video, path, fps)
    head = to_head(video, detections) | {"fps": rate}
    lines = [f"TITLE: {_tidy(PurePath(video).stem)[:60]}", "FCM: NON-DROP FRAME"]
    lines += [f"{_OURS} {json.dumps(head)}", ""]
    record = RECORD_START_S * _base(rate)
    for number, (start_s, end_s, query, score) in enumerate(detections.by_time(), start=1):
        first, last = to_frames(start_s, end_s, rate)
        source, record = (first - 1, last), (record_start := record) + last - first + 1
        times = (_timecode(frame, rate, path) for frame in (*source, record_start, record))
        lines += [
            f"{number:03}  AX       V     C        {' '.join(times)}",
            f"* FROM CLIP NAME: {_tidy(PurePath(video).name)}",
            f"* COMMENT: {to_label(query, score)}",
            f"{_OURS} {json.dumps({'query': query, 'score': round(score, 4)})}",
            "",
        ]
    write_text("\r\n".join(lines) + "\r\n", path)


def read(path: Path, *, fps: float | None = None) -> Read:
    """Detections by clip, also of lists from editing programs: each cut of pictures is a moment.

    Of those, the comment is the query, else the clip's name, and the score 1. Black, and sound
    alone, are passed over. Raises FormatError, for drop-frame timecode too.
    """
    head, recorded, cuts = _parse(path)
    videos: dict[str, list[Cut]] = {} if head.video is None else {head.video: []}
    for cut in cuts:
        name = (cut.clip or path.stem) if head.video is None else head.video
        videos.setdefault(name, []).append(cut)
    return {
        name: head.with_rows(_to_rows(mine, name, path, recorded if fps is None else fps))
        for name, mine in (videos or {path.stem: []}).items()
    }


EDL = Format(
    write,
    read,
    extension=".edl",
    about="an edit decision list (CMX 3600) for editing programs, a cut for each moment",
    loses="times between frames, and more than 999 moments",
    reads_frames=True,
    writes_frames=True,
)


@dataclass
class Cut:
    """One event of a list; times are hours, minutes, seconds and frames of the source."""

    where: str
    start: tuple[int, ...]
    end: tuple[int, ...]
    is_shown: bool
    """Whether it is of pictures, and lasts."""
    clip: str = ""
    query: str | None = None
    score: float = 1.0


_TIMECODE = r"(\d{1,3}:\d{1,2}:\d{1,2}[:;.]\d{1,4})"
_EVENT = re.compile(
    rf"\s*\d+\s+(?P<reel>\S+)\s+(?P<tracks>\S+)\s+(?:C|D|W\d+|K\S*)(?:\s.*?)?\s{_TIMECODE}\s+"
    rf"{_TIMECODE}\s+{_TIMECODE}\s+{_TIMECODE}",
    re.ASCII,
)
_NOTE = re.compile(r"\*\s*(FROM CLIP NAME|TO CLIP NAME|COMMENT):\s*(.*)", re.IGNORECASE)


def _parse(path: Path) -> tuple[Head, float | None, list[Cut]]:
    """Our head and rate, where the list has them, and the cuts that are shown."""
    text = read_text(path)
    if not re.match(r"\s*(TITLE:|\d{3,}\s)", text):
        raise FormatError(f"{path}, line 1: expected TITLE:, got {text[:20]!r}.")
    head, recorded, cuts = NO_HEAD, None, []
    for number, line in enumerate(text.splitlines(), start=1):
        where = f"{path}, line {number}"
        if re.match(r"FCM:\s*DROP", line):
            raise _drop_frame(where)
        if re.match(r"\s*\d{3,}\s", line):
            cuts.append(_parse_cut(line, where))
        elif line.startswith(_OURS) and not cuts:
            document = _parse_comment(line, where)
            head, recorded = read_head(document, where), get_number(document, "fps", where)
        elif line.startswith(_OURS):
            document = _parse_comment(line, where)
            cuts[-1].query = get(document, "query", str, where)
            cuts[-1].score = get_number(document, "score", where)
            check_score(cuts[-1].score, f"{where}: score")
        elif cuts and (note := _NOTE.match(line)):
            if note[1].upper() == "COMMENT":
                cuts[-1].query, cuts[-1].score = from_label(note[2].strip())
            else:
                cuts[-1].clip = note[2].strip()
    return head, recorded, [cut for cut in cuts if cut.is_shown]


def _parse_cut(line: str, where: str) -> Cut:
    event = _EVENT.match(line)
    if not event:
        raise FormatError(f"{where}: expected a cut with four timecodes, got {line[:40]!r}.")
    if ";" in line:
        raise _drop_frame(where)
    times = [tuple(map(int, re.split("[:.]", event[i]))) for i in (3, 4)]
    has_pictures = "V" in event["tracks"] or event["tracks"].startswith("B")
    is_shown = has_pictures and event["reel"] != "BL" and times[0] != times[1]
    return Cut(where, times[0], times[1], is_shown)


def _parse_comment(line: str, where: str) -> Any:
    try:
        return json.loads(line.removeprefix(_OURS))
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{where}: the comment is not JSON: {error}.") from error


def _drop_frame(where: str) -> FormatError:
    return FormatError(f"{where}: drop-frame timecode is not read. Export the list as non-drop.")


def _to_rows(cuts: list[Cut], video: str, path: Path, fps: float | None) -> list[Row]:
    if not cuts:
        return []
    rate = rate_of(video, path, fps)
    rows: list[Row] = []
    for cut in cuts:
        start_s, end_s = (_to_seconds(time, rate, cut.where) for time in (cut.start, cut.end))
        check_order(start_s, end_s, cut.where)
        rows.append(Row(start_s, end_s, video if cut.query is None else cut.query, cut.score))
    return rows


def _to_seconds(time: tuple[int, ...], fps: float, where: str) -> float:
    """When the frame of this timecode begins."""
    hours, minutes, seconds, frames = time
    if frames >= _base(fps):
        raise FormatError(f"{where}: frame {frames} of a second, but {fps:g} frames a second.")
    return (((hours * 60 + minutes) * 60 + seconds) * _base(fps) + frames) / fps


def _timecode(frame: int, fps: float, path: Path) -> str:
    """``01:00:00:00`` of a frame counted from 0. Raises FormatError after 24 hours."""
    seconds, frames = divmod(frame, _base(fps))
    if seconds >= DAY_S:
        raise FormatError(f"{path}: timecode ends at 24 hours, got {seconds / 3600:.1f} hours.")
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}:{frames:02}"


def _base(fps: float) -> int:
    """How many frames non-drop timecode counts to a second."""
    return max(1, round(fps))


def _tidy(text: str) -> str:
    return " ".join(text.split())
