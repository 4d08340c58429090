"""UnLoc: words and frames in one transformer, a pyramid from the frames, and two heads for all.

Yan et al., UnLoc: A Unified Framework for Video Localization Tasks, ICCV 2023. For every text the
tokens of the frames and of the text attend to each other; what the frames became says, at each
position of a pyramid, how relevant it is to the text and how far it is to the start and the end.
Temporal action localization, moment retrieval and action segmentation differ in texts, targets
and decoding alone. Sections and tables are the paper's; where it is silent, docs/methods.md says
what we chose. Axes: b pieces, t snippets (the paper's frames), k texts, p prompts of a text, d
width inside.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray as Array
from torch import Tensor, nn
from torch.nn.functional import normalize

from openmoment.blocks.attention import unit_variance
from openmoment.blocks.batch import Batch, Instances
from openmoment.blocks.borrowed import learning_image_tower
from openmoment.blocks.class_sampling import all_classes, among, some_classes
from openmoment.blocks.fusion import Fusion, Likeness
from openmoment.blocks.labels import clip_loss, frame_loss, label_runs
from openmoment.blocks.losses import focal
from openmoment.blocks.pairs import Frames, as_one, cues, for_all, pair
from openmoment.blocks.points import (
    PointDecoding,
    Points,
    curves_of,
    displacement_loss,
    join_points,
    level_ranges,
    point_targets,
    propose,
    suppress,
    to_seconds,
)
from openmoment.blocks.processes import mean_over_processes
from openmoment.blocks.pyramid import FeaturePyramid, Head, Level, VitDetPyramid
from openmoment.blocks.text_reader import TextReader
from openmoment.blocks.time_axis import TimeAxis
from openmoment.blocks.words import (
    Words,
    asked_prompts,
    class_places,
    embedded_words,
    in_prompts,
    read_words,
)
from openmoment.encoders.base import Encoder, Space, TakesImageTower
from openmoment.encoders.prompts import KINETICS_PROMPTS
from openmoment.errors import ConfigError
from openmoment.methods.base import Answer
from openmoment.methods.trained import CLIP_WIDTHS, ParameterGroup, Trained, TrainedConfig, Widths
from openmoment.methods.traits import Traits
from openmoment.postprocess import merge
from openmoment.types import Detections, Queries, SnippetGrid, Snippets

Task = Literal["tal", "mr", "as", "clips"]
"""The last is what a network may begin with: is this clip of that class (section 4.1.2)?"""

_PLAIN = "a video of {}."  # where a tower reads names whose prompts are the backbone's own

_RELEVANCE_BIAS = {"tal": -5.0, "mr": 0.0, "as": -6.6, "clips": -5.0}
_LATE_SCALE = 10.0  # of cosines, at first
_DISPLACEMENT_BIAS = 2.0  # above the ReLU's bend, so that the head begins alive
_FLOOR = 1e-6


@dataclass(frozen=True)
class UnLocConfig(PointDecoding, TrainedConfig):
    """The defaults are those of the ``recommended`` presets. Raises ValueError."""

    length: int = 128  # N, the paper's frames
    task: Task = "tal"
    stretch: bool = True  # a video shorter than a window; else it is padded in training
    width: int = 512  # K
    heads: int = 8
    inner: int = 2048  # of the MLPs
    layers: int = 6  # of the fusion transformer
    dropout: float = 0.0
    fusion: Literal["mid", "late", "none"] = "mid"
    pyramid: Literal["vitdet", "fpn", "none"] = "vitdet"
    levels: int = 4
    range_bounds: tuple[float, ...] = ()  # between the levels, in snippets; none: 4, 8, 16 ...
    radius: float = 3.0  # of centre sampling, in positions of a level; 0: all of an instance
    head_convs: int = 3
    per_class_displacement: bool = True  # else the frames alone say where the ends are
    reg_loss: Literal["l1", "iou", "diou", "l1+iou"] = "l1"
    relevance_weight: float = 10.0  # w
    num_negative_classes: int = 15  # besides those of a batch; 0: all
    prompts: Literal["own", "first", "ensemble"] = "own"  # the backbone's, or of CLIP's 28
    tied_entry: bool = True  # frames and texts begin with the same projection; False: paper
    similarity_cue: bool = True  # a frame is told how alike the backbone finds it; False: paper
    learned_cues: int = 0  # and how alike it is in so many ways that are learned
    tune_image: bool = False  # the image tower learns, from frames
    tune_text: bool = False  # the text tower learns
    image_lr_scale: float = 0.1
    text_lr_scale: float = 0.1
    grad_checkpointing: bool = False  # of the image tower: less memory, a third more time
    text_tower: Literal["clip", "t5-small", "t5-base"] = "clip"  # clip: the backbone's own
    text_tokens: Literal["one", "all"] = "one"
    max_text_tokens: int = 16  # of text_tokens all
    classes: tuple[str, ...] = ()  # that fusion none has a weight for; those trained on
    at_once: int = 64  # pairs of piece and text that go through the network together

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width % self.heads:
            raise ValueError(f"width {self.width} must be a multiple of heads {self.heads}")
        if min(self.layers, self.levels, self.at_once) < 1 or self.head_convs < 0:
            raise ValueError("layers, levels and at_once must be 1 or more, head_convs 0 or more")
        if self.pyramid == "none" and self.levels != 1:
            raise ValueError("pyramid none has one level: levels=1")
        if self.pyramid == "fpn" and self.levels > self.layers:
            raise ValueError("pyramid fpn takes one level from each of the last layers")
        if self.fusion == "none" and self.task != "tal":
            raise ValueError("fusion none knows its classes alone: task=tal")
        if self.task == "clips" and (self.fusion, self.time_axis) != ("mid", "rescale"):
            raise ValueError("task clips sees whole clips and their names: fusion=mid rescale")
        if self.features == "own" and (self.similarity_cue or self.tied_entry):
            raise ValueError("features own need similarity_cue=false tied_entry=false")
        if self.learned_cues < 0 or (self.learned_cues and not self.similarity_cue):
            raise ValueError("learned_cues must be 0 or more, and need similarity_cue=true")
        if self.features == "own" and self.tune_image:
            raise ValueError("tune_image sees frames, not features of its own")
        if (self.text_tokens == "all" or self.text_tower != "clip") and self.tied_entry:
            raise ValueError("text_tokens all and text_tower t5 need tied_entry=false")
        level_ranges(self.levels, self.range_bounds)

    @property
    def axis(self) -> TimeAxis:
        return TimeAxis(self.time_axis, self.length, self.window_fps, self.overlap, self.stretch)

    @property
    def reads_words(self) -> bool:
        """Whether texts are read by a tower of its own, and not embedded by the backbone."""
        reads = self.tune_text or self.text_tokens == "all" or self.text_tower != "clip"
        return reads and self.fusion != "none"

    @property
    def tells_order(self) -> bool:
        """Whether a frame is told if it is like the beginning of a text, or like its end."""
        return self.similarity_cue and self.text_tokens == "all" and self.text_tower == "clip"


class Output(NamedTuple):
    """What the heads say at each level's positions."""

    logits: list[Float[Tensor, "b k _"]]
    displacements: list[Float[Tensor, "b k _ 2"]]  # in units of the level
    valid: list[Bool[Tensor, "b _"] | None]


# the method ------------------------------------------------------------------------------------


class UnLoc(Trained):
    """Relevance and displacements of every text at every position of a pyramid."""

    Config: ClassVar[type] = UnLocConfig
    DECODING: ClassVar[type] = PointDecoding
    RANKING: ClassVar = {"min_score": 0.001}
    AFTER_TRAINING: ClassVar[frozenset[str]] = frozenset({"prompts", "at_once"})
    INHERITED: ClassVar[frozenset[str]] = frozenset({"width", "heads", "text_tower", "features"})
    config: UnLocConfig

    def __init__(self, config: UnLocConfig, space: Space, widths: Widths = CLIP_WIDTHS) -> None:
        super().__init__(config, space, widths)
        self.image = self.reader = self.likeness = None
        if config.tune_image:
            self.image = learning_image_tower(space, checkpointing=config.grad_checkpointing)
        if config.reads_words:
            self.reader = TextReader(
                space,
                tokens=config.text_tokens,
                max_tokens=config.max_text_tokens,
                finetune=config.tune_text,
                tower=config.text_tower,
            )
        self._make_entries()
        self.fusion = Fusion(
            config.width,
            config.heads,
            config.inner,
            config.layers,
            dropout=config.dropout,
            num_levels=config.levels if self._has_fpn else 1,
        )
        self._make_heads()

    def _make_entries(self) -> None:
        """From features, texts and cues to the width inside."""
        config, d = self.config, self.config.width
        read = self.reader.width if self.reader else self.widths.text
        self.enter_video = nn.Linear(self.widths.video, d, bias=False)
        self.enter_text = nn.Linear(read, d, bias=False)
        if config.tied_entry:
            with torch.no_grad():
                self.enter_text.weight.copy_(self.enter_video.weight)
        if config.similarity_cue:
            num_cues = 1 + config.tells_order + config.learned_cues
            self.cue = nn.Linear(2 * num_cues, d, bias=False)
        if config.learned_cues:
            self.likeness = Likeness(self.widths.video, config.learned_cues)

    def _make_heads(self) -> None:
        """The pyramid and what reads it (sections 3.3 and 3.4), as the task has them."""
        config, d, bias = self.config, self.config.width, _RELEVANCE_BIAS[self.config.task]
        if config.fusion == "late":
            self.log_scale = nn.Parameter(torch.tensor(_LATE_SCALE).log())
            self.late_bias = nn.Parameter(torch.tensor(bias))
        if config.task == "clips":
            self.video_head = Head(d, 0, 1, bias)
            return
        if config.task == "as":
            self.norm = nn.LayerNorm(d)
            self.relevance = Head(d, 0, 1, bias)
            return
        pyramid = FeaturePyramid if config.pyramid == "fpn" else VitDetPyramid
        self.pyramid = pyramid(d, config.levels) if config.pyramid != "none" else None
        num = max(1, len(config.classes)) if config.fusion == "none" else 1
        self.relevance = Head(d, config.head_convs, num, bias)
        self.displacement = Head(d, config.head_convs, 2 * num, _DISPLACEMENT_BIAS)
        self.level_scales = nn.Parameter(torch.ones(config.levels))
        self.level_shifts = nn.Parameter(torch.zeros(config.levels))

    @property
    def _has_fpn(self) -> bool:
        return self.config.pyramid == "fpn" and self.config.task in ("tal", "mr")

    @classmethod
    def traits_of(cls, config: UnLocConfig) -> Traits:
        return replace(super().traits_of(config), sees_frames=config.tune_image, task=config.task)

    @classmethod
    def templates_of(cls, config: UnLocConfig) -> tuple[str, ...]:
        if config.task == "mr":
            return ("{}",)
        return () if config.prompts == "own" else KINETICS_PROMPTS

    @classmethod
    def prepare(cls, config: Any, names: Sequence[str]) -> Any:
        """Without a text there is a weight for each class, and none for any other."""
        return replace(config, classes=tuple(names)) if config.fusion == "none" else config

    def parameter_groups(self) -> list[ParameterGroup]:
        """The towers that learn have their own rates."""
        text = self.reader.tower if self.reader else None
        return self.parted(
            (self.image, self.config.image_lr_scale), (text, self.config.text_lr_scale)
        )

    def adapted(self, encoder: Encoder) -> Encoder:
        if self.image is None:
            return encoder
        assert isinstance(encoder, TakesImageTower)
        return encoder.with_image_tower(self.image)

    # network ------------------------------------------------------------------------------

    def read_texts(
        self,
        names: Sequence[str],
        texts: Float[Tensor, "k *p d"],
        drawn: Int[Tensor, " k"] | None = None,
    ) -> Words:
        """The tokens of each text, in all of its prompts, or in the one that is ``drawn``.

        A tower reads no more prompts than a question is asked in.
        Raises ConfigError for a class without a weight, where texts are not read.
        """
        texts = texts if texts.ndim == 3 else texts[:, None]
        is_asked_once = self.reader is not None and self.config.prompts != "ensemble"
        asked = asked_prompts(texts, drawn, first_alone=is_asked_once)
        texts = texts.take_along_dim(asked[..., None], dim=1)
        if self.config.fusion == "none":
            places = class_places(names, self.config.classes).to(texts.device)
            return embedded_words(texts, self.enter_text, places)
        if self.reader is None:
            return embedded_words(texts, self.enter_text)
        return read_words(
            in_prompts(names, self.templates or (_PLAIN,), asked),
            texts,
            self.reader,
            self.enter_text,
            tokens=self.config.text_tokens,
            tells_order=self.config.tells_order,
        )

    def _seen(self, batch: Batch) -> Batch:
        """With features in place of frames."""
        if self.image is None:
            return batch
        features = self.space.image_to_joint(self.image(batch.features))  # type: ignore[attr-defined]
        return replace(batch, features=features)

    def read_frames(
        self, features: Float[Tensor, "b t d_in"], valid: Bool[Tensor, "b t"] | None = None
    ) -> Frames:
        """What the texts share of pieces of video."""
        tokens = self.enter_video(unit_variance(features))
        return Frames(tokens, normalize(features, dim=2), valid)

    def predict(self, frames: Frames, words: Words, prompt: int | Int[Tensor, " k"] = 0) -> Output:
        """The heads' output for every piece and text, in the prompt of that number, or numbers."""
        words = words.prompted(prompt)
        match self.config.fusion:
            case "mid":
                return self._predict_pairs(frames, words)
            case "late":
                return self._predict_late(frames, words)
            case _:
                return self._predict_classes(frames, words)

    def _predict_pairs(self, frames: Frames, words: Words) -> Output:
        """Each text with the frames of each piece (section 3.2)."""
        shape = (len(frames.tokens), len(words))
        fused = self.fusion(*self._pairs(frames, words))
        if self.config.task == "clips":
            whole = self.video_head(as_one(fused[0]))
            return Output([whole.squeeze(2).unflatten(0, shape)], [], [None])
        levels = self._levels(fused)
        logits = [self.relevance(level).squeeze(2).unflatten(0, shape) for level in levels]
        valid = [None if x.valid is None else x.valid.unflatten(0, shape)[:, 0] for x in levels]
        if self.config.task == "as":
            return Output(logits, [], valid)
        if self.config.per_class_displacement:
            reaches = [r.unflatten(0, shape) for r in self._displacements(levels)]
        else:
            alone = self.fusion(Level(frames.tokens, frames.valid), None, None)
            shared = self._displacements(self._levels(alone))
            reaches = [for_all(reach, len(words)) for reach in shared]
        return Output(logits, reaches, valid)

    def _pairs(self, frames: Frames, words: Words) -> tuple[Level, Tensor, Tensor | None]:
        """The tokens of each piece with each text, pieces first."""
        is_told = self.config.similarity_cue
        told = self.cue(cues(frames, words, self.likeness)) if is_told else None
        return pair(frames, words, told)

    def _levels(self, fused: list[Level]) -> list[Level]:
        """The pyramid (section 3.3); segmentation has its lowest level alone, unconvolved."""
        if self.config.task == "as":
            return [Level(self.norm(fused[0].x), fused[0].valid)]
        match self.pyramid:
            case None:
                return fused
            case FeaturePyramid():
                return self.pyramid(fused)
            case pyramid:
                return pyramid(fused[0])

    def _displacements(self, levels: list[Level]) -> list[Float[Tensor, "b _ out"]]:
        """``ReLU(scale_l * out + shift_l)`` (section 3.4)."""
        scaled = zip(levels, self.level_scales, self.level_shifts, strict=True)
        return [(scale * self.displacement(x) + shift).relu() for x, scale, shift in scaled]

    def _predict_late(self, frames: Frames, words: Words) -> Output:
        """Texts are met after the pyramid, by a cosine; where the ends are no text decides."""
        levels = self._levels(self.fusion(Level(frames.tokens, frames.valid), None, None))
        texts = normalize(words.tokens[:, 0].mean(dim=1), dim=1)
        seen = [normalize(self.relevance.features(level), dim=2) for level in levels]
        scale = self.log_scale.exp()
        logits = [scale * texts @ x.transpose(1, 2) + self.late_bias for x in seen]
        shared = [] if self.config.task == "as" else self._displacements(levels)
        reaches = [for_all(reach, len(texts)) for reach in shared]
        return Output(logits, reaches, [level.valid for level in levels])

    def _predict_classes(self, frames: Frames, words: Words) -> Output:
        """Without any text: a weight for each class."""
        assert words.places is not None
        levels = self._levels(self.fusion(Level(frames.tokens, frames.valid), None, None))
        logits = [self.relevance(x).transpose(1, 2)[:, words.places] for x in levels]
        reaches = [r.unflatten(2, (-1, 2)).transpose(1, 2) for r in self._displacements(levels)]
        reaches = [r[:, words.places] for r in reaches]
        return Output(logits, reaches, [level.valid for level in levels])

    # loss ---------------------------------------------------------------------------------

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Section 3.5: focal relevance over all positions, and displacements where positive."""
        batch = self._seen(batch)
        frames = self.read_frames(batch.features, batch.valid)
        chosen = self._choose_classes(batch)
        names = [batch.names[i] for i in chosen.tolist()]
        texts = batch.texts[chosen]
        num_prompts = texts.shape[1] if texts.ndim == 3 else 1
        drawn = torch.randint(num_prompts, (len(names),), device=chosen.device)
        out = self.predict(frames, self.read_texts(names, texts, drawn))
        instances = [among(i, chosen) for i in batch.instances]
        if self.config.task == "clips":
            return {"classes": clip_loss(out.logits[0].squeeze(2), instances)}
        if self.config.task == "as":
            return {"relevance": frame_loss(out.logits[0], instances, frames.valid)}
        return self._point_losses(out, instances, batch.features.shape[1])

    def _choose_classes(self, batch: Batch) -> Int[Tensor, " c"]:
        """Those that occur, and so many others at random: fusing with all would not fit."""
        wanted = self.config.num_negative_classes
        if self.config.task == "mr" or self.config.fusion == "none" or not wanted:
            return all_classes(batch)
        return some_classes(batch, wanted)

    def _point_losses(self, out: Output, instances: list[Instances], t: int) -> dict[str, Tensor]:
        config = self.config
        ranges = level_ranges(config.levels, config.range_bounds)
        relevance = out.logits[0].new_zeros(())
        found, wanted = [], []
        num_positions = 0.0
        for level, (logits, reach) in enumerate(zip(out.logits, out.displacements, strict=True)):
            k = logits.shape[1]
            parts = [
                point_targets(i, t, k, level, ranges[level], radius=config.radius)
                for i in instances
            ]
            positive = torch.stack([part.positive for part in parts])
            terms = focal(logits, positive.to(logits.dtype)).sum(dim=1)  # over classes
            valid = out.valid[level]
            relevance = relevance + (terms if valid is None else terms[valid]).sum()
            num_positions += terms.numel() if valid is None else float(valid.sum())
            found.append(reach[positive])
            wanted.append(torch.stack([part.displacements for part in parts])[positive])
        off = displacement_loss(torch.cat(found), torch.cat(wanted), config.reg_loss)
        num_positive = mean_over_processes(relevance.new_tensor(float(len(off)))).clamp(min=1)
        num_all = mean_over_processes(relevance.new_tensor(num_positions))
        return {
            "relevance": config.relevance_weight * relevance / num_all,
            "displacement": off.sum() / num_positive,
        }

    # decoding -----------------------------------------------------------------------------

    def told(self, settings: Mapping[str, object]) -> Trained:
        self._require_moments()
        return super().told(settings)

    def answer(self, snippets: Snippets, queries: Queries) -> Answer:
        self._require_moments()
        return super().answer(snippets, queries)

    def _require_moments(self) -> None:
        """Raises ConfigError where the network says of whole clips alone what they show."""
        if self.config.task == "clips":
            raise ConfigError(
                "This unloc learned of whole clips and finds no moments yet. Train it on: "
                "openmoment train unloc ... --init DIR."
            )

    def candidates(
        self, features: Float[Tensor, "b t d"], texts: Words
    ) -> Iterator[tuple[Float[Array, "k t"], Points]]:
        """All texts, some at a time: what is answered does not depend on how many."""
        frames = self.read_frames(features)
        b, t = features.shape[:2]
        some = max(1, self.config.at_once // b)
        curves = np.zeros((b, len(texts), t))
        found: list[list[Points]] = [[] for _ in range(b)]
        for first in range(0, len(texts), some):
            part = texts.some(slice(first, first + some))
            out = self._ask(frames, part)
            labels = np.arange(first, first + len(part))
            scores = [logits.sigmoid().double().cpu().numpy() for logits in out.logits]
            reaches = [r.double().cpu().numpy() for r in out.displacements]
            for i in range(b):
                mine = [score[i] for score in scores]
                curves[i, labels] = curves_of(mine, t)
                if reaches:
                    ends = [r[i] for r in reaches]
                    found[i].append(propose(mine, ends, t, self.config, labels=labels))
        for curve, parts in zip(curves, found, strict=True):
            yield curve, join_points(parts, self.config) if parts else label_runs(curve)

    def _ask(self, frames: Frames, words: Words) -> Output:
        """In the first prompt, or the mean over all of them."""
        num = words.tokens.shape[1] if self.config.prompts == "ensemble" else 1
        outs = [self.predict(frames, words, prompt) for prompt in range(num)]
        if num == 1:
            return outs[0]
        logits, reaches = zip(*((out.logits, out.displacements) for out in outs), strict=True)
        means = [
            [torch.stack(level).mean(dim=0) for level in zip(*levels, strict=True)]
            for levels in (logits, reaches)
        ]
        return Output(means[0], means[1], outs[0].valid)

    def to_detections(
        self, pieces: Sequence[tuple[SnippetGrid, Points]], names: Sequence[str]
    ) -> Detections:
        if self.config.task == "as":
            return merge(to_seconds(pieces, names), max_gap_s=_FLOOR)  # across windows
        by_label = self.config.nms_per_label or self.config.task == "mr"
        return suppress(to_seconds(pieces, names), self.config, per_label=by_label)
