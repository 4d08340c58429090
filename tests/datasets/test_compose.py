"""Composed videos: what the annotations say is what the videos show, and no recording leaks."""

import json
from pathlib import Path

import numpy as np
import pytest
from commands import refusal, run
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy import ndarray as Array
from skimage import data
from videos import make_video

from openmoment.datasets import load_dataset
from openmoment.datasets.compose import (
    BACKGROUND,
    TEST,
    TRAIN,
    Clip,
    Composition,
    compose,
    divide,
    plan_videos,
    read_clips,
)
from openmoment.errors import ConfigError, FormatError
from openmoment.features.cache import sha256
from openmoment.video import probe, read_frames
from openmoment.video.joining import join

GREYS = {"jump": 220, "run": 150, BACKGROUND: 30}
SMALL = {"width": 64, "height": 48, "fps": 10}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four clips of a second of each label, each of one grey, in a folder for each label."""
    folder = tmp_path_factory.mktemp("clips")
    for label, grey in GREYS.items():
        (folder / label).mkdir()
        picture = np.full((48, 64, 3), grey, np.uint8)
        for i in range(4):
            make_video(folder / label / f"{i}.mp4", seconds=1, paint=lambda _, p=picture: p)
    return folder


def made_up(names: str = "abc", *, num: int = 4, of: int = 2) -> list[Clip]:
    """``num`` clips of each label and of background; ``of`` come from one recording."""
    return [
        Clip(Path(f"{label}{i}"), label, f"{label}-{i // of}")
        for label in (*names, BACKGROUND)
        for i in range(num)
    ]


def test_annotations_say_what_the_video_shows(clips: Path, tmp_path: Path) -> None:
    composition = Composition(num_train=2, num_test=2, **SMALL)
    assert compose(read_clips(clips), composition, tmp_path) == {TRAIN: 2, TEST: 2}
    database = json.loads((tmp_path / "annotations.json").read_text())["database"]
    assert [entry["subset"] for entry in database.values()] == [TRAIN, TRAIN, TEST, TEST]
    for name, entry in database.items():
        video = tmp_path / "videos" / f"{name}.mp4"
        assert probe(video).duration_s == pytest.approx(entry["duration"])
        for frame in read_frames(video, fps=0.0):
            middle = (frame.start_s + frame.end_s) / 2
            shown = [
                a["label"]
                for a in entry["annotations"]
                if a["segment"][0] <= middle < a["segment"][1]
            ]
            assert len(shown) <= 1
            grey = GREYS[shown[0] if shown else BACKGROUND]
            assert frame.rgb.mean() == pytest.approx(grey, abs=4), (name, middle)


def test_it_is_a_dataset_that_can_be_loaded(clips: Path, tmp_path: Path) -> None:
    compose(read_clips(clips), Composition(num_train=1, num_test=1, **SMALL), tmp_path)
    data = load_dataset("folder", tmp_path)
    assert data.class_names == ("jump", "run")
    assert set(data.subset("train+test")) == {"train_0000", "test_0000"}


def test_the_same_seed_gives_the_same_bytes(clips: Path, tmp_path: Path) -> None:
    def made(name: str, seed: int) -> dict[str, bytes]:
        composition = Composition(num_train=1, num_test=1, seed=seed, **SMALL)
        compose(read_clips(clips), composition, tmp_path / name)
        found = sorted(p for p in (tmp_path / name).rglob("*") if p.is_file())
        return {str(path.relative_to(tmp_path / name)): path.read_bytes() for path in found}

    first = made("first", 1)
    assert first == made("again", 1)
    assert first != made("other", 2)


@given(
    st.integers(0, 99),
    st.lists(st.sampled_from("abc"), min_size=1, max_size=30),
    st.data(),
)
@settings(max_examples=40, deadline=None)
def test_no_recording_is_on_both_sides(seed: int, labels: list[str], data: st.DataObject) -> None:
    shared = data.draw(st.lists(st.integers(0, 5), min_size=len(labels), max_size=len(labels)))
    some = [
        Clip(Path(str(i)), label, str(recording))
        for i, (label, recording) in enumerate(zip(labels, shared, strict=True))
    ]
    try:
        sides = divide(some, seed)
    except ConfigError:
        return
    assert {c.recording for c in sides[TRAIN]}.isdisjoint({c.recording for c in sides[TEST]})
    assert sorted([*sides[TRAIN], *sides[TEST]], key=lambda c: c.path) == sorted(
        some, key=lambda c: c.path
    )
    for side in sides.values():
        assert {clip.label for clip in side} == set(labels)


def test_unseen_classes_are_in_no_training_video() -> None:
    films = plan_videos(made_up(num=8), Composition(num_train=9, num_test=9, unseen=("b",)))
    shown = {
        side: {clip.label for name, film in films.items() if name.startswith(side) for clip in film}
        for side in (TRAIN, TEST)
    }
    assert shown == {TRAIN: {"a", "c", BACKGROUND}, TEST: {"b", BACKGROUND}}
    recordings = {
        side: {c.recording for name, film in films.items() if name.startswith(side) for c in film}
        for side in (TRAIN, TEST)
    }
    assert recordings[TRAIN].isdisjoint(recordings[TEST])


def test_a_video_shows_instances_between_background() -> None:
    films = plan_videos(made_up(num=8), Composition(num_train=20, num_test=20, seed=3))
    for film in films.values():
        labels = [clip.label for clip in film]
        assert set(labels[::2]) == {BACKGROUND}
        assert BACKGROUND not in labels[1::2]
        assert 2 <= len(labels[1::2]) <= 6
        assert len(set(labels[1::2])) <= 3
    drawn = [clip.path for name, f in films.items() if name.startswith(TRAIN) for clip in f[1::2]]
    counts = [drawn.count(path) for path in set(drawn) if str(path).startswith("a")]
    assert max(counts) - min(counts) <= 1  # every clip before any comes again


@pytest.mark.parametrize(
    ("clips", "composition", "told"),
    [
        (made_up(num=2, of=2), {}, "two recordings"),
        (made_up(), {"unseen": ("nothing",)}, "no clip shows 'nothing'"),
        (made_up("a"), {"unseen": ("a",)}, "no class is left"),
    ],
)
def test_what_cannot_be_composed_is_refused(clips: list[Clip], composition, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        plan_videos(clips, Composition(**composition))


def test_the_same_clips_give_the_same_bytes(tmp_path: Path) -> None:
    """Twenty times: x264's macroblock tree varied in a few of a hundred."""
    scenes, clips = (data.chelsea(), data.coffee()), (tmp_path / "a.mp4", tmp_path / "b.mp4")
    for scene, path in zip(scenes, clips, strict=True):

        def pan(time_s: float, scene: Array = scene) -> Array:
            i = round(25 * time_s)
            return np.ascontiguousarray(scene[4 * i : 4 * i + 226, 3 * i : 3 * i + 300])

        make_video(path, seconds=0.5, fps=25, width=300, height=226, paint=pan)
    made = set()
    for _ in range(20):
        join(clips, tmp_path / "out.mp4", fps=25, size=(320, 240), max_clip_s=2.0)
        made.add(sha256(tmp_path / "out.mp4"))
    assert len(made) == 1


def test_settings_that_make_no_video_are_refused() -> None:
    for wrong in ({"num_test": 0}, {"width": 33}, {"fps": 0}, {"max_clip_s": 0.0}):
        with pytest.raises(ConfigError):
            Composition(**wrong)


def test_a_table_of_clips_with_patterns(tmp_path: Path) -> None:
    rows = ["a/1.mp4,jump,g1", "a/2.mp4,jump,", "b/3.mp4,jump,g3", "c/4.mp4,sit,", "d/5.mp4,swim,"]
    table = tmp_path / "clips.csv"
    table.write_text("\n".join(["path,label,group", *rows]))
    found = read_clips(table, labels=["jump"], background=["c/*"], include=["a/*"])
    assert [(c.path.name, c.label, c.recording) for c in found] == [
        ("1.mp4", "jump", "g1"),
        ("2.mp4", "jump", "a/2.mp4"),
        ("4.mp4", BACKGROUND, "c/4.mp4"),
    ]
    with pytest.raises(FormatError, match="holds no clip of 'fly'"):
        read_clips(table, labels=["fly"], background=["c/*"])
    with pytest.raises(FormatError, match="holds no clip of 'background'"):
        read_clips(table, labels=["jump"])
    table.write_text("file,label\n")
    with pytest.raises(FormatError, match="column 'path' is missing"):
        read_clips(table)


def test_the_command(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run("datasets", "compose", clips, "--out", out, "--unseen", "run", "--train", 1,
               "--test", 1, "--max-clip", 0.4)  # fmt: skip
    assert done.exit_code == 0, (done.output, done.exception)
    assert "Made 1 train, 1 test videos" in done.stderr
    assert "--unseen 'run'" in done.stderr
    database = json.loads((out / "annotations.json").read_text())["database"]
    for entry in database.values():
        for annotation in entry["annotations"]:
            start_s, end_s = annotation["segment"]
            assert end_s - start_s == pytest.approx(0.4)
    told = refusal("datasets", "compose", clips, "--out", out)
    assert "holds annotations.json already" in told
