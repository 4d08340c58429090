"""Does the page stay quick while many look and jobs run? And is nothing lost when a process dies?

    python benchmarks/serving.py [--viewers 50] [--jobs 10] [--seconds 60] [--json FILE]

A real `openmoment serve` in its own process, on two cores, which those who look and the jobs share
with it. Each viewer listens for events and seeks about once a second: it reads some of the video
from there, asks for the picture at that time and for the review, and now and then for the lists.
Two seeks of three go to a moment that was found, as a click on it does; the others go anywhere.
The videos are made here: moving colours, each file different, so that each job has all to do.
"""

import argparse
import http.client
import json
import os
import random
import re
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import psutil
from speed import make_long_video

CORES = 2
MOMENTS = 20
QUERIES = ["a wave", "something red", "nothing moves"]
BETWEEN_S = (0.5, 1.5)
READ_BYTES = 256 * 1024
HOST = "127.0.0.1"
MEDIA = "media (first bytes)"
SPARE = 3
"""Videos that no job of the load reads, for what comes after it."""

Figures = dict[str, list[float]]


class Client:
    """Requests that are timed, on one connection if it ``keeps`` it."""

    def __init__(self, port: int, *, keeps: bool = True) -> None:
        self.port, self.keeps = port, keeps
        self.seconds: Figures = {}
        self.errors: list[str] = []
        self._kept = self._connect()

    def ask(self, kind: str, method: str, path: str, document: object = None) -> Any:
        """The JSON of an answer; None for what is none, or went wrong."""
        body = None if document is None else json.dumps(document)
        start = time.perf_counter()
        try:
            self._kept.request(method, path, body, {"content-type": "application/json"})
            answer = self._kept.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.errors.append(f"{method} {path}: {error!r}")
            self._kept.close()
            return None
        if not self.keeps:
            self._kept.close()
        self.seconds.setdefault(kind, []).append(time.perf_counter() - start)
        if answer.status >= 400:
            self.errors.append(f"{method} {path}: {answer.status} {content[:200]!r}")
        return json.loads(content) if answer.headers["content-type"] == "application/json" else None

    def look(self, path: str, first: int) -> None:
        """Read some of a video from there, and go away, as a browser that seeks does."""
        connection = self._connect()
        start = time.perf_counter()
        try:
            connection.request("GET", path, headers={"range": f"bytes={first}-"})
            answer = connection.getresponse()
            answer.read(1)
            self.seconds.setdefault(MEDIA, []).append(time.perf_counter() - start)
            answer.read(READ_BYTES)
            if answer.status != 206:
                self.errors.append(f"GET {path} from {first}: {answer.status}")
        except (OSError, http.client.HTTPException) as error:
            self.errors.append(f"GET {path} from {first}: {error!r}")
        finally:
            connection.close()

    def close(self) -> None:
        self._kept.close()

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(HOST, self.port, timeout=60)


def view(port: int, viewers: int, seconds: float, seed: str) -> tuple[Figures, list[str]]:
    """Let so many people look for so long; how long their calls took, and what went wrong."""
    clients = [Client(port) for _ in range(viewers)]
    end = time.monotonic() + seconds
    threads = [
        threading.Thread(target=_one_viewer, args=(client, random.Random(f"{seed} {number}"), end))
        for number, client in enumerate(clients)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    merged: Figures = {}
    for client in clients:
        for kind, values in client.seconds.items():
            merged.setdefault(kind, []).extend(values)
    return merged, [error for client in clients for error in client.errors]


def _one_viewer(client: Client, dice: random.Random, end: float) -> None:
    time.sleep(dice.random())
    events = http.client.HTTPConnection(HOST, client.port, timeout=60)
    events.request("GET", "/api/events")
    video = dice.choice(client.ask("videos", "GET", "/api/videos")["videos"])
    base = f"/api/videos/{video['id']}"
    client.ask("curves", "GET", f"{base}/curves")
    while time.monotonic() < end:
        at_s = dice.random() * video["duration_s"]
        if dice.random() < 2 / 3:
            at_s = _moment_s(dice.randrange(MOMENTS), video["duration_s"])
        client.look(f"{base}/media", int(at_s / video["duration_s"] * video["size_bytes"]))
        client.ask("thumbnail", "GET", f"{base}/thumbnail?at={at_s:.2f}&height=90")
        client.ask("review", "GET", f"{base}/review")
        if dice.random() < 0.1:
            client.ask("videos", "GET", "/api/videos")
            client.ask("jobs", "GET", "/api/jobs")
        time.sleep(dice.uniform(*BETWEEN_S))
    events.close()
    client.close()


def _moment_s(number: int, duration_s: float) -> float:
    return number * duration_s / MOMENTS


class Server:
    """`openmoment serve` in a process of its own."""

    def __init__(self, folder: Path, cache: Path) -> None:
        command = [sys.executable, "-P", "-m", "openmoment", "serve", str(folder)]
        self.process = subprocess.Popen(
            [*command, "--no-browser", "--port", "0"],
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"OPENMOMENT_CACHE": str(cache)},
        )
        assert self.process.stderr
        said = [self.process.stderr.readline() for _ in range(3)]
        found = re.search(r":(\d+)/", said[1])
        if found is None:
            sys.exit("".join(said))
        self.client = Client(int(found[1]), keeps=False)
        self.said: list[str] = []
        threading.Thread(target=self._hear, daemon=True).start()

    def get(self, path: str) -> Any:
        return self.client.ask("", "GET", f"/api/{path}")

    def post(self, path: str, document: object = None) -> Any:
        return self.client.ask("", "POST", f"/api/{path}", document)

    def find(self, video: str) -> str:
        """The id of a new job."""
        return self.post("jobs", {"video": video, "queries": QUERIES})["id"]

    def worker(self) -> int | None:
        return self.get("health")["workers"]["find"]["pid"]

    def memory_mb(self) -> tuple[int, int]:
        """Of the server, and of its worker."""
        pids = (self.process.pid, self.worker())
        sizes = [psutil.Process(pid).memory_info().rss if pid else 0 for pid in pids]
        return sizes[0] >> 20, sizes[1] >> 20

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def _hear(self) -> None:
        """What it says is read, for a pipe that is full would stop it."""
        assert self.process.stderr
        self.said.extend(self.process.stderr)


def until(is_so: Callable[[], Any], patience_s: float = 600.0) -> float:
    """The seconds until it is so."""
    start = time.monotonic()
    while not is_so():
        if time.monotonic() - start > patience_s:
            sys.exit("It did not come to that.")
        time.sleep(0.05)
    return time.monotonic() - start


def make_folder(folder: Path, *, videos: int, minutes: float) -> None:
    """Videos that look the same and are not, in the eyes of a cache."""
    make_long_video(folder / "0.mp4", seconds=minutes * 60)
    film = (folder / "0.mp4").read_bytes()
    for number in range(1, videos):
        box = struct.pack(">I4sQ", 16, b"free", number)  # ISO 14496-12, 8.1.2: skipped by readers
        (folder / f"{number}.mp4").write_bytes(film + box)


def fill_review(server: Server, video: dict[str, Any]) -> None:
    marks = {"threshold": 0.4, "occurs": None, "checked": False}
    segments = [
        {
            "id": f"m{number}",
            "start_s": _moment_s(number, video["duration_s"]),
            "end_s": _moment_s(number, video["duration_s"]) + 0.5,
            "query": QUERIES[number % len(QUERIES)],
            "status": "accepted",
        }
        for number in range(MOMENTS)
    ]
    queries = [{"query": query, **marks} for query in QUERIES]
    edit = {"revision": 0, "queries": queries, "segments": segments}
    server.client.ask("", "PUT", f"/api/videos/{video['id']}/review", edit)


def under_load(server: Server, videos: list[str], viewers: int, seconds: float) -> dict[str, Any]:
    """The same viewers before and while jobs run on these videos."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as elsewhere:
        before = server.memory_mb()
        idle, errors = elsewhere.submit(view, server.client.port, viewers, seconds, "idle").result()
        jobs = [server.find(video) for video in videos]
        start = time.monotonic()
        busy, more = elsewhere.submit(view, server.client.port, viewers, seconds, "busy").result()
    ended = [job for job in jobs if server.get(f"jobs/{job}")["state"] == "done"]
    until(lambda: all(server.get(f"jobs/{job}")["state"] in ("done", "failed") for job in jobs))
    done = sum(server.get(f"jobs/{job}")["state"] == "done" for job in jobs)
    return {
        "idle": summary(idle),
        "busy": summary(busy),
        "errors": errors + more,
        "jobs": {"asked": len(jobs), "done_while_viewed": len(ended), "done": done},
        "jobs_s": round(time.monotonic() - start, 1),
        "memory_mb": {"before": before, "after": server.memory_mb()},
    }


def summary(seconds: Figures) -> dict[str, list[float]]:
    """Number, median, 95th percentile and slowest, in ms, by kind of call; and of all but media."""
    page = [value for kind, values in seconds.items() if kind != MEDIA for value in values]
    rows = {"all page calls": page} | dict(sorted(seconds.items()))
    return {
        kind: [
            len(values),
            *(
                round(1000 * value, 1)
                for value in (
                    statistics.median(values),
                    statistics.quantiles(values, n=20)[-1] if len(values) > 1 else values[0],
                    max(values),
                )
            ),
        ]
        for kind, values in rows.items()
        if values
    }


def kill_worker(server: Server, video: str) -> dict[str, float]:
    """Seconds until its job is reported failed, and until the same, run again, is done."""
    job = server.find(video)
    until(lambda: (server.get(f"jobs/{job}")["done"] or 0) > 0)
    os.kill(server.worker() or 0, signal.SIGKILL)
    told = until(lambda: server.get(f"jobs/{job}")["state"] == "failed")
    again = server.post(f"jobs/{job}/again")["id"]
    return {
        "told_s": round(told, 2),
        "again_done_s": round(until(lambda: server.get(f"jobs/{again}")["state"] == "done"), 2),
    }


def kill_server(server: Server, folder: Path, cache: Path, videos: list[str]) -> dict[str, Any]:
    """What is still there after it was killed with a job running, one queued, and one file sent."""
    sent = send(server, folder / "0.mp4", "sent.mp4")
    jobs = [server.find(video) for video in videos]
    until(lambda: (server.get(f"jobs/{jobs[0]}")["done"] or 0) > 0)
    worker = server.worker() or 0
    reviews = {video: server.get(f"videos/{video}/review") for video in [*videos, sent["id"]]}
    server.kill()
    worker_s = until(lambda: not psutil.pid_exists(worker))
    start = time.monotonic()
    server = Server(folder, cache)
    started_s = time.monotonic() - start
    first = server.get(f"jobs/{jobs[0]}")
    same = {video: server.get(f"videos/{video}/review") for video in reviews} == reviews
    until(lambda: all(server.get(f"jobs/{job}")["state"] == "done" for job in jobs[1:]))
    again = server.post(f"jobs/{jobs[0]}/again")["id"]
    until(lambda: server.get(f"jobs/{again}")["state"] == "done")
    found = {
        "worker_gone_s": round(worker_s, 2),
        "started_s": round(started_s, 2),
        "running_job": [first["state"], first["error"]],
        "reviews_and_videos_same": same and server.get(f"videos/{sent['id']}") == sent,
        "queued_done": len(jobs) - 1,
        "errors": server.client.errors,
    }
    server.kill()
    return found


def send(server: Server, path: Path, name: str) -> dict[str, Any]:
    """The video that an upload became."""
    connection = http.client.HTTPConnection(HOST, server.client.port, timeout=60)
    connection.request("POST", f"/api/videos?name={name}", path.read_bytes())
    video = json.loads(connection.getresponse().read())
    connection.close()
    return video


def table(found: dict[str, Any]) -> None:
    print("| call | idle: calls, median, p95, max in ms | with jobs | medians' ratio |")
    print("|---|---|---|---|")
    for kind, (num, *idle) in found["idle"].items():
        busy_num, *busy = found["busy"][kind]
        cells = [", ".join(map(str, row)) for row in ([num, *idle], [busy_num, *busy])]
        print(f"| {kind} | {cells[0]} | {cells[1]} | {busy[0] / idle[0]:.1f} |")
    for what in ("errors", "jobs", "jobs_s", "memory_mb", "killed_worker", "killed_server", "load"):
        if what in found:
            print(f"{what}: {found[what]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--viewers", type=int, default=50)
    parser.add_argument("--jobs", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--minutes", type=float, default=1.5, help="how long each video is")
    parser.add_argument("--no-kills", action="store_true", help="only the load")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    with tempfile.TemporaryDirectory() as temporary:
        folder, cache = Path(temporary, "videos"), Path(temporary, "cache")
        folder.mkdir()
        make_folder(folder, videos=options.jobs + SPARE, minutes=options.minutes)
        server = Server(folder, cache)
        try:
            until(lambda: all(v["duration_s"] for v in server.get("videos")["videos"]))
            videos = server.get("videos")["videos"]
            for video in videos:
                fill_review(server, video)
            ids = [video["id"] for video in videos]
            found = under_load(server, ids[SPARE:], options.viewers, options.seconds)
            found["errors"] += server.client.errors + server.said
            if not options.no_kills:
                found["killed_worker"] = kill_worker(server, ids[0])
                found["killed_server"] = kill_server(server, folder, cache, ids[1:SPARE])
        finally:
            server.kill()
    found["load"] = [round(value, 1) for value in os.getloadavg()]
    table(found)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
