"""What an annotation file says, before anything is judged: the common form of all layouts.

Readers keep what they find, also what is wrong with it: `lint` reports on it, and a dataset is
built only from records without impossible times.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from openmoment.datasets.names import SYNTHETIC
from openmoment.errors import FormatError
from openmoment.storage.reading import get, read_cells, read_json


class Instance(NamedTuple):
    """One annotated segment, in seconds, NaN where the file has no number."""

    start_s: float
    end_s: float
    label: str
    """A class, or a sentence."""
    where: str
    """Its place in the file, for messages."""
    query_id: str = ""
    """Of the sentence, in moment retrieval: several windows may belong to one."""

    @classmethod
    def of(cls, start: Any, end: Any, label: str, where: str, query_id: str = "") -> "Instance":
        """With times as a file has them, numbers or text."""
        return cls(loose_number(start), loose_number(end), label, where, query_id)


@dataclass(frozen=True)
class Record:
    """One video as a file has it. ``duration_s`` is NaN where the file does not say."""

    id: str
    subset: str
    duration_s: float
    instances: tuple[Instance, ...]
    known: frozenset[str] | None = None
    """The only labels that it was annotated for; None for all of the dataset's."""


Records = list[Record]
"""A video may be in several subsets."""

MADE_UP = "synthetic"
"""The key by which an annotation file says that nothing in it is real."""


# ---------------------------------------------------------------------------------------------
# JSON layouts
# ---------------------------------------------------------------------------------------------


def read_activitynet_json(path: Path) -> Records:
    """``{"database": {id: {subset, duration, annotations: [{segment, label}]}}}``.

    COIN's "annotation" is taken for "annotations", and times may be text. Raises FormatError,
    also for a made-up world, so that none is taken for the real thing.
    """
    return parse_activitynet(read_real_json(path), path)


def read_real_json(path: Path) -> Any:
    """What a file of annotations holds. Raises FormatError, also for a made-up world."""
    content = read_json(path)
    if is_made_up(content):
        raise FormatError(
            f"{path}: a made-up world. Give --dataset {SYNTHETIC}NAME --root {path.parent} instead."
        )
    return content


def is_made_up(content: Any) -> bool:
    """Whether annotations, once they are read, say so of themselves."""
    return isinstance(content, dict) and MADE_UP in content


def parse_activitynet(content: Any, path: Path) -> Records:
    """The records in a file of that layout, once it is read. Raises FormatError."""
    database = get(content, "database", dict, str(path))
    records = []
    for name in database:
        where = f"{path}: database[{name!r}]"
        video = get(database, name, dict, f"{path}: database")
        field = "annotation" if "annotation" in video else "annotations"
        rows = get(video, field, list, where) if field in video else []
        instances = _json_instances(rows, f"{where}.{field}")
        subset, duration_s = str(video.get("subset", "")), loose_number(video.get("duration"))
        records.append(Record(name, subset.lower(), duration_s, instances))
    return records


def read_flat_json(path: Path) -> Records:
    """The layout of BSN and BMN: ``{id: {duration_second, annotations: [{segment, label}]}}``.

    It names no subsets. Raises FormatError.
    """
    records = []
    for name, video, where in read_videos(path):
        rows = get(video, "annotations", list, where)
        instances = _json_instances(rows, f"{where}.annotations")
        duration_s = loose_number(video.get("duration_second", video.get("duration")))
        records.append(Record(name, "", duration_s, instances))
    return records


def read_videos(path: Path) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Id, fields and place of each video in an object of videos. Raises FormatError."""
    videos = read_json(path)
    if not isinstance(videos, dict):
        raise FormatError(f"{path}: expected an object of videos.")
    for name in videos:
        yield name, get(videos, name, dict, str(path)), f"{path}: {name!r}"


def read_any_json(path: Path) -> Records:
    """One of the two layouts above, by what the file holds."""
    content = read_json(path)
    is_official = isinstance(content, dict) and "database" in content
    return read_activitynet_json(path) if is_official else read_flat_json(path)


def _json_instances(rows: list[Any], where: str) -> tuple[Instance, ...]:
    found = []
    for i, row in enumerate(rows):
        place = f"{where}[{i}]"
        segment = as_pair(get(row, "segment", list, place), f"{place}: segment")
        found.append(Instance.of(*segment, get(row, "label", str, place), place))
    return tuple(found)


def as_pair(segment: Any, where: str) -> tuple[Any, Any]:
    """The times of a segment, as they are. Raises FormatError starting with ``where``."""
    if not isinstance(segment, list) or len(segment) != 2:
        raise FormatError(f"{where}: expected [start, end] in seconds, got {segment!r}.")
    return segment[0], segment[1]


# ---------------------------------------------------------------------------------------------
# Tables and lines
# ---------------------------------------------------------------------------------------------


def read_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Place and cells of each row as `reading.read_cells` reads it; what a row lacks is empty."""
    for line, row in read_cells(path, columns):
        yield f"{path}, line {line}", {name: cell or "" for name, cell in row.items() if name}


def from_rows(rows: Iterable[tuple[str, Instance]], *, subset: str = "") -> Records:
    """Records of (video id, instance) pairs, which may come in any order."""
    videos: dict[str, list[Instance]] = {}
    for name, instance in rows:
        videos.setdefault(name, []).append(instance)
    return [Record(name, subset, math.nan, tuple(found)) for name, found in videos.items()]


def with_subsets(records: Records, subset_of: Callable[[Record], str]) -> Records:
    """The same records, each in the subset that the function names."""
    return [replace(record, subset=subset_of(record)) for record in records]


def read_durations(root: Path, pattern: str) -> dict[str, float]:
    """Seconds by video id, from TSP's tables below ``root``."""
    found: dict[str, float] = {}
    for path in sorted(root.rglob(pattern)):
        for _, row in read_rows(path, ("filename", "video-duration")):
            found[Path(row["filename"]).stem] = loose_number(row["video-duration"])
    return found


def loose_number(value: Any) -> float:
    """A number, also from text; NaN for anything else."""
    if isinstance(value, bool):
        return math.nan
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan
