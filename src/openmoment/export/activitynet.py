"""The submission JSON of the ActivityNet challenge, which most evaluators of the field read.

A video's id is its file's name without folder, extension and a leading ``v_``, as in ActivityNet:
``videos/v_GGSY1Qvo990.mp4`` is ``GGSY1Qvo990``. A video without any moment has an empty list;
queries that were not found are listed nowhere.
"""

import json
import reprlib
from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import Any

from openmoment.detections import Row, from_rows
from openmoment.errors import FormatError
from openmoment.export.base import Format, Found, Read, by_video, describe
from openmoment.storage.atomic import write_text
from openmoment.storage.reading import check_order, get, get_number, read_json, to_number
from openmoment.types import Detections


def write(found: Found, path: Path) -> None:
    """Write times and scores unrounded. Raises FormatError for two videos of one id."""
    videos = by_video(found)
    results: dict[str, list[dict[str, Any]]] = {}
    for video, moments in videos.items():
        name = video_id(video)
        if name in results:
            raise FormatError(f"{path}: two videos have the id {name!r}; the second is {video}.")
        results[name] = [
            {"label": query, "score": score, "segment": [start_s, end_s]}
            for start_s, end_s, query, score in moments
        ]
    external = {"used": True, "details": _describe_sources(videos.values())}
    document = {"version": "VERSION 1.3", "results": results, "external_data": external}
    write_text(json.dumps(document, ensure_ascii=False, allow_nan=False) + "\n", path)


def read(path: Path) -> Read:
    """Detections by video id. Scores may be any finite numbers, as other tools write them.

    A query's best score stands for its presence. Raises FormatError.
    """
    results = get(read_json(path), "results", dict, str(path))
    videos: Read = {}
    for name in results:
        moments = get(results, name, list, f"{path}: results")
        rows = [_read_moment(m, f"{path}: results[{name!r}][{i}]") for i, m in enumerate(moments)]
        videos[name] = from_rows(rows)
    return videos


ACTIVITYNET = Format(
    write,
    read,
    extension=".json",
    about="the submission of the ActivityNet challenge, which most evaluators read",
    loses="queries that were not found, how likely each occurs at all, a video's folder and "
    "ending, and where it all comes from but for a note",
    marks=("results",),
    holds_several=True,
)


def video_id(video: str) -> str:
    """A video's id by its path: ``videos/v_GGSY1Qvo990.mp4`` is ``GGSY1Qvo990``."""
    return PurePath(video).stem.removeprefix("v_")


def _describe_sources(found: Iterable[Detections]) -> str:
    """What made the detections: by definition something trained on other data."""
    return ". ".join(dict.fromkeys(describe(detections.origin) for detections in found))


def _read_moment(moment: Any, where: str) -> Row:
    segment = get(moment, "segment", list, where)
    if len(segment) != 2 or not all(isinstance(time, int | float) for time in segment):
        shown = reprlib.repr(segment)
        raise FormatError(f"{where}: segment: expected [start, end] in seconds, got {shown}.")
    start_s, end_s = (to_number(time, f"{where}: segment") for time in segment)
    check_order(start_s, end_s, f"{where}: segment")
    label, score = get(moment, "label", str, where), get_number(moment, "score", where)
    return Row(start_s, end_s, label, score)
