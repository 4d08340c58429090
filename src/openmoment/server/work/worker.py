"""The job of a process beside the server: ``python -m openmoment.server.work.worker``.

The server writes lines of JSON to its standard input and reads them from its standard output. The
worker ends when its input does, which is what happens when the server is gone, however it went.
"""

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Mapping
from io import TextIOBase
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any, Protocol, runtime_checkable

from openmoment.errors import OpenMomentError
from openmoment.registry import LazyTable

PROGRESS_S = 0.25
"""Progress is told no more often."""
_NICE = 10  # the page comes first


@runtime_checkable
class Tell(Protocol):
    """Tells how far a job is, from 0 to 1 or None. Raises CancelledError to end it."""

    def __call__(self, done: float | None, message: str, /) -> None: ...


@runtime_checkable
class Work(Protocol):
    """Does one kind of job, and may keep what it loaded for the next."""

    def __call__(self, task: Mapping[str, Any], tell: Tell) -> dict[str, Any]:
        """What the server is to know of the result. Raises OpenMomentError, CancelledError."""
        ...


WORK: LazyTable[type[Work]] = LazyTable(
    "kind of job",
    {
        "find": "openmoment.server.work.finding:Finder",
        "playable": "openmoment.server.work.converting:Converter",
    },
)


class CancelledError(Exception):
    """The person does not want the job done any more."""


class Channel:
    """The lines to and from the server."""

    def __init__(self, lines: TextIOBase, out: TextIOBase) -> None:
        self._lines, self._out = lines, out
        self._lock = Lock()
        self._cancelled: set[str] = set()
        self._tasks: SimpleQueue[dict[str, Any]] = SimpleQueue()

    def listen(self) -> None:
        """Read what the server says, until it is gone; then end the process at once."""
        for line in self._lines:
            message = json.loads(line)
            if "cancel" in message:
                self._cancelled.add(message["cancel"])
            else:
                self._tasks.put(message["task"])
        os._exit(0)

    def next_task(self) -> dict[str, Any]:
        """Wait for the next job."""
        return self._tasks.get()

    def say(self, message: Mapping[str, Any]) -> None:
        """Tell the server."""
        with self._lock:
            self._out.write(json.dumps(message) + "\n")
            self._out.flush()

    def teller(self, job: str) -> Tell:
        """How one job tells its progress."""
        said_at, said = 0.0, ""

        def tell(done: float | None, message: str, /) -> None:
            nonlocal said_at, said
            if job in self._cancelled:
                raise CancelledError
            if message == said and time.monotonic() - said_at < PROGRESS_S:
                return
            said_at, said = time.monotonic(), message
            self.say({"progress": done, "message": message})

        return tell


def serve(work: Work) -> None:
    """Do jobs until the server is gone."""
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whoever prints does not disturb the lines
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the server's
    if hasattr(os, "nice"):
        os.nice(_NICE)
    lines = os.fdopen(os.dup(sys.stdin.fileno()), encoding="utf-8")
    channel = Channel(lines, out)
    Thread(target=channel.listen, daemon=True).start()
    while True:
        channel.say(_do(work, channel))


def _do(work: Work, channel: Channel) -> dict[str, Any]:
    """Wait for a job, do it, and give how it ended."""
    task = channel.next_task()
    try:
        return {"ended": "done", "result": work(task, channel.teller(task["id"]))}
    except CancelledError:
        return {"ended": "cancelled"}
    except OpenMomentError as error:
        return {"ended": "failed", "error": str(error)}
    except Exception as error:  # ours to mend; the worker stays for the next job
        traceback.print_exc()
        return {"ended": "failed", "error": f"internal error ({type(error).__name__}: {error})"}


if __name__ == "__main__":
    serve(WORK[sys.argv[1]]())
