"""ConTrans: text attends to video, convolutions add the local, each layer at half the resolution.

One-stage zero-shot detection over frozen features: E layers of text-to-video cross-attention and
Conformer-style convolution, fused over scales, give a class distribution, a foreground mask and a
confidence for every snippet. Equations are the paper's; where it is silent or cannot be meant as
printed, see docs/methods.md. Axes: b pieces, t snippets, k classes, c = k + 1 with background,
d width.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray as Array
from torch import Tensor, nn
from torch.nn.functional import interpolate, normalize

from openmoment.blocks.attention import Attention, FeedForward, Refine, sine_positions
from openmoment.blocks.batch import Batch
from openmoment.blocks.convolution import ConvModule, ConvStack
from openmoment.blocks.instance_masks import DynamicMasks, instance_mask_losses
from openmoment.blocks.losses import balanced_bce, class_cross_entropy, dice
from openmoment.blocks.mask_decoder import Candidates, decode
from openmoment.blocks.targets import centreness, run_overlap
from openmoment.encoders.base import Space
from openmoment.methods.trained import CLIP_SCALE, CLIP_WIDTHS, MaskedConfig, Trained, Widths

_LARGEST_SCALE = 100.0


@dataclass(frozen=True)
class ConTransConfig(MaskedConfig):
    """The defaults are those of the ``recommended`` presets. Raises ValueError."""

    num_layers: int = 4  # E
    heads: int = 8
    dropout: float = 0.1
    kernel: int = 7  # of the depthwise convolution
    video_encoder: bool = True  # eq. 3.1
    text_encoder: bool = True  # eq. 3.3
    use_global: bool = True  # cross-attention, eq. 3.4-3.5
    use_local: bool = True  # convolution, eq. 3.6
    layer_attention: Literal["cross", "self"] = "cross"  # eq. 3.7 is printed as self
    layer_residual: bool = True  # around attention and feed-forward of a layer
    temporal_project: Literal["cross", "attn_transpose"] = "cross"
    downsampler: Literal["strided_conv", "max", "avg"] = "strided_conv"
    positional_encoding: bool = False
    similarity: Literal["cosine", "dot"] = "cosine"  # eq. 3.9 is printed as dot
    clip_residual: float = 0.5  # how much the backbone's own similarity counts; 0: paper
    mask_head: Literal["global", "instance"] = "global"  # one mask, or one for each snippet
    conf_target: Literal["foreground", "centerness", "iou"] = "foreground"
    use_conf: bool = False  # whether the confidence counts in scores
    class_weight: float = 1.0
    mask_weight: float = 1.0
    dice_weight: float = 0.4  # lambda of eq. 4.2
    conf_weight: float = 10.0  # lambda of eq. 4.3
    dice_factor: float = 2.0  # 1: as printed

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.clip_residual <= 1:
            raise ValueError(f"clip_residual must lie in [0, 1], got {self.clip_residual}")
        if self.features == "own" and self.clip_residual:
            raise ValueError("clip_residual must be 0 with features of another encoder")
        if self.num_layers < 1 or self.kernel % 2 == 0:
            raise ValueError("num_layers must be 1 or more, kernel odd")


class Words(NamedTuple):
    """Class embeddings and background, before and after they attend to each other."""

    plain: Float[Tensor, "c d"]
    refined: Float[Tensor, "c d"]


class Output(NamedTuple):
    """What the network says of each snippet."""

    logits: Float[Tensor, "b c t"]
    masks: Float[Tensor, "b m t"]  # m: 1, or t for instance masks
    confidence: Float[Tensor, "b t"]

    @property
    def probabilities(self) -> Float[Tensor, "b c t"]:
        """Prob of eq. 3.9: over the classes of each snippet."""
        return self.logits.softmax(dim=1)


class ConTransLayer(nn.Module):
    """Text attends to video, its findings go back to the snippets, a convolution follows."""

    def __init__(self, config: ConTransConfig, d: int) -> None:
        super().__init__()
        self.config = config
        if config.use_global:
            self.norm_video = nn.LayerNorm(d)
            if config.layer_attention == "cross":
                self.norm_text = nn.LayerNorm(d)
            self.attend = Attention(d, config.heads, dropout=config.dropout)
            self.feed = FeedForward(d, 4 * d, dropout=config.dropout)
            self.norm_found = nn.LayerNorm(d)
            if config.layer_attention == "cross" and config.temporal_project == "cross":
                self.norm_query = nn.LayerNorm(d)
                self.project = Attention(d, config.heads, dropout=config.dropout)
        if config.use_local:
            self.convolve = ConvModule(d, config.kernel, dropout=config.dropout)
        self.norm = nn.LayerNorm(d)

    def forward(self, x: Float[Tensor, "b t d"], text: Float[Tensor, "b c d"]) -> Tensor:
        """C_e from X_e."""
        if self.config.use_global:
            x = self._attend_globally(x, text)
        if self.config.use_local:
            x = x + self.convolve(x)
        return self.norm(x)  # eq. 3.6

    def _attend_globally(self, x: Tensor, text: Tensor) -> Float[Tensor, "b t d"]:
        """C_T, by the layer's own reading of the text."""
        memory = self.norm_video(x)
        if self.config.layer_attention == "self":
            return self._digest(x, self.attend(memory, memory))
        if self.config.temporal_project == "cross":
            found = self._digest(text, self.attend(self.norm_text(text), memory))  # eq. 3.4-3.5
            return x + self.project(self.norm_query(x), found)
        out, dots = self.attend.weigh(self.norm_text(text), memory)
        return x + dots.transpose(1, 2).softmax(dim=2) @ self._digest(text, out)

    def _digest(self, asking: Tensor, found: Tensor) -> Tensor:
        """C_a of eq. 3.5."""
        if not self.config.layer_residual:
            return self.norm_found(self.feed(found))
        together = asking + found
        return self.norm_found(together + self.feed(together))


class ConTrans(Trained):
    """Text attends to video over halving resolutions; class, mask and confidence per snippet."""

    Config: ClassVar[type] = ConTransConfig
    AFTER_TRAINING: ClassVar[frozenset[str]] = frozenset({"use_conf"})
    config: ConTransConfig

    def __init__(self, config: ConTransConfig, space: Space, widths: Widths = CLIP_WIDTHS) -> None:
        super().__init__(config, space, widths)
        d = widths.text
        if config.features == "own":
            self.narrow = nn.Linear(widths.video, d)
        if config.video_encoder:
            self.refine_video = Refine(d, config.heads, dropout=config.dropout)
        if config.text_encoder:
            self.refine_text = Refine(d, config.heads, dropout=config.dropout)
        self.background = nn.Parameter(0.02 * torch.randn(1, d))
        self.layers = nn.ModuleList(ConTransLayer(config, d) for _ in range(config.num_layers))
        if config.downsampler == "strided_conv":
            self.halve = nn.ModuleList(
                nn.Conv1d(d, d, 3, stride=2, padding=1, groups=d)
                for _ in range(config.num_layers - 1)  # nothing follows the last layer
            )
        self.fuse = nn.Linear(config.num_layers * d, d)
        self.norm = nn.LayerNorm(d)
        if config.similarity == "cosine":
            self.log_scale = nn.Parameter(torch.tensor(1 / 0.07).log())
        if config.mask_head == "global":
            self.mask = ConvStack(d, 256, 256, 1)
        else:
            self.mask = DynamicMasks(d)
        self.confide = ConvStack(d, 256, 256, 1, bias=0.5)

    # network -----------------------------------------------------------------------------

    def read_texts(self, names: Sequence[str], texts: Float[Tensor, "k d"]) -> Words:
        plain = torch.cat([normalize(texts, dim=1), self.background])  # T+ = [E_txt ; b_g]
        x = plain[None]
        if self.config.positional_encoding:
            x = x + sine_positions(*plain.shape).to(x)
        refined = self.refine_text(x) if self.config.text_encoder else x  # eq. 3.3
        return Words(plain, refined[0])

    def predict(self, features: Float[Tensor, "b t d_in"], words: Words) -> Output:
        """The heads' output for pieces of video, all at once."""
        f = normalize(features, dim=2)
        if self.config.features == "own":
            f = self.narrow(f)
        x = f
        if self.config.positional_encoding:
            x = x + sine_positions(*x.shape[1:]).to(x)
        if self.config.video_encoder:
            x = self.refine_video(x)  # eq. 3.1
        fused = self._fuse(self._pyramid(x, words.refined), len(f[0]))
        return Output(
            self._logits(fused, f, words),
            self._masks(fused),
            _relu(self.confide(fused.transpose(1, 2)).squeeze(1)),  # eq. 3.11
        )

    def _pyramid(self, x: Float[Tensor, "b t d"], text: Float[Tensor, "c d"]) -> list[Tensor]:
        """C_1 ... C_E, each of half the snippets of the one before (eq. 3.7)."""
        text = text.expand(len(x), -1, -1)
        levels: list[Tensor] = []
        for e, layer in enumerate(self.layers):
            if e:
                x = self._halve(levels[-1], e - 1)
            levels.append(layer(x, text))
        return levels

    def _halve(self, x: Float[Tensor, "b t d"], e: int) -> Float[Tensor, "b half d"]:
        x = x.transpose(1, 2)
        if self.config.downsampler == "strided_conv":
            return self.halve[e](x).transpose(1, 2)
        pool = nn.functional.max_pool1d if self.config.downsampler == "max" else _average
        return pool(x, 3, stride=2, padding=1).transpose(1, 2)

    def _fuse(self, levels: list[Tensor], t: int) -> Float[Tensor, "b t d"]:
        """C_f: all levels stretched to T snippets, side by side, and mixed (eq. 3.8)."""
        stretched = [interpolate(c.transpose(1, 2), size=t, mode="linear") for c in levels]
        return self.norm(self.fuse(torch.cat(stretched, dim=1).transpose(1, 2)))

    def _logits(self, fused: Tensor, f: Tensor, words: Words) -> Float[Tensor, "b c t"]:
        if self.config.similarity == "dot":
            learned = words.refined @ fused.transpose(1, 2)
        else:
            scale = self.log_scale.exp().clamp(max=_LARGEST_SCALE)
            cosines = normalize(words.refined, dim=1) @ normalize(fused, dim=2).transpose(1, 2)
            learned = scale * cosines
        w = self.config.clip_residual
        if w == 0:
            return learned
        own = CLIP_SCALE * normalize(words.plain, dim=1) @ f.transpose(1, 2)
        return (1 - w) * learned + w * own

    def _masks(self, fused: Float[Tensor, "b t d"]) -> Float[Tensor, "b m t"]:
        """A_L of eq. 3.10, or a mask for each snippet."""
        if self.config.mask_head == "instance":
            return self.mask(fused)
        return self.mask(fused.transpose(1, 2)).sigmoid()

    # loss --------------------------------------------------------------------------------

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Eq. 4.1 to 4.3, with the signs that they need (docs/methods.md)."""
        config = self.config
        out = self.predict(batch.features, self.read_texts(batch.names, batch.texts))
        terms = {
            "class": config.class_weight * class_cross_entropy(out.logits, batch.class_targets)
        }
        if config.mask_head == "global":
            mask, target = out.masks[:, 0], batch.foreground
            terms["mask"] = config.mask_weight * balanced_bce(mask, target).mean()
            overlap = dice(mask, target, factor=config.dice_factor).mean()
        else:
            same = batch.same_instance
            terms["mask"], overlap = instance_mask_losses(
                out.masks, same, factor=config.dice_factor
            )
            terms["mask"] = config.mask_weight * terms["mask"]
        terms["dice"] = config.dice_weight * overlap
        off = out.confidence - self._confidence_target(batch, out.masks)
        return terms | {"confidence": config.conf_weight * off.square().mean()}

    def _confidence_target(self, batch: Batch, masks: Tensor) -> Float[Tensor, "b t"]:
        if self.config.conf_target == "centerness":
            return centreness(batch)
        if self.config.conf_target == "iou":
            return run_overlap(batch, masks.detach())
        return batch.foreground

    # decoding ----------------------------------------------------------------------------

    def candidates(
        self, features: Float[Tensor, "b t d"], texts: Words
    ) -> Iterator[tuple[Float[Array, "k t"], Candidates]]:
        out = self.predict(features, texts)
        parts = (out.probabilities, out.masks, out.confidence)
        numbers = (part.double().cpu().numpy() for part in parts)
        for probabilities, masks, confidence in zip(*numbers, strict=True):
            found = decode(
                probabilities[:-1],
                masks,
                self.config,
                confidence=confidence if self.config.use_conf else None,
            )
            own = masks[0] if len(masks) == 1 else np.diagonal(masks)
            yield probabilities[:-1] * own, found


def _relu(x: Tensor) -> Tensor:
    """ReLU whose gradient leaks a hundredth below zero, lest the head die early."""
    below = 0.01 * x.clamp(max=0)
    return x.relu() + below - below.detach()


def _average(x: Tensor, kernel: int, *, stride: int, padding: int) -> Tensor:
    """Average pooling in which padding does not count."""
    return nn.functional.avg_pool1d(x, kernel, stride, padding, count_include_pad=False)
