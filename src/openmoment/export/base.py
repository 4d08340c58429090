"""What all formats share: the pair of functions, rows to Detections, checks of what is read."""

import json
import math
import reprlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from openmoment.errors import FormatError
from openmoment.types import Detections

T = TypeVar("T")

Found = Detections | Mapping[str, Detections]
"""The detections of one video, or of several by path or id."""


@dataclass(frozen=True)
class Format:
    """How one format is written and read."""

    write: Callable[[Found, Path], None]
    read: Callable[[Path], dict[str, Detections]]
    holds_several: bool
    """Whether one file can hold several videos."""


class Row(NamedTuple):
    """One moment, as a file has it."""

    start_s: float
    end_s: float
    query: str
    score: float


def by_video(found: Found) -> Mapping[str, Detections]:
    """Detections by video; a single one goes by its origin's path, or "" if it has none."""
    if isinstance(found, Detections):
        return {found.origin.video if found.origin else "": found}
    return found


def only_video(found: Found, path: Path) -> tuple[str, Detections]:
    """The one video of ``found`` and its detections. Raises FormatError for any other number."""
    videos = by_video(found)
    if len(videos) != 1:
        raise FormatError(
            f"{path}: this format holds one video, got {len(videos)}. Write one file for each "
            "video, or use json or csv."
        )
    return next(iter(videos.items()))


def to_detections(rows: Sequence[Row], asked: Mapping[str, float] | None = None) -> Detections:
    """Detections of the rows, best first.

    ``asked`` holds the queries and their presence. A query that is not among them joins in the
    order of the rows, and its best score stands for its presence.
    """
    best_first = sorted(rows, key=lambda row: -row.score)
    best = {row.query: row.score for row in reversed(best_first)}  # the last one said stays
    presence = {row.query: best[row.query] for row in rows if row.query not in (asked or {})}
    presence = {**(asked or {}), **presence}
    index = {name: i for i, name in enumerate(presence)}
    return Detections(
        segments=np.array([row[:2] for row in best_first], dtype=np.float64).reshape(-1, 2),
        scores=np.array([row.score for row in best_first], dtype=np.float64),
        labels=np.array([index[row.query] for row in best_first], dtype=np.int64),
        names=tuple(presence),
        presence=np.clip(np.array(list(presence.values()), dtype=np.float64), 0, 1),
    )


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, line ends as they are. Raises FormatError."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise FormatError(f"{path}: is not UTF-8 text (byte {error.start}).") from error


def read_json(path: Path) -> Any:
    """The value that a JSON file holds. Raises FormatError."""
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise FormatError(f"{path}, line {error.lineno}: is not JSON: {error.msg}.") from error
    except (ValueError, RecursionError) as error:  # a number too long, or nested too deep
        raise FormatError(f"{path}: is not JSON that can be read: {error}.") from error


def get(table: Any, name: str, kind: type[T], where: str) -> T:
    """``table[name]``, which must be of that kind. Raises FormatError starting with ``where``."""
    if not isinstance(table, dict):
        raise FormatError(f"{where}: expected an object, got {reprlib.repr(table)}.")
    if name not in table:
        raise FormatError(f"{where}: field {name!r} is missing.")
    value = table[name]
    if not isinstance(value, kind):
        shown = reprlib.repr(value)
        raise FormatError(f"{where}: {name}: expected {_KINDS[kind]}, got {shown}.")
    return value


def get_number(table: Any, name: str, where: str) -> float:
    """``table[name]`` as `get` gives it, which must be a finite number."""
    value = get(table, name, object, where)
    if isinstance(value, bool | str):
        raise FormatError(f"{where}: {name}: expected a number, got {reprlib.repr(value)}.")
    return to_number(value, f"{where}: {name}")


def to_number(value: Any, where: str) -> float:
    """A finite number, also from text. Raises FormatError starting with ``where``."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise FormatError(f"{where}: expected a number, got {reprlib.repr(value)}.")
    return number


def check_order(start_s: float, end_s: float, where: str) -> None:
    """Raises FormatError starting with ``where`` when a moment ends before it starts."""
    if end_s < start_s:
        raise FormatError(f"{where}: end_s {end_s:g} lies before start_s {start_s:g}.")


def check_score(score: float, where: str) -> None:
    """Raises FormatError starting with ``where`` when a score is not in [0, 1]."""
    if not 0 <= score <= 1:
        raise FormatError(f"{where}: expected a score from 0 to 1, got {score:g}.")


_KINDS: dict[type, str] = {str: "text", list: "a list", dict: "an object"}
