"""The made-up world of steps: dense sequences of a task, and files in COIN's form."""

import json
from pathlib import Path

import numpy as np
import pytest
from commands import run

from openmoment.datasets import load_dataset
from openmoment.datasets.coin import COIN as REAL
from openmoment.datasets.coin import parse_coin
from openmoment.datasets.made_up.files import write_world
from openmoment.datasets.made_up.steps import COIN, STEPS, TASKS, StepWorld
from openmoment.datasets.made_up.world import Film, World, list_videos
from openmoment.errors import FormatError
from openmoment.features.file import read_features
from openmoment.types import Recipe

WIDTH = 64
SILENT = {name: 0.0 for name in World.__dataclass_fields__ if name != "distraction"}


def world(seed: int = 0, **difficulty: float) -> StepWorld:
    """With nothing in it but steps and what is named."""
    rows = np.random.default_rng(1).standard_normal((len(STEPS), WIDTH))
    texts = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return StepWorld(STEPS, texts, COIN, settings=World(**SILENT | difficulty), seed=seed)


@pytest.fixture(scope="module")
def films() -> list[Film]:
    made = world()
    return [made.make(video) for video in list_videos("test", 64, made.num_kinds)]


def test_eight_tasks_have_five_steps_of_their_own() -> None:
    assert [len(steps) for steps in TASKS.values()] == [5] * 8
    assert len(set(STEPS)) == 40 and list(STEPS) == sorted(STEPS)
    assert all(step == step.lower().strip() for step in STEPS)


def test_a_video_shows_the_steps_of_one_task_twice_over_at_most_in_their_order(films) -> None:
    for i, film in enumerate(films):
        steps = list(TASKS.values())[i % len(TASKS)]
        order = [steps.index(STEPS[label]) for label in film.annotations.labels]
        rounds = 1 + int((np.diff(order) <= 0).sum())
        assert rounds <= 2
        assert 3 <= len(order) <= 9
    together = {label for film in films for label in film.annotations.labels.tolist()}
    assert len(together) == len(STEPS)


def test_background_takes_two_to_three_fifths_in_gaps_around_every_step(films) -> None:
    shares = []
    for film in films:
        segments, duration_s = film.annotations.segments, film.annotations.duration_s
        assert 50 <= duration_s <= 150
        gaps = np.append(segments[:, 0], duration_s) - np.append(0.0, segments[:, 1])
        assert gaps.min() > 0.45
        shares.append(gaps.sum() / duration_s)
    assert min(shares) > 0.39 and max(shares) < 0.6
    assert 0.45 < np.mean(shares) < 0.55


def test_a_snippet_looks_like_its_step_and_background_like_the_task() -> None:
    made = world(context=0.5)
    looks = made.directions.classes
    for video in list_videos("test", 8, made.num_kinds):
        film = made.make(video)
        truth, middles_s = film.annotations, film.grid.centres_s
        mine = np.unique(truth.labels)
        best = (film.features @ looks.T).argmax(axis=1)
        inside = np.zeros(len(film.grid), dtype=bool)
        for (start_s, end_s), label in zip(truth.segments, truth.labels, strict=True):
            here = (middles_s > start_s) & (middles_s < end_s)
            assert (best[here] == label).mean() > 0.9
            inside |= here
        assert np.isin(best[~inside], mine).all()


def test_a_video_depends_on_seed_and_id_alone() -> None:
    video = list_videos("test", 3, len(TASKS))[2]
    first, again, other = (world(seed, noise=2.0).make(video) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.features, again.features)
    assert first.annotations.duration_s != other.annotations.duration_s


def test_files_have_the_form_of_the_official_one_and_say_that_they_are_made_up(
    tmp_path: Path,
) -> None:
    made = world()
    recipe = Recipe("synthetic", "f", 4.0, "")
    write_world(made, tmp_path, recipe, num_videos={"training": 9, "testing": 2})
    path = tmp_path / "annotations.json"
    content = json.loads(path.read_text())
    entry = content["database"]["synthetic_training_00008"]
    assert entry["class"] == "MakeTea" and entry["subset"] == "training"
    assert set(entry["annotation"][0]) == {"id", "segment", "label"}
    assert len(parse_coin(content, path)) == 11
    data = load_dataset("synthetic-coin", tmp_path)
    assert data.class_names == STEPS
    film = made.make(list_videos("synthetic_testing", 2, made.num_kinds)[1])
    read = data.subset("testing")["synthetic_testing_00001"]
    np.testing.assert_array_equal(read.segments, film.annotations.segments)
    assert [STEPS[label] for label in film.annotations.labels] == [
        read.names[label] for label in read.labels
    ]
    snippets = read_features(tmp_path / "features" / "synthetic_testing_00001.safetensors")
    np.testing.assert_array_equal(snippets.features, film.features)
    with pytest.raises(FormatError, match="a made-up world"):
        load_dataset(REAL.name, tmp_path, annotations=path)
    checked = run("datasets", "check", "synthetic-coin", "--root", tmp_path)
    assert "Nothing to report" in checked.stdout
