"""Predictions and ground truth in files: what is scored, and what a result keeps of it.

Per split ``split_N.predictions.json`` and ``split_N.truth.json``, in ActivityNet's forms.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from openmoment.errors import FormatError
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
