"""Levels of halving resolution from the tokens of frames. Axes: b batch, t snippets, d width."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn


class Level(NamedTuple):
    """Tokens of one resolution; None says that none of them is padding."""

    x: Float[Tensor, "b t d"]
    valid: Bool[Tensor, "b t"] | None

    def clean(self) -> Float[Tensor, "b t d"]:
        """With zeros where there is padding, as a convolution sees what lies beyond an end."""
        return self.x if self.valid is None else self.x * self.valid[:, :, None]


class RowConvolution(nn.Conv1d):
    """A convolution over time of rows that stay rows.

    As one of pictures of height one, whose channels come last in memory: nothing is copied to turn
    rows into columns and back.
    """

    def forward(self, input: Float[Tensor, "b t d_in"]) -> Float[Tensor, "b m d_out"]:
        made = nn.functional.conv2d(
            input.contiguous().transpose(1, 2).unsqueeze(2),
            self.weight.unsqueeze(2),
            self.bias,
            stride=(1, self.stride[0]),
            padding=(0, int(self.padding[0])),
            groups=self.groups,
        )
        return made.squeeze(2).transpose(1, 2)


class DepthwiseLevel(nn.Module):
    """``LN(DWConv_k3(x))``, of the same resolution or of half of it."""

    def __init__(self, width: int, *, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.convolve = RowConvolution(width, width, 3, stride=stride, padding=1, groups=width)
        self.norm = nn.LayerNorm(width)

    def forward(self, level: Level) -> Level:
        x = self.convolve(level.clean())
        valid = None if level.valid is None else level.valid[:, :: self.stride]
        return Level(self.norm(x), valid)


class VitDetPyramid(nn.Module):
    """Each level from the one before, by a convolution of stride 2 (ViTDet, ECCV 2022)."""

    def __init__(self, width: int, levels: int) -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            DepthwiseLevel(width, stride=2 if level else 1) for level in range(levels)
        )

    def forward(self, level: Level) -> list[Level]:
        found: list[Level] = []
        for make in self.levels:
            level = make(level)
            found.append(level)
        return found


class FeaturePyramid(nn.Module):
    """Levels that came from within an encoder, the coarse added to the fine (FPN, CVPR 2017)."""

    def __init__(self, width: int, levels: int) -> None:
        super().__init__()
        self.levels = nn.ModuleList(DepthwiseLevel(width, stride=1) for _ in range(levels))

    def forward(self, given: Sequence[Level]) -> list[Level]:
        added = [given[-1]]
        for level in reversed(given[:-1]):
            coarse = added[-1].clean().repeat_interleave(2, dim=1)[:, : level.x.shape[1]]
            added.append(Level(level.x + coarse, level.valid))
        return [make(level) for make, level in zip(self.levels, reversed(added), strict=True)]


def halve(level: Level) -> Level:
    """Max-pooling by two; a last odd one stays by itself."""
    x = level.x
    if level.valid is not None:
        x = x.masked_fill(~level.valid[:, :, None], torch.finfo(x.dtype).min)
    pooled = nn.functional.max_pool1d(x.transpose(1, 2), 2, ceil_mode=True).transpose(1, 2)
    if level.valid is None:
        return Level(pooled, None)
    valid = level.valid[:, ::2]
    return Level(pooled.masked_fill(~valid[:, :, None], 0.0), valid)


class Head(nn.Module):
    """``n x {LN, Conv_k3, ReLU}`` and a linear layer, the same at all levels (section 3.4)."""

    def __init__(self, d: int, convs: int, out: int, bias: float) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(d) for _ in range(convs))
        self.convs = nn.ModuleList(RowConvolution(d, d, 3, padding=1) for _ in range(convs))
        self.last = nn.Linear(d, out)
        nn.init.constant_(self.last.bias, bias)

    def forward(self, level: Level) -> Float[Tensor, "b m out"]:
        return self.last(self.features(level))

    def features(self, level: Level) -> Float[Tensor, "b m d"]:
        """What the linear layer reads."""
        for norm, conv in zip(self.norms, self.convs, strict=True):
            clean = Level(norm(level.x), level.valid).clean()
            level = Level(conv(clean).relu(), level.valid)
        return level.x
