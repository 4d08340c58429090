"""The verbs of ``openmoment features``: data on stdout, messages on stderr, exit codes."""

import json
from pathlib import Path

import numpy as np
import pytest
from fakes import FakeEncoder
from safetensors.numpy import save_file
from typer.testing import CliRunner, Result

from openmoment import encoders
from openmoment.cli.features import app
from openmoment.errors import UnknownNameError
from openmoment.features.file import IMPORTED, read_features


@pytest.fixture(autouse=True)
def fake_backbone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The one backbone is the fake, and the cache is the test's own."""

    def load(name: str, **_: str) -> FakeEncoder:
        if name not in ("fake", "auto"):
            raise UnknownNameError("backbone", name, ["fake"])
        return FakeEncoder()

    monkeypatch.setattr(encoders, "load_encoder", load)
    monkeypatch.setenv("OPENMOMENT_CACHE", str(tmp_path / "cache"))


def ask(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "videos"
    folder.mkdir()
    for name in ("a.mp4", "b.mp4"):
        (folder / name).write_bytes(name.encode() * 500)
    return folder


def test_extract_writes_files_and_goes_on_where_it_stopped(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = ask("extract", folder, "--out", out, "--backbone", "fake", "--fps", 2)
    assert (first.exit_code, first.stdout) == (0, "")
    assert f"2 videos: 2 made. Features are in {out}." in first.stderr
    assert f"made    {folder / 'a.mp4'}" in first.stderr
    assert read_features(out / "a.safetensors").recipe.fps == 2.0
    (folder / "c.mp4").write_bytes(b"later")
    second = ask("extract", folder, "--out", out, "--fps", 2)
    assert "3 videos: 2 present, 1 made" in second.stderr
    assert "a.mp4" not in second.stderr


def test_extract_takes_one_video_too(folder: Path, tmp_path: Path) -> None:
    assert ask("extract", folder / "a.mp4", "--out", tmp_path / "out").exit_code == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.safetensors"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--flow", "dsi"], "Unknown flow 'dsi'. Did you mean 'dis'"),
        (["--flow", "dis"], "fake sees no pictures"),
        (["--full-colour-speed", 1], "Give --flow too"),
    ],
)
def test_flow_that_cannot_be_is_one_line(
    folder: Path, tmp_path: Path, options: list[object], says: str
) -> None:
    done = ask("extract", folder, "--out", tmp_path / "out", *options)
    assert (done.exit_code, done.stdout) == (2, "")
    assert says in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_bad_video_makes_exit_code_2_and_keeps_the_others(folder: Path, tmp_path: Path) -> None:
    (folder / "a.mp4").write_bytes(b"broken")
    done = ask("extract", folder, "--out", tmp_path / "out", "--json")
    assert done.exit_code == 2
    told = json.loads(done.stdout)
    assert told["counts"] == {"failed": 1, "made": 1}
    assert (told["backbone"], told["fps"]) == ("fake", 4.0)
    bad, good = told["videos"]
    assert (bad["status"], good["status"]) == ("failed", "made")
    assert "damaged" in bad["message"] and Path(good["features"]).is_file()


def test_an_empty_folder_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    done = ask("extract", tmp_path, "--out", tmp_path / "out")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith(f"openmoment: {tmp_path}: no video")
    assert done.stderr.count("\n") == 1


def imported(tmp_path: Path, *options: object, shape: tuple = (40, 16)) -> Result:
    np.save(tmp_path / "a.npy", np.ones(shape, np.float32))
    words = ["--out", tmp_path / "a.safetensors", "--duration", 10, *options]
    return ask("import", tmp_path / "a.npy", *words)


def test_import_writes_a_feature_file_and_says_what_is_in_it(tmp_path: Path) -> None:
    done = imported(tmp_path, "--backbone", "fake", "--fps", 4)
    assert done.exit_code == 0, done.stderr
    assert "40 x 16, 4 per second" in done.stdout
    snippets = read_features(tmp_path / "a.safetensors")
    assert (snippets.recipe.encoder, snippets.recipe.fingerprint) == ("fake", IMPORTED)
    assert snippets.duration_s == 10.0


def test_import_takes_the_stride_of_a_window(tmp_path: Path) -> None:
    done = imported(
        tmp_path, "--backbone", "fake", "--stride", 8, "--video-fps", 32, "--window", 16
    )
    assert done.exit_code == 0, done.stderr
    assert read_features(tmp_path / "a.safetensors").grid.centres_s[1] == (8 + 16 / 2) / 32


@pytest.mark.parametrize(
    ("options", "shape", "says"),
    [
        (["--backbone", "fake", "--fps", 4], (40, 17), "fake makes 16"),
        (["--backbone", "i3d", "--fps", 4], (40, 16), "the width or the layout"),
        (["--backbone", "fake", "--stride", 8], (40, 16), "--video-fps"),
        (["--backbone", "fake", "--window", 8], (40, 16), "--video-fps"),
        (["--backbone", "fake", "--fps", 25], (40, 16), "the video lasts 10.0 s"),
    ],
)
def test_import_refuses_in_one_line(
    tmp_path: Path, options: list[object], shape: tuple[int, int], says: str
) -> None:
    done = imported(tmp_path, *options, shape=shape)
    assert done.exit_code == 2 and says in done.stderr
    assert done.stderr.startswith("openmoment: ") and done.stderr.count("\n") == 1
    assert not (tmp_path / "a.safetensors").exists()


@pytest.mark.parametrize("option", [["--width", 16], ["--layout", "time-first"]])
def test_import_knows_other_backbones_by_their_width_or_layout(
    tmp_path: Path, option: list[object]
) -> None:
    done = imported(tmp_path, "--backbone", "i3d", *option)
    assert done.exit_code == 0, done.stderr
    assert read_features(tmp_path / "a.safetensors").recipe.encoder == "i3d"


def test_show_prints_the_recipe(tmp_path: Path) -> None:
    imported(tmp_path, "--backbone", "fake", "--fps", 4)
    table = ask("show", tmp_path / "a.safetensors").stdout
    for part in ("fake", IMPORTED, "40 x 16", "0:00:00.0 - 0:00:10.0", "not known"):
        assert part in table
    told = json.loads(ask("show", tmp_path / "a.safetensors", "--json").stdout)
    assert (told["num_snippets"], told["dim_in"], told["duration_s"]) == (40, 16, 10.0)
    refused = ask("show", tmp_path / "a.npy")
    assert refused.exit_code == 2 and "not a readable feature file" in refused.stderr


def test_features_that_hold_nan_are_refused(tmp_path: Path) -> None:
    numbers = np.ones((40, 16), np.float32)
    numbers[3, 5] = np.nan
    np.save(tmp_path / "nan.npy", numbers)
    out = tmp_path / "nan.safetensors"
    done = ask("import", tmp_path / "nan.npy", "--out", out, "--duration", 10, "--backbone", "fake")
    assert done.exit_code == 2 and done.stderr.count("\n") == 1
    assert "nan.npy" in done.stderr and "NaN" in done.stderr and "snippet 3" in done.stderr
    assert not out.exists()


def test_a_feature_file_whose_json_is_malformed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.safetensors"
    tensors = {"features": np.ones((2, 4), np.float32), "edges_s": np.arange(3.0)}
    save_file(tensors, path, metadata={"openmoment": "{not json"})
    done = ask("show", path)
    assert done.exit_code == 2 and done.stderr.count("\n") == 1
    assert "bad.safetensors" in done.stderr and "Traceback" not in done.stderr
