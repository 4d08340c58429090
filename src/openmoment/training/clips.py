"""Clips that show one class each, from beginning to end: what a method may learn from first.

They lie as Kinetics does: a folder for each class, of its name, and its clips in it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray as Array

from openmoment.blocks.batch import Instances
from openmoment.datasets.base import prompt_name
from openmoment.errors import FeatureError, FormatError, UnknownNameError
from openmoment.features.file import FLOW_SUFFIX, SUFFIX
from openmoment.pipeline.queries import tidy_name
from openmoment.storage.listing import find_videos
from openmoment.training.data import Pieces
from openmoment.types import SnippetGrid, Snippets


class ClipFolder(NamedTuple):
    """Clips by their path below a folder, and the class of each."""

    paths: Mapping[str, Path]
    labels: Mapping[str, str]
    classes: tuple[str, ...]
    """The names of the folders, sorted."""
    left_out: tuple[str, ...]


def find_clips(folder: Path, *, are_features: bool, left_out: Sequence[str] = ()) -> ClipFolder:
    """The clips of a folder of classes: videos, or feature files; some classes are left out.

    Hidden files and folders are passed over. Raises FormatError for no folder of classes, or two
    that a person would call the same; UnknownNameError for a class to leave out that is not there;
    VideoError and FeatureError for a class without clips.
    """
    if not folder.is_dir():
        raise FormatError(f"{folder}: no such folder.")
    folders = {p.name: p for p in sorted(folder.iterdir()) if p.is_dir() and p.name[0] != "."}
    if not folders:
        raise FormatError(f"{folder}: holds no folders. Expected one for each class, of its name.")
    for name in left_out:
        if name not in folders:
            raise UnknownNameError("class", name, list(folders))
    classes = tuple(name for name in folders if name not in left_out)
    _refuse_same(folder, classes)
    list_files = _feature_files if are_features else find_videos
    found = {
        path.relative_to(folder).as_posix(): (path, name)
        for name in classes
        for path in list_files(folders[name])
    }
    paths = {clip: path for clip, (path, _) in found.items()}
    labels = {clip: name for clip, (_, name) in found.items()}
    return ClipFolder(paths, labels, classes, tuple(sorted(left_out)))


def _refuse_same(folder: Path, classes: Sequence[str]) -> None:
    said: dict[str, str] = {}
    for name in classes:
        words = tidy_name(prompt_name(name))
        if words in said:
            raise FormatError(
                f"{folder}: the folders {said[words]!r} and {name!r} are both of {words!r}. Make "
                "them one."
            )
        said[words] = name


def _feature_files(folder: Path) -> list[Path]:
    files = folder.rglob(f"*{SUFFIX}")
    found = sorted(path for path in files if not path.name.endswith(FLOW_SUFFIX))
    if not found:
        raise FeatureError(f"{folder}: no feature file in this folder.")
    return found


class ClipData(Pieces[int]):
    """Clips for a method, each as one piece, by the number of its text among ``queries``.

    Raises VideoError and FeatureError, naming the clip.
    """

    NONE = "There is no clip to learn from."

    def _shown(
        self, video: str, grid: SnippetGrid, epoch: int, names: tuple[str, ...]
    ) -> Instances:
        return _throughout(len(grid), self._videos[video])

    def _annotated(self, video: str, epoch: int) -> Float[Array, "n 2"]:
        return np.zeros((0, 2))

    def _require_instance(self, video: str, snippets: Snippets) -> None:
        """A clip shows its class."""


def _throughout(t: int, label: int) -> Instances:
    """One instance, all of the piece."""
    return Instances(
        torch.ones(1, t, dtype=torch.bool), torch.tensor([label]), torch.tensor([[0.0, float(t)]])
    )
