"""The made-up world of moment retrieval: what is told of, what is shown, and what is unseen."""

import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from commands import run

from openmoment.datasets import load_retrieval
from openmoment.datasets.made_up.files import write_world
from openmoment.datasets.made_up.sentences import (
    ACTIVITYNET_CAPTIONS,
    CHARADES_STA,
    NEW_PHRASES,
    PHRASES,
    SETTINGS,
    SentenceWorld,
)
from openmoment.datasets.made_up.world import World
from openmoment.errors import FormatError
from openmoment.evaluation.published import published_beside
from openmoment.experiments.detection import SnippetSource
from openmoment.experiments.retrieval import run_retrieval, sentence_checks
from openmoment.pipeline import load_pipeline
from openmoment.types import Recipe

NAMES, WIDTH = PHRASES[:12], 64
BARE = World(**{field.name: 0.0 for field in fields(World) if field.name != "distraction"})


def world(footage=CHARADES_STA, *, seed: int = 0, settings: World = BARE) -> SentenceWorld:
    rows = np.random.default_rng(5).standard_normal((len(NAMES), WIDTH))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return SentenceWorld(NAMES, rows, footage, settings=settings, seed=seed)


def phrases_of(sentence: str) -> tuple[str, ...]:
    """Those that it names, in their order."""
    found = [name for name in NAMES if name in sentence]
    return tuple(sorted(found, key=sentence.index))


def sentences(made: SentenceWorld, subset: str, number: int = 60) -> list[tuple[str, ...]]:
    found = []
    for video in made.videos(subset, number):
        entry = made.entry(video, made.make(video).annotations)
        found += [phrases_of(row["label"]) for row in entry["annotations"]]  # type: ignore[index]
    return found


def test_phrases_are_many_and_none_holds_another() -> None:
    assert len(set(PHRASES)) == len(PHRASES) >= 60
    assert not any(a in b for a in PHRASES for b in PHRASES if a != b)


@pytest.mark.parametrize("footage", [CHARADES_STA, ACTIVITYNET_CAPTIONS], ids=lambda f: f.name)
def test_a_video_depends_on_seed_and_id_alone(footage) -> None:
    first, second, other = (world(footage, seed=s, settings=World()) for s in (0, 0, 1))
    videos = first.videos("test", 3)
    assert second.videos("test", 9)[:3] == videos
    for video in reversed(videos):
        a, b, c = (made.make(video) for made in (first, second, other))
        np.testing.assert_array_equal(a.features, b.features)
        assert first.entry(video, a.annotations) == second.entry(video, b.annotations)
        assert a.annotations.duration_s != c.annotations.duration_s
        assert footage.duration_s[0] <= a.annotations.duration_s <= footage.duration_s[1]


def test_unseen_sentences_are_unseen() -> None:
    made = world()
    train, test, new = (sentences(made, subset) for subset in ("train", "test", NEW_PHRASES))
    pairs = {frozenset(pair) for pair in train}
    known = {phrase for pair in train for phrase in pair}
    assert not any(frozenset(pair) in pairs for pair in test)  # in neither order
    assert {phrase for pair in test for phrase in pair} <= known
    assert all(set(pair) - known for pair in new)
    shown = set()
    for video in made.videos("train", 60):
        truth = made.make(video).annotations
        shown |= {truth.names[label] for label in truth.labels}
    assert shown == known  # nor are new phrases seen in passing
    assert len(set(train)) > 40


def test_a_moment_looks_first_like_its_first_phrase_then_like_its_second() -> None:
    made = world()
    for video in made.videos("test", 12):
        film = made.make(video)
        told = made.entry(video, film.annotations)["annotations"]
        described = [row["segment"] for row in told]  # type: ignore[index]
        assert 1 <= len(described) <= 3
        shown = set()
        for row in told:  # type: ignore[union-attr]
            start, end = row["segment"]
            first, second = (NAMES.index(name) for name in phrases_of(row["label"]))
            shown.add((first, second))
            centres = film.grid.centres_s
            inside = (centres > start) & (centres < end)
            looks = film.features[inside] @ made.directions.classes.T
            best = looks.argmax(axis=1)
            turn = int((best == second).argmax())
            assert (best[:turn] == first).all() and (best[turn:] == second).all()
            assert 0.2 < turn / len(best) < 0.8
        assert (np.diff(film.annotations.segments, axis=1) > 0).all()
        _, moments = made.story(video)
        others = [moment.phrases for moment in moments if not moment.sentence]
        assert not set(others) & shown  # each sentence tells of one moment


def test_undescribed_moments_are_of_all_kinds() -> None:
    made, kinds = world(), set()
    for video in made.videos("test", 40):
        _, moments = made.story(video)
        told = {moment.phrases for moment in moments if moment.sentence}
        for moment in moments:
            if not moment.sentence:
                is_reversed = moment.phrases[::-1] in told
                kinds.add(
                    "alone" if len(moment.phrases) == 1 else "reversed" if is_reversed else ""
                )
    assert kinds == {"alone", "reversed", ""}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("world")
    done = run("datasets", "synthesize", "charades-sta", "--out", out, "--train", 3, "--test", 16,
               "--set", "noise=3")  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "Made 3 train, 16 test, 16 new_phrases videos" in done.stderr
    assert "--setting" not in done.stderr
    return out


def test_files_are_those_of_a_marked_dataset(folder: Path, tmp_path: Path) -> None:
    data = load_retrieval("synthetic-charades-sta", folder)
    assert list(data.subsets) == ["train", "test", NEW_PHRASES]
    moments = data.subset("test")
    assert len({moment.query_id for moment in moments}) == len(moments)
    assert data.profile == "charades-sta"
    told = json.loads((folder / "annotations.json").read_text())["synthetic"]
    assert told["settings"] == vars(replace(SETTINGS, noise=3.0)) and told["seed"] == 0
    checked = run("datasets", "check", "synthetic-charades-sta", "--root", folder,
                  "--features", folder / "features")  # fmt: skip
    assert "Nothing to report" in checked.stdout
    for name in ("charades-sta", "activitynet-captions", "synthetic-activitynet-captions"):
        with pytest.raises(FormatError):
            load_retrieval(name, folder, annotations=folder / "annotations.json")


def test_similarity_finds_some_of_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = load_retrieval("synthetic-charades-sta", folder)
    source = SnippetSource(load_pipeline("synthetic"), folder / "features")
    own = run_retrieval(data, source)
    rename = sentence_checks()["sentences exchanged"]
    other = run_retrieval(data, source, rename=rename)
    metric = "R@1,IoU=0.3"
    assert 0.2 < own.metrics[metric] < 0.8
    assert other.metrics[metric] < 0.75 * own.metrics[metric]
    assert (own.card.dataset, own.card.subset) == ("synthetic-charades-sta", "test")
    assert published_beside(own.card.dataset, "closed") == ()


def test_longer_videos_are_those_of_activitynet_captions(tmp_path: Path) -> None:
    num_videos = {"train": 1, "val_2": 1, NEW_PHRASES: 1}
    recipe = Recipe("synthetic", "f", 4.0, "")
    write_world(world(ACTIVITYNET_CAPTIONS), tmp_path, recipe, num_videos=num_videos)
    data = load_retrieval("synthetic-activitynet-captions", tmp_path)
    assert list(data.subsets) == list(num_videos) and data.test_subset == "val_2"
    assert 60 <= data.subset("val_2")[0].duration_s <= 180
