"""Features of many videos: resumed, shared between processes, and never half written."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import fakes
import numpy as np
import pytest
from fakes import FakeEncoder

from openmoment.errors import FeatureError, MissingWeightsError, OpenMomentError, VideoError
from openmoment.features.cache import sha256
from openmoment.features.file import read_features, read_header, write_features
from openmoment.pipeline.extraction import Extracted, extract
from openmoment.storage import leases
from openmoment.storage.leases import lease
from openmoment.storage.listing import find_videos

GIVEN = Path(fakes.__file__).parent


def make_videos(folder: Path, num: int) -> list[Path]:
    folder.mkdir(exist_ok=True)
    videos = [folder / f"video {i:02}.mp4" for i in range(num)]
    for i, video in enumerate(videos):
        video.write_bytes(f"content {i}".encode())
    return videos


def run(videos: list[Path], out: Path, encoder: FakeEncoder, **options: object) -> list[Extracted]:
    return list(extract(videos, out, encoder, fps=4.0, **options))  # pyright: ignore


def statuses(results: list[Extracted]) -> list[str]:
    return [item.status for item in results]


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# ---------------------------------------------------------------------------------------------
# One process
# ---------------------------------------------------------------------------------------------


def test_each_video_gets_its_file(tmp_path: Path) -> None:
    videos, out = make_videos(tmp_path / "in", 3), tmp_path / "new" / "out"
    results = run(videos, out, FakeEncoder())
    assert statuses(results) == ["made"] * 3
    assert names_in(out) == [f"{video.stem}.safetensors" for video in videos]
    for item in results:
        recipe = read_features(item.path).recipe
        assert (recipe.source_sha256, recipe.fps) == (sha256(item.video), 4.0)


def test_nothing_is_encoded_twice(tmp_path: Path) -> None:
    videos, out, encoder = make_videos(tmp_path / "in", 3), tmp_path / "out", FakeEncoder()
    run(videos[:2], out, encoder)
    assert statuses(run(videos, out, encoder)) == ["present", "present", "made"]
    assert encoder.encoded == videos
    assert statuses(run(videos, out, encoder, overwrite=True)) == ["present"] * 3


def test_a_file_of_another_recipe_is_refused_or_replaced(tmp_path: Path) -> None:
    videos, out = make_videos(tmp_path / "in", 2), tmp_path / "out"
    run(videos, out, FakeEncoder(fingerprint="old"))
    before = [path.read_bytes() for path in sorted(out.iterdir())]
    refused = run(videos, out, FakeEncoder(fingerprint="new"))
    assert statuses(refused) == ["failed", "failed"]
    for part in ("fingerprint: old here, new asked for", str(refused[0].path), "overwrite"):
        assert part in refused[0].message
    assert [path.read_bytes() for path in sorted(out.iterdir())] == before
    replaced = run(videos, out, FakeEncoder(fingerprint="new"), overwrite=True)
    assert statuses(replaced) == ["made", "made"]
    assert read_header(replaced[0].path).recipe.fingerprint == "new"


def test_a_changed_video_is_noticed(tmp_path: Path) -> None:
    videos, out = make_videos(tmp_path / "in", 1), tmp_path / "out"
    run(videos, out, FakeEncoder())
    videos[0].write_bytes(b"another cut")
    (item,) = run(videos, out, FakeEncoder())
    assert item.status == "failed" and "source_sha256" in item.message


def test_a_damaged_feature_file_is_refused_or_replaced(tmp_path: Path) -> None:
    videos, out = make_videos(tmp_path / "in", 1), tmp_path / "out"
    out.mkdir()
    (out / "video 00.safetensors").write_bytes(b"notes of somebody")
    assert "not a readable" in run(videos, out, FakeEncoder())[0].message
    assert statuses(run(videos, out, FakeEncoder(), overwrite=True)) == ["made"]


def test_a_bad_video_is_passed_over(tmp_path: Path) -> None:
    videos, out = make_videos(tmp_path / "in", 3), tmp_path / "out"
    videos[1].write_bytes(b"broken")
    results = run([*videos, tmp_path / "gone.mp4"], out, FakeEncoder())
    assert statuses(results) == ["made", "failed", "made", "failed"]
    assert "damaged" in results[1].message and "gone.mp4" in results[3].message
    assert names_in(out) == ["video 00.safetensors", "video 02.safetensors"]


def test_our_own_mistake_is_no_bad_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeEncoder, "encode_video", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(make_videos(tmp_path / "in", 1), tmp_path / "out", FakeEncoder())
    assert names_in(tmp_path / "out") == []


def test_an_encoder_that_cannot_run_stops_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise MissingWeightsError("no weights here")

    monkeypatch.setattr(FakeEncoder, "encode_video", refuse)
    with pytest.raises(MissingWeightsError):
        run(make_videos(tmp_path / "in", 2), tmp_path / "out", FakeEncoder())
    assert names_in(tmp_path / "out") == []


def test_videos_of_one_stem_are_refused_before_any_work(tmp_path: Path) -> None:
    make_videos(tmp_path / "a", 2), make_videos(tmp_path / "b", 1)
    with pytest.raises(FeatureError, match="would both be written to"):
        extract(find_videos(tmp_path), tmp_path / "out", FakeEncoder(), fps=4.0)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    videos = make_videos(tmp_path / "in", 1)
    with pytest.raises(FeatureError, match="cannot be made"):
        run(videos, videos[0] / "out", FakeEncoder())


def test_progress_names_the_video(tmp_path: Path) -> None:
    videos, heard = make_videos(tmp_path / "in", 2), []
    run(videos, tmp_path / "out", FakeEncoder(), progress=lambda *told: heard.append(told))
    assert heard == [(video, 1.0, 1.0) for video in videos]


def test_videos_are_found_in_order_below_a_folder(tmp_path: Path) -> None:
    names = ["b.MP4", "a/c.mkv", "a/notes.txt", "._b.mp4", ".trash/d.mp4", "a/.e.mp4", "z.webm"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.mp4").mkdir()
    found = [str(path.relative_to(tmp_path)) for path in find_videos(tmp_path)]
    assert found == ["a/c.mkv", "b.MP4", "z.webm"]
    with pytest.raises(VideoError, match="no video"):
        find_videos(tmp_path / "folder.mp4")
    with pytest.raises(VideoError, match="no such folder"):
        find_videos(tmp_path / "none")


# ---------------------------------------------------------------------------------------------
# Leases
# ---------------------------------------------------------------------------------------------


def holder(*, pid: int, host: str = "") -> str:
    return json.dumps({"pid": pid, "host": host or socket.gethostname(), "time": 0.0})


@pytest.fixture(scope="module")
def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_a_lease_is_held_by_one_and_gone_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a.lease"
    with lease(path) as mine:
        assert json.loads(path.read_text())["pid"] == os.getpid()
        with lease(path) as yours:
            assert (mine, yours) == ("free", "taken")
        assert path.exists()
    assert names_in(tmp_path) == []


def test_a_lease_is_gone_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), lease(tmp_path / "a.lease"):
        raise KeyboardInterrupt
    assert names_in(tmp_path) == []


def test_which_leases_are_stale(tmp_path: Path, dead_pid: int) -> None:
    path = tmp_path / "a.lease"
    cases = [
        (holder(pid=dead_pid), 0, "inherited"),
        (holder(pid=os.getpid()), 0, "taken"),
        (holder(pid=os.getpid()), leases.STALE_S + 10, "inherited"),
        (holder(pid=dead_pid, host="elsewhere"), 0, "taken"),
        (holder(pid=dead_pid, host="elsewhere"), leases.STALE_S + 10, "inherited"),
        ("", 0, "taken"),
        ("", leases.STALE_S + 10, "inherited"),
        ("[1]", 0, "taken"),
    ]
    for content, seconds, expected in cases:
        path.write_text(content)
        age(path, seconds)
        with lease(path) as outcome:
            assert outcome == expected, (content, seconds)
        path.unlink(missing_ok=True)
    assert names_in(tmp_path) == []


def test_a_holder_keeps_its_lease_fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "STALE_S", 0.1)
    path = tmp_path / "a.lease"
    with lease(path):
        age(path, 3600)
        time.sleep(0.1)
        assert time.time() - path.stat().st_mtime < 60


def test_a_lease_that_was_lost_is_left_to_its_new_holder(tmp_path: Path) -> None:
    path = tmp_path / "a.lease"
    with lease(path):
        path.write_text(holder(pid=1, host="elsewhere"))
    assert path.exists()


def test_a_folder_that_cannot_be_written_to_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OpenMomentError, match="cannot be written to"), lease(tmp_path / "a" / "b"):
        pytest.fail("there is no lease to hold")


def test_a_video_that_another_process_works_on_is_passed_over(tmp_path: Path) -> None:
    videos, out = make_videos(tmp_path / "in", 2), tmp_path / "out"
    out.mkdir()
    (out / "video 00.lease").write_text(holder(pid=1, host="elsewhere"))
    assert statuses(run(videos, out, FakeEncoder())) == ["taken", "made"]
    assert (out / "video 00.lease").exists()


def test_what_a_dead_process_left_is_cleared_away(tmp_path: Path, dead_pid: int) -> None:
    videos, out = make_videos(tmp_path / "in", 1), tmp_path / "out"
    out.mkdir()
    (out / "video 00.lease").write_text(holder(pid=dead_pid))
    (out / ".video 00.0123abcd.tmp.safetensors").write_bytes(b"half")
    (out / ".video 00.b.0123abcd.tmp.safetensors").write_bytes(b"of another video")
    assert statuses(run(videos, out, FakeEncoder())) == ["made"]
    assert names_in(out) == [".video 00.b.0123abcd.tmp.safetensors", "video 00.safetensors"]


def test_a_file_that_appears_while_waiting_is_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    videos, out, encoder = make_videos(tmp_path / "in", 1), tmp_path / "out", FakeEncoder()
    (made,) = run(videos, tmp_path / "other", encoder)
    snippets = read_features(made.path)
    take = leases._take

    def late(path: Path, content: str) -> str:
        write_features(snippets, path.with_suffix(".safetensors"))
        return take(path, content)

    monkeypatch.setattr(leases, "_take", late)
    assert statuses(run(videos, out, encoder)) == ["present"]
    assert len(encoder.encoded) == 1


# ---------------------------------------------------------------------------------------------
# Several processes, killed processes
# ---------------------------------------------------------------------------------------------

WORKER = """
import sys
from pathlib import Path
from fakes import FakeEncoder
from openmoment.pipeline.extraction import extract
from openmoment.storage.listing import find_videos

folder, out, pause_s = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
encoder = FakeEncoder(pause_s=pause_s, log=out.with_suffix(".log"))
for item in extract(find_videos(folder), out, encoder, fps=4.0):
    print(item.status, item.video.name, flush=True)
"""


def start(folder: Path, out: Path, *, pause_s: float) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, folder, out, str(pause_s)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(GIVEN)},
    )


def wait_for_work(out: Path, num_videos: int) -> None:
    """Until so many videos have been begun."""
    log, deadline = out.with_suffix(".log"), time.monotonic() + 30
    while not log.exists() or len(log.read_text().splitlines()) < num_videos:
        assert time.monotonic() < deadline, "the process does not get on"
        time.sleep(0.01)


def test_processes_side_by_side_encode_each_video_once(tmp_path: Path) -> None:
    make_videos(tmp_path / "in", 12)
    out = tmp_path / "out"
    workers = [start(tmp_path / "in", out, pause_s=0.03) for _ in range(2)]
    outputs = [worker.communicate(timeout=60) for worker in workers]
    assert [error for _, error in outputs] == ["", ""]
    encoded = Counter(out.with_suffix(".log").read_text().splitlines())
    assert len(encoded) == 12 and set(encoded.values()) == {1}
    lines = [line.split(" ", 1) for text, _ in outputs for line in text.splitlines()]
    assert sorted(name for status, name in lines if status == "made") == sorted(encoded)
    assert len(lines) == 24 and {status for status, _ in lines} <= {"made", "present", "taken"}
    assert len(names_in(out)) == 12
    assert all(read_features(path).grid.end_s for path in out.iterdir())


def test_kill_loses_the_video_in_work_and_no_other(tmp_path: Path) -> None:
    videos, out = make_videos(tmp_path / "in", 5), tmp_path / "out"
    worker = start(tmp_path / "in", out, pause_s=0.2)
    wait_for_work(out, 3)
    worker.kill()
    worker.communicate()
    assert "video 02.lease" in names_in(out)
    whole = [path for path in out.iterdir() if path.suffix == ".safetensors"]
    assert {path.stem for path in whole} <= {"video 00", "video 01", "video 02"}
    assert all(len(read_features(path)) == 4 for path in whole)
    encoder = FakeEncoder()
    results = run(videos, out, encoder)
    assert statuses(results) == ["present"] * len(whole) + ["made"] * (5 - len(whole))
    assert names_in(out) == [f"{video.stem}.safetensors" for video in videos]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT to send to one process")
def test_control_c_leaves_whole_files_only(tmp_path: Path) -> None:
    make_videos(tmp_path / "in", 5)
    out = tmp_path / "out"
    worker = start(tmp_path / "in", out, pause_s=0.2)
    wait_for_work(out, 2)
    worker.send_signal(signal.SIGINT)
    assert "KeyboardInterrupt" in worker.communicate()[1]
    names = names_in(out)
    assert "video 00.safetensors" in names and len(names) <= 2
    for name in names:
        assert read_features(out / name).recipe.encoder == "fake"


def test_the_fake_encoder_is_deterministic(tmp_path: Path) -> None:
    (video,) = make_videos(tmp_path, 1)
    first, second = (
        FakeEncoder().encode_video(video, fps=4.0, source_sha256="ab") for _ in range(2)
    )
    np.testing.assert_array_equal(first.features, second.features)
    assert replace(first, features=second.features).recipe == second.recipe
