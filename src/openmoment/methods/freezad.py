"""Training-free localization: does a stretch stand out from what surrounds it, and from the video?

FreeZAD, after Han et al., Training-Free Zero-Shot Temporal Action Detection with Vision-Language
Models, arXiv 2501.13795 (2025), as its released code has it: LogOIC, which holds a proposal's
inside against flanks that count less the farther out they lie, and "frequency-based actionness".
The paper's test-time adaptation (its other half) is not here.

By Parseval's theorem the released actionness has no frequency in it: the energy of a Fourier
transform is that of the frames, times their number. We compute it so, in one pass for all
proposals. Where else we differ from the code: every query has its own curve, cuts between its
floor and its peak, and a presence (the code: one label for a video, a cut at the mean); of
overlapping proposals the best LogOIC stays, and the actionness then ranks what is left; LogOIC is
divided by the sum of its weights, so that it is on the scale of the curve and a flank that the
video cuts off costs nothing; it reads the smoothed curve; frames have length one.

Axes: k queries, t snippets, n proposals, d joint width.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray as Array

from openmoment.encoders.base import Calibration, Space
from openmoment.encoders.projected import unit
from openmoment.methods.base import Answer
from openmoment.methods.similarity import (
    Similarity,
    SimilarityConfig,
    exceeded_for,
    sigmoid,
    smooth,
)
from openmoment.postprocess import bridge, nms, outermost, runs, top
from openmoment.rows import blocks, over_blocks
from openmoment.types import Detections, Queries, SnippetGrid, Snippets

_LOGISTIC = Calibration(slope=1.0, middle=0.0)
_FLAT = 1e-6  # a curve that varies by no more is constant, but for rounding


@dataclass(frozen=True)
class FreeZadConfig:
    """The weights of the released code; the rest was chosen on one half of real clips."""

    labels: Literal["multi", "single"] = "multi"  # the code gives one label to a whole video
    curve: Literal["logits", "centred"] = "logits"  # the code: cosines, less the mean frame
    smooth_s: tuple[float, ...] = (0.25, 0.5)  # standard deviations of the smoothing
    cut: Literal["levels", "range", "mean"] = "levels"  # the code: mean; range on ActivityNet
    thresholds: tuple[float, ...] = (0.4, 0.5, 0.6)  # between floor and peak, or least and most
    peak_s: float = 1.0  # the peak is the level that is exceeded for so long
    max_gap_s: float = 0.0  # runs so close are one
    min_snippets: int = 2  # shorter proposals are dropped, in all but the shortest videos
    inner_weight: float = 1.0  # of the mean inside
    max_weight: float = 1.0  # of the highest value inside
    outer_weight: float = 0.2  # of each flank
    flank: float = 0.25  # of a proposal's length
    decay: bool = True  # what lies farther out counts less
    score_smoothed: bool = True  # the code scores the curve before its smoothing
    actionness: Literal["energy", "released", "none"] = "energy"  # energy: in seconds
    min_presence: float = 0.5  # a query below returns nothing; 0, with min_score 0, ranks all
    min_score: float = 0.4  # weaker moments go, but for the best one of a query that is present
    nms_tiou: float = 0.1

    def __post_init__(self) -> None:
        if not self.smooth_s or min(self.smooth_s) < 0:
            raise ValueError(f"smooth_s needs one or more times of 0 or more, got {self.smooth_s}")
        if not self.thresholds or not all(0 < t < 1 for t in self.thresholds):
            raise ValueError(f"thresholds must lie between 0 and 1, got {self.thresholds}")
        for name in ("min_presence", "min_score", "nms_tiou"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in [0, 1], got {getattr(self, name)}")
        if self.inner_weight + self.max_weight <= 2 * self.outer_weight:
            raise ValueError("inner_weight and max_weight must outweigh two flanks")


class FreeZad:
    """Proposals that stand out from their flanks, ranked by how much happens in them."""

    Config = FreeZadConfig
    RANKING: ClassVar[Mapping[str, object]] = {"min_presence": 0.0, "min_score": 0.0}

    def __init__(self, config: FreeZadConfig, space: Space) -> None:
        self.config = config
        self.space = space

    def localize(self, snippets: Snippets, queries: Queries) -> Detections:
        return self.answer(snippets, queries).detections

    def curves(self, snippets: Snippets, queries: Queries) -> Float[Array, "k t"]:
        """Each query's smoothed curve, from its least value to its greatest."""
        evidence = self._evidence(JointFrames(self.space, snippets), queries)
        return stretched(smooth(evidence, self.config.smooth_s[-1] / snippets.grid.snippet_s))

    def answer(self, snippets: Snippets, queries: Queries) -> Answer:
        grid, config = snippets.grid, self.config
        frames = JointFrames(self.space, snippets)
        similarity = Similarity(SimilarityConfig(), self.space)
        margins = similarity.margins(snippets, queries)
        levels = exceeded_for(margins, grid, similarity.config.presence_s)
        presence = sigmoid(levels, self.space.presence)
        raw = self._evidence(frames, queries)
        scales = [smooth(raw, scale_s / grid.snippet_s) for scale_s in config.smooth_s]
        scored = scales[-1] if config.score_smoothed else raw
        runs_of, scores_of, labels_of = [np.zeros((0, 2), dtype=np.int64)], [np.zeros(0)], []
        for k in self._targets(frames, queries, presence):
            proposals = self._propose([scale[k] for scale in scales], grid)
            evidence = levels[k] + log_oic(scored[k], proposals, config)
            runs_of.append(proposals)
            scores_of.append(sigmoid(evidence, self.space.match))
            labels_of += [k] * len(proposals)
        found = Detections(
            grid.runs_to_seconds(np.concatenate(runs_of)),
            np.concatenate(scores_of),
            np.array(labels_of, dtype=np.int64),
            queries.names,
            presence,
        )
        return Answer(self._rank(found, frames), stretched(scales[-1]))

    def _evidence(self, frames: "JointFrames", queries: Queries) -> Float[Array, "k t"]:
        if self.config.curve == "centred":
            return frames.centred_cosines(queries.embeddings)
        return over_blocks(self.space.logits, frames.features, queries.embeddings)

    def _targets(
        self, frames: "JointFrames", queries: Queries, presence: Float[Array, " k"]
    ) -> list[int]:
        """The queries to look for: those that seem present, or the one the mean frame is like."""
        if self.config.labels == "single":
            words = unit(self.space.project_text(queries.embeddings))
            return [int((words @ frames.mean).argmax())]
        return np.flatnonzero(presence >= self.config.min_presence).tolist()

    def _propose(self, curves: list[Float[Array, " t"]], grid: SnippetGrid) -> Int[Array, "n 2"]:
        """Runs of snippets where a smoothed curve exceeds a cut."""
        config = self.config
        max_gap = round(config.max_gap_s / grid.snippet_s)
        found = [np.zeros((0, 2), dtype=np.int64)]
        for curve in curves:
            low, high = curve.min(), curve.max()
            if config.cut == "levels":
                low = np.quantile(curve, 0.05)
                high = exceeded_for(curve[None], grid, config.peak_s)[0]
            if high - low <= _FLAT:
                continue
            cuts = [low + share * (high - low) for share in config.thresholds]
            if config.cut == "mean":
                cuts = [curve.mean()]
            found += [bridge(runs(curve > cut), max_gap) for cut in cuts]
        proposals = np.unique(np.concatenate(found), axis=0)
        lengths = proposals[:, 1] - proposals[:, 0]
        return proposals[lengths >= min(config.min_snippets, len(grid))]

    def _rank(self, found: Detections, frames: "JointFrames") -> Detections:
        """The best of what overlaps, by LogOIC; then the best first, with actionness."""
        apart = outermost(nms(found, tiou=self.config.nms_tiou))
        proposals = np.searchsorted(frames.grid.edges_s, apart.segments)
        scores = apart.scores * self._actionness(frames, proposals)
        ranked = top(replace(apart, scores=scores), len(apart))
        _, best = np.unique(ranked.labels, return_index=True)  # best first: a query's best
        worth = ranked.scores >= self.config.min_score
        worth[best] = True
        return ranked[worth]

    def _actionness(
        self, frames: "JointFrames", proposals: Int[Array, "n 2"]
    ) -> Float[Array, " n"]:
        """How much proposals differ from the mean frame, from one half to one."""
        if self.config.actionness == "none" or len(proposals) == 0:
            return np.ones(len(proposals))
        energies = frames.energies
        if self.config.actionness == "energy":
            return sigmoid(summed(energies * np.diff(frames.grid.edges_s), proposals), _LOGISTIC)
        lengths = proposals[:, 1] - proposals[:, 0]
        return sigmoid(lengths * summed(energies, proposals) / len(frames.mean), _LOGISTIC)


class JointFrames:
    """A video's snippets in the joint space, of length one, read a block at a time."""

    def __init__(self, space: Space, snippets: Snippets) -> None:
        self.space, self.features, self.grid = space, snippets.features, snippets.grid
        sums = [unit(space.project_video(b)).sum(axis=0) for b in blocks(self.features)]
        self.mean: Array = np.array(sums, dtype=np.float64).sum(axis=0) / len(self.features)

    @property
    def energies(self) -> Float[Array, " t"]:
        """The squared distance of each snippet from the mean."""
        found = [np.square(self._centred(block)).sum(axis=1) for block in blocks(self.features)]
        return np.concatenate(found)

    def centred_cosines(self, embeddings: Float[Array, "k e"]) -> Float[Array, "k t"]:
        """Of each text with each snippet, less the mean, at the backbone's scale."""
        scale = self.space.towers(np.asarray(self.features[:1]), embeddings).logit_scale
        words = unit(self.space.project_text(embeddings))
        found = [words @ unit(self._centred(block)).T for block in blocks(self.features)]
        return scale * np.concatenate(found, axis=1)

    def _centred(self, block: Float[Array, "n d_in"]) -> Float[Array, "n d"]:
        return unit(self.space.project_video(block)) - self.mean


def log_oic(
    curve: Float[Array, " t"], proposals: Int[Array, "n 2"], config: FreeZadConfig
) -> Float[Array, " n"]:
    """Mean and maximum inside against both flanks, divided by the sum of the weights.

    Step i from the edge, counted from 1, has weight 1 / ln(1 + i). Without any flank the curve's
    minimum stands for them.
    """
    scores = np.zeros(len(proposals))
    for i, (first, last) in enumerate(proposals):
        reach = max(1, int(config.flank * (last - first)))
        flanks = [curve[max(first - reach, 0) : first][::-1], curve[last : last + reach]]
        levels = [_decayed_mean(flank, config.decay) for flank in flanks if len(flank)]
        inside = curve[first:last]
        gain = config.inner_weight * inside.mean() + config.max_weight * inside.max()
        outer = 2 * config.outer_weight
        loss = outer * (np.mean(levels) if levels else curve.min())
        scores[i] = (gain - loss) / (config.inner_weight + config.max_weight - outer)
    return scores


def _decayed_mean(values: Float[Array, " n"], decay: bool) -> float:
    """The mean of values from near to far."""
    if not decay:
        return float(values.mean())
    return float(np.average(values, weights=1 / np.log(np.arange(2, len(values) + 2))))


def summed(values: Float[Array, " t"], proposals: Int[Array, "n 2"]) -> Float[Array, " n"]:
    """The sum of the values inside each proposal."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    return sums[proposals[:, 1]] - sums[proposals[:, 0]]


def stretched(curves: Float[Array, "k t"]) -> Float[Array, "k t"]:
    """Each curve from 0 to 1; zeros where it is constant."""
    low = curves.min(axis=1, keepdims=True)
    span = curves.max(axis=1, keepdims=True) - low
    return np.divide(curves - low, span, out=np.zeros_like(curves), where=span > 0)
