"""Whether a backbone works on this machine: a video of known contents is made and asked about.

What is checked is loading, pictures, tokens, projections: that the numbers mean something. It is no
measure of accuracy: photographs of things are what every backbone knows best.

Axes: k queries, t snippets, n segments.
"""

import time
from dataclasses import asdict, dataclass
from itertools import takewhile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray as Array

from openmoment.encoders import Encoder
from openmoment.encoders.base import Progress, SeesPictures
from openmoment.encoders.frames import encode_frames
from openmoment.encoders.speeds import keep_speed
from openmoment.encoders.towers.projected import ProjectedSpace, unit
from openmoment.errors import ConfigError, MissingWeightsError
from openmoment.experiments.progress import Bar, no_bar
from openmoment.pipeline.answering import Pipeline
from openmoment.postprocess import temporal_iou
from openmoment.types import Detections, Queries, Recipe, Snippets

SHOWN = {
    "the moon": "moon",
    "a cup of coffee": "coffee",
    "a man with a camera": "camera",
    "a cat": "chelsea",
    "coins": "coins",
    "a rocket launch": "rocket",
    "an astronaut": "astronaut",
}
"""What the demo's video shows, and which photograph it is of."""
ABSENT = (
    "playing tennis",
    "a plate of spaghetti",
    "a football match",
    "people dancing",
    "a snowy mountain",
    "an elephant",
)
FPS = 2.0
LOOK_S = 20.0
"""How much is read of a person's own video."""
NAMED = 6
"""Of the demo's eight scenes: by chance it is one, and two times in ten thousand so many."""
TOLD_APART = 0.8
"""Of pairs of a shown and an absent thing, those in which the shown one is the likelier."""
TIOU = 0.5
_MARGIN_S = 0.5  # at each end of a scene it fades
_CURE = "Pull its weights again, or give others; of MODEL@FILE see that the file is of the MODEL"
_ALIKE = 1e-4  # features that vary by less, relative to their size, say nothing


@dataclass(frozen=True)
class Checked:
    """What a check of a backbone found."""

    backbone: str
    fingerprint: str
    frames_per_s: float
    num_frames: int
    seconds: float
    """Of everything, loading included."""
    named: int
    """Scenes whose own name stands above all others' there."""
    num_scenes: int
    presence: dict[str, float]
    """Of all that was asked, what is shown first."""
    told_apart: float
    tiou: dict[str, float]
    """Of each thing shown: how well the times found fit the scenes."""
    cosine: float | None
    """The mean of everyday texts and the video's pictures, in a space that has one."""
    problem: str | None
    """Why it does not work here, and what to do."""
    seen: "Seen | None" = None

    def to_dict(self) -> dict[str, Any]:
        return {"works": self.problem is None} | asdict(self)


@dataclass(frozen=True)
class Seen:
    """What the same queries find in a person's own video."""

    video: str
    seconds: float
    frames_per_s: float
    presence: dict[str, float]


def check_backbone(pipeline: Pipeline, video: Path | None = None, *, bar: Bar = no_bar) -> Checked:
    """Ask the pipeline's backbone about the demo's video, and time it.

    The speed of one that works is kept.

    Of ``video`` the first `LOOK_S` seconds are read too. Raises VideoError for it, and ConfigError
    for backbones that see no single pictures then.
    """
    from openmoment.video import probe
    from openmoment.video.demo import SCENES, make_demo_video

    start_s = time.perf_counter()
    encoder = pipeline.encoder
    if video is not None:
        probe(video)  # what is wrong with it is said before the work
    _warm_up(encoder)
    with TemporaryDirectory() as folder:
        demo = Path(folder) / "demo.mp4"
        make_demo_video(demo)
        with bar(f"{encoder.name}: seeing") as progress:
            snippets, taken_s = _encode(encoder, demo, progress)
    names = (*SHOWN, *ABSENT)
    with bar(f"{encoder.name}: reading"):
        queries = pipeline.queries(names)
    found = pipeline.localize(snippets, queries, video="demo")
    presence = dict(zip(names, map(float, found.presence), strict=True))
    told_apart = _told_apart(found.presence[: len(SHOWN)], found.presence[len(SHOWN) :])
    tiou = {name: _tiou(found, index, truth_of(name)) for index, name in enumerate(SHOWN)}
    named, cosine = _named(encoder, snippets, queries), _mean_cosine(encoder, snippets, queries)
    mean_tiou = float(np.mean([*tiou.values()]))
    frames_per_s = len(snippets) / taken_s
    problem = (
        _unreadable(encoder, snippets.features)
        or _mismatch(encoder, named, cosine)
        or _unfit(encoder, told_apart, mean_tiou)
    )
    if problem is None:
        keep_speed(encoder, round(frames_per_s, 2))
    seen = None if video is None else _look(pipeline, video, queries)
    return Checked(
        backbone=encoder.name,
        fingerprint=encoder.fingerprint,
        frames_per_s=frames_per_s,
        num_frames=len(snippets),
        seconds=time.perf_counter() - start_s,
        named=named,
        num_scenes=len(SCENES),
        presence=presence,
        told_apart=told_apart,
        tiou=tiou,
        cosine=cosine,
        problem=problem,
        seen=seen,
    )


def truth_of(name: str) -> Float[Array, "n 2"]:
    """When the demo's video shows it."""
    from openmoment.video.demo import SCENES, scene_segments

    segments = zip(SCENES, scene_segments(), strict=True)
    return np.array([segment for scene, segment in segments if scene == SHOWN[name]])


def require_works(checked: Checked) -> None:
    """Raises MissingWeightsError where it does not."""
    if checked.problem:
        raise MissingWeightsError(checked.problem)


def _unreadable(encoder: Encoder, features: Float[Array, "t d"]) -> str | None:
    if not np.isfinite(features).all():
        return f"{encoder.name} does not work here: its features are no numbers. {_CURE}."
    if features.std(axis=0).max() < _ALIKE * np.abs(features).max():
        return f"{encoder.name} does not work here: all pictures look alike to it. {_CURE}."
    return None


def _mismatch(encoder: Encoder, named: int, cosine: float | None) -> str | None:
    """Whether the pictures and the words are of one model: what each scene is called, and where
    the two lie, of models of which that is known."""
    floor = getattr(encoder, "unrelated_over", None)
    if named < NAMED:
        found = f"of 8 scenes it names {named} (by chance 1)"
    elif floor is not None and cosine is not None and cosine < floor:
        found = f"the mean cosine of pictures and texts is {cosine:.2f} (expected {floor:.2f})"
    else:
        return None
    return (
        f"{encoder.name} does not work here: {found}, so its pictures and its words are not of "
        f"one model, or its weights are not what they say. {_CURE}."
    )


def _unfit(encoder: Encoder, told_apart: float, tiou: float) -> str | None:
    if told_apart >= TOLD_APART and tiou >= TIOU:
        return None
    return (
        f"{encoder.name} does not work here: it names what it sees, but tells what is there from "
        f"what is not in {told_apart:.0%} of pairs (expected {TOLD_APART:.0%}), and its times fit "
        f"by {tiou:.2f} (expected {TIOU:.2f}). Use another: openmoment models."
    )


def _warm_up(encoder: Encoder) -> None:
    """Weights are read before the clock runs."""
    if isinstance(encoder, SeesPictures):
        side = encoder.picture_side or 240
        encoder.encode_pictures([np.zeros((side, side, 3), np.uint8)])


def _encode(encoder: Encoder, video: Path, progress: Progress | None) -> tuple[Snippets, float]:
    start_s = time.perf_counter()
    snippets = encoder.encode_video(video, fps=FPS, source_sha256="", progress=progress)
    return snippets, time.perf_counter() - start_s


def _named(encoder: Encoder, snippets: Snippets, queries: Queries) -> int:
    """How many scenes have their own name above the others'."""
    from openmoment.video.demo import SCENES

    evidence = encoder.space.evidence(
        snippets.features, queries.embeddings[: len(SHOWN)], queries.background
    )
    best = [int(evidence[:, inside].mean(axis=1).argmax()) for inside in _scenes(snippets)]
    own = [list(SHOWN.values()).index(scene) for scene in SCENES]
    return sum(found == true for found, true in zip(best, own, strict=True))


def _scenes(snippets: Snippets) -> list[Bool[Array, " t"]]:
    """Which snippets are of each scene, without its fades."""
    from openmoment.video.demo import scene_segments

    centres = snippets.grid.centres_s
    return [
        (centres > start_s + _MARGIN_S) & (centres < end_s - _MARGIN_S)
        for start_s, end_s in scene_segments()
    ]


def _told_apart(shown: Float[Array, " n"], absent: Float[Array, " m"]) -> float:
    return float((shown[:, None] > absent).mean() + (shown[:, None] == absent).mean() / 2)


def _tiou(found: Detections, query: int, truth: Float[Array, "n 2"]) -> float:
    """The mean over the true times of the best fit among as many moments as there are times."""
    moments = found.segments[found.labels == query][: len(truth)]
    return float(temporal_iou(truth, moments).max(axis=1).mean()) if len(moments) else 0.0


def _mean_cosine(encoder: Encoder, snippets: Snippets, queries: Queries) -> float | None:
    space = encoder.space
    if not isinstance(space, ProjectedSpace):
        return None
    pictures = unit(space.project_video(snippets.features))
    return float((unit(space.project_text(queries.background)) @ pictures.T).mean())


def _look(pipeline: Pipeline, video: Path, queries: Queries) -> Seen:
    """The beginning of a person's own video, timed and asked the same."""
    from openmoment.video import read_frames

    encoder = pipeline.encoder
    if not isinstance(encoder, SeesPictures):
        raise ConfigError(f"--video: {encoder.name} sees no single pictures. Leave it out.")
    start_s = time.perf_counter()
    frames = read_frames(video, fps=FPS, short_side=encoder.picture_side)
    first = takewhile(lambda frame: frame.end_s <= LOOK_S, frames)
    features, grid = encode_frames(first, encoder.encode_pictures, batch=encoder.picture_batch)
    taken_s = time.perf_counter() - start_s
    recipe = Recipe(encoder.name, encoder.fingerprint, FPS, "")
    snippets = Snippets(features, grid, recipe, grid.end_s)
    found = pipeline.localize(snippets, queries, video=str(video))
    presence = dict(zip(queries.names, map(float, found.presence), strict=True))
    return Seen(str(video), grid.end_s, len(snippets) / taken_s, presence)
