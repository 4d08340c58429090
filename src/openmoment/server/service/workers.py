"""The server's side of its workers: give them jobs, hear of progress, notice when one dies."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from threading import Event, Lock, Thread, Timer
from typing import Any

from openmoment.errors import OpenMomentError
from openmoment.server.service.jobs import STOPPED, Job, Jobs, Kind

PATIENCE_S = 5.0
"""How long a worker may take to hear that its job is cancelled, before it is ended."""

_log = logging.getLogger(__name__)

ToTask = Callable[[Job], Mapping[str, Any]]
OnDone = Callable[[Job, Mapping[str, Any]], None]


def worker_command(kind: Kind) -> list[str]:
    """How a worker is started; nothing in the current folder is taken for a module (-P)."""
    return [sys.executable, "-P", "-m", "openmoment.server.work.worker", kind]


class Worker:
    """One process, started when there is something to do, and the thread that gives it jobs.

    ``to_task`` says what the process has to know of a job, ``on_done`` is told what it gave; both
    may raise OpenMomentError, which fails the job.
    """

    def __init__(
        self,
        kind: Kind,
        jobs: Jobs,
        *,
        to_task: ToTask,
        on_done: OnDone,
        command: Sequence[str] = (),
    ) -> None:
        self.kind: Kind = kind
        self.jobs = jobs
        self._to_task, self._on_done = to_task, on_done
        self._command = list(command) or worker_command(kind)
        self._process: subprocess.Popen[str] | None = None
        self._current: Job | None = None
        self._cancelled: set[str] = set()
        self._news = Event()
        self._is_stopping = False
        self._lock = Lock()  # of the process and its input
        self._thread = Thread(target=self._run, name=f"worker-{kind}", daemon=True)

    def start(self) -> None:
        """Begin with what waits."""
        self._thread.start()

    def stop(self) -> None:
        """End the process; a job that is not done waits for the next server."""
        self._is_stopping = True
        self._news.set()
        with self._lock:
            process = self._process
            if process and process.stdin:
                with suppress(OSError):
                    process.stdin.close()
        if process:
            try:
                process.wait(3)
            except subprocess.TimeoutExpired:
                process.kill()
        if self._thread.is_alive():
            self._thread.join(5)

    def wake(self) -> None:
        """There is a new job."""
        self._news.set()

    def cancel(self, job: Job) -> None:
        """End a running job: by asking, and if that does not help by ending the process."""
        self._cancelled.add(job.id)
        self._send({"cancel": job.id})
        timer = Timer(PATIENCE_S, self._kill, [job.id])
        timer.daemon = True
        timer.start()

    def describe(self) -> dict[str, Any]:
        """Plain values for the health page."""
        process, current = self._process, self._current
        is_alive = process is not None and process.poll() is None
        return {
            "state": "busy" if current else "idle" if is_alive else "not started",
            "pid": process.pid if process and is_alive else None,
            "job": current and current.id,
            "queued": self.jobs.count_queued(self.kind),
        }

    def _run(self) -> None:
        while not self._is_stopping:
            self._news.clear()
            job = self.jobs.take(self.kind)
            if job is None:
                self._news.wait()
                continue
            self._current = job
            try:
                self._do(job)
            except (OpenMomentError, OSError) as error:
                self._end(job, "failed", error=str(error))
            except Exception as error:  # ours to mend; the other jobs go on
                _log.exception("job %s", job.id)
                self._end(job, "failed", error=f"internal error ({type(error).__name__})")
            finally:
                self._current = None
                self._cancelled.discard(job.id)

    def _do(self, job: Job) -> None:
        task = self._to_task(job)
        process = self._start_process()
        self._send({"task": {"id": job.id, **task}})
        assert process.stdout is not None
        for line in process.stdout:
            message = json.loads(line)
            if "progress" in message:
                self.jobs.update(job.id, done=message["progress"], message=message["message"])
                continue
            if message["ended"] == "done":
                self._on_done(job, message["result"])
            self._end(job, message["ended"], error=message.get("error"))
            return
        process.wait()
        if self._is_stopping:
            self.jobs.update(job.id, state="queued", done=None, message="waiting")
        elif job.id in self._cancelled:
            self._end(job, "cancelled")
        else:
            self._end(job, "failed", error=STOPPED)

    def _end(self, job: Job, state: str, *, error: str | None = None) -> None:
        done = 1.0 if state == "done" else None
        line = error and " ".join(error.split())
        self.jobs.update(job.id, state=state, done=done, message=state, error=line)

    def _start_process(self) -> subprocess.Popen[str]:
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                self._close_pipes()
                self._process = subprocess.Popen(
                    self._command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    encoding="utf-8",
                    # beside the server and whoever looks, threads that wait must not spin
                    env={"OMP_WAIT_POLICY": "PASSIVE", **os.environ},
                )
            return self._process

    def _close_pipes(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout) if self._process else ():
            if pipe:
                with suppress(OSError):
                    pipe.close()

    def _send(self, message: Mapping[str, Any]) -> None:
        """Tell the process; one that is gone is noticed where its answers are read."""
        with self._lock, suppress(OSError, ValueError):
            if self._process and self._process.stdin:
                self._process.stdin.write(json.dumps(message) + "\n")
                self._process.stdin.flush()

    def _kill(self, job: str) -> None:
        with self._lock:
            if self._process and self._current and self._current.id == job:
                self._process.kill()
