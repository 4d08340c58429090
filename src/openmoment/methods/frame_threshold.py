"""Naive frame classification: the baseline of T3AL (Liberatori et al., CVPR 2024, section 5.1).

Each frame gets the softmax over the queries; frames whose best query exceeds a threshold form
runs; a run gets the query with the highest mean, and that mean as its score. Where we differ from
the released code: the last frame of a run counts, so that runs of one frame survive.

Axes: k queries, t snippets, n runs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray as Array

from openmoment.encoders.base import Space
from openmoment.methods.traits import Traits
from openmoment.postprocess import runs
from openmoment.storage.rows import over_blocks
from openmoment.types import Detections, Queries, Snippets


@dataclass(frozen=True)
class FrameThresholdConfig:
    """The paper's values."""

    threshold: float = 0.8  # of the best query's probability
    split_on_class: bool = False  # a new run where the best query changes
    background: bool = False  # the background prompts take part in the softmax

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise ValueError(f"threshold must lie in [0, 1], got {self.threshold}")


class FrameThreshold:
    """Runs of frames whose best query is probable enough."""

    Config = FrameThresholdConfig
    RANKING: ClassVar[Mapping[str, object]] = {}

    def __init__(self, config: FrameThresholdConfig, space: Space) -> None:
        self.config = config
        self.space = space

    @classmethod
    def traits_of(cls, config: FrameThresholdConfig) -> Traits:
        return Traits()

    def curves(self, snippets: Snippets, queries: Queries) -> Float[Array, "k t"]:
        """The probability of each query in each frame."""
        texts = queries.embeddings
        if self.config.background:
            texts = np.concatenate([texts, queries.background])
        logits = over_blocks(self.space.logits, snippets.features, texts)
        powers = np.exp(logits - logits.max(axis=0))
        return (powers / powers.sum(axis=0))[: len(queries)]

    def localize(self, snippets: Snippets, queries: Queries) -> Detections:
        probabilities = self.curves(snippets, queries)
        best = probabilities.argmax(axis=0)
        found = self._runs(probabilities.max(axis=0) > self.config.threshold, best)
        means = np.array([probabilities[:, a:b].mean(axis=1) for a, b in found])
        means = means.reshape(len(found), len(queries))
        order = np.argsort(-means.max(axis=1, initial=0), kind="stable")
        return Detections(
            snippets.grid.runs_to_seconds(found)[order],
            means.max(axis=1, initial=0)[order],
            means.argmax(axis=1)[order],
            queries.names,
            probabilities.max(axis=1),
        )

    def _runs(self, is_action: Array, best: Int[Array, " t"]) -> Int[Array, "n 2"]:
        if not self.config.split_on_class:
            return runs(is_action)
        parts = [runs(is_action & (best == label)) for label in np.unique(best)]
        joined = np.concatenate(parts)
        return joined[np.argsort(joined[:, 0])]
