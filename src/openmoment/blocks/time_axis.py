"""A trained method's own time axis: a whole video rescaled to T snippets, or windows of T.

A piece has T snippets: a video shorter than a window is stretched to fill one, or, for methods
that mask what is padded, keeps its length. All of it is NumPy, in seconds; a snippet is
`SnippetGrid`'s.

Axes: t snippets of a piece, s snippets of the video, d width, n instances.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray as Array

from openmoment.types import SnippetGrid

Kind = Literal["rescale", "window"]


@dataclass(frozen=True)
class TimeAxis:
    """``rescale``: the papers' protocol, all of the video as ``length`` snippets.

    ``window``: pieces of ``length`` snippets at ``fps`` of them a second (0: as the features have
    them), which overlap by ``overlap`` of their length; the last one ends with the video.
    """

    kind: Kind = "rescale"
    length: int = 256
    fps: float = 0.0
    overlap: float = 0.5
    stretch: bool = True  # a video that is shorter than a window

    def pieces(self, grid: SnippetGrid) -> list[SnippetGrid]:
        """The grids of all pieces, which together cover ``grid``."""
        num = self._num_snippets(grid)
        if num <= self.length:
            t = self.length if self.stretch else num
            return [SnippetGrid.uniform(t, start_s=grid.start_s, end_s=grid.end_s)]
        hop = max(1, round(self.length * (1 - self.overlap)))
        starts = [*range(0, num - self.length, hop), num - self.length]
        return [self._window(grid, start, num) for start in starts]

    def sampled(
        self, grid: SnippetGrid, segments: Float[Array, "n 2"], rng: np.random.Generator
    ) -> Iterator[SnippetGrid]:
        """Pieces to train on: as many as cover the video once, each around a random instance."""
        num = self._num_snippets(grid)
        if num <= self.length:
            yield from self.pieces(grid)
            return
        middles = segments.mean(axis=1) if len(segments) else np.array([grid.start_s])
        for _ in range(-(-num // self.length)):
            middle_s = rng.choice(middles) - grid.start_s
            inside = int(middle_s / (grid.end_s - grid.start_s) * num)
            start = inside - int(rng.integers(self.length))
            yield self._window(grid, int(np.clip(start, 0, num - self.length)), num)

    def _num_snippets(self, grid: SnippetGrid) -> int:
        """Of the whole video on this axis."""
        if self.kind == "rescale":
            return self.length
        snippet_s = 1 / self.fps if self.fps else grid.snippet_s
        return max(1, round((grid.end_s - grid.start_s) / snippet_s))

    def _window(self, grid: SnippetGrid, start: int, num: int) -> SnippetGrid:
        snippet_s = (grid.end_s - grid.start_s) / num
        start_s = grid.start_s + start * snippet_s
        end_s = start_s + self.length * snippet_s
        return SnippetGrid.uniform(self.length, start_s=start_s, end_s=end_s)


def resample(
    rows: Float[Array, "s d"], grid: SnippetGrid, onto: SnippetGrid
) -> Float[Array, "t d"]:
    """The features at the centres of another grid, linear between those of their own.

    On uniform grids that is interpolation without corner alignment, as STALE rescales.
    """
    where = np.interp(onto.centres_s, grid.centres_s, np.arange(len(grid), dtype=np.float64))
    left = np.floor(where).astype(np.int64)
    right = np.minimum(left + 1, len(grid) - 1)
    share = (where - left)[:, None].astype(np.float32)
    return rows[left] * (1 - share) + rows[right] * share


def positions(segments: Float[Array, "n 2"], grid: SnippetGrid) -> Float[Array, "n 2"]:
    """Seconds as real positions on a uniform grid, where snippet i is ``[i, i + 1)``; unclipped."""
    snippet_s = (grid.end_s - grid.start_s) / len(grid)
    return (segments - grid.start_s) / snippet_s


def seconds(where: Float[Array, "n 2"], grid: SnippetGrid) -> Float[Array, "n 2"]:
    """What `positions` makes positions of."""
    return grid.start_s + where * (grid.end_s - grid.start_s) / len(grid)
