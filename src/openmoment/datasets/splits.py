"""The zero-shot protocol: which classes are unseen, and which videos and instances that leaves.

The ten random class splits of Efficient-Prompt (Ju et al., ECCV 2022), which STALE, T3AL, GAP,
ConTrans, UnLoc and GRIZAL follow, for 75:25 and 50:50, THUMOS14 and ActivityNet-1.3. They were
drawn without a published seed, so that the lists themselves are the protocol.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool
from numpy import ndarray as Array

from openmoment.datasets.base import Dataset
from openmoment.datasets.names import published_splits
from openmoment.errors import ConfigError, FormatError, UnknownNameError
from openmoment.storage.reading import read_text
from openmoment.types import Annotations

SETTINGS = ("75-25", "50-50")
NUM_SPLITS = 10

Rule = Literal["openmoment", "gap-code", "t3al-code", "stale-code"]
"""By whose convention videos and instances are kept; see `zero_shot`."""

_STALE_MIN_SHARE = 0.06
_GAP_MIN_LENGTH_S = 1.0
_GAP_THUMOS_SNIPPETS = 256
_FOLDERS = {"75-25": "train_75_test_25", "50-50": "train_50_test_50"}
_DATASET_FOLDERS = {"thumos14": "THUMOS14", "activitynet": "ActivityNet"}


@dataclass(frozen=True)
class Split:
    """One published class split, ``Split("thumos14", "50-50", 3)``.

    Raises UnknownNameError for another dataset or setting, ConfigError for another number.
    """

    dataset: str
    setting: str
    index: int

    def __post_init__(self) -> None:
        known = published_splits()
        if self.dataset not in known:
            raise UnknownNameError("dataset with class splits", self.dataset, list(known))
        if self.setting not in SETTINGS:
            raise UnknownNameError("setting", self.setting, list(SETTINGS))
        if not 0 <= self.index < NUM_SPLITS:
            raise ConfigError(f"Splits are numbered 0 to {NUM_SPLITS - 1}, got {self.index}.")

    def __str__(self) -> str:
        return f"{self.dataset}/{self.setting}/{self.index}"

    @property
    def unseen(self) -> tuple[str, ...]:
        """The classes that are only met at test time, in alphabetical order."""
        return tuple(published_splits()[self.dataset]["unseen"][self.setting][self.index])

    @property
    def seen(self) -> tuple[str, ...]:
        """The classes to train on, in alphabetical order."""
        unseen = set(self.unseen)
        return tuple(n for n in published_splits()[self.dataset]["classes"] if n not in unseen)


@dataclass(frozen=True)
class ZeroShot:
    """What one split makes of a dataset.

    ``train`` holds seen instances only: unseen ones are background there. ``test`` holds what is
    evaluated, and ``candidates`` are the names that a method may give it.
    """

    train: Mapping[str, Annotations]
    test: Mapping[str, Annotations]
    candidates: tuple[str, ...]
    seen: tuple[str, ...]
    unseen: tuple[str, ...]


def parse_split(text: str) -> Split:
    """``thumos14/50-50/3``. Raises ConfigError for another form, and as `Split`."""
    parts = text.split("/")
    if len(parts) != 3 or not parts[2].isdecimal():
        raise ConfigError(
            f"A split is DATASET/SETTING/NUMBER, like thumos14/50-50/3; got {text!r}."
        )
    return Split(parts[0], parts[1], int(parts[2]))


def read_split_folder(
    root: Path, dataset: str, setting: str, index: int
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Seen and unseen class names from the published folder layout.

    ``root/train_75_test_25/THUMOS14/{train,test}/split_0.list``, one name a line. Raises
    FormatError when a list is missing or empty, or when the two overlap.
    """
    if dataset not in _DATASET_FOLDERS:
        raise UnknownNameError("dataset with class splits", dataset, list(_DATASET_FOLDERS))
    if setting not in _FOLDERS:
        raise UnknownNameError("setting", setting, list(_FOLDERS))
    folder = root / _FOLDERS[setting] / _DATASET_FOLDERS[dataset]
    seen, unseen = (_read_list(folder / part / f"split_{index}.list") for part in ("train", "test"))
    if shared := set(seen) & set(unseen):
        raise FormatError(f"{folder}: split {index}: seen and unseen at once: {min(shared)!r}.")
    return seen, unseen


def _read_list(path: Path) -> tuple[str, ...]:
    names = tuple(line.strip() for line in read_text(path).splitlines() if line.strip())
    if not names:
        raise FormatError(f"{path}: names no class.")
    return names


def zero_shot(
    dataset: Dataset,
    unseen: Collection[str],
    *,
    rule: Rule = "openmoment",
    eval_subset: str | None = None,
    generalized: bool = False,
) -> ZeroShot:
    """The training videos of the seen classes, and the test videos of the unseen ones.

    A training video has at least one seen instance, a test video at least one unseen one, each of
    its subset, and only these instances count. ``generalized`` lets all classes be candidates,
    and evaluates all of them. By ``rule`` the conventions of the reference codes:

    - ``t3al-code`` is ours but for the videos, which are those of all subsets: say so by
      ``eval_subset="validation+test"``;
    - ``gap-code`` drops instances shorter than a second, on THUMOS14 than 1/256 of their video;
    - ``stale-code`` knows of each video its last instance alone, and only if that takes more than
      6 % of it; the ground truth of the test videos that are left is whole.

    Raises FormatError when an unseen name is no class, and when no video is left to test.
    """
    seen_names, unseen_names = divide_classes(dataset, unseen)
    subset = eval_subset or dataset.test_subset
    evaluated = dataset.class_names if generalized else unseen_names
    test = _with_classes(dataset, dataset.subset(subset), evaluated, rule)
    if rule == "stale-code":
        whole = _with_classes(dataset, dataset.subset(subset), evaluated, "openmoment")
        test = {video: whole[video] for video in test}
    if not test:
        raise FormatError(f"{dataset.name}: no video of the subset {subset!r} has these classes.")
    return ZeroShot(
        train=training_videos(dataset, seen_names, rule=rule),
        test=test,
        candidates=evaluated,
        seen=seen_names,
        unseen=unseen_names,
    )


def divide_classes(
    dataset: Dataset, unseen: Collection[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Seen and unseen classes in the dataset's order. Raises UnknownNameError."""
    for name in unseen:
        if name not in dataset.class_names:
            raise UnknownNameError("class", name, list(dataset.class_names))
    names = dataset.class_names
    return tuple(n for n in names if n not in unseen), tuple(n for n in names if n in unseen)


def training_videos(
    dataset: Dataset, seen: Collection[str], *, rule: Rule = "openmoment"
) -> dict[str, Annotations]:
    """The videos of the training subset that hold a seen class, with these instances alone.

    There is none where the dataset has no training subset.
    """
    if dataset.train_subset not in dataset.subsets:
        return {}
    return _with_classes(dataset, dataset.subset(dataset.train_subset), seen, rule)


def _with_classes(
    dataset: Dataset, videos: Mapping[str, Annotations], names: Collection[str], rule: Rule
) -> dict[str, Annotations]:
    """The videos that hold an instance of the classes, with these instances alone."""
    wanted = np.array([name in names for name in dataset.class_names])
    kept = {}
    for video, annotations in videos.items():
        chosen = wanted[annotations.labels] & _known_to(rule, dataset.name, annotations)
        if chosen.any():
            kept[video] = _of(annotations, chosen)
    return kept


def _known_to(rule: Rule, dataset: str, annotations: Annotations) -> Bool[Array, " n"]:
    """Which instances a reference code keeps, whatever their class."""
    lengths = annotations.segments[:, 1] - annotations.segments[:, 0]
    if rule == "stale-code":
        is_last = np.arange(len(annotations)) == len(annotations) - 1
        return is_last & (lengths > _STALE_MIN_SHARE * annotations.duration_s)
    if rule == "gap-code":
        snippet_s = annotations.duration_s / _GAP_THUMOS_SNIPPETS
        return lengths >= (snippet_s if dataset == "thumos14" else _GAP_MIN_LENGTH_S)
    return np.ones(len(annotations), dtype=bool)


def _of(annotations: Annotations, chosen: Bool[Array, " n"]) -> Annotations:
    return Annotations(
        annotations.segments[chosen],
        annotations.labels[chosen],
        annotations.names,
        annotations.duration_s,
    )
