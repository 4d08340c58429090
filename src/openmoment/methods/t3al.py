"""T3AL: test-time adaptation for zero-shot temporal action localization.

Liberatori et al., Test-Time Zero-Shot Temporal Action Localization, CVPR 2024. For each video
alone, both projections of a frozen vision and language model are adapted by self-supervision, the
video is localized, and everything is thrown away: nothing reaches the next video.

What we decide where paper and released code differ is said at each step; `presets/t3al` holds the
paper's values, ours and the code's. What makes it quick: texts and frames enter before their
projections and are encoded once; a step needs gradients for 2K frames only; the score of the
others is one matrix-vector product, because (h W) t = h (W t). Their lengths |h W|, the only
thing that needs the whole product, are brought up to date every ``norms_every`` steps.

Axes: t snippets, k queries, n regions, d_h and d_txt before the projections, d after.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray as Array

from openmoment.encoders.base import HasTextTower, Space, Towers
from openmoment.errors import ConfigError
from openmoment.methods.oracles import Oracle
from openmoment.methods.standing import Standing, standing_of
from openmoment.methods.traits import Traits
from openmoment.postprocess import MIN_FIT, MIN_PRESENCE, SURE, Decision, bridge, decide, nms, runs
from openmoment.types import Detections, Queries, SnippetGrid, Snippets

if TYPE_CHECKING:
    from torch import Tensor

    from openmoment.encoders.towers.text_tower import Prompt

CODE_FPS = 30.0
"""All lengths in frames are meant at this rate, and are scaled to the snippets'."""

_BLOCK = 2048  # rows projected at a time, so that no second copy of the features is made


@dataclass(frozen=True)
class T3alConfig:
    """The recommended values; those of the paper and of its code are presets."""

    labels: Literal["single", "multi"] = "multi"  # the paper gives one label to a whole video
    min_presence: float = MIN_PRESENCE  # multi: a query below is not looked for
    sure: float = SURE  # multi: a query of less presence has its best region alone, as a guess
    min_fit: float = MIN_FIT  # multi: weaker regions go, as shares of the presence; not the best
    steps: int = 60  # 0 is T3AL at T = 0
    patience: int = 5  # stop after so many steps without a smaller loss; 0 never stops
    lr: float = 1e-5
    vision_lr_scale: float = 1.0
    weight_decay: float = 0.0
    loss: Literal["lz+ls", "lz", "ls", "bce"] = "lz+ls"
    lz: Literal["pairs", "text"] = "pairs"  # eq. 6; the code: positives against the text
    ls_smoothing: float = 0.0
    adapt_vision: bool = True
    adapt_text: bool = True
    adapt_tau: bool = True
    adapt_text_encoder: bool = False  # the whole text tower, which then runs at every step
    num_samples: int = 4  # K, of each kind
    pool_factor: int = 100  # samples are drawn from so many times K frames
    pools: Literal["disjoint", "code"] = "disjoint"
    jitter_frames: int = 10
    remove_background: bool = True  # the video's mean feature, at its initial value
    smooth_frames: int = 20
    smooth_in_loop: bool = True
    gamma: Literal["mean", "fixed"] = "mean"
    gamma_value: float = 0.7  # of scores between 0 and 1, for "fixed"
    max_gap_frames: int = 20
    region_label: Literal["pseudo", "region"] = "pseudo"
    suppression: bool = True  # takes captions; without them nothing is suppressed
    beta: float = 0.75  # captions this alike agree
    alpha: float = 0.5  # a region stays if a larger share of the regions agrees with it
    cosine_in_loop: bool = True  # the code adapts on dot products, and ends with cosines
    norms_every: int = 10  # 1 is exact
    nms_tiou: float = 0.5  # between queries, in "multi" only
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "patience", "jitter_frames", "smooth_frames", "max_gap_frames"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be 0 or more, got {getattr(self, name)}")
        for name in ("num_samples", "pool_factor", "norms_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, got {getattr(self, name)}")


@dataclass(frozen=True)
class Region:
    """A proposed segment and what became of it."""

    segment: tuple[float, float]
    label: int
    score: float
    support: float
    """The share of the regions whose captions agree with its own; 1 without captions."""
    is_kept: bool


@dataclass(frozen=True)
class Adaptation:
    """One query's way through the algorithm, to be looked at."""

    label: int
    before: Float[Array, " t"]
    after: Float[Array, " t"]
    losses: tuple[float, ...]
    positives: Int[Array, " p"]
    negatives: Int[Array, " p"]
    """The snippets drawn at the last step."""
    regions: tuple[Region, ...]


@dataclass(frozen=True)
class Explanation:
    """The answer and how it came about."""

    detections: Detections
    curves: Float[Array, "k t"]
    """Each query's score in [0, 1]; 0 where the query was not looked for."""
    likeness: Float[Array, " k"]
    """Of each query with the mean of the video (eq. 2): the pseudo-label is the largest."""
    adaptations: tuple[Adaptation, ...] = field(default=())


class T3al:
    """Adapts both projections to one video by self-supervision, then thresholds and groups."""

    Config = T3alConfig
    RANKING: ClassVar[Mapping[str, object]] = {"min_presence": 0.0, "sure": 0.0, "min_fit": 0.0}

    def __init__(self, config: T3alConfig, space: Space) -> None:
        self.config = config
        self.space = space

    @classmethod
    def traits_of(cls, config: T3alConfig) -> Traits:
        is_multi = config.labels == "multi"
        return Traits(
            reads_words=config.adapt_text_encoder,
            decision=Decision(config.min_presence, config.sure, config.min_fit)
            if is_multi
            else Decision(),
            tells_presence=is_multi,
        )

    # algorithm 1 ---------------------------------------------------------------------------

    def localize(
        self, snippets: Snippets, queries: Queries, *, oracle: Oracle | None = None
    ) -> Detections:
        return self.explain(snippets, queries, oracle=oracle).detections

    def explain(
        self, snippets: Snippets, queries: Queries, *, oracle: Oracle | None = None
    ) -> Explanation:
        """Detections with each step on the way to them."""
        texts = np.concatenate([queries.embeddings, queries.background])
        towers = self.space.towers(np.asarray(snippets.features), texts)
        likeness = self.pseudo_label_scores(towers)[: len(queries)]
        standing = None
        if self.config.labels == "multi":
            standing = standing_of(self.space, snippets, queries)
        presence, targets = self._targets(queries, towers, likeness, standing, oracle)
        # Copied once, for all labels: what is mapped from a file cannot be changed.
        frames = np.array(towers.snippets, dtype=np.float32)
        towers = towers._replace(snippets=frames)
        adaptations = [
            self._adapt_and_group(towers, snippets, queries, label, standing, oracle)
            for label in targets
        ]
        kept = [region for a in adaptations for region in a.regions if region.is_kept]
        found = Detections(
            np.array([region.segment for region in kept], dtype=np.float64).reshape(-1, 2),
            np.array([region.score for region in kept], dtype=np.float64),
            np.array([region.label for region in kept], dtype=np.int64),
            queries.names,
            presence,
        )
        found = nms(found, tiou=1.0 if self.config.labels == "single" else self.config.nms_tiou)
        found = decide(found, self.traits_of(self.config).decision)
        curves = np.zeros((len(queries), len(snippets)))
        for adaptation in adaptations:
            curves[adaptation.label] = adaptation.after
        return Explanation(found, curves, likeness, tuple(adaptations))

    def pseudo_label_scores(self, towers: Towers) -> Float[Array, " k"]:
        """Eq. 1 and 2: the cosine of each text with the mean of the projected frames."""
        mean = towers.snippets.mean(axis=0, dtype=np.float64) @ towers.video_projection
        words = towers.texts @ towers.text_projection
        return _cosine(words, mean)

    def _targets(
        self,
        queries: Queries,
        towers: Towers,
        likeness: Float[Array, " k"],
        standing: Standing | None,
        oracle: Oracle | None,
    ) -> tuple[Float[Array, " k"], list[int]]:
        """How present each query is, and for which ones to adapt."""
        if oracle and (known := oracle.classes(queries.names)) is not None:
            return np.isin(np.arange(len(queries)), known).astype(float), known[:1]
        if standing is None:
            powers = np.exp(towers.logit_scale * (likeness - likeness.max()))
            return powers / powers.sum(), [int(likeness.argmax())]
        presence = standing.presence
        return presence, np.flatnonzero(presence >= self.config.min_presence).tolist()

    def _prompt(self, name: str) -> "Prompt":
        """A query as the space's text tower reads it. Raises ConfigError where there is none."""
        if not isinstance(self.space, HasTextTower):
            raise ConfigError(
                "adapt_text_encoder needs a backbone whose text tower can be trained: embedded or "
                "one of open_clip."
            )
        return self.space.prompt(name)

    def _adapt_and_group(
        self,
        towers: Towers,
        snippets: Snippets,
        queries: Queries,
        label: int,
        standing: Standing | None,
        oracle: Oracle | None,
    ) -> Adaptation:
        grid = snippets.grid
        adapter = Adapter(self.config, towers, grid, label, oracle)
        if self.config.adapt_text_encoder:
            adapter.adapt_text_tower(self._prompt(queries.names[label]))
        before = self._normalized(adapter.scores(), grid)
        losses = adapter.run()
        after = self._normalized(adapter.scores(), grid)
        segments = self._group(after, grid)
        regions = self._score(adapter, segments, grid, len(queries), label, standing)
        if oracle:
            alike = oracle.most_alike([region.score for region in regions])
            regions = [regions[i] for i in alike]
        regions = self._suppress(regions, segments, snippets)
        return Adaptation(
            label,
            before,
            after,
            tuple(losses),
            adapter.positives,
            adapter.negatives,
            tuple(regions),
        )

    # decode --------------------------------------------------------------------------------

    def _normalized(self, scores: Float[Array, " t"], grid: SnippetGrid) -> Float[Array, " t"]:
        """Smoothed (step 6), then between 0 and 1: a mean threshold does not mind."""
        smooth = moving_average(scores, _scaled(self.config.smooth_frames, grid))
        low, high = smooth.min(), smooth.max()
        return (smooth - low) / (high - low) if high > low else np.ones_like(smooth)

    def _group(self, scores: Float[Array, " t"], grid: SnippetGrid) -> Int[Array, "n 2"]:
        """Step 7: runs above gamma, joined over short gaps; runs of one frame only if no other."""
        gamma = scores.mean() if self.config.gamma == "mean" else self.config.gamma_value
        found = runs(scores >= gamma) if scores.min() == scores.max() else runs(scores > gamma)
        joined = bridge(found, _scaled(self.config.max_gap_frames, grid))
        is_long = joined[:, 1] - joined[:, 0] > 1
        return joined[is_long] if is_long.any() else joined

    def _score(
        self,
        adapter: "Adapter",
        segments: Int[Array, "n 2"],
        grid: SnippetGrid,
        num_queries: int,
        label: int,
        standing: Standing | None,
    ) -> list[Region]:
        """Step 8: each region's label, and its softmax score at that label.

        Where several queries may occur, or none, a softmax over them says nothing: the score is
        that of the label's standing.
        """
        seconds = grid.runs_to_seconds(segments)
        found = []
        for (first, last), (start_s, end_s) in zip(segments, seconds, strict=True):
            probabilities = adapter.classify(int(first), int(last))
            own = label
            if self.config.region_label == "region":
                own = int(probabilities[:num_queries].argmax())
            if standing is None:
                score = float(probabilities[own] / probabilities[:num_queries].sum())
            else:
                score = float(standing.scores(own, np.array([[first, last]]))[0])
            found.append(Region((float(start_s), float(end_s)), own, score, 1.0, True))
        return found

    def _suppress(
        self, regions: list[Region], segments: Int[Array, "n 2"], snippets: Snippets
    ) -> list[Region]:
        """Eq. 11: a region stays when enough of the regions are described as it is.

        The sum that the paper prints counts regions, and is never below one; the code divides it
        by their number, and so do we. Regions without captions stay, and never do all go.
        """
        captions = snippets.captions
        if not self.config.suppression or captions is None or len(regions) < 2:
            return regions
        times, vectors = captions
        means = np.full((len(regions), vectors.shape[1]), np.nan)
        for i, region in enumerate(regions):
            inside = (times >= region.segment[0]) & (times < region.segment[1])
            if inside.any():
                means[i] = vectors[inside].mean(axis=0)
        described = np.flatnonzero(np.isfinite(means).all(axis=1))
        if len(described) < 2:
            return regions
        unit = means[described] / np.linalg.norm(means[described], axis=1, keepdims=True)
        share = (unit @ unit.T > self.config.beta).mean(axis=1)
        best = max(range(len(regions)), key=lambda i: regions[i].score)
        support = np.ones(len(regions))
        support[described] = share
        stays = support > self.config.alpha
        if not stays.any():
            stays[best] = True
        return [
            replace(region, support=float(s), is_kept=bool(keep))
            for region, s, keep in zip(regions, support, stays, strict=True)
        ]


# ---------------------------------------------------------------------------------------------
# Adaptation
# ---------------------------------------------------------------------------------------------


class Adapter:
    """The projections of one video and one label, and their optimiser: made new for each."""

    def __init__(
        self,
        config: T3alConfig,
        towers: Towers,
        grid: SnippetGrid,
        label: int,
        oracle: Oracle | None,
    ) -> None:
        import torch

        self.config, self.grid, self.label = config, grid, label
        self.frames = torch.from_numpy(towers.snippets)
        self.texts = torch.from_numpy(np.array(towers.texts, dtype=np.float32))
        self.video = torch.from_numpy(np.array(towers.video_projection, dtype=np.float32))
        self.text = torch.from_numpy(np.array(towers.text_projection, dtype=np.float32))
        self.log_scale = torch.tensor(float(np.log(towers.logit_scale)))
        for parameter in (self.video, self.text, self.log_scale):
            parameter.requires_grad_(True)
        with torch.no_grad():
            mean = self.frames.mean(dim=0) @ self.video
        self.background = mean if config.remove_background else torch.zeros_like(mean)
        self.random = np.random.default_rng(config.seed)
        none = np.zeros(0, dtype=np.int64)
        self.positives, self.negatives = none, none
        self.selectable = oracle.selectable(grid) if oracle else None
        self._norms: Tensor | None = None
        self.prompt: Prompt | None = None

    def adapt_text_tower(self, prompt: "Prompt") -> None:
        """Adapt a copy of the text tower too; the tower itself stays as it is."""
        self.prompt = copy.deepcopy(prompt)
        self.prompt.requires_grad_(True)

    def words(self) -> "Tensor":
        """The label's text after its projection, of length one."""
        from torch.nn.functional import normalize

        text = self.texts[self.label] if self.prompt is None else self.prompt()
        return normalize(text @ self.text, dim=0)

    def scores(self, *, fresh: bool = True, cosine: bool = True) -> Float[Array, " t"]:
        """Eq. 4: the cosine of every frame, less the background, with the label's text.

        Lengths are those of the last ``fresh`` call. Without ``cosine`` the dot product.
        """
        import torch

        with torch.no_grad():
            words = self.words()
            dots = self.frames @ (self.video @ words) - self.background @ words
            if cosine:
                if fresh or self._norms is None:
                    self._norms = self._lengths()
                dots /= self._norms
            return dots.double().numpy()

    def _lengths(self) -> "Tensor":
        """Of every projected frame, less the background."""
        import torch

        found = torch.empty(len(self.frames))
        room = torch.empty(min(_BLOCK, len(self.frames)), self.video.shape[1])  # used again
        for first in range(0, len(found), _BLOCK):
            block = self.frames[first : first + _BLOCK]
            projected = torch.mm(block, self.video, out=room[: len(block)]).sub_(self.background)
            found[first : first + _BLOCK] = projected.norm(dim=1)
        return found.clamp_min_(1e-12)

    def run(self) -> list[float]:
        """Steps of Adam on eq. 8, until there are enough or the loss stops falling."""
        import torch

        config = self.config
        if config.steps == 0:
            return []
        optimiser = torch.optim.Adam(
            [
                {"params": [self.video], "lr": config.lr * config.vision_lr_scale},
                {"params": [self.text]},
                {"params": [self.log_scale]},
                {"params": list(self.prompt.parameters()) if self.prompt else []},
            ],
            lr=config.lr,
            weight_decay=config.weight_decay,
            fused=True,
        )
        adapted = (config.adapt_vision, config.adapt_text, config.adapt_tau)
        for parameter, is_adapted in zip(
            (self.video, self.text, self.log_scale), adapted, strict=True
        ):
            parameter.requires_grad_(is_adapted)
        losses: list[float] = []
        since_best = 0
        for step in range(config.steps):
            is_fresh = step % config.norms_every == 0
            self._select(self.scores(fresh=is_fresh, cosine=config.cosine_in_loop))
            loss = self.loss(self.positives, self.negatives)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            value = loss.item()
            since_best = 0 if not losses or value < min(losses) else since_best + 1
            losses.append(value)
            if config.patience and since_best >= config.patience:
                break
        return losses

    def loss(self, positives: Int[Array, " p"], negatives: Int[Array, " p"]) -> "Tensor":
        """Eq. 5 to 8, on the frames that were drawn."""
        from torch.nn.functional import normalize

        both = np.concatenate([positives, negatives])
        projected = self.frames[both] @ self.video
        words = self.words()
        frames = projected - self.background
        similar = (normalize(frames, dim=1) if self.config.cosine_in_loop else frames) @ words
        if self.config.loss == "bce":
            return self._bce(similar, len(positives))
        parts = []
        if "lz" in self.config.loss:
            parts.append(self._lz(normalize(projected[: len(positives)], dim=1), words))
        if "ls" in self.config.loss:
            parts.append(self._ls(similar, len(positives)))
        return sum(parts[1:], parts[0])

    def _lz(self, positives: "Tensor", words: "Tensor") -> "Tensor":
        """Eq. 6: positives are alike; or, as the code has it, are like the text."""
        if self.config.lz == "text":
            return (2 - 2 * positives @ words).mean()
        pairs = self.random.integers(len(positives), size=(2, len(positives)))
        return (2 - 2 * (positives[pairs[0]] * positives[pairs[1]]).sum(dim=1)).mean()

    def _ls(self, similar: "Tensor", num_positives: int) -> "Tensor":
        """Eq. 7: the scores point where ones for positives and zeros for negatives do."""
        import torch
        from torch.nn.functional import normalize

        target = torch.zeros_like(similar)
        target[:num_positives] = 1.0
        target = normalize(target, dim=0)
        smoothing = self.config.ls_smoothing
        target = (1 - smoothing) * target + smoothing / len(similar)
        return 2 - 2 * normalize(similar, dim=0) @ target

    def _bce(self, similar: "Tensor", num_positives: int) -> "Tensor":
        """The baseline of Table 5, which alone gives the temperature a gradient."""
        import torch

        target = torch.zeros_like(similar)
        target[:num_positives] = 1.0
        logits = self.log_scale.exp() * similar
        return torch.nn.functional.binary_cross_entropy_with_logits(logits, target)

    def _select(self, scores: Float[Array, " t"]) -> None:
        """Step 3: K frames from the best ones and K from the worst, spread over time."""
        config, grid = self.config, self.grid
        if config.smooth_in_loop:
            scores = moving_average(scores, _scaled(config.smooth_frames, grid))
        if self.selectable:
            inside, outside = self.selectable
            self.positives = self._draw(inside if len(inside) else outside)
            self.negatives = self._draw(outside if len(outside) else inside)
            return
        order = np.argsort(-scores, kind="stable")
        size = pool_size(len(scores), config)
        self.positives = self._draw(np.sort(order[:size]))
        self.negatives = self._draw(np.sort(order[len(order) - size :]))

    def _draw(self, pool: Int[Array, " p"]) -> Int[Array, " k"]:
        """K places, evenly spread in a pool that is ordered in time, with a little noise."""
        even = np.linspace(0, len(pool) - 1, self.config.num_samples).round().astype(np.int64)
        jitter = _scaled(self.config.jitter_frames, self.grid)
        noise = self.random.integers(-jitter, max(jitter, 1), size=len(even))
        return pool[np.clip(even + noise, 0, len(pool) - 1)]

    def classify(self, first: int, last: int) -> Float[Array, " k"]:
        """The softmax over all texts of the mean of the frames ``[first, last)``, as adapted."""
        import torch
        from torch.nn.functional import normalize

        with torch.no_grad():
            mean = self.frames[first:last].mean(dim=0) @ self.video
            words = normalize(self.texts @ self.text, dim=1)
            words[self.label] = self.words()
            logits = self.log_scale.exp() * words @ normalize(mean, dim=0)
            return logits.double().softmax(dim=0).numpy()


def pool_size(num_frames: int, config: T3alConfig) -> int:
    """How many of the best, and of the worst, frames are drawn from.

    The code takes 100 K mod N, or all frames of a short video, and so the same ones as positives
    and negatives; ours never overlap.
    """
    wanted = config.pool_factor * config.num_samples
    if config.pools == "code":
        return num_frames if wanted >= num_frames else wanted % num_frames
    return max(1, min(wanted, num_frames // 4))


def moving_average(values: Float[Array, " t"], window: int) -> Float[Array, " t"]:
    """The mean over ``window`` values around each, the ends repeated."""
    if window <= 1:
        return values
    left = window // 2
    padded = np.pad(values, (left, window - 1 - left), mode="edge")
    sums = np.cumsum(np.concatenate([[0.0], padded]))
    return (sums[window:] - sums[:-window]) / window


def _scaled(frames: int, grid: SnippetGrid) -> int:
    """A number of frames at `CODE_FPS` as snippets; at least one, unless it is none."""
    return max(1, round(frames / CODE_FPS / grid.snippet_s)) if frames else 0


def _cosine(rows: Float[Array, "k d"], vector: Float[Array, " d"]) -> Float[Array, " k"]:
    lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(vector)
    return (rows @ vector) / np.maximum(lengths, 1e-12)
