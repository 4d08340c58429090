"""The projects of VIA 3, the VGG video annotator: segments of time with the attributes of each.

A moment is a segment whose attribute ``query`` is one of the queries, to be chosen from a list,
and whose ``score`` is text. Of each video the head of our JSON stands in the project, where VIA
keeps it.
"""

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from openmoment.detections import Row
from openmoment.errors import FormatError
from openmoment.export.base import Format, Found, Read, by_video, parse_score
from openmoment.export.json import NO_HEAD, Head, read_head, to_head
from openmoment.storage.atomic import write_text
from openmoment.storage.reading import check_order, get, read_json, to_number
from openmoment.types import Detections

OURS = "openmoment"
QUERY, SCORE = "query", "score"
_OF_A_SPAN = "FILE1_Z2_XY0"
"""VIA's name for what describes a span of time, not a region of the picture."""
_TEXT, _CHOICE, _VIDEO = 1, 4, 4
_BY_URL, _BY_PATH = 2, 3


def write(found: Found, path: Path) -> None:
    """Write one project with a view for each video, times to a millisecond."""
    videos = by_video(found)
    names = dict.fromkeys(name for detections in videos.values() for name in detections.names)
    options = {name: str(number) for number, name in enumerate(names, start=1)}
    views = {str(number): item for number, item in enumerate(videos.items(), start=1)}
    heads = {view: to_head(*item) for view, item in views.items()}
    document = {
        "project": _describe_project(path, list(views)) | {OURS: heads},
        "config": _CONFIG,
        "attribute": {
            "1": _to_attribute(QUERY, _CHOICE, {key: name for name, key in options.items()}),
            "2": _to_attribute(SCORE, _TEXT, {}),
        },
        "file": {view: _to_file(view, video) for view, (video, _) in views.items()},
        "metadata": {
            name: segment
            for view, (_, detections) in views.items()
            for name, segment in _to_segments(view, detections, options)
        },
        "view": {view: {"fid_list": [view]} for view in views},
    }
    write_text(json.dumps(document, ensure_ascii=False, allow_nan=False) + "\n", path)


def read(path: Path) -> Read:
    """Detections by video, also of projects made in VIA.

    Each attribute of a segment but ``score`` is a query; one without any is ``unlabelled``. What
    belongs to a picture or a region is passed over. Raises FormatError.
    """
    document = read_json(path)
    views = get(document, "view", dict, str(path))
    heads = _read_heads(document, str(path))
    names = {view: _name_video(document, view, str(path)) for view in views}
    rows: dict[str, list[Row]] = {view: [] for view in views}
    segments = get(document, "metadata", dict, str(path))
    attributes = _read_attributes(document, str(path))
    for key in segments:
        where = f"{path}: metadata[{key!r}]"
        segment = get(segments, key, dict, f"{path}: metadata")
        times, region = get(segment, "z", list, where), segment.get("xy")
        if len(times) != 2 or region:
            continue
        view = get(segment, "vid", str, where)
        if view not in rows:
            raise FormatError(f"{where}: vid: there is no view {view!r}.")
        rows[view].extend(_to_rows(segment, attributes, where))
    videos: Read = {}
    for view in views:
        head = heads.get(view, NO_HEAD)
        name = names[view] if head.video is None else head.video
        if name in videos:
            raise FormatError(f"{path}: view[{view!r}]: the video {name!r} is there twice.")
        videos[name] = head.with_rows(rows[view])
    return videos


VIA = Format(
    write,
    read,
    extension=".json",
    about="a project of VIA 3, the VGG video annotator",
    marks=("view", "metadata"),
    holds_several=True,
)

_CONFIG = {
    "file": {"loc_prefix": {"1": "", "2": "", "3": "", "4": ""}},
    "ui": {
        "file_content_align": "center",
        "file_metadata_editor_visible": True,
        "spatial_metadata_editor_visible": False,
        "temporal_segment_metadata_editor_visible": True,
        "spatial_region_label_attribute_id": "",
        "gtimeline_visible_row_count": "4",
    },
}


def _describe_project(path: Path, views: list[str]) -> dict[str, Any]:
    """VIA's own placeholders stand for a project that it has not shared yet."""
    return {
        "pid": "__VIA_PROJECT_ID__",
        "rev": "__VIA_PROJECT_REV_ID__",
        "rev_timestamp": "__VIA_PROJECT_REV_TIMESTAMP__",
        "pname": path.stem,
        "creator": OURS,
        "created": round(time.time() * 1000),
        "data_format_version": "3.1.1",
        "vid_list": views,
    }


def _to_attribute(name: str, kind: int, options: Mapping[str, str]) -> dict[str, Any]:
    return {
        "aname": name,
        "anchor_id": _OF_A_SPAN,
        "type": kind,
        "desc": "",
        "options": options,
        "default_option_id": "",
    }


def _to_file(key: str, video: str) -> dict[str, Any]:
    place = _BY_URL if video.startswith(("http://", "https://")) else _BY_PATH
    return {"fid": key, "fname": Path(video).name, "type": _VIDEO, "loc": place, "src": video}


def _to_segments(
    view: str, found: Detections, options: Mapping[str, str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, (start_s, end_s, query, score) in enumerate(found.by_time(), start=1):
        yield (
            f"{view}_{number:08}",
            {
                "vid": view,
                "flg": 0,
                "z": [round(start_s, 3), round(end_s, 3)],
                "xy": [],
                "av": {"1": options[query], "2": f"{score:.4f}"},
            },
        )


def _read_heads(document: dict[str, Any], where: str) -> dict[str, Head]:
    project = document.get("project")
    if not isinstance(project, dict) or OURS not in project:
        return {}
    heads = get(project, OURS, dict, f"{where}: project")
    return {view: read_head(heads[view], f"{where}: project: {OURS}[{view!r}]") for view in heads}


def _name_video(document: dict[str, Any], view: str, where: str) -> str:
    """The source of the first file in a view, else its name."""
    place = f"{where}: view[{view!r}]"
    ids = get(get(document, "view", dict, where)[view], "fid_list", list, place)
    if not ids:
        raise FormatError(f"{place}: fid_list: expected a file, got none.")
    file = get(get(document, "file", dict, where), str(ids[0]), dict, f"{where}: file")
    source = file.get("src")
    if isinstance(source, str) and source:
        return source
    return get(file, "fname", str, f"{where}: file[{ids[0]!r}]")


def _read_attributes(document: dict[str, Any], where: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """The name of each attribute, and its options."""
    table = get(document, "attribute", dict, where)
    attributes: dict[str, tuple[str, dict[str, Any]]] = {}
    for key in table:
        attribute, place = get(table, key, dict, f"{where}: attribute"), f"attribute[{key!r}]"
        options = (
            get(attribute, "options", dict, f"{where}: {place}") if "options" in attribute else {}
        )
        attributes[key] = (get(attribute, "aname", str, f"{where}: {place}"), options)
    return attributes


def _to_rows(
    segment: dict[str, Any], attributes: Mapping[str, tuple[str, dict[str, Any]]], where: str
) -> Iterator[Row]:
    """A row for each value of each attribute, but for the score, which is all rows'."""
    start_s, end_s = (to_number(value, f"{where}: z") for value in segment["z"])
    check_order(start_s, end_s, where)
    values = get(segment, "av", dict, where)
    score, queries = 1.0, []
    for key in values:
        value = get(values, key, str, f"{where}: av")
        name, options = attributes.get(key, ("", {}))
        if name == SCORE and (told := parse_score(value)) is not None:
            score = told
        else:  # of a list, the keys of what was chosen
            queries.extend(str(options.get(part, part)) for part in _parts(value, options))
    yield from (Row(start_s, end_s, query, score) for query in queries or ["unlabelled"])


def _parts(value: str, options: Mapping[str, Any]) -> list[str]:
    return [part for part in (value.split(",") if options else [value]) if part]
