"""Detections as a person holds them: asked further questions, drawn, put into a table."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from openmoment import types

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame  # pyright: ignore[reportMissingTypeStubs]


class Row(NamedTuple):
    """One moment, as a file has it."""

    start_s: float
    end_s: float
    query: str
    score: float


class Detections(types.Detections):
    """Scored, labelled segments of one video, in seconds, best first.

    ``labels`` index into ``names``; ``presence`` says for each name how likely it occurs at all,
    in [0, 1]. Boolean or integer indexing gives fewer detections of the same queries. Raises
    ValueError when the arrays do not fit together.
    """

    @classmethod
    def holding(cls, found: types.Detections) -> "Detections":
        """The same detections, to be held by a person."""
        return cls(**{field.name: getattr(found, field.name) for field in fields(found)})

    def to_pandas(self) -> "DataFrame":
        """One row per detection: start_s, end_s, query, score. Needs pandas."""
        from openmoment.extras import require

        rows = [(d.start_s, d.end_s, d.name, d.score) for d in self.by_time()]
        columns = ["start_s", "end_s", "query", "score"]
        return require("pandas", extra="pandas").DataFrame(rows, columns=columns)

    def ask(self, question: str, *, duration_s: float | None = None) -> "Detections":
        """The moments that answer a question such as ``"a" then "b" within 10 s``.

        The grammar: docs/questions.md. ``duration_s`` is the video's, where the detections do not
        tell. Raises QueryError.
        """
        from openmoment.questions import answer, parse

        return self.holding(answer(parse(question), self, duration_s=duration_s))

    def plot(self) -> "Figure":
        """A figure with one lane per query and its score curve. Needs matplotlib."""
        from openmoment.figures.plot import plot

        return plot(self)


def from_rows(rows: Sequence[Row], asked: Mapping[str, float] | None = None) -> Detections:
    """Detections of the rows, best first.

    ``asked`` holds the queries and their presence. A query that is not among them joins in the
    order of the rows, and its best score stands for its presence.
    """
    best_first = sorted(rows, key=lambda row: -row.score)
    best = {row.query: row.score for row in reversed(best_first)}  # the last one said stays
    presence = {row.query: best[row.query] for row in rows if row.query not in (asked or {})}
    presence = {**(asked or {}), **presence}
    index = {name: i for i, name in enumerate(presence)}
    return Detections(
        segments=np.array([row[:2] for row in best_first], dtype=np.float64).reshape(-1, 2),
        scores=np.array([row.score for row in best_first], dtype=np.float64),
        labels=np.array([index[row.query] for row in best_first], dtype=np.int64),
        names=tuple(presence),
        presence=np.clip(np.array(list(presence.values()), dtype=np.float64), 0, 1),
    )
