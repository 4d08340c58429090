"""A made-up world: features composed from what class names mean, so that no download is needed.

Real class names, through a text encoder, are the only thing in it that is real. What a class looks
like is a fixed rotation of what its name means, so that nothing but its text says anything of an
unseen class. A snippet is the sum, scaled to length one, of

- its class, faintly also where nothing happens (``context``): the place suggests the action, so
  that plain similarity knows the label and not the boundaries;
- how it looks in this video, and this time, unlike at others (``variation``);
- that something happens, and how far it has got (``actionness``, ``phase``), the same for all
  classes: what can be learnt on seen classes and carried over to unseen ones; and movement that
  only seems so (``bustle``);
- the scene, which drifts; stretches that look like something else; and noise.

Instances fade in and out around their boundaries. Shapes of videos follow THUMOS14 (long, with
many instances of seconds) and ActivityNet (one or two that fill much of the video). A video
depends on the seed and on its id alone, so that any can be made, in any order. No number from this
world says how good a method is on real video.

Axes: k classes, d width of the joint space, t snippets, n instances.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray as Array

from openmoment.types import Annotations, SnippetGrid

FPS = 4.0
"""Snippets a second."""

_NUM_SCENES = 24
_SCENES_A_VIDEO = 3
_DRIFT_S = 8.0  # from one turn of what drifts to the next
_NOISE_S = 0.5  # after which noise has little to do with what it was
_MIN_GAP_S = 0.5  # between instances


@dataclass(frozen=True)
class World:
    """How hard the world is. Strengths are measured by that of the class in an instance: 1."""

    rotation: float = 0.5  # between a class's text and its looks, in right angles
    ramp_s: float = 0.5  # in which an instance fades in, and out
    variation: float = 1.2  # of a class from video to video, and from instance to instance
    actionness: float = 0.3  # that something happens
    phase: float = 0.8  # how far it has got
    bustle: float = 0.5  # movement at any time, which looks as if something happened
    context: float = 0.85  # of the class where nothing happens, on average
    scene: float = 1.5
    distractors: float = 1.0  # for each instance, on average
    distraction: float = 1.0  # strength of a distractor
    noise: float = 4.0
    motion: float = 1.5  # in the second stream, at the boundaries of instances

    def __post_init__(self) -> None:
        if not 0 <= self.rotation <= 1:
            raise ValueError(f"rotation must lie in [0, 1], got {self.rotation}")
        for name, value in vars(self).items():
            if not (np.isfinite(value) and value >= 0):
                raise ValueError(f"{name} must be 0 or more, got {value}")


@dataclass(frozen=True)
class Footage:
    """The shape of a dataset's videos; ranges are of uniform draws, ends included."""

    name: str
    """The real dataset whose shape it is."""
    num_train: int
    num_test: int
    duration_s: tuple[float, float]
    num_instances: tuple[int, int]
    length_s: float
    """The median length of an instance; lengths are log-normal."""
    length_spread: float
    """The standard deviation of the logarithm of a length."""
    max_share: float
    """Of a video that instances may fill; longer ones are shortened together."""
    num_classes: tuple[float, ...]
    """How likely a video holds one class, two, three …"""


THUMOS14 = Footage(
    name="thumos14",
    num_train=120,
    num_test=100,
    duration_s=(60.0, 180.0),
    num_instances=(3, 16),
    length_s=3.5,
    length_spread=0.6,
    max_share=0.5,
    num_classes=(0.8, 0.15, 0.05),
)
ACTIVITYNET = Footage(
    name="activitynet",
    num_train=600,
    num_test=400,
    duration_s=(30.0, 200.0),
    num_instances=(1, 2),
    length_s=40.0,
    length_spread=0.7,
    max_share=0.9,
    num_classes=(1.0,),
)
FOOTAGE = {footage.name: footage for footage in (THUMOS14, ACTIVITYNET)}


class Directions(NamedTuple):
    """Unit vectors that all videos share."""

    classes: Float[Array, "k d"]
    """What each class looks like."""
    action: Float[Array, "3 d"]
    """Orthonormal: that something happens, and the cosine and sine of how far it has got."""
    motion: Float[Array, "3 d"]
    """Orthonormal, in the second stream: something begins, goes on, ends."""
    scenes: Float[Array, "s d"]


class Video(NamedTuple):
    """A video that can be made. Its class is one that it surely holds."""

    id: str
    label: int


class Film(NamedTuple):
    """A made video."""

    annotations: Annotations
    features: Float[Array, "t d"]
    grid: SnippetGrid


def list_videos(prefix: str, number: int, num_classes: int) -> list[Video]:
    """``number`` videos, the classes in turn; a longer list begins with the shorter one."""
    return [Video(f"{prefix}_{i:05d}", i % num_classes) for i in range(number)]


class SyntheticWorld:
    """All that a seed, names and their texts decide; `make` gives its videos.

    ``texts`` are unit embeddings in the joint space. Another release of NumPy may draw other
    numbers. Raises ValueError for fewer than two classes, or an odd width.
    """

    def __init__(
        self,
        names: Sequence[str],
        texts: Float[Array, "k d"],
        footage: Footage,
        *,
        settings: World | None = None,
        seed: int = 0,
    ) -> None:
        if len(names) != len(texts) or len(names) < 2:
            raise ValueError(f"{len(names)} names and {len(texts)} texts, expected two or more")
        self.names = tuple(names)
        self.footage, self.settings, self.seed = footage, settings or World(), seed
        self.directions = _directions(texts, self.settings.rotation, seed)

    @property
    def num_kinds(self) -> int:
        """Into how many kinds videos fall: what `Video.label` says of one."""
        return len(self.names)

    def videos(self, subset: str, number: int) -> list[Video]:
        """Videos of a subset that can be made."""
        return list_videos(f"synthetic_{subset}", number, self.num_kinds)

    def make(self, video: Video) -> Film:
        """The video, the same whenever it is made."""
        rng = generator(self.seed, video.id)
        annotations = self.annotate(video, rng)
        num_snippets = round(annotations.duration_s * FPS)
        grid = SnippetGrid.uniform(num_snippets, end_s=annotations.duration_s)
        features = np.zeros((num_snippets, self.directions.classes.shape[1]))
        for part in self._parts(annotations, grid, rng):
            features += part
        return Film(annotations, _unit(features).astype(np.float32), grid)

    def make_flow(self, film: Film, video: Video) -> Float[Array, "t d"]:
        """What moves in the video, which says where instances begin and end, and nothing of what.

        Now and then something begins or ends that is no instance.
        """
        world, grid = self.settings, film.grid
        rng = generator(self.seed, f"{video.id}/flow")
        starts_s, ends_s = (
            np.concatenate([times_s, rng.uniform(0, grid.end_s, rng.poisson(len(times_s) / 2))])
            for times_s in film.annotations.segments.T
        )
        inside = visibility(film.annotations.segments, grid, world.ramp_s).sum(axis=0)
        tracks = np.stack([_bumps(starts_s, grid), 0.3 * inside, _bumps(ends_s, grid)], axis=1)
        tracks = world.motion * tracks + world.bustle * _noise(len(grid), 3, rng)
        rows = tracks @ self.directions.motion
        rows += world.noise * _noise(len(grid), rows.shape[1], rng)
        return _unit(rows).astype(np.float32)

    def draw_views(self, label: int, number: int) -> Float[Array, "n d"]:
        """What pictures of a class show: its looks, each unlike the others and unlike any video."""
        looks = self.directions.classes[label]
        rng = generator(self.seed, f"{self.names[label]}/views")
        others = _unit(rng.standard_normal((number, len(looks))))
        return _unit(looks + self.settings.variation * others).astype(np.float32)

    def annotate(self, video: Video, rng: np.random.Generator) -> Annotations:
        """Instances in the order of time, none over another, in milliseconds as files have them."""
        return _annotate(video, self.names, self.footage, rng)

    def entry(self, video: Video, truth: Annotations) -> dict[str, object]:
        """What an annotation file says of the video's instances: here as in ActivityNet's."""
        rows = [
            {"segment": segment, "label": truth.names[label]}
            for segment, label in zip(truth.segments.tolist(), truth.labels.tolist(), strict=True)
        ]
        return {"annotations": rows}

    def _parts(
        self, truth: Annotations, grid: SnippetGrid, rng: np.random.Generator
    ) -> Iterator[Float[Array, "t d"]]:
        """What adds up to the video."""
        world, directions = self.settings, self.directions
        width = directions.classes.shape[1]
        shown = visibility(truth.segments, grid, world.ramp_s)  # n t
        present = np.unique(truth.labels)
        for label in present:
            inside = shown[truth.labels == label].sum(axis=0)
            context = np.clip(world.context * (1 + 0.5 * _drift(grid, rng)), 0, None)
            amount = inside + (1 - inside) * context / len(present)
            looks = directions.classes[label] + world.variation * _blend(directions.classes, rng)
            yield np.outer(amount, looks)
        yield world.variation * shown.T @ _unit(rng.standard_normal((len(truth), width)))
        bustle = world.bustle * _noise(len(grid), 3, rng)
        yield (_action(truth, shown, grid, world) + bustle) @ directions.action
        yield world.scene * _scenery(directions.scenes, grid, rng)
        yield from self._distractors(truth, grid, rng)
        yield world.noise * _noise(len(grid), width, rng)

    def _distractors(
        self, truth: Annotations, grid: SnippetGrid, rng: np.random.Generator
    ) -> Iterator[Float[Array, "t d"]]:
        """Stretches of background: half look like another class, half like a blend of many."""
        world, classes = self.settings, self.directions.classes
        others = np.setdiff1d(np.arange(len(classes)), truth.labels)
        free = 1 - visibility(truth.segments, grid, world.ramp_s).sum(axis=0)
        for _ in range(rng.poisson(world.distractors * len(truth))):
            length_s = min(draw_lengths(self.footage, 1, rng)[0], truth.duration_s)
            start_s = rng.uniform(0, truth.duration_s - length_s)
            stretch = np.array([[start_s, start_s + length_s]])
            is_class = rng.random() < 0.5 and len(others) > 0
            looks = classes[rng.choice(others)] if is_class else _blend(classes, rng)
            amount = visibility(stretch, grid, world.ramp_s)[0] * free
            moves = world.actionness * self.directions.action[0] if is_class else 0
            yield np.outer(amount, world.distraction * looks + moves)


# ---------------------------------------------------------------------------------------------
# What all videos share
# ---------------------------------------------------------------------------------------------


def rotation_matrix(
    width: int, right_angles: float, rng: np.random.Generator
) -> Float[Array, "d d"]:
    """A rotation of random planes, all by one angle: every vector turns by that angle.

    Raises ValueError for an odd width, where one direction would have to stay.
    """
    if width % 2:
        raise ValueError(f"a rotation of every direction needs an even width, got {width}")
    planes, _ = np.linalg.qr(rng.standard_normal((width, width)))
    first, second = planes[:, ::2], planes[:, 1::2]
    angle = right_angles * np.pi / 2
    turn = second @ first.T - first @ second.T
    return np.cos(angle) * np.eye(width) + np.sin(angle) * turn


def _directions(texts: Float[Array, "k d"], rotation: float, seed: int) -> Directions:
    rng = generator(seed, "directions")
    width = texts.shape[1]
    turned = rotation_matrix(width, rotation, rng)
    meanings = _unit(texts - texts.mean(axis=0))
    action, _ = np.linalg.qr(rng.standard_normal((width, 3)))
    scenes = _unit(rng.standard_normal((_NUM_SCENES, width)))
    motion, _ = np.linalg.qr(rng.standard_normal((width, 3)))
    return Directions(meanings @ turned.T, action.T, motion.T, scenes)


# ---------------------------------------------------------------------------------------------
# What happens in a video
# ---------------------------------------------------------------------------------------------


def _annotate(
    video: Video, names: tuple[str, ...], footage: Footage, rng: np.random.Generator
) -> Annotations:
    duration_s = round(rng.uniform(*footage.duration_s), 3)
    num = int(rng.integers(footage.num_instances[0], footage.num_instances[1] + 1))
    lengths_s = draw_lengths(footage, num, rng)
    lengths_s *= min(1.0, footage.max_share * duration_s / lengths_s.sum())
    segments = spread(lengths_s, duration_s, rng)
    return Annotations(segments, _labels(video, len(names), footage, num, rng), names, duration_s)


def draw_lengths(footage: Footage, num: int, rng: np.random.Generator) -> Float[Array, " n"]:
    """Of so many instances, in seconds."""
    return footage.length_s * np.exp(footage.length_spread * rng.standard_normal(num))


def spread(
    lengths_s: Float[Array, " n"], duration_s: float, rng: np.random.Generator
) -> Float[Array, "n 2"]:
    """Instances of these lengths, in their order, with random gaps around and between them."""
    num = len(lengths_s)
    rest_s = duration_s - lengths_s.sum() - _MIN_GAP_S * (num + 1)
    gaps_s = _MIN_GAP_S + rest_s * rng.dirichlet(np.ones(num + 1))
    starts_s = np.cumsum(gaps_s[:-1]) + np.cumsum(lengths_s) - lengths_s
    return np.round(np.stack([starts_s, starts_s + lengths_s], axis=1), 3)


def _labels(
    video: Video, num_classes: int, footage: Footage, num: int, rng: np.random.Generator
) -> Int[Array, " n"]:
    """Each of the video's classes at least once, as far as there are instances."""
    wanted = 1 + int(rng.choice(len(footage.num_classes), p=footage.num_classes))
    others = np.setdiff1d(np.arange(num_classes), [video.label])
    rng.shuffle(others)
    classes = np.concatenate([[video.label], others])[: min(wanted, num)]
    drawn = np.concatenate([classes, rng.choice(classes, num - len(classes))])
    return rng.permutation(drawn).astype(np.int64)


def visibility(
    segments: Float[Array, "n 2"], grid: SnippetGrid, ramp_s: float
) -> Float[Array, "n t"]:
    """How much of each instance shows in each snippet: a half at its boundaries, 1 well inside."""
    ramp_s = max(ramp_s, 1e-6)
    after_start = np.clip((grid.centres_s - segments[:, :1]) / ramp_s + 0.5, 0, 1)
    before_end = np.clip((segments[:, 1:] - grid.centres_s) / ramp_s + 0.5, 0, 1)
    return after_start * before_end


def _action(
    truth: Annotations, shown: Float[Array, "n t"], grid: SnippetGrid, world: World
) -> Float[Array, "t 3"]:
    """Along `Directions.action`: that something happens, and a half turn from start to end."""
    lengths_s = truth.segments[:, 1:] - truth.segments[:, :1]
    angles = np.pi * np.clip((grid.centres_s - truth.segments[:, :1]) / lengths_s, 0, 1)
    tracks = (
        world.actionness * np.ones_like(angles),
        world.phase * np.cos(angles),
        world.phase * np.sin(angles),
    )
    return np.stack([(shown * track).sum(axis=0) for track in tracks], axis=1)


def _bumps(times_s: Float[Array, " _"], grid: SnippetGrid) -> Float[Array, " t"]:
    """One at each of the times, and little a second away."""
    away_s = np.abs(grid.centres_s - times_s[:, None]).min(axis=0, initial=np.inf)
    return np.exp(-np.square(2 * away_s))


def _blend(classes: Float[Array, "k d"], rng: np.random.Generator) -> Float[Array, " d"]:
    """What looks a little like many classes."""
    return _unit(rng.standard_normal((1, len(classes))) @ classes)[0]


def _scenery(
    scenes: Float[Array, "s d"], grid: SnippetGrid, rng: np.random.Generator
) -> Float[Array, "t d"]:
    """A drifting blend of a few scenes, of length one throughout."""
    chosen = scenes[rng.choice(len(scenes), _SCENES_A_VIDEO, replace=False)]
    weights = np.exp([_drift(grid, rng) for _ in chosen])
    return _unit(weights.T @ chosen)


def _drift(grid: SnippetGrid, rng: np.random.Generator) -> Float[Array, " t"]:
    """A slow curve around zero: a standard normal draw every so many seconds, joined by lines."""
    knots_s = np.arange(grid.start_s, grid.end_s + _DRIFT_S, _DRIFT_S)
    return np.interp(grid.centres_s, knots_s, rng.standard_normal(len(knots_s)))


def _noise(num: int, width: int, rng: np.random.Generator) -> Float[Array, "t d"]:
    """Of length one on average; neighbours are alike, as neighbouring frames are."""
    rows = rng.standard_normal((num, width)) / np.sqrt(width)
    kept = np.exp(-1 / (FPS * _NOISE_S))
    rows[1:] *= np.sqrt(1 - kept**2)
    for before, row in pairwise(rows):
        row += kept * before
    return rows


def generator(seed: int, name: str) -> np.random.Generator:
    """Random numbers of their own for whatever has a name."""
    digest = sha256(f"{seed}/{name}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest))


def _unit(rows: Float[Array, "n d"]) -> Float[Array, "n d"]:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
