"""From reviews to marks: which predictions are right, and which queries occur.

Axes: n candidates, q queries of a video.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray as Array

from openmoment.calibration.fitted import Source
from openmoment.errors import ConfigError
from openmoment.postprocess import temporal_iou
from openmoment.reviews import (
    Predicted,
    Review,
    ReviewedQuery,
    ReviewedSegment,
    last_predicted,
    occurs,
)

MIN_TIOU = 0.5
"""A prediction with such an overlap with what a person accepted is right."""


@dataclass(frozen=True)
class Marks:
    """Predictions, and what people said of them; ``queries`` index into ``names``.

    ``asked_*`` has one row for each query of a video: its presence (1 where no method said any),
    whether it occurs, and how many accepted moments no prediction covers.
    """

    names: tuple[str, ...]
    videos: Int[Array, " n"]
    queries: Int[Array, " n"]
    scores: Float[Array, " n"]
    presence: Float[Array, " n"]
    is_marked: Bool[Array, " n"]
    """Whether anybody said, in any way, that it is right or wrong."""
    is_right: Bool[Array, " n"]
    is_checked: Bool[Array, " n"]
    """Whether its query was checked, so that also what nobody was shown is marked."""
    asked_videos: Int[Array, " q"]
    asked_queries: Int[Array, " q"]
    asked_presence: Float[Array, " q"]
    asked_known: Bool[Array, " q"]
    """Whether somebody said, in any way, that it occurs or does not, and a method how likely."""
    asked_occurs: Bool[Array, " q"]
    num_missed: Int[Array, " q"]

    def __len__(self) -> int:
        """The number of predictions that are marked."""
        return int(self.is_marked.sum())

    @property
    def num_right(self) -> int:
        return int(self.is_right.sum())

    @property
    def counts(self) -> dict[str, int]:
        """How many marks each query has that has any."""
        counted = np.bincount(self.queries[self.is_marked], minlength=len(self.names))
        return {n: int(c) for n, c in zip(self.names, counted, strict=True) if c}

    @property
    def has_both(self) -> bool:
        """Whether some predictions are right, and some wrong."""
        return 0 < self.num_right < len(self)

    @property
    def marked(self) -> "Marks":
        """Without the predictions of which nobody said anything."""
        return self.where(self.is_marked, np.ones(len(self.asked_videos), dtype=bool))

    @property
    def checked(self) -> "Marks":
        """Those of checked queries alone."""
        return self.where(self.is_checked, np.ones(len(self.asked_videos), dtype=bool))

    def where(self, rows: Bool[Array, " n"], asked: Bool[Array, " q"]) -> "Marks":
        """The marks of some candidates and some queries."""
        return Marks(
            self.names,
            *(column[rows] for column in self._candidates),
            *(column[asked] for column in self._asked),
        )

    @property
    def _candidates(self) -> tuple[Array, ...]:
        return self.videos, self.queries, self.scores, self.presence, *self._said

    @property
    def _said(self) -> tuple[Array, ...]:
        return self.is_marked, self.is_right, self.is_checked

    @property
    def _asked(self) -> tuple[Array, ...]:
        return (
            *(self.asked_videos, self.asked_queries, self.asked_presence),
            *(self.asked_known, self.asked_occurs, self.num_missed),
        )


class Gathered(NamedTuple):
    """The marks of the method that has most of them, and what was left out."""

    source: Source
    marks: Marks
    others: Mapping[Source, int]
    """How many queries were asked of other backbones, methods or settings."""


class _Row(NamedTuple):
    video: int
    query: str
    score: float
    presence: float
    is_marked: bool
    is_right: bool
    is_checked: bool


class _Asked(NamedTuple):
    video: int
    query: str
    presence: float
    is_known: bool
    occurs: bool
    num_missed: int


def marks_of(reviews: Iterable[Review]) -> Gathered:
    """What the reviews say of predictions, for the method with most marks.

    A prediction is right when it was accepted as it was, or covers an accepted segment of its
    query by a tIoU of `MIN_TIOU`; each segment makes one right. It is wrong when it was rejected,
    or, in a query that somebody checked, when nothing accepted is there. Other predictions that
    nobody decided on say nothing. Raises ConfigError when no query was asked of a method.
    """
    rows: dict[Source, list[_Row]] = {}
    asked: dict[Source, list[_Asked]] = {}
    for video, review in enumerate(reviews):
        said, predicted = occurs(review), last_predicted(review)
        for query in review.queries:
            if query.made_by is None:
                continue
            source = Source.of(query.made_by)
            mine, num_missed = _judge(review, query, predicted.get(query.query))
            presence = 1.0 if query.presence is None else query.presence
            rows.setdefault(source, []).extend(
                _Row(video, query.query, p.score, presence, is_marked, is_right, query.checked)
                for p, is_marked, is_right in mine
            )
            is_known = query.query in said and query.presence is not None
            occurring = said.get(query.query, False)
            asked.setdefault(source, []).append(
                _Asked(video, query.query, presence, is_known, occurring, num_missed)
            )
    if not asked:
        raise ConfigError("The reviews hold no predictions of a method: there is nothing to fit.")
    best = max(asked, key=lambda s: (sum(row.is_marked for row in rows[s]), len(asked[s])))
    marks = _to_marks(rows[best], asked[best])
    others = Counter({source: len(each) for source, each in asked.items() if source != best})
    return Gathered(best, marks, others)


def _judge(
    review: Review, query: ReviewedQuery, ids: Set[str] | None
) -> tuple[list[tuple[Predicted, bool, bool]], int]:
    """A query's predictions, whether each is marked and right; how many accepted none covers."""
    name = query.query
    accepted = [s for s in review.segments if s.status == "accepted" and s.query == name]
    judged = [
        (s, s.predicted)
        for s in review.segments
        if s.predicted and s.predicted.query == name and (ids is None or s.id in ids)
    ]
    judged.sort(key=lambda pair: -pair[1].score)
    right = _claims(judged, accepted)
    missed = len(accepted) - sum(right) if query.checked else 0
    return [
        (predicted, query.checked or is_right or segment.status != "open", is_right)
        for (segment, predicted), is_right in zip(judged, right, strict=True)
    ], missed


def _claims(
    judged: Sequence[tuple[ReviewedSegment, Predicted]], accepted: Sequence[ReviewedSegment]
) -> list[bool]:
    """Whether each prediction, best first, covers an accepted segment that no better one does."""
    made = np.array([(p.start_s, p.end_s) for _, p in judged], dtype=np.float64).reshape(-1, 2)
    true = np.array([(s.start_s, s.end_s) for s in accepted], dtype=np.float64).reshape(-1, 2)
    overlap = temporal_iou(made, true)
    row = {s.id: i for i, s in enumerate(accepted)}
    free = np.ones(len(accepted), dtype=bool)
    # what was accepted as it was predicted is claimed before anything that lies near it
    own = {i: row[s.id] for i, (s, p) in enumerate(judged) if s.id in row and _stayed(s, p)}
    free[list(own.values())] = False
    right: list[bool] = []
    for i, (segment, _) in enumerate(judged):
        if i in own or segment.status == "rejected":
            right.append(i in own)
            continue
        fits = np.where(free, overlap[i], 0.0)
        found = bool(len(fits)) and bool(fits.max() >= MIN_TIOU)
        if found:
            free[int(fits.argmax())] = False
        right.append(found)
    return right


def _stayed(segment: ReviewedSegment, predicted: Predicted) -> bool:
    return (segment.start_s, segment.end_s) == (predicted.start_s, predicted.end_s)


def _to_marks(rows: Sequence[_Row], asked: Sequence[_Asked]) -> Marks:
    names = tuple(dict.fromkeys(each.query for each in asked))
    index = {name: i for i, name in enumerate(names)}
    return Marks(
        names,
        np.array([row.video for row in rows], dtype=np.int64),
        np.array([index[row.query] for row in rows], dtype=np.int64),
        np.array([row.score for row in rows], dtype=np.float64),
        np.array([row.presence for row in rows], dtype=np.float64),
        np.array([row.is_marked for row in rows], dtype=bool),
        np.array([row.is_right for row in rows], dtype=bool),
        np.array([row.is_checked for row in rows], dtype=bool),
        np.array([each.video for each in asked], dtype=np.int64),
        np.array([index[each.query] for each in asked], dtype=np.int64),
        np.array([each.presence for each in asked], dtype=np.float64),
        np.array([each.is_known for each in asked], dtype=bool),
        np.array([each.occurs for each in asked], dtype=bool),
        np.array([each.num_missed for each in asked], dtype=np.int64),
    )
