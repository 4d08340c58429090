"""Predictions and ground truth in files: what is scored, and what a result keeps of it.

Per split ``split_N.predictions.json`` and ``split_N.truth.json``, in ActivityNet's forms.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from openmoment.errors import FormatError
from openmoment.evaluation.protocol import ALL_CLASSES, Protocol, Run, score_files
from openmoment.evaluation.published import published_beside
from openmoment.evaluation.result import Result, write_result
from openmoment.export import FORMATS
from openmoment.storage.atomic import write_text
from openmoment.storage.reading import get, read_json
from openmoment.types import Annotations, Detections


def split_file(folder: Path, index: int) -> Path:
    """The predictions of one split in a folder. Raises FormatError when there are none."""
    for name in (f"{index}", f"split_{index}", f"split_{index}.predictions"):
        for ending in (".json", ".csv"):
            if (folder / f"{name}{ending}").is_file():
                return folder / f"{name}{ending}"
    raise FormatError(f"{folder}: holds no predictions of split {index}, such as {index}.json.")


def read_predictions(path: Path) -> Mapping[str, Detections]:
    """Detections by video: ActivityNet's or our JSON, or CSV. Raises FormatError."""
    if path.suffix == ".csv":
        return FORMATS["csv"].read(path)
    content = read_json(path)
    is_ours = isinstance(content, dict) and "schema" in content
    return FORMATS["json" if is_ours else "activitynet"].read(path)


def score_predictions(
    path: Path, protocol: Protocol, external_scores: str = "none", only_predicted: bool = False
) -> Run:
    """Score a prediction file, or a folder with one a split, made with ``external_scores``.

    ``only_predicted`` is as `score_split` has it. Raises FormatError.
    """
    if path.is_dir():
        files = {str(index): split_file(path, index) for index in protocol.splits}
    else:
        files = {ALL_CLASSES: path}
    return score_files(
        protocol,
        {name: read_predictions(file) for name, file in files.items()},
        method=path.name,
        external_scores=external_scores,
        only_predicted=only_predicted,
    )


def strange_names(run: Run) -> tuple[set[str], set[str]]:
    """Names that are predicted and no class, and classes that were never predicted.

    Most often it is one label, written in two ways.
    """
    predicted = {
        found.names[label]
        for videos in run.predictions.values()
        for found in videos.values()
        for label in set(found.labels.tolist())
    }
    true = {name for score in run.result.splits for name in score.classes}
    return predicted - true, true - predicted


def plain_published(dataset: str, setting: str) -> list[dict[str, Any]]:
    """What papers report beside a result, as JSON has it."""
    return [
        {**vars(row), "percent": dict(row.percent), "note": row.note}
        for row in published_beside(dataset, setting)
    ]


def keep(
    result: Result,
    predictions: Mapping[str, Mapping[str, Detections]],
    truth: Mapping[str, Mapping[str, Annotations]],
    folder: Path,
) -> None:
    """Write a result with its predictions and ground truth into a folder, which is made."""
    write_result(result, folder)
    for name, true in truth.items():
        found = dict(predictions[name])
        FORMATS["activitynet"].write(found, folder / f"split_{name}.predictions.json")
        write_truth(true, folder / f"split_{name}.truth.json")


def is_kept(folder: Path, name: str) -> bool:
    """Whether a folder has what `read_kept` reads of one split."""
    return all(
        (folder / f"split_{name}.{kind}.json").is_file() for kind in ("predictions", "truth")
    )


def read_kept(folder: Path, name: str) -> tuple[Mapping[str, Detections], dict[str, Annotations]]:
    """The predictions and the ground truth of one split, as `keep` wrote them."""
    predictions = FORMATS["activitynet"].read(folder / f"split_{name}.predictions.json")
    return predictions, read_truth(folder / f"split_{name}.truth.json")


def write_truth(truth: Mapping[str, Annotations], path: Path) -> None:
    """Write annotations in the form of the ground truth, times unrounded."""
    database = {
        video: {
            "duration": None if math.isnan(true.duration_s) else true.duration_s,
            "annotations": [
                {"segment": segment.tolist(), "label": true.names[label]}
                for segment, label in zip(true.segments, true.labels, strict=True)
            ],
        }
        for video, true in truth.items()
    }
    write_text(json.dumps({"version": "1.3", "taxonomy": [], "database": database}) + "\n", path)


def read_truth(path: Path) -> dict[str, Annotations]:
    """Annotations by video id, as `write_truth` writes them. Raises FormatError."""
    database = get(read_json(path), "database", dict, str(path))
    rows = {
        video: get(entry, "annotations", list, f"{path}: database[{video!r}]")
        for video, entry in database.items()
    }
    names = tuple(sorted({str(row["label"]) for found in rows.values() for row in found}))
    index = {name: i for i, name in enumerate(names)}
    return {
        video: Annotations(
            np.array([row["segment"] for row in found], dtype=np.float64).reshape(-1, 2),
            np.array([index[row["label"]] for row in found], dtype=np.int64),
            names,
            math.nan if entry["duration"] is None else float(entry["duration"]),
        )
        for (video, found), entry in zip(rows.items(), database.values(), strict=True)
    }
