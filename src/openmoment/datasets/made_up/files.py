"""The made-up world on disk: marked annotations, in the form of a real dataset, and feature files.

Its datasets have names of their own, ``synthetic-thumos14``, and no reader of a real dataset takes
the marked file: a number from it cannot pass for a real one.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from openmoment.config import to_table
from openmoment.datasets.activitynet import ACTIVITYNET
from openmoment.datasets.activitynet_captions import ACTIVITYNET_CAPTIONS
from openmoment.datasets.base import Benchmark, Layout
from openmoment.datasets.charades_sta import CHARADES_STA
from openmoment.datasets.coin import COIN, parse_coin
from openmoment.datasets.made_up import sentences as synthetic_sentences
from openmoment.datasets.made_up import steps as synthetic_steps
from openmoment.datasets.made_up.sentences import SentenceWorld
from openmoment.datasets.made_up.steps import StepWorld
from openmoment.datasets.made_up.world import FOOTAGE, Film, Footage, SyntheticWorld, World
from openmoment.datasets.names import SYNTHETIC
from openmoment.datasets.records import MADE_UP, Records, is_made_up, parse_activitynet
from openmoment.datasets.thumos14 import THUMOS14
from openmoment.errors import FormatError
from openmoment.features.file import FLOW_SUFFIX, SUFFIX, write_features
from openmoment.storage.atomic import write_text
from openmoment.storage.reading import get, read_json
from openmoment.types import Recipe, Snippets

ANNOTATIONS = "annotations.json"
FEATURES, PRIORS = "features", "priors"
NOTE = "Made up: there is no video. No number from it says how good a method is on real video."

Advance = Callable[[float, float], None]
"""Hears (videos done, videos in all)."""


def _like(
    real: Benchmark,
    *,
    classes: tuple[str, ...] = (),
    parse: Callable[[Any, Path], Records] = parse_activitynet,
) -> Benchmark:
    """The made-up dataset with the classes, subsets and metrics of a real one.

    It has other ``classes`` than the real one if they are given.
    """

    def read(files: Sequence[Path]) -> Records:
        (path,) = files
        content = read_json(path)
        origin = get(content, MADE_UP, dict, str(path))
        if origin.get("dataset") != real.name:
            raise FormatError(
                f"{path}: {MADE_UP}.dataset: expected {real.name!r}, got {origin.get('dataset')!r}."
            )
        return parse(content, path)

    return Benchmark(
        name=SYNTHETIC + real.name,
        title=f"{real.title} made up",
        task=real.task,
        layouts=(Layout((ANNOTATIONS,), read),),
        train_subset=real.train_subset,
        test_subset=real.test_subset,
        profile=real.profile,
        classes=classes or real.classes,
        where_to_get=f"Make it: openmoment datasets synthesize {real.name} --out DIR",
    )


def _parse_sentences(content: Any, path: Path) -> Records:
    """Records in ActivityNet's form, where every label is a sentence and has an id."""
    return [
        replace(
            record,
            instances=tuple(
                instance._replace(query_id=f"{record.id}:{i}")
                for i, instance in enumerate(record.instances)
            ),
        )
        for record in parse_activitynet(content, path)
    ]


SYNTHETIC_THUMOS14 = _like(THUMOS14)
SYNTHETIC_ACTIVITYNET = _like(ACTIVITYNET)
SYNTHETIC_COIN = _like(COIN, classes=synthetic_steps.STEPS, parse=parse_coin)

SYNTHETIC_CHARADES_STA = _like(CHARADES_STA, parse=_parse_sentences)
SYNTHETIC_ACTIVITYNET_CAPTIONS = _like(ACTIVITYNET_CAPTIONS, parse=_parse_sentences)


class Shape(NamedTuple):
    """What is made for a real dataset."""

    kind: type[SyntheticWorld]
    footage: Footage
    names: tuple[str, ...]
    """Whose texts decide what is seen."""
    settings: World = World()
    more_tests: tuple[str, ...] = ()
    """Subsets to test on, besides that of the real dataset."""


WORLDS: Mapping[str, Shape] = {
    "thumos14": Shape(SyntheticWorld, FOOTAGE["thumos14"], THUMOS14.classes),
    "activitynet": Shape(SyntheticWorld, FOOTAGE["activitynet"], ACTIVITYNET.classes),
    "coin": Shape(StepWorld, synthetic_steps.COIN, synthetic_steps.STEPS),
    **{
        footage.name: Shape(
            SentenceWorld,
            footage,
            synthetic_sentences.PHRASES,
            synthetic_sentences.SETTINGS,
            (synthetic_sentences.NEW_PHRASES,),
        )
        for footage in (synthetic_sentences.CHARADES_STA, synthetic_sentences.ACTIVITYNET_CAPTIONS)
    },
}
"""By the real dataset whose shape they have."""


def write_world(
    world: SyntheticWorld,
    folder: Path,
    recipe: Recipe,
    *,
    num_videos: Mapping[str, int],
    flow: Recipe | None = None,
    advance: Advance | None = None,
) -> None:
    """Write ``num_videos`` of each subset below ``folder``: features first, annotations last.

    With a recipe of ``flow`` each video has a second stream, of what moves. The annotations of an
    older world go first, so that those that are there belong to the features beside them. Raises
    FormatError when the folder holds annotations that were not made up, or cannot be written to.
    """
    path, features = folder / ANNOTATIONS, folder / FEATURES
    if path.exists() and not is_made_up(read_json(path)):
        raise FormatError(f"{path}: holds other annotations. Choose another folder for --out.")
    try:
        features.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
    except OSError as error:
        raise FormatError(f"{folder}: cannot be written ({error.strerror or error}).") from error
    videos = {subset: world.videos(subset, number) for subset, number in num_videos.items()}
    total, database = sum(num_videos.values()), {}
    for subset, listed in videos.items():
        for video in listed:
            film = world.make(video)
            _write(film, features / f"{video.id}{SUFFIX}", recipe)
            if flow:
                moving = film._replace(features=world.make_flow(film, video))
                _write(moving, features / f"{video.id}{FLOW_SUFFIX}", flow)
            truth = film.annotations
            told = {"subset": subset, "duration": truth.duration_s}
            database[video.id] = told | world.entry(video, truth)
            if advance:
                advance(len(database), total)
    origin = {
        "dataset": world.footage.name,
        "seed": world.seed,
        "settings": to_table(world.settings),
    }
    content = {"note": NOTE, MADE_UP: origin, "database": database}
    write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", path)


def _write(film: Film, path: Path, recipe: Recipe) -> None:
    write_features(Snippets(film.features, film.grid, recipe, film.annotations.duration_s), path)
