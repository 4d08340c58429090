"""Reviews over the server: nothing is lost, nothing is taken on trust, all goes in and out."""

import errno
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from serving import found, one_video, only_id, refusal, serving
from starlette.testclient import TestClient

from openmoment.errors import FormatError
from openmoment.export import FORMATS
from openmoment.server.routes.files import disposition
from openmoment.server.service import reviewing
from openmoment.server.service.settings import Settings
from openmoment.server.work.curves import Curve


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    """A served video that was asked for walking and running."""
    one_video(tmp_path)
    with serving(tmp_path, Settings(name="ana"), works=False) as client:
        found(client, "walk", "run")
        yield client


@pytest.fixture
def path(client: TestClient) -> str:
    return f"/api/videos/{only_id(client)}"


def review_of(client: TestClient, path: str, **params: str) -> dict:
    return client.get(f"{path}/review", params=params).json()


# changed -------------------------------------------------------------------------------


def test_a_change_is_kept_with_who_and_when(client: TestClient, path: str) -> None:
    review = review_of(client, path)
    assert "log" not in review
    moved = review["segments"][0]
    moved |= {"start_s": 0.4, "status": "accepted"}
    moved["predicted"]["score"] = moved["score"] = 0.123  # not the page's to say
    told = client.put(f"{path}/review", json=review, headers={"X-OpenMoment-Name": quote("Zoë")})
    now = told.json()
    assert (now["revision"], "log" in now) == (review["revision"] + 1, False)
    assert now["segments"][0]["start_s"] == 0.4
    assert now["segments"][0]["score"] == now["segments"][0]["predicted"]["score"] == 0.9
    assert review_of(client, path) == now
    log = review_of(client, path, log="true")["log"]
    assert (log[-1]["what"], log[-1]["who"]) == ("moved", "Zoë")
    assert log[-1]["after"] == {"start_s": 0.4, "status": "accepted"}
    now["segments"][1]["status"] = "rejected"
    client.put(f"{path}/review", json=now)
    assert review_of(client, path, log="true")["log"][-1]["who"] == "ana"


def test_a_stale_change_is_a_conflict(client: TestClient, path: str) -> None:
    review = review_of(client, path)
    first, second = dict(review), dict(review)
    first["segments"] = review["segments"][1:]
    second["segments"] = review["segments"][:-1]
    assert client.put(f"{path}/review", json=first).status_code == 200
    assert "Load it again" in refusal(client.put(f"{path}/review", json=second), 409)
    assert review_of(client, path)["segments"] == first["segments"]


def test_of_changes_at_the_same_time_one_wins(client: TestClient, path: str) -> None:
    review = review_of(client, path)
    edits = [
        review | {"queries": [q | {"threshold": i / 100} for q in review["queries"]]}
        for i in range(1, 13)
    ]
    with ThreadPoolExecutor(6) as pool:
        told = list(pool.map(lambda edit: client.put(f"{path}/review", json=edit), edits))
    won = [t.json() for t in told if t.status_code == 200]
    assert len(won) == 1 and {t.status_code for t in told} == {200, 409}
    assert review_of(client, path) == won[0]
    assert won[0]["revision"] == review["revision"] + 1


def test_what_cannot_be_is_refused_by_field(client: TestClient, path: str) -> None:
    review = review_of(client, path)

    def line(status: int = 422, **changes: object) -> str:
        return refusal(client.put(f"{path}/review", json={**review, **changes}), status)

    segment = review["segments"][0]
    assert "segments[0]: status" in line(segments=[segment | {"status": "maybe"}])
    assert "end_s 99 lies beyond" in line(segments=[segment | {"end_s": 99}])
    assert "is there twice" in line(segments=[segment, segment])
    assert "revision" in line(revision="7")
    assert "revision" in line(revision=-1)
    assert "at most 1000" in line(queries=[{}] * 1001)
    assert "queries[0]: field" in line(queries=[{"query": "x"}])
    for content in (b"", b"\xff\xfe", b"[" * 100_000, b'{"revision": NaN}', b"null", b"9" * 5000):
        told = client.put(
            f"{path}/review", content=content, headers={"content-type": "application/json"}
        )
        assert 400 <= told.status_code < 500 and set(told.json()) == {"error"}, content[:20]
    assert review_of(client, path) == review


def test_lone_surrogates_come_back_as_they_were_sent(client: TestClient, path: str) -> None:
    review = review_of(client, path)
    review["queries"].append(review["queries"][0] | {"query": "half \ud83d"})
    told = client.put(
        f"{path}/review",
        content=json.dumps(review),
        headers={"content-type": "application/json"},
    )
    assert told.status_code in (200, 422)
    assert client.get(f"{path}/review").status_code == 200
    for name in FORMATS:
        assert client.get(f"{path}/export", params={"format": name}).status_code < 500


def test_a_review_that_somebody_damaged_is_one_line(
    client: TestClient, path: str, tmp_path: Path
) -> None:
    file = tmp_path / "openmoment" / "reviews" / "one.mp4.json"
    file.write_text('{"schema": "openmoment-review/1"')
    told = refusal(client.get(f"{path}/review"), 422)
    assert told.startswith("openmoment/reviews/one.mp4.json, line 1: is not JSON")
    assert client.get("/api/videos").json()["videos"][0]["queries"] == 0
    with pytest.raises(FormatError, match="is not JSON"):  # which fails the job
        found(client, "walk")


@pytest.mark.parametrize(("number", "status"), [(errno.ENOSPC, 507), (errno.EISDIR, 409)])
def test_a_disk_that_fails_is_one_line_and_loses_nothing(
    client: TestClient, path: str, monkeypatch: pytest.MonkeyPatch, number: int, status: int
) -> None:
    def fail(*args: object) -> None:
        raise OSError(number, "no good")

    before = review_of(client, path)
    monkeypatch.setattr(reviewing, "write_review", fail)
    told = client.put(f"{path}/review", json=before | {"segments": []})
    assert refusal(told, status) == "The file cannot be read or written (no good)."
    assert review_of(client, path) == before


def test_a_video_nobody_asked_of_has_an_empty_review(tmp_path: Path) -> None:
    one_video(tmp_path, "day/one.mp4")
    with serving(tmp_path, works=False) as client:
        path = f"/api/videos/{only_id(client)}"
        assert review_of(client, path) == {
            "schema": "openmoment-review/1",
            "video": {"path": "day/one.mp4", "duration_s": 2.0, "sha256": ""},
            "revision": 0,
            "queries": [],
            "segments": [],
        }
        assert client.get(f"{path}/curves").json() == {"queries": []}
        query = {"query": "jump", "threshold": 0.0, "occurs": None, "checked": False}
        added = {"id": "n1", "start_s": 0.1, "end_s": 0.2, "query": "jump", "status": "accepted"}
        edit = {"revision": 0, "queries": [query], "segments": [added]}
        assert client.put(f"{path}/review", json=edit).json()["revision"] == 1
    assert (tmp_path / "openmoment" / "reviews" / "day" / "one.mp4.json").is_file()


# curves --------------------------------------------------------------------------------


def test_curves_are_those_of_the_queries(client: TestClient, path: str) -> None:
    drawn = client.get(f"{path}/curves").json()["queries"]
    assert [c["query"] for c in drawn] == ["walk", "run"]
    assert drawn[0]["times_s"] == [0.125, 0.375, 0.625, 0.875, 1.125, 1.375, 1.625, 1.875]
    assert (drawn[0]["scores"][0], drawn[0]["scores"][-1]) == (0, 1)
    few = client.get(f"{path}/curves", params={"points": 4}).json()["queries"][0]
    assert len(few["times_s"]) == 4
    part = client.get(f"{path}/curves", params={"start_s": 0.5, "end_s": 0.9}).json()["queries"][0]
    assert part["times_s"] == [0.375, 0.625, 0.875, 1.125]
    for wrong in ({"points": 1}, {"points": "x"}, {"start_s": "nan"}, {"end_s": -1}):
        assert refusal(client.get(f"{path}/curves", params=wrong), 422)


@given(
    st.lists(st.floats(0, 1, width=32), min_size=1, max_size=60),
    st.integers(2, 80),
)
@settings(max_examples=60)
def test_thinning_keeps_the_peaks(scores: list[float], points: int) -> None:
    curve = Curve(np.arange(len(scores), dtype=float), np.array(scores, dtype=np.float32))
    thin = curve.thinned(points)
    assert 1 <= len(thin.times_s) <= max(points, 1)
    assert thin.scores.max() == curve.scores.max() and thin.scores.min() == curve.scores.min()
    assert (np.diff(thin.times_s) > 0).all()
    assert all(curve.scores[int(t)] == s for t, s in zip(thin.times_s, thin.scores, strict=True))


# out and in ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_goes_out_and_comes_back(client: TestClient, path: str, name: str) -> None:
    told = client.get(f"{path}/export", params={"format": name})
    assert told.status_code == 200, told.text
    extension = FORMATS[name].extension
    assert told.headers["content-disposition"] == (
        f"attachment; filename=\"one{extension}\"; filename*=UTF-8''one{extension}"
    )
    assert told.headers["content-type"] == "application/octet-stream"
    emptied = client.put(f"{path}/review", json=review_of(client, path) | {"segments": []})
    sent = client.post(
        f"{path}/import", params={"name": f"one{extension}", "format": name}, content=told.content
    )
    assert sent.status_code == 200, sent.text
    now = sent.json()
    back = {s["query"]: (s["start_s"], s["end_s"], s["status"]) for s in now["segments"]}
    assert set(back) <= {"walk", "run"}
    assert len(back) == (1 if name == "frames" else 2)  # a line of frames holds one query alone
    assert set(back.values()) == {(0.5, 1.0, "accepted")}
    assert now["revision"] == emptied.json()["revision"] + 1


def test_only_what_is_shown_goes_out(client: TestClient, path: str) -> None:
    review = review_of(client, path)
    walk, run = (next(s for s in review["segments"] if s["query"] == q) for q in ("walk", "run"))
    run["status"] = "rejected"
    low = next(s for s in review["segments"] if s["query"] == "walk" and s["score"] == 0.1)
    client.put(f"{path}/review", json=review)
    text = client.get(f"{path}/export", params={"format": "csv"}).text
    assert text.splitlines()[1:] == ["one.mp4,0.500,1.000,walk,0.9000,found"]
    assert (walk["score"], low["status"]) == (0.9, "open")


def test_what_is_sent_is_refused_in_one_line(client: TestClient, path: str) -> None:
    before = review_of(client, path)

    def line(name: str, content: bytes, **params: str) -> str:
        told = client.post(f"{path}/import", params={"name": name, **params}, content=content)
        return refusal(told, 422)

    assert "one.csv, line 1: column" in line("one.csv", b"a,b\n")
    assert "does not tell the format" in line("one.xyz", b"")
    assert "Unknown format" in line("one.csv", b"", format="guess")
    assert "without folders" in line("../one.csv", b"")
    assert "is not UTF-8" in line("one.csv", b"\xff\xfe\x00")
    several = b"video,start_s,end_s,query,score\nx.mp4,0,1,a,1\ny.mp4,0,1,a,1\n"
    assert "is about other videos than one.mp4: x.mp4, y.mp4." in line("t.csv", several)
    assert refusal(client.get(f"{path}/export", params={"format": "guess"}), 422)
    assert review_of(client, path) == before


def test_of_several_videos_the_one_of_that_name_is_taken(client: TestClient, path: str) -> None:
    table = b"video,start_s,end_s,query,score\nother.mp4,0,1,a,1\nfilms/one.mp4,1.3,1.4,b,1\n"
    now = client.post(f"{path}/import", params={"name": "t.csv"}, content=table).json()
    assert [s["start_s"] for s in now["segments"] if s["query"] == "b"] == [1.3]
    assert "a" not in [q["query"] for q in now["queries"]]
    log = review_of(client, path, log="true")["log"]
    assert (log[-1]["who"], log[-1]["what"]) == ("ana", "imported")


def test_a_name_in_a_header_is_quoted() -> None:
    told = disposition('a"; evil=\r\nX: 1;\\é.eaf')
    assert told == (
        'attachment; filename="a__ evil___X_ 1___.eaf"; '
        "filename*=UTF-8''a%22%3B%20evil%3D%0D%0AX%3A%201%3B%5C%C3%A9.eaf"
    )


# asked and counted -----------------------------------------------------------------------


def test_a_question_is_answered_over_what_is_shown(client: TestClient, path: str) -> None:
    told = client.post(f"{path}/ask", json={"question": '"walk" and "run"'})
    assert told.json()["queries"] == ["walk", "run"]
    assert told.json()["moments"] == [{"start_s": 0.5, "end_s": 1.0, "score": 0.9}]
    wrong = client.post(f"{path}/ask", json={"question": '"walk" then then'})
    assert refusal(wrong, 422)
    assert wrong.json()["position"] == 12
    unknown = client.post(f"{path}/ask", json={"question": '"wlak"'})
    assert "Did you mean 'walk'?" in refusal(unknown, 422)
    assert "position" not in unknown.json()
    assert refusal(client.post(f"{path}/ask", json={"question": "x" * 5000}), 422)


def test_statistics_count_what_is_shown(client: TestClient, path: str) -> None:
    told = client.get(f"{path}/statistics").json()
    assert [(q["query"], q["count"], q["total_s"]) for q in told["queries"]] == [
        ("walk", 1, 0.5),
        ("run", 1, 0.5),
    ]
    assert told["duration_s"] == 2.0
