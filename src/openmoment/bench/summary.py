"""Runs of one method, in one setting, over the splits: what a row of a table is made of."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from openmoment.bench.job import Job
from openmoment.bench.method_card import card_of
from openmoment.bench.record import Record
from openmoment.bench.suite import MethodPart
from openmoment.datasets.names import SYNTHETIC
from openmoment.datasets.splits import NUM_SPLITS
from openmoment.evaluation.protocol import ALL_CLASSES
from openmoment.evaluation.published import Published, published_beside, published_regions

CLOSED = "closed"
"""What published tables call the setting in which all classes are trained on."""
DECISIVE = {
    "detection": "mAP_avg",
    "retrieval": "R@1,IoU=0.5",
    "segmentation": "mAP",
}
"""By which metric a task's runs are compared when one has to do."""
_PRINTED = {
    "retrieval": ("R@1,IoU=0.5", "R@1,IoU=0.7", "R@5,IoU=0.5", "R@5,IoU=0.7", "mIoU"),
    "segmentation": ("frame_accuracy", "mAP", "edit", "F1@0.1", "F1@0.25", "F1@0.5"),
}
_OF_MANY = ("mAP@0.5", "mAP@0.75", "mAP@0.95", "mAP_avg", "mAP_avg3")
_MANY = 8


@dataclass(frozen=True)
class Row:
    """A method's runs in one setting."""

    records: tuple[Record, ...]

    @property
    def first(self) -> Record:
        return self.records[0]

    @property
    def label(self) -> str:
        return self.first.job.label

    @property
    def backbone(self) -> str:
        return str(self.first.card.get("backbone") or self.first.job.backbone)

    def values(self, kind: str, metric: str) -> list[float]:
        """A metric of every run that has it; ``kind`` is the field of the record."""
        return [
            getattr(record, kind)[metric]
            for record in self.records
            if metric in getattr(record, kind)
        ]

    def checked(self, check: str, metric: str) -> list[float]:
        """A metric of every run when the words say something else."""
        return [
            record.text_check[check][metric]
            for record in self.records
            if metric in record.text_check.get(check, {})
        ]

    def costs(self, name: str) -> list[float]:
        """A number of every run's cost that is known."""
        found = [getattr(record.cost, name) for record in self.records]
        return [float(value) for value in found if value is not None]

    @cached_property
    def published(self) -> Published | None:
        """The paper's row of this method, for the same dataset and setting."""
        job = self.first.job
        return published_row(job, job.dataset, job.setting)

    @property
    def differences(self) -> str:
        """Why its numbers may differ from the paper's, as far as is known."""
        job, card = self.first.job, self.first.card
        notes = [self.backbone]
        if self.num_splits:
            notes.append(f"{self.num_splits} of {NUM_SPLITS} splits")
        if job.preset:
            notes.append(f"preset {job.preset}")
        if job.set:
            notes.append(", ".join(f"{name}={value}" for name, value in job.set.items()))
        notes += [f"with {kind}" for kind in ("captions", "priors") if getattr(job, kind)]
        missing = sorted({video for r in self.records for video in r.card.get("missing") or ()})
        if missing:
            notes.append(f"{len(missing)} videos missing")
        if card.get("external_scores", "none") != "none":
            notes.append(str(card["external_scores"]))
        return "; ".join(notes)

    @property
    def num_splits(self) -> int:
        """How many published splits; 0 where there are none."""
        return sum(record.job.split.isdecimal() for record in self.records)


@dataclass(frozen=True)
class Group:
    """All rows that may share a table: a dataset, or several of one kind, in one setting."""

    name: str
    dataset: str
    setting: str
    rows: tuple[Row, ...]

    @property
    def task(self) -> str:
        return self.rows[0].first.task

    @property
    def is_made_up(self) -> bool:
        return self.dataset.startswith(SYNTHETIC)

    @property
    def title(self) -> str:
        """What it is, in words."""
        if any(row.first.job.unseen for row in self.rows):
            return f"{self.name}, unseen classes"
        if self.setting == ALL_CLASSES:
            told = "" if self.task == "retrieval" else ", all classes"
            return f"{self.name}{told}"
        return f"{self.name}, unseen classes of {self.setting}"

    @property
    def metrics(self) -> list[str]:
        """Those that papers print."""
        names = list(dict.fromkeys(name for row in self.rows for name in row.first.metrics))
        if self.task in _PRINTED:
            return [name for name in _PRINTED[self.task] if name in names]
        return names if len(names) <= _MANY else [name for name in _OF_MANY if name in names]

    @property
    def others(self) -> list[Published]:
        """Published rows for this dataset and setting that no row of ours stands for."""
        taken = {id(row.published) for row in self.rows}
        return [row for row in published_rows(self.dataset, self.setting) if id(row) not in taken]


def published_rows(dataset: str, setting: str) -> list[Published]:
    """The papers' rows for a dataset and setting; of made-up ones there are none."""
    known = CLOSED if setting == ALL_CLASSES else setting
    regions = [row for row in published_regions(dataset, known) if row.method.startswith("GRIZAL")]
    return [*regions, *published_beside(dataset, known)]


def published_row(method: Job | MethodPart, dataset: str, setting: str) -> Published | None:
    """The papers' row of a method for a dataset and setting."""
    names = method.published or card_of(method.method).published
    rows = published_rows(dataset, setting)
    return next((row for name in names for row in rows if row.method == name), None)


def group_records(records: Sequence[Record]) -> list[Group]:
    """The records by what they may be compared with, in the order of their names."""
    groups: dict[tuple[str, str, str], dict[tuple[str, str], list[Record]]] = {}
    for record in records:
        job = record.job
        rows = groups.setdefault((job.group, job.dataset, job.setting), {})
        rows.setdefault((job.label, job.backbone), []).append(record)
    return [
        Group(*key, tuple(_ranked(Row(tuple(found)) for found in rows.values())))
        for key, rows in groups.items()
    ]


def _ranked(rows: Iterator[Row]) -> list[Row]:
    """Best first."""

    def rank(row: Row) -> float:
        values = row.values("metrics", DECISIVE[row.first.task])
        return -float(np.mean(values)) if values else 0.0

    return sorted(rows, key=rank)


def spread(values: Sequence[float], *, scale: float = 100.0, digits: int = 1) -> str:
    """The mean and, of several, the standard deviation of the sample; empty for none."""
    if not values:
        return ""
    mean = f"{scale * float(np.mean(values)):.{digits}f}"
    if len(values) == 1:
        return mean
    return f"{mean} ± {scale * float(np.std(values, ddof=1)):.{digits}f}"
