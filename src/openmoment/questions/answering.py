"""What questions mean, over detections: docs/questions.md says it in words.

``and``, ``or`` and ``not`` are about time: moments of one side that overlap go on as one, with the
best of their scores; moments that only touch stay apart. All other forms are about moments as they
are. A moment that is made of others has the lowest of their scores. Every step sorts or walks once,
so that thousands of moments take milliseconds. Axes: n, m moments, in order of time.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from difflib import get_close_matches
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray as Array

from openmoment.errors import QueryError
from openmoment.questions.expressions import (
    And,
    Bound,
    Expression,
    Label,
    Lasting,
    Not,
    Or,
    Pick,
    Question,
    Then,
    Times,
)
from openmoment.questions.intervals import NOISE_S, merged
from openmoment.types import Detections, Origin, SnippetGrid

EARLY_S = 0.25
"""``A then B``: B may start that long before A ends, or half of A's length where that is less."""


class Moments(NamedTuple):
    """Moments in order of start, then end, then best first; lengths may be 0."""

    segments: Float[Array, "n 2"]
    scores: Float[Array, " n"]

    @property
    def starts(self) -> Float[Array, " n"]:
        return self.segments[:, 0]

    @property
    def ends(self) -> Float[Array, " n"]:
        return self.segments[:, 1]

    @property
    def lengths(self) -> Float[Array, " n"]:
        return self.ends - self.starts

    def where(self, rows: Bool[Array, " n"] | slice) -> "Moments":
        return Moments(self.segments[rows], self.scores[rows])


def answer(question: Question, found: Detections, *, duration_s: float | None = None) -> Detections:
    """The moments that answer the question, as detections whose one name is its canonical text.

    ``duration_s`` is the video's, by default what ``found`` says of it. The presence is the best
    score. With a label that was not understood the question is not, either. Raises QueryError for
    a label that was not looked for, and for ``not`` where nothing tells how long the video is.
    """
    _refuse_unknown(question, found.names)
    if unclear := [name for name in question.names if name in found.not_understood]:
        return _not_understood(question, unclear, found)
    if duration_s is None and found.origin is not None:
        duration_s = found.origin.duration_s
    if duration_s is None and question.needs_duration:
        raise QueryError(f"{question}: not needs to know how long the video is, and nothing tells.")
    moments = _evaluate(question.expression, found, duration_s or 0.0)
    order = np.argsort(-moments.scores, kind="stable")
    return Detections(
        segments=moments.segments[order],
        scores=moments.scores[order],
        labels=np.zeros(len(order), dtype=np.int64),
        names=(str(question),),
        presence=np.array([moments.scores.max(initial=0.0)]),
        origin=_origin_of(question, moments, found.origin),
        unsure=frozenset({str(question)} if found.unsure.intersection(question.names) else ()),
    )


def _not_understood(question: Question, unclear: Sequence[str], found: Detections) -> Detections:
    """No answer, and why its labels were not looked for."""
    why = " ".join(f'"{name}": {found.not_understood[name]}' for name in unclear)
    nothing = Moments(np.zeros((0, 2)), np.zeros(0))
    return replace(
        Detections.empty([str(question)]),
        origin=_origin_of(question, nothing, found.origin),
        not_understood={str(question): why},
    )


def with_answers(
    found: Detections,
    questions: Iterable[Question],
    *,
    shown: Sequence[str] = (),
    duration_s: float | None = None,
) -> Detections:
    """The answer of each question, behind the detections of the queries in ``shown``.

    Raises as `answer`.
    """
    given = list(dict.fromkeys(questions))
    parts = [found.of(name) for name in shown]
    parts += [answer(question, found, duration_s=duration_s) for question in given]
    joined = Detections(
        segments=np.concatenate([part.segments for part in parts]),
        scores=np.concatenate([part.scores for part in parts]),
        labels=np.repeat(np.arange(len(parts)), [len(part) for part in parts]),
        names=tuple(part.names[0] for part in parts),
        presence=np.concatenate([part.presence for part in parts]),
        origin=_joined_origin(found.origin, [part.origin for part in parts], map(str, given)),
        unsure=frozenset[str]().union(*(part.unsure for part in parts)),
        not_understood={n: why for part in parts for n, why in part.not_understood.items()},
        notes=found.notes,
    )
    return joined[np.argsort(-joined.scores, kind="stable")]


def answered(found: Detections, questions: Sequence[Question], words: Iterable[str]) -> Detections:
    """The answers behind the queries that were asked for besides, as ``words`` says.

    Without any question ``found`` itself. Raises as `answer`.
    """
    if not questions:
        return found
    return with_answers(found, questions, shown=not_only_labels(found.names, questions, words))


def not_only_labels(
    names: Iterable[str], questions: Iterable[Question], words: Iterable[str]
) -> list[str]:
    """The names that are no label of a question, or are among the words asked for besides."""
    labels = {name for question in questions for name in question.names}
    own = {" ".join(word.split()) for word in words}
    return [name for name in names if name in own or name not in labels]


def _refuse_unknown(question: Question, names: Sequence[str]) -> None:
    for name in question.names:
        if name not in names:
            near = get_close_matches(name, names, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            known = ", ".join(map(repr, names)) or "nothing"
            raise QueryError(f"{question}: there is no {name!r}.{hint} There is: {known}.")


def _evaluate(expression: Expression, found: Detections, duration_s: float) -> Moments:
    def of(part: Expression) -> Moments:
        return _evaluate(part, found, duration_s)

    match expression:
        case Label(name):
            rows = found.labels == found.names.index(name)
            return _in_order(found.segments[rows], found.scores[rows])
        case Then(before, after, within_s):
            return _follow(of(before), of(after), within_s)
        case And(left, right):
            return _both(_going_on(of(left)), _going_on(of(right)))
        case Or(left, right):
            a, b = of(left), of(right)
            both = (np.concatenate(column) for column in zip(a, b, strict=True))
            return _going_on(_in_order(*both))
        case Not(part):
            rest = _rest(_going_on(of(part)), duration_s)
            return rest._replace(scores=rest.scores * (1 - _may_occur(part, found)))
        case Lasting(part, bound, seconds):
            moments = of(part)
            return moments.where(_holds(moments.lengths, bound, seconds, NOISE_S))
        case Times(part, bound, count, within_s):
            return _repeated(of(part), bound, count, within_s)
        case Pick(which, part):
            return of(part).where(slice(0, 1) if which == "first" else slice(-1, None))


def _may_occur(expression: Expression, found: Detections) -> float:
    """The presence of a label that has no moment, or a guess: it may be there all the same."""
    match expression:
        case Label(name):
            label = found.names.index(name)
            is_known = (found.labels == label).any() and name not in found.unsure
            return 0.0 if is_known else float(found.presence[label])
        case Or(left, right):
            return max(_may_occur(left, found), _may_occur(right, found))
        case _:
            return 0.0


def _holds(
    values: Float[Array, " n"], bound: Bound, limit: float, slack: float = 0.0
) -> Bool[Array, " n"]:
    match bound:
        case "at least":
            return values >= limit - slack
        case "at most":
            return values <= limit + slack
        case "exactly":
            return np.abs(values - limit) <= slack


def _in_order(segments: Float[Array, "n 2"], scores: Float[Array, " n"]) -> Moments:
    order = np.lexsort((-scores, segments[:, 1], segments[:, 0]))
    return Moments(segments[order], scores[order])


def _merged(moments: Moments) -> Moments:
    """Moments that overlap as one, with the best of their scores."""
    if len(moments.scores) == 0:
        return moments
    segments, first = merged(moments.segments)
    return Moments(segments, np.maximum.reduceat(moments.scores, first))


def _going_on(moments: Moments) -> Moments:
    """When at least one of the moments goes on; what has no length never does."""
    return _merged(moments.where(moments.lengths > NOISE_S))


def _follow(before: Moments, after: Moments, within_s: float | None) -> Moments:
    """From each moment to the first that starts when it ends or later.

    Where several lead to the same, the one that ends last counts, and of these the shortest.
    """
    early_s = np.minimum(EARLY_S, before.lengths / 2)
    later = np.nextafter(before.starts, np.inf)  # nothing follows itself
    next_one = np.searchsorted(after.starts, np.maximum(before.ends - early_s - NOISE_S, later))
    order = np.lexsort((before.starts, before.ends))
    closest = np.full(len(after.scores), -1)
    order = order[next_one[order] < len(after.scores)]
    closest[next_one[order]] = order  # the last of those that lead to the same stays
    b = np.flatnonzero(closest >= 0)
    a = closest[b]
    if within_s is not None:
        near = after.starts[b] - before.ends[a] <= within_s + NOISE_S
        a, b = a[near], b[near]
    segments = np.stack([before.starts[a], np.maximum(before.ends[a], after.ends[b])], axis=1)
    return _in_order(segments, np.minimum(before.scores[a], after.scores[b]))


def _both(left: Moments, right: Moments) -> Moments:
    """The overlaps of moments that, on either side, do not overlap."""
    first = np.searchsorted(right.ends, left.starts, side="right")
    end = np.searchsorted(right.starts, left.ends, side="left")
    counts = np.maximum(end - first, 0)
    a = np.repeat(np.arange(len(counts)), counts)
    b = np.arange(len(a)) - np.repeat(np.cumsum(counts) - counts - first, counts)
    starts = np.maximum(left.starts[a], right.starts[b])
    segments = np.stack([starts, np.minimum(left.ends[a], right.ends[b])], axis=1)
    shared = Moments(segments, np.minimum(left.scores[a], right.scores[b]))
    return shared.where(shared.lengths > NOISE_S)


def _rest(moments: Moments, duration_s: float) -> Moments:
    """The gaps between moments that do not overlap, from 0 to the end, with the score 1.

    Detections say where something goes on; nothing in them says how surely it does not elsewhere.
    With 1, ``A and not B`` keeps A's score.
    """
    edges = np.clip(moments.segments, 0.0, duration_s)
    starts, ends = np.append(0.0, edges[:, 1]), np.append(edges[:, 0], duration_s)
    gaps = Moments(np.stack([starts, ends], axis=1), np.ones(len(starts)))
    return gaps.where(gaps.lengths > NOISE_S)


def _repeated(moments: Moments, bound: Bound, count: int, within_s: float | None) -> Moments:
    """All moments, if there are that many; or stretches of time that hold that many.

    A stretch is of moments in a row, whole, with no room for one more on either side; those that
    share a moment become one.
    """
    if within_s is None:
        holds = _holds(np.array([float(len(moments.scores))]), bound, float(count))[0]
        return moments if holds else moments.where(slice(0))
    firsts, ends = _fullest_rows(moments, within_s)
    right = _holds((ends - firsts).astype(np.float64), bound, float(count))
    firsts, ends = firsts[right], ends[right]
    apart = np.flatnonzero(firsts[1:] >= ends[:-1]) + 1
    joined = zip(np.split(firsts, apart), np.split(ends, apart), strict=True)
    stretches = [moments.where(slice(f[0], e[-1])) for f, e in joined if len(f)]
    segments = [(stretch.starts[0], stretch.ends.max()) for stretch in stretches]
    scores = [stretch.scores.min() for stretch in stretches]
    return Moments(np.array(segments).reshape(-1, 2), np.array(scores, dtype=np.float64))


def _fullest_rows(moments: Moments, within_s: float) -> tuple[Int[Array, " n"], Int[Array, " n"]]:
    """The rows ``first`` to ``end - 1`` that lie in that time, where neither way another would."""
    limits, ends_s = (moments.starts + within_s + NOISE_S).tolist(), moments.ends.tolist()
    rows: list[tuple[int, int]] = []
    end = 0
    for first, limit in enumerate(limits):
        before = end
        end = max(end, first)
        while end < len(ends_s) and ends_s[end] <= limit:
            end += 1
        if end > max(first, before):
            rows.append((first, end))
    columns = np.array(rows, dtype=np.int64).reshape(-1, 2).T
    return columns[0], columns[1]


# where answers come from -------------------------------------------------------------------


def _origin_of(question: Question, moments: Moments, origin: Origin | None) -> Origin | None:
    """Where the detections come from, with the question among the settings and its own curve."""
    if origin is None:
        return None
    grid, curves = origin.grid, None
    if grid is not None and origin.curves is not None:
        curves = _curve(moments, grid)[None].astype(origin.curves.dtype)
    settings = origin.settings | {"questions": [str(question)]}
    return replace(origin, settings=settings, curves=curves)


def _joined_origin(
    origin: Origin | None, parts: Sequence[Origin | None], questions: Iterable[str]
) -> Origin | None:
    if origin is None:
        return None
    curves = [part.curves for part in parts if part is not None and part.curves is not None]
    return replace(
        origin,
        settings=origin.settings | {"questions": list(questions)},
        curves=np.concatenate(curves) if len(curves) == len(parts) else None,
    )


def _curve(moments: Moments, grid: SnippetGrid) -> Float[Array, " t"]:
    """For each snippet the best score of the moments that hold its centre, or 0."""
    curve = np.zeros(len(grid))
    first = np.searchsorted(grid.centres_s, moments.starts)
    end = np.searchsorted(grid.centres_s, moments.ends)
    for a, b, score in zip(first, end, moments.scores, strict=True):
        np.maximum(curve[a:b], score, out=curve[a:b])
    return curve
