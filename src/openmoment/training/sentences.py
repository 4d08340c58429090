"""The pieces of videos that a method is trained on to find what a sentence says.

Each epoch has one sentence of each video, drawn by the seed, the epoch and the video alone. The
sentences of the other videos in a batch are what its pieces do not show.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray as Array

from openmoment.blocks.batch import Batch, instances_on
from openmoment.datasets.base import Moment
from openmoment.errors import TrainingError
from openmoment.methods.trained import Trained
from openmoment.pipeline.queries import tidy_name
from openmoment.training.data import (
    MEMORY_BYTES,
    Advance,
    Cut,
    Load,
    Piece,
    Pieces,
    Where,
    stack,
)
from openmoment.types import Queries, Snippets

_SENTENCE = 1  # what a video's random numbers are used for, besides its windows


class SentenceData(Pieces):
    """Videos with their sentences for a method.

    ``queries`` hold each distinct sentence of ``videos`` once, without stray white space. Raises
    TrainingError and FeatureError, naming the video, and the sentence where it is to blame.
    """

    def __init__(
        self,
        videos: Mapping[str, Sequence[Moment]],
        load: Load,
        method: Trained,
        *,
        queries: Queries,
        seed: int = 0,
        memory_bytes: int = MEMORY_BYTES,
        advance: Advance | None = None,
    ) -> None:
        if not videos:
            raise TrainingError("No training video has a sentence.")
        self._videos = videos
        self._texts = torch.from_numpy(method.to_texts(queries))
        self._rows = {name: row for row, name in enumerate(queries.names)}
        super().__init__(
            videos, load, method, seed=seed, memory_bytes=memory_bytes, advance=advance
        )

    def batch(self, wheres: Sequence[Where], epoch: int) -> Batch:
        """With one text for each distinct sentence: two videos may be told of in the same words."""
        moments = [self._moment(where.video, epoch) for where in wheres]
        names = tuple(dict.fromkeys(tidy_name(moment.query) for moment in moments))
        pieces = [
            _piece(cut, moment, names.index(tidy_name(moment.query)))
            for cut, moment in zip(self._cuts(wheres, epoch), moments, strict=True)
        ]
        return stack(pieces, wheres, self._texts[[self._rows[name] for name in names]], names)

    def _moment(self, video: str, epoch: int) -> Moment:
        """The video's sentence in an epoch."""
        moments = self._videos[video]
        return moments[int(self._rng(video, epoch, _SENTENCE).integers(len(moments)))]

    def _annotated(self, video: str, epoch: int) -> Float[Array, "n 2"]:
        return self._moment(video, epoch).windows

    def _require_instance(self, video: str, snippets: Snippets) -> None:
        for moment in self._videos[video]:
            whole = Cut(snippets.features, snippets.grid)
            if not len(_piece(whole, moment, 0).instances.labels):
                raise TrainingError(
                    f"Training video {video!r} does not show {moment.query!r} (query "
                    f"{moment.query_id}): its features end at {snippets.grid.end_s:g} s. Leave the "
                    "sentence out, or mend it."
                )


def _piece(cut: Cut, moment: Moment, label: int) -> Piece:
    """With every window of the sentence that it shows."""
    labels = np.full(len(moment.windows), label)
    return Piece(cut.features, instances_on(cut.grid, moment.windows, labels))
