"""Features that the field shares: where their snippets lie, and two streams side by side."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from commands import refusal, run

from openmoment.errors import FeatureError, FormatError, UnknownNameError
from openmoment.features.file import (
    FLOW_SUFFIX,
    IMPORTED,
    join_streams,
    read_features,
    write_features,
)
from openmoment.features.released import RELEASES, Times, find_times, import_released, read_times
from openmoment.types import Recipe, SnippetGrid, Snippets

THUMOS, TSP = "actionformer-thumos14-i3d", "actionformer-activitynet-tsp"
I3D, TSN = "actionformer-activitynet-i3d", "bsn-activitynet-tsn"


def save(path: Path, num: int, width: int) -> Path:
    rows = np.random.default_rng(num).standard_normal((num, width)).astype(np.float32)
    if path.suffix == ".csv":
        header = ",".join(f"f{i}" for i in range(width))
        np.savetxt(path, rows, delimiter=",", header=header, comments="")
    else:
        np.save(path, rows)
    return path


@pytest.mark.parametrize(
    ("name", "num", "times", "rate"),
    [
        (THUMOS, 247, Times(1000 / 29.97, video_fps=29.97), 29.97 / 4),
        (I3D, 156, Times(100.0), 25 / 16),
        (TSP, 93, Times(100.0), 15 / 16),
    ],
)
def test_snippets_are_centred_on_what_they_saw(
    tmp_path: Path, name: str, num: int, times: Times, rate: float
) -> None:
    release = RELEASES[name]
    path = save(tmp_path / "a.npy", num, release.width)
    snippets = import_released(path, name, times)
    assert snippets.recipe.fps == pytest.approx(rate)
    assert (snippets.recipe.encoder, snippets.recipe.fingerprint) == (name, IMPORTED)
    fps = release.video_fps or times.video_fps
    assert release.stride and release.window and fps
    centres_s = (np.arange(num) * release.stride + release.window / 2) / fps
    np.testing.assert_allclose(snippets.grid.centres_s, centres_s)
    assert snippets.duration_s == times.duration_s
    np.testing.assert_array_equal(snippets.features, np.load(path))


def test_a_hundred_snippets_share_what_was_seen(tmp_path: Path) -> None:
    path = save(tmp_path / "v_a.csv", 100, 400)
    snippets = import_released(path, TSN, Times(82.73, covered_s=82.0))
    np.testing.assert_allclose(snippets.grid.edges_s, np.linspace(0, 82.0, 101))
    assert snippets.duration_s == 82.73
    written = np.loadtxt(path, delimiter=",", skiprows=1)
    np.testing.assert_allclose(snippets.features, written, rtol=1e-6)


def test_times_are_those_of_the_annotations(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"database": {"a": {"duration": 10.0, "fps": 25}}, "version": "x"}))
    assert read_times(path) == {"a": Times(10.0, video_fps=25.0)}
    facts = {"duration_second": 82.73, "duration_frame": 2067, "feature_frame": 2064}
    path.write_text(json.dumps({"v_b": facts}))
    (times,) = read_times(path).values()
    assert times.covered_s == pytest.approx(82.73 * 2064 / 2067)
    assert find_times({"v_b": times}, tmp_path / "b.csv") == times
    for wrong in ({"v_b": {}}, {"database": {"a": {}}}, {"v_b": facts | {"duration_frame": 0}}, []):
        path.write_text(json.dumps(wrong))
        with pytest.raises(FormatError, match=r"a\.json"):
            read_times(path)


@pytest.mark.data
def test_real_annotations_give_real_times(data_root: Path) -> None:
    folder = data_root / "annotations" / "activitynet"
    bsn = read_times(folder / "anet_anno_action.json")
    assert bsn["v_QOlSCBRmfWY"].covered_s == pytest.approx(82.73 * 2064 / 2067)
    assert read_times(folder / "anet1.3_i3d_filtered.json.gz")["sJFgo9H6zNo"] == Times(139.042)


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npy", 247, 2048)
    with pytest.raises(FeatureError, match="give it no 'fps'"):
        import_released(path, THUMOS, Times(33.4))
    with pytest.raises(FeatureError, match="Check the time axis"):
        import_released(path, THUMOS, Times(60.0, video_fps=30.0))
    with pytest.raises(FeatureError, match="2048 wide"):
        import_released(path, TSP, Times(33.4))
    with pytest.raises(UnknownNameError, match="Unknown release"):
        import_released(path, "i3d", Times(33.4))


@pytest.mark.parametrize("content", ["f0,f1\n", "f0,f1\n1,x\n", "f0,f1\n1,2\n3\n"])
@pytest.mark.filterwarnings("ignore:loadtxt")
def test_a_table_that_is_none_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(FeatureError, match=r"a\.csv"):
        import_released(tmp_path / "a.csv", TSN, Times(10.0))


# ---------------------------------------------------------------------------------------------
# The command line
# ---------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "tsp"
    folder.mkdir()
    for name, num in (("v_a", 93), ("v_b", 20), ("v_c", 93)):
        save(folder / f"{name}.npy", num, 512)
    database = {"a": {"duration": 100.0}, "b": {"duration": 100.0}, "c": {"duration": 100.0}}
    (tmp_path / "anet.json").write_text(json.dumps({"database": database}))
    return folder


def test_a_release_becomes_feature_files(folder: Path, tmp_path: Path) -> None:
    words = ("features", "import-released", folder, "--release", TSP, "--out", tmp_path / "out")
    words += ("--annotations", tmp_path / "anet.json")
    done = run(*words, "--json")
    assert done.exit_code == 2  # b is too short
    told = json.loads(done.stdout)
    assert told["counts"] == {"made": 2, "failed": 1} and told["release"] == TSP
    assert "Check the time axis" in told["videos"][1]["message"]
    assert read_features(tmp_path / "out" / "v_a.safetensors").features.shape == (93, 512)
    assert "2 present" in run(*words).stderr
    assert "2 made" in run(*words, "--overwrite").stderr


def test_a_video_that_the_annotations_lack_is_reported(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "anet.json").write_text('{"database": {"v_a": {"duration": 100.0}}}')
    words = ("features", "import-released", folder, "--release", TSP, "--out", tmp_path / "out")
    done = run(*words, "--annotations", tmp_path / "anet.json")
    assert done.exit_code == 2 and "1 made, 2 failed" in done.stderr
    assert "v_c.npy: the annotations say nothing of this video" in done.stderr


def test_mistakes_are_one_line(folder: Path, tmp_path: Path) -> None:
    def words(release: str) -> tuple:
        paths = ("--out", tmp_path / "out", "--annotations", tmp_path / "anet.json")
        return ("features", "import-released", folder, "--release", release, *paths)

    assert "Did you mean" in refusal(*words("actionformer-thumos14-i3"))
    assert "no .csv file" in refusal(*words(TSN))
    assert not (tmp_path / "out").exists()
    assert "features extract --flow" in refusal("features", "join", folder, "--out", tmp_path / "o")


# ---------------------------------------------------------------------------------------------
# Two streams
# ---------------------------------------------------------------------------------------------


def stream(name: str, width: int, *, source: str = "x" * 64, num: int = 8) -> Snippets:
    rows = np.random.default_rng(width).standard_normal((num, width)).astype(np.float32)
    grid = SnippetGrid.uniform(num, end_s=4.0)
    return Snippets(rows, grid, Recipe(name, f"{name}-1", 2.0, source), 4.0)


def test_two_streams_lie_side_by_side() -> None:
    one, two = stream("rgb", 3), stream("flow", 5)
    both = join_streams(one, two)
    np.testing.assert_array_equal(both.features[:, :3], one.features)
    np.testing.assert_array_equal(both.features[:, 3:], two.features)
    assert both.recipe.encoder == "rgb & flow"
    assert both.recipe.source_sha256 == one.recipe.source_sha256
    other = replace(two, recipe=replace(two.recipe, fingerprint="flow-2"))
    assert join_streams(one, other).recipe.fingerprint != both.recipe.fingerprint


@pytest.mark.parametrize("wrong", [{"source": "y" * 64}, {"num": 7}])
def test_streams_of_something_else_are_refused(wrong: dict) -> None:
    with pytest.raises(FeatureError, match="expected the same snippets of the same video"):
        join_streams(stream("rgb", 3), stream("flow", 5, **wrong))


def test_join_writes_a_file_of_both(tmp_path: Path) -> None:
    apart, out = tmp_path / "apart", tmp_path / "out"
    apart.mkdir()
    write_features(stream("rgb", 3), apart / "a.safetensors")
    write_features(stream("flow", 5), apart / f"a{FLOW_SUFFIX}")
    write_features(stream("flow", 5), apart / f"b{FLOW_SUFFIX}")
    done = run("features", "join", apart, "--out", out)
    assert done.exit_code == 2 and "1 made, 1 failed" in done.stderr
    assert read_features(out / "a.safetensors").features.shape == (8, 8)
    assert "b.safetensors: no such feature file" in done.stderr
    assert "folder of their own" in refusal("features", "join", apart, "--out", apart)
