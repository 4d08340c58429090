"""Two stages: BMN says where something happens, the backbone what it is. B-I of STALE's tables.

Nag et al., ECCV 2022, section 4.1, of Lin et al., BMN, ICCV 2019, and the zero-shot classification
of Radford et al., CLIP, ICML 2021. Only BMN is trained, on seen classes and without their names;
what is in a proposal is read off the frozen backbone: the mean of its frames against the texts.
Where the papers are silent, docs/methods.md says what we chose. Axes: b pieces, t snippets,
k classes, n proposals, p sentences, d width.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray as Array
from torch import Tensor
from torch.nn.functional import normalize, pad

from openmoment.blocks.batch import Batch
from openmoment.methods.proposing import Proposing, ProposingConfig
from openmoment.methods.trained import CLIP_SCALE

_PHOTO = ("a photo of {}",)


@dataclass(frozen=True)
class TwoStageConfig(ProposingConfig):
    """The defaults are those of the ``recommended`` presets. Raises ValueError."""

    prompts: Literal["own", "photo"] = "own"  # the backbone's; photo: "a photo of ...", paper
    scale: float = CLIP_SCALE  # of the cosines, before the softmax over classes

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scale <= 0:
            raise ValueError(f"scale must be positive, got {self.scale}")


class TwoStage(Proposing):
    """BMN's proposals, each under the class that its mean frame is most like."""

    Config: ClassVar[type] = TwoStageConfig
    AFTER_TRAINING: ClassVar[frozenset[str]] = frozenset({"prompts", "scale"})
    config: TwoStageConfig

    @classmethod
    def templates_of(cls, config: TwoStageConfig) -> tuple[str, ...]:
        return _PHOTO if config.prompts == "photo" else ()

    @classmethod
    def is_ready(cls, settings: Mapping[str, object]) -> bool:
        """Where others propose, all that is left is the backbone's."""
        return settings.get("proposals") in ("file", "gt")

    def to_features(self, rows: Float[Array, "t d_in"]) -> Float[Array, "t d"]:
        """As any; of any width where BMN is not asked."""
        if self.config.proposals == "bmn":
            return super().to_features(rows)
        return self.space.project_video(rows).astype(np.float32)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        return self.proposal_losses(batch)

    def read_texts(
        self, names: Sequence[str], texts: Float[Tensor, "k *p d"]
    ) -> Float[Tensor, "k d"]:
        """Their directions."""
        return normalize(texts.mean(dim=1) if texts.ndim == 3 else texts, dim=1)

    def classify(
        self,
        features: Float[Tensor, "t d"],
        segments: Float[Tensor, "n 2"],
        texts: Float[Tensor, "k d"],
    ) -> Float[Tensor, "n k"]:
        means = normalize(mean_inside(normalize(features, dim=1), segments), dim=1)
        return (self.config.scale * means @ texts.T).softmax(dim=1)

    def classify_snippets(
        self, features: Float[Tensor, "b t d"], texts: Float[Tensor, "k d"]
    ) -> Float[Tensor, "b k t"]:
        cosines = texts @ normalize(features, dim=2).transpose(1, 2)
        return (self.config.scale * cosines).softmax(dim=1)


def mean_inside(rows: Float[Tensor, "t d"], segments: Float[Tensor, "n 2"]) -> Float[Tensor, "n d"]:
    """Of the snippets whose centres lie in each stretch; without any, the one at its middle."""
    t = len(rows)
    first, last = (segments - 0.5).ceil().clamp(0, t).long().unbind(dim=1)
    middle = segments.mean(dim=1).floor().clamp(0, t - 1).long()
    is_empty = last <= first
    first = torch.where(is_empty, middle, first)
    last = torch.where(is_empty, middle + 1, last)
    sums = pad(rows.double().cumsum(dim=0), (0, 0, 1, 0))
    return ((sums[last] - sums[first]) / (last - first)[:, None]).to(rows)
