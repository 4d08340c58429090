"""EffPrompt: learned words around a name, and a small transformer over the frames of a proposal.

Ju et al., Prompting Visual-Language Models for Efficient Video Understanding, ECCV 2022. Both
towers stay frozen. The released code is of recognition alone; localization is what the paper says
of it: class-agnostic proposals, each classified like a clip. Proposals are BMN's, trained beside
on the same seen classes, or given (the paper's are AFSD's). Where the paper is silent,
docs/methods.md says what we chose. Axes: b pieces, t snippets, k classes, n clips, f frames of a
clip, d width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from openmoment.blocks.attention import unit_variance
from openmoment.blocks.batch import Batch
from openmoment.blocks.context import LearnedContext
from openmoment.blocks.processes import mean_over_processes
from openmoment.encoders.base import Space
from openmoment.methods.proposing import Proposing, ProposingConfig
from openmoment.methods.trained import CLIP_SCALE, CLIP_WIDTHS, ParameterGroup, Widths


@dataclass(frozen=True)
class EffPromptConfig(ProposingConfig):
    """The defaults are those of the ``recommended`` presets. Raises ValueError."""

    context_tokens: int = 32  # learned words, half before the name; 0: the backbone's own prompts
    context_table: Literal["shared", "positions"] = "shared"  # one for each position: code
    context_std: float = 0.01  # of what is learned of words and positions, at first
    temporal_layers: int = 2  # 0: the mean frame
    heads: int = 8
    num_frames: int = 16  # of a clip
    temperature: float = 0.07  # of the cosines
    num_names: int = 400  # that a step reads: the batch's, and others at random
    bmn_lr_scale: float = 10.0  # BMN learns at so many times the rate of the rest
    clip_residual: float = 0.5  # how much the backbone's own similarity counts; 0: paper
    label_nms: Literal["none", "gaussian"] = "gaussian"

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.context_tokens, self.temporal_layers) < 0:
            raise ValueError("context_tokens and temporal_layers must be 0 or more")
        if min(self.num_frames, self.num_names) < 1:
            raise ValueError("num_frames and num_names must be 1 or more")
        if self.temperature <= 0 or self.context_std <= 0:
            raise ValueError("temperature and context_std must be positive")
        if not 0 <= self.clip_residual <= 1:
            raise ValueError(f"clip_residual must lie in [0, 1], got {self.clip_residual}")
        if not (self.context_tokens or self.temporal_layers):
            raise ValueError("context_tokens and temporal_layers are both 0: nothing to learn")


class Words(NamedTuple):
    """Directions of the names: in the learned context, and as the backbone says them."""

    learned: Float[Tensor, "k d"]
    plain: Float[Tensor, "k d"]


class TemporalTransformer(nn.Module):
    """Frames of a clip see each other; what comes out is a point of the joint space."""

    def __init__(self, d: int, config: EffPromptConfig) -> None:
        super().__init__()
        self.positions = nn.Parameter(config.context_std * torch.randn(config.num_frames, d))
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                d,
                config.heads,
                4 * d,
                dropout=0.0,
                activation=_quick_gelu,
                norm_first=True,
                batch_first=True,
            )
            for _ in range(config.temporal_layers)
        )

    def forward(self, clips: Float[Tensor, "n f d"]) -> Float[Tensor, "n d"]:
        x = unit_variance(clips) + self.positions
        for layer in self.layers:
            x = layer(x)
        return x.mean(dim=1)


class EffPrompt(Proposing):
    """Clips and names, each adapted a little, compared."""

    Config: ClassVar[type] = EffPromptConfig
    config: EffPromptConfig

    def __init__(self, config: EffPromptConfig, space: Space, widths: Widths = CLIP_WIDTHS) -> None:
        super().__init__(config, space, widths)
        self.context = None
        if config.context_tokens:
            self.context = LearnedContext(
                space,
                num_tokens=config.context_tokens,
                by_position=config.context_table == "positions",
                std=config.context_std,
            )
        if config.temporal_layers:
            self.temporal = TemporalTransformer(widths.video, config)

    # network ---------------------------------------------------------------------------------

    def read_texts(self, names: Sequence[str], texts: Float[Tensor, "k d"]) -> Words:
        learned = texts if self.context is None else self.context(names)
        return Words(normalize(learned, dim=1), normalize(texts, dim=1))

    def logits(self, clips: Float[Tensor, "n f d"], words: Words) -> Float[Tensor, "n k"]:
        """Of every clip and name."""
        means = normalize(normalize(clips, dim=2).mean(dim=1), dim=1)
        seen = normalize(self.temporal(clips), dim=1) if self.config.temporal_layers else means
        learned = seen @ words.learned.T / self.config.temperature
        w = self.config.clip_residual
        return (1 - w) * learned + w * CLIP_SCALE * means @ words.plain.T if w else learned

    def classify(
        self, features: Float[Tensor, "t d"], segments: Float[Tensor, "n 2"], texts: Words
    ) -> Float[Tensor, "n k"]:
        clips = sample_clips(features, segments, self.config.num_frames)
        return self.logits(clips, texts).softmax(dim=1)

    def classify_snippets(
        self, features: Float[Tensor, "b t d"], texts: Words
    ) -> Float[Tensor, "b k t"]:
        """Without the transformer, which is made for clips."""
        cosines = texts.learned @ normalize(features, dim=2).transpose(1, 2)
        return (cosines / self.config.temperature).softmax(dim=1)

    # loss ------------------------------------------------------------------------------------

    def parameter_groups(self) -> list[ParameterGroup]:
        """BMN has its own rate."""
        return self.parted((self.bmn, self.config.bmn_lr_scale))

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """BMN's, and of the annotated segments, as clips, the class."""
        labels = torch.cat([i.labels for i in batch.instances])
        chosen = self._choose_names(labels, len(batch.names))
        words = self.read_texts([batch.names[i] for i in chosen.tolist()], batch.texts[chosen])
        pairs = zip(batch.features, batch.instances, strict=True)
        num = self.config.num_frames
        clips = torch.cat([sample_clips(rows, i.positions, num) for rows, i in pairs])
        logits = self.logits(clips, words)
        entropy = cross_entropy(logits, torch.searchsorted(chosen, labels), reduction="sum")
        num_clips = mean_over_processes(entropy.new_tensor(float(len(labels)))).clamp(min=1)
        return self.proposal_losses(batch) | {"class": entropy / num_clips}

    def _choose_names(self, labels: Tensor, num: int) -> Tensor:
        """Those that occur, and others at random up to as many as are read; sorted."""
        occurs = torch.zeros(num, dtype=torch.bool, device=labels.device)
        occurs[labels] = True
        others = (~occurs).nonzero().squeeze(1)
        wanted = max(0, self.config.num_names - int(occurs.sum()))
        drawn = others[torch.randperm(len(others))[:wanted].to(others.device)]
        return torch.cat([occurs.nonzero().squeeze(1), drawn]).sort().values


def sample_clips(
    rows: Float[Tensor, "t d"], segments: Float[Tensor, "n 2"], num: int
) -> Float[Tensor, "n num d"]:
    """So many frames of each stretch, at the middles of its equal parts, linear between snippets.

    What reaches beyond the piece shows its first or last snippet.
    """
    steps = (torch.arange(num, device=rows.device) + 0.5) / num
    at = segments[:, :1] + (segments[:, 1:] - segments[:, :1]) * steps - 0.5
    at = at.clamp(0, len(rows) - 1)
    left = at.floor().long()
    right = (left + 1).clamp(max=len(rows) - 1)
    share = (at - left)[..., None]
    return rows[left] * (1 - share) + rows[right] * share


def _quick_gelu(x: Tensor) -> Tensor:
    """CLIP's."""
    return x * torch.sigmoid(1.702 * x)
