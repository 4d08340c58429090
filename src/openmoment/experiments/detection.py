"""A method over a dataset: features in, predictions and a result with its card out.

Features come from feature files or are made from videos once, and serve every split; words are
encoded once per set of names. Does the method read its text at all? `text_check` asks with the
names exchanged and with nonsense.
"""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from openmoment.checkpoints.card import classes_met, read_card, split_folder
from openmoment.config import to_table
from openmoment.datasets.base import prompt_name
from openmoment.errors import FeatureError, RecipeError
from openmoment.evaluation.protocol import (
    ALL_CLASSES,
    OWN_CLASSES,
    Protocol,
    Run,
    only_known,
    score_split,
)
from openmoment.evaluation.result import Result
from openmoment.experiments.proposals import ProposalFile
from openmoment.features.captions import captions_for
from openmoment.methods.base import TakesTruth
from openmoment.pipeline.answering import Pipeline
from openmoment.pipeline.snippets import FeatureFolder
from openmoment.storage.listing import by_id, find_videos
from openmoment.types import Detections, Snippets

Advance = Callable[[float, float], None]
"""Hears (videos done, videos in all)."""
Trained = Callable[[str], Pipeline]
"""From a split's name to the pipeline that was trained for it."""
Rename = Callable[[Sequence[str]], tuple[str, ...]]
"""From the names to ask for to others, in the same order."""

_CONSONANTS, _VOWELS = "bdfgklmnprstvz", "aeiou"


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


def run(
    protocol: Protocol,
    source: SnippetSource,
    *,
    trained: Trained | None = None,
    trained_on: tuple[str, ...] = (),
    tells_truth: bool = False,
    allow_missing: bool = False,
    rename: Rename = tuple,
    seed: int | None = None,
    advance: Advance | None = None,
) -> Run:
    """Localize the candidate classes in every test video of every split, and score it.

    ``trained`` gives each split its own pipeline, by default the source's; ``trained_on`` are
    classes for the card. ``tells_truth`` is for oracles, which are told what there is to find.
    Raises FeatureError for videos without features, unless ``allow_missing``: then they are left
    out of the ground truth, and the card lists them.
    """
    parts, paths = protocol.parts, source.paths()
    wanted = {video for part in parts.values() for video in part.test}
    missing = find_missing(wanted, paths, allow_missing=allow_missing)
    truth = {
        name: {v: true for v, true in part.test.items() if v in paths}
        for name, part in parts.items()
    }
    total, done, start = sum(map(len, truth.values())), 0, time.perf_counter()
    predictions: dict[str, dict[str, Detections]] = {}
    scores = []
    for name, part in parts.items():
        pipeline = trained(name) if trained else source.pipeline
        shown = replace(source, pipeline=pipeline)  # a split may see through a tower of its own
        asked = rename([prompt_name(candidate) for candidate in part.candidates])
        queries = pipeline.queries(asked)
        predictions[name] = {}
        for video in truth[name]:
            snippets = shown.load(paths[video])
            method, answer = pipeline.method, None
            if tells_truth and pipeline.traits.is_told_truth:
                assert isinstance(method, TakesTruth)
                answer = method.answer(snippets, queries, truth=truth[name][video])
            found = pipeline.localize(snippets, queries, video=video, explained=answer)
            found = replace(found, names=part.candidates)
            predictions[name][video] = only_known(protocol.dataset, video, found)
            done += 1
            if advance:
                advance(done, total)
        if not truth[name]:
            raise FeatureError(f"Split {name} has no test video with features.")
        scores.append(score_split(name, predictions[name], truth[name], protocol.tious))
    card = protocol.card(
        **made_by(source.pipeline),
        missing=missing,
        trained_on=trained_on,
        seed=seed,
        **_made_elsewhere(source),
        seconds=round(time.perf_counter() - start, 1),
    )
    return Run(Result(card, tuple(scores)), predictions, truth)


def find_missing(
    wanted: Collection[str], paths: Collection[str], *, allow_missing: bool
) -> tuple[str, ...]:
    """The wanted videos without a file. Raises FeatureError for any, unless ``allow_missing``."""
    missing = tuple(sorted(video for video in wanted if video not in paths))
    if missing and not allow_missing:
        raise FeatureError(
            f"{len(missing)} test videos have no file, the first is {missing[0]!r}. Add them, or "
            "declare them missing with --allow-missing."
        )
    return missing


def _made_elsewhere(source: SnippetSource) -> dict[str, str]:
    """What a card says of proposals: who made them may have met the unseen classes."""
    if source.proposals is None:
        return {}
    return {"external_scores": f"proposals of {source.proposals.path.name}"}


def made_by(pipeline: Pipeline) -> dict[str, object]:
    """What a card says of the method and its backbone."""
    return {
        "method": pipeline.method_name,
        "settings": to_table(pipeline.method.config),
        "backbone": pipeline.encoder.name,
        "fingerprint": pipeline.encoder.fingerprint,
        "fps": pipeline.fps,
    }


# ---------------------------------------------------------------------------------------------
# Does it read its text?
# ---------------------------------------------------------------------------------------------


def text_checks(seed: int = 0) -> Mapping[str, Rename]:
    """The two ways to take the meaning out of the names; the answers count for the true ones."""
    return {
        "names exchanged": lambda names: exchanged(names, seed),
        "nonsense words": lambda names: nonsense(len(names), seed),
    }


def exchanged(names: Sequence[str], seed: int) -> tuple[str, ...]:
    """The same names in another order, none of them where it was; needs at least two."""
    order = np.random.default_rng(seed).permutation(len(names))
    moved = np.empty(len(names), dtype=np.int64)
    moved[order] = np.roll(order, 1)
    return tuple(names[i] for i in moved.tolist())


def nonsense(number: int, seed: int) -> tuple[str, ...]:
    """So many different words that can be said and mean nothing."""
    return tuple(_words(number, np.random.default_rng(seed)))


def _words(number: int, rng: np.random.Generator) -> Iterator[str]:
    seen: set[str] = set()
    while len(seen) < number:
        syllables = [rng.choice(list(_CONSONANTS)) + rng.choice(list(_VOWELS)) for _ in range(3)]
        word = "".join(syllables) + str(rng.choice(list(_CONSONANTS)))
        if word not in seen:
            seen.add(word)
            yield word
