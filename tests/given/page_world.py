"""The page in a real Chromium, served by a real server, for tests."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from videos import make_video

from openmoment.reviews import Predicted, Review, ReviewedQuery, ReviewedSegment, write_review
from openmoment.server.service.folder import video_id

PATIENCE_MS = 15_000
SIZE = {"width": 1280, "height": 800}
ARGUMENTS = (
    *("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@dataclass
class Site:
    """A server of a folder, and what is in the folder."""

    url: str
    folder: Path

    def put(self, name: str, moments: Sequence[tuple[Any, ...]] = (), **video: Any) -> str:
        """A video of 20 s and its review; gives the address of its page.

        Moments are ``(start_s, end_s, query, score)``, and a status if not open.
        """
        path = self.folder / name
        if not path.exists():
            make_video(path, **({"seconds": 20.0, "fps": 10} | video))
        if moments:
            self.review(name, moments, duration_s=video.get("seconds", 20.0))
        return f"{self.url}#v={video_id(name)}"

    def review(
        self, name: str, moments: Sequence[tuple[Any, ...]], *, duration_s: float, revision: int = 1
    ) -> None:
        """What was found in a video."""
        queries = tuple(dict.fromkeys(moment[2] for moment in moments))
        review = Review(
            name,
            duration_s,
            revision=revision,
            queries=tuple(ReviewedQuery(query, 0.93, 0.4) for query in queries),
            segments=tuple(_segment(i, *moment) for i, moment in enumerate(moments)),
        )
        path = self.folder / "openmoment" / "reviews" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_review(review, path)

    def saved(self, name: str) -> dict[str, Any]:
        """The review as it is on disk."""
        path = self.folder / "openmoment" / "reviews" / f"{name}.json"
        return json.loads(path.read_text(encoding="utf-8"))


def _segment(
    index: int, start_s: float, end_s: float, query: str, score: float, status: Any = "open"
) -> ReviewedSegment:
    made = Predicted(start_s, end_s, query, score)
    return ReviewedSegment(f"{index:08x}", start_s, end_s, query, score, status, made)


@dataclass
class Watched:
    """A page, and what went wrong in it."""

    page: Any
    faults: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    """Answers of 4xx that the test asks for; Chromium writes each to the console."""

    def assert_well(self) -> None:
        """Nothing was thrown, and no request left the host."""
        assert self.strangers == []
        assert self.faults == []


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """`openmoment serve` on a folder of its own."""
    folder = tmp_path_factory.mktemp("folder")
    own = {
        "OPENMOMENT_CACHE": str(tmp_path_factory.mktemp("served")),
        "OMP_NUM_THREADS": "1",  # two threads on two busy cores wait for each other
        "PYTHONUNBUFFERED": "1",
    }
    command = [sys.executable, "-m", "openmoment", "serve", str(folder), "--no-browser"]
    with subprocess.Popen(
        [*command, "--port", "0", "--name", "ana"],
        env=os.environ | own,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield Site(_address(process), folder)
        finally:
            process.terminate()


def _address(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if found := re.search(r"http://\S+", line):
            return found[0]
    raise AssertionError("".join(said))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip(f"needs a Chromium on the PATH: {', '.join(NAMES)}")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Watched]]:
    """Opens pages, each in a profile of its own; all are to end without a fault."""
    contexts, watched = [], []

    def open_(url: str, *, waits_for: str = ".head", **options: Any) -> Watched:
        context = browser.new_context(**({"viewport": SIZE, "locale": "en"} | options))
        contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        new = Watched(context.new_page())
        watched.append(new)
        _watch(new, urlsplit(url).netloc)
        new.page.goto(url)
        new.page.locator(waits_for).first.wait_for()
        return new

    yield open_
    for each in watched:
        each.assert_well()
    for context in contexts:
        context.close()


def _watch(watched: Watched, host: str) -> None:
    def on_console(message: Any) -> None:
        is_refusal = any(part in message.location.get("url", "") for part in watched.refused)
        if message.type in ("error", "warning") and not is_refusal:
            watched.faults.append(f"{message.text} {message.location}")

    def on_request(request: Any) -> None:
        address = urlsplit(request.url)
        if address.scheme in ("http", "https", "ws", "wss") and address.netloc != host:
            watched.strangers.append(request.url)

    watched.page.on("console", on_console)
    watched.page.on("pageerror", lambda error: watched.faults.append(str(error)))
    watched.page.on("request", on_request)


# What a person does


def place(page: Any, seconds: float, lane: int, *, duration_s: float = 20.0) -> tuple[float, float]:
    """Where on the screen a time is, in the upper half of a lane, with the whole video on view."""
    canvas = page.locator("#lanes-canvas").bounding_box()
    head = page.locator(".head").nth(lane).bounding_box()
    return canvas["x"] + seconds / duration_s * canvas["width"], head["y"] + 20


def drag(page: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Press, move in steps, let go."""
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(*end, steps=8)
    page.mouse.up()


def until(page: Any, condition: str) -> None:
    """Wait for it; Playwright's own way needs `eval`, which the page's policy forbids."""
    late = time.monotonic() + PATIENCE_MS / 1000
    while not page.evaluate(condition):
        assert time.monotonic() < late, condition
        page.wait_for_timeout(50)


def wait_saved(page: Any) -> None:
    """Until the server has all."""
    until(page, "document.getElementById('saved').dataset.state === 'saved'")


def wait_drawn(page: Any) -> None:
    """Wait for the next frame: the list is made there, however many edits came before."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")


def rows(page: Any) -> list[dict[str, str]]:
    """The list of moments: query, times and state."""
    wait_drawn(page)
    return page.evaluate(
        """() => [...document.querySelectorAll('tr[data-id]')].map((row) => ({
            query: row.querySelector('bdi').textContent,
            times: row.querySelector('.times').firstChild.textContent,
            state: row.className,
        }))"""
    )


def said(page: Any) -> str:
    """The line that tells what happened."""
    return page.locator("#said").inner_text()
