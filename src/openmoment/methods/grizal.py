"""GRIZAL: generated sentences, generated pictures and motion tell each frame whether it shows it.

GRIZAL: Generative Prior-guided Zero-Shot Temporal Action Localization, EMNLP 2024. Pairs of a
sentence and a picture, generated about a label, become one vector (VLE block); it is added to the
frames, which then mix over frequencies, look at the optical flow (OFE block) and at each other
(F-Transformer), and each says how likely it shows the label. No code was published, and the paper
leaves much open: every reading of it that we chose is a setting here or a line in docs/methods.md.
Equations are those of section 3 and appendix S.1. Axes: b pieces, t snippets, n labels, k pairs of
a label, s tokens of a pair, e their width, r pairs of a piece and a label, d width inside.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray as Array
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cosine_similarity, normalize

from openmoment.blocks.attention import Attention, FeedForward, sine_positions, unit_variance
from openmoment.blocks.batch import Batch
from openmoment.blocks.mask_decoder import Candidates, to_detections
from openmoment.blocks.time_axis import resample
from openmoment.encoders.base import Space
from openmoment.encoders.joint import TEXT_TOKENS, Pairing
from openmoment.encoders.towers.projected import unit
from openmoment.errors import FeatureError
from openmoment.methods.trained import CLIP_SCALE, CLIP_WIDTHS, Trained, TrainedConfig, Widths
from openmoment.methods.traits import Traits
from openmoment.postprocess import runs
from openmoment.types import Detections, Queries, SnippetGrid, Snippets

_TEMPERATURE = 0.07  # of L_NCE
_COSINE_SCALE = 10.0  # of the score where no head is trained
_POSITIONS = 512  # of a pair: CLIP's pictures have 197 tokens, its texts 77
_LABELS_AT_ONCE = 32  # that the VLE block reads together


@dataclass(frozen=True)
class RegionDecoding:
    """How the probabilities of a label become segments (5.4). Raises ValueError."""

    thresholds: tuple[float, ...] = tuple(round(0.1 * i, 1) for i in range(1, 10))
    flank: float = 0.25  # of a segment's length, on either side, which it has to stand out from
    label_prior: Literal["none", "clip", "shown"] = "none"  # by words; in mAP by pictures too
    prior_scale: float = CLIP_SCALE  # of the cosines behind it
    nms_sigma: float = 0.5  # of Gaussian Soft-NMS
    nms_per_label: bool = True
    max_out: int = 200
    min_score: float = 0.5  # weaker moments are not reported; 0 ranks all

    def __post_init__(self) -> None:
        if not self.thresholds or not all(0 <= value < 1 for value in self.thresholds):
            raise ValueError(f"thresholds must lie in [0, 1), one or more, got {self.thresholds}")
        if self.nms_sigma <= 0 or self.max_out < 1 or self.flank < 0:
            raise ValueError("nms_sigma and max_out must be positive, flank 0 or more")


@dataclass(frozen=True)
class GrizalConfig(RegionDecoding, TrainedConfig):
    """The defaults are those of the ``recommended`` presets. Raises ValueError."""

    task: Literal["tal", "mr"] = "tal"  # mr: texts are sentences
    k: int = 4  # pairs of a label
    joint_encoder: Literal["clip", "text", "image"] = "clip"  # M (Table 4b)
    text_tokens: int = TEXT_TOKENS  # of a sentence (Table 4f)
    images: Literal["priors", "none"] = "priors"  # none: nothing of the pictures (Tables 1, 2)
    texts: Literal["priors", "none"] = "priors"  # none: the bare label
    use_flow: bool = True  # the OFE block (Table 4a)
    use_fourier: bool = True  # (Table 4a)
    fft_axes: Literal["time", "time+channel"] = "time"
    cls: Literal["learned", "first_pair", "mean"] = "learned"  # which token Z_CLS is
    width: int = 512
    heads: int = 8
    inner: int = 2048  # of the MLPs in transformers
    vle_layers: int = 7  # N (Table 6)
    vle_hidden: int = 0  # width of the VLE block; 0: as inside
    ofe_layers: int = 2
    f_layers: int = 2  # F-Transformers, one behind the other; 1: paper, which tells no number
    dropout: float = 0.1
    positions: bool = True  # sines on frames and flow
    losses: Literal["both", "supervised", "self_supervised"] = "both"  # (Table 4d)
    self_supervised_weight: float = 0.1  # of L_cos and L_NCE; 1: paper
    negative_ratio: float = 1.0  # absent labels for each one present; 0: paper
    similarity_cue: bool = True  # frames are told how alike the backbone finds them; False: paper
    at_once: int = 64  # pairs of piece and label that go through the network together

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("width", "vle_hidden"):
            if getattr(self, name) % self.heads:
                raise ValueError(f"{name} must be a multiple of heads {self.heads}")
        sizes = (self.k, self.vle_layers, self.ofe_layers, self.f_layers, self.at_once)
        if min(sizes) < 1 or min(self.negative_ratio, self.self_supervised_weight) < 0:
            raise ValueError(
                "k, layers and at_once must be 1 or more, negative_ratio and "
                "self_supervised_weight 0 or more"
            )
        if self.features == "own" and self.similarity_cue:
            raise ValueError("features own need similarity_cue=false")


# parts of the network -------------------------------------------------------------------------


class VleBlock(nn.Module):
    """Z_CLS of each label from the tokens of its pairs; a token of zeros is none (section 3.1)."""

    def __init__(self, e: int, config: GrizalConfig) -> None:
        super().__init__()
        d = config.vle_hidden or config.width
        self.take = config.cls
        self.places = nn.Parameter(0.02 * torch.randn(_POSITIONS, e))
        self.pairs = nn.Parameter(0.02 * torch.randn(config.k, 1, e))
        self.enter = FeedForward(e, d, d)
        if self.take == "learned":
            self.cls = nn.Parameter(0.02 * torch.randn(1, 1, d))
        self.blocks = _transformer(d, config.vle_layers, config)
        self.leave = nn.Linear(d, config.width) if d != config.width else nn.Identity()

    def forward(self, tokens: Float[Tensor, "n k s e"]) -> Float[Tensor, "n d"]:
        ignore = (tokens == 0).all(dim=3).flatten(1)
        x = unit_variance(tokens) + self.places[: tokens.shape[2]] + self.pairs
        x = self.enter(x).flatten(1, 2)
        if self.take == "learned":
            x = torch.cat([self.cls.expand(len(x), -1, -1), x], dim=1)
            ignore = nn.functional.pad(ignore, (1, 0), value=False)
        z = self.blocks(x, src_key_padding_mask=ignore)
        if self.take != "mean":
            return self.leave(z[:, 0])
        valid = (~ignore).to(z)[..., None]
        return self.leave((z * valid).sum(dim=1) / valid.sum(dim=1))


class FrequencyMlp(nn.Module):
    """iFFT(MLP(FFT(x))): real and imaginary parts, the same MLP for every frequency (S.1)."""

    def __init__(self, d: int, axes: str) -> None:
        super().__init__()
        self.axes = (2, 1) if axes == "time+channel" else (1,)  # the last one is halved
        self.mlp = FeedForward(2 * d, 2 * d, 2 * d)

    def forward(self, x: Float[Tensor, "r t d"]) -> Float[Tensor, "r t d"]:
        found = torch.fft.rfftn(x, dim=self.axes, norm="ortho")
        parts = self.mlp(torch.cat([found.real, found.imag], dim=2))
        real, imaginary = parts.chunk(2, dim=2)
        sizes = [x.shape[axis] for axis in self.axes]
        mixed = torch.complex(real.contiguous(), imaginary.contiguous())
        return torch.fft.irfftn(mixed, s=sizes, dim=self.axes, norm="ortho")


class FTransformer(nn.Module):
    """The label meets the frames, which mix over frequencies and look at the flow (S.1)."""

    def __init__(self, config: GrizalConfig) -> None:
        super().__init__()
        d, heads, dropout = config.width, config.heads, config.dropout
        self.frames = Attention(d, heads, dropout=dropout)
        self.fourier = FrequencyMlp(d, config.fft_axes) if config.use_fourier else None
        self.flow = Attention(d, heads, dropout=dropout) if config.use_flow else None
        self.again = Attention(d, heads, dropout=dropout)
        self.mlp = FeedForward(d, config.inner, dropout=dropout)
        self.norms = nn.ModuleList(nn.LayerNorm(d) for _ in range(5))
        if self.fourier is None:
            self.norms[1] = nn.Identity()

    def look(self, rgb: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        """a: what no label has a part in."""
        return self.norms[0](rgb + self.frames(rgb, rgb))

    def forward(
        self,
        b: Float[Tensor, "r t d"],
        optical: Float[Tensor, "r t d"] | None,
    ) -> Float[Tensor, "r t d"]:
        """Z_ft, from frames that were told of the label."""
        _, *norms = self.norms
        c = norms[0](b + self.fourier(b)) if self.fourier is not None else b
        d = norms[1](c if self.flow is None else c + self.flow(c, optical))
        e = norms[2](d + self.again(d, d))
        return norms[3](e + self.mlp(e))


class Labels(NamedTuple):
    """What the network knows of labels before it sees a video."""

    z: Float[Tensor, "n d"]
    """Z_CLS."""
    points: Float[Tensor, "n 2 d_joint"]
    """Words, and pictures, in the joint space."""


class Frames(NamedTuple):
    """A batch of pieces before any label is met."""

    a: Float[Tensor, "b t d"]
    optical: Float[Tensor, "b t d"] | None
    points: Float[Tensor, "b t d_joint"]
    """In the joint space, of length one."""

    def some(self, which: Int[Tensor, " r"]) -> "Frames":
        optical = None if self.optical is None else self.optical[which]
        return Frames(self.a[which], optical, self.points[which])


class Output(NamedTuple):
    """What the network says of pairs of a piece and a label."""

    logits: Float[Tensor, "r t"]
    z_ft: Float[Tensor, "r t d"]


class Asked(NamedTuple):
    """Pairs of a piece and a label that a batch is trained on."""

    pieces: Int[Tensor, " r"]
    labels: Int[Tensor, " r"]
    truth: Float[Tensor, "r t"]
    """f: one where the label is shown; nowhere for an absent one."""

    @property
    def is_present(self) -> Bool[Tensor, " r"]:
        return self.truth.any(dim=1)


# the method ------------------------------------------------------------------------------------


class Grizal(Trained):
    """How likely each frame shows a label, told by generated sentences, pictures, and motion."""

    Config: ClassVar[type] = GrizalConfig
    DECODING: ClassVar[type] = RegionDecoding
    RANKING: ClassVar = {"min_score": 0.0, "label_prior": "shown"}
    AFTER_TRAINING: ClassVar[frozenset[str]] = frozenset({"at_once", "texts", "images"})
    INHERITED: ClassVar[frozenset[str]] = frozenset({"width", "heads", "use_flow", "features"})
    config: GrizalConfig

    def __init__(self, config: GrizalConfig, space: Space, widths: Widths = CLIP_WIDTHS) -> None:
        super().__init__(config, space, widths)
        d = config.width
        self.vle = VleBlock(widths.text, config)
        self.enter_rgb = FeedForward(widths.video, d, d)
        if config.use_flow:
            self.enter_flow = FeedForward(widths.video, d, d)
            self.ofe = _transformer(d, config.ofe_layers, config)
        if config.similarity_cue:
            self.cue = nn.Linear(4, d, bias=False)
        self.f_transformers = nn.ModuleList(FTransformer(config) for _ in range(config.f_layers))
        self.head = FeedForward(d, d // 2, 1)

    @property
    def _blocks(self) -> list[FTransformer]:
        return [block for block in self.f_transformers if isinstance(block, FTransformer)]

    @classmethod
    def traits_of(cls, config: GrizalConfig) -> Traits:
        return replace(super().traits_of(config), sees_flow=config.use_flow, task=config.task)

    @classmethod
    def templates_of(cls, config: GrizalConfig) -> tuple[str, ...]:
        return ("{}",) if config.task == "mr" else ()

    @classmethod
    def pairing_of(cls, config: GrizalConfig) -> Pairing:
        return Pairing(
            config.joint_encoder,
            config.k,
            config.text_tokens,
            has_images=config.images != "none" and config.joint_encoder != "text",
            has_texts=config.texts != "none",
        )

    # what goes in -------------------------------------------------------------------------

    def piece(self, snippets: Snippets, grid: SnippetGrid) -> Float[Array, "t d_in"]:
        """Frames, and beside them the flow."""
        rgb = super().piece(snippets, grid)
        if not self.config.use_flow:
            return rgb
        flow = snippets.flow
        if flow is None:
            raise FeatureError(
                "This grizal sees optical flow, and there is none. Extract it (openmoment features "
                "extract --flow dis), or train with use_flow=false."
            )
        moving = self.to_features(resample(flow.features, flow.grid, grid))
        return np.concatenate([rgb, moving], axis=1)

    def to_texts(self, queries: Queries) -> Float[Array, "n k_plus_1 s d"]:
        """The pairs of each label, and before them its two points in the joint space.

        A label without pairs is the only token of one.
        """
        if queries.pairs is None:
            rows = super().to_texts(queries).reshape(len(queries), -1, self.widths.text)[:, 0]
            points = unit(rows)[:, None]
            tokens = np.repeat(points[:, :, None], self.config.k, axis=1)
            points = np.concatenate([points, np.zeros_like(points)], axis=1)
        else:
            tokens, points = queries.pairs
        num, _, s, width = tokens.shape
        if s > _POSITIONS or width != self.widths.text:
            raise FeatureError(
                f"The pairs of the labels have {s} tokens of width {width}, this model reads "
                f"{_POSITIONS} of {self.widths.text}."
            )
        if bare := np.flatnonzero(~tokens.any(axis=(1, 2, 3))).tolist():
            raise FeatureError(
                f"The joint encoder {self.config.joint_encoder} has nothing to read of "
                f"{queries.names[bare[0]]!r}. Give pictures of it (--priors), or use clip."
            )
        texts = np.zeros((num, self.config.k + 1, max(2, s), width), dtype=np.float32)
        texts[:, 0, :2] = points
        texts[:, 1:, :s] = tokens
        return texts

    # network ------------------------------------------------------------------------------

    def read_texts(self, names: Sequence[str], texts: Float[Tensor, "n k_plus_1 s d"]) -> Labels:
        parts = texts[:, 1:].split(_LABELS_AT_ONCE)
        return Labels(torch.cat([self.vle(part) for part in parts]), texts[:, 0, :2])

    def read_frames(self, features: Float[Tensor, "b t d_in"]) -> Frames:
        """The frames' own part of the first F-Transformer, and the flow."""
        rgb, flow = features[..., : self.widths.video], features[..., self.widths.video :]
        optical = None
        if self.config.use_flow:
            optical = self.ofe(self._placed(self.enter_flow(unit_variance(flow))))
        x = self._placed(self.enter_rgb(unit_variance(rgb)))
        return Frames(self._blocks[0].look(x), optical, normalize(rgb, dim=2))

    def score(self, frames: Frames, labels: Labels) -> Output:
        """Row by row: the first piece for the first label, the second for the second …"""
        x, z = frames.a, labels.z[:, None]
        for i, block in enumerate(self._blocks):
            b = (x if i == 0 else block.look(x)) + z
            if self.config.similarity_cue:
                b = b + self.cue(_cues(frames.points, labels.points))
            x = block(b, frames.optical)
        if self.config.losses == "self_supervised":
            return Output(_COSINE_SCALE * cosine_similarity(x, z, dim=2), x)
        return Output(self.head(x).squeeze(2), x)

    def _placed(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        return x + sine_positions(*x.shape[1:]).to(x) if self.config.positions else x

    # training (section 3.2) -----------------------------------------------------------------

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        asked = pairs_of(batch, self.config.negative_ratio)
        used, place = asked.labels.unique(return_inverse=True)
        known = self.read_texts([batch.names[i] for i in used.tolist()], batch.texts[used])
        labels = Labels(known.z[place], known.points[place])
        logits, z_ft = self.score(self.read_frames(batch.features).some(asked.pieces), labels)
        shown = asked.is_present
        truth = asked.truth[shown]
        terms: dict[str, Tensor] = {}
        if self.config.losses != "self_supervised":
            terms["bce"] = binary_cross_entropy_with_logits(logits, asked.truth)
            p = logits[shown].sigmoid()
            terms["tiou"] = soft_tiou_loss(p, truth).sum() / max(1, len(truth))
        if self.config.losses != "supervised":
            v = torch.einsum("rt,rtd->rd", truth, z_ft[shown]) / truth.sum(dim=1)[:, None]
            z, weight = labels.z[shown], self._self_supervised_weight
            terms["cos"] = weight * (1 - cosine_similarity(z, v)).sum() / max(1, len(truth))
            terms["nce"] = weight * contrast(z, v, asked.labels[shown])
        return terms

    @property
    def _self_supervised_weight(self) -> float:
        """The share of two losses beside the two others; all of them where they are alone."""
        alone = self.config.losses == "self_supervised"
        return 1.0 if alone else self.config.self_supervised_weight

    # inference (5.4) ------------------------------------------------------------------------

    def candidates(
        self, features: Float[Tensor, "b t d_in"], texts: Labels
    ) -> Iterator[tuple[Float[Array, "n t"], Candidates]]:
        frames = self.read_frames(features)
        num = len(texts.z)
        for piece in range(len(features)):
            curve = torch.cat(
                [
                    self._scores(frames, piece, texts, slice(i, i + self.config.at_once))
                    for i in range(0, num, self.config.at_once)
                ]
            )
            p = curve.cpu().numpy().astype(np.float64)
            prior = self._prior(frames.points[piece], texts.points).cpu().numpy()
            yield p, decode_regions(p, prior.astype(np.float64), self.config)

    def _scores(
        self, frames: Frames, piece: int, texts: Labels, which: slice
    ) -> Float[Tensor, "n t"]:
        """p of some labels in a piece."""
        z, points = texts.z[which], texts.points[which]
        same = torch.full((len(z),), piece, device=z.device)
        return self.score(frames.some(same), Labels(z, points)).logits.sigmoid()

    def _prior(
        self, points: Float[Tensor, "t d"], labels: Float[Tensor, "n 2 d_text"]
    ) -> Float[Tensor, " n"]:
        """Which of the labels it is at all, by the mean frame; one for each where not asked for.

        Sentences do not exclude each other; features of another encoder are like no label.
        """
        how = self.config
        if how.label_prior == "none" or how.task == "mr" or how.features == "own":
            return points.new_ones(len(labels))
        shown = labels[:, 0] if how.label_prior == "clip" else labels.sum(dim=1)
        alike = normalize(shown, dim=1) @ normalize(points.mean(dim=0), dim=0)
        return (how.prior_scale * alike).softmax(dim=0)

    def to_detections(
        self, pieces: Sequence[tuple[SnippetGrid, Any]], names: Sequence[str]
    ) -> Detections:
        return to_detections(pieces, names, self.config)


def _transformer(d: int, layers: int, config: GrizalConfig) -> nn.TransformerEncoder:
    """Blocks that normalise first."""
    block = nn.TransformerEncoderLayer(
        d,
        config.heads,
        config.inner,
        dropout=config.dropout,
        activation="gelu",
        norm_first=True,
        batch_first=True,
    )
    return nn.TransformerEncoder(block, layers, norm=nn.LayerNorm(d), enable_nested_tensor=False)


def _cues(frames: Float[Tensor, "r t d"], labels: Float[Tensor, "r 2 d"]) -> Float[Tensor, "r t 4"]:
    """How alike a frame is to the words and to the pictures, and how much more than the others."""
    alike = 10 * frames @ labels.transpose(1, 2)
    return torch.cat([alike, alike - alike.mean(dim=1, keepdim=True)], dim=2)


# losses ----------------------------------------------------------------------------------------


def pairs_of(batch: Batch, negative_ratio: float) -> Asked:
    """Every piece with every label that it shows, and with labels that it does not, drawn."""
    pieces: list[int] = []
    labels: list[int] = []
    truth: list[Tensor] = []
    nothing = batch.features.new_zeros(batch.features.shape[1])
    for piece, (masks, own, _) in enumerate(batch.instances):
        present = own.unique()
        is_absent = torch.ones(len(batch.names), dtype=torch.bool, device=own.device)
        is_absent[present] = False
        absent = is_absent.nonzero().squeeze(1)
        num = min(round(negative_ratio * max(1, len(present))), len(absent))
        drawn = absent[torch.randperm(len(absent))[:num].to(absent)]
        labels += [*present.tolist(), *drawn.tolist()]
        truth += [masks[own == label].any(dim=0).to(nothing) for label in present]
        truth += [nothing] * num
        pieces += [piece] * (len(present) + num)
    if not truth:  # nothing is shown at all: what is absent is all there is to learn
        return pairs_of(batch, 1.0)
    where = batch.features.device
    return Asked(
        torch.tensor(pieces, device=where), torch.tensor(labels, device=where), torch.stack(truth)
    )


def soft_tiou_loss(p: Float[Tensor, "r t"], truth: Float[Tensor, "r t"]) -> Float[Tensor, " r"]:
    """L_tIoU: one minus the overlap over the union, of probabilities."""
    overlap = (p * truth).sum(dim=1)
    return 1 - overlap / (p + truth - p * truth).sum(dim=1)


def contrast(
    z: Float[Tensor, "r d"], v: Float[Tensor, "r d"], labels: Int[Tensor, " r"]
) -> Float[Tensor, ""]:
    """L_NCE, symmetric: a label's vector and its frames against those of other labels.

    Of several processes each contrasts what it has. 0 for no pair.
    """
    if not len(z):
        return z.sum()
    alike = normalize(z, dim=1) @ normalize(v, dim=1).T / _TEMPERATURE
    is_same = labels[:, None] == labels
    is_same.fill_diagonal_(False)
    alike = alike.masked_fill(is_same, float("-inf"))
    own = alike.diagonal()
    return ((alike.logsumexp(dim=1) - own) + (alike.logsumexp(dim=0) - own)).mean() / 2


# decoding --------------------------------------------------------------------------------------


def decode_regions(
    p: Float[Array, "n t"], prior: Float[Array, " n"], how: RegionDecoding
) -> Candidates:
    """Each label's runs above each threshold, by how far they stand out, times its prior.

    A run's score is its mean p less the mean p of its flanks, which end with the piece; not
    below 0.
    """
    sums = np.concatenate([np.zeros((len(p), 1)), np.cumsum(p, axis=1)], axis=1)
    found: list[Candidates] = []
    for label, curve in enumerate(p):
        spans = [runs(curve > threshold) for threshold in how.thresholds]
        spans = np.unique(np.concatenate(spans), axis=0)
        scores = _contrasts(sums[label], spans, how.flank) * prior[label]
        found.append(Candidates(spans, np.full(len(spans), label), np.clip(scores, 0, None)))
    return Candidates(*(np.concatenate(column) for column in zip(*found, strict=True)))


def _contrasts(
    sums: Float[Array, " t_plus_1"], spans: Int[Array, "m 2"], flank: float
) -> Float[Array, " m"]:
    """The mean inside each run less that of its flanks, where it has some."""
    first, last = spans.T
    width = np.ceil(flank * (last - first)).astype(np.int64)
    before, after = np.maximum(first - width, 0), np.minimum(last + width, len(sums) - 1)
    inside = sums[last] - sums[first]
    outside = sums[after] - sums[before] - inside
    num = (after - before) - (last - first)
    return inside / np.maximum(last - first, 1) - outside / np.maximum(num, 1)
