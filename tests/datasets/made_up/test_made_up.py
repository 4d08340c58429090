"""The made-up world: what it is made of, that nothing but text speaks of a class, and its files."""

import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from commands import refusal, run
from hypothesis import given, settings
from hypothesis import strategies as st

from openmoment.datasets import load_dataset
from openmoment.datasets.base import prompt_name
from openmoment.datasets.made_up.files import write_world
from openmoment.datasets.made_up.world import (
    FOOTAGE,
    Film,
    SyntheticWorld,
    Video,
    World,
    list_videos,
    rotation_matrix,
    visibility,
)
from openmoment.datasets.names import class_names, published_splits
from openmoment.datasets.splits import Split
from openmoment.encoders import BEST_FIRST, load_encoder
from openmoment.encoders.base import HasTextTower
from openmoment.encoders.embedded.made_up import Synthetic
from openmoment.errors import FormatError, VideoError
from openmoment.evaluation.detection import evaluate_detection
from openmoment.features.file import FLOW_SUFFIX, read_features
from openmoment.methods import METHODS, load_method
from openmoment.pipeline.queries import bank_of
from openmoment.postprocess import nms, runs
from openmoment.priors import read_priors
from openmoment.priors.pictures import read_picture
from openmoment.types import Annotations, Detections, Queries, Recipe, SnippetGrid, Snippets

NAMES = tuple(f"class {i}" for i in range(8))
WIDTH = 128
BARE = World(**{field.name: 0.0 for field in fields(World) if field.name != "distraction"})
"""Nothing but classes, where they happen."""


def texts(seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((len(NAMES), WIDTH))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def world(dataset: str = "thumos14", *, seed: int = 0, **difficulty: float) -> SyntheticWorld:
    """With nothing in it but classes and what is named."""
    hardness = replace(BARE, **{name: float(value) for name, value in difficulty.items()})
    return SyntheticWorld(NAMES, texts(), FOOTAGE[dataset], settings=hardness, seed=seed)


def films(made: SyntheticWorld, number: int = 24) -> list[Film]:
    return [made.make(video) for video in list_videos("test", number, len(NAMES))]


def inside(film: Film) -> np.ndarray:
    """The label that each snippet's centre is in; -1 for none."""
    labels = np.full(len(film.grid), -1)
    truth = film.annotations
    for (start, end), label in zip(truth.segments, truth.labels, strict=True):
        labels[(film.grid.centres_s >= start) & (film.grid.centres_s < end)] = label
    return labels


# what happens ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dataset", FOOTAGE)
def test_a_video_depends_on_seed_and_id_alone(dataset: str) -> None:
    settings = World()
    first, second, other = (
        SyntheticWorld(NAMES, texts(), FOOTAGE[dataset], settings=settings, seed=seed)
        for seed in (0, 0, 1)
    )
    videos = list_videos("test", 4, len(NAMES))
    forward = {video.id: first.make(video) for video in videos}
    backward = {video.id: second.make(video) for video in reversed(videos)}
    for video in videos:
        a, b, c = forward[video.id], backward[video.id], other.make(video)
        np.testing.assert_array_equal(a.features, b.features)
        np.testing.assert_array_equal(a.annotations.segments, b.annotations.segments)
        assert a.annotations.duration_s != c.annotations.duration_s
    assert len({film.annotations.duration_s for film in forward.values()}) == 4
    assert list_videos("test", 9, len(NAMES))[:4] == videos


@pytest.mark.parametrize("dataset", FOOTAGE)
def test_annotations_have_the_shape_of_the_real_ones(dataset: str) -> None:
    footage, made = FOOTAGE[dataset], films(world(dataset), 60)
    for film, video in zip(made, list_videos("test", 60, len(NAMES)), strict=True):
        truth = film.annotations
        assert footage.duration_s[0] <= truth.duration_s <= footage.duration_s[1]
        assert footage.num_instances[0] <= len(truth) <= footage.num_instances[1]
        assert truth.segments[0, 0] > 0 and truth.segments[-1, 1] < truth.duration_s
        assert (truth.segments[:, 0] < truth.segments[:, 1]).all()
        assert (truth.segments[1:, 0] > truth.segments[:-1, 1]).all()
        assert video.label in truth.labels
        assert film.grid.end_s == truth.duration_s
        assert film.features.shape == (round(truth.duration_s * 4), WIDTH)
    lengths = np.concatenate([np.diff(film.annotations.segments)[:, 0] for film in made])
    several = np.mean([len(set(film.annotations.labels)) > 1 for film in made])
    low, high = {"thumos14": (2.5, 4.5), "activitynet": (20, 50)}[dataset]
    assert low < np.median(lengths) < high
    assert (0.1 < several < 0.4) if dataset == "thumos14" else several == 0


@settings(max_examples=30, deadline=None)
@given(start=st.floats(1, 8), length=st.floats(0.5, 6), ramp=st.floats(0, 0.5))
def test_an_instance_fades_in_and_out_around_its_boundaries(
    start: float, length: float, ramp: float
) -> None:
    grid = SnippetGrid.uniform(1500, end_s=15.0)
    (shown,) = visibility(np.array([[start, start + length]]), grid, ramp)
    assert shown.sum() * grid.snippet_s == pytest.approx(length, abs=2 * grid.snippet_s)
    away = np.minimum(abs(grid.centres_s - start), abs(grid.centres_s - start - length))
    within = (grid.centres_s > start) & (grid.centres_s < start + length)
    np.testing.assert_allclose(shown[away > ramp / 2 + 1e-5], within[away > ramp / 2 + 1e-5])
    assert ((shown >= 0) & (shown <= 1)).all()
    if ramp > 0.1:
        edge = np.interp([start, start + length], grid.centres_s, shown)
        np.testing.assert_allclose(edge, 0.5, atol=0.06)


# what it looks like ------------------------------------------------------------------------------


@pytest.mark.parametrize("rotation", [0.0, 0.25, 0.5, 1.0])
def test_a_rotation_turns_every_direction_by_the_stated_angle(rotation: float) -> None:
    turn = rotation_matrix(WIDTH, rotation, np.random.default_rng(3))
    np.testing.assert_allclose(turn @ turn.T, np.eye(WIDTH), atol=1e-12)
    vectors = np.random.default_rng(4).standard_normal((20, WIDTH))
    cosines = (vectors * (vectors @ turn.T)).sum(axis=1) / np.square(vectors).sum(axis=1)
    np.testing.assert_allclose(cosines, np.cos(rotation * np.pi / 2), atol=1e-12)
    looks = world(rotation=rotation).directions.classes
    centred = texts() - texts().mean(axis=0)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    np.testing.assert_allclose((looks * centred).sum(axis=1), cosines[: len(NAMES)], atol=1e-12)


def test_nothing_but_its_text_says_what_a_class_looks_like() -> None:
    order = np.random.default_rng(0).permutation(len(NAMES))
    footage = FOOTAGE["thumos14"]
    a = SyntheticWorld(NAMES, texts(), footage).directions
    b = SyntheticWorld(NAMES, texts()[order], footage).directions
    np.testing.assert_allclose(a.classes[order], b.classes, atol=1e-12)
    other = SyntheticWorld(NAMES, texts(9), footage).directions
    np.testing.assert_array_equal(a.action, other.action)
    np.testing.assert_array_equal(a.scenes, other.scenes)


def test_a_bare_world_shows_classes_where_they_happen_and_else_nothing() -> None:
    made = world(rotation=0.3)
    for film in films(made, 6):
        labels = inside(film)
        assert (film.features[labels < 0] == 0).all()
        expected = made.directions.classes[labels[labels >= 0]]
        np.testing.assert_allclose(film.features[labels >= 0], expected, atol=1e-6)


def background_cosine(made: SyntheticWorld) -> float:
    """Of snippets where nothing happens, with the class that their video holds."""
    found = []
    for film in films(made):
        rows, classes = film.features[inside(film) < 0], set(film.annotations.labels)
        if len(classes) == 1:
            found.append((rows @ made.directions.classes[classes.pop()]).mean())
    return float(np.mean(found))


def inside_cosine(made: SyntheticWorld) -> float:
    """Of snippets with the class that they show."""
    cosines = [
        (f.features * made.directions.classes[inside(f)]).sum(axis=1)[inside(f) >= 0]
        for f in films(made)
    ]
    return float(np.concatenate(cosines).mean())


def test_context_is_the_class_where_nothing_happens() -> None:
    none, half = (background_cosine(world(scene=1, context=c)) for c in (0.0, 0.5))
    assert abs(none) < 0.05
    assert half == pytest.approx(0.5 / np.hypot(1, 0.5), abs=0.06)


def test_noise_scene_and_variation_drown_the_class() -> None:
    for name, strength in (("noise", 3.0), ("scene", 2.0), ("variation", 1.0)):
        # a video's class varies, and so does each instance: twice, and near other classes
        parts = 2 if name == "variation" else 1
        expected = 1 / np.sqrt(1 + parts * strength**2)
        assert inside_cosine(world(**{name: strength})) == pytest.approx(expected, abs=0.08), name
    assert inside_cosine(world()) == pytest.approx(1)


def test_neighbouring_noise_is_alike() -> None:
    (film,) = films(world(noise=1, scene=0), 1)
    background = film.features[inside(film) < 0]
    near = (background[1:] * background[:-1]).sum(axis=1)
    far = (background[40:] * background[:-40]).sum(axis=1)
    assert 0.4 < np.median(near) < 0.8
    assert abs(np.median(far)) < 0.1


def test_phase_runs_from_the_start_of_an_instance_to_its_end() -> None:
    made = world("activitynet", phase=1, actionness=0.5)
    for film in films(made, 5):
        for (start, end), label in zip(
            film.annotations.segments, film.annotations.labels, strict=True
        ):
            within = (film.grid.centres_s > start) & (film.grid.centres_s < end)
            parts = np.stack([made.directions.classes[label], *made.directions.action])
            shares = np.linalg.lstsq(parts.T, film.features[within].T, rcond=None)[0]
            _, happens, cosine, sine = shares / shares[0]
            progress = (film.grid.centres_s[within] - start) / (end - start)
            np.testing.assert_allclose(np.arctan2(sine, cosine), np.pi * progress, atol=1e-4)
            np.testing.assert_allclose(happens, 0.5, atol=1e-4)
        assert (film.features[inside(film) < 0] == 0).all()


def test_distractors_lie_in_the_background_and_look_like_other_classes() -> None:
    made = world(distractors=3, distraction=1, actionness=0.5)
    nearest = []
    for film in films(made):
        background = film.features[inside(film) < 0]
        shown = background[np.linalg.norm(background, axis=1) > 0]
        nearest.append((shown @ made.directions.classes.T).max(axis=1))
        within = inside(film) >= 0
        clean = made.directions.classes[inside(film)[within]]
        assert (film.features[within] * clean).sum(axis=1).min() > 0.8
    close = np.concatenate(nearest)
    assert 0.2 < (close > 0.8).mean() < 0.8
    assert all((f.features[inside(f) < 0] == 0).all() for f in films(world(), 3))


@pytest.mark.parametrize(
    ("field", "value"), [("rotation", 1.5), ("noise", -1.0), ("scene", float("nan"))]
)
def test_impossible_settings_are_refused(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        World(**{field: value})


def test_a_world_needs_two_classes_and_an_even_width() -> None:
    footage = FOOTAGE["thumos14"]
    with pytest.raises(ValueError, match="two or more"):
        SyntheticWorld(NAMES[:1], texts()[:1], footage)
    with pytest.raises(ValueError, match="even width"):
        SyntheticWorld(NAMES, texts()[:, :-1], footage)


# the second stream, and pictures ----------------------------------------------------------------


@pytest.mark.parametrize("dataset", FOOTAGE)
def test_the_motion_stream_depends_on_seed_and_video_alone(dataset: str) -> None:
    made, again, other = (
        SyntheticWorld(NAMES, texts(), FOOTAGE[dataset], settings=World(), seed=seed)
        for seed in (0, 0, 1)
    )
    for video in list_videos("test", 3, len(NAMES)):
        film = again.make(video)
        flow = made.make_flow(film, video)
        assert flow.shape == film.features.shape and flow.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(flow, axis=1), 1, atol=1e-5)
        np.testing.assert_array_equal(flow, again.make_flow(film, video))
        assert np.abs(flow - other.make_flow(film, video)).max() > 0.1
        np.testing.assert_array_equal(made.make(video).features, film.features)  # as before it


def test_the_motion_stream_says_where_instances_begin_and_end() -> None:
    made, false_alarms, counted = world(motion=20, noise=1), 0, 0
    axes = made.directions.motion
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)
    for video in list_videos("test", 12, len(NAMES)):
        film = made.make(video)
        begins, goes_on, ends = (made.make_flow(film, video) @ axes.T).T
        away_s = np.inf
        for track, times_s in zip((begins, ends), film.annotations.segments.T, strict=True):
            own_s = np.abs(film.grid.centres_s[:, None] - times_s).min(axis=1)
            assert track[own_s <= film.grid.snippet_s / 2].min() > 0.4
            false_alarms += (track[own_s > 2] > 0.8).sum()
            away_s = np.minimum(away_s, own_s)
        is_inside = inside(film) >= 0
        steady = np.maximum(begins, ends) < 0.4
        assert goes_on[is_inside & steady].min(initial=1) > 0.7
        assert np.abs(goes_on[~is_inside & (away_s > 2)]).max() < 0.5
        counted += 2 * len(film.annotations)
    assert 0.1 * counted < false_alarms < 6 * counted  # something moves that is no instance


def test_the_motion_stream_says_nothing_of_what_happens() -> None:
    footage = FOOTAGE["thumos14"]
    made, other = (SyntheticWorld(NAMES, texts(seed), footage) for seed in (0, 9))
    for video in list_videos("test", 3, len(NAMES)):
        film = made.make(video)
        np.testing.assert_array_equal(made.make_flow(film, video), other.make_flow(film, video))


def test_a_film_in_which_nothing_happens_moves_too() -> None:
    (video,) = list_videos("test", 1, len(NAMES))
    film = world(noise=1).make(video)
    nothing = replace(film.annotations, segments=np.zeros((0, 2)), labels=np.zeros(0, int))
    flow = world(noise=1).make_flow(film._replace(annotations=nothing), video)
    assert np.isfinite(flow).all()


def test_views_show_the_looks_of_a_class_each_in_its_own_way() -> None:
    made = world(variation=1.0, rotation=0.5)
    for label in range(3):
        views = made.draw_views(label, 40)
        np.testing.assert_allclose(np.linalg.norm(views, axis=1), 1, atol=1e-5)
        looks = made.directions.classes[label]
        assert (views @ looks).mean() == pytest.approx(1 / np.sqrt(2), abs=0.05)
        assert np.abs(views @ views.T - np.eye(40)).max() < 0.9
        np.testing.assert_array_equal(views, made.draw_views(label, 40))
        np.testing.assert_array_equal(views[:4], made.draw_views(label, 4))
    np.testing.assert_allclose(world().draw_views(2, 2), [world().directions.classes[2]] * 2, 1e-5)
    assert np.abs(views - world(variation=1.0, seed=1).draw_views(2, 40)).max() > 0.1


# what can be found -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def words() -> np.ndarray:
    """What the class names of THUMOS14 mean."""
    names = [prompt_name(name) for name in class_names("thumos14")]
    return load_encoder("synthetic").encode_text(names)


def as_told(film: Film, made: SyntheticWorld, candidates: np.ndarray) -> Detections:
    """An oracle's answer: it knows what classes and actions look like, and not where they are."""
    action, hard = film.features @ made.directions.action.T, made.settings
    strength = np.array([hard.actionness, hard.phase, hard.phase])
    turned = np.hypot(action[:, 1], np.maximum(action[:, 2], 0))
    curve = hard.actionness * action[:, 0] + hard.phase * turned
    found = []
    for window in (4, 8):
        smooth = np.convolve(curve, np.ones(window) / window, "same")
        low, high = np.quantile(smooth, [0.1, 0.95])
        found += [runs(smooth > low + share * (high - low)) for share in (0.3, 0.5, 0.7)]
    found = np.unique(np.concatenate(found), axis=0)
    found = found[np.diff(found)[:, 0] >= 2]
    scores = []
    for first, last in found:
        angles = np.pi * (np.arange(last - first) + 0.5) / (last - first)
        track = strength * np.stack([np.ones_like(angles), np.cos(angles), np.sin(angles)], axis=1)
        scores.append((track * action[first:last]).sum() / np.sqrt(last - first))
    looks = film.features.mean(axis=0) @ made.directions.classes[candidates].T
    labels = np.full(len(found), looks.argmax())
    names = tuple(made.names[i] for i in candidates)
    scores = np.maximum(scores, 0.0)
    order = np.argsort(-scores, kind="stable")
    segments = film.grid.runs_to_seconds(found)[order]
    every = Detections(segments, scores[order], labels, names, np.ones(len(names)))
    return nms(every, tiou=0.2)


def test_the_truth_is_in_the_features_and_plain_similarity_does_not_find_it(
    words: np.ndarray,
) -> None:
    names, encoder = class_names("thumos14"), load_encoder("synthetic")
    made = SyntheticWorld(names, words, FOOTAGE["thumos14"])
    similarity = load_method("similarity", encoder.space, METHODS["similarity"].RANKING)
    candidates = np.arange(0, len(names), 4)
    bank = bank_of(encoder, None)
    queries = Queries(tuple(names[i] for i in candidates), words[candidates], bank)
    truth, oracle, plain = {}, {}, {}
    for video in list_videos("test", 100, len(names)):
        if video.label not in candidates:
            continue
        film = made.make(video)
        true, recipe = film.annotations, Recipe(encoder.name, encoder.fingerprint, 4.0, "")
        kept = np.isin(true.labels, candidates)
        labels = np.searchsorted(candidates, true.labels[kept])
        truth[video.id] = Annotations(true.segments[kept], labels, queries.names, true.duration_s)
        oracle[video.id] = as_told(film, made, candidates)
        snippets = Snippets(film.features, film.grid, recipe, true.duration_s)
        plain[video.id] = similarity.localize(snippets, queries)
    informed, naive = (evaluate_detection(p, truth, tious=(0.5,)).average for p in (oracle, plain))
    assert informed > 0.5
    assert 0.05 < naive < informed / 2.5


# files -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dataset", FOOTAGE)
def test_made_up_datasets_have_the_published_splits(dataset: str) -> None:
    known = published_splits()
    assert known[f"synthetic-{dataset}"] is known[dataset]
    split = Split(f"synthetic-{dataset}", "50-50", 3)
    assert split.unseen == Split(dataset, "50-50", 3).unseen
    assert str(split) == f"synthetic-{dataset}/50-50/3"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small made-up THUMOS14."""
    out = tmp_path_factory.mktemp("world") / "thumos14"
    args = ("--train", 4, "--test", 20, "--seed", 3, "--set", "noise=2", "--set", "context=0.2")
    done = run("datasets", "synthesize", "thumos14", "--out", out, *args)
    assert done.exit_code == 0, done.output
    assert done.stdout == ""
    assert "Made 4 validation, 20 test videos" in done.stderr
    assert "--dataset synthetic-thumos14" in done.stderr
    return out


def test_what_is_written_is_what_the_world_is(folder: Path, words: np.ndarray) -> None:
    written = json.loads((folder / "annotations.json").read_text())
    assert "no video" in written["note"]
    assert (written["synthetic"]["dataset"], written["synthetic"]["seed"]) == ("thumos14", 3)
    hardness = World(noise=2.0, context=0.2)
    assert written["synthetic"]["settings"] == vars(hardness)
    data = load_dataset("synthetic-thumos14", folder)
    assert {name: len(videos) for name, videos in data.subsets.items()} == {
        "validation": 4,
        "test": 20,
    }
    names, footage = class_names("thumos14"), FOOTAGE["thumos14"]
    made = SyntheticWorld(names, words, footage, settings=hardness, seed=3)
    film = made.make(Video("synthetic_test_00007", 7))
    read = data.subset("test")["synthetic_test_00007"]
    np.testing.assert_array_equal(read.segments, film.annotations.segments)
    np.testing.assert_array_equal(read.labels, film.annotations.labels)
    snippets = read_features(folder / "features" / "synthetic_test_00007.safetensors")
    np.testing.assert_array_equal(snippets.features, film.features)
    fingerprint = load_encoder("synthetic").fingerprint
    assert snippets.recipe == Recipe("synthetic", fingerprint, 4.0, "")
    assert snippets.duration_s == read.duration_s
    checked = run(
        "datasets",
        "check",
        "synthetic-thumos14",
        "--root",
        folder,
        "--features",
        folder / "features",
    )
    assert "Nothing to report" in checked.stdout


def test_a_method_is_evaluated_in_the_made_up_world(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    args = ("evaluate", "--method", "similarity", "--backbone", "synthetic")
    where = ("--dataset", "synthetic-thumos14", "--root", folder)
    split = ("--setting", "75-25", "--splits", "0", "--json")
    done = run(*args, *where, "--features", folder / "features", *split)
    assert done.exit_code == 0, done.output
    table = json.loads(done.stdout)
    assert table["card"]["dataset"] == "synthetic-thumos14"
    assert table["card"]["backbone"] == "synthetic"
    assert table["mean"]["mAP@0.5"] > 0.3


def test_no_made_up_number_passes_for_a_real_one(folder: Path, tmp_path: Path) -> None:
    file = folder / "annotations.json"
    for name in ("thumos14", "folder"):
        with pytest.raises(FormatError, match="a made-up world"):
            load_dataset(name, folder, annotations=file)
    with pytest.raises(FormatError, match="expected 'activitynet', got 'thumos14'"):
        load_dataset("synthetic-activitynet", folder)
    content = json.loads(file.read_text())
    del content["synthetic"]
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    with pytest.raises(FormatError, match="synthetic"):
        load_dataset("synthetic-thumos14", tmp_path)


RECIPE = Recipe("synthetic", "f", 4.0, "")


def test_other_annotations_are_never_overwritten(tmp_path: Path) -> None:
    theirs = tmp_path / "annotations.json"
    for content in ('{"database": {}}', '["synthetic"]'):
        theirs.write_text(content)
        with pytest.raises(FormatError, match="holds other annotations"):
            write_world(world(), tmp_path, RECIPE, num_videos={"test": 1})
        assert theirs.read_text() == content
    assert not (tmp_path / "features").exists()


def test_an_interrupted_world_has_no_annotations_of_the_one_before(tmp_path: Path) -> None:
    def stop(done: float, _: float) -> None:
        if done == 2:
            raise KeyboardInterrupt

    heard: list[tuple[float, float]] = []
    num_videos = {"training": 2, "validation": 1}
    write_world(
        world(), tmp_path, RECIPE, num_videos=num_videos, advance=lambda *x: heard.append(x)
    )
    assert heard == [(1, 3), (2, 3), (3, 3)]
    first = (tmp_path / "annotations.json").read_bytes()
    with pytest.raises(KeyboardInterrupt):
        write_world(world(seed=1), tmp_path, RECIPE, num_videos=num_videos, advance=stop)
    assert not (tmp_path / "annotations.json").exists()
    write_world(world(), tmp_path, RECIPE, num_videos=num_videos)
    assert (tmp_path / "annotations.json").read_bytes() == first


def test_flow_and_priors_are_written_beside_the_same_features(tmp_path: Path) -> None:
    command = ("datasets", "synthesize", "thumos14", "--train", 1, "--test", 2, "--seed", 3)
    plain, full = tmp_path / "plain", tmp_path / "full"
    assert run(*command, "--out", plain).exit_code == 0
    done = run(*command, "--out", full, "--flow", "--priors")
    assert done.exit_code == 0, done.output
    names = {path.relative_to(plain) for path in plain.rglob("*") if path.is_file()}
    assert len(names) == 4
    assert all((plain / name).read_bytes() == (full / name).read_bytes() for name in names)

    seen = load_encoder("synthetic")
    assert isinstance(seen, Synthetic)
    words = seen.encode_text([prompt_name(name) for name in class_names("thumos14")])
    made = SyntheticWorld(class_names("thumos14"), words, FOOTAGE["thumos14"], seed=3)
    video = Video("synthetic_test_00001", 1)
    flow = read_features(full / "features" / f"{video.id}{FLOW_SUFFIX}")
    np.testing.assert_array_equal(flow.features, made.make_flow(made.make(video), video))
    assert flow.recipe.encoder.startswith("synthetic+flow-")
    assert flow.recipe.fingerprint != seen.fingerprint

    priors = read_priors(full / "priors")
    assert sorted(priors) == sorted(prompt_name(name) for name in class_names("thumos14"))
    prior, label = priors["Pole Vault"], class_names("thumos14").index("PoleVault")
    assert len(prior.texts) == len(prior.images) == 4
    assert all("Pole Vault" in text for text in prior.texts)
    points = seen.encode_pictures([read_picture(path) for path in prior.images])
    cosines = (points * made.draw_views(label, 4)).sum(axis=1)
    np.testing.assert_allclose(cosines, 1, atol=1e-3)

    other = (*command[:-1], 4, "--out", full, "--flow", "--priors")
    assert run(*other).exit_code == 0  # another world's pictures do not stay
    again = read_picture(read_priors(full / "priors")["Pole Vault"].images[0])
    assert (seen.encode_pictures([again]) @ points[0])[0] < 0.9


def test_synthesizing_refuses_in_one_line(tmp_path: Path) -> None:
    command = ("datasets", "synthesize", "thumos14", "--out", tmp_path)
    assert "Did you mean 'thumos14'" in refusal(*command[:2], "thumos", *command[3:])
    assert "Unknown setting 'colour'" in refusal(*command, "--set", "colour=3")
    sentences = (*command[:2], "charades-sta", *command[3:], "--priors")
    assert "--priors: charades-sta has sentences and no classes" in refusal(*sentences)
    assert not (tmp_path / "features").exists()
    (tmp_path / "taken").touch()
    assert "cannot be written" in refusal(*command[:-1], tmp_path / "taken")
    assert "rotation must lie in [0, 1]" in refusal(*command, "--set", "rotation=2")


def test_the_backbone_of_the_made_up_world_sees_no_video(tmp_path: Path) -> None:
    encoder = load_encoder("synthetic")
    video = tmp_path / "video.mp4"
    with pytest.raises(VideoError, match="openmoment datasets synthesize"):
        encoder.encode_video(video, fps=4.0, source_sha256="")
    assert "synthetic" not in BEST_FIRST
    assert encoder.fingerprint != load_encoder("embedded").fingerprint


def test_made_up_pictures_are_seen_as_what_they_were_drawn_of() -> None:
    encoder = load_encoder("synthetic")
    assert isinstance(encoder, Synthetic)
    points = np.random.default_rng(0).standard_normal((3, encoder.dim))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    seen = encoder.encode_pictures([encoder.draw(point) for point in points])
    assert seen.dtype == np.float32
    np.testing.assert_allclose((seen * points).sum(axis=1), 1, atol=1e-3)
    with pytest.raises(FormatError, match="made-up pictures of 24 x 16 alone, got 9 x 8"):
        encoder.encode_pictures([np.zeros((8, 9, 3), np.uint8)])


def test_methods_can_train_the_words_of_the_made_up_world() -> None:
    encoder = load_encoder("synthetic")
    assert isinstance(encoder.space, HasTextTower)
    (words,) = encoder.encode_text(["pole vault"])
    np.testing.assert_allclose(
        encoder.space.prompt("pole vault")().detach().numpy(), words, atol=1e-5
    )
