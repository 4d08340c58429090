"""What two-stage detectors share: where something happens first, then what it is.

The first stage is BMN, class-agnostic and trained on seen classes; proposals from elsewhere, or
the true segments, may take its place when the method is asked. The second stage is the method's.
Axes: b pieces, t snippets, k classes, n proposals, d widths.
"""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray as Array
from torch import Tensor

from openmoment.blocks.batch import Batch
from openmoment.blocks.boundary_matching import Bmn
from openmoment.blocks.boundary_targets import bmn_losses, bmn_targets
from openmoment.blocks.proposals import (
    ProposalDecoding,
    actionness,
    best_given,
    propose,
    share_out,
    suppress,
    to_labelled,
)
from openmoment.blocks.time_axis import positions, seconds
from openmoment.encoders.base import Space
from openmoment.errors import ConfigError
from openmoment.methods.base import Answer
from openmoment.methods.trained import CLIP_WIDTHS, Trained, TrainedConfig, Widths
from openmoment.methods.traits import Traits
from openmoment.types import (
    Annotations,
    Detections,
    Proposals,
    Queries,
    SnippetGrid,
    Snippets,
)


@dataclass(frozen=True)
class ProposingConfig(ProposalDecoding, TrainedConfig):
    """BMN's network and losses. The defaults are those of the ``recommended`` presets.

    They are about an eighth of the paper's network. Raises ValueError.
    """

    length: int = 128  # T; the paper: 100
    max_duration: int = 64  # of a proposal, in snippets; the paper: all T
    width: int = 128  # of the convolutions along time; 256: paper
    sample_width: int = 128  # of what the boundary-matching layer gives; 512: paper
    map_width: int = 64  # of the convolutions over the map; 128: paper
    num_samples: int = 32  # N: where a proposal is looked at
    samples_per_bin: int = 3  # points that a sample is the mean of
    boundary_ratio: float = 0.5  # how far a proposal is extended, as a share of its length
    boundary_cells: float = 3.0  # length of what is near a boundary, in snippets
    cut_instances: Literal["drop", "keep"] = "drop"  # ends of a window taken for boundaries?
    boundary_weight: float = 1.0  # of TEM
    classification_weight: float = 1.0
    regression_weight: float = 10.0  # lambda of eq. 4

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.features == "own":
            raise ValueError(
                "features must be the backbone's own: its words are compared with them"
            )
        for name in ("max_duration", "num_samples", "samples_per_bin"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, got {getattr(self, name)}")
        if self.num_samples * self.samples_per_bin < 2 or self.boundary_ratio < 0:
            raise ValueError("expected two or more points of a proposal, boundary_ratio 0 or more")


class Proposed(NamedTuple):
    """The proposals of a piece, in snippets, and what they are to be classified by."""

    proposals: Proposals
    features: Float[Tensor, "t d"]
    texts: Any


class Proposing(Trained):
    """BMN and a classifier of what it proposes."""

    Config: ClassVar[type] = ProposingConfig
    DECODING: ClassVar[type] = ProposalDecoding
    config: Any

    def __init__(self, config: Any, space: Space, widths: Widths = CLIP_WIDTHS) -> None:
        super().__init__(config, space, widths)
        self.bmn = Bmn(
            widths.video,
            width=config.width,
            sample_width=config.sample_width,
            map_width=config.map_width,
            max_duration=config.max_duration,
            num_samples=config.num_samples,
            samples_per_bin=config.samples_per_bin,
            boundary_ratio=config.boundary_ratio,
        )
        self._given: Iterator[Proposals] | None = None

    @classmethod
    def traits_of(cls, config: ProposingConfig) -> Traits:
        return replace(super().traits_of(config), is_told_truth=config.proposals == "gt")

    # the second stage, each method's own ---------------------------------------------------

    @abstractmethod
    def classify(
        self, features: Float[Tensor, "t d"], segments: Float[Tensor, "n 2"], texts: Any
    ) -> Float[Tensor, "n k"]:
        """Class probabilities of stretches of a piece, in snippets, which may reach beyond it."""

    @abstractmethod
    def classify_snippets(
        self, features: Float[Tensor, "b t d"], texts: Any
    ) -> Float[Tensor, "b k t"]:
        """Class probabilities of every snippet by itself, to be shown."""

    # loss ------------------------------------------------------------------------------------

    def proposal_losses(self, batch: Batch) -> dict[str, Tensor]:
        """BMN's, weighted (eq. 2)."""
        config, t = self.config, batch.features.shape[1]
        out = self.bmn(batch.features)
        targets = bmn_targets(
            batch.instances,
            t,
            out.regression.shape[1],
            cells=config.boundary_cells,
            is_cut=config.cut_instances == "drop" and config.time_axis == "window",
        )
        found = bmn_losses(out, targets)
        return {
            "boundary": config.boundary_weight * found.boundary,
            "proposal": config.classification_weight * found.classification,
            "overlap": config.regression_weight * found.regression,
        }

    # asking ----------------------------------------------------------------------------------

    def answer(
        self, snippets: Snippets, queries: Queries, *, truth: Annotations | None = None
    ) -> Answer:
        """The moments and the curves; ``truth`` is for the oracle ``proposals`` gt.

        Raises ConfigError without the truth for the oracle, or without the proposals of ``file``.
        """
        given = self._given_with(snippets, truth)
        if given is not None:
            self._given = iter(share_out(given, self.config.axis.pieces(snippets.grid)))
        try:
            return super().answer(snippets, queries)
        finally:
            self._given = None

    def _given_with(self, snippets: Snippets, truth: Annotations | None) -> Proposals | None:
        """The proposals of a video that are not its own."""
        match self.config.proposals:
            case "bmn":
                return None
            case "file":
                if snippets.proposals is None:
                    raise ConfigError(
                        "proposals=file needs proposals of this video: openmoment evaluate "
                        "--proposals FILE."
                    )
                return best_given(snippets.proposals, self.config.max_proposals)
            case _:
                if truth is None:
                    raise ConfigError(
                        "proposals=gt is an oracle for benchmarks: it answers only when told the "
                        "truth, as in method.answer(snippets, queries, truth=annotations)."
                    )
                return best_given(Proposals(truth.segments, np.ones(len(truth))), len(truth))

    def candidates(
        self, features: Float[Tensor, "b t d"], texts: Any
    ) -> Iterator[tuple[Float[Array, "k t"], Proposed]]:
        shown = self.classify_snippets(features, texts).double().cpu().numpy()
        for piece, row, found in zip(features, shown, self._propose(features), strict=True):
            yield row * actionness(found, len(piece)), Proposed(found, piece, texts)

    def _propose(self, features: Float[Tensor, "b t d"]) -> list[Proposals]:
        """Of each piece: those that were given with the video, or its own."""
        if self._given is not None:
            return [next(self._given) for _ in features]
        out = self.bmn(features)
        quality = out.classification.sigmoid() * out.regression.sigmoid()
        start, end, quality = (
            part.double().cpu().numpy()
            for part in (out.start.sigmoid(), out.end.sigmoid(), quality)
        )
        pieces = zip(start, end, quality, strict=True)
        return [propose(*piece, how=self.config) for piece in pieces]

    def to_detections(
        self, pieces: Sequence[tuple[SnippetGrid, Proposed]], names: Sequence[str]
    ) -> Detections:
        """What suppression leaves of the proposals of all pieces, each classified in its own."""
        found = _join(pieces)
        if self.config.proposals == "bmn":
            grid = pieces[0][0]
            found = suppress(found, self.config, piece_s=grid.end_s - grid.start_s)
        probabilities = np.zeros((len(found), len(names)))
        with torch.inference_mode():
            for i in np.unique(found.labels):
                grid, piece = pieces[i]
                rows = found.labels == i
                where = torch.from_numpy(positions(found.segments[rows], grid))
                known = self.classify(piece.features, where.to(piece.features), piece.texts)
                probabilities[rows] = known.double().cpu().numpy()
        return to_labelled(found, probabilities, names, self.config)


def _join(pieces: Sequence[tuple[SnippetGrid, Proposed]]) -> Detections:
    """All proposals in seconds; for a label each has the number of its piece."""
    counts = [len(piece.proposals.scores) for _, piece in pieces]
    segments = [seconds(piece.proposals.segments, grid) for grid, piece in pieces]
    return Detections(
        np.concatenate(segments),
        np.concatenate([piece.proposals.scores for _, piece in pieces]),
        np.repeat(np.arange(len(pieces)), counts),
        ("",) * len(pieces),
        np.zeros(len(pieces)),
    )
