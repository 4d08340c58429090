"""A method as it is put to a dataset: what it looks at, its checkpoints, and its other words."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from openmoment.checkpoints.card import classes_met, read_card, split_folder
from openmoment.errors import FeatureError, RecipeError
from openmoment.evaluation.protocol import ALL_CLASSES, OWN_CLASSES, Protocol
from openmoment.experiments.progress import Advance, Bar, Tell, no_bar
from openmoment.experiments.proposals import ProposalFile
from openmoment.features.captions import captions_for
from openmoment.pipeline.answering import Pipeline
from openmoment.pipeline.snippets import FeatureFolder
from openmoment.storage.listing import by_id, find_videos
from openmoment.types import Snippets

R = TypeVar("R")

Rename = Callable[[Sequence[str]], tuple[str, ...]]
"""From the names to ask for to others, in the same order."""


@dataclass(frozen=True)
class SnippetSource:
    """Where a video's snippets come from, by its id: a folder of feature files, or of videos."""

    pipeline: Pipeline
    features: Path | None = None
    videos: Path | None = None
    captions: Path | None = None
    """A folder of caption files, for methods that read captions."""
    proposals: ProposalFile | None = None
    """For methods that classify proposals."""

    def __post_init__(self) -> None:
        if (self.features is None) == (self.videos is None):
            raise FeatureError("Say where features come from: --features DIR or --videos DIR.")
        for folder in (self.features, self.videos, self.captions):
            if folder and not folder.is_dir():
                raise FeatureError(f"{folder}: no such folder.")

    def paths(self) -> dict[str, Path]:
        """The files at hand by id, with and without ``v_``."""
        if self.videos:
            return by_id(find_videos(self.videos))
        return self._folder.paths()

    def load(self, path: Path) -> Snippets:
        """With captions where there are some. Raises FeatureError, VideoError, FormatError."""
        snippets = self.pipeline.snippets(path) if self.videos else self._folder.read(path)
        if self.proposals:
            snippets = replace(snippets, proposals=self.proposals.of(path.stem))
        captions = captions_for(path.stem, self.captions) if self.captions else None
        return self.pipeline.captioned(snippets, captions) if captions else snippets

    @property
    def _folder(self) -> FeatureFolder:
        assert self.features
        traits = self.pipeline.traits
        return FeatureFolder(
            self.features,
            self.pipeline.encoder,
            is_own=traits.takes_other_features,
            has_flow=traits.sees_flow,
            flow=self.pipeline.flow,
        )


@dataclass(frozen=True)
class Checkpoints:
    """A training run's checkpoints as pipelines: ``split_0`` … of a folder, or the folder itself.

    Called with a split's name. Raises RecipeError for a checkpoint that was trained on one of
    the split's unseen classes.
    """

    folder: Path
    protocol: Protocol
    load: Callable[[Path], Pipeline]

    @cached_property
    def trained_on(self) -> tuple[str, ...]:
        """Those of the candidate classes, of any split, that the weights were trained on."""
        found = {
            name
            for split, part in self.protocol.parts.items()
            for name in classes_met(read_card(self._path(split)), part.candidates)
        }
        return tuple(sorted(found))

    @property
    def mixture(self) -> str:
        """A line for a number over classes that were trained on and others; else empty."""
        if self.protocol.setting != ALL_CLASSES:
            return ""
        (part,) = self.protocol.parts.values()
        if not 0 < len(self.trained_on) < len(part.candidates):
            return ""
        card = read_card(self._path(ALL_CLASSES))
        option = "--unseen with their names"
        if card.dataset == self.protocol.dataset.name and card.split.isdecimal():
            option = f"--setting {card.setting} --splits {card.split}"
        return (
            f"{len(self.trained_on)} of these {len(part.candidates)} classes were trained on. "
            f"For unseen ones alone: {option}."
        )

    def first(self) -> Pipeline:
        """That of the first split."""
        return self(next(iter(self.protocol.parts)))

    def _path(self, split: str) -> Path:
        path = split_folder(self.folder, split)
        return path if path.is_dir() else self.folder

    def __call__(self, split: str) -> Pipeline:
        path = self._path(split)
        if self.protocol.setting != ALL_CLASSES:
            if met := classes_met(read_card(path), self.protocol.parts[split].unseen):
                which = "here" if split == OWN_CLASSES else f"in split {split}"
                raise RecipeError(
                    f"{path}: was trained on {met[0]!r}, which is to be unseen {which}. Give a "
                    "checkpoint that never met it."
                )
        return self.load(path)


@dataclass(frozen=True)
class Contender:
    """A method that is evaluated: how it is loaded, where its videos are, and who hears of it."""

    load: Callable[[Path | None], Pipeline]
    """Of a checkpoint; with None, a method that needs no training."""
    checkpoint: Path | None = None
    features: Path | None = None
    videos: Path | None = None
    captions: Path | None = None
    allow_missing: bool = False
    text_check: bool = False
    """Whether it is asked again, with the meaning taken out of its words."""
    bar: Bar = no_bar
    tell: Tell | None = None

    def trained(self, protocol: Protocol) -> Checkpoints | None:
        """Its checkpoints, if it has any; a number over seen and unseen classes is told."""
        if self.checkpoint is None:
            return None
        found = Checkpoints(self.checkpoint, protocol, self.load)
        if self.tell and (mixture := found.mixture):
            self.tell(mixture)
        return found

    def source(self, pipeline: Pipeline, proposals: ProposalFile | None = None) -> SnippetSource:
        """What its pipeline looks at. Raises FeatureError."""
        return SnippetSource(pipeline, self.features, self.videos, self.captions, proposals)

    def ask_again(
        self, checks: Mapping[str, Rename], ask: Callable[[Rename, Advance | None], R]
    ) -> dict[str, R]:
        """What ``ask`` finds by other words, for each text check; nothing without `text_check`."""
        found: dict[str, R] = {}
        for name, rename in checks.items() if self.text_check else ():
            with self.bar(name) as advance:
                found[name] = ask(rename, advance)
        return found
