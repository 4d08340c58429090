"""From a folder of clips to weights that a training may begin with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from openmoment.checkpoints.card import TrainingCard, is_finished
from openmoment.datasets.base import prompt_name
from openmoment.encoders.base import Encoder
from openmoment.errors import ConfigError
from openmoment.evaluation.protocol import ALL_CLASSES, OWN_CLASSES
from openmoment.features.cache import Cache
from openmoment.methods.traits import Traits
from openmoment.pipeline.queries import encode_queries
from openmoment.training.clips import ClipData, ClipFolder, find_clips
from openmoment.training.data import Advance
from openmoment.training.files import EncodedVideos
from openmoment.training.lesson import (
    Course,
    Files,
    Lesson,
    begin,
    open_files,
    read_settings,
    trainable,
)
from openmoment.training.loop import Hear, train
from openmoment.training.processes import Processes
from openmoment.training.run import CLIPS, has_task, resolve, with_task
from openmoment.training.state import require_same_config


@dataclass(frozen=True, kw_only=True)
class ClipPlan(Course):
    """A course on clips."""

    folder: Path
    clips: ClipFolder
    are_features: bool = False


def plan_clips(
    method: str,
    encoder: Encoder,
    *,
    videos: Path | None = None,
    features: Path | None = None,
    left_out: Sequence[str] = (),
    preset: str | None = None,
    given: Mapping[str, object] | None = None,
    cache: Cache | None = None,
) -> ClipPlan:
    """Of a folder of videos, or of feature files, with the settings of a preset and those given.

    Raises UnknownNameError, ConfigError, FormatError, VideoError, FeatureError.
    """
    cls = trainable(method)
    if not has_task(cls, CLIPS):
        able = ", ".join(with_task(CLIPS))
        raise ConfigError(f"{method} cannot learn from whole clips. Methods that can: {able}.")
    own, config = resolve(method, CLIPS, preset, given)
    if own.get("task", CLIPS) != CLIPS:
        raise ConfigError(f"task={own['task']} is trained on a dataset: openmoment train {method}.")
    own["task"] = CLIPS
    settings = read_settings(method, own)
    folder = videos or features
    if folder is None or (videos and features):
        raise ConfigError("Say where the clips are: --clips DIR of videos, or --features DIR.")
    traits = cls.traits_of(settings)
    if traits.sees_frames and features:
        raise ConfigError(f"This {method} learns from frames: give videos, --clips DIR.")
    if traits.takes_other_features and videos:
        raise ConfigError(f"This {method} reads other features: give these, --features DIR.")
    clips = find_clips(folder, are_features=bool(features), left_out=left_out)
    return ClipPlan(
        method=method,
        settings=settings,
        config=config,
        encoder=encoder,
        cache=cache,
        folder=folder,
        clips=clips,
        are_features=bool(features),
    )


def is_done(plan: ClipPlan, folder: Path) -> bool:
    """Whether the folder holds this training, finished. Raises TrainingError for another one."""
    if not is_finished(folder):
        return False
    require_same_config(plan.method, plan.settings, plan.config, folder)
    return True


def pretrain(
    plan: ClipPlan,
    out: Path,
    *,
    processes: Processes,
    tensorboard: bool = False,
    advance: Advance | None = None,
    hear: Hear | None = None,
) -> TrainingCard:
    """Train on all clips, into a folder that is there. Raises OpenMomentError."""
    clips, traits = plan.clips, trainable(plan.method).traits_of(plan.settings)
    said = [prompt_name(name) for name in clips.classes]
    split = OWN_CLASSES if clips.left_out else ALL_CLASSES
    lesson = Lesson(
        _files(plan, traits),
        {clip: clips.classes.index(name) for clip, name in clips.labels.items()},
        ClipData,
        encode_queries(said, plan.encoder, plan.cache, templates=traits.templates),
        plan.settings,
        partial(
            TrainingCard,
            dataset=CLIPS,
            subset="train",
            setting=split,
            split=split,
            seen=clips.classes,
            unseen=clips.left_out,
            num_videos=len(clips.paths),
        ),
    )
    begun = begin(plan, lesson, advance=advance)
    return train(*begun, out, processes=processes, tensorboard=tensorboard, hear=hear)


def _files(plan: ClipPlan, traits: Traits) -> Files:
    if plan.are_features or traits.sees_frames:
        return open_files(plan.folder, plan, traits, plan.clips.paths)
    return EncodedVideos(plan.clips.paths, plan.encoder, plan.cache)
