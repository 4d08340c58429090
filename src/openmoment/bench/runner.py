"""All runs of a bench, several processes at a time; what is finished is never done again.

Several benches may share a results folder: a run that another one is at is waited for. A run that
fails loses no other.
"""

import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from openmoment.bench.job import JOB, Job, changed, plan_folders, read_job, write_job
from openmoment.bench.measure import limit_threads
from openmoment.bench.record import LOG, is_finished, read_failure, write_failure
from openmoment.bench.worker import DONE, FAILED, FAULT, TAKEN
from openmoment.errors import ConfigError

Status = Literal["present", "done", "failed"]
_POLL_S = 0.1
_WAIT_S = 2.0  # before a run is looked at again that another bench is at


@dataclass(frozen=True)
class Outcome:
    """What became of a run; of a failed one in one line why."""

    job: Job
    status: Status
    seconds: float = 0.0
    message: str = ""


Start = Callable[[Job, Path], "subprocess.Popen[bytes]"]


def start(job: Job, folder: Path) -> "subprocess.Popen[bytes]":
    """The process that does a run, on its threads."""
    command = [sys.executable, "-m", "openmoment.bench.worker", str(folder)]
    with (folder / LOG).open("ab") as log:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=limit_threads(job.threads),
        )


def run_all(
    jobs: Sequence[Job], out: Path, *, num_jobs: int, launch: Start = start
) -> Iterator[Outcome]:
    """Do the runs that are not done, ``num_jobs`` at a time, and say of each how it ended.

    Runs that are there come first. When the caller stops, so do the processes. Raises ConfigError
    for a run that was done in another way.
    """
    for job in jobs:
        _require_same(job, job.folder(out))
    plan_folders(jobs, out)
    waiting = deque[Job]()
    for job in jobs:
        if is_finished(job.folder(out)):
            yield Outcome(job, "present")
        else:
            waiting.append(job)
    yield from _Crew(out, num_jobs, launch).work(waiting)


def _require_same(job: Job, folder: Path) -> None:
    if not (is_finished(folder) or (folder / JOB).is_file()):
        return
    if fields := changed(job, read_job(folder)):
        raise ConfigError(
            f"{folder}: holds a run with another {', '.join(fields)}. Choose another --out, or "
            "remove it."
        )


@dataclass
class _At:
    """A run that a process is at."""

    job: Job
    process: "subprocess.Popen[bytes]"
    since: float


class _Crew:
    """The processes that are at work."""

    def __init__(self, out: Path, num_jobs: int, launch: Start) -> None:
        self._out, self._num_jobs, self._launch = out, num_jobs, launch
        self._busy: list[_At] = []
        self._later: list[tuple[float, Job]] = []

    def work(self, waiting: deque[Job]) -> Iterator[Outcome]:
        try:
            while waiting or self._busy or self._later:
                self._recall(waiting)
                while waiting and len(self._busy) < self._num_jobs:
                    self._begin(waiting.popleft())
                time.sleep(_POLL_S)
                yield from self._ended()
        finally:
            for at in self._busy:
                at.process.terminate()
            for at in self._busy:
                at.process.wait()

    def _begin(self, job: Job) -> None:
        folder = job.folder(self._out)
        write_job(job, folder)
        self._busy.append(_At(job, self._launch(job, folder), time.perf_counter()))

    def _recall(self, waiting: deque[Job]) -> None:
        """Back to those that wait: what another bench was at, a while ago."""
        now = time.perf_counter()
        waiting += [job for due, job in self._later if due <= now]
        self._later = [(due, job) for due, job in self._later if due > now]

    def _ended(self) -> Iterator[Outcome]:
        for at in [at for at in self._busy if at.process.poll() is not None]:
            self._busy.remove(at)
            code = at.process.returncode
            if code == TAKEN:
                self._later.append((time.perf_counter() + _WAIT_S, at.job))
                continue
            yield self._outcome(at, code)

    def _outcome(self, at: _At, code: int) -> Outcome:
        folder, seconds = at.job.folder(self._out), time.perf_counter() - at.since
        if code == DONE and is_finished(folder):
            return Outcome(at.job, "done", seconds)
        if code not in (FAILED, FAULT):
            how = f"was ended by signal {-code}" if code < 0 else f"ended with {code}"
            write_failure(f"The process {how}: too little memory? See {LOG}.", folder)
        return Outcome(at.job, "failed", seconds, read_failure(folder))
