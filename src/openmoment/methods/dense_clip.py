"""DenseCLIP with a detection head: words look at the video, and are compared with its snippets.

B-II of Nag et al., STALE, ECCV 2022, section 4.1: post-model prompting of Rao et al., DenseCLIP,
CVPR 2022, on STALE's temporal network, with STALE's mask head and decoding. There is no code of
it. B-III is the same over features of another encoder, such as I3D: ``features=own``. Where the
papers are silent, docs/methods.md says what we chose. Axes: b pieces, t snippets, k classes,
c = k + 1 with background, d width.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Float
from numpy import ndarray as Array
from torch import Tensor, nn
from torch.nn.functional import normalize

from openmoment.blocks.batch import Batch
from openmoment.blocks.context import ClassPosition, LearnedContext
from openmoment.blocks.instance_masks import DynamicMasks, instance_mask_losses
from openmoment.blocks.losses import class_cross_entropy
from openmoment.blocks.mask_decoder import Candidates, decode
from openmoment.blocks.temporal import TemporalNet, temporal_network
from openmoment.encoders.base import Space
from openmoment.methods.trained import CLIP_SCALE, CLIP_WIDTHS, MaskedConfig, Trained, Widths

_GAMMA = 1e-4  # of what words take from the video, at first


@dataclass(frozen=True)
class DenseClipConfig(MaskedConfig):
    """The defaults are those of the ``recommended`` presets. Raises ValueError."""

    temporal_net: TemporalNet = "conformer"  # STALE's transformer, and a convolution after it
    temporal_layers: int = 3  # of the transformers; 1: STALE
    context_tokens: int = 0  # learned words around a name; 0: the backbone's own prompts
    class_position: ClassPosition = "end"  # of the name among them
    post_model: bool = True  # words look at the video
    decoder_layers: int = 3
    decoder_width: int = 256
    decoder_heads: int = 4
    decoder_dropout: float = 0.1
    score_map: bool = True  # the masks see how sure the classes are
    temperature: float = 0.07  # of the cosines
    clip_residual: float = 0.5  # how much the backbone's own similarity counts; 0: paper
    class_weight: float = 1.0
    mask_weight: float = 1.0
    dice_weight: float = 0.4

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.clip_residual <= 1:
            raise ValueError(f"clip_residual must lie in [0, 1], got {self.clip_residual}")
        if self.features == "own" and self.clip_residual:
            raise ValueError("clip_residual must be 0 with features of another encoder")
        if self.context_tokens < 0 or min(self.temporal_layers, self.decoder_layers) < 1:
            raise ValueError(
                "context_tokens must be 0 or more, temporal_layers and decoder_layers 1 or more"
            )
        if self.decoder_width % self.decoder_heads:
            raise ValueError("decoder_width must be a multiple of decoder_heads")
        if self.temperature <= 0:
            raise ValueError(f"temperature must be positive, got {self.temperature}")


class Output(NamedTuple):
    """What the network says of each snippet."""

    logits: Float[Tensor, "b c t"]
    masks: Float[Tensor, "b t t"]  # row t is snippet t's

    @property
    def probabilities(self) -> Float[Tensor, "b c t"]:
        return self.logits.softmax(dim=1)


class ContextDecoder(nn.Module):
    """What words find in a video: layers that attend to each other, and to its snippets."""

    def __init__(self, d: int, config: DenseClipConfig) -> None:
        super().__init__()
        inner = config.decoder_width
        self.enter_text = nn.Sequential(nn.LayerNorm(d), nn.Linear(d, inner))
        self.enter_video = nn.Sequential(nn.LayerNorm(d), nn.Linear(d, inner))
        self.layers = nn.TransformerDecoder(
            nn.TransformerDecoderLayer(
                inner,
                config.decoder_heads,
                4 * inner,
                dropout=config.decoder_dropout,
                activation="gelu",
                norm_first=True,
                batch_first=True,
            ),
            num_layers=config.decoder_layers,
        )
        self.leave = nn.Sequential(nn.LayerNorm(inner), nn.Linear(inner, d))

    def forward(
        self, text: Float[Tensor, "b c d"], video: Float[Tensor, "b m d"]
    ) -> Float[Tensor, "b c d"]:
        return self.leave(self.layers(self.enter_text(text), self.enter_video(video)))


class DenseClip(Trained):
    """Words adapted to the video, compared with every snippet; a mask for each snippet."""

    Config: ClassVar[type] = DenseClipConfig
    config: DenseClipConfig

    def __init__(self, config: DenseClipConfig, space: Space, widths: Widths = CLIP_WIDTHS) -> None:
        super().__init__(config, space, widths)
        d = widths.text
        if config.features == "own":
            self.narrow = nn.Conv1d(widths.video, d, 3, padding=1)
        self.embed = temporal_network(config.temporal_net, d, layers=config.temporal_layers)
        self.context = None
        if config.context_tokens:
            self.context = LearnedContext(
                space, num_tokens=config.context_tokens, class_position=config.class_position
            )
        self.background = nn.Parameter(0.02 * torch.randn(1, d))
        if config.post_model:
            self.look = ContextDecoder(d, config)
            self.gamma = nn.Parameter(torch.full((d,), _GAMMA))
        self.mask = DynamicMasks(d + config.score_map)

    # network ---------------------------------------------------------------------------------

    def read_texts(self, names: Sequence[str], texts: Float[Tensor, "k d"]) -> Float[Tensor, "c d"]:
        """A direction for each name, and the background's embedding."""
        texts = texts if self.context is None else self.context(names)
        return torch.cat([normalize(texts, dim=1), self.background])

    def predict(self, features: Float[Tensor, "b t d_in"], words: Float[Tensor, "c d"]) -> Output:
        """The heads' output for pieces of video, all at once."""
        e = self._enter(features)
        x = self.embed(e)
        text = words.expand(len(x), -1, -1)
        if self.config.post_model:
            video = torch.cat([x.mean(dim=1, keepdim=True), x], dim=1)
            text = text + self.gamma * self.look(text, video)
        logits = _cosines(text, x) / self.config.temperature
        w = self.config.clip_residual
        if w:
            own = CLIP_SCALE * _cosines(words.expand(len(e), -1, -1), e)
            logits = (1 - w) * logits + w * own
        if self.config.score_map:
            sure = logits.softmax(dim=1)[:, :-1].amax(dim=1)
            x = torch.cat([x, sure[..., None]], dim=2)
        return Output(logits, self.mask(x))

    def _enter(self, features: Float[Tensor, "b t d_in"]) -> Float[Tensor, "b t d"]:
        """Unit vectors, or features of another encoder made as wide as the texts."""
        if self.config.features == "joint":
            return normalize(features, dim=2)
        return self.narrow(features.transpose(1, 2)).relu().transpose(1, 2)

    # loss ------------------------------------------------------------------------------------

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Classes of all snippets, and STALE's losses of masks (its eq. 10)."""
        config = self.config
        out = self.predict(batch.features, self.read_texts(batch.names, batch.texts))
        entropy, overlap = instance_mask_losses(out.masks, batch.same_instance)
        return {
            "class": config.class_weight * class_cross_entropy(out.logits, batch.class_targets),
            "mask": config.mask_weight * entropy,
            "dice": config.dice_weight * overlap,
        }

    # decoding --------------------------------------------------------------------------------

    def candidates(
        self, features: Float[Tensor, "b t d_in"], texts: Float[Tensor, "c d"]
    ) -> Iterator[tuple[Float[Array, "k t"], Candidates]]:
        out = self.predict(features, texts)
        parts = (part.double().cpu().numpy() for part in (out.probabilities[:, :-1], out.masks))
        for probabilities, masks in zip(*parts, strict=True):
            own = masks.diagonal()
            yield probabilities * own, decode(probabilities, masks, self.config)


def _cosines(text: Float[Tensor, "b c d"], x: Float[Tensor, "b t d"]) -> Float[Tensor, "b c t"]:
    return normalize(text, dim=2) @ normalize(x, dim=2).transpose(1, 2)
