"""STALE: one mask for the foreground, then words and snippets classify, and each snippet masks.

Nag et al., Zero-Shot Temporal Action Detection via Vision-Language Prompting, ECCV 2022. One
stage: a class-agnostic mask says which snippets show anything; the words adapt to these and
classify them; in parallel each snippet says which others lie in its instance. Equations are the
paper's; where it is silent or cannot be meant as printed, see docs/methods.md. No label, score
or statistic of an unseen class enters anywhere, as one does in the released code. Axes: b pieces,
t snippets, k classes, c = k + 1 with background, q mask queries, d width.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray as Array
from torch import Tensor, nn
from torch.nn.functional import normalize

from openmoment.blocks.attention import sine_positions
from openmoment.blocks.batch import Batch, Instances, instances_on
from openmoment.blocks.context import LearnedContext
from openmoment.blocks.convolution import ConvStack
from openmoment.blocks.instance_masks import DynamicMasks, instance_mask_losses
from openmoment.blocks.losses import bce, class_cross_entropy
from openmoment.blocks.mask_decoder import Candidates, decode
from openmoment.blocks.temporal import TemporalNet, temporal_network
from openmoment.encoders.base import HasTextTower, Space
from openmoment.errors import ConfigError
from openmoment.methods.base import Answer
from openmoment.methods.trained import (
    CLIP_SCALE,
    CLIP_WIDTHS,
    MaskedConfig,
    ParameterGroup,
    Trained,
    Widths,
)
from openmoment.methods.traits import Traits
from openmoment.types import Annotations, Queries, Snippets


@dataclass(frozen=True)
class StaleConfig(MaskedConfig):
    """The defaults are those of the ``recommended`` presets. Raises ValueError."""

    temporal_net: TemporalNet = "conformer"  # the paper's transformer, a convolution after it
    temporal_layers: int = 3  # of the transformers; 1: paper
    text_encoder: Literal["none", "frozen", "finetune"] = "frozen"
    context_tokens: int = 0  # learned words around a name; 0: the backbone's own prompts
    class_position: Literal["middle", "end"] = "middle"  # of the name among them
    text_lr_scale: float = 0.1  # of the text tower, where it learns
    classes: tuple[str, ...] = ()  # whose vectors text_encoder none learns; those trained on
    mask_method: Literal["maskformer", "cnn1d", "none", "gt"] = "maskformer"
    num_queries: int = 20  # N_z
    theta_bin: Literal["half", "mean"] = "half"  # foreground is above one half, or the mean
    straight_through: float = 0.01  # share of the gradient that passes L_bin; 1: all of it
    v2l_adaptation: bool = True  # eq. 5-6
    scale: float = 20.0  # of the cosines of eq. 7; 100: paper, where one wrong softmax drowns all
    clip_residual: float = 0.5  # how much the backbone's own similarity counts; 0: paper
    mask_head: Literal["dynamic", "static"] = "dynamic"
    gt_masks: bool = False  # decode true instance masks: an oracle
    class_weight: float = 1.0
    mask_weight: float = 1.0
    dice_weight: float = 0.4  # lambda of eq. 10
    complete_weight: float = 1.0
    consistency_weight: float = 1.0

    @property
    def is_oracle(self) -> bool:
        """Whether it decodes what only the truth says."""
        return self.gt_masks or self.mask_method == "gt"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.classes and self.text_encoder != "none":
            raise ValueError("classes are for text_encoder none, which learns a vector for each")
        if self.text_encoder == "none" and self.context_tokens:
            raise ValueError("context_tokens must be 0 with text_encoder none")
        for name in ("clip_residual", "straight_through"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in [0, 1], got {getattr(self, name)}")
        if self.clip_residual and (self.features == "own" or self.text_encoder == "none"):
            raise ValueError(
                "clip_residual must be 0 unless features and texts are the backbone's own"
            )
        if self.context_tokens < 0 or min(self.num_queries, self.temporal_layers) < 1:
            raise ValueError(
                "context_tokens must be 0 or more, num_queries and temporal_layers 1 or more"
            )


class Output(NamedTuple):
    """What the network says of each snippet."""

    logits: Float[Tensor, "b c t"]  # of P
    masks: Float[Tensor, "b t t"]  # M: row t is snippet t's
    foreground: Float[Tensor, "b t"]  # L_hat

    @property
    def probabilities(self) -> Float[Tensor, "b c t"]:
        return self.logits.softmax(dim=1)


# parts of the network -------------------------------------------------------------------------


class QueryMasker(nn.Module):
    """Learned queries look for foreground in the whole piece (eq. 3), and vote (eq. 4)."""

    def __init__(self, d: int, num_queries: int) -> None:
        super().__init__()
        self.enter = nn.Linear(d, d)
        settings = {"dropout": 0.1, "norm_first": True, "batch_first": True}
        self.encoder = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(d, 2, 1024, **settings),
            num_layers=2,
            norm=nn.LayerNorm(d),
            enable_nested_tensor=False,
        )
        self.queries = nn.Parameter(torch.randn(num_queries, d))
        self.decoder = nn.TransformerDecoder(
            nn.TransformerDecoderLayer(d, 2, 1024, **settings), num_layers=2, norm=nn.LayerNorm(d)
        )
        self.embed = nn.Sequential(
            nn.Linear(d, d), nn.ReLU(), nn.Linear(d, d), nn.ReLU(), nn.Linear(d, d)
        )
        self.vote = nn.Linear(num_queries, 1)
        # sigmoids of sigmoids: from here one half can be left in both directions
        nn.init.constant_(self.vote.weight, 4 / num_queries)
        nn.init.constant_(self.vote.bias, -2.0)

    def forward(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t"]:
        memory = self.encoder(self.enter(x) + sine_positions(*x.shape[1:]).to(x))
        z = self.decoder(self.queries.expand(len(x), -1, -1), memory)
        votes = (x @ self.embed(z).transpose(1, 2)).sigmoid()  # L_q, b t q
        return self.vote(votes).squeeze(2).sigmoid()


class ConvMasker(nn.Module):
    """The foreground by convolution instead (Table 4)."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.stack = ConvStack(d, d // 2, 1)

    def forward(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t"]:
        return self.stack(x.transpose(1, 2)).squeeze(1).sigmoid()


class StaticMasks(nn.Module):
    """Masks by convolution, for pieces of one length alone, as the released code has them.

    Raises ConfigError for another length.
    """

    def __init__(self, d: int, length: int) -> None:
        super().__init__()
        self.length = length
        self.see = nn.Conv1d(d, 256, 3, padding=1)
        self.mask = nn.Conv1d(256, length, 1, bias=False)

    def forward(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t t"]:
        if x.shape[1] != self.length:
            raise ConfigError(
                f"mask_head=static was made for {self.length} snippets, got {x.shape[1]}. "
                "Use mask_head=dynamic."
            )
        return self.mask(self.see(x.transpose(1, 2)).relu()).transpose(1, 2).sigmoid()


def to_foreground(
    mask: Float[Tensor, "b t"], *, threshold: Literal["half", "mean"] = "half"
) -> Bool[Tensor, "b t"]:
    """L_bin: what is above the threshold, or, where that is too little, the best.

    At least ``max(1, T / 16)`` snippets.
    """
    above = mask > (0.5 if threshold == "half" else mask.mean(dim=1, keepdim=True))
    least = max(1, mask.shape[1] // 16)
    best = torch.zeros_like(above).scatter_(1, mask.topk(least, dim=1).indices, True)
    return torch.where(above.sum(dim=1, keepdim=True) < least, best, above)


# the method -----------------------------------------------------------------------------------


class Stale(Trained):
    """A class-agnostic foreground, words compared with it, and a mask for each snippet."""

    Config: ClassVar[type] = StaleConfig
    AFTER_TRAINING: ClassVar[frozenset[str]] = frozenset({"gt_masks"})
    config: StaleConfig

    def __init__(self, config: StaleConfig, space: Space, widths: Widths = CLIP_WIDTHS) -> None:
        super().__init__(config, space, widths)
        d = widths.text
        if config.features == "own":
            self.narrow = nn.Conv1d(widths.video, d, 3, padding=1)
        self.embed = temporal_network(config.temporal_net, d, layers=config.temporal_layers)
        reads = config.text_encoder == "finetune" or config.context_tokens > 0
        self.context = _read_by_tower(config, space) if reads else None
        if config.text_encoder == "none":
            self.vectors = nn.Parameter(0.02 * torch.randn(len(config.classes), d))
        self.background = nn.Parameter(0.02 * torch.randn(1, d))  # G_bg
        if config.mask_method == "maskformer":
            self.masker = QueryMasker(d, config.num_queries)
        elif config.mask_method == "cnn1d":
            self.masker = ConvMasker(d)
        if config.v2l_adaptation:
            self.adapt = nn.TransformerDecoderLayer(d, 4, 4 * d, dropout=0.3, batch_first=True)
            self.alpha = nn.Parameter(torch.full((d,), 1e-3))
        self.mask = (
            DynamicMasks(d) if config.mask_head == "dynamic" else StaticMasks(d, config.length)
        )
        if config.consistency_weight:
            self.project = nn.Linear(d, d, bias=False)  # a bias alone could make all agree
        self._truth: Iterator[Instances] | None = None

    @classmethod
    def prepare(cls, config: StaleConfig, names: Sequence[str]) -> StaleConfig:
        is_closed = config.text_encoder == "none" and not config.classes
        return replace(config, classes=tuple(names)) if is_closed else config

    @classmethod
    def traits_of(cls, config: StaleConfig) -> Traits:
        return replace(super().traits_of(config), is_told_truth=config.is_oracle)

    # network ---------------------------------------------------------------------------------

    def read_texts(self, names: Sequence[str], texts: Float[Tensor, "k d"]) -> Float[Tensor, "c d"]:
        """F_lan of eq. 2: a direction for each name, and the background's embedding."""
        if self.config.text_encoder == "none":
            texts = self.vectors[[self._known(name) for name in names]]
        elif self.context is not None:
            texts = self.context(names)
        return torch.cat([normalize(texts, dim=1), self.background])

    def _known(self, name: str) -> int:
        if name not in self.config.classes:
            raise ConfigError(
                f"text_encoder=none knows only the classes that it learned, and {name!r} is none "
                "of them. Use text_encoder=frozen."
            )
        return self.config.classes.index(name)

    def predict(
        self,
        features: Float[Tensor, "b t d_in"],
        words: Float[Tensor, "c d"],
        truth: Float[Tensor, "b t"] | None = None,
    ) -> Output:
        """The heads' output for pieces of video, all at once.

        ``truth``, the true foreground, is asked for by ``mask_method`` gt alone.
        """
        e = self._enter(features)
        x = self.embed(e)  # F_vis, eq. 1
        mask = self._foreground_mask(x, truth)
        kept = to_foreground(mask, threshold=self.config.theta_bin)
        # the whole gradient hides what is not classified yet, and then never shows it again
        gate = kept + self.config.straight_through * (mask - mask.detach())
        gate = gate[..., None]
        logits = self.config.scale * _compare(self._adapt(words, gate * x, ~kept), x, gate)  # eq. 7
        w = self.config.clip_residual
        if w:
            own = CLIP_SCALE * _compare(words.expand(len(e), -1, -1), e, gate)
            logits = (1 - w) * logits + w * own
        return Output(logits, self.mask(x), mask)  # eq. 8

    def _enter(self, features: Float[Tensor, "b t d_in"]) -> Float[Tensor, "b t d"]:
        """E: unit vectors, or features of another encoder made as wide as the texts."""
        if self.config.features == "joint":
            return normalize(features, dim=2)
        return self.narrow(features.transpose(1, 2)).relu().transpose(1, 2)

    def _foreground_mask(self, x: Tensor, truth: Tensor | None) -> Float[Tensor, "b t"]:
        """L_hat of eq. 3-4, or what takes its place."""
        match self.config.mask_method:
            case "none":
                return x.new_ones(x.shape[:2])
            case "gt":
                assert truth is not None
                return truth.to(x)
            case _:
                return self.masker(x)

    def _adapt(
        self, words: Float[Tensor, "c d"], memory: Float[Tensor, "b t d"], ignore: Tensor
    ) -> Float[Tensor, "b c d"]:
        """F_lan_hat: the words, a little turned to what the foreground shows (eq. 5-6)."""
        text = words.expand(len(memory), -1, -1)
        if not self.config.v2l_adaptation:
            return text
        return text + self.alpha * self.adapt(text, memory, memory_key_padding_mask=ignore)

    # loss ------------------------------------------------------------------------------------

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Eq. 9 to 12, with the signs that they need (docs/methods.md)."""
        config = self.config
        words = self.read_texts(batch.names, batch.texts)
        out = self.predict(batch.features, words, batch.foreground)
        entropy, overlap = instance_mask_losses(out.masks, batch.same_instance)  # eq. 10
        terms = {
            "class": config.class_weight * class_cross_entropy(out.logits, batch.class_targets),
            "mask": config.mask_weight * entropy,
            "dice": config.dice_weight * overlap,
        }
        if config.mask_method in ("maskformer", "cnn1d"):
            complete = bce(out.foreground, batch.foreground).mean()  # eq. 11
            terms["complete"] = config.complete_weight * complete
        if config.consistency_weight:
            differ = self._consistency(self._enter(batch.features), out)
            terms["consistency"] = config.consistency_weight * differ
        return terms

    def _consistency(self, e: Float[Tensor, "b t d"], out: Output) -> Float[Tensor, ""]:
        """How far what the classifier looks at is from what the masks cover (eq. 12)."""
        e = self.project(e)
        by_class = _weighted_mean(e, out.probabilities[:, :-1].amax(dim=1))
        by_mask = _weighted_mean(e, out.masks.amax(dim=2))
        return (1 - torch.cosine_similarity(by_class, by_mask, dim=1)).mean()

    def parameter_groups(self) -> list[ParameterGroup]:
        """The text tower, where it learns, has its own rate."""
        tower = self.context.tower if self.context is not None else None
        return self.parted((tower, self.config.text_lr_scale))

    # decoding --------------------------------------------------------------------------------

    def answer(
        self, snippets: Snippets, queries: Queries, *, truth: Annotations | None = None
    ) -> Answer:
        """The moments and the curves; ``truth`` is for the oracles ``mask_method`` gt and
        ``gt_masks``, which raise ConfigError without it.
        """
        if truth is None:
            return super().answer(snippets, queries)
        pieces = self.config.axis.pieces(snippets.grid)
        self._truth = (instances_on(grid, truth.segments, truth.labels) for grid in pieces)
        try:
            return super().answer(snippets, queries)
        finally:
            self._truth = None

    def candidates(
        self, features: Float[Tensor, "b t d_in"], texts: Float[Tensor, "c d"]
    ) -> Iterator[tuple[Float[Array, "k t"], Candidates]]:
        truth = self._next_truth(features, texts)
        out = self.predict(features, texts, truth.foreground if truth else None)
        masks = truth.same_instance if truth and self.config.gt_masks else out.masks
        parts = (part.double().cpu().numpy() for part in (out.probabilities[:, :-1], masks))
        for probabilities, mask in zip(*parts, strict=True):
            yield probabilities * np.diagonal(mask), decode(probabilities, mask, self.config)

    def _next_truth(self, features: Tensor, texts: Tensor) -> Batch | None:
        """What an oracle is told of the next pieces; None for all that are none."""
        if not self.config.is_oracle:
            return None
        if self._truth is None:
            raise ConfigError(
                "mask_method=gt and gt_masks are oracles for benchmarks: they answer only when "
                "told the truth, as in method.answer(snippets, queries, truth=annotations)."
            )
        instances = tuple(islice(self._truth, len(features)))
        return Batch(features, texts[:-1], (), instances, ())


def _read_by_tower(config: StaleConfig, space: Space) -> LearnedContext:
    """The text side of eq. 2. Raises ConfigError for a backbone that has no text tower."""
    if not isinstance(space, HasTextTower):
        raise ConfigError(
            f"text_encoder={config.text_encoder} with context_tokens={config.context_tokens} needs "
            "a backbone with a text tower. Use text_encoder=frozen and context_tokens=0."
        )
    return LearnedContext(
        space,
        num_tokens=config.context_tokens,
        class_position=config.class_position,
        finetune=config.text_encoder == "finetune",
    )


def _compare(
    words: Float[Tensor, "b c d"], x: Float[Tensor, "b t d"], gate: Float[Tensor, "b t 1"]
) -> Float[Tensor, "b c t"]:
    """Cosines of words and snippets.

    A masked snippet is taken for the background's embedding, which learns nothing from that.
    """
    directions = normalize(words, dim=2)
    shown = gate * normalize(x, dim=2) + (1 - gate) * directions[:, -1:].detach()
    return directions @ normalize(shown, dim=2).transpose(1, 2)


def _weighted_mean(
    rows: Float[Tensor, "b t d"], weights: Float[Tensor, "b t"]
) -> Float[Tensor, "b d"]:
    """Of the eighth of the rows that weigh most."""
    best, chosen = weights.topk(max(1, weights.shape[1] // 8), dim=1)
    picked = rows.gather(1, chosen[..., None].expand(-1, -1, rows.shape[2]))
    return (best[..., None] * picked).sum(dim=1) / best.sum(dim=1, keepdim=True).clamp(min=1e-6)
