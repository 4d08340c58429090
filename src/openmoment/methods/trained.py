"""What trained detectors share: pieces in, detections out, and what training needs of them.

A method's own file holds its network, its loss and its decoding. Axes: b pieces, t snippets,
k classes, d widths.
"""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray as Array
from torch import Tensor, nn

from openmoment.blocks.batch import Batch
from openmoment.blocks.mask_decoder import MaskDecoding, to_detections
from openmoment.blocks.time_axis import Kind, TimeAxis, resample
from openmoment.config import from_table, to_table
from openmoment.encoders.base import Encoder, Space
from openmoment.encoders.joint import Pairing
from openmoment.errors import ConfigError, FeatureError
from openmoment.methods.base import Answer
from openmoment.methods.traits import Traits
from openmoment.postprocess import Decision
from openmoment.types import Detections, Queries, SnippetGrid, Snippets

_AT_ONCE = 8  # pieces that go through the network together


class Widths(NamedTuple):
    """Of the features and of the texts that a network is built for."""

    video: int
    text: int


CLIP_WIDTHS = Widths(512, 512)
"""Of the joint space of CLIP ViT-B."""
CLIP_SCALE = 100.0
"""By which CLIP multiplies its cosines."""


@dataclass(frozen=True)
class TrainedConfig:
    """What all trained detectors can be told, besides how they decode."""

    time_axis: Kind = "rescale"
    length: int = 256  # T: snippets of a piece
    window_fps: float = 0.0  # snippets a second of windows; 0 is as the features have them
    overlap: float = 0.5  # of neighbouring windows
    features: Literal["joint", "own"] = "joint"  # own: of another encoder, such as I3D

    @property
    def axis(self) -> TimeAxis:
        return TimeAxis(self.time_axis, self.length, self.window_fps, self.overlap)


@dataclass(frozen=True)
class MaskedConfig(MaskDecoding, TrainedConfig):
    """Of detectors whose segments come from masks."""


class ParameterGroup(NamedTuple):
    """Parameters that learn at ``lr_scale`` times the learning rate."""

    parameters: list[nn.Parameter]
    lr_scale: float


class Trained(nn.Module):
    """A method with weights. Made fresh by its settings; a checkpoint fills it.

    No parameter's shape depends on the number of classes.
    """

    Config: ClassVar[type] = MaskedConfig
    RANKING: ClassVar[Mapping[str, object]] = {"min_score": 0.0}
    DECODING: ClassVar[type] = MaskDecoding
    """The part of its settings that says how it decodes: a checkpoint may be asked with others."""
    AFTER_TRAINING: ClassVar[frozenset[str]] = frozenset()
    """Settings of its own, besides those of decoding, that a checkpoint may be asked with."""
    INHERITED: ClassVar[frozenset[str]] = frozenset()
    """Settings that its weights mean nothing without: who begins with them has the same."""
    config: Any

    def __init__(self, config: Any, space: Space, widths: Widths = CLIP_WIDTHS) -> None:
        super().__init__()
        self.config = config
        self.space = space
        self.widths = widths

    # what each method says for itself ----------------------------------------------------

    @abstractmethod
    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """The terms of the loss by name, already weighted; each a mean over the pieces."""

    @abstractmethod
    def candidates(
        self, features: Float[Tensor, "b t d"], texts: Any
    ) -> Iterator[tuple[Float[Array, "k t"], Any]]:
        """For each piece, a score per class and snippet, and its candidates.

        ``texts`` is what `read_texts` gave.
        """

    def to_detections(
        self, pieces: Sequence[tuple[SnippetGrid, Any]], names: Sequence[str]
    ) -> Detections:
        """The candidates of all pieces in seconds, and what is left of them."""
        return to_detections(pieces, names, self.config)

    def read_texts(self, names: Sequence[str], texts: Float[Tensor, "k *p d"]) -> Any:
        """What of the network depends on the words alone: done once for all pieces."""
        return texts

    @classmethod
    def templates_of(cls, config: Any) -> tuple[str, ...]:
        """Sentences for names, each with ``{}``, that it reads one by one; none: the backbone's."""
        return ()

    @property
    def templates(self) -> tuple[str, ...]:
        return self.templates_of(self.config)

    @classmethod
    def pairing_of(cls, config: Any) -> Pairing | None:
        """Which pairs of a picture and a sentence it reads of each text; None: it reads none."""
        return None

    @property
    def pairing(self) -> Pairing | None:
        return self.pairing_of(self.config)

    @classmethod
    def traits_of(cls, config: Any) -> Traits:
        """Of all trained methods; one that takes more says so over this."""
        return Traits(
            takes_other_features=config.features == "own",
            reads_words=True,
            templates=cls.templates_of(config),
            pairing=cls.pairing_of(config),
            has_windows=True,
            decision=Decision(min_score=config.min_score),
        )

    @classmethod
    def is_ready(cls, settings: Mapping[str, object]) -> bool:
        """Whether, with these settings, it can be asked before it has learned anything: no."""
        return False

    @classmethod
    def prepare(cls, config: Any, names: Sequence[str]) -> Any:
        """The settings, with what they have to know of the classes to be trained on: nothing."""
        return config

    def parameter_groups(self) -> list[ParameterGroup]:
        """All that learns, by how fast it learns."""
        return self.parted()

    def parted(self, *slow: tuple[nn.Module | None, float]) -> list[ParameterGroup]:
        """All that learns, with the parts of other rates apart; those that are None are not there.

        None of the groups is empty.
        """
        found: list[ParameterGroup] = []
        known: set[int] = set()
        for part, lr_scale in slow:
            parameters = [p for p in part.parameters() if p.requires_grad] if part else []
            found.append(ParameterGroup(parameters, lr_scale))
            known.update(map(id, parameters))
        rest = [p for p in self.parameters() if p.requires_grad and id(p) not in known]
        return [group for group in (ParameterGroup(rest, 1.0), *found) if group.parameters]

    def adapted(self, encoder: Encoder) -> Encoder:
        """What makes its features: the encoder itself, unless a tower of it was tuned."""
        return encoder

    def told(self, settings: Mapping[str, object]) -> "Trained":
        """The same weights, asked with other settings of decoding. Raises ConfigError."""
        free = {field.name for field in fields(self.DECODING)} | self.AFTER_TRAINING
        free |= {"time_axis", "window_fps", "overlap"}
        for name in settings:
            if name in to_table(self.config) and name not in free:
                raise ConfigError(f"{name} was decided in training; a checkpoint keeps it.")
        told = copy(self)
        table = {**to_table(self.config), **settings}
        told.config = from_table(type(self.config), table, where="checkpoint")
        return told

    # what they share ---------------------------------------------------------------------

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        return self.loss(batch)

    def piece(self, snippets: Snippets, grid: SnippetGrid) -> Float[Array, "t d_in"]:
        """A piece of a video as the network takes it. Raises FeatureError for another width."""
        return self.to_features(resample(snippets.features, snippets.grid, grid))

    def to_features(self, rows: Float[Array, "t d_in"]) -> Float[Array, "t d"]:
        """Stored features as the network takes them. Raises FeatureError for another width."""
        points = rows if self.config.features == "own" else self.space.project_video(rows)
        if points.shape[1] != self.widths.video:
            raise FeatureError(
                f"Features are {points.shape[1]} wide, this model takes {self.widths.video}."
            )
        return points.astype(np.float32)

    def to_texts(self, queries: Queries) -> Float[Array, "k *p d"]:
        """Embeddings of names as the network takes them, of its own templates where it has some."""
        if queries.variants is None:
            return self.space.project_text(queries.embeddings).astype(np.float32)
        k, p = queries.variants.shape[:2]
        rows = self.space.project_text(queries.variants.reshape(k * p, -1))
        return rows.reshape(k, p, -1).astype(np.float32)

    def localize(self, snippets: Snippets, queries: Queries) -> Detections:
        return self.answer(snippets, queries).detections

    def curves(self, snippets: Snippets, queries: Queries) -> Float[Array, "k t"]:
        curves = self.answer(snippets, queries).curves
        assert curves is not None
        return curves

    def answer(self, snippets: Snippets, queries: Queries) -> Answer:
        """The moments, and the curves, from one pass over the video in constant memory."""
        was_training = self.training
        self.eval()
        try:
            with torch.inference_mode():
                return self._answer(snippets, queries)
        finally:
            self.train(was_training)

    def _answer(self, snippets: Snippets, queries: Queries) -> Answer:
        texts = self._tensor(self.to_texts(queries))
        words = self.read_texts(queries.names, texts)
        grids = self.config.axis.pieces(snippets.grid)
        found: list[tuple[SnippetGrid, Any]] = []
        curves = np.zeros((len(queries), len(snippets)))
        for start in range(0, len(grids), _AT_ONCE):
            part = grids[start : start + _AT_ONCE]
            features = self._tensor(np.stack([self.piece(snippets, grid) for grid in part]))
            pieces = zip(part, self.candidates(features, words), strict=True)
            for grid, (scores, candidates) in pieces:
                found.append((grid, candidates))
                _spread(scores, grid, curves, snippets.grid)
        return Answer(self.to_detections(found, queries.names), curves)

    def _tensor(self, values: Array) -> Tensor:
        device = next(self.parameters()).device
        return torch.from_numpy(np.ascontiguousarray(values)).to(device)


def _spread(
    scores: Float[Array, "k t"],
    grid: SnippetGrid,
    curves: Float[Array, "k s"],
    onto: SnippetGrid,
) -> None:
    """Write a piece's scores to the video's snippets; where pieces overlap, the highest stays."""
    first, last = np.searchsorted(onto.centres_s, [grid.start_s, grid.end_s])
    centres_s = onto.centres_s[first:last]
    for curve, row in zip(curves, scores, strict=True):
        shown = np.interp(centres_s, grid.centres_s, row)
        curve[first:last] = np.maximum(curve[first:last], shown)
