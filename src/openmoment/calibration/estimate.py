"""What a calibration changes, on videos that it has not seen.

Each video is decided by a fit on all others. Axes: n marks, q queries of videos.
"""

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray as Array

from openmoment.calibration.fit import fit_any
from openmoment.calibration.fitted import Fitted, Source
from openmoment.calibration.marks import Marks
from openmoment.methods import METHODS

EVEN = 0.5
"""From this presence on the answer is that a query occurs."""


@dataclass(frozen=True)
class Decided:
    """How good decisions are on the marks."""

    precision: float
    recall: float
    f1: float
    brier: float
    """Mean squared distance of a score from what is true: 0 is best, 0.25 is what 0.5 has."""
    presence_right: float | None
    """The share of queries for which "does it occur" is answered right; None without any."""


@dataclass(frozen=True)
class Estimate:
    """Decisions on the marks as the method makes them, and as a calibration does."""

    num_videos: int
    num_right: int
    num_wrong: int
    num_missed: int
    """Accepted moments that no prediction covers."""
    num_occurring: int
    num_absent: int
    before: Decided
    after: Decided
    is_held_out: bool
    """Whether each video was decided by a fit on the others; else ``after`` flatters."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        return asdict(self)


class _Said(NamedTuple):
    """Decisions on marks."""

    likely: Float[Array, " n"]
    keeps: Bool[Array, " n"]
    occurs: Bool[Array, " q"]


def estimate(source: Source, marks: Marks, *, precision: float | None = None) -> Estimate:
    """What the calibration of these marks changes; of one video alone, on what it was fitted to."""
    own = _own(source, marks)
    known, marked = marks.asked_known, marks.is_marked
    videos = np.unique(np.concatenate([marks.videos[marked], marks.asked_videos[known]]))
    is_held_out = len(videos) > 1
    likely, keeps, occurs = (column.copy() for column in own)
    for video in videos if is_held_out else [None]:
        mine, asked = marks.videos == video, marks.asked_videos == video
        if video is None:
            mine, asked = np.ones_like(mine), np.ones_like(asked)
        others = marks.where(~mine, ~asked) if is_held_out else marks
        if others.has_both:  # else the method decides, as before
            fitted = fit_any(source, others, precision=precision)
            said = _by(fitted, marks.where(mine, asked))
            likely[mine], keeps[mine], occurs[asked] = said
    return Estimate(
        num_videos=len(videos),
        num_right=marks.num_right,
        num_wrong=len(marks) - marks.num_right,
        num_missed=int(marks.num_missed.sum()),
        num_occurring=int(marks.asked_occurs[known].sum()),
        num_absent=int((~marks.asked_occurs[known]).sum()),
        before=_measure(own, marks),
        after=_measure(_Said(likely, keeps, occurs), marks),
        is_held_out=is_held_out,
    )


def _own(source: Source, marks: Marks) -> _Said:
    """What the method says by its own settings, of a query that occurs at least its best moment."""
    method = METHODS[source.method]
    own = method.traits_of(method.Config()).decision
    fits = (marks.scores >= own.min_fit * marks.presence) & (marks.presence >= own.sure)
    keeps = (fits | _best(marks)) if own.min_fit else fits
    keeps &= (marks.presence >= own.min_presence) & (marks.scores >= own.min_score)
    return _Said(marks.scores, keeps, marks.asked_presence >= (own.sure or EVEN))


def _best(marks: Marks) -> Bool[Array, " n"]:
    """The best mark of each query of each video."""
    order = np.argsort(-marks.scores, kind="stable")
    group = marks.videos[order] * len(marks.names) + marks.queries[order]
    _, first = np.unique(group, return_index=True)
    best = np.zeros(len(order), dtype=bool)
    best[order[first]] = True
    return best


def _by(fitted: Fitted, marks: Marks) -> _Said:
    likely = fitted.score.apply(marks.scores, marks.queries, marks.names)
    presence = marks.asked_presence
    if fitted.presence:
        presence = fitted.presence.apply(presence, marks.asked_queries, marks.names)
    return _Said(likely, likely >= fitted.threshold, presence >= EVEN)


def _measure(said: _Said, marks: Marks) -> Decided:
    """Of what is marked; nobody knows of the rest."""
    num_right = int(marks.is_right[said.keeps].sum())
    num_true = marks.num_right + int(marks.num_missed.sum())
    num_kept = int((said.keeps & marks.is_marked).sum())
    known = marks.asked_known
    agrees = said.occurs[known] == marks.asked_occurs[known]
    error = np.square(said.likely - marks.is_right)[marks.is_marked]
    return Decided(
        precision=num_right / max(num_kept, 1),
        recall=num_right / max(num_true, 1),
        f1=2 * num_right / max(num_kept + num_true, 1),
        brier=float(error.mean()) if len(error) else 0.0,
        presence_right=float(agrees.mean()) if len(agrees) else None,
    )
