"""Leases: one process at a time does a piece of work in a folder that several processes share.

A lease is a small file that exists while its holder works. It needs no server and no lock of the
file system, so it works over network mounts. Where a holder died, two others may in rare cases
both take its place: whoever holds a lease still has to write its results atomically.
"""

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from typing import Literal
from uuid import uuid4

from openmoment.errors import OpenMomentError

STALE_S = 300.0
"""A lease that its holder has not touched for so long may be taken over."""

Outcome = Literal["free", "inherited", "taken"]


@contextmanager
def lease(path: Path) -> Iterator[Outcome]:
    """Hold the lease file ``path`` for the length of the block, unless it is ``"taken"``.

    ``"inherited"`` says that the last holder died at its work. While the block runs a thread keeps
    the file fresh; at the end, whatever happens, the file is removed. Raises OpenMomentError when
    the folder cannot be written to.
    """
    content = json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "time": time.time()})
    done = Event()
    keeper = Thread(target=_keep_fresh, args=(path, done), daemon=True)
    try:
        outcome = _take(path, content)
        if outcome != "taken":
            keeper.start()
        yield outcome
    finally:
        done.set()
        with suppress(OSError):
            if path.read_text() == content:  # a process that was asleep may have lost it
                path.unlink()
        if keeper.ident:
            keeper.join()


def _take(path: Path, content: str) -> Outcome:
    if _create(path, content):
        return "free"
    if _is_stale(path) and _bury(path) and _create(path, content):
        return "inherited"
    return "taken"


def _create(path: Path, content: str) -> bool:
    try:
        with path.open("x") as file:
            file.write(content)
    except FileExistsError:
        return False
    except OSError as error:
        raise OpenMomentError(
            f"{path.parent}: cannot be written to ({error.strerror or error})."
        ) from error
    return True


def _bury(path: Path) -> bool:
    """Remove a stale lease; of several processes that try, one succeeds."""
    buried = path.with_name(f".{path.name}.{uuid4().hex[:8]}")
    try:
        path.rename(buried)
    except FileNotFoundError:
        return False
    if not _is_stale(buried):  # another process took it over in between: give it back
        buried.replace(path)
        return False
    buried.unlink()
    return True


def _is_stale(path: Path) -> bool:
    try:
        age_s, text = time.time() - path.stat().st_mtime, path.read_text()
    except FileNotFoundError:
        return False
    if age_s > STALE_S:
        return True
    try:
        holder = json.loads(text)
        pid, host = int(holder["pid"]), holder["host"]
    except (ValueError, TypeError, KeyError):  # it is just being written
        return False
    return host == socket.gethostname() and not _is_running(pid)


def _is_running(pid: int) -> bool:
    if os.name == "nt":  # there, signal 0 is Ctrl-C; only the age of the lease tells
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # of another user
        return True
    return True


def _keep_fresh(path: Path, done: Event) -> None:
    while not done.wait(STALE_S / 5):
        with suppress(OSError):
            os.utime(path)
