"""A mask of the whole piece for each of its snippets: the head, and what it is taught.

Axes: b pieces, t snippets (of which row t's mask is), i snippets (that a mask speaks of), d width.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from openmoment.blocks.losses import balanced_bce, bce, dice

_CHANNELS = 8


class DynamicMasks(nn.Module):
    """Three convolutions of size 1 whose weights each snippet makes for itself (STALE eq. 8).

    As CondInst (Tian et al., ECCV 2020) does for pixels: 9 channels, one of them the distance
    to the snippet, to 8 to 8 to 1. No parameter depends on the length.
    """

    _SHAPES = ((_CHANNELS, _CHANNELS + 1), (_CHANNELS, _CHANNELS), (1, _CHANNELS))

    def __init__(self, width: int) -> None:
        super().__init__()
        self.describe = nn.Conv1d(width, _CHANNELS, 1)
        self.control = nn.Linear(width, sum(o * i + o for o, i in self._SHAPES))

    def forward(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t t"]:
        """Masks in (0, 1); row t is snippet t's."""
        b, t, _ = x.shape
        described = self.describe(x.transpose(1, 2))  # b c i
        (w1, b1), (w2, b2), (w3, b3) = self._weights(x)
        index = torch.arange(t, device=x.device, dtype=x.dtype)
        distance = (index[None] - index[:, None]) / t  # t i
        seen = (w1[..., :-1].flatten(1, 2) @ described).view(b, t, _CHANNELS, t)
        inner = (seen + w1[..., -1:] * distance[:, None] + b1[..., None]).relu_()
        inner = (w2 @ inner + b2[..., None]).relu_()
        return (w3 @ inner + b3[..., None]).squeeze(2).sigmoid()

    def _weights(self, x: Float[Tensor, "b t d"]) -> list[tuple[Tensor, Tensor]]:
        """Weights [b, t, outer, inner] and biases [b, t, outer] of each convolution."""
        sizes = [size for o, i in self._SHAPES for size in (o * i, o)]
        parts = self.control(x).split(sizes, dim=2)
        pairs = zip(self._SHAPES, parts[::2], parts[1::2], strict=True)
        return [(weight.unflatten(2, shape), bias) for shape, weight, bias in pairs]


def instance_mask_losses(
    masks: Float[Tensor, "b t t"], same: Float[Tensor, "b t t"], *, factor: float = 2.0
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """The cross-entropy and the dice of masks against ``same``, one where both are of an instance.

    Rows of the foreground: balanced cross-entropy, and dice. Rows of the background: plain
    cross-entropy with nothing (STALE eq. 10, corrected).
    """
    is_foreground = same.diagonal(dim1=1, dim2=2)
    entropy = _mean(balanced_bce(masks, same), is_foreground)
    entropy = entropy + _mean(bce(masks, same), 1 - is_foreground)
    return entropy.mean(), _mean(dice(masks, same, factor=factor), is_foreground).mean()


def _mean(rows: Float[Tensor, "b t"], chosen: Float[Tensor, "b t"]) -> Float[Tensor, " b"]:
    """Of each piece the mean over the chosen rows, 0 without any."""
    return (rows * chosen).sum(dim=1) / chosen.sum(dim=1).clamp(min=1)
