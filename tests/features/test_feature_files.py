"""Feature files, and features that others made."""

import json
import pickle
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import load_file, save, save_file

from openmoment.errors import FeatureError, RecipeError
from openmoment.features import file as features
from openmoment.features.file import (
    FLOW_SUFFIX,
    FORMAT,
    IMPORTED,
    Stride,
    find_features,
    import_features,
    read_features,
    read_header,
    write_features,
)
from openmoment.types import Recipe, SnippetGrid, Snippets

RECIPE = Recipe("fake", "fingerprint-1", 4.0, "ab" * 32)


def some_snippets(num: int = 6, dim_in: int = 5, *, seed: int = 0) -> Snippets:
    rng = np.random.default_rng(seed)
    edges_s = np.cumsum(rng.uniform(0.1, 0.5, num + 1))
    features = rng.standard_normal((num, dim_in)).astype(np.float32)
    return Snippets(features, SnippetGrid(edges_s), RECIPE, float(edges_s[-1]) + 0.25)


def refusal(call: Callable[[], object], kind: type[Exception] = FeatureError) -> str:
    """The message of the error that ``call`` raises: one line, always."""
    with pytest.raises(kind) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    return message


@settings(max_examples=15, deadline=None)
@given(
    num=st.integers(1, 40), dim_in=st.integers(1, 9), seed=st.integers(0, 99), moves=st.booleans()
)
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, num: int, dim_in: int, seed: int, moves: bool
) -> None:
    path = tmp_path_factory.mktemp("features") / "a.safetensors"
    snippets = some_snippets(num, dim_in, seed=seed)
    if moves:
        snippets = replace(snippets, motion=snippets.features[:, 0])
    write_features(snippets, path)
    read = read_features(path, expected=RECIPE)
    np.testing.assert_array_equal(read.motion, snippets.motion)
    np.testing.assert_array_equal(read.features, snippets.features)
    np.testing.assert_array_equal(read.grid.edges_s, snippets.grid.edges_s)
    assert (read.recipe, read.duration_s) == (snippets.recipe, snippets.duration_s)
    assert read.features.dtype == np.float32
    assert list(path.parent.iterdir()) == [path]


def test_any_safetensors_reader_finds_the_recipe(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_features(some_snippets(3, 2), path)
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    head = json.loads(content[8 : 8 + length])
    recipe = json.loads(head["__metadata__"]["openmoment"])
    assert recipe["format"] == FORMAT == "openmoment-features/1"
    assert recipe["encoder"] == "fake" and recipe["fps"] == 4.0
    assert recipe["source_sha256"] == RECIPE.source_sha256
    assert {"fingerprint", "duration_s", "version"} < recipe.keys()
    assert (head["features"]["dtype"], head["features"]["shape"]) == ("F32", [3, 2])
    assert (head["edges_s"]["dtype"], head["edges_s"]["shape"]) == ("F64", [4])


def test_the_header_is_read_without_the_numbers(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_features(some_snippets(7, 3), path)
    header = read_header(path)
    assert (header.num_snippets, header.dim_in, header.recipe) == (7, 3, RECIPE)


def test_another_recipe_is_refused_by_field_and_both_values(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_features(some_snippets(), path)
    asked = replace(RECIPE, fps=8.0, fingerprint="fingerprint-2")
    message = refusal(lambda: read_features(path, expected=asked), RecipeError)
    for part in (str(path), "fps: 4.0 here, 8.0 asked for", "fingerprint-1", "fingerprint-2"):
        assert part in message
    assert "encoder" not in message and "source_sha256" not in message
    assert "Extract" in message


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_features(some_snippets(), path)
    content = path.read_bytes()
    for length in (0, 3, 8, 20, 200, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        assert str(path) in refusal(lambda: read_features(path))


def damaged(**changes: object) -> bytes:
    header = {
        "format": FORMAT,
        "encoder": "fake",
        "fingerprint": "f",
        "fps": 4.0,
        "source_sha256": "",
        "duration_s": 1.0,
        "version": "0",
    }
    tensors = {
        "features": changes.pop("features", np.ones((2, 3), np.float32)),
        "edges_s": changes.pop("edges_s", np.arange(3.0)),
    }
    text = changes.pop("text", None) or json.dumps(header | changes)
    return save(tensors, metadata={"openmoment": text})  # pyright: ignore


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"these are not features, but some text", "not a readable feature file"),
        (save({"features": np.ones((2, 3), np.float32)}), "no recipe"),
        (damaged(format="openmoment-features/9"), "openmoment-features/9"),
        (damaged(text="{"), "header is damaged"),
        (damaged(text="[]"), "header is damaged"),
        (damaged(fps="often"), "header is damaged"),
        (damaged(features=np.ones((2, 3), np.float16)), "expected features (F32"),
        (damaged(edges_s=np.arange(4.0)), "expected features (F32"),
        (damaged(edges_s=np.array([0.0, 2.0, 1.0])), "increase"),
        (damaged(features=np.array([[1], [np.nan]], np.float32)), "NaN"),
    ],
)
def test_a_file_that_breaks_the_format_is_refused(
    tmp_path: Path, content: bytes, says: str
) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    message = refusal(lambda: read_features(path))
    assert says in message and str(path) in message


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert "no such" in refusal(lambda: read_features(tmp_path / "a.safetensors"))
    assert "no such" in refusal(lambda: read_features(tmp_path))


def test_a_write_that_fails_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.safetensors"
    write_features(some_snippets(seed=1), path)
    before = path.read_bytes()

    def fail(rows: np.ndarray) -> Iterator[np.ndarray]:
        yield rows[:1]
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(features, "blocks", fail)
    assert "No space left" in refusal(lambda: write_features(some_snippets(seed=2), path))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_the_library_reads_what_is_streamed(tmp_path: Path) -> None:
    """The header is our own, the format is theirs."""
    snippets = some_snippets(num=7, dim_in=3)
    write_features(snippets, tmp_path / "a.safetensors")
    tensors = load_file(tmp_path / "a.safetensors")
    np.testing.assert_array_equal(tensors["features"], snippets.features)
    np.testing.assert_array_equal(tensors["edges_s"], snippets.grid.edges_s)


def test_importing_needs_neither_torch_nor_a_video_library(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_features(some_snippets(), path)
    code = (
        "import sys, pathlib\n"
        "import openmoment.pipeline.extraction, openmoment.features.cache\n"
        "import openmoment.cli.features\n"
        "from openmoment.features.file import read_features\n"
        "openmoment.features.cache.sha256(pathlib.Path(sys.argv[1]))\n"
        "read_features(pathlib.Path(sys.argv[1]))\n"
        "heavy = {'torch', 'av', 'matplotlib', 'pandas'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_motion_has_one_speed_for_each_snippet() -> None:
    snippets = some_snippets(6)
    said = refusal(lambda: replace(snippets, motion=np.zeros(5, np.float32)))
    assert "(5,) speeds for 6 snippets" in said
    said = refusal(lambda: replace(snippets, motion=np.full(6, np.nan, np.float32)))
    assert "motion holds NaN" in said


def test_a_file_whose_motion_does_not_fit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.flow.safetensors"
    write_features(replace(some_snippets(6), motion=np.zeros(6, np.float32)), path)
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    save_file(tensors | {"motion": np.zeros(5, np.float32)}, path, metadata=metadata)
    assert f"{path}: (5,) speeds for 6 snippets" in refusal(lambda: read_features(path))
    save_file(tensors | {"motion": np.zeros(6)}, path, metadata=metadata)
    assert "expected features" in refusal(lambda: read_features(path))


def test_files_of_flow_are_found_by_their_own_name(tmp_path: Path) -> None:
    for name in ("v_a.safetensors", "v_a.flow.safetensors", "b.flow.safetensors", "c.json"):
        (tmp_path / name).touch()
    assert find_features(tmp_path) == dict.fromkeys(("a", "v_a"), tmp_path / "v_a.safetensors")
    flow = find_features(tmp_path, FLOW_SUFFIX)
    assert {stem: path.name for stem, path in flow.items()} == {
        "a": "v_a.flow.safetensors",
        "v_a": "v_a.flow.safetensors",
        "b": "b.flow.safetensors",
    }


# ---------------------------------------------------------------------------------------------
# Features that others made
# ---------------------------------------------------------------------------------------------


def saved(tmp_path: Path, array: np.ndarray) -> Path:
    path = tmp_path / "a.npy"
    np.save(path, array)
    return path


@settings(max_examples=60, deadline=None)
@given(
    num=st.integers(3, 60),
    frames=st.integers(1, 32),
    window=st.integers(1, 64),
    video_fps=st.floats(5, 60),
)
def test_snippets_of_a_stride_lie_where_they_were_taken(
    tmp_path_factory: pytest.TempPathFactory, num: int, frames: int, window: int, video_fps: float
) -> None:
    path = saved(tmp_path_factory.mktemp("a"), np.ones((num, 2)))
    duration_s = ((num - 1) * frames + window) / video_fps
    snippets = import_features(
        path,
        encoder="i3d",
        dim_in=2,
        duration_s=duration_s,
        stride=Stride(frames, video_fps, window),
    )
    inner = np.arange(1, len(snippets) - 1)  # the first and the last are clipped to the video
    times_s = (inner * frames + window / 2) / video_fps
    np.testing.assert_allclose(snippets.grid.points_to_seconds(inner.astype(float)), times_s)
    # and back, as the field's reference formula has it
    points = (snippets.grid.centres_s[1:-1] * video_fps - window / 2) / frames
    np.testing.assert_allclose(points, inner, atol=1e-6)
    assert snippets.grid.start_s >= 0 and snippets.grid.end_s <= duration_s
    assert snippets.recipe == Recipe("i3d", IMPORTED, video_fps / frames, "")


def test_snippets_at_a_rate_start_with_the_video(tmp_path: Path) -> None:
    path = saved(tmp_path, np.arange(24.0).reshape(12, 2))
    snippets = import_features(path, encoder="clip", dim_in=2, duration_s=2.4, fps=5.0)
    np.testing.assert_allclose(snippets.grid.edges_s, np.arange(13) / 5)
    assert snippets.recipe.fps == 5.0
    np.testing.assert_array_equal(snippets.features[:, 0], np.arange(0, 24, 2))


def test_snippets_without_a_stated_rate_share_the_video(tmp_path: Path) -> None:
    path = saved(tmp_path, np.ones((100, 2), np.float16))
    snippets = import_features(path, encoder="clip", dim_in=2, duration_s=250.0)
    np.testing.assert_allclose(snippets.grid.edges_s, np.arange(101) * 2.5)
    assert snippets.recipe.fps == 0.4


def test_snippets_past_the_end_are_dropped(tmp_path: Path) -> None:
    path = saved(tmp_path, np.ones((42, 2)))
    snippets = import_features(path, encoder="clip", dim_in=2, duration_s=10.1, fps=4.0)
    assert len(snippets) == 41
    assert snippets.grid.end_s == 10.1


@pytest.mark.parametrize(
    ("axis", "says"),
    [
        ({"fps": 8.0}, "end at 5.0 s, but the video lasts 10.0 s"),
        ({"fps": 2.0}, "end at 20.0 s, but the video lasts 10.0 s"),
        ({"stride": Stride(8, 25.0)}, "end at 12.8 s"),
        ({"fps": 4.0, "stride": Stride(8, 25.0)}, "stated twice"),
        ({"fps": 0.0}, "positive fps"),
        ({"fps": float("nan")}, "positive fps"),
        ({"stride": Stride(0, 25.0)}, "positive stride"),
        ({"stride": Stride(8, -25.0)}, "positive video fps"),
        ({"stride": Stride(8, 25.0, 0)}, "positive window"),
        ({"fps": 4.0, "duration_s": 0.0}, "positive duration"),
    ],
)
def test_a_time_axis_that_cannot_be_right_is_refused(tmp_path: Path, axis: dict, says: str) -> None:
    path = saved(tmp_path, np.ones((40, 2)))
    arguments = {"encoder": "clip", "dim_in": 2, "duration_s": 10.0} | axis
    message = refusal(lambda: import_features(path, **arguments))
    assert says in message and str(path) in message


@pytest.mark.parametrize(
    ("shape", "dim_in", "layout", "expected"),
    [
        ((40, 3), 3, None, (40, 3)),
        ((3, 40), 3, None, (40, 3)),
        ((40, 3), None, "time-first", (40, 3)),
        ((3, 40), None, "width-first", (40, 3)),
        ((40, 40), 40, "width-first", (40, 40)),
        ((40, 3), None, None, "may be time by width or width by time"),
        ((40, 40), 40, None, "may be time by width or width by time"),
        ((40, 4), 3, None, "features are 4 wide, but clip makes 3"),
        ((40, 3), 3, "width-first", "features are 40 wide, but clip makes 3"),
        ((1, 40, 3), 3, None, "expected numbers as [snippets, width]"),
        ((0, 3), 3, None, "a.npy"),
    ],
)
def test_which_axis_is_time(
    tmp_path: Path, shape: tuple, dim_in: int | None, layout: str | None, expected: object
) -> None:
    path = saved(tmp_path, np.arange(np.prod(shape), dtype=float).reshape(shape))

    def load() -> Snippets:
        return import_features(
            path, encoder="clip", dim_in=dim_in, duration_s=10.0, fps=4.0, layout=layout
        )

    if isinstance(expected, str):
        assert expected in refusal(load)
        return
    features = load().features
    assert features.shape == expected
    is_turned = layout == "width-first" or shape != expected
    np.testing.assert_array_equal(
        features[1], np.load(path).T[1] if is_turned else np.load(path)[1]
    )


def test_an_npz_file_is_asked_by_key(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, rgb=np.ones((40, 2)), flow=np.zeros((40, 2)), fps=np.array(4.0))

    def load(key: str | None) -> Snippets:
        return import_features(path, encoder="i3d", dim_in=2, duration_s=10.0, key=key)

    assert load("rgb").features.all() and not load("flow").features.any()
    assert "rgb, flow, fps" in refusal(lambda: load(None))
    assert "no array 'depth'" in refusal(lambda: load("depth"))
    np.savez(path, np.ones((40, 2)))
    assert load(None).features.all()


class Trap:
    """Says so when it is unpickled."""

    def __reduce__(self) -> tuple:
        return (pytest.fail, ("a pickle was executed",))


def test_pickles_are_refused_and_not_run(tmp_path: Path) -> None:
    def load(path: Path) -> str:
        return refusal(lambda: import_features(path, encoder="x", dim_in=2, duration_s=1.0))

    objects = saved(tmp_path, np.array([[Trap(), Trap()]], dtype=object))
    assert "pickle" in load(objects)
    (tmp_path / "b.npy").write_bytes(pickle.dumps(Trap()))
    assert "pickle" in load(tmp_path / "b.npy")
    np.savez(tmp_path / "c.npz", np.array([[Trap(), Trap()]], dtype=object))
    assert "pickle" in load(tmp_path / "c.npz")
    (tmp_path / "d.pt").write_bytes(pickle.dumps(Trap()))
    assert "weights_only=True" in load(tmp_path / "d.pt")


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not a zip", b"\x93NUMPY\x01\x00", b"text"])
def test_a_damaged_array_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    message = refusal(lambda: import_features(path, encoder="x", dim_in=2, duration_s=1.0))
    assert str(path) in message


def test_numbers_that_no_file_may_hold_are_refused(tmp_path: Path) -> None:
    for array in (
        np.array([[1.0, np.nan]]),
        np.array([[1e300, 1.0]]),
        np.array([["a", "b"]]),
        np.array([[1j, 1.0]]),
    ):
        path = saved(tmp_path, array)
        assert str(path) in refusal(
            lambda: import_features(path, encoder="x", dim_in=2, duration_s=1.0)  # noqa: B023
        )
    save_file({"features": np.ones((2, 2))}, tmp_path / "a.safetensors")
    assert ".npy or .npz" in refusal(
        lambda: import_features(tmp_path / "a.safetensors", encoder="x", duration_s=1.0)
    )


@pytest.mark.data
def test_released_features_lie_at_their_released_times(data_root: Path, tmp_path: Path) -> None:
    path = data_root / "features" / "v_GGSY1Qvo990.clip_vit_b32_5fps.npz"
    snippets = import_features(
        path, encoder="clip-vit-b-32", dim_in=512, duration_s=18.16, fps=5.0, key="clip"
    )
    np.testing.assert_allclose(
        snippets.grid.edges_s[:-1], np.load(path)["timestamps_ms"] / 1000, atol=1e-9
    )
    write_features(snippets, tmp_path / "a.safetensors")
    assert len(read_features(tmp_path / "a.safetensors")) == 90


@pytest.mark.data
def test_released_i3d_features_cover_their_video(data_root: Path) -> None:
    path = data_root / "features" / "women_long_jump_i3d_rgb.npy"
    stride = Stride(64, 25.0)
    snippets = import_features(path, encoder="i3d", dim_in=1024, duration_s=35.155, stride=stride)
    assert len(snippets) == 14
    assert snippets.grid.centres_s[1] == pytest.approx(96 / 25)
    with pytest.raises(FeatureError, match="lasts 35.2 s"):
        import_features(
            path, encoder="i3d", dim_in=1024, duration_s=35.155, stride=Stride(16, 25.0)
        )


def test_key_frames_stand_for_what_is_nearest_to_them(tmp_path: Path) -> None:
    path = tmp_path / "keys.npy"
    np.save(path, np.eye(3, 4, dtype=np.float32))
    given = {"encoder": "clip", "dim_in": 4, "duration_s": 10.0}
    snippets = import_features(path, times_s=np.array([1.0, 2.0, 6.0]), **given)
    assert snippets.grid.edges_s.tolist() == [0.0, 1.5, 4.0, 10.0]
    for times_s, problem in (
        ([1.0, 2.0], "3 snippets, but 2 times"),
        ([1.0, 1.0, 2.0], "must be finite, rise"),
        ([1.0, np.nan, 2.0], "must be finite"),
        ([1.0, 2.0, 10.0], "lasts 10.0 s"),
    ):
        with pytest.raises(FeatureError, match=problem):
            import_features(path, times_s=np.array(times_s), **given)
    with pytest.raises(FeatureError, match="stated twice"):
        import_features(path, times_s=np.array([1.0, 2.0, 6.0]), fps=1.0, **given)
