"""`openmoment serve`: a real server, what it tells while it works, and how it ends."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
from commands import refusal
from serving import one_video

from openmoment.server.service.folder import video_id
from openmoment.server.serving import bind, is_loopback


class Served(NamedTuple):
    """A server in a process of its own."""

    process: subprocess.Popen[str]
    url: str
    said: list[str]

    def ask(self, method: str, path: str, document: object = None, **headers: str) -> Any:
        """The answer and its JSON."""
        with self.connection() as connection:
            body = None if document is None else json.dumps(document)
            connection.request(method, path, body, {"content-type": "application/json", **headers})
            answer = connection.getresponse()
            content = answer.read()
            return answer, json.loads(content) if content.startswith((b"{", b"[")) else content

    @contextmanager
    def connection(self) -> Iterator[http.client.HTTPConnection]:
        parts = urlsplit(self.url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 0, timeout=60)
        try:
            yield connection
        finally:
            connection.close()


@contextmanager
def served(*args: object) -> Iterator[Served]:
    """`openmoment serve` with these arguments, killed at the end if it still runs."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "openmoment", "serve", *map(str, args)]
        + ["--no-browser", "--port", "0"],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr
    said = [process.stderr.readline() for _ in range(3)]
    try:
        yield Served(process, re.sub("^Open |\n", "", said[1]), said)
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def until(is_so: Callable[[], Any], *, patience_s: float = 60.0) -> Any:
    """What ``is_so`` gives once it is true."""
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        if found := is_so():
            return found
        time.sleep(0.05)
    raise AssertionError("it did not come to that")


def is_gone(pid: int) -> bool:
    """Whether a process has ended, also one that nobody has buried yet."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (ProcessLookupError, FileNotFoundError):
        return True


def test_a_folder_is_served_until_ctrl_c(tmp_path: Path) -> None:
    one_video(tmp_path)
    with served(tmp_path) as server:
        assert server.said[0] == f"Serving {tmp_path}\n"
        assert urlsplit(server.url).hostname == "127.0.0.1"
        _, listed = server.ask("GET", "/api/videos")
        path = f"/api/videos/{listed['videos'][0]['id']}"
        answer, part = server.ask("GET", f"{path}/media", range="bytes=4-7")
        assert (answer.status, part) == (206, b"ftyp")
        with server.connection() as events:
            events.request("GET", "/api/events")
            stream = events.getresponse()
            assert stream.headers["content-type"].startswith("text/event-stream")
            assert stream.readline() == b": hello\n"
            query = {"query": "jump", "threshold": 0.0, "occurs": False, "checked": False}
            edit = {"revision": 0, "queries": [query], "segments": []}
            assert server.ask("PUT", f"{path}/review", edit)[1]["revision"] == 1
            _, job = server.ask("POST", f"{path}/playable")
            told: dict[str, Any] = {}
            while set(told) != {"review", "job"}:
                if (line := stream.readline()).startswith(b"event: "):
                    told[line[7:-1].decode()] = json.loads(stream.readline()[6:])
            assert told["review"] == {"video": job["video"], "revision": 1}
            assert told["job"]["id"] == job["id"]
            server.process.send_signal(signal.SIGINT)
            assert server.process.wait(10) == 0  # though a page still listens
            stream.read()  # it has ended, and whole
    assert (tmp_path / "openmoment" / "reviews" / "one.mp4.json").is_file()


def test_an_impatient_ctrl_c_ends_it_without_a_traceback(tmp_path: Path) -> None:
    one_video(tmp_path)
    with served(tmp_path) as server:
        server.ask("GET", "/api/videos")
        for _ in range(3):
            server.process.send_signal(signal.SIGINT)
            time.sleep(0.02)
        assert server.process.wait(10) in (0, 130)
        assert server.process.stderr is not None
        assert server.process.stderr.read() == ""


def test_a_killed_server_takes_its_worker_along_and_nothing_is_lost(tmp_path: Path) -> None:
    one_video(tmp_path)
    asked = {"video": video_id("one.mp4"), "queries": ["walk"]}
    with served(tmp_path) as server:
        _, first = server.ask("POST", "/api/jobs", asked)
        _, second = server.ask("POST", "/api/jobs", asked | {"queries": ["run"]})
        health = until(
            lambda: (h := server.ask("GET", "/api/health")[1])["workers"]["find"]["job"] and h
        )
        pid = until(lambda: server.ask("GET", "/api/health")[1]["workers"]["find"]["pid"])
        assert health["status"] == "ok"
        server.process.kill()
        until(lambda: is_gone(pid))
    with served(tmp_path) as server:
        _, failed = server.ask("GET", f"/api/jobs/{first['id']}")
        assert (failed["state"], failed["error"]) == (
            "failed",
            "the worker was stopped; run it again",
        )
        until(lambda: server.ask("GET", f"/api/jobs/{second['id']}")[1]["state"] == "running")
        assert server.ask("POST", f"/api/jobs/{first['id']}/again")[0].status == 202
        pid = until(lambda: server.ask("GET", "/api/health")[1]["workers"]["find"]["pid"])
        server.process.terminate()
        server.process.wait(10)
        until(lambda: is_gone(pid))


def test_elsewhere_a_token_is_asked_for(tmp_path: Path) -> None:
    video = one_video(tmp_path, "day one.mp4")
    with served(video, "--host", "0.0.0.0") as server:
        assert re.fullmatch(
            rf"http://127\.0\.0\.1:\d+/\?token=[\w-]{{32}}#{video_id('day one.mp4')}", server.url
        )
        assert server.ask("GET", "/api/videos")[0].status == 401
        token = server.url.partition("token=")[2].partition("#")[0]
        answer, listed = server.ask("GET", "/api/videos", authorization=f"Bearer {token}")
        assert (answer.status, len(listed["videos"])) == (200, 1)
        assert "Set-Cookie" in server.ask("GET", f"/?token={token}")[0].headers


@pytest.mark.parametrize(
    ("host", "is_own"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True)]
    + [("0.0.0.0", False), ("192.168.0.2", False), ("films.lan", False), ("", False)],
)
def test_which_addresses_are_our_own(host: str, is_own: bool) -> None:
    assert is_loopback(host) is is_own


def test_what_cannot_be_served_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no such folder" in refusal("serve", tmp_path / "none")
    (tmp_path / "note.txt").write_text("no video")
    assert "no such folder" in refusal("serve", tmp_path / "note.txt")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "openmoment").write_text("in the way")
    assert "cannot be written to" in refusal("serve", tmp_path / "sub", "--port", 0)
    assert "Unknown method" in refusal("serve", tmp_path, "--method", "guess", "--port", 0)
    assert "Unknown backbone" in refusal("serve", tmp_path, "--backbone", "guess", "--port", 0)
    assert "--token: is empty" in refusal("serve", tmp_path, "--token", " ", "--port", 0)
    assert "nocard" in refusal("serve", tmp_path, "--checkpoint", "nocard", "--port", 0)
    assert "--host" in refusal("serve", tmp_path, "--host", "192.0.2.1", "--port", 0)
    with bind("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        assert f"--port: {port} is taken" in refusal("serve", tmp_path, "--port", port)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert "pip install 'openmoment[server]'" in refusal("serve", tmp_path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root writes anywhere")
def test_a_folder_that_may_not_be_written_to_is_one_line(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    assert "cannot be written to" in refusal("serve", tmp_path, "--port", 0)
