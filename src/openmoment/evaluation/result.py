"""A result and its card: the numbers, and everything that says what they may be compared with.

A result is a folder: ``result.json``, and per split the predictions and the ground truth in
ActivityNet's forms, so that other programs can check the numbers and `compare` can resample videos.
All numbers are fractions; tables print percent.
"""

import json
import platform
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray as Array

from openmoment.errors import FormatError
from openmoment.evaluation.detection import DetectionResult
from openmoment.storage.atomic import write_text
from openmoment.storage.reading import get, read_json
from openmoment.types import Annotations, Detections

SCHEMA = "openmoment-result/1"
AVERAGE = "mAP_avg"
AVERAGE_OF_THREE = "mAP_avg3"
_THREE = (0.5, 0.75, 0.95)


@dataclass(frozen=True)
class Card:
    """How a result was made. `DECISIVE` fields must agree for two results to be compared."""

    dataset: str
    subset: str
    profile: str
    tious: tuple[float, ...]
    setting: str = "all"
    """A class split's setting, or "all" for all classes."""
    splits: tuple[int, ...] = ()
    rule: str = "openmoment"
    """By whose convention videos and instances were filtered: datasets.splits.zero_shot."""
    generalized: bool = False
    only_predicted: bool = False
    """Whether only videos with predictions count, as in STALE's evaluator."""
    excluded: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    """Videos that should have been evaluated and could not be, left out of the ground truth."""
    method: str = "predictions"
    """Its name, or that of a prediction file."""
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    backbone: str = ""
    fingerprint: str = ""
    fps: float | None = None
    external_scores: str = "none"
    trained_on: tuple[str, ...] = ()
    """Those of the candidate classes that a checkpoint was trained on."""
    seed: int | None = None
    version: str = ""
    hardware: str = ""
    date: str = ""
    seconds: float | None = None


def made_here() -> dict[str, object]:
    """What a card says of the code, the machine and the day."""
    python = f"{sys.version_info[0]}.{sys.version_info[1]}"
    return {
        "version": version("openmoment"),
        "hardware": f"{platform.machine()}, {platform.system()}, Python {python}",
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }


DECISIVE = (
    "dataset",
    "subset",
    "profile",
    "tious",
    "setting",
    "splits",
    "rule",
    "generalized",
    "only_predicted",
    "excluded",
    "missing",
)
"""What must agree. External scores need not, but are shown in every table."""


@dataclass(frozen=True)
class SplitScore:
    """One split's average precisions and counts; ``name`` is its number, or "all"."""

    name: str
    classes: tuple[str, ...]
    ap: Float[Array, "c tious"]
    num_instances: tuple[int, ...]
    num_videos: int
    num_predictions: int
    label_given: Mapping[str, float] = field(default_factory=dict[str, float])
    """R@tIoU and mIoU with the label given (`evaluation.regions`), where there are scores."""

    @classmethod
    def of(
        cls,
        name: str,
        scores: DetectionResult,
        truth: Mapping[str, Annotations],
        predictions: Mapping[str, Detections],
        label_given: Mapping[str, float],
    ) -> "SplitScore":
        """From an evaluation and what went into it."""
        return cls(
            name,
            scores.classes,
            scores.ap,
            tuple(int(n) for n in scores.num_instances),
            len(truth),
            sum(len(found) for found in predictions.values()),
            label_given,
        )


@dataclass(frozen=True)
class Result:
    """A card and the scores of its splits."""

    card: Card
    splits: tuple[SplitScore, ...]

    @cached_property
    def metrics(self) -> dict[str, Float[Array, " splits"]]:
        """Each metric's value in every split, by the names that papers use."""
        maps = np.stack([split.ap.mean(axis=0) for split in self.splits])
        found = {f"mAP@{tiou:g}": maps[:, i] for i, tiou in enumerate(self.card.tious)}
        found[AVERAGE] = maps.mean(axis=1)
        if all(tiou in self.card.tious for tiou in _THREE) and len(self.card.tious) > len(_THREE):
            three = [self.card.tious.index(tiou) for tiou in _THREE]
            found[AVERAGE_OF_THREE] = maps[:, three].mean(axis=1)
        return found

    @property
    def mean(self) -> dict[str, float]:
        """The mean over the splits of each metric: what the papers report."""
        return {name: float(values.mean()) for name, values in self.metrics.items()}

    @property
    def std(self) -> dict[str, float]:
        """The standard deviation over the splits (of the sample), 0 for a single one."""
        return {
            name: float(values.std(ddof=1)) if len(values) > 1 else 0.0
            for name, values in self.metrics.items()
        }

    @property
    def label_given(self) -> dict[str, float]:
        """The mean over the splits of each metric with the label given; empty without any."""
        names = self.splits[0].label_given
        return {
            name: float(np.mean([split.label_given[name] for split in self.splits]))
            for name in names
            if all(name in split.label_given for split in self.splits)
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        return {
            "schema": SCHEMA,
            "card": asdict(self.card),
            "mean": self.mean,
            "std": self.std,
            "splits": [
                {
                    "name": split.name,
                    "num_videos": split.num_videos,
                    "num_predictions": split.num_predictions,
                    "label_given": dict(split.label_given),
                    "classes": {
                        name: {"num_instances": count, "ap": ap.tolist()}
                        for name, count, ap in zip(
                            split.classes, split.num_instances, split.ap, strict=True
                        )
                    },
                }
                for split in self.splits
            ],
        }


def write_result(result: Result, folder: Path) -> None:
    """Write ``result.json`` into a folder, which is made. Raises OpenMomentError."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(json.dumps(result.to_dict(), indent=1) + "\n", folder / "result.json")


def read_result(path: Path) -> Result:
    """The result in a folder, or in a ``result.json``. Raises FormatError."""
    file = path / "result.json" if path.is_dir() else path
    document = read_json(file)
    if get(document, "schema", str, str(file)) != SCHEMA:
        raise FormatError(f"{file}: schema: expected {SCHEMA!r}, got {document['schema']!r}.")
    card = get(document, "card", dict, str(file))
    splits = get(document, "splits", list, str(file))
    try:
        values: dict[str, Any] = {
            n: tuple(v) if isinstance(v, list) else v for n, v in card.items()
        }
        return Result(Card(**values), tuple(_read_split(split) for split in splits))
    except (TypeError, KeyError, ValueError) as error:
        raise FormatError(f"{file}: no result that this version can read ({error}).") from error


def _read_split(split: dict[str, Any]) -> SplitScore:
    classes = split["classes"]
    return SplitScore(
        split["name"],
        tuple(classes),
        np.array([entry["ap"] for entry in classes.values()], dtype=np.float64),
        tuple(entry["num_instances"] for entry in classes.values()),
        split["num_videos"],
        split["num_predictions"],
        split.get("label_given", {}),
    )


def unlike(a: Card, b: Card) -> list[str]:
    """One line for each decisive field in which two cards differ."""
    return [
        f"{name}: {_short(getattr(a, name))} and {_short(getattr(b, name))}"
        for name in DECISIVE
        if getattr(a, name) != getattr(b, name)
    ]


def _short(value: object) -> str:
    shown = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."
