"""What all formats share: the pair of functions, rows to Detections, checks of what is read."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from openmoment.errors import FormatError
from openmoment.types import Detections

Found = Detections | Mapping[str, Detections]
"""The detections of one video, or of several by path or id."""


@dataclass(frozen=True)
class Format:
    """How one format is written and read."""

    write: Callable[[Found, Path], None]
    read: Callable[[Path], dict[str, Detections]]
    holds_several: bool
    """Whether one file can hold several videos."""
    keeps_times: bool = True
    """Whether the file says by itself when its moments are; else `read` refuses it."""


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


def check_score(score: float, where: str) -> None:
    """Raises FormatError starting with ``where`` when a score is not in [0, 1]."""
    if not 0 <= score <= 1:
        raise FormatError(f"{where}: expected a score from 0 to 1, got {score:g}.")
