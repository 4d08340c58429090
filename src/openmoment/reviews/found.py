"""Reviews as detections, and as ground truth."""

from dataclasses import replace

import numpy as np

from openmoment.detections import Row, from_rows
from openmoment.reviews.document import Review, ReviewedQuery
from openmoment.types import Annotations, Detections, Origin


def to_detections(review: Review, *, shown_only: bool = True) -> Detections:
    """What was not rejected, best first; segments without a score have 1.

    ``shown_only`` leaves out open segments below their query's threshold. Presence is what a
    person says, else the method, else the best score. The origin's method is "review", and its
    settings say which methods were asked.
    """
    threshold = {q.query: q.threshold if shown_only else 0.0 for q in review.queries}
    rows = [
        Row(s.start_s, s.end_s, s.query, 1.0 if s.score is None else s.score)
        for s in review.segments
        if s.status == "accepted"
        or (s.status == "open" and (s.score is None or s.score >= threshold[s.query]))
    ]
    best = {row.query: row.score for row in sorted(rows, key=lambda row: row.score)}
    said = occurs(review)
    presence: dict[str, float] = {}
    for query in review.queries:
        name = query.query
        rated = best.get(name, 0.0) if query.presence is None else query.presence
        presence[name] = float(said[name]) if name in said else rated
    open_ = [q for q in review.queries if q.query not in said]
    return replace(
        from_rows(rows, presence),
        origin=_origin(review),
        unsure=frozenset(q.query for q in open_ if _is_unsure(q)),
        not_understood={q.query: q.why for q in open_ if q.why},
        notes=tuple(dict.fromkeys(note for q in review.queries for note in q.notes)),
    )


def _is_unsure(query: ReviewedQuery) -> bool:
    """Whether the method that was asked is unsure of a query."""
    if query.made_by is None or query.presence is None:
        return False
    decides = query.made_by.settings
    try:
        least, sure = float(decides["min_presence"]), float(decides["sure"])
    except (KeyError, TypeError, ValueError):
        return False
    return least <= query.presence < sure


def occurs(review: Review) -> dict[str, bool]:
    """Whether each query occurs, for those of which a person said so in any way.

    It does where a segment was accepted, or somebody said so; it does not where somebody said so,
    or looked through the whole video and accepted nothing.
    """
    accepted = {s.query for s in review.segments if s.status == "accepted"}
    said: dict[str, bool] = {}
    for query in review.queries:
        if query.query in accepted:
            said[query.query] = True
        elif query.occurs is not None or query.checked:
            said[query.query] = bool(query.occurs)
    return said


def truth(review: Review) -> Annotations:
    """What is known to happen: the accepted segments of the queries that somebody checked.

    The names are the checked queries, also those that do not occur; what somebody said does not
    occur counts as checked. A query that is said to occur, without any accepted segment, does not.
    """
    said = occurs(review)
    accepted = [s for s in review.segments if s.status == "accepted"]
    marked = {s.query for s in accepted}
    checked = {q.query for q in review.queries if q.checked}
    names = tuple(n for n, does in said.items() if not does or n in checked & marked)
    label = {name: i for i, name in enumerate(names)}
    rows = sorted((s.start_s, s.end_s, label[s.query]) for s in accepted if s.query in label)
    return Annotations(
        segments=np.array([row[:2] for row in rows], dtype=np.float64).reshape(-1, 2),
        labels=np.array([row[2] for row in rows], dtype=np.int64),
        names=names,
        duration_s=review.duration_s,
    )


def _origin(review: Review) -> Origin:
    made_by = list({str(q.made_by): q.made_by for q in review.queries if q.made_by}.values())
    return Origin(
        video=review.video,
        duration_s=review.duration_s,
        backbone=", ".join(dict.fromkeys(made.backbone for made in made_by)),
        fingerprint=", ".join(dict.fromkeys(made.fingerprint for made in made_by)),
        method="review",
        settings={
            "revision": review.revision,
            "made_by": [made.to_dict() for made in made_by],
        },
        source_sha256=review.sha256,
    )
