"""Moments of another tool or person join a review, as accepted segments."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from openmoment.reviews.document import (
    Change,
    Review,
    ReviewedQuery,
    ReviewedSegment,
    new_ids,
)
from openmoment.reviews.files import check_size, inside
from openmoment.types import Detections


def add_detections(
    review: Review, found: Detections, *, who: str, when: str, source: str
) -> Review:
    """The next revision, with the moments of ``found`` as accepted segments without a score.

    One that is there already, to a millisecond at both ends, is not added again; if it was
    rejected, it is accepted now. ``source`` names where they come from, for the log and for
    errors. The same review when nothing changes. Raises FormatError for a moment that lies
    outside the video, and for a review that grows too large.
    """
    place = {(s.query, *_milliseconds(s.start_s, s.end_s)): s for s in review.segments}
    new: list[tuple[float, float, str]] = []
    back: set[str] = set()
    for start_s, end_s, query, _ in found.by_time():
        times = inside(start_s, end_s, review.duration_s, f"{source}: a moment of {query!r}")
        same = next((place[p] for p in _about(query, *times) if p in place), None)
        if same is None:
            new.append((*times, query))
        elif same.status == "rejected":
            back.add(same.id)
    ids = new_ids(len(new), (s.id for s in review.segments))
    added = [ReviewedSegment(i, *row, None, "accepted") for i, row in zip(ids, new, strict=True)]
    old = {q.query for q in review.queries}
    names = [name for name in found.names if name not in old]
    said: list[tuple[str, str | None, Any, dict[str, Any]]] = [
        *(("marked", None, None, {"query": name}) for name in names),
        *(("accepted", i, {"status": "rejected"}, {"status": "accepted"}) for i in sorted(back)),
        *(("imported", s.id, None, s.to_dict()) for s in added),
    ]
    if not said:
        return review
    log = [
        Change(when, who, what, segment, before, {**after, "source": source})
        for what, segment, before, after in said
    ]
    stay = (replace(s, status="accepted") if s.id in back else s for s in review.segments)
    made = replace(
        review,
        revision=review.revision + 1,
        queries=(*review.queries, *map(ReviewedQuery, names)),
        segments=(*stay, *added),
        log=(*review.log, *log),
    )
    check_size(made, source)
    return made


def _milliseconds(start_s: float, end_s: float) -> tuple[int, int]:
    return round(start_s * 1000), round(end_s * 1000)


def _about(query: str, start_s: float, end_s: float) -> Iterator[tuple[str, int, int]]:
    """The places that count as the same: what formats round to."""
    start, end = _milliseconds(start_s, end_s)
    return ((query, start + i, end + j) for i in (0, -1, 1) for j in (0, -1, 1))
