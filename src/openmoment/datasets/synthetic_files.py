"""The made-up world on disk: marked annotations in ActivityNet's form, and feature files.

Its datasets have names of their own, ``synthetic-thumos14``, and no reader of a real dataset takes
the marked file: a number from it cannot pass for a real one.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from openmoment.config import to_table
from openmoment.datasets.activitynet import ACTIVITYNET
from openmoment.datasets.base import Benchmark, Layout
from openmoment.datasets.names import SYNTHETIC
from openmoment.datasets.records import MADE_UP, Records, is_made_up, parse_activitynet
from openmoment.datasets.synthetic import Film, SyntheticWorld, Video, list_videos
from openmoment.datasets.thumos14 import THUMOS14
from openmoment.errors import FormatError
from openmoment.features import SUFFIX, write_features
from openmoment.files import write_text
from openmoment.reading import get, read_json
from openmoment.types import Annotations, Recipe, Snippets

ANNOTATIONS = "annotations.json"
FEATURES = "features"
NOTE = "Made up: there is no video. No number from it says how good a method is on real video."

Advance = Callable[[float, float], None]
"""Hears (videos done, videos in all)."""


def _like(real: Benchmark) -> Benchmark:
    """The made-up dataset with the classes, subsets and metrics of a real one."""

    def read(files: Sequence[Path]) -> Records:
        (path,) = files
        content = read_json(path)
        origin = get(content, MADE_UP, dict, str(path))
        if origin.get("dataset") != real.name:
            raise FormatError(
                f"{path}: {MADE_UP}.dataset: expected {real.name!r}, got {origin.get('dataset')!r}."
            )
        return parse_activitynet(content, path)

    return Benchmark(
        name=SYNTHETIC + real.name,
        title=f"{real.title} made up",
        task=real.task,
        layouts=(Layout((ANNOTATIONS,), read),),
        train_subset=real.train_subset,
        test_subset=real.test_subset,
        profile=real.profile,
        classes=real.classes,
        where_to_get=f"Make it: openmoment datasets synthesize {real.name} --out DIR",
    )


SYNTHETIC_THUMOS14 = _like(THUMOS14)
SYNTHETIC_ACTIVITYNET = _like(ACTIVITYNET)


def write_world(
    world: SyntheticWorld,
    folder: Path,
    recipe: Recipe,
    *,
    num_videos: Mapping[str, int],
    advance: Advance | None = None,
) -> None:
    """Write ``num_videos`` of each subset below ``folder``: features first, annotations last.

    So the annotations of an older world go first, and those that are there belong to the features
    beside them. Raises FormatError when the folder holds annotations that were not made up, or
    cannot be written to.
    """
    path, features = folder / ANNOTATIONS, folder / FEATURES
    if path.exists() and not is_made_up(read_json(path)):
        raise FormatError(f"{path}: holds other annotations. Choose another folder for --out.")
    try:
        features.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
    except OSError as error:
        raise FormatError(f"{folder}: cannot be written ({error.strerror or error}).") from error
    videos = {
        subset: list_videos(f"synthetic_{subset}", number, len(world.names))
        for subset, number in num_videos.items()
    }
    total, database = sum(num_videos.values()), {}
    for subset, listed in videos.items():
        for video in listed:
            database[video.id] = _write(world.make(video), video, subset, features, recipe)
            if advance:
                advance(len(database), total)
    origin = {
        "dataset": world.footage.name,
        "seed": world.seed,
        "settings": to_table(world.settings),
    }
    content = {"note": NOTE, MADE_UP: origin, "database": database}
    write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", path)


def _write(
    film: Film, video: Video, subset: str, folder: Path, recipe: Recipe
) -> dict[str, object]:
    """Write the features; what the annotations say of the video."""
    truth = film.annotations
    snippets = Snippets(film.features, film.grid, recipe, truth.duration_s)
    write_features(snippets, folder / f"{video.id}{SUFFIX}")
    return {"subset": subset, "duration": truth.duration_s, "annotations": _rows(truth)}


def _rows(truth: Annotations) -> list[dict[str, object]]:
    return [
        {"segment": segment, "label": truth.names[label]}
        for segment, label in zip(truth.segments.tolist(), truth.labels.tolist(), strict=True)
    ]
