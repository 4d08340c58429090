"""One segment, the whole video, for the best label: the floor that every result should beat.

On ActivityNet, where an action often fills its video, this rivals published zero-shot numbers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from openmoment.encoders.base import Space
from openmoment.methods.traits import Traits
from openmoment.storage.rows import mean_row
from openmoment.types import Detections, Queries, Snippets


@dataclass(frozen=True)
class WholeVideoConfig:
    """How many labels the whole video gets."""

    top_labels: int = 1

    def __post_init__(self) -> None:
        if self.top_labels < 1:
            raise ValueError(f"top_labels must be 1 or more, got {self.top_labels}")


class WholeVideo:
    """The segment [start, end] for the queries that fit the mean snippet best."""

    Config = WholeVideoConfig
    RANKING: ClassVar[Mapping[str, object]] = {}

    def __init__(self, config: WholeVideoConfig, space: Space) -> None:
        self.config = config
        self.space = space

    @classmethod
    def traits_of(cls, config: WholeVideoConfig) -> Traits:
        return Traits()

    def localize(self, snippets: Snippets, queries: Queries) -> Detections:
        logits = self.space.logits(mean_row(snippets.features)[None], queries.embeddings)[:, 0]
        powers = np.exp(logits - logits.max())
        probabilities = powers / powers.sum()
        labels = np.argsort(-probabilities, kind="stable")[: self.config.top_labels]
        whole = np.array([[snippets.grid.start_s, snippets.grid.end_s]])
        return Detections(
            np.repeat(whole, len(labels), axis=0),
            probabilities[labels],
            labels,
            queries.names,
            probabilities,
        )
