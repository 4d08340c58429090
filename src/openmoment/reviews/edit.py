"""What a person did to a review, found by comparing what was sent with what there is.

The page says how queries and segments stand now; who did what, and what a method predicted, is
never taken from it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from openmoment.errors import ConflictError
from openmoment.reviews.document import Change, Predicted, Review, ReviewedQuery, ReviewedSegment
from openmoment.reviews.files import (
    read_predicted,
    read_queries,
    read_query,
    read_revision,
    read_score,
    read_segments,
)

_OF_SEGMENT = ("start_s", "end_s", "query", "status")
_OF_QUERY = ("occurs", "checked", "threshold")


class Edit(NamedTuple):
    """How queries and segments are to stand, and the revision that the person saw."""

    revision: int
    queries: tuple[ReviewedQuery, ...]
    segments: tuple[ReviewedSegment, ...]


def read_edit(document: Any, review: Review, where: str = "review") -> Edit:
    """The edit of plain values ``{revision, queries, segments}``. Raises FormatError."""
    revision = read_revision(document, where)
    queries = read_queries(document, where)
    segments = read_segments(document, queries, review.duration_s, where, known=review.segments)
    return Edit(revision, queries, segments)


def revise(
    old: Review,
    queries: Sequence[ReviewedQuery],
    segments: Sequence[ReviewedSegment],
    *,
    who: str,
    when: str,
    revision: int | None = None,
) -> Review:
    """The next revision, with every difference in the log; the same one if there is none.

    Segments are the same where their id is, queries where their text is. Scores, presence,
    `predicted`, `made_by` and what else a method said are those of ``old``; a segment or a query
    that is back after it was deleted has its own again. Raises ConflictError when ``revision`` is
    given and is not that of ``old``.
    """
    if revision is not None and revision != old.revision:
        raise ConflictError(
            f"The review is at revision {old.revision}, the change was made to {revision}. "
            "Load it again."
        )
    asked = {q.query: q for q in old.queries}
    known = {s.id: s for s in old.segments}
    made = {s.id: _Made(s.score, s.predicted) for s in old.segments}
    if any(s.id not in known for s in segments):
        made = _deleted(old) | made
    once = asked if all(q.query in asked for q in queries) else _removed(old) | asked
    now_asked = tuple(_as_asked(q, once.get(q.query)) for q in queries)
    now = tuple(_as_made(s, made.get(s.id, _Made())) for s in segments)
    if now_asked == old.queries and now == old.segments:
        return old
    said = [*_said_of_queries(asked, now_asked), *_said_of_segments(known, now)]
    log = (Change(when, who, *each) for each in said)
    return replace(
        old, revision=old.revision + 1, queries=now_asked, segments=now, log=(*old.log, *log)
    )


class _Made(NamedTuple):
    """What a method says of a segment, and no person can change."""

    score: float | None = None
    predicted: Predicted | None = None


class _Said(NamedTuple):
    """A change, but for who made it and when."""

    what: str
    segment: str | None
    before: dict[str, Any] | None
    after: dict[str, Any] | None


def _as_asked(query: ReviewedQuery, old: ReviewedQuery | None) -> ReviewedQuery:
    if old is None:
        return replace(query, presence=None, made_by=None, why="", notes=())
    said = {name: getattr(old, name) for name in ("presence", "made_by", "why", "notes")}
    return replace(query, **said)


def _as_made(segment: ReviewedSegment, made: _Made) -> ReviewedSegment:
    if (segment.score, segment.predicted) == made:
        return segment  # replacing 5,000 frozen values takes a while
    return replace(segment, score=made.score, predicted=made.predicted)


def _deleted(old: Review) -> dict[str, _Made]:
    """What a method said of segments that were deleted, by id."""
    made: dict[str, _Made] = {}
    for i, change in enumerate(old.log):
        if change.what == "deleted" and change.segment and change.before:
            where = f"review: log[{i}]: before"
            predicted = change.before.get("predicted")
            made[change.segment] = _Made(
                read_score(change.before, "score", where),
                predicted and read_predicted(predicted, old.duration_s, where),
            )
    return made


def _removed(old: Review) -> dict[str, ReviewedQuery]:
    """Queries that were taken away, as they were, by text."""
    removed: dict[str, ReviewedQuery] = {}
    for i, change in enumerate(old.log):
        if change.what == "marked" and change.before and change.after is None:
            query = read_query(change.before, f"review: log[{i}]: before")
            removed[query.query] = query
    return removed


def _said_of_queries(
    old: Mapping[str, ReviewedQuery], now: Sequence[ReviewedQuery]
) -> Iterator[_Said]:
    for query in now:
        before = old.get(query.query)
        changed = [n for n in _OF_QUERY if before and getattr(before, n) != getattr(query, n)]
        if before is None:
            yield _Said("marked", None, None, _fields(query, ("query", *_OF_QUERY)))
        elif changed:
            fields = ("query", *changed)
            yield _Said("marked", None, _fields(before, fields), _fields(query, fields))
    for name in old.keys() - {query.query for query in now}:
        yield _Said("marked", None, old[name].to_dict(), None)


def _said_of_segments(
    old: Mapping[str, ReviewedSegment], now: Sequence[ReviewedSegment]
) -> Iterator[_Said]:
    for segment in now:
        before = old.get(segment.id)
        if before is segment or before == segment:
            continue
        if before is None:
            yield _Said("added", segment.id, None, segment.to_dict())
            continue
        changed = [n for n in _OF_SEGMENT if getattr(before, n) != getattr(segment, n)]
        fields = _fields(before, changed), _fields(segment, changed)
        yield _Said(_what(changed, segment), segment.id, *fields)
    stay = {segment.id for segment in now}
    for segment in old.values():
        if segment.id not in stay:
            yield _Said("deleted", segment.id, segment.to_dict(), None)


def _what(changed: Sequence[str], segment: ReviewedSegment) -> str:
    """The word for a change: of several, that which says most."""
    if "query" in changed:
        return "relabelled"
    if changed != ["status"]:
        return "moved"
    return "reopened" if segment.status == "open" else segment.status


def _fields(each: ReviewedQuery | ReviewedSegment, names: Sequence[str]) -> dict[str, Any]:
    return {name: getattr(each, name) for name in names}
