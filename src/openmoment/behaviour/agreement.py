"""Whether two annotations of the same videos agree: Cohen's kappa over time, and segment F1.

What is not defined, such as the kappa of what both say throughout, is None. Axes: m spans of time
between which nothing changes, k queries, n segments.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray as Array

from openmoment.behaviour.bouts import Bouts
from openmoment.evaluation.matching import overlapping

SCHEMA = "openmoment-agreement/1"
TIOUS = (0.1, 0.25, 0.5)
_NOISE = 1e-9
"""Shares that differ by no more are equal, so that a tIoU of one half in decimals is one half."""

Shares = dict[tuple[bytes, bytes], float]
"""How many seconds the first says one set of queries, and the second another; sets as bits."""


@dataclass(frozen=True)
class Scores:
    """How far two annotations agree about one query, or about all together ("")."""

    query: str
    agreement: float | None
    """The share of time in which both say the same."""
    kappa: float | None
    f1: tuple[float | None, ...]
    """At each of `TIOUS`."""
    count_a: int
    count_b: int
    total_a_s: float
    total_b_s: float

    def to_dict(self) -> dict[str, Any]:
        values = {name: _rounded(value) for name, value in asdict(self).items()}
        values["f1"] = {f"{tiou:g}": _rounded(f1) for tiou, f1 in zip(TIOUS, self.f1, strict=True)}
        return values


@dataclass(frozen=True)
class Agreement:
    """Two annotations of one video, or of many as if they were one."""

    duration_s: float
    overall: Scores
    """By sets of queries: at each time both say the same set, perhaps none of them, or not."""
    queries: tuple[Scores, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        return {
            "duration_s": round(self.duration_s, 3),
            "overall": self.overall.to_dict(),
            "queries": [query.to_dict() for query in self.queries],
        }


@dataclass(frozen=True)
class _Counts:
    """What is added up over videos."""

    both_s: float
    a_s: float
    b_s: float
    duration_s: float
    hits: tuple[int, ...]
    count_a: int
    count_b: int


def agreement_of(pairs: Sequence[tuple[Bouts, Bouts]], names: Sequence[str] = ()) -> Agreement:
    """The agreement of two annotations of one video, or of several taken together.

    The two of a pair are bouts of videos of one length. ``names`` say which queries, by default all
    that either has; one that an annotation does not have does not occur in it.

    Time counts by its length, exactly, as if sampled at every instant. Of a query, kappa is about
    whether it goes on. F1 counts the most pairs of bouts, each in one pair, that reach the tIoU, so
    that neither annotation is the true one.
    """
    either = (name for pair in pairs for bouts in pair for name in bouts.names)
    own = tuple(names) or tuple(dict.fromkeys(either))
    shares: Shares = defaultdict(float)
    rows: dict[str, list[_Counts]] = {name: [] for name in own}
    for a, b in pairs:
        spans_s, on_a, on_b = _spans(a, b, own)
        _add_shares(shares, spans_s, on_a, on_b)
        for i, name in enumerate(own):
            both_s = float(spans_s[on_a[i] & on_b[i]].sum())
            a_s, b_s = float(spans_s[on_a[i]].sum()), float(spans_s[on_b[i]].sum())
            hits = most_pairs(a.of(name), b.of(name))
            counts = len(a.of(name)), len(b.of(name))
            rows[name].append(_Counts(both_s, a_s, b_s, a.duration_s, hits, *counts))
    queries = [_of_query(name, parts) for name, parts in rows.items()]
    duration_s = sum((a.duration_s for a, _ in pairs), start=0.0)
    every = [part for parts in rows.values() for part in parts]
    said, kappa = _kappa(shares, duration_s)
    overall = _scores("", said, kappa, every)
    return Agreement(duration_s, overall, tuple(queries))


def to_document(together: Agreement, videos: Mapping[str, Agreement]) -> dict[str, Any]:
    """Plain values of all videos and of each."""
    each = [{"video": video, **own.to_dict()} for video, own in videos.items()]
    return {"schema": SCHEMA, "together": together.to_dict(), "videos": each}


def most_pairs(a: Float[Array, "n 2"], b: Float[Array, "m 2"]) -> tuple[int, ...]:
    """The most pairs of a segment of each, none in two pairs, that reach each of `TIOUS`."""
    if not (len(a) and len(b)):
        return (0,) * len(TIOUS)
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_bipartite_matching

    groups = (np.zeros(len(side), dtype=np.int64) for side in (a, b))
    pairs = overlapping(a, next(groups), b, next(groups), min_tiou=min(TIOUS) - _NOISE)
    found: list[int] = []
    for tiou in TIOUS:
        near = pairs.tiou >= tiou - _NOISE
        places = pairs.prediction[near], pairs.instance[near]
        graph = csr_array((np.ones(len(places[0])), places), shape=(len(a), len(b)))
        found.append(int((maximum_bipartite_matching(graph) >= 0).sum()))
    return tuple(found)


def _spans(
    a: Bouts, b: Bouts, names: Sequence[str]
) -> tuple[Float[Array, " m"], Bool[Array, "k m"], Bool[Array, "k m"]]:
    """The spans between all starts and ends, and which queries each says are on in them."""
    edges = np.unique(
        np.concatenate([[0.0, a.duration_s], *(s.ravel() for s in a.segments + b.segments)])
    )
    return np.diff(edges), _is_on(a, names, edges), _is_on(b, names, edges)


def _is_on(bouts: Bouts, names: Sequence[str], edges: Float[Array, " e"]) -> Bool[Array, "k m"]:
    steps = np.zeros((len(names), len(edges)), dtype=np.int64)
    for row, name in zip(steps, names, strict=True):
        segments = bouts.of(name)
        np.add.at(row, np.searchsorted(edges, segments[:, 0]), 1)
        np.add.at(row, np.searchsorted(edges, segments[:, 1]), -1)
    return np.cumsum(steps, axis=1)[:, :-1] > 0


def _add_shares(
    shares: Shares, spans_s: Float[Array, " m"], on_a: Bool[Array, "k m"], on_b: Bool[Array, "k m"]
) -> None:
    said = [np.packbits(on, axis=0).T for on in (on_a, on_b)]
    for set_a, set_b, seconds in zip(*said, spans_s.tolist(), strict=True):
        shares[set_a.tobytes(), set_b.tobytes()] += seconds


def _kappa(shares: Shares, duration_s: float) -> tuple[float | None, float | None]:
    """The share of time with the same set, and kappa. Source: Cohen, 1960."""
    if not duration_s:
        return None, None
    total_a: dict[bytes, float] = defaultdict(float)
    total_b: dict[bytes, float] = defaultdict(float)
    for (set_a, set_b), seconds in shares.items():
        total_a[set_a] += seconds
        total_b[set_b] += seconds
    same = sum(seconds for (set_a, set_b), seconds in shares.items() if set_a == set_b)
    by_chance = sum(seconds * total_b.get(said, 0.0) for said, seconds in total_a.items())
    return _corrected(same / duration_s, by_chance / duration_s**2)


def _of_query(name: str, parts: Sequence[_Counts]) -> Scores:
    duration_s = sum(part.duration_s for part in parts)
    if not duration_s:
        return _scores(name, None, None, parts)
    both, a, b = (
        sum(getattr(part, column) for part in parts) / duration_s
        for column in ("both_s", "a_s", "b_s")
    )
    said, kappa = _corrected(1 - a - b + 2 * both, a * b + (1 - a) * (1 - b))
    return _scores(name, said, kappa, parts)


def _corrected(same: float, by_chance: float) -> tuple[float, float | None]:
    """Agreement, and what of it is more than chance; None where chance alone would give all."""
    same = min(same, 1.0)  # sums of spans may be off by a rounding
    return same, (same - by_chance) / (1 - by_chance) if by_chance < 1 - _NOISE else None


def _scores(
    name: str, agreement: float | None, kappa: float | None, parts: Sequence[_Counts]
) -> Scores:
    count_a, count_b = sum(p.count_a for p in parts), sum(p.count_b for p in parts)
    hits = [sum(part.hits[i] for part in parts) for i in range(len(TIOUS))]
    f1 = [2 * n / (count_a + count_b) if count_a + count_b else None for n in hits]
    total_a_s, total_b_s = (
        sum((getattr(part, side) for part in parts), start=0.0) for side in ("a_s", "b_s")
    )
    return Scores(name, agreement, kappa, tuple(f1), count_a, count_b, total_a_s, total_b_s)


def _rounded(value: Any) -> Any:
    return round(value, 6) if isinstance(value, float) else value
