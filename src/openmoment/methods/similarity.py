"""Training-free localization: how similar is each snippet to the words?

After T3AL without adaptation (Liberatori et al., CVPR 2024, section 4 at T = 0), which scores the
frames of a video against one pseudo-label, smooths, thresholds and groups. Generalised here to
what people ask of one video: several queries at once, each of which may occur many times or not
at all. What differs from the paper: every query has its own curve and threshold (the paper gives
one label to a whole video); the threshold lies between a video's floor and its peak (the paper:
at the mean); several smoothing scales and thresholds propose, and NMS decides; each query must
beat its rivals, the other queries and a bank of everyday actions, to count as present.

Axes: k queries, m background prompts, t snippets, n segments.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray as Array

from openmoment.encoders.base import Calibration, Space
from openmoment.methods.base import Answer
from openmoment.methods.traits import Traits
from openmoment.postprocess import nms, outermost, runs
from openmoment.storage.rows import over_blocks
from openmoment.types import Detections, Queries, SnippetGrid, Snippets


@dataclass(frozen=True)
class SimilarityConfig:
    """Chosen on one half of the source groups of real clips, reported on the other."""

    smooth_s: tuple[float, ...] = (0.25, 0.5)  # standard deviations of the smoothing
    thresholds: tuple[float, ...] = (0.4, 0.5, 0.6)  # between a curve's floor (0) and peak (1)
    peak_s: float = 1.0  # the peak is the level that is exceeded for so long
    presence_s: float = 2.0  # a query is as present as the level it exceeds for so long
    min_snippets: int = 2  # shorter runs are dropped, in all but the shortest videos
    nms_tiou: float = 0.1
    nested: bool = False  # whether a moment inside a better one of its query stays
    min_presence: float = 0.5  # a query below returns nothing; 0, with min_score 0, ranks all
    min_score: float = 0.4  # weaker moments go, but for the best one of a query that is present

    def __post_init__(self) -> None:
        if not self.smooth_s or min(self.smooth_s) < 0:
            raise ValueError(f"smooth_s needs one or more times of 0 or more, got {self.smooth_s}")
        if not self.thresholds or not all(0 < t < 1 for t in self.thresholds):
            raise ValueError(f"thresholds must lie between 0 and 1, got {self.thresholds}")
        for name in ("min_presence", "min_score", "nms_tiou"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in [0, 1], got {getattr(self, name)}")


class Similarity:
    """Smoothed similarity curves, cut at thresholds, for the queries that are present."""

    Config = SimilarityConfig
    RANKING: ClassVar[Mapping[str, object]] = {"min_presence": 0.0, "min_score": 0.0}

    def __init__(self, config: SimilarityConfig, space: Space) -> None:
        self.config = config
        self.space = space

    @classmethod
    def traits_of(cls, config: SimilarityConfig) -> Traits:
        return Traits(min_score=config.min_score, min_presence=config.min_presence)

    # model -----------------------------------------------------------------------------

    def margins(self, snippets: Snippets, queries: Queries) -> Float[Array, "k t"]:
        """By how much each query beats the mean of its rivals: other queries and background."""
        texts = np.concatenate([queries.embeddings, queries.background])
        evidence = over_blocks(self.space.evidence, snippets.features, texts)
        evidence = smooth(evidence, max(self.config.smooth_s) / snippets.grid.snippet_s)
        if len(texts) == 1:
            return evidence
        powers = np.exp(evidence - evidence.max(axis=0))
        rivals = (powers.sum(axis=0) - powers[: len(queries)]) / (len(texts) - 1)
        with np.errstate(divide="ignore"):
            margins = np.log(powers[: len(queries)]) - np.log(np.maximum(rivals, 1e-12))
        return np.maximum(margins, -30.0)

    def curves(self, snippets: Snippets, queries: Queries) -> Float[Array, "k t"]:
        """Each query's margin, as a probability: above one half where it seems to occur."""
        return sigmoid(self.margins(snippets, queries), self.space.presence)

    def presence(self, snippets: Snippets, queries: Queries) -> Float[Array, " k"]:
        """How likely each query occurs at all, from the margin that it exceeds for a while."""
        levels = self._levels(self.margins(snippets, queries), snippets.grid)
        return sigmoid(levels, self.space.presence)

    def _levels(self, margins: Float[Array, "k t"], grid: SnippetGrid) -> Float[Array, " k"]:
        return exceeded_for(margins, grid, self.config.presence_s)

    # decode ----------------------------------------------------------------------------

    def localize(self, snippets: Snippets, queries: Queries) -> Detections:
        return self._localize(snippets, queries, self.margins(snippets, queries))

    def answer(self, snippets: Snippets, queries: Queries) -> Answer:
        margins = self.margins(snippets, queries)
        found = self._localize(snippets, queries, margins)
        return Answer(found, sigmoid(margins, self.space.presence))

    def _localize(
        self, snippets: Snippets, queries: Queries, margins: Float[Array, "k t"]
    ) -> Detections:
        grid, config = snippets.grid, self.config
        levels = self._levels(margins, grid)
        presence = sigmoid(levels, self.space.presence)
        logits = over_blocks(self.space.logits, snippets.features, queries.embeddings)
        scales = [smooth(logits, scale_s / grid.snippet_s) for scale_s in config.smooth_s]
        found: list[Detections] = [Detections.empty(queries.names)]
        for k in np.flatnonzero(presence >= config.min_presence):
            segments, evidence = self._propose([scale[k] for scale in scales], grid)
            scores = sigmoid(evidence + levels[k], self.space.match)
            labels = np.full(len(segments), k)
            found.append(Detections(segments, scores, labels, queries.names, presence))
        together = Detections(
            np.concatenate([f.segments for f in found]),
            np.concatenate([f.scores for f in found]),
            np.concatenate([f.labels for f in found]),
            queries.names,
            presence,
        )
        found_all = nms(together, tiou=config.nms_tiou)
        if not config.nested:
            found_all = outermost(found_all)
        _, best = np.unique(found_all.labels, return_index=True)  # best first: a query's best
        worth = found_all.scores >= config.min_score
        worth[best] = True
        return found_all[worth]

    def _propose(
        self, curves: list[Float[Array, " t"]], grid: SnippetGrid
    ) -> tuple[Float[Array, "n 2"], Float[Array, " n"]]:
        """Segments where a smoothed curve exceeds a threshold, and how much they stand out."""
        reference = curves[-1]
        found: list[Int[Array, "n 2"]] = []
        for curve in curves:
            floor = np.quantile(curve, 0.05)
            peak = exceeded_for(curve[None], grid, self.config.peak_s)[0]
            found += [runs(curve > floor + t * (peak - floor)) for t in self.config.thresholds]
        candidates = np.unique(np.concatenate(found), axis=0)
        lengths = candidates[:, 1] - candidates[:, 0]
        candidates = candidates[lengths >= min(self.config.min_snippets, len(grid))]
        if len(candidates) == 0:
            return np.zeros((0, 2)), np.zeros(0)
        inner, outer = inner_outer(reference, candidates)
        return grid.runs_to_seconds(candidates), 2 * inner - outer


def smooth(curves: Float[Array, "k t"], deviation: float) -> Float[Array, "k t"]:
    """Gaussian smoothing along time; ``deviation`` in snippets, edges mirrored, 0 for none."""
    radius = min(round(4 * deviation), curves.shape[1] - 1)
    if radius < 1:
        return curves
    offsets = np.arange(-radius, radius + 1)
    kernel = np.exp(-0.5 * np.square(offsets / deviation))
    kernel = (kernel / kernel.sum()).astype(curves.dtype)
    padded = np.pad(curves, ((0, 0), (radius, radius)), mode="symmetric")
    return np.stack([np.convolve(row, kernel, mode="valid") for row in padded])


def exceeded_for(
    curves: Float[Array, "k t"], grid: SnippetGrid, seconds: float
) -> Float[Array, " k"]:
    """The level that each curve exceeds for ``seconds`` in all, or for half of a short video."""
    share = min(seconds / (grid.end_s - grid.start_s), 0.5)
    return np.quantile(curves, 1 - share, axis=1)


def inner_outer(
    curve: Float[Array, " t"], candidates: Int[Array, "n 2"]
) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
    """The curve's mean inside each run, and in its flanks of a quarter of its length.

    A run that fills the video has the curve's minimum for a flank.
    """
    sums = np.concatenate([[0.0], np.cumsum(curve)])
    first, last = candidates.T
    flank = np.maximum(1, (last - first) // 4)
    left, right = np.maximum(first - flank, 0), np.minimum(last + flank, len(curve))
    inner = (sums[last] - sums[first]) / (last - first)
    num_outer = (first - left) + (right - last)
    outer_sum = (sums[first] - sums[left]) + (sums[right] - sums[last])
    outer = np.where(num_outer > 0, outer_sum / np.maximum(num_outer, 1), curve.min())
    return inner, outer


def sigmoid(evidence: Float[Array, "*shape"], calibration: Calibration) -> Float[Array, "*shape"]:
    """Evidence as a probability."""
    return 1 / (1 + np.exp(-calibration.slope * (evidence - calibration.middle)))
