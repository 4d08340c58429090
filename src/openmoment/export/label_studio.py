"""Label Studio's tasks with labels on a video's timeline, as it imports and exports them.

Moments are predictions, which it shows as a start for annotators. Its times are frames counted
from 1, the last one included, so that the rate has to be known: it is the one given, else the
video's, and it stands in the task's ``meta`` with the head of our JSON. The labelling
configuration needs the same rate: ``<Video name="video" value="$video" frameRate="25"/>`` and
``<TimelineLabels name="timelineLabels" toName="video">`` with a ``Label`` for each query.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from openmoment.detections import Detections as Held
from openmoment.detections import Row
from openmoment.errors import FormatError
from openmoment.export.base import Format, Found, Read, by_video
from openmoment.export.json import NO_HEAD, read_head, to_head
from openmoment.export.rate import rate_of, to_frames, to_seconds
from openmoment.storage.atomic import write_text
from openmoment.storage.reading import check_order, check_score, get, get_number, read_json
from openmoment.types import Detections

META = "openmoment"
KIND = "timelinelabels"


def write(found: Found, path: Path, *, fps: float | None = None) -> None:
    """Write a task for each video. Raises FormatError where the rate of its frames is unknown."""
    tasks = [_to_task(*item, path, fps) for item in by_video(found).items()]
    write_text(json.dumps(tasks, ensure_ascii=False, allow_nan=False, indent=2) + "\n", path)


def read(path: Path, *, fps: float | None = None) -> Read:
    """Detections by video: the last annotation that was not cancelled, else the last prediction.

    A region with several labels is a moment of each; one without a score has 1. Regions that are
    no timeline labels are passed over. Raises FormatError.
    """
    tasks = read_json(path)
    videos: Read = {}
    for i, task in enumerate(tasks if isinstance(tasks, list) else [tasks]):
        video, found = _read_task(task, path, f"{path}: [{i}]", fps)
        if video in videos:
            raise FormatError(f"{path}: [{i}]: the video {video!r} is there twice.")
        videos[video] = found
    return videos


LABEL_STUDIO = Format(
    write,
    read,
    extension=".json",
    about="tasks for Label Studio, with predictions on the video's timeline",
    loses="times between frames",
    marks=("data",),
    holds_several=True,
    reads_frames=True,
    writes_frames=True,
)


def _to_task(video: str, found: Detections, path: Path, fps: float | None) -> dict[str, Any]:
    rate = rate_of(video, path, fps)
    regions = [
        _to_region(f"m{number}", start_s, end_s, query, score, rate)
        for number, (start_s, end_s, query, score) in enumerate(found.by_time(), start=1)
    ]
    origin = found.origin
    prediction = {
        "model_version": f"{origin.method} {origin.fingerprint}" if origin else "openmoment",
        "score": round(max(found.scores.tolist(), default=0.0), 4),
        "result": regions,
    }
    meta = to_head(video, found) | {"fps": rate}
    return {"data": {"video": video}, "meta": {META: meta}, "predictions": [prediction]}


def _to_region(
    name: str, start_s: float, end_s: float, query: str, score: float, fps: float
) -> dict[str, Any]:
    first, last = to_frames(start_s, end_s, fps)
    return {
        "id": name,
        "from_name": "timelineLabels",
        "to_name": "video",
        "type": KIND,
        "value": {"ranges": [{"start": first, "end": last}], KIND: [query]},
        "score": round(score, 4),
    }


def _read_task(task: Any, path: Path, where: str, fps: float | None) -> tuple[str, Held]:
    data = get(task, "data", dict, where)
    meta, head = task.get("meta"), NO_HEAD
    ours = meta.get(META) if isinstance(meta, dict) else None
    if ours is not None:
        head = read_head(ours, f"{where}: meta: {META}")
    texts = [data.get("video"), *data.values()]
    named = next((text for text in texts if isinstance(text, str)), path.stem)
    video = named if head.video is None else head.video
    regions = list(_regions(task, where))
    if regions and fps is None and ours is not None:
        fps = get_number(ours, "fps", f"{where}: meta: {META}")
    rate = rate_of(video, path, fps) if regions else 1.0
    return video, head.with_rows([row for region in regions for row in _to_rows(*region, rate)])


def _regions(task: dict[str, Any], where: str) -> Iterator[tuple[dict[str, Any], str]]:
    """The timeline labels of the answer that counts, each with its place."""
    for kind in ("annotations", "predictions"):
        answers = get(task, kind, list, where) if kind in task else []
        for i in reversed(range(len(answers))):
            place = f"{where}: {kind}[{i}]"
            regions = get(answers[i], "result", list, place)
            if not answers[i].get("was_cancelled"):
                places = ((region, f"{place}: result[{j}]") for j, region in enumerate(regions))
                yield from (item for item in places if get(item[0], "type", str, item[1]) == KIND)
                return


def _to_rows(region: dict[str, Any], where: str, fps: float) -> Iterator[Row]:
    value = get(region, "value", dict, where)
    score = 1.0 if region.get("score") is None else get_number(region, "score", where)
    check_score(score, f"{where}: score")
    labels = get(value, KIND, list, f"{where}: value")
    for i, span in enumerate(get(value, "ranges", list, f"{where}: value")):
        place = f"{where}: value: ranges[{i}]"
        first, last = get_number(span, "start", place), get_number(span, "end", place)
        check_order(first, last, place)
        for label in labels:
            if not isinstance(label, str):
                raise FormatError(f"{where}: value: {KIND}: expected texts, got {label!r:.50}.")
            yield Row(*to_seconds(first, last, fps), label, score)
