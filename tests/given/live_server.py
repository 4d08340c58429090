"""A server on a real socket in tests, and requests of which each byte is one's own."""

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import uvicorn
from serving import FAKE_WORKERS

from openmoment.server.app import create_app
from openmoment.server.service.settings import LOOPBACK, Settings

PATIENCE_S = 20.0


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes


class Live(NamedTuple):
    """A server that runs in this process."""

    app: Any
    port: int
    folder: Path

    def ask(self, method: str, target: str, body: bytes = b"", **headers: str) -> Answer:
        """One request; an underscore in a header's name stands for a hyphen."""
        head = {name.replace("_", "-"): value for name, value in headers.items()}
        lines = [f"{name}: {value}\r\n".encode("latin-1") for name, value in head.items()]
        lines.append(b"content-length: %d\r\n" % len(body))
        return self.send(self.opening(method, target), *lines, b"\r\n", body)

    def opening(self, method: str, target: str) -> bytes:
        """The lines that every request begins with."""
        first = f"{method} {target} HTTP/1.1\r\nhost: {LOOPBACK}:{self.port}\r\n"
        return first.encode("latin-1") + b"connection: close\r\n"

    def send(self, *parts: bytes) -> Answer:
        """Send these bytes and read the answer."""
        with socket.create_connection((LOOPBACK, self.port), PATIENCE_S) as connection:
            with contextlib.suppress(ConnectionError):  # refused before all of it was sent
                for part in parts:
                    connection.sendall(part)
            method = parts[0].split(b" ")[0].decode("latin-1")
            with http.client.HTTPResponse(connection, method=method) as response:
                response.begin()
                return Answer(response.status, response.headers, response.read())

    def hear(self, *parts: bytes) -> bytes:
        """Send these bytes, hear the beginning of the answer, and go away."""
        with socket.create_connection((LOOPBACK, self.port), PATIENCE_S) as connection:
            connection.sendall(b"".join(parts))
            return connection.recv(100)

    def leave(self, *parts: bytes) -> None:
        """Send these bytes, if they are taken, and go away."""
        with (
            contextlib.suppress(ConnectionError),
            socket.create_connection((LOOPBACK, self.port), PATIENCE_S) as connection,
        ):
            connection.sendall(b"".join(parts))


@contextlib.contextmanager
def live(folder: Path, settings: Settings | None = None) -> Iterator[Live]:
    """Serve a folder, with workers that only pretend."""
    app = create_app(folder, settings, commands=FAKE_WORKERS)
    with socket.create_server((LOOPBACK, 0)) as listener:
        # without a set-up of its own, what it logs is heard by pytest
        config = uvicorn.Config(app, log_level="error", log_config=None, lifespan="on")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        until = time.monotonic() + PATIENCE_S
        while not server.started and time.monotonic() < until:
            time.sleep(0.01)
        try:
            yield Live(app, listener.getsockname()[1], folder)
        finally:
            app.state.service.events.close()
            server.should_exit = True
            thread.join(PATIENCE_S)


def assert_well(answer: Answer, folder: Path) -> None:
    """No mistake of the server's; a refusal is one line that tells nothing of the machine."""
    assert answer.status < 500, answer
    if answer.status < 400 or answer.body == b"Invalid HTTP request received.":
        return  # the latter is what the layer below says of what is no HTTP
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    told = json.loads(answer.body)
    assert set(told) <= {"error", "position"}, told
    assert told["error"] and len(told["error"].splitlines()) == 1, told
    assert str(folder) not in told["error"]
