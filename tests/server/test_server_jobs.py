"""Jobs outlive servers and workers, and say how they ended."""

import os
import signal
import time
from pathlib import Path

import pytest
from serving import ask, ended, one_video, only_id, refusal, running, serving

from openmoment.errors import OpenMomentError
from openmoment.server.app import create_app
from openmoment.server.service import jobs as jobs_module
from openmoment.server.service import workers as workers_module
from openmoment.server.service.jobs import STOPPED, Jobs
from openmoment.server.service.reviewing import Reviews


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    one_video(tmp_path)
    return tmp_path


# the table -----------------------------------------------------------------------------


def test_jobs_are_taken_in_order_and_by_kind(tmp_path: Path) -> None:
    jobs = Jobs(tmp_path / "jobs.sqlite")
    first = jobs.add("find", "a" * 16, queries=("x", "y"), backbone="auto")
    jobs.add("find", "b" * 16)
    convert = jobs.add("playable", "a" * 16)
    taken = jobs.take("find")
    assert taken is not None and (taken.id, taken.state) == (first.id, "running")
    assert taken.queries == ("x", "y")
    playable = jobs.take("playable")
    assert playable is not None and playable.id == convert.id
    assert jobs.take("playable") is None
    assert [job.video[0] for job in jobs.latest()] == ["a", "b", "a"]
    assert jobs.count_queued() == jobs.count_queued("find") == 1
    jobs.close()


def test_what_ran_has_failed_and_what_waited_waits_after_a_restart(tmp_path: Path) -> None:
    jobs = Jobs(tmp_path / "jobs.sqlite")
    ids = [jobs.add("find", "a" * 16).id for _ in range(3)]
    jobs.take("find")
    jobs.update(ids[1], state="done")
    jobs.close()
    again = Jobs(tmp_path / "jobs.sqlite")
    assert [again.get(id).state for id in ids] == ["failed", "done", "queued"]
    assert again.get(ids[0]).error == STOPPED
    again.close()


def test_old_jobs_are_forgotten_but_none_that_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs_module, "KEPT", 2)
    jobs = Jobs(tmp_path / "jobs.sqlite")
    ids = [jobs.add("find", "a" * 16).id for _ in range(5)]
    for id in ids[1:4]:
        jobs.update(id, state="done")
    jobs.close()
    again = Jobs(tmp_path / "jobs.sqlite")
    assert {job.id for job in again.latest(100)} == {ids[0], ids[3], ids[4]}
    again.close()


def test_too_many_waiting_jobs_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs_module, "MAX_QUEUED", 2)
    with serving(folder, works=False) as client:
        asked = {"video": only_id(client), "queries": ["x"]}
        answers = [client.post("/api/jobs", json=asked) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [202, 202, 429]


def test_a_folder_is_served_once(folder: Path) -> None:
    with (
        serving(folder, works=False),
        pytest.raises(OpenMomentError, match="is being served already"),
    ):
        create_app(folder)


def test_a_damaged_table_is_one_line(folder: Path) -> None:
    (folder / "openmoment").mkdir()
    (folder / "openmoment" / "jobs.sqlite").write_bytes(b"no database at all" * 100)
    with pytest.raises(OpenMomentError, match="jobs.sqlite: is damaged"):
        create_app(folder)


# the work ------------------------------------------------------------------------------


def test_what_is_found_joins_the_review(folder: Path) -> None:
    with serving(folder) as client:
        job = ended(client, ask(client, " pole   vault ", "walk", "walk"))
        assert (job["queries"], job["done"], job["error"]) == (["pole vault", "walk"], 1.0, None)
        (video,) = client.get("/api/videos").json()["videos"]
        assert (video["queries"], video["moments"]) == (2, 2)  # of four, two are shown
        review = client.get(f"/api/videos/{video['id']}/review").json()
    assert [q["query"] for q in review["queries"]] == ["pole vault", "walk"]
    assert {q["threshold"] for q in review["queries"]} == {0.4}
    assert review["queries"][0]["made_by"]["method"]["settings"] == {"min_score": 0.4}
    assert sorted(s["score"] for s in review["segments"]) == [0.1, 0.1, 0.9, 0.9]
    assert (folder / "openmoment" / "predictions" / "one.mp4.json").is_file()
    assert (folder / "openmoment" / "reviews" / "one.mp4.json").is_file()


def test_asked_again_what_a_person_said_stays(folder: Path) -> None:
    with serving(folder) as client:
        ended(client, ask(client, "walk"))
        path = f"/api/videos/{only_id(client)}/review"
        review = client.get(path).json()
        kept = next(s for s in review["segments"] if s["score"] == 0.9)
        kept["status"] = "accepted"
        assert client.put(path, json=review).status_code == 200
        ended(client, ask(client, "walk", "run"))
        now = client.get(path).json()
    statuses = {(s["query"], s["score"]): s["status"] for s in now["segments"]}
    assert statuses == {
        ("walk", 0.9): "accepted",
        ("walk", 0.1): "open",
        ("run", 0.9): "open",
        ("run", 0.1): "open",
    }
    assert len(now["segments"]) == 4


def test_a_failure_is_one_line_and_the_worker_goes_on(folder: Path) -> None:
    with serving(folder) as client:
        failed = ended(client, ask(client, "broken"), "failed")
        assert failed["error"].endswith("one.mp4: damaged in many ways.")
        bug = ended(client, ask(client, "bug"), "failed")
        assert bug["error"] == "internal error (ValueError: ours)"
        ended(client, ask(client, "walk"))


def test_our_own_mistake_fails_the_job_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise ZeroDivisionError

    with serving(folder) as client:
        with monkeypatch.context() as patched:
            patched.setattr(Reviews, "add_predictions", fail)
            failed = ended(client, ask(client, "walk"), "failed")
        assert failed["error"] == "internal error (ZeroDivisionError)"
        ended(client, ask(client, "walk"))
    assert "ZeroDivisionError" in caplog.text


def test_a_waiting_and_a_running_job_are_cancelled(folder: Path) -> None:
    with serving(folder) as client:
        slow, waiting = ask(client, "slow"), ask(client, "walk")
        told = client.post(f"/api/jobs/{waiting['id']}/cancel").json()
        assert told["state"] == "cancelled"
        assert 0 <= running(client, slow)["done"] <= 1
        client.post(f"/api/jobs/{slow['id']}/cancel")
        assert ended(client, slow, "cancelled")["error"] is None
        pid = client.get("/api/health").json()["workers"]["find"]["pid"]
        ended(client, ask(client, "walk"))
        assert client.get("/api/health").json()["workers"]["find"]["pid"] == pid
        again = client.post(f"/api/jobs/{slow['id']}/cancel").json()
        assert again["state"] == "cancelled"  # twice is once


def test_a_worker_that_does_not_hear_is_ended(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers_module, "PATIENCE_S", 0.1)
    with serving(folder) as client:
        job = ask(client, "deaf")
        running(client, job)
        client.post(f"/api/jobs/{job['id']}/cancel")
        ended(client, job, "cancelled")
        ended(client, ask(client, "walk"))


def test_a_killed_worker_is_reported_and_its_job_can_be_run_again(folder: Path) -> None:
    with serving(folder) as client:
        job, waiting = ask(client, "slow"), ask(client, "walk")
        running(client, job)
        worker = client.get("/api/health").json()["workers"]["find"]
        assert (worker["state"], worker["job"], worker["queued"]) == ("busy", job["id"], 1)
        assert "is running" in refusal(client.post(f"/api/jobs/{job['id']}/again"), 409)
        os.kill(worker["pid"], signal.SIGKILL)
        assert ended(client, job, "failed")["error"] == STOPPED
        ended(client, waiting)  # by a new worker
        again = client.post(f"/api/jobs/{job['id']}/again")
        assert again.status_code == 202
        assert running(client, again.json())["queries"] == ["slow"]


def test_a_server_that_ends_leaves_its_jobs_to_the_next(folder: Path) -> None:
    with serving(folder) as client:
        slow, waiting = ask(client, "slow"), ask(client, "walk")
        running(client, slow)
        pid = client.get("/api/health").json()["workers"]["find"]["pid"]
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with serving(folder) as client:
        running(client, slow)  # begun anew
        client.post(f"/api/jobs/{slow['id']}/cancel")
        ended(client, waiting)


def test_a_job_whose_video_is_gone_fails(folder: Path) -> None:
    with serving(folder, works=False) as client:
        job = ask(client, "walk")
    (folder / "one.mp4").unlink()
    with serving(folder) as client:
        assert ended(client, job, "failed")["error"] == "There is no such video."


def test_what_cannot_be_asked(folder: Path) -> None:
    (folder / "text.mp4").write_text("no video")
    with serving(folder, works=False) as client:
        ids = {v["name"]: v["id"] for v in client.get("/api/videos").json()["videos"]}

        def line(status: int = 422, **asked: object) -> str:
            document = {"video": ids["one.mp4"], "queries": ["walk"], **asked}
            return refusal(client.post("/api/jobs", json=document), status)

        assert "at least 1 item" in line(queries=[])
        assert "A query is empty" in line(queries=["  "])
        assert "at most 100 items" in line(queries=["x"] * 101)
        assert "at most 500 characters" in line(queries=["x" * 501])
        assert "Unknown backbone" in line(backbone="../weights")
        assert "Unknown method" in line(method="guessing")
        assert line(404, video="0" * 16) == "There is no such video."
        assert "video: String should match" in line(video="../../etc")
        assert "text.mp4: is not a video file" in line(video=ids["text.mp4"])
        assert refusal(client.get(f"/api/jobs/{'0' * 16}"), 404) == "There is no such job."


@pytest.mark.slow
def test_the_default_backbone_finds_in_a_real_video(folder: Path) -> None:
    with serving(folder, real=True) as client:
        job = ask(client, "a person walks", "snow")
        until = time.monotonic() + 300  # the worker is as kind to others as it can be
        while time.monotonic() < until:
            told = client.get(f"/api/jobs/{job['id']}").json()
            if told["state"] not in ("queued", "running"):
                break
            time.sleep(0.2)
        assert (told["state"], told["error"]) == ("done", None)
        video = only_id(client)
        review = client.get(f"/api/videos/{video}/review").json()
        curves = client.get(f"/api/videos/{video}/curves").json()["queries"]
    assert [q["query"] for q in review["queries"]] == ["a person walks", "snow"]
    assert all(0 <= q["presence"] <= 1 for q in review["queries"])
    presence = {q["query"]: q["presence"] for q in review["queries"]}
    assert all(0.05 <= s["score"] <= presence[s["query"]] for s in review["segments"])
    assert all("goes by objects and places" in q["notes"][0] for q in review["queries"])
    assert len(review["video"]["sha256"]) == 64
    assert [c["query"] for c in curves] == ["a person walks", "snow"]
    assert all(len(c["times_s"]) == 8 for c in curves)
