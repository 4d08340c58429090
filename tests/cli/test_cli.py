"""The command line as a person meets it: answers, files, and one line for each mistake."""

import json
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import numpy as np
import pytest
from commands import refusal, run
from videos import make_video

from openmoment.errors import MissingWeightsError
from openmoment.video import probe
from openmoment.video.demo import QUERIES, make_demo_video


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("videos") / "demo.mp4"
    make_demo_video(path)
    return path


# answers -----------------------------------------------------------------------------------------


def test_find_answers_in_every_form(demo: Path, tmp_path: Path) -> None:
    files = {name: tmp_path / name for name in ("f.html", "f.png", "f.vtt", "clips")}
    result = run(
        "find",
        demo,
        *QUERIES,
        "--report",
        files["f.html"],
        "--plot",
        files["f.png"],
        "--out",
        files["f.vtt"],
        "--clips",
        files["clips"],
        "--exact",
    )
    assert result.exit_code == 0, result.output
    table = result.stdout.splitlines()
    assert table[0].split() == ["start", "end", "query", "how", "sure"]
    found = [line.split()[2:-1] for line in table[1:-2]]
    assert [" ".join(words) for words in found] == [
        "a cup of coffee",
        "a cat",
        "a rocket launch",
        "a cup of coffee",
    ]
    assert table[-2].startswith("not found, how sure it occurs: playing tennis (0.")
    assert table[-1].startswith("The backbone embedded goes by objects and places")
    assert all(path.exists() for path in files.values())
    assert "a cat" in files["f.html"].read_text()
    clips = sorted(files["clips"].iterdir())
    assert len(clips) == 4
    assert probe(clips[1]).duration_s == pytest.approx(4.0, abs=0.5)


def test_find_prints_json_that_matches_the_truth(demo: Path) -> None:
    result = run("find", demo, "a cat", "playing tennis", "--json")
    found = json.loads(result.stdout)
    assert found["schema"] == "openmoment/1"
    assert [query["found"] for query in found["queries"]] == [True, False]
    (moment,) = found["moments"]
    np.testing.assert_allclose([moment["start_s"], moment["end_s"]], [12, 16], atol=0.5)


def test_a_folder_is_answered_and_a_bad_video_loses_nothing(demo: Path, tmp_path: Path) -> None:
    (tmp_path / "good.mp4").write_bytes(demo.read_bytes())
    (tmp_path / "bad.mp4").write_text("no video at all")
    listing = tmp_path / "queries.txt"
    listing.write_text("a cat\n\nplaying tennis\n")
    result = run("find", tmp_path, "--queries", listing, "--json", "--out", tmp_path / "all.csv")
    assert result.exit_code == 2
    answer = json.loads(result.stdout)
    assert [Path(video["video"]["path"]).name for video in answer["videos"]] == ["good.mp4"]
    assert [Path(failure["path"]).name for failure in answer["failed"]] == ["bad.mp4"]
    assert "bad.mp4" in result.stderr
    assert "a cat" in (tmp_path / "all.csv").read_text()


def test_what_is_not_understood_is_said_by_name(demo: Path) -> None:
    result = run("find", demo, "a cat", "!!!", "asdfgh", "no baby", "two dogs")
    assert result.exit_code == 0, result.output
    assert "not understood: !!!: no word to look for." in result.stdout
    assert 'not understood: asdfgh: no English word that is known: "asdfgh".' in result.stdout
    assert "--ask 'not \"baby\"'" in result.stdout
    assert '"two dogs": how many is not counted.' in result.stdout
    assert "0:00:12" in result.stdout
    answer = json.loads(run("find", demo, "no baby", "asdfgh", "--json").stdout)
    assert answer["moments"] == []
    for query, part in zip(answer["queries"], ("--ask", "no English word"), strict=True):
        assert (query["answer"], query["presence"]) == ("not understood", 0)
        assert part in query["why"]


def test_what_is_said_of_words_is_said_once_for_a_folder(demo: Path, tmp_path: Path) -> None:
    for name in ("one.mp4", "two.mp4"):
        (tmp_path / name).write_bytes(demo.read_bytes())
    result = run("find", tmp_path, "a cat", "no baby", "two dogs", "--fps", 1)
    assert result.stdout.count("not understood: no baby") == 1
    assert result.stdout.count("how many is not counted") == 1


def test_methods_and_their_settings_are_chosen_by_name(demo: Path) -> None:
    result = run("find", demo, "a cat", "--method", "whole_video", "--json")
    (moment,) = json.loads(result.stdout)["moments"]
    assert moment["end_s"] == pytest.approx(32.0, abs=0.1)
    result = run("find", demo, "playing tennis", "--set", "min_presence=0", "--json")
    assert json.loads(result.stdout)["moments"]


def test_fps_changes_the_grid(demo: Path) -> None:
    result = run("find", demo, "a cat", "--fps", 1, "--no-cache", "--json")
    (moment,) = json.loads(result.stdout)["moments"]
    assert moment["start_s"] == pytest.approx(12.0, abs=1.0)


def test_models_and_doctor_and_demo(tmp_path: Path) -> None:
    models = json.loads(run("models", "--json").stdout)
    facts = {"megabytes", "licence", "languages", "frames_per_s"}
    assert {"name", "summary", "missing"} | facts == set(models["backbones"][0])
    assert "openmoment models pull" in models["take"]
    told = run("models").stdout
    assert "embedded" in told
    for title in ("for features alone", "method  "):
        assert f"\n\n{title}" in told
    facts = json.loads(run("doctor", "--json").stdout)
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert {*facts["extras"], "dev"} == set(project["optional-dependencies"])
    assert facts["cache"]["writable"]
    assert {row["name"]: row["missing"] for row in facts["backbones"]}["embedded"] is None
    assert "ready" in run("doctor").stdout
    result = run("demo", "--out", tmp_path / "demo")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "demo" / "demo.html").is_file()
    assert str(tmp_path / "demo" / "demo.html") in result.stderr


def test_models_pull_says_what_it_cannot_do(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "needs no download" in refusal("models", "pull", "embedded")
    assert run("models", "push", "embedded").exit_code == 2
    assert "Did you mean" in refusal("models", "pull", "clip-vit-b-61")

    def offline(repo: str) -> Path:
        raise MissingWeightsError(f"The weights of {repo} could not be downloaded (offline).")

    monkeypatch.setattr("openmoment.encoders.weights.hub.pull", offline)
    failed = run("models", "pull", "clip-vit-b-16")
    assert failed.exit_code == 2
    about, fault = failed.stderr.splitlines()
    assert "about 599 MB, licence MIT, from https://huggingface.co/timm/" in about
    assert fault.startswith("openmoment: ")
    assert "could not be downloaded" in fault
    assert "models pull clip-vit-b-16" in refusal(
        "find", "v.mp4", "x", "--backbone", "clip-vit-b-16"
    )


def test_version_and_help() -> None:
    assert run("--version").stdout.startswith("openmoment ")
    for verb in ("find", "demo", "models", "doctor", "features"):
        assert verb in run("--help").stdout
        assert run(verb, "--help").exit_code == 0


# mistakes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.mp4", b""),
        ("text.mp4", b"this is a text file\n" * 50),
        ("random.mp4", np.random.default_rng(0).bytes(5000)),
    ],
)
def test_files_that_are_no_video(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    assert name in refusal("find", tmp_path / name, "a dog")


def test_a_missing_file_and_a_folder_named_like_one(tmp_path: Path) -> None:
    assert "gone.mp4" in refusal("find", tmp_path / "gone.mp4", "a dog")
    (tmp_path / "folder.mp4").mkdir()
    assert "folder.mp4" in refusal("find", tmp_path / "folder.mp4", "a dog")
    assert "no video" in refusal("find", tmp_path, "a dog").lower()


def test_a_truncated_file(tmp_path: Path) -> None:
    whole = make_video(tmp_path / "whole.mp4", seconds=2)
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[:-200])
    assert "cut.mp4" in refusal("find", cut, "a dog")


def test_queries_that_are_none(demo: Path, tmp_path: Path) -> None:
    assert "query" in refusal("find", demo).lower()
    assert "empty" in refusal("find", demo, "a dog", "")
    listing = tmp_path / "q.txt"
    assert "q.txt" in refusal("find", demo, "--queries", listing)
    listing.write_text("\n\n")
    assert "no query" in refusal("find", demo, "--queries", listing)
    listing.write_bytes(b"\xff\xfe\x00\x01")
    assert "UTF-8" in refusal("find", demo, "--queries", listing)


@pytest.mark.parametrize(
    ("args", "part"),
    [
        (["--method", "similarty"], "Did you mean 'similarity'"),
        (["--backbone", "clip"], "Unknown backbone 'clip'"),
        (["--set", "threshold=1"], "thresholds"),
        (["--set", "nothing"], "NAME=VALUE"),
        (["--fps", "0"], "fps"),
        (["--out", "answer.xyz"], "answer.xyz"),
        (["--out", "no/such/folder/answer.json"], "folder"),
        (["--report", "no/such/folder/r.html"], "folder"),
        (["--out", "a.json", "--format", "akkadian"], "Unknown format 'akkadian'"),
    ],
)
def test_options_that_make_no_sense(demo: Path, args: list[str], part: str) -> None:
    assert part in refusal("find", demo, "a dog", *args)


def test_a_refused_run_writes_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    refusal("find", tmp_path / "gone.mp4", "a dog", "--out", out, "--clips", tmp_path / "clips")
    assert list(tmp_path.iterdir()) == []


def test_usage_errors_exit_with_two() -> None:
    assert run("find").exit_code == 2
    assert run("nonsense").exit_code == 2


# stopping ------------------------------------------------------------------------------------


def test_ctrl_c_leaves_nothing_partial_and_what_was_done(demo: Path, tmp_path: Path) -> None:
    """Two videos: stopped in the second, the first is in the cache and nothing half-written."""
    videos, cache = tmp_path / "videos", tmp_path / "cache"
    videos.mkdir()
    (videos / "a.mp4").write_bytes(demo.read_bytes())
    make_video(videos / "b.mp4", seconds=120, fps=25, width=320, height=240)
    command = [sys.executable, "-c", "from openmoment.cli.main import run; run()"]
    command += ["find", str(videos), "a cat", "--out", str(tmp_path / "out.json")]
    process = subprocess.Popen(
        command,
        env={"OPENMOMENT_CACHE": str(cache), "OMP_WAIT_POLICY": "PASSIVE", "PATH": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 240
    while not list(cache.rglob("*.safetensors")):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=240)
    assert process.returncode == 130, stderr
    assert "interrupted" in stderr
    assert "Traceback" not in stderr
    assert not (tmp_path / "out.json").exists()
    assert len(list(cache.rglob("*.safetensors"))) == 1
    assert not list(cache.rglob("*.tmp*"))
