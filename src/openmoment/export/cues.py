"""What WebVTT and SRT share: blocks of lines, and the line that says from when to when."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from openmoment.errors import FormatError
from openmoment.storage.reading import check_order


class Cue(NamedTuple):
    """A text and when it is shown."""

    start_s: float
    end_s: float
    text: str


def format_span(start_s: float, end_s: float, *, point: str) -> str:
    """``00:00:01.000 --> 00:00:02.500``, to a millisecond, which is also the shortest span."""
    start_ms = max(0, _to_ms(start_s))
    end_ms = max(start_ms + 1, _to_ms(end_s))
    return f"{_format_time(start_ms, point)} --> {_format_time(end_ms, point)}"


def split_blocks(text: str) -> Iterator[tuple[int, list[str]]]:
    """Runs of lines that are not empty, each with the number of its first line."""
    block: list[str] = []
    for number, line in enumerate([*re.split(r"\r\n|\n|\r", text), ""], start=1):
        if line:
            block.append(line)
        elif block:
            yield number - len(block), block
            block = []


def parse_cue(block: Sequence[str], where: str) -> Cue:
    """A block with its times on the first line or, after a number or name, the second.

    Raises FormatError starting with ``where``.
    """
    for i, line in enumerate(block[:2]):
        times = _SPAN.match(line)
        if times:
            start_s, end_s = _to_seconds(times[1]), _to_seconds(times[2])
            check_order(start_s, end_s, where)
            return Cue(start_s, end_s, "\n".join(block[i + 1 :]))
    raise FormatError(
        f"{where}: expected times, '00:00:01.000 --> 00:00:02.500', got {block[0]!r}."
    )


_TIME = r"(?:\d{1,6}:)?\d{1,2}:\d{1,2}[.,]\d{1,3}"
_SPAN = re.compile(rf"\s*({_TIME})\s*-->\s*({_TIME})(?=\s|$)", re.ASCII)


def _to_ms(time_s: float) -> int:
    return round(round(time_s, 3) * 1000)  # half a millisecond goes where the other formats put it


def _format_time(time_ms: int, point: str) -> str:
    seconds, ms = divmod(time_ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{point}{ms:03}"


def _to_seconds(time: str) -> float:
    *hours, minutes, seconds = time.replace(",", ".").split(":")
    return float(hours[0] if hours else 0) * 3600 + float(minutes) * 60 + float(seconds)
