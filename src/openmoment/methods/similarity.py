"""Training-free localization: how does each snippet stand to the words?

After T3AL without adaptation (Liberatori et al., CVPR 2024, section 4 at T = 0), which scores the
frames of a video against one pseudo-label, smooths, thresholds and groups. Generalised here to
what people ask of one video: several queries at once, each of which may occur many times or not
at all. What differs from the paper: every query has its own curve and threshold (the paper gives
one label to a whole video); the threshold lies between a video's floor and its peak (the paper:
at the mean); several smoothing scales and thresholds propose, and NMS decides; whether a query is
there, and how good a moment is, goes by its standing among a bank of texts (`methods.standing`),
never by what else is asked.

Axes: k queries, t snippets, n segments.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray as Array

from openmoment.encoders.base import Space
from openmoment.methods.base import Answer
from openmoment.methods.standing import Standing, smooth, standing_of
from openmoment.methods.traits import Traits
from openmoment.postprocess import (
    MIN_FIT,
    MIN_PRESENCE,
    SURE,
    Decision,
    decide,
    nms,
    outermost,
    runs,
)
from openmoment.storage.rows import over_blocks
from openmoment.types import Detections, Queries, SnippetGrid, Snippets


@dataclass(frozen=True)
class SimilarityConfig:
    """Chosen on one half of the source groups of real clips, reported on the other."""

    smooth_s: tuple[float, ...] = (0.25, 0.5)  # standard deviations of the smoothing
    thresholds: tuple[float, ...] = (0.4, 0.5, 0.6)  # between a curve's floor (0) and peak (1)
    peak_s: float = 1.0  # the peak is the level that is exceeded for so long
    min_snippets: int = 2  # shorter runs are dropped, in all but the shortest videos
    nms_tiou: float = 0.1
    nested: bool = False  # whether a moment inside a better one of its query stays
    min_presence: float = MIN_PRESENCE  # a query below has no moment; 0, with min_fit 0, ranks all
    sure: float = SURE  # a query of less presence has its best moment alone, as a guess
    min_fit: float = (
        MIN_FIT  # moments with a lower score, as a share of the presence, go; not the best
    )
    min_score: float = 0.0  # weaker moments go, whatever else
    exclusive: bool = False  # at any time only the query that stands highest stands at all

    def __post_init__(self) -> None:
        if not self.smooth_s or min(self.smooth_s) < 0:
            raise ValueError(f"smooth_s needs one or more times of 0 or more, got {self.smooth_s}")
        if not self.thresholds or not all(0 < t < 1 for t in self.thresholds):
            raise ValueError(f"thresholds must lie between 0 and 1, got {self.thresholds}")
        for name in ("min_presence", "sure", "min_fit", "min_score", "nms_tiou"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in [0, 1], got {getattr(self, name)}")


class Similarity:
    """Smoothed similarity curves, cut at thresholds, for the queries that are present."""

    Config = SimilarityConfig
    RANKING: ClassVar[Mapping[str, object]] = {
        "min_presence": 0.0,
        "sure": 0.0,
        "min_fit": 0.0,
        "min_score": 0.0,
    }

    def __init__(self, config: SimilarityConfig, space: Space) -> None:
        self.config = config
        self.space = space

    @classmethod
    def traits_of(cls, config: SimilarityConfig) -> Traits:
        return Traits(
            decision=Decision(config.min_presence, config.sure, config.min_fit, config.min_score),
            tells_presence=True,
            shows_standing=True,
        )

    # model -----------------------------------------------------------------------------

    def standing(self, snippets: Snippets, queries: Queries) -> Standing:
        """How each query stands at each snippet, and how strong it is in all."""
        found = standing_of(self.space, snippets, queries)
        return found.exclusive(snippets.grid) if self.config.exclusive else found

    def curves(self, snippets: Snippets, queries: Queries) -> Float[Array, "k t"]:
        """Each query's standing, as a probability: above one half where it seems to occur."""
        return self.standing(snippets, queries).shown

    def presence(self, snippets: Snippets, queries: Queries) -> Float[Array, " k"]:
        """How likely each query occurs at all."""
        return self.standing(snippets, queries).presence

    # decode ----------------------------------------------------------------------------

    def localize(self, snippets: Snippets, queries: Queries) -> Detections:
        return self.answer(snippets, queries).detections

    def answer(self, snippets: Snippets, queries: Queries) -> Answer:
        standing = self.standing(snippets, queries)
        ranked = self._rank(snippets, queries, standing)
        return Answer(decide(ranked, self.traits_of(self.config).decision), standing.shown)

    def _rank(self, snippets: Snippets, queries: Queries, standing: Standing) -> Detections:
        """The moments of each query that may occur, best first; no score is above the presence."""
        grid, config, presence = snippets.grid, self.config, standing.presence
        found: list[Detections] = [Detections.empty(queries.names)]
        for k in np.flatnonzero(presence >= config.min_presence).tolist():
            row = queries.embeddings[k : k + 1]  # by itself: the same to the bit whatever is asked
            logits = over_blocks(self.space.logits, snippets.features, row)
            candidates = self._propose(
                [smooth(logits, scale_s / grid.snippet_s)[0] for scale_s in config.smooth_s], grid
            )
            scores = standing.scores(k, candidates)
            labels = np.full(len(candidates), k)
            segments = grid.runs_to_seconds(candidates)
            found.append(Detections(segments, scores, labels, queries.names, presence))
        together = replace(
            found[0],
            segments=np.concatenate([f.segments for f in found]),
            scores=np.concatenate([f.scores for f in found]),
            labels=np.concatenate([f.labels for f in found]),
            presence=presence,
        )
        kept = nms(together, tiou=config.nms_tiou)
        return kept if config.nested else outermost(kept)

    def _propose(self, curves: list[Float[Array, " t"]], grid: SnippetGrid) -> Int[Array, "n 2"]:
        """Runs where a smoothed curve exceeds a threshold."""
        found: list[Int[Array, "n 2"]] = []
        for curve in curves:
            floor = np.quantile(curve, 0.05)
            peak = exceeded_for(curve[None], grid, self.config.peak_s)[0]
            found += [runs(curve > floor + t * (peak - floor)) for t in self.config.thresholds]
        candidates = np.unique(np.concatenate(found), axis=0)
        lengths = candidates[:, 1] - candidates[:, 0]
        return candidates[lengths >= min(self.config.min_snippets, len(grid))]


def exceeded_for(
    curves: Float[Array, "k t"], grid: SnippetGrid, seconds: float
) -> Float[Array, " k"]:
    """The level that each curve exceeds for ``seconds`` in all, or for half of a short video."""
    share = min(seconds / (grid.end_s - grid.start_s), 0.5)
    return np.quantile(curves, 1 - share, axis=1)
