"""What happened in each step, as JSON lines and as CSV; a run that goes on drops what it redoes."""

import csv
import json
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from openmoment.extras import require
from openmoment.storage.atomic import write_text

JSON_LINES, TABLE = "log.jsonl", "log.csv"

Row = dict[str, int | float]
"""``step``, counted from 1, and what else a number says of it; all rows have the same names."""


@runtime_checkable
class Log(Protocol):
    """Hears the rows of a run."""

    def write(self, row: Row) -> None: ...

    def close(self) -> None: ...


class RunLog:
    """Of every so many steps a row, for each of ``logs``, with how fast the steps went."""

    def __init__(self, logs: list[Log], *, every: int) -> None:
        self._logs, self._every = logs, every
        self._pace = Pace()

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, *_: object) -> None:
        with ExitStack() as stack:
            for log in self._logs:
                stack.callback(log.close)

    def write(self, row: Row, *, waited_s: float) -> None:
        """Of one step; ``waited_s`` of it went by before there were data."""
        self._pace.count(waited_s)
        if row["step"] % self._every == 0:
            row = row | self._pace.read()
            for log in self._logs:
                log.write(row)


class Pace:
    """How fast steps go, and how much of that is waiting for data."""

    def __init__(self) -> None:
        self._start, self._steps, self._waited_s = time.perf_counter(), 0, 0.0

    def count(self, waited_s: float) -> None:
        """One more step."""
        self._steps += 1
        self._waited_s += waited_s

    def read(self) -> Row:
        """Seconds a step, and the share of them that was waiting, since it was read last."""
        now = time.perf_counter()
        passed_s = now - self._start
        row = {"step_s": passed_s / self._steps, "loader_share": self._waited_s / passed_s}
        self._start, self._steps, self._waited_s = now, 0, 0.0
        return row


class FileLog:
    """``log.jsonl`` and ``log.csv`` in a folder; of what is there, the first steps stay."""

    def __init__(self, folder: Path, *, steps_done: int) -> None:
        rows = _read_rows(folder / JSON_LINES, steps_done)
        write_text("".join(map(_to_line, rows)), folder / JSON_LINES)
        write_text("", folder / TABLE)
        self._lines = (folder / JSON_LINES).open("a", encoding="utf-8")
        self._table = (folder / TABLE).open("a", encoding="utf-8", newline="")
        self._columns: csv.DictWriter[str] | None = None
        for row in rows:
            self._write_cells(row)

    def write(self, row: Row) -> None:
        self._lines.write(_to_line(row))
        self._lines.flush()
        self._write_cells(row)
        self._table.flush()

    def close(self) -> None:
        self._lines.close()
        self._table.close()

    def _write_cells(self, row: Row) -> None:
        if self._columns is None:
            self._columns = csv.DictWriter(self._table, list(row), lineterminator="\n")
            self._columns.writeheader()
        self._columns.writerow(row)


class TensorBoardLog:
    """The same for TensorBoard. Raises MissingExtraError."""

    def __init__(self, folder: Path, *, steps_done: int) -> None:
        module = require("torch.utils.tensorboard", extra="tensorboard")
        self._writer: Any = module.SummaryWriter(str(folder), purge_step=steps_done + 1)

    def write(self, row: Row) -> None:
        for name, value in row.items():
            if name != "step":
                self._writer.add_scalar(name, value, int(row["step"]))

    def close(self) -> None:
        self._writer.close()


def _to_line(row: Row) -> str:
    return json.dumps(row) + "\n"


def _read_rows(path: Path, steps_done: int) -> list[Row]:
    """The rows of the first steps. A line that a killed process left unfinished is the last."""
    if not path.is_file():
        return []
    rows: list[Row] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            break
        if row["step"] > steps_done:
            break
        rows.append(row)
    return rows
