"""How each query stands among a fixed bank of texts: what presence and scores are made of.

A cosine says little by itself: what unrelated pairs reach differs from model to model, and hardly
less from text to text. So a bank of everyday texts is always asked along, and a query's standing at
a snippet is by how many standard deviations of the bank it lies above the bank's mean. Scale,
temperature and bias of a model's logits cancel: one pair of constants serves every backbone. No
other query enters anywhere. Chosen on half of the source groups of real clips, and on real CLIP
vectors: docs/benchmarks.md.

Axes: k queries, m bank texts, t snippets, n runs.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray as Array

from openmoment.encoders.base import Space
from openmoment.errors import QueryError
from openmoment.storage.rows import over_blocks
from openmoment.types import Detections, Queries, SnippetGrid, Snippets

SMOOTH_S = 0.5
"""The standard deviation of the smoothing of the evidence."""
LEVEL_S = 2.0
"""A query is as strong as the mean of its best so many seconds."""
EVERYDAY_QUANTILE, EVERYDAY_WEIGHT, EVERYDAY_S = 0.25, 0.5, 30.0
"""How much of a query's own usual standing is taken off; all of that weight in long videos."""
SLOPE, MIDDLE = 1.4, 2.2
"""From strength to presence, in standard deviations of the bank."""
BANK_SHARE = 0.6
"""In a long, varied video most texts peak somewhere: no more of the bank than the rest of this
share ever counts as present."""
CONTRAST = 0.5
"""How much it counts that a moment stands out from its flanks."""
FIT_SLOPE, FIT_MIDDLE = 0.64, 3.4
"""From a moment's evidence to how likely it is the right place, of a query that is present."""

_SMALL_BANK = 2
_TOGETHER = 64  # texts of the bank at a time
_KEPT_BYTES = 256 << 20  # of the bank's curves, which else are computed twice


class Standing(NamedTuple):
    """Of each query in one video."""

    curves: Float[Array, "k t"]
    """At each snippet, in standard deviations of the bank, less the query's everyday level."""
    strengths: Float[Array, " k"]
    middle: float
    """The strength at which a query is as likely there as not; it is the video's, not a query's."""

    @property
    def presence(self) -> Float[Array, " k"]:
        """How likely each query occurs, in [0, 1]."""
        return sigmoid(SLOPE * (self.strengths - self.middle))

    @property
    def shown(self) -> Float[Array, "k t"]:
        """The curves in [0, 1]: what the presence were if all of the video stood as high."""
        return sigmoid(SLOPE * (self.curves - self.middle))

    def scores(self, query: int, found: Int[Array, "n 2"]) -> Float[Array, " n"]:
        """How likely each run is a moment of a query: that it occurs, and that it is here."""
        return self.presence[query] * fit_of(self.curves[query], found)

    def exclusive(self, grid: SnippetGrid) -> "Standing":
        """Of queries that exclude each other."""
        curves = exclusive(self.curves)
        return Standing(curves, strength(curves, grid), self.middle)


def standing_of(space: Space, snippets: Snippets, queries: Queries) -> Standing:
    """The standing of every query, each computed by itself: the same whatever else is asked.

    Raises QueryError for queries without a bank.
    """
    grid, bank = snippets.grid, queries.background
    if len(bank) < _SMALL_BANK:
        raise QueryError("These queries have no bank of texts to stand among: `background`.")
    deviation = SMOOTH_S / grid.snippet_s

    def evidence(texts: Float[Array, "n d"]) -> Float[Array, "n t"]:
        by_rows = partial(_evidence, space, bank)
        return smooth(over_blocks(by_rows, snippets.features, texts), deviation)

    own = np.concatenate([evidence(row[None]) for row in queries.embeddings])
    parts = _Bank(bank, evidence, len(grid))
    mean, deviation_of = parts.moments()
    curves = less_everyday((own - mean) / deviation_of, grid)
    others = [strength(less_everyday((p - mean) / deviation_of, grid), grid) for p in parts]
    middle = max(MIDDLE, float(np.quantile(np.concatenate(others), BANK_SHARE)))
    return Standing(curves, strength(curves, grid), middle)


def judged(found: Detections, standing: Standing) -> Detections:
    """The moments of a method that tells presence in its own way, each as sure as its query.

    The method's scores, times the presence; best first.
    """
    presence = standing.presence
    scores = np.clip(found.scores, 0, 1) * presence[found.labels]
    return replace(found, scores=scores, presence=presence)[np.argsort(-scores, kind="stable")]


def _evidence(
    space: Space,
    bank: Float[Array, "m d"],
    features: Float[Array, "t d_in"],
    texts: Float[Array, "n d"],
) -> Float[Array, "n t"]:
    return space.evidence(features, texts, bank)


def less_everyday(curves: Float[Array, "n t"], grid: SnippetGrid) -> Float[Array, "n t"]:
    """Standings, less what is usual for each: what is always there says little of any moment."""
    length_s = grid.end_s - grid.start_s
    share = EVERYDAY_WEIGHT * length_s / (length_s + EVERYDAY_S)
    return curves - share * np.quantile(curves, EVERYDAY_QUANTILE, axis=1, keepdims=True)


def exclusive(curves: Float[Array, "k t"]) -> Float[Array, "k t"]:
    """Of queries that exclude each other: who does not stand highest does not stand at all."""
    is_best = curves >= curves.max(axis=0)
    return np.where(is_best, curves, np.minimum(curves, 0.0))


def strength(curves: Float[Array, "n t"], grid: SnippetGrid) -> Float[Array, " n"]:
    """The mean of each curve's best two seconds; of half of a short video."""
    num = curves.shape[1]
    best = int(np.clip(round(LEVEL_S / grid.snippet_s), min(2, num), max(1, -(-num // 2))))
    return np.partition(curves, num - best, axis=1)[:, num - best :].mean(axis=1)


def fit_of(curve: Float[Array, " t"], found: Int[Array, "n 2"]) -> Float[Array, " n"]:
    """How likely each run is the right place, of a query that is present; from its standing."""
    inner, outer = inner_outer(curve, found)
    return sigmoid(FIT_SLOPE * (inner + CONTRAST * (inner - outer) - FIT_MIDDLE))


def inner_outer(
    curve: Float[Array, " t"], found: Int[Array, "n 2"]
) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
    """The curve's mean inside each run, and in its flanks of a quarter of its length.

    A run that fills the video has the curve's minimum for a flank.
    """
    sums = np.concatenate([[0.0], np.cumsum(curve)])
    first, last = found.T
    flank = np.maximum(1, (last - first) // 4)
    left, right = np.maximum(first - flank, 0), np.minimum(last + flank, len(curve))
    inner = (sums[last] - sums[first]) / (last - first)
    num_outer = (first - left) + (right - last)
    outer_sum = (sums[first] - sums[left]) + (sums[right] - sums[last])
    outer = np.where(num_outer > 0, outer_sum / np.maximum(num_outer, 1), curve.min())
    return inner, outer


def smooth(curves: Float[Array, "n t"], deviation: float) -> Float[Array, "n t"]:
    """Gaussian smoothing along time; ``deviation`` in snippets, edges mirrored, 0 for none."""
    radius = min(round(4 * deviation), curves.shape[1] - 1)
    if radius < 1:
        return curves
    offsets = np.arange(-radius, radius + 1)
    kernel = np.exp(-0.5 * np.square(offsets / deviation))
    kernel = (kernel / kernel.sum()).astype(curves.dtype)
    padded = np.pad(curves, ((0, 0), (radius, radius)), mode="symmetric")
    return np.stack([np.convolve(row, kernel, mode="valid") for row in padded])


def sigmoid(evidence: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Evidence as a probability."""
    return 1 / (1 + np.exp(-evidence))


class _Bank:
    """The bank's evidence in parts, kept where that takes little memory."""

    def __init__(
        self,
        bank: Float[Array, "m d"],
        evidence: Callable[[Float[Array, "n d"]], Float[Array, "n t"]],
        num_snippets: int,
    ) -> None:
        self._texts = [bank[i : i + _TOGETHER] for i in range(0, len(bank), _TOGETHER)]
        self._evidence = evidence
        self._kept: list[Float[Array, "n t"]] = []
        self._num_snippets = num_snippets
        self._keeps = len(bank) * num_snippets * 4 <= _KEPT_BYTES

    def __iter__(self) -> Iterator[Float[Array, "n t"]]:
        if self._kept:
            yield from self._kept
            return
        for texts in self._texts:
            part = self._evidence(texts)
            if self._keeps:
                self._kept.append(part.astype(np.float32))
            yield part

    def moments(self) -> tuple[Float[Array, " t"], Float[Array, " t"]]:
        """The mean and the standard deviation at each snippet."""
        num, mean, squares = 0, np.zeros(self._num_snippets), np.zeros(self._num_snippets)
        for part in list(self) if self._keeps else self:
            new, part_mean = len(part), part.mean(axis=0, dtype=np.float64)
            off = part_mean - mean
            total = num + new
            squares = squares + np.square(part - part_mean).sum(axis=0) + off**2 * num * new / total
            mean = mean + off * new / total
            num = total
        return mean, np.maximum(np.sqrt(squares / num), 1e-9)
