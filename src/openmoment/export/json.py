"""Our own JSON, ``openmoment/1``: the only format that keeps all of it. Schema: docs/json.md."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from openmoment.detections import Detections as Held
from openmoment.detections import Row, from_rows
from openmoment.errors import FormatError
from openmoment.export.base import Format, Found, Read
from openmoment.storage.atomic import write_text
from openmoment.storage.reading import check_order, check_score, get, get_number, read_json
from openmoment.types import SCHEMA, Detections, Origin


def to_document(found: Found) -> dict[str, Any]:
    """Plain values: one video's object for Detections, a list of them for a mapping.

    So the shape follows from what was asked for, a video or several, not from how many there are.
    """
    if isinstance(found, Detections):
        return found.to_dict()
    return {"schema": SCHEMA, "videos": [_to_entry(*item) for item in found.items()]}


def write(found: Found, path: Path) -> None:
    """Write `to_document`'s values, indented, as UTF-8. Raises OpenMomentError."""
    text = json.dumps(to_document(found), ensure_ascii=False, allow_nan=False, indent=2)
    write_text(text + "\n", path)


def read(path: Path) -> Read:
    """Detections by the path of their video; one that is not named goes by the file's stem.

    Times and scores are as rounded on writing; grid and curves are not in the file. Raises
    FormatError.
    """
    document = read_json(path)
    schema = get(document, "schema", str, str(path))
    if schema != SCHEMA:
        raise FormatError(f"{path}: schema: expected {SCHEMA!r}, got {schema!r}.")
    if "videos" not in document:
        return dict([_read_entry(document, path, str(path))])
    videos: Read = {}
    for i, entry in enumerate(get(document, "videos", list, str(path))):
        name, found = _read_entry(entry, path, f"{path}: videos[{i}]")
        if name in videos:
            raise FormatError(f"{path}: videos[{i}]: the video {name!r} is there twice.")
        videos[name] = found
    return videos


JSON = Format(
    write,
    read,
    extension=".json",
    about="our own form, which keeps everything but the score curves",
    marks=("schema",),
    holds_several=True,
)


class Head(NamedTuple):
    """What an entry says besides its moments."""

    video: str | None
    asked: dict[str, float]
    """The presence of each query."""
    origin: Origin | None
    unsure: frozenset[str] = frozenset()
    not_understood: Mapping[str, str] = {}
    notes: tuple[str, ...] = ()

    def with_rows(self, rows: Sequence[Row]) -> Held:
        """The detections of the rows, of these queries and of this origin."""
        return replace(
            from_rows(rows, self.asked),
            origin=self.origin,
            unsure=self.unsure,
            not_understood=self.not_understood,
            notes=self.notes,
        )


NO_HEAD = Head(None, {}, None)


def to_head(video: str, found: Detections) -> dict[str, Any]:
    """What an entry says besides its moments, as `read_head` takes it: for other formats."""
    entry = _to_entry(video, found)
    del entry["moments"]
    return entry


def read_head(entry: Any, where: str) -> Head:
    """The head of a video's entry. Raises FormatError starting with ``where``."""
    asked: dict[str, float] = {}
    unsure: set[str] = set()
    not_understood: dict[str, str] = {}
    for i, query in enumerate(get(entry, "queries", list, where)):
        at = f"{where}: queries[{i}]"
        presence = get_number(query, "presence", at)
        check_score(presence, f"{at}: presence")
        name = get(query, "query", str, at)
        asked[name] = presence
        if query.get("answer") == "unsure":
            unsure.add(name)
        if query.get("answer") == "not understood":
            not_understood[name] = get(query, "why", str, at)
    notes = get(entry, "notes", list, where) if "notes" in entry else []
    head = Head(None, asked, None, frozenset(unsure), not_understood, tuple(map(str, notes)))
    if "video" not in entry:
        return head
    video = get(get(entry, "video", dict, where), "path", str, f"{where}: video")
    origin = _read_origin(entry, where) if "method" in entry else None
    return head._replace(video=video, origin=origin)


def _to_entry(video: str, found: Detections) -> dict[str, Any]:
    entry = found.to_dict()
    del entry["schema"]
    return {**entry, "video": {**entry.get("video", {}), "path": video}}


def _read_entry(entry: Any, path: Path, where: str) -> tuple[str, Held]:
    head = read_head(entry, where)
    moments = get(entry, "moments", list, where)
    rows = [_read_moment(m, head.asked, f"{where}: moments[{i}]") for i, m in enumerate(moments)]
    video = path.stem if head.video is None else head.video
    return video, head.with_rows(rows)


def _read_moment(moment: Any, asked: Mapping[str, float], where: str) -> Row:
    row = Row(
        get_number(moment, "start_s", where),
        get_number(moment, "end_s", where),
        get(moment, "query", str, where),
        get_number(moment, "score", where),
    )
    check_order(row.start_s, row.end_s, where)
    check_score(row.score, f"{where}: score")
    if row.query not in asked:
        raise FormatError(f"{where}: query: {row.query!r} is not among the queries.")
    return row


def _read_origin(entry: dict[str, Any], where: str) -> Origin:
    video, backbone, method = (
        get(entry, key, dict, where) for key in ("video", "backbone", "method")
    )
    settings = get(method, "settings", dict, f"{where}: method")
    try:
        json.dumps(settings, allow_nan=False)
    except ValueError as error:
        raise FormatError(f"{where}: method: settings: expected finite numbers.") from error
    return Origin(
        video=get(video, "path", str, f"{where}: video"),
        duration_s=get_number(video, "duration_s", f"{where}: video"),
        backbone=get(backbone, "name", str, f"{where}: backbone"),
        fingerprint=get(backbone, "fingerprint", str, f"{where}: backbone"),
        method=get(method, "name", str, f"{where}: method"),
        settings=settings,
        source_sha256=get(video, "sha256", str, f"{where}: video"),
    )
