"""FiftyOne's temporal detections, as plain values and as the labels of its own JSON data set.

FiftyOne itself is not needed. The file is the ``labels.json`` of a FiftyOneTemporalDetectionDataset
with times in seconds, in which a video goes by its path without ending; beside its ``classes`` and
``labels``, ``openmoment`` holds the head of our JSON for each video.
"""

import json
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path, PurePath
from typing import Any

from openmoment.detections import Row
from openmoment.errors import FormatError
from openmoment.export.base import Format, Found, Read, by_video
from openmoment.export.json import NO_HEAD, read_head, to_head
from openmoment.export.rate import rate_of, to_frames, to_seconds
from openmoment.storage.atomic import write_text
from openmoment.storage.reading import (
    check_order,
    check_score,
    get,
    get_number,
    read_json,
    to_number,
)

OURS = "openmoment"


def to_fiftyone(found: Found, *, fps: float | None = None) -> dict[str, list[dict[str, Any]]]:
    """By video, the arguments of each ``fiftyone.TemporalDetection``, in order of time.

    ``support`` is the first and the last frame, counted from 1, at ``fps`` frames a second, else
    at the video's own rate. Raises FormatError where neither is known::

        for sample in dataset:
            moments = [fo.TemporalDetection(**values) for values in table[sample.filepath]]
            sample["moments"] = fo.TemporalDetections(detections=moments)
    """
    table: dict[str, list[dict[str, Any]]] = {}
    for video, detections in by_video(found).items():
        rate = rate_of(video, Path("to_fiftyone"), fps)
        table[video] = [
            {
                "label": query,
                "support": list(to_frames(start_s, end_s, rate)),
                "confidence": round(score, 4),
            }
            for start_s, end_s, query, score in detections.by_time()
        ]
    return table


def write(found: Found, path: Path) -> None:
    """Write labels of several videos. Raises FormatError for two that differ by ending alone."""
    classes: dict[str, int] = {}
    labels: dict[str, list[dict[str, Any]]] = {}
    heads: dict[str, dict[str, Any]] = {}
    for video, detections in by_video(found).items():
        name = video.removesuffix(PurePath(video).suffix)
        if name in labels:
            raise FormatError(f"{path}: two videos have the name {name!r}; the second is {video}.")
        for query in detections.names:
            classes.setdefault(query, len(classes))
        heads[name] = to_head(video, detections)
        labels[name] = [
            {
                "label": classes[query],
                "timestamps": [round(start_s, 3), round(end_s, 3)],
                "confidence": round(score, 4),
            }
            for start_s, end_s, query, score in detections.by_time()
        ]
    document = {"classes": list(classes), "labels": labels, OURS: heads}
    write_text(json.dumps(document, ensure_ascii=False, allow_nan=False, indent=2) + "\n", path)


def read(path: Path, *, fps: float | None = None) -> Read:
    """Detections by video, also of data sets that FiftyOne exported.

    Without ``timestamps`` times are frames, of which the rate has to be known. A detection without
    confidence has 1. Raises FormatError.
    """
    document = read_json(path)
    labels = get(document, "labels", dict, str(path))
    classes = document.get("classes")
    heads = get(document, OURS, dict, str(path)) if OURS in document else {}
    videos: Read = {}
    for name in labels:
        head = NO_HEAD
        if name in heads:
            head = read_head(heads[name], f"{path}: {OURS}[{name!r}]")
        video = name if head.video is None else head.video
        if video in videos:
            raise FormatError(f"{path}: labels[{name!r}]: the video {video!r} is there twice.")
        entries = [] if labels[name] is None else get(labels, name, list, f"{path}: labels")
        rate = cache(partial(rate_of, video, path, fps))
        videos[video] = head.with_rows(
            [
                _to_row(entry, classes, rate, f"{path}: labels[{name!r}][{i}]")
                for i, entry in enumerate(entries)
            ]
        )
    return videos


FIFTYONE = Format(
    write,
    read,
    extension=".json",
    about="the labels of a temporal detection data set of FiftyOne",
    marks=("labels",),
    holds_several=True,
    reads_frames=True,
)


def _to_row(entry: Any, classes: Any, rate: Callable[[], float], where: str) -> Row:
    query = _to_query(entry, classes, where)
    score = 1.0
    if entry.get("confidence") is not None:
        score = get_number(entry, "confidence", where)
    check_score(score, f"{where}: confidence")
    if "timestamps" in entry:
        start_s, end_s = _read_pair(entry, "timestamps", where)
    else:
        first, last = _read_pair(entry, "support", where)
        start_s, end_s = to_seconds(first, last, rate())
    return Row(start_s, end_s, query, score)


def _read_pair(entry: dict[str, Any], name: str, where: str) -> tuple[float, float]:
    pair = get(entry, name, list, where)
    if len(pair) != 2:
        raise FormatError(f"{where}: {name}: expected two numbers, got {len(pair)}.")
    first, last = (to_number(value, f"{where}: {name}") for value in pair)
    check_order(first, last, f"{where}: {name}")
    return first, last


def _to_query(entry: Any, classes: Any, where: str) -> str:
    """The label itself, or the class of that number."""
    label: Any = get(entry, "label", object, where)
    if type(label) is int and isinstance(classes, list) and 0 <= label < len(classes):
        label = classes[label]
    if not isinstance(label, str):
        raise FormatError(f"{where}: label: expected a text or the number of a class.")
    return label
