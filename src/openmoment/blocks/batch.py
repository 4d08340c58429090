"""What a trained method learns from: pieces of videos of one length, and what is annotated there.

Axes: b pieces, t snippets, k classes, n instances, d widths.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from numpy import ndarray as Array
from torch import Tensor

from openmoment.blocks.time_axis import positions
from openmoment.types import SnippetGrid


class Instances(NamedTuple):
    """The annotated instances of one piece."""

    masks: Bool[Tensor, "n t"]
    """The snippets of each: never none."""
    labels: Int[Tensor, " n"]
    """Into the classes of the batch."""
    positions: Float[Tensor, "n 2"]
    """Start and end in snippets, real, clipped to the piece."""


@dataclass(frozen=True)
class Batch:
    """Pieces of videos with their instances, and the classes that they may be of."""

    features: Float[Tensor, "b t d_in"] | UInt8[Tensor, "b t 3 h w"]
    """Or frames, for methods that see these: they put features in their place first of all."""
    texts: Float[Tensor, "k *p d"]
    """The classes' embeddings in the joint space; of each in p sentences, for some methods."""
    names: tuple[str, ...]
    instances: tuple[Instances, ...]
    videos: tuple[str, ...]
    """Where the pieces are from, for messages."""
    valid: Bool[Tensor, "b t"] | None = None
    """False where a shorter piece is padded; None when all are of one length."""

    def __len__(self) -> int:
        return len(self.features)

    @property
    def class_targets(self) -> Float[Tensor, "b k_plus_1 t"]:
        """Each snippet's classes, background last; several of them share the one."""
        b, t = self.features.shape[:2]
        found = self.features.new_zeros(b, len(self.names) + 1, t)
        for target, (masks, labels, _) in zip(found, self.instances, strict=True):
            target.index_add_(0, labels, masks.to(target.dtype))
        found.clamp_(max=1)
        found[:, -1] = (found[:, :-1].sum(dim=1) == 0).to(found.dtype)
        return found / found.sum(dim=1, keepdim=True)

    @property
    def foreground(self) -> Float[Tensor, "b t"]:
        """One in the union of the instances, of whatever class."""
        rows = [i.masks.any(dim=0) for i in self.instances]
        return torch.stack(rows).to(self.features.dtype)

    @property
    def same_instance(self) -> Float[Tensor, "b t t"]:
        """One where two snippets lie in the same instance."""
        pairs = [
            torch.einsum("ni,nj->ij", m, m) > 0 for m in (i.masks.float() for i in self.instances)
        ]
        return torch.stack(pairs).to(self.features.dtype)


def instances_on(
    grid: SnippetGrid, segments: Float[Array, "n 2"], labels: Int[Array, " n"]
) -> Instances:
    """The instances of a video that a piece shows. A snippet is positive when its centre is inside.

    An instance without any such snippet marks the one that its middle is in, so that none is lost
    (the reference code of STALE loses 43 % of THUMOS14's at T = 256).
    """
    t = len(grid)
    where = positions(segments, grid)
    centres = np.arange(t) + 0.5
    masks = (centres >= where[:, :1]) & (centres < where[:, 1:])
    middles = np.floor(where.mean(axis=1)).astype(np.int64)
    is_lost = ~masks.any(axis=1) & (middles >= 0) & (middles < t)
    masks[is_lost, middles[is_lost]] = True
    shown = masks.any(axis=1)
    return Instances(
        torch.from_numpy(masks[shown]),
        torch.from_numpy(labels[shown].astype(np.int64)),
        torch.from_numpy(np.clip(where[shown], 0, t).astype(np.float32)),
    )
