"""One run of a bench: a method on a split of a dataset, and the folder where it leaves things."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from openmoment.bench.suite import DatasetPart, MethodPart, Suite
from openmoment.datasets.splits import NUM_SPLITS
from openmoment.errors import ConfigError, FormatError
from openmoment.evaluation.protocol import ALL_CLASSES, OWN_CLASSES
from openmoment.storage.atomic import write_text
from openmoment.storage.reading import read_json

RUNS, JOB = "runs", "job.json"
_MAY_CHANGE = (
    *("root", "features", "videos", "captions", "priors"),
    *("threads", "device", "allow_missing", "suite", "published"),
)
"""What says where a run's data lie, who computes, and how it is told, and not what it is."""


@dataclass(frozen=True)
class Job:
    """A run with all that it needs to know. Paths are text, so that JSON holds it."""

    suite: str
    part: str
    """Its dataset's name in the suite."""
    group: str
    dataset: str
    setting: str
    split: str
    """A number; "all" without unseen classes, "own" for classes named one by one."""
    backbone: str
    label: str
    """Its method's name in the suite."""
    method: str
    preset: str | None = None
    set: Mapping[str, Any] = field(default_factory=dict[str, Any])
    unseen: tuple[str, ...] = ()
    subset: str | None = None
    exclude: str = "default"
    text_check: bool = True
    published: tuple[str, ...] = ()
    root: str = ""
    features: str = ""
    videos: str = ""
    captions: str = ""
    priors: str = ""
    threads: int = 1
    device: str = "cpu"
    allow_missing: bool = False

    @property
    def name(self) -> str:
        """Unique in a suite; also the folder below that of all runs."""
        return "/".join((self.part, self.setting, self.split, self.place, self.label))

    @property
    def place(self) -> str:
        """Its backbone as the name of a folder."""
        return re.sub(r"[^\w.@-]+", "_", self.backbone)

    def folder(self, out: Path) -> Path:
        """Where it leaves its record, its result and its checkpoint."""
        return out / RUNS / self.name


def plan_jobs(suite: Suite, *, only: str = "") -> list[tuple[Job, DatasetPart, MethodPart]]:
    """The runs of a suite whose names fit the pattern ``only``, without their places.

    Dataset by dataset and split by split, so that all methods have answered for a part of the
    suite before the next begins. Raises ConfigError where none is left.
    """
    found = [
        (job, part, method)
        for part in suite.datasets
        for setting in part.settings
        for split in _splits(part, setting)
        for backbone in part.backbones
        for method in suite.methods
        if _fits(method, part, setting, backbone)
        if _is_meant(job := _job(suite, part, setting, split, backbone, method), only)
    ]
    if not found:
        raise ConfigError(f"{suite.name}: no run fits {only!r}. openmoment bench NAME --list.")
    return found


def _is_meant(job: Job, only: str) -> bool:
    patterns = [pattern.strip() for pattern in only.split(",") if pattern.strip()]
    return not patterns or any(fnmatch(job.name, p) or p in job.name.split("/") for p in patterns)


def _splits(part: DatasetPart, setting: str) -> Sequence[str]:
    if part.unseen:
        return (OWN_CLASSES,)
    if setting == ALL_CLASSES:
        return (ALL_CLASSES,)
    return [str(index) for index in part.splits or range(NUM_SPLITS)]


def _fits(method: MethodPart, part: DatasetPart, setting: str, backbone: str) -> bool:
    return (
        (not method.datasets or part.name in method.datasets)
        and (not method.settings or setting in method.settings)
        and (not method.backbones or backbone in method.backbones)
    )


def _job(
    suite: Suite, part: DatasetPart, setting: str, split: str, backbone: str, method: MethodPart
) -> Job:
    return Job(
        suite=suite.name,
        part=part.name,
        group=part.group,
        dataset=part.dataset,
        setting=setting,
        split=split,
        backbone=backbone,
        label=method.name,
        method=method.method,
        preset=method.preset,
        set=method.set,
        unseen=part.unseen,
        subset=part.subset,
        exclude=part.exclude,
        text_check=suite.text_check,
        published=method.published,
    )


def plan_folders(jobs: Sequence[Job], out: Path) -> None:
    """Make the folders of runs, so that a results folder shows what it will hold."""
    for job in jobs:
        job.folder(out).mkdir(parents=True, exist_ok=True)


def planned_folders(out: Path) -> dict[str, Path]:
    """The folders of all runs of a results folder, finished or not, by the runs' names."""
    runs = out / RUNS
    found = sorted(path for path in runs.glob("*/*/*/*/*") if path.is_dir())
    return {path.relative_to(runs).as_posix(): path for path in found}


def write_job(job: Job, folder: Path) -> None:
    """Write ``job.json`` into the run's folder, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(json.dumps(asdict(job), indent=1) + "\n", folder / JOB)


def read_job(folder: Path) -> Job:
    """The job that a folder is for. Raises FormatError."""
    return to_job(read_json(folder / JOB), str(folder / JOB))


def to_job(table: Any, where: str) -> Job:
    """The job that plain values tell of. Raises FormatError starting with ``where``."""
    try:
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in table.items()
        }
        return Job(**values)
    except (TypeError, AttributeError) as error:
        raise FormatError(f"{where}: no run that this version can read ({error}).") from error


def changed(now: Job, then: Job) -> list[str]:
    """The fields in which a run is another one than the one that was done before."""
    new, old = (json.loads(json.dumps(asdict(job))) for job in (now, then))
    return [f.name for f in fields(Job) if f.name not in _MAY_CHANGE and new[f.name] != old[f.name]]
