"""openmoment find --task, on a small real video, as a person meets it."""

import json
from pathlib import Path

import pytest
from commands import refusal, run

from openmoment.export import FORMATS
from openmoment.export.frames import read_frames
from openmoment.video import frame_times
from openmoment.video.demo import make_demo_video

NAMES = ("a cat", "a cup of coffee", "a rocket launch", "playing tennis")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("videos") / "demo.mp4"
    make_demo_video(path)
    return path


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kept")


@pytest.fixture(autouse=True)
def one_cache(kept: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The video is encoded once for all tests here."""
    monkeypatch.setenv("OPENMOMENT_CACHE", str(kept))


def test_sentences_are_answered_by_rank(demo: Path) -> None:
    sentences = ("a cat looks at the camera", "somebody plays tennis on grass")
    done = run("find", demo, *sentences, "--task", "mr", "--top", 2)
    assert done.exit_code == 0, done.output
    head, *rows, unsure, note = done.stdout.splitlines()
    assert unsure.startswith(f"unsure, how sure it occurs: {sentences[1]} (0.")
    assert head.split() == ["rank", "start", "end", "query", "how", "sure"]
    assert note.startswith("The backbone embedded")
    first = [row.split() for row in rows if sentences[0] in row]
    second = [row.split() for row in rows if sentences[1] in row]
    assert first + second == [row.split() for row in rows]  # in the order they were asked
    assert first[0][:3] == ["1", "0:00:12.0", "0:00:16.0"]
    assert [row[0] for row in second] == ["1", "2"]
    assert float(second[0][-1]) >= float(second[1][-1])
    assert "not found" not in done.stdout  # the second is ranked, however unlikely
    table = json.loads(run("find", demo, *sentences, "--task", "mr", "--top", 1, "--json").stdout)
    assert len(table["moments"]) == 2
    assert table["method"]["settings"]["task"] == "mr"


def test_every_snippet_has_a_label_or_none(demo: Path, tmp_path: Path) -> None:
    files = {kind: tmp_path / f"labels.{kind}" for kind in ("txt", "json", "csv", "html", "png")}
    done = run(
        *("find", demo, *NAMES, "--task", "as", "--out", files["txt"]),
        *("--report", files["html"], "--plot", files["png"]),
    )
    assert done.exit_code == 0, done.output
    for kind in ("json", "csv"):
        run("find", demo, *NAMES, "--task", "as", "--out", files[kind])
    lines = files["txt"].read_text().splitlines()
    assert len(lines) == len(frame_times(demo))
    assert set(lines) == {"a_cat", "a_cup_of_coffee", "a_rocket_launch", "background"}
    assert 'class="lane strip"' in files["html"].read_text()
    segments = json.loads(files["json"].read_text())["moments"]
    ends = [(segment["start_s"], segment["end_s"]) for segment in segments]
    assert all(end_s <= start_s for (_, end_s), (start_s, _) in zip(ends, ends[1:], strict=False))
    back = read_frames(files["txt"], fps=len(lines) / 32.0)
    assert [d.name for d in back.by_time()] == [segment["query"] for segment in segments]
    (table,) = FORMATS["csv"].read(files["csv"]).values()
    assert len(table) == len(segments)


def test_words_are_put_into_no_other_words_for_sentences_alone(demo: Path) -> None:
    asked = {
        task: json.loads(run("find", demo, "playing", "--task", task, "--json").stdout)["queries"]
        for task in ("tal", "mr", "as")
    }
    assert asked["tal"] == asked["as"]
    assert asked["tal"][0]["presence"] != asked["mr"][0]["presence"]


def test_what_cannot_be_asked_is_refused(demo: Path, tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    (folder / "x.mp4").write_bytes(demo.read_bytes())
    told = refusal("find", folder, "a cat", "--task", "as", "--out", tmp_path / "x.txt")
    assert "frames holds one video" in told
    assert run("find", demo, "a cat", "--task", "mt").exit_code == 2
    assert run("find", demo, "a cat", "--task", "mr", "--top", 0).exit_code == 2
    clash = refusal("find", demo, "a cat", "a_cat", "--out", tmp_path / "x.txt", "--json")
    assert "would both be 'a_cat'" in clash
