"""What is kept of a finished run: its numbers, and what they cost."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from openmoment.bench.job import RUNS, Job, planned_folders, to_job
from openmoment.errors import FormatError
from openmoment.storage.atomic import write_text
from openmoment.storage.reading import get, read_json

SCHEMA = "openmoment-bench/1"
RECORD, ERROR, LOG = "run.json", "error.json", "log.txt"
_NOT_NUMBERS = ("trained_on", "seconds", "date", "version", "hardware")


@dataclass(frozen=True)
class Cost:
    """Wall time, memory and size, measured in the run itself."""

    inference_s: float
    num_videos: int
    num_parameters: int
    """Of the method, without the frozen backbone."""
    inference_bytes: int | None = None
    """The most memory that the process held while it answered."""
    training_s: float | None = None
    training_bytes: int | None = None
    threads: int = 1
    processor: str = ""


@dataclass(frozen=True)
class Record:
    """One finished run. All metrics are fractions, by the names that papers use."""

    job: Job
    task: str
    card: Mapping[str, Any]
    metrics: Mapping[str, float]
    cost: Cost
    label_given: Mapping[str, float] = field(default_factory=dict[str, float])
    text_check: Mapping[str, Mapping[str, float]] = field(
        default_factory=dict[str, Mapping[str, float]]
    )
    """The metrics when names are exchanged, and when they are nonsense."""
    shares: Mapping[str, float] = field(default_factory=dict[str, float])
    """Of each kind among the best predictions (`evaluation.diagnosis`)."""
    gains: Mapping[str, float] = field(default_factory=dict[str, float])
    """What each kind of error costs in average mAP."""
    seed: int | None = None

    @property
    def numbers(self) -> dict[str, Any]:
        """All that has to be the same when the run is done again."""
        card = {name: value for name, value in self.card.items() if name not in _NOT_NUMBERS}
        kinds = ("metrics", "label_given", "text_check", "shares", "gains", "seed")
        return {"run": self.job.name, "card": card} | {kind: getattr(self, kind) for kind in kinds}


def is_finished(folder: Path) -> bool:
    """Whether a run came to its end there."""
    return (folder / RECORD).is_file()


def write_record(record: Record, folder: Path) -> None:
    """Write ``run.json``, which makes the run a finished one."""
    document = {"schema": SCHEMA} | asdict(record)
    write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", folder / RECORD)
    (folder / ERROR).unlink(missing_ok=True)


def read_record(folder: Path) -> Record:
    """The record of a finished run. Raises FormatError."""
    path = folder / RECORD
    document = read_json(path)
    if get(document, "schema", str, str(path)) != SCHEMA:
        raise FormatError(f"{path}: schema: expected {SCHEMA!r}, got {document['schema']!r}.")
    try:
        values = {name: value for name, value in document.items() if name != "schema"}
        job, cost = to_job(values["job"], str(path)), Cost(**values["cost"])
        return Record(**(values | {"job": job, "cost": cost}))
    except (TypeError, KeyError) as error:
        raise FormatError(f"{path}: no run that this version can read ({error}).") from error


def write_failure(message: str, folder: Path) -> None:
    """Note in one line why a run failed."""
    write_text(json.dumps({"error": message}) + "\n", folder / ERROR)


def read_failure(folder: Path) -> str:
    """Why a run failed; empty where it did not."""
    path = folder / ERROR
    return get(read_json(path), "error", str, str(path)) if path.is_file() else ""


def read_records(out: Path) -> list[Record]:
    """All finished runs below a results folder, by name. Raises FormatError for no folder."""
    if not (out / RUNS).is_dir():
        raise FormatError(f"{out}: holds no runs. A results folder is what openmoment bench wrote.")
    records = [read_record(path.parent) for path in sorted((out / RUNS).rglob(RECORD))]
    return sorted(records, key=lambda record: record.job.name)


def unfinished(out: Path) -> list[str]:
    """The names of runs below a results folder that began, or are to begin, and did not end."""
    return [name for name, folder in planned_folders(out).items() if not is_finished(folder)]


def digest(records: Sequence[Record]) -> str:
    """One word for all numbers of the runs, in any order: equal when they agree to the last bit."""
    told = sorted(json.dumps(record.numbers, sort_keys=True) for record in records)
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:16]
