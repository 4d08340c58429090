"""From names to a trained split: its videos, their features, and the texts.

The texts are the seen classes of a `Dataset`, or the sentences of a `RetrievalDataset`.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, get_args

from openmoment.checkpoints.card import TrainingCard, is_finished, read_card, split_folder
from openmoment.checkpoints.weights import CONFIG
from openmoment.config import from_table
from openmoment.datasets.base import Dataset, Moment, RetrievalDataset, prompt_name
from openmoment.datasets.names import original
from openmoment.datasets.splits import NUM_SPLITS, Split, divide_classes, training_videos
from openmoment.encoders.base import Encoder
from openmoment.errors import ConfigError, FeatureError, OpenMomentError, TrainingError
from openmoment.evaluation.protocol import ALL_CLASSES, OWN_CLASSES
from openmoment.features.cache import Cache
from openmoment.methods import METHODS, preset_settings, presets, training_settings
from openmoment.methods.trained import Trained
from openmoment.methods.traits import Traits
from openmoment.pipeline.queries import encode_queries, pair_queries
from openmoment.priors import examples_of, read_priors
from openmoment.training.config import TrainConfig, divide_settings
from openmoment.training.data import Advance, Pieces, TrainingData
from openmoment.training.files import AlikeFiles
from openmoment.training.frames import VideoFiles
from openmoment.training.lesson import (
    Course,
    Lesson,
    begin,
    open_files,
    read_settings,
    trainable,
)
from openmoment.training.loop import Hear, train
from openmoment.training.processes import Processes
from openmoment.training.sentences import SentenceData
from openmoment.training.state import require_same_config
from openmoment.types import Queries

_EVERY_SPLIT = "all"
_USUAL = "recommended"
_TASK, _RETRIEVAL = "task", "mr"
CLIPS = "clips"
"""The task of whole clips that show one class each, and what their presets call the dataset."""


@dataclass(frozen=True)
class ClassSplit:
    """Which classes are trained on. ``setting`` and ``name`` are what the card calls it."""

    setting: str
    name: str
    seen: tuple[str, ...]
    unseen: tuple[str, ...]

    @property
    def prompts(self) -> list[str]:
        """The seen classes as a person would say them."""
        return [prompt_name(name) for name in self.seen]


def class_splits(
    dataset: Dataset | RetrievalDataset,
    setting: str = ALL_CLASSES,
    split: str | None = None,
    unseen: Sequence[str] = (),
) -> list[ClassSplit]:
    """The splits that are asked for: one, or the ten of a setting for ``split`` all.

    With ``unseen`` the split is one's own; with the setting ``all`` every class is seen. Sentences
    have no classes, and a single split. Raises ConfigError, UnknownNameError.
    """
    if isinstance(dataset, RetrievalDataset):
        if setting != ALL_CLASSES or split is not None or unseen:
            raise ConfigError(
                f"{dataset.name} has sentences and no classes: leave --setting, --split and "
                "--unseen out."
            )
        return [ClassSplit(ALL_CLASSES, ALL_CLASSES, (), ())]
    if unseen and setting != ALL_CLASSES:
        raise ConfigError("--unseen is a class split of your own: leave --setting out.")
    if setting == ALL_CLASSES:
        if split is not None:
            raise ConfigError("--split is one of a setting: --setting 75-25 or --setting 50-50.")
        name = OWN_CLASSES if unseen else ALL_CLASSES
        return [ClassSplit(name, name, *divide_classes(dataset, unseen))]
    if split is None:
        raise ConfigError(f"Say which class split: --split 0 to {NUM_SPLITS - 1}, or all.")
    if split != _EVERY_SPLIT and not split.isdecimal():
        raise ConfigError(f"--split: expected 0 to {NUM_SPLITS - 1}, or all, got {split!r}.")
    numbers = range(NUM_SPLITS) if split == _EVERY_SPLIT else [int(split)]
    found = [Split(dataset.name, setting, number) for number in numbers]
    return [
        ClassSplit(setting, str(one.index), *divide_classes(dataset, one.unseen)) for one in found
    ]


@dataclass(frozen=True, kw_only=True)
class Plan(Course):
    """A course on a dataset; a split says on which classes."""

    settings: Mapping[str, object]
    dataset: Dataset | RetrievalDataset
    features: Path | None
    allow_missing: bool = False
    videos: Path | None = None
    """For methods that learn from frames."""
    priors: Path | None = None
    """Generated sentences and pictures, for methods that read them."""


def make_plan(
    method: str,
    dataset: Dataset | RetrievalDataset,
    features: Path | None,
    encoder: Encoder,
    *,
    videos: Path | None = None,
    preset: str | None = None,
    given: Mapping[str, object] | None = None,
    cache: Cache | None = None,
    allow_missing: bool = False,
    init: Path | None = None,
    priors: Path | None = None,
) -> Plan:
    """With the settings of a preset, and over them those given, of the method or of training.

    A method that can be made for sentences is, where the dataset has them. Raises
    UnknownNameError, ConfigError, also for a method that is not made for the dataset, and for
    ``priors`` of a method that reads none.
    """
    cls = trainable(method)
    own, config = resolve(method, dataset.name, preset, given)
    if isinstance(dataset, RetrievalDataset) and has_task(cls, _RETRIEVAL):
        own = {_TASK: _RETRIEVAL, **own}
    _require_task(method, own, dataset)
    if priors and _traits(method, own).pairing is None:
        raise ConfigError(f"{method} reads no priors: leave --priors out.")
    return Plan(
        method=method,
        settings=own,
        config=config,
        encoder=encoder,
        cache=cache,
        init=init,
        dataset=dataset,
        features=features,
        allow_missing=allow_missing,
        videos=videos,
        priors=priors,
    )


def resolve(
    method: str, dataset: str, preset: str | None, given: Mapping[str, object] | None
) -> tuple[dict[str, object], TrainConfig]:
    """A preset's settings for a dataset, and over them those given: the method's, and training's.

    Raises UnknownNameError, ConfigError.
    """
    own, training = divide_settings(trainable(method).Config, dict(given or {}))
    if known := find_preset(method, dataset, preset):
        own = {**preset_settings(method, known), **own}
        training = {**training_settings(method, known), **training}
    return own, from_table(TrainConfig, training, where="training")


def _traits(method: str, settings: Mapping[str, object]) -> Traits:
    """Of a method with these settings. Raises ConfigError."""
    return trainable(method).traits_of(read_settings(method, settings))


def _require_task(
    method: str, settings: Mapping[str, object], dataset: Dataset | RetrievalDataset
) -> None:
    """Raises ConfigError for a method that asks for classes where there are sentences, or so."""
    cls = trainable(method)
    if settings.get(_TASK) == CLIPS:
        raise ConfigError(f"task={CLIPS} is for whole clips: openmoment pretrain {method}.")
    task = _traits(method, settings).task or "tal"
    has_sentences = isinstance(dataset, RetrievalDataset)
    if has_sentences == (task == _RETRIEVAL):
        return
    if not has_sentences:
        raise ConfigError(
            f"{method} with task={task} is made for sentences, {dataset.name} has classes. "
            "Leave task out, or choose a dataset of moment retrieval."
        )
    if has_task(cls, _RETRIEVAL):
        raise ConfigError(
            f"{method} with task={task} is made for classes, {dataset.name} has sentences. "
            f"Leave task out, or say task={_RETRIEVAL}."
        )
    raise ConfigError(
        f"{method} is made for classes, {dataset.name} has sentences. Methods that take them: "
        f"{', '.join(with_task(_RETRIEVAL))}."
    )


def has_task(cls: type[Trained], task: str) -> bool:
    """Whether a setting makes it for that task; methods without any are made for classes."""
    kinds = {field.name: field.type for field in fields(cls.Config)}
    return _TASK in kinds and task in get_args(kinds[_TASK])


def with_task(task: str) -> list[str]:
    """The methods that a setting makes for that task."""
    able = [name for name in METHODS if issubclass(METHODS[name], Trained)]
    return [name for name in able if has_task(trainable(name), task)]


def find_preset(method: str, dataset: str, preset: str | None) -> str | None:
    """The preset of that name, or of that variant for the dataset: ``paper``.

    Without a name the recommended one for the dataset, if there is one. Raises UnknownNameError
    when it is used.
    """
    variant = f"{original(dataset)}-{preset or _USUAL}"
    return variant if variant in presets(method) else preset


def prepare_folder(out: Path, *, resume: bool) -> None:
    """Make the folder of a run. Raises OpenMomentError when it holds anything, unless to resume."""
    try:
        is_filled = out.is_dir() and any(not p.name.startswith(".") for p in out.iterdir())
        if is_filled and not resume:
            raise OpenMomentError(
                f"{out}: is not empty. Go on with --resume, or choose another folder."
            )
        if is_filled and not ((out / CONFIG).is_file() or split_folder(out, "0").is_dir()):
            raise OpenMomentError(f"{out}: holds no training to go on with. Choose another folder.")
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OpenMomentError(f"{out}: cannot be a folder ({error.strerror}).") from error


def is_done(plan: Plan, split: ClassSplit, folder: Path) -> bool:
    """Whether the folder holds this training, finished. Raises TrainingError for another one."""
    if not is_finished(folder):
        return False
    require_same_config(plan.method, _settings(plan, split), plan.config, folder)
    if (before := read_card(folder).init) != str(plan.init or ""):
        raise TrainingError(
            f"{folder}: is finished, and began with {before or 'fresh weights'}. Ask as before, or "
            "train into another folder."
        )
    return True


def train_split(
    plan: Plan,
    split: ClassSplit,
    out: Path,
    *,
    processes: Processes,
    tensorboard: bool = False,
    advance: Advance | None = None,
    hear: Hear | None = None,
    tell: Callable[[str], None] | None = None,
) -> TrainingCard:
    """Train on one split, into a folder that is there. Raises OpenMomentError.

    ``tell`` hears what the run begins with.
    """
    settings = _settings(plan, split)
    traits = trainable(plan.method).traits_of(settings)
    files = _files(plan, traits)
    annotated = _annotated(plan.dataset, split)
    videos = {video: true for video, true in annotated.items() if video in files}
    missing = tuple(sorted(annotated.keys() - videos.keys()))
    _require_files(videos, missing, plan, files)
    made = _material(plan.dataset, split, videos)
    lesson = Lesson(
        files,
        videos,
        made.kind,
        _queries(made.texts, traits, plan),
        settings,
        partial(
            TrainingCard,
            dataset=plan.dataset.name,
            subset=plan.dataset.train_subset,
            setting=split.setting,
            split=split.name,
            seen=split.seen,
            unseen=split.unseen,
            num_videos=len(videos),
            excluded=() if isinstance(plan.dataset, RetrievalDataset) else plan.dataset.excluded,
            missing=missing,
            num_sentences=made.num_sentences,
            priors=str(plan.priors or ""),
        ),
    )
    begun = begin(plan, lesson, advance=advance, tell=tell)
    return train(*begun, out, processes=processes, tensorboard=tensorboard, hear=hear)


def _settings(plan: Plan, split: ClassSplit) -> Any:
    """The method's, with what they have to know of the classes."""
    settings = read_settings(plan.method, plan.settings)
    return trainable(plan.method).prepare(settings, split.prompts)


def _queries(texts: list[str], traits: Traits, plan: Plan) -> Queries:
    """The texts as the method reads them."""
    queries = encode_queries(texts, plan.encoder, plan.cache, templates=traits.templates)
    if traits.pairing is None:
        return queries
    examples = examples_of(queries.names, priors=read_priors(plan.priors)) if plan.priors else None
    return pair_queries(queries, traits.pairing, plan.encoder, plan.cache, examples)


class _Material(NamedTuple):
    """What is made of annotated videos: texts, and the data of a run."""

    texts: list[str]
    kind: Callable[..., Pieces]
    num_sentences: int = 0


def _annotated(dataset: Dataset | RetrievalDataset, split: ClassSplit) -> Mapping[str, Any]:
    """The training videos: instances of seen classes, or sentences."""
    if isinstance(dataset, Dataset):
        return training_videos(dataset, split.seen)
    found: dict[str, list[Moment]] = {}
    for moment in dataset.subsets.get(dataset.train_subset, ()):
        found.setdefault(moment.video, []).append(moment)
    return found


def _material(
    dataset: Dataset | RetrievalDataset, split: ClassSplit, videos: Mapping[str, Any]
) -> _Material:
    if isinstance(dataset, Dataset):
        return _Material(split.prompts, partial(TrainingData, seen=split.seen))
    texts = [moment.query for moments in videos.values() for moment in moments]
    return _Material(texts, SentenceData, len(texts))


def _require_files(
    videos: Collection[str],
    missing: tuple[str, ...],
    plan: Plan,
    files: AlikeFiles | VideoFiles,
) -> None:
    """Raises TrainingError where there is nothing to train on, FeatureError where files miss."""
    if not videos and not missing:
        what = "a seen class" if isinstance(plan.dataset, Dataset) else "a sentence"
        raise TrainingError(
            f"{plan.dataset.name} has no training video with {what}. Its training subset is "
            f"{plan.dataset.train_subset!r}; there are: {', '.join(plan.dataset.subsets)}."
        )
    if missing and not (plan.allow_missing and videos):
        raise FeatureError(
            f"{files.folder}: {len(missing)} of {len(missing) + len(videos)} training videos have "
            f"no {files.kind} file, the first is {missing[0]!r}. Add them, or leave them out with "
            "--allow-missing."
        )


def _files(plan: Plan, traits: Traits) -> AlikeFiles | VideoFiles:
    """What the method learns from. Raises ConfigError where that is not given."""
    folder = plan.videos if traits.sees_frames else plan.features
    if folder is None:
        frames, features = "frames: give videos, --videos", "features: give these, --features"
        what = frames if traits.sees_frames else features
        raise ConfigError(f"This {plan.method} learns from {what} DIR.")
    return open_files(folder, plan, traits)
