"""EfficientNet-Lite1: an ImageNet classifier small enough for a laptop's CPU.

Tan and Le, "EfficientNet", ICML 2019; the Lite variants drop squeeze-and-excitation and use ReLU6.
Batch norm is folded into the convolutions when the weights load, which halves the time.

Axes: b frames, h height, w width.
"""

from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

SIDE = 240
NUM_CLASSES = 1000

# kernel, stride, expansion, channels, repeats: Lite0 of the paper scaled to depth 1.1
_STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 3),
    (5, 2, 6, 40, 3),
    (3, 2, 6, 80, 4),
    (5, 1, 6, 112, 4),
    (5, 2, 6, 192, 5),
    (3, 1, 6, 320, 1),
)
_STEM, _HEAD = 32, 1280
_BATCH_NORM_EPS = 1e-3


class SameConv(nn.Conv2d):
    """A convolution padded as TensorFlow does: the odd pixel goes right and below."""

    def forward(self, input: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h2 w2"]:  # noqa: A002
        kernel, stride = self.kernel_size[0], self.stride[0]
        if stride == 1:
            return F.conv2d(input, self.weight, self.bias, 1, kernel // 2, 1, self.groups)
        pad: list[int] = []
        for size in (input.shape[3], input.shape[2]):
            missing = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            pad += [missing // 2, missing - missing // 2]
        return F.conv2d(F.pad(input, pad), self.weight, self.bias, stride, 0, 1, self.groups)


class Block(nn.Module):
    """Expand, filter each channel, project; with a shortcut where the shape allows."""

    def __init__(self, width: int, out: int, *, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = width * expansion
        self.expand = SameConv(width, inner, 1) if expansion > 1 else None
        self.depthwise = SameConv(inner, inner, kernel, stride=stride, groups=inner)
        self.project = SameConv(inner, out, 1)
        self.has_shortcut = stride == 1 and width == out

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h2 w2"]:
        y = F.relu6(self.expand(x), inplace=True) if self.expand else x
        y = self.project(F.relu6(self.depthwise(y), inplace=True))
        return x + y if self.has_shortcut else y


class EfficientNetLite1(nn.Module):
    """240 x 240 RGB frames to logits over the 1,000 ImageNet classes."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv(3, _STEM, 3, stride=2)
        blocks: list[Block] = []
        width = _STEM
        for kernel, stride, expansion, out, repeats in _STAGES:
            for i in range(repeats):
                blocks.append(
                    Block(
                        width,
                        out,
                        kernel=kernel,
                        stride=stride if i == 0 else 1,
                        expansion=expansion,
                    )
                )
                width = out
        self.blocks = nn.Sequential(*blocks)
        self.head = SameConv(width, _HEAD, 1)
        self.classifier = nn.Linear(_HEAD, NUM_CLASSES)

    def forward(self, frames: UInt8[Tensor, "b h w 3"]) -> Float[Tensor, "b 1000"]:
        x = frames.permute(0, 3, 1, 2).to(self.stem.weight.dtype)
        x = (x - 127) / 128
        x = F.relu6(self.stem(x), inplace=True)
        x = F.relu6(self.head(self.blocks(x)), inplace=True)
        return self.classifier(x.mean(dim=(2, 3)))


def load(path: Path) -> EfficientNetLite1:
    """The network with the published weights at ``path``, ready to run."""
    published = torch.load(path, map_location="cpu", weights_only=True)
    net = EfficientNetLite1()
    convolutions = [module for module in net.modules() if isinstance(module, SameConv)]
    # The published tensors come in the order of execution: each convolution and its batch norm.
    names = [name for name in published if name.endswith("weight") and published[name].ndim == 4]
    for module, (name, norm) in zip(convolutions, _with_norms(names, published), strict=True):
        scale = published[f"{norm}.weight"] / torch.sqrt(
            published[f"{norm}.running_var"] + _BATCH_NORM_EPS
        )
        module.weight.data = published[name] * scale[:, None, None, None]
        assert module.bias is not None
        module.bias.data = published[f"{norm}.bias"] - published[f"{norm}.running_mean"] * scale
    net.classifier.weight.data = published["_fc.weight"]
    net.classifier.bias.data = published["_fc.bias"]
    net = net.eval().requires_grad_(False)
    return net.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def _with_norms(names: list[str], published: dict[str, Tensor]) -> list[tuple[str, str]]:
    """Each convolution's tensor name with the prefix of the batch norm that follows it."""
    keys = list(published)
    norms: list[tuple[str, str]] = []
    for name, following in pairwise([*names, ""]):
        stop = keys.index(following) if following else len(keys)
        between = keys[keys.index(name) + 1 : stop]
        norm = next(key for key in between if key.endswith("running_mean"))
        norms.append((name, norm.removesuffix(".running_mean")))
    return norms
