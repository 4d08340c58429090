"""Reviews as files: every fault of a document is one line that names its field."""

import json
import reprlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from openmoment.errors import FormatError
from openmoment.reviews.document import (
    SCHEMA,
    Change,
    MadeBy,
    Predicted,
    Review,
    ReviewedQuery,
    ReviewedSegment,
    to_score,
    to_time,
)
from openmoment.storage.atomic import write_text
from openmoment.storage.reading import check_order, check_score, get, get_number, read_json

MAX_TEXT = 500
"""Characters of a query, an id, or a name of a person."""
MAX_PATH = 4096
MAX_QUERIES = 1000
MAX_NOTES = 20
MAX_SEGMENTS = 100_000
END_TOLERANCE_S = 0.5
"""Players and containers differ about where a video ends; times up to here count as its end."""
_STATUSES = ("open", "accepted", "rejected")


def is_review(path: Path) -> bool:
    """Whether a file says that it is a review, of whatever version. Raises FormatError."""
    if path.suffix.lower() != ".json":
        return False
    document = read_json(path)
    schema = document.get("schema") if isinstance(document, dict) else None
    return isinstance(schema, str) and schema.startswith(SCHEMA.partition("/")[0] + "/")


def read_review(path: Path) -> Review:
    """The review that a file holds. Raises FormatError."""
    return from_dict(read_json(path), str(path))


def read_reviews(paths: Iterable[Path]) -> dict[Path, Review]:
    """The reviews of files, and of folders of them, by file. Raises FormatError.

    In a folder every ``.json`` file is to be a review; its sub-folders count too.
    """
    reviews: dict[Path, Review] = {}
    for path in paths:
        files = sorted(path.rglob("*.json")) if path.is_dir() else [path]
        if not files:
            raise FormatError(f"{path}: holds no review (*.json).")
        reviews |= {file: read_review(file) for file in files if not file.name.startswith(".")}
    return reviews


def write_review(review: Review, path: Path) -> None:
    """Write a review, whole or not at all, one segment a line. Raises OpenMomentError."""
    document = to_dict(review)
    # line by line: the indenting encoder of the standard library takes ten times as long
    fields = [f"{_dump(name)}: {_dump_value(value)}" for name, value in document.items()]
    write_text("{\n" + ",\n".join(fields) + "\n}\n", path)


def to_dict(review: Review, *, log: bool = True) -> dict[str, Any]:
    """Plain values that JSON can hold."""
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "video": {
            "path": review.video,
            "duration_s": review.duration_s,
            "sha256": review.sha256,
        },
        "revision": review.revision,
        "queries": [query.to_dict() for query in review.queries],
        "segments": [segment.to_dict() for segment in review.segments],
    }
    if log:
        document["log"] = [change.to_dict() for change in review.log]
    return document


def from_dict(document: Any, where: str = "review") -> Review:
    """The review of plain values; unknown fields are passed over.

    Raises FormatError starting with ``where``.
    """
    schema = get(document, "schema", str, where)
    if schema != SCHEMA:
        raise FormatError(f"{where}: schema: expected {SCHEMA!r}, got {reprlib.repr(schema)}.")
    video = get(document, "video", dict, where)
    duration_s = get_number(video, "duration_s", f"{where}: video")
    if duration_s <= 0:
        raise FormatError(f"{where}: video: duration_s: expected over 0, got {duration_s:g}.")
    queries = read_queries(document, where)
    log = enumerate(get(document, "log", list, where) if "log" in document else [])
    return Review(
        video=_text(video, "path", f"{where}: video", limit=MAX_PATH),
        duration_s=duration_s,
        sha256=get(video, "sha256", str, f"{where}: video"),
        revision=read_revision(document, where),
        queries=queries,
        segments=read_segments(document, queries, duration_s, where),
        log=tuple(_read_change(entry, f"{where}: log[{i}]") for i, entry in log),
    )


def read_revision(document: Any, where: str) -> int:
    """The document's revision. Raises FormatError starting with ``where``."""
    value = get(document, "revision", object, where)
    if type(value) is not int or value < 0:
        raise FormatError(
            f"{where}: revision: expected a whole number from 0, got {reprlib.repr(value)}."
        )
    return value


def read_queries(document: Any, where: str) -> tuple[ReviewedQuery, ...]:
    """The document's queries, each there once. Raises FormatError starting with ``where``."""
    entries = _bounded(document, "queries", MAX_QUERIES, where)
    queries = tuple(read_query(q, f"{where}: queries[{i}]") for i, q in enumerate(entries))
    _refuse_twice((q.query for q in queries), f"{where}: queries", "query")
    return queries


def read_segments(
    document: Any,
    queries: Iterable[ReviewedQuery],
    duration_s: float,
    where: str,
    *,
    known: Iterable[ReviewedSegment] = (),
) -> tuple[ReviewedSegment, ...]:
    """The document's segments, each of one of the queries, inside the video, with its own id.

    Times that end up to `END_TOLERANCE_S` too late are cut. One of the ``known`` that nobody
    changed is given as it is. Raises FormatError starting with ``where``.
    """
    by_id = {s.id: s for s in known}
    entries = _bounded(document, "segments", MAX_SEGMENTS, where)
    names = {q.query for q in queries}
    segments = []
    for i, entry in enumerate(entries):
        place = f"{where}: segments[{i}]"
        segment = _unchanged(entry, by_id) or _read_segment(entry, duration_s, place)
        if segment.query not in names:
            shown = reprlib.repr(segment.query)
            raise FormatError(f"{place}: query: {shown} is not among the queries.")
        segments.append(segment)
    _refuse_twice((s.id for s in segments), f"{where}: segments", "id")
    return tuple(segments)


def read_query(entry: Any, where: str) -> ReviewedQuery:
    """One query. Raises FormatError starting with ``where``."""
    query = _text(entry, "query", where)
    occurs = get(entry, "occurs", object, where)
    checked = get(entry, "checked", object, where)
    if occurs is not None and type(occurs) is not bool:
        raise FormatError(
            f"{where}: occurs: expected true, false or null, got {reprlib.repr(occurs)}."
        )
    if type(checked) is not bool:
        raise FormatError(f"{where}: checked: expected true or false, got {reprlib.repr(checked)}.")
    made_by = entry.get("made_by")
    return ReviewedQuery(
        query=query,
        presence=read_score(entry, "presence", where),
        threshold=_read_score(entry, "threshold", where),
        occurs=occurs,
        checked=checked,
        made_by=None if made_by is None else read_made_by(made_by, f"{where}: made_by"),
        why=_text(entry, "why", where) if "why" in entry else "",
        notes=_read_notes(entry, where),
    )


def _read_notes(entry: Mapping[str, Any], where: str) -> tuple[str, ...]:
    notes = get(entry, "notes", list, where) if "notes" in entry else []
    return tuple(_text({"notes": note}, "notes", where) for note in notes[:MAX_NOTES])


def read_made_by(entry: Any, where: str) -> MadeBy:
    """Which backbone and method, with its settings. Raises FormatError starting with ``where``."""
    backbone, method = (get(entry, name, dict, where) for name in ("backbone", "method"))
    return MadeBy(
        backbone=get(backbone, "name", str, f"{where}: backbone"),
        fingerprint=get(backbone, "fingerprint", str, f"{where}: backbone"),
        method=get(method, "name", str, f"{where}: method"),
        settings=get(method, "settings", dict, f"{where}: method"),
    )


def _unchanged(entry: Any, known: Mapping[str, ReviewedSegment]) -> ReviewedSegment | None:
    """The known segment of which an entry says nothing new; most entries of an edit."""
    match entry:
        case {"id": str() as id_, "start_s": start_s, "end_s": end_s, "query": query}:
            old = known.get(id_)
            sent = (start_s, end_s, query, entry.get("status"))
            return old if old and sent == (old.start_s, old.end_s, old.query, old.status) else None
    return None


def _read_segment(entry: Any, duration_s: float, where: str) -> ReviewedSegment:
    start_s, end_s = _read_times(entry, duration_s, where)
    status = get(entry, "status", str, where)
    if status not in _STATUSES:
        raise FormatError(
            f"{where}: status: expected {', '.join(_STATUSES)}, got {reprlib.repr(status)}."
        )
    predicted = entry.get("predicted")
    return ReviewedSegment(
        id=_text(entry, "id", where),
        start_s=start_s,
        end_s=end_s,
        query=_text(entry, "query", where),
        score=read_score(entry, "score", where),
        status=status,
        predicted=None
        if predicted is None
        else read_predicted(predicted, duration_s, f"{where}: predicted"),
    )


def read_predicted(entry: Any, duration_s: float, where: str) -> Predicted:
    """A segment as a method gave it. Raises FormatError starting with ``where``."""
    start_s, end_s = _read_times(entry, duration_s, where)
    query = _text(entry, "query", where)
    return Predicted(start_s, end_s, query, _read_score(entry, "score", where))


def _read_times(entry: Any, duration_s: float, where: str) -> tuple[float, float]:
    match entry:
        case {"start_s": float() as start_s, "end_s": float() as end_s} if (
            0 <= start_s <= end_s <= duration_s
        ):
            return to_time(start_s), to_time(end_s)  # as nearly all are; NaN is in no order
    start_s = get_number(entry, "start_s", where)
    return inside(start_s, get_number(entry, "end_s", where), duration_s, where)


def inside(start_s: float, end_s: float, duration_s: float, where: str) -> tuple[float, float]:
    """A segment as the document holds it, cut at the end of the video.

    Raises FormatError starting with ``where`` for one that lies outside by more than
    `END_TOLERANCE_S`, or ends before it starts.
    """
    if start_s < 0:
        raise FormatError(f"{where}: start_s: expected 0 or more, got {start_s:g}.")
    check_order(start_s, end_s, where)
    if end_s > duration_s + END_TOLERANCE_S:
        raise FormatError(
            f"{where}: end_s {end_s:g} lies beyond the end of the video, {duration_s:g} s."
        )
    return to_time(min(start_s, duration_s)), to_time(min(end_s, duration_s))


def _read_change(entry: Any, where: str) -> Change:
    match entry:
        case {
            "when": str() as when,
            "who": str() as who,
            "what": str() as what,
            "segment": str() | None as segment,
            "before": dict() | None as before,
            "after": dict() | None as after,
        }:
            return Change(when, who, what, segment, before, after)
    for name in ("when", "who", "what"):
        get(entry, name, str, where)
    for name, kind in (("segment", str), ("before", dict), ("after", dict)):
        if get(entry, name, object, where) is not None:
            get(entry, name, kind, where)
    raise AssertionError(f"{where}: a change without any fault")


def _bounded(document: Any, name: str, limit: int, where: str) -> list[Any]:
    entries = get(document, name, list, where)
    _check_count(name, len(entries), limit, where)
    return entries


def _check_count(name: str, count: int, limit: int, where: str) -> None:
    if count > limit:
        raise FormatError(f"{where}: {name}: expected at most {limit}, got {count}.")


def _text(entry: Any, name: str, where: str, *, limit: int = MAX_TEXT) -> str:
    value = get(entry, name, str, where)
    _check_text(value, f"{where}: {name}", limit)
    return value


def _check_text(value: str, where: str, limit: int) -> None:
    if not value.strip():
        raise FormatError(f"{where}: is empty.")
    if len(value) > limit:
        raise FormatError(f"{where}: expected at most {limit} characters, got {len(value)}.")


def read_score(entry: Mapping[str, Any], name: str, where: str) -> float | None:
    """A score from 0 to 1, or None. Raises FormatError starting with ``where``."""
    if entry.get(name) is None:
        return None
    return _read_score(entry, name, where)


def _read_score(entry: Any, name: str, where: str) -> float:
    score = get_number(entry, name, where)
    check_score(score, f"{where}: {name}")
    return to_score(score)


def check_size(review: Review, where: str) -> None:
    """Raises FormatError starting with ``where`` for a review that could not be read again."""
    _check_count("queries", len(review.queries), MAX_QUERIES, where)
    _check_count("segments", len(review.segments), MAX_SEGMENTS, where)
    for query in review.queries:
        _check_text(query.query, f"{where}: query", MAX_TEXT)


def _refuse_twice(values: Iterable[str], where: str, name: str) -> None:
    seen: set[str] = set()
    for i, value in enumerate(values):
        if value in seen:
            raise FormatError(f"{where}[{i}]: {name}: {reprlib.repr(value)} is there twice.")
        seen.add(value)


_dump = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


def _dump_value(value: Any) -> str:
    """One entry of a list a line, so that versions of a file can be compared."""
    if not isinstance(value, list) or not value:
        return _dump(value)
    return "[\n" + ",\n".join(map(_dump, value)) + "\n]"
