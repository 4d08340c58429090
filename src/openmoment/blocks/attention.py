"""Attention with what goes around it. Axes: b batch, q queries, m memory, d width."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn


class Attention(nn.Module):
    """Multi-head attention of queries over a memory; nothing around it."""

    def __init__(self, width: int, heads: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.mix = nn.MultiheadAttention(width, heads, dropout=dropout, batch_first=True)

    def forward(
        self,
        queries: Float[Tensor, "b q d"],
        memory: Float[Tensor, "b m d"],
        *,
        ignore: Bool[Tensor, "b m"] | None = None,
    ) -> Float[Tensor, "b q d"]:
        """``ignore`` says which of the memory nobody sees."""
        return self.mix(queries, memory, memory, key_padding_mask=ignore, need_weights=False)[0]

    def weigh(
        self, queries: Float[Tensor, "b q d"], memory: Float[Tensor, "b m d"]
    ) -> tuple[Float[Tensor, "b q d"], Float[Tensor, "b q m"]]:
        """What `forward` gives, and the scaled dot products behind it, as a mean over heads."""
        d, heads = self.mix.embed_dim, self.mix.num_heads
        weight, bias = self.mix.in_proj_weight[: 2 * d], self.mix.in_proj_bias[: 2 * d]
        q = nn.functional.linear(queries, weight[:d], bias[:d])
        k = nn.functional.linear(memory, weight[d:], bias[d:])
        return self(queries, memory), q @ k.transpose(1, 2) / (heads * math.sqrt(d / heads))


class Refine(nn.Module):
    """Self-attention with residual and normalisation after it: ``LN(x + MHA(x, x, x))``."""

    def __init__(self, width: int, heads: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.attend = Attention(width, heads, dropout=dropout)
        self.drop = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(width)

    def forward(
        self, x: Float[Tensor, "b q d"], *, ignore: Bool[Tensor, "b q"] | None = None
    ) -> Float[Tensor, "b q d"]:
        return self.norm(x + self.drop(self.attend(x, x, ignore=ignore)))


class FeedForward(nn.Sequential):
    """Two linear layers with a GELU between, applied to each position; to another width ``out``."""

    def __init__(self, width: int, inner: int, out: int = 0, *, dropout: float = 0.0) -> None:
        super().__init__(
            nn.Linear(width, inner), nn.GELU(), nn.Dropout(dropout), nn.Linear(inner, out or width)
        )


def unit_variance(rows: Float[Tensor, "*shape d"]) -> Float[Tensor, "*shape d"]:
    """Of the length of a vector of ones, beside which positions are neither all nor nothing."""
    return nn.functional.normalize(rows, dim=-1) * rows.shape[-1] ** 0.5


def sine_positions(length: int, width: int) -> Float[Tensor, "length width"]:
    """Sines and cosines of the position, at wavelengths from 2 pi to 20,000 pi."""
    rates = torch.exp(torch.arange(0, width, 2) * (-math.log(10_000.0) / width))
    angles = torch.arange(length)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[:, :width]
