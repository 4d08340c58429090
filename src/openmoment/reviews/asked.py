"""Predictions join a review: what people said of the last ones stays."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray as Array

from openmoment.postprocess import clip_to, temporal_iou
from openmoment.reviews.document import (
    Change,
    MadeBy,
    Predicted,
    Review,
    ReviewedQuery,
    ReviewedSegment,
    new_ids,
    to_score,
    to_time,
)
from openmoment.reviews.files import check_size
from openmoment.types import Detections

MIN_TIOU = 0.7
"""From here on a prediction is the moment that a person has already seen."""


def add_predictions(
    review: Review,
    ranked: Detections,
    *,
    threshold: float | Mapping[str, float],
    made_by: MadeBy,
    when: str,
) -> Review:
    """The next revision, with all that a method proposes for the queries of ``ranked``.

    Segments that nobody decided on are replaced. What was accepted, rejected or added stays; a
    prediction that coincides with it as it is, or as it was predicted, is not added, but becomes
    what is said to be predicted of it. The ``threshold``, one or by query, is that of queries which
    are new, or now asked of another backbone or method. Raises FormatError for a review that grows
    too large.
    """
    old = {q.query: q for q in review.queries}
    presence = dict(zip(ranked.names, ranked.presence, strict=True))
    cut = threshold if isinstance(threshold, Mapping) else dict.fromkeys(ranked.names, threshold)
    asked = {
        name: replace(
            _asked(name, old.get(name), to_score(presence[name]), to_score(cut[name]), made_by),
            why=ranked.not_understood.get(name, ""),
            notes=ranked.notes,
        )
        for name in ranked.names
    }
    stay = [s for s in review.segments if not (s.query in asked and _is_undecided(s))]
    new = clip_to(ranked, review.duration_s)
    rows = [Predicted(to_time(a), to_time(b), name, to_score(score)) for a, b, name, score in new]
    is_known, of_seen = _coinciding(new, stay)
    seen = [_as_predicted(s, rows[of_seen[i]]) if i in of_seen else s for i, s in enumerate(stay)]
    fresh = [row for row, known in zip(rows, is_known, strict=True) if not known]
    ids = new_ids(len(fresh), (s.id for s in review.segments))
    added = [
        ReviewedSegment(i, p.start_s, p.end_s, p.query, p.score, "open", p)
        for i, p in zip(ids, fresh, strict=True)
    ]
    predicted = [*(stay[i].id for i in sorted(of_seen)), *ids]
    said = {"queries": list(ranked.names), **made_by.to_dict(), "segments": predicted}
    made = replace(
        review,
        revision=review.revision + 1,
        queries=tuple({**old, **asked}.values()),
        segments=(*seen, *added),
        log=(*review.log, Change(when, "", "asked", None, None, said)),
    )
    check_size(made, review.video)
    return made


def last_predicted(review: Review) -> dict[str, frozenset[str]]:
    """The ids of the segments that were predicted when each query was last asked, by query.

    A segment that was predicted before and is not among them stands for another method's score.
    """
    ids: dict[str, frozenset[str]] = {}
    for change in review.log:
        if change.what == "asked" and change.after:
            predicted = frozenset(_texts(change.after, "segments"))
            ids |= dict.fromkeys(_texts(change.after, "queries"), predicted)
    return ids


def _texts(said: Mapping[str, Any], name: str) -> list[str]:
    """The texts of a list in the log, which nothing else checks."""
    found = said.get(name)
    return [text for text in found if isinstance(text, str)] if isinstance(found, list) else []


def _asked(
    name: str, old: ReviewedQuery | None, presence: float, threshold: float, made_by: MadeBy
) -> ReviewedQuery:
    if old is None:
        return ReviewedQuery(name, presence, threshold, made_by=made_by)
    if old.made_by == made_by:
        return replace(old, presence=presence)
    return replace(old, presence=presence, threshold=threshold, made_by=made_by)


def _is_undecided(segment: ReviewedSegment) -> bool:
    return segment.status == "open" and segment.predicted is not None


def _as_predicted(segment: ReviewedSegment, now: Predicted) -> ReviewedSegment:
    """A segment that was seen, with what is predicted there now; added ones keep no score."""
    score = now.score if segment.predicted else segment.score
    return replace(segment, predicted=now, score=score)


def _coinciding(
    found: Detections, seen: list[ReviewedSegment]
) -> tuple[Bool[Array, " n"], dict[int, int]]:
    """Which detections coincide with a seen segment, and of such segments the nearest one."""
    is_known = np.zeros(len(found), dtype=bool)
    of_seen: dict[int, int] = {}
    for label, name in enumerate(found.names):
        mine = np.flatnonzero(found.labels == label)
        rows, places = _places(seen, name)
        overlap = temporal_iou(found.segments[mine], places)
        is_known[mine] = np.any(overlap >= MIN_TIOU, axis=1)
        for row, column in zip(rows, overlap.T, strict=True):
            if len(column) and column.max() >= MIN_TIOU:
                of_seen.setdefault(row, int(mine[column.argmax()]))
    return is_known, of_seen


def _places(seen: list[ReviewedSegment], query: str) -> tuple[list[int], Float[Array, "m 2"]]:
    """Where the segments of a query were predicted, then where they are, and whose place it is."""
    made = [(i, s.predicted) for i, s in enumerate(seen) if s.predicted]
    places = [(i, p.start_s, p.end_s) for i, p in made if p.query == query]
    places += [(i, s.start_s, s.end_s) for i, s in enumerate(seen) if s.query == query]
    spans = np.array([place[1:] for place in places], dtype=np.float64).reshape(-1, 2)
    return [place[0] for place in places], spans
