"""openmoment models pull, from a hub on this machine: stopped, damaged, and whole."""

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from openmoment.encoders import ENCODERS

pytest.importorskip("huggingface_hub")

NAME = "siglip2-b-32-256"
REPO = ENCODERS[NAME].weights.repo
COMMIT = "0" * 40
WEIGHTS = bytes(range(256)) * (24 << 12)  # more than the library writes at a time, 10 MiB
DIGEST = hashlib.sha256(WEIGHTS).hexdigest()
FILES = {
    "open_clip_model.safetensors": WEIGHTS,
    "pytorch_model.bin": b"pickled",
    "open_clip_config.json": b"{}",
    "tokenizer.json": b"[]",
}


class Hub(ThreadingHTTPServer):
    """What the hub answers about one model."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.asked: list[tuple[str, int]] = []
        """Files, and the byte from which each was asked for."""
        self.breaks_at: int | None = None
        self.is_down = False
        self.sent = WEIGHTS


class Answer(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:  # noqa: N802
        self.do_GET()

    def do_GET(self) -> None:  # noqa: N802
        path = self.path.partition("?")[0]
        if path == f"/api/models/{REPO}":
            siblings = [{"rfilename": name} for name in FILES]
            self.send(json.dumps({"id": REPO, "sha": COMMIT, "siblings": siblings}).encode())
            return
        name = path.removeprefix(f"/{REPO}/resolve/").partition("/")[2]
        if name not in FILES:
            self.send_error(404)
            return
        is_weights = name.endswith(".safetensors")
        body = self.server.sent if is_weights else FILES[name]
        digest = DIGEST if is_weights else hashlib.sha1(body).hexdigest()
        match = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
        first = int(match[1]) if match else 0
        if self.command == "GET":
            self.server.asked.append((name, first))
            if is_weights and self.server.is_down:
                self.send_error(500)
                return
        self.send(body, digest, first, breaks_at=self.server.breaks_at if is_weights else None)

    def send(
        self, body: bytes, digest: str = "x", first: int = 0, *, breaks_at: int | None = None
    ) -> None:
        self.send_response(206 if first else 200)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{digest}"')
        self.send_header("Content-Length", str(len(body) - first))
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(body) - 1}/{len(body)}")
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.write(body[first:breaks_at])
        if breaks_at:
            self.server.is_down = True
            self.close_connection = True


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def pull(hub: Hub, cache: Path) -> subprocess.CompletedProcess[str]:
    here = {"HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}", "HF_HUB_CACHE": str(cache)}
    hub.asked.clear()
    return subprocess.run(
        [sys.executable, "-m", "openmoment", "models", "pull", NAME],
        env=os.environ | here | {"HF_HUB_DISABLE_TELEMETRY": "1", "NO_PROXY": "*"},
        capture_output=True,
        text=True,
    )


def test_what_was_interrupted_goes_on_where_it_stopped(hub: Hub, tmp_path: Path) -> None:
    hub.breaks_at = 15 << 20
    stopped = pull(hub, tmp_path)
    assert stopped.returncode == 2, stopped.stderr
    assert "could not be downloaded" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    hub.breaks_at, hub.is_down = None, False
    done = pull(hub, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "about 1507 MB, licence Apache-2.0" in done.stderr
    assert f"openmoment models check {NAME}" in done.stderr
    name, first = hub.asked[0]
    assert name == "open_clip_model.safetensors"
    assert 0 < first <= 15 << 20
    assert [name for name, _ in hub.asked[1:]] == ["open_clip_config.json", "tokenizer.json"]
    snapshot = tmp_path / f"models--{REPO.replace('/', '--')}" / "snapshots" / COMMIT
    assert (snapshot / "open_clip_model.safetensors").read_bytes() == WEIGHTS
    assert {file.name for file in snapshot.iterdir()} == FILES.keys() - {"pytorch_model.bin"}
    assert not list(tmp_path.rglob("*.part"))
    again = pull(hub, tmp_path)
    assert (again.returncode, hub.asked) == (0, [])


def test_what_is_damaged_is_removed_and_said(hub: Hub, tmp_path: Path) -> None:
    hub.sent = WEIGHTS[:-1] + b"?"
    refused = pull(hub, tmp_path)
    assert refused.returncode == 2
    assert "damaged in transfer" in refused.stderr.splitlines()[-1]
    assert not [file for file in tmp_path.rglob("*") if file.stat().st_size == len(WEIGHTS)]
    hub.sent = WEIGHTS
    assert pull(hub, tmp_path).returncode == 0
    assert hub.asked[0] == ("open_clip_model.safetensors", 0)
