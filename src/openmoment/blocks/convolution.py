"""Convolution along time. Axes: b batch, t snippets, d width."""

from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor, nn


class ConvModule(nn.Module):
    """The Conformer's convolution module (Gulati et al., Interspeech 2020), without its residual.

    Pointwise to twice the width, GLU, depthwise, batch norm, Swish, pointwise, dropout.
    """

    def __init__(self, width: int, kernel: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.widen = nn.Conv1d(width, 2 * width, 1)
        self.depthwise = nn.Conv1d(width, width, kernel, padding="same", groups=width)
        self.norm = SharedBatchNorm(width)
        self.mix = nn.Conv1d(width, width, 1)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        inner = nn.functional.glu(self.widen(x.transpose(1, 2)), dim=1)
        inner = nn.functional.silu(self.norm(self.depthwise(inner)))
        return self.drop(self.mix(inner)).transpose(1, 2)


class RefineLocally(nn.Module):
    """A convolution module with residual and normalisation after it: ``LN(x + Conv(x))``."""

    def __init__(self, width: int, kernel: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.convolve = ConvModule(width, kernel, dropout=dropout)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        return self.norm(x + self.convolve(x))


class _Sum(torch.autograd.Function):
    """The sum over all processes; so is that of its gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        total = grads[0].clone()
        dist.all_reduce(total)
        return total


class SharedBatchNorm(nn.BatchNorm1d):
    """Batch norm over the batches of all processes, on any device.

    So several processes learn what one would from the same global batch; torch's own
    SyncBatchNorm needs GPUs.
    """

    def forward(self, input: Float[Tensor, "b d t"]) -> Float[Tensor, "b d t"]:  # noqa: A002
        if not (self.training and dist.is_available() and dist.is_initialized()):
            return super().forward(input)
        num = dist.get_world_size()
        moments = torch.stack([input.mean(dim=(0, 2)), input.square().mean(dim=(0, 2))])
        mean, square = _Sum.apply(moments) / num  # pyright: ignore[reportOperatorIssue, reportGeneralTypeIssues]
        variance = square - mean.square()
        self._follow(mean, variance, input.numel() // len(mean) * num)
        scale = torch.rsqrt(variance + self.eps) * self.weight
        return (input - mean[:, None]) * scale[:, None] + self.bias[:, None]

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Running statistics, as `nn.BatchNorm1d` keeps them."""
        assert self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None and self.momentum is not None
        unbiased = variance * count / max(count - 1, 1)
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(unbiased, self.momentum)
        self.num_batches_tracked.add_(1)


class ConvStack(nn.Sequential):
    """Convolutions of kernel 3 with ReLU between them; ``widths`` from input to output.

    ``bias`` is what the last one begins with.
    """

    def __init__(self, *widths: int, bias: float = 0.0) -> None:
        layers: list[nn.Module] = []
        for inner, outer in zip(widths, widths[1:], strict=False):
            layers += [nn.Conv1d(inner, outer, 3, padding=1), nn.ReLU()]
        last = layers[-2]
        assert isinstance(last, nn.Conv1d) and last.bias is not None
        nn.init.constant_(last.bias, bias)
        super().__init__(*layers[:-1])
