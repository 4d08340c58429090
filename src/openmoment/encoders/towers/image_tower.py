"""An image tower apart from its encoder: frames in, features before the visual projection out.

To be tuned with a method that sees frames (UnLoc), and put back into the encoder afterwards.
Axes: b pieces, t frames, n frames of all pieces, h height, w width, d width of the features.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

_AT_ONCE = 16  # frames whose inner values are held in memory, with checkpointing


class ImageTower(nn.Module):
    """What sees a frame of ``size`` (height, width), and how its pixels are normalised.

    It stays in evaluation mode whatever is asked: statistics of its norms are those that its
    weights were trained with. ``checkpointing`` computes a forward pass again when gradients are
    wanted, and so holds few frames in memory at a time.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        visual: nn.Module,
        size: tuple[int, int],
        *,
        mean: Sequence[float],
        deviation: Sequence[float],
    ) -> None:
        super().__init__()
        self.visual = visual
        self.size = size
        self.checkpointing = False
        shape = (1, -1, 1, 1)
        self.register_buffer("mean", torch.tensor(mean).view(shape), persistent=False)
        self.register_buffer("deviation", torch.tensor(deviation).view(shape), persistent=False)
        self.train(False)

    def train(self, mode: bool = True) -> "ImageTower":
        return super().train(False)

    def forward(self, frames: UInt8[Tensor, "b t 3 h w"]) -> Float[Tensor, "b t d"]:
        """Of frames that have the tower's size."""
        flat = frames.flatten(0, 1)
        if not (self.checkpointing and torch.is_grad_enabled()):
            return self._see(flat).unflatten(0, frames.shape[:2])
        parts = [
            checkpoint(self._see, part, use_reentrant=False, preserve_rng_state=False)
            for part in flat.split(_AT_ONCE)
        ]
        return torch.cat(parts).unflatten(0, frames.shape[:2])

    def see(self, pixels: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n d"]:
        """Of pixels that are normalised already."""
        pooled = self.visual(pixels)
        return pooled[0] if isinstance(pooled, tuple) else pooled

    def _see(self, frames: UInt8[Tensor, "n 3 h w"]) -> Float[Tensor, "n d"]:
        pixels = (frames.to(self.mean.dtype) / 255 - self.mean) / self.deviation
        return self.see(pixels).float()

    @property
    def fingerprint(self) -> str:
        """Of the weights."""
        digest = sha256()
        for name, tensor in sorted(self.state_dict().items()):
            digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
            digest.update(_bytes_of(tensor))
        return digest.hexdigest()[:16]


def _bytes_of(tensor: Tensor) -> Any:
    return tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
