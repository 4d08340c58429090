"""The jobs of a folder, in one SQLite file: they survive a restart of the server.

The file is held open and locked, which also keeps a second server from the folder.
"""

import json
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from threading import RLock
from typing import Any, Literal, get_args

from openmoment.errors import OpenMomentError
from openmoment.server.service.problems import RefusedError

Kind = Literal["find", "playable"]
State = Literal["queued", "running", "done", "failed", "cancelled"]
KINDS: tuple[Kind, ...] = get_args(Kind)

STOPPED = "the worker was stopped; run it again"
MAX_QUEUED = 1000
KEPT = 500
"""Ended jobs that are remembered."""

_TABLE = """CREATE TABLE IF NOT EXISTS jobs (
    number INTEGER PRIMARY KEY, id TEXT UNIQUE, kind TEXT, video TEXT, queries TEXT,
    backbone TEXT, method TEXT, state TEXT, done REAL, message TEXT, error TEXT,
    made TEXT, changed TEXT)"""


@dataclass(frozen=True)
class Job:
    """One piece of work on one video."""

    id: str
    kind: Kind
    video: str
    """The video's id."""
    queries: tuple[str, ...]
    backbone: str | None
    method: str | None
    state: State
    done: float | None
    """From 0 to 1; None where it is not known."""
    message: str
    """What is being done, or was."""
    error: str | None
    made: str
    changed: str

    @property
    def is_open(self) -> bool:
        return self.state in ("queued", "running")

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self) | {"queries": list(self.queries)}


_COLUMNS = [field.name for field in fields(Job)]


class Jobs:
    """The table of jobs; usable from any thread. Raises OpenMomentError if it cannot be opened.

    ``heard`` is called with every job that is new or has changed.
    """

    def __init__(self, path: Path, heard: Callable[[Job], None] = lambda job: None) -> None:
        self.heard = heard
        self._lock = RLock()
        self._database = _open(path)
        self._mend()

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._database.close()

    def add(
        self,
        kind: Kind,
        video: str,
        *,
        queries: Sequence[str] = (),
        backbone: str | None = None,
        method: str | None = None,
    ) -> Job:
        """A queued job. Raises RefusedError (429) when too many wait."""
        with self._lock:
            if self.count_queued() >= MAX_QUEUED:
                raise RefusedError(429, f"{MAX_QUEUED} jobs are waiting. Cancel some, or wait.")
            values = (token_hex(8), kind, video, json.dumps(queries), backbone, method)
            self._database.execute(
                "INSERT INTO jobs (id, kind, video, queries, backbone, method, state, message,"
                " made, changed) VALUES (?, ?, ?, ?, ?, ?, 'queued', 'waiting', ?, ?)",
                (*values, now(), now()),
            )
            job = self.get(values[0])
            self.heard(job)
        return job

    def get(self, id: str) -> Job:  # noqa: A002
        """The job of that id. Raises RefusedError (404)."""
        found = self._select("WHERE id = ?", id)
        if not found:
            raise RefusedError(404, "There is no such job.")
        return found[0]

    def latest(self, limit: int = KEPT) -> list[Job]:
        """The jobs, newest first; those that have not ended are always among them."""
        return self._select(
            "WHERE state IN ('queued', 'running') OR number > "
            "(SELECT coalesce(max(number), 0) - ? FROM jobs) ORDER BY number DESC",
            limit,
        )

    def last_of(self, kind: Kind, video: str) -> Job | None:
        """The newest job of that kind on a video."""
        found = self._select(
            "WHERE kind = ? AND video = ? ORDER BY number DESC LIMIT 1", kind, video
        )
        return found[0] if found else None

    def last_playable(self) -> dict[str, Job]:
        """The newest conversion of each video."""
        found = self._select("WHERE kind = 'playable' ORDER BY number")
        return {job.video: job for job in found}

    def count_queued(self, kind: Kind | None = None) -> int:
        """How many wait, in all or of one kind."""
        sql = "SELECT count(*) FROM jobs WHERE state = 'queued' AND kind = coalesce(?, kind)"
        with self._lock:
            return self._database.execute(sql, (kind,)).fetchone()[0]

    def take(self, kind: Kind) -> Job | None:
        """The job that has waited longest, now running; None when none waits."""
        with self._lock:
            waiting = self._select(
                "WHERE kind = ? AND state = 'queued' ORDER BY number LIMIT 1", kind
            )
            if not waiting:
                return None
            return self.update(waiting[0].id, state="running", message="starting")

    def cancel_queued(self, id: str) -> bool:  # noqa: A002
        """Cancel a job that still waits; says whether it did."""
        with self._lock:
            if self.get(id).state != "queued":
                return False
            self.update(id, state="cancelled", message="cancelled")
        return True

    def update(self, id: str, **changes: Any) -> Job:  # noqa: A002
        """Change some fields of a job."""
        names = ", ".join(f"{name} = ?" for name in changes)
        with self._lock:
            self._database.execute(
                f"UPDATE jobs SET {names}, changed = ? WHERE id = ?",
                (*changes.values(), now(), id),
            )
            job = self.get(id)
            self.heard(job)  # in the order of the changes
        return job

    def _select(self, clause: str, *values: Any) -> list[Job]:
        with self._lock:
            sql = f"SELECT {', '.join(_COLUMNS)} FROM jobs {clause}"
            rows = self._database.execute(sql, values).fetchall()
        return [_to_job(row) for row in rows]

    def _mend(self) -> None:
        """What ran when the last server ended has failed; of ended jobs the last are kept."""
        self._database.execute(
            "UPDATE jobs SET state = 'failed', done = NULL, error = ?, changed = ?"
            " WHERE state = 'running'",
            (STOPPED, now()),
        )
        self._database.execute(
            "DELETE FROM jobs WHERE state != 'queued' AND number <= "
            "(SELECT coalesce(max(number), 0) - ? FROM jobs)",
            (KEPT,),
        )


def _to_job(row: Sequence[Any]) -> Job:
    named: dict[str, Any] = dict(zip(_COLUMNS, row, strict=True))
    named["queries"] = tuple(json.loads(named["queries"]))
    return Job(**named)


def now() -> str:
    """The time, as ``2026-11-21T20:00:00Z``."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _open(path: Path) -> sqlite3.Connection:
    """The file, locked for as long as it is open."""
    database = sqlite3.connect(path, timeout=1.0, isolation_level=None, check_same_thread=False)
    try:
        database.execute("PRAGMA locking_mode = EXCLUSIVE")
        database.execute("BEGIN EXCLUSIVE")
        database.execute(_TABLE)
        database.execute("COMMIT")
    except sqlite3.OperationalError as error:
        database.close()
        if "locked" in str(error):
            raise OpenMomentError(
                f"{path.parents[1]}: is being served already. Open its page, or end that server."
            ) from error
        raise OpenMomentError(f"{path}: cannot be opened ({error}).") from error
    except sqlite3.DatabaseError as error:
        database.close()
        raise OpenMomentError(
            f"{path}: is damaged ({error}). Delete it: it holds the list of jobs alone."
        ) from error
    return database
