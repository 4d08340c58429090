"""The oracles of T3AL's Figure 4: what it would find if a part of the truth were known.

Axes: p snippets inside the true segments, q outside.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int
from numpy import ndarray as Array

from openmoment.types import Annotations, SnippetGrid


@dataclass(frozen=True)
class Oracle:
    """What the oracles of Figure 4 may know. Only they look at the truth."""

    truth: Annotations
    knows_class: bool = False
    knows_count: bool = False
    knows_selection: bool = False

    def classes(self, names: Sequence[str]) -> list[int] | None:
        """Which of these names occur; None where it does not know, or nothing does."""
        if not (self.knows_class and len(self.truth)):
            return None
        true = [self.truth.names[label] for label in np.unique(self.truth.labels)]
        return [names.index(name) for name in true if name in names]

    def most_alike(self, scores: Sequence[float]) -> list[int]:
        """Places of the regions that are most similar to the label, so many as there are true ones.

        Of all, where it does not know how many.
        """
        places = range(len(scores))
        if not self.knows_count:
            return list(places)
        ranked = sorted(places, key=lambda place: -scores[place])
        return sorted(ranked[: max(len(self.truth), 1)])

    def selectable(self, grid: SnippetGrid) -> tuple[Int[Array, " p"], Int[Array, " q"]] | None:
        """Snippets inside and outside the true segments; None where it does not know."""
        if not self.knows_selection:
            return None
        centres = grid.centres_s
        inside = np.zeros(len(grid), dtype=bool)
        for start_s, end_s in self.truth.segments:
            inside |= (centres >= start_s) & (centres < end_s)
        return np.flatnonzero(inside), np.flatnonzero(~inside)
