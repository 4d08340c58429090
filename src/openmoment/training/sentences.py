"""The pieces of videos that a method is trained on to find what a sentence says.

Each epoch has one sentence of each video, drawn by the seed, the epoch and the video alone. The
sentences of the other videos in a batch are what its pieces do not show.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
from jaxtyping import Float
from numpy import ndarray as Array
from torch import Tensor

from openmoment.blocks.batch import Instances, instances_on
from openmoment.datasets.base import Moment
from openmoment.errors import TrainingError
from openmoment.pipeline.queries import tidy_name
from openmoment.training.data import Pieces, Where
from openmoment.types import SnippetGrid, Snippets

_SENTENCE = 1  # what a video's random numbers are used for, besides its windows


class SentenceData(Pieces[Sequence[Moment]]):
    """Videos with their sentences for a method.

    ``queries`` hold each distinct sentence of ``videos`` once, without stray white space. Raises
    TrainingError and FeatureError, naming the video, and the sentence where it is to blame.
    """

    NONE = "No training video has a sentence."

    def _asked(
        self, wheres: Sequence[Where], epoch: int
    ) -> tuple[tuple[str, ...], Float[Tensor, "k *p d"]]:
        """Each distinct sentence once: two videos may be told of in the same words."""
        said = (tidy_name(self._moment(where.video, epoch).query) for where in wheres)
        names = tuple(dict.fromkeys(said))
        return names, self._texts[[self._rows[name] for name in names]]

    @cached_property
    def _rows(self) -> Mapping[str, int]:
        """Where the text of each sentence stands."""
        return {name: row for row, name in enumerate(self._names)}

    def _moment(self, video: str, epoch: int) -> Moment:
        """The video's sentence in an epoch."""
        moments = self._videos[video]
        return moments[int(self._rng(video, epoch, _SENTENCE).integers(len(moments)))]

    def _shown(
        self, video: str, grid: SnippetGrid, epoch: int, names: tuple[str, ...]
    ) -> Instances:
        moment = self._moment(video, epoch)
        return _windows(moment, grid, names.index(tidy_name(moment.query)))

    def _annotated(self, video: str, epoch: int) -> Float[Array, "n 2"]:
        return self._moment(video, epoch).windows

    def _require_instance(self, video: str, snippets: Snippets) -> None:
        for moment in self._videos[video]:
            if not len(_windows(moment, snippets.grid, 0).labels):
                raise TrainingError(
                    f"Training video {video!r} does not show {moment.query!r} (query "
                    f"{moment.query_id}): its features end at {snippets.grid.end_s:g} s. Leave the "
                    "sentence out, or mend it."
                )


def _windows(moment: Moment, grid: SnippetGrid, label: int) -> Instances:
    """Every window of the sentence that a piece shows."""
    return instances_on(grid, moment.windows, np.full(len(moment.windows), label))
