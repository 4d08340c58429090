"""One run, whatever it is about: what it learns from, and a fresh method that learns it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from openmoment.checkpoints.card import TrainingCard
from openmoment.config import from_table
from openmoment.encoders.base import Encoder
from openmoment.errors import ConfigError
from openmoment.features.cache import Cache
from openmoment.methods import METHODS
from openmoment.methods.trained import Trained, Widths
from openmoment.methods.traits import Traits
from openmoment.pipeline.snippets import FeatureFolder
from openmoment.training.config import TrainConfig
from openmoment.training.data import Advance, Pieces
from openmoment.training.files import AlikeFiles, EncodedVideos
from openmoment.training.frames import VideoFiles
from openmoment.training.initial import begin_from
from openmoment.types import Queries, Snippets

Files = AlikeFiles | VideoFiles | EncodedVideos


@dataclass(frozen=True, kw_only=True)
class Course:
    """What is trained, and how, whatever it is trained on."""

    method: str
    settings: Any
    """The method's own."""
    config: TrainConfig
    encoder: Encoder
    cache: Cache | None = None
    init: Path | None = None
    """A checkpoint whose weights it begins with."""


class Lesson(NamedTuple):
    """What one run learns from, once it is found and read."""

    files: Files
    videos: Mapping[str, Any]
    """What each of them shows, as ``kind`` takes it."""
    kind: Callable[..., Pieces[Any]]
    queries: Queries
    settings: Any
    """The method's, with what they have to know of the classes."""
    card: Callable[..., TrainingCard]
    """The run's card, of what it says of the method and its features."""


def begin(
    course: Course,
    lesson: Lesson,
    *,
    advance: Advance | None = None,
    tell: Callable[[str], None] | None = None,
) -> tuple[Trained, Pieces[Any], TrainConfig, TrainingCard]:
    """What `train` takes: a fresh method, its data, how it is trained, and the card of the run.

    ``tell`` hears what the run begins with. Raises OpenMomentError.
    """
    files, config = lesson.files, course.config
    method = _fresh(course, lesson, files.load(next(iter(lesson.videos))))
    data = lesson.kind(
        lesson.videos,
        files.load,
        method,
        queries=lesson.queries,
        seed=config.seed,
        advance=advance,
    )
    card = lesson.card(**_made_with(course, method, files))
    if course.init:
        card = begin_from(course.init, method, card, tell)
    return method, data, config, card


def _fresh(course: Course, lesson: Lesson, first: Snippets) -> Trained:
    """The method, as wide as features and texts are."""
    space, row = course.encoder.space, first.features[:1]
    points = row if lesson.settings.features == "own" else space.project_video(row)
    widths = Widths(points.shape[1], space.project_text(lesson.queries.embeddings).shape[1])
    torch.manual_seed(course.config.seed)
    return trainable(course.method)(lesson.settings, space, widths)


def _made_with(course: Course, method: Trained, files: Files) -> dict[str, object]:
    """What a card says of the method, its backbone, and the features that it learns from."""
    flow = files.flow_recipe if isinstance(files, AlikeFiles) else None
    return {
        "flow_encoder": flow.encoder if flow else "",
        "flow_fingerprint": flow.fingerprint if flow else "",
        "method": course.method,
        "widths": (method.widths.video, method.widths.text),
        "backbone": course.encoder.name,
        "fingerprint": course.encoder.fingerprint,
        "features_encoder": files.recipe.encoder,
        "features_fingerprint": files.recipe.fingerprint,
        "fps": files.fps,
    }


def open_files(
    folder: Path, course: Course, traits: Traits, paths: Mapping[str, Path] | None = None
) -> AlikeFiles | VideoFiles:
    """The videos of a folder for a method that sees frames, else its feature files, or ``paths``.

    Raises FeatureError, ConfigError.
    """
    if traits.sees_frames:
        return VideoFiles(folder, course.encoder, course.config.augment, paths)
    features = FeatureFolder(
        folder, course.encoder, is_own=traits.takes_other_features, has_flow=traits.sees_flow
    )
    return AlikeFiles(features, paths)


def trainable(method: str) -> type[Trained]:
    """The class of a method that has weights. Raises UnknownNameError, ConfigError."""
    cls = METHODS[method]
    if issubclass(cls, Trained):
        return cls
    names = [name for name in METHODS if issubclass(METHODS[name], Trained)]
    raise ConfigError(f"{method} needs no training. Methods that do: {', '.join(names)}.")


def read_settings(method: str, settings: Mapping[str, object]) -> Any:
    """A method's settings, checked, with the defaults of the others. Raises ConfigError."""
    return from_table(trainable(method).Config, settings, where=f"method {method}")
