"""A served folder in tests: requests without a network, and workers that only pretend."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fake_worker
from starlette.testclient import TestClient
from videos import make_video

from openmoment.server.app import create_app
from openmoment.server.service.settings import Settings

ADDRESS = "http://127.0.0.1:8080"
_FAKE = [sys.executable, "-P", str(Path(__file__).with_name("fake_worker.py"))]
FAKE_WORKERS = {"find": _FAKE, "playable": _FAKE}
PATIENCE_S = 20.0


@contextmanager
def serving(
    folder: Path, settings: Settings | None = None, *, works: bool = True, real: bool = False
) -> Iterator[TestClient]:
    """A client of the server of a folder; with its workers, pretended or ``real``, if it works."""
    app = create_app(folder, settings, commands={} if real else FAKE_WORKERS)
    client = TestClient(app, base_url=ADDRESS, raise_server_exceptions=False)
    if works:
        with client:
            yield client
        return
    try:
        yield client
    finally:
        app.state.service.close()


def one_video(folder: Path, name: str = "one.mp4", **kind: Any) -> Path:
    """A short video below the folder."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return make_video(path, **{"seconds": 2.0, **kind})


def only_id(client: TestClient) -> str:
    """The id of the only video."""
    (video,) = client.get("/api/videos").json()["videos"]
    return video["id"]


def ask(client: TestClient, *queries: str) -> dict[str, Any]:
    """The job that looks for these in the only video."""
    told = client.post("/api/jobs", json={"video": only_id(client), "queries": queries})
    assert told.status_code == 202, told.text
    return told.json()


def found(client: TestClient, *queries: str) -> str:
    """The id of the only video, in which these were found, as a worker would, but at once."""
    service = client.app.state.service  # pyright: ignore[reportAttributeAccessIssue]
    job = service.jobs.get(ask(client, *queries)["id"])
    service.on_done(job, fake_worker.find(service.to_task(job)))
    service.jobs.update(job.id, state="done")
    return job.video


def ended(client: TestClient, job: dict[str, Any], state: str = "done") -> dict[str, Any]:
    """Wait for the job to end, which is to be in that way."""
    return reached(client, job, lambda told: told["state"] not in ("queued", "running"), state)


def running(client: TestClient, job: dict[str, Any]) -> dict[str, Any]:
    """Wait for the job to be under way."""
    return reached(client, job, lambda told: told["done"] is not None, "running")


def reached(client: TestClient, job: dict[str, Any], is_there: Any, state: str) -> dict[str, Any]:
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        told = client.get(f"/api/jobs/{job['id']}").json()
        if is_there(told):
            assert told["state"] == state, told
            return told
        time.sleep(0.02)
    raise AssertionError(f"still waiting: {told}")


def refusal(response: Any, status: int) -> str:
    """The one line of a refusal."""
    assert response.status_code == status, response.text
    told = response.json()
    assert set(told) <= {"error", "position"}
    assert "\n" not in told["error"]
    return told["error"]
