"""The job "find": all that a method proposes for some queries in a video."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from openmoment.calibration import read_calibration
from openmoment.detections import Row, from_rows
from openmoment.errors import ConfigError, FormatError
from openmoment.export.json import read, write
from openmoment.features.cache import Cache
from openmoment.pipeline import load_pipeline
from openmoment.pipeline.answering import Pipeline
from openmoment.postprocess import thresholds_of
from openmoment.server.work.curves import write_curves
from openmoment.server.work.worker import Tell
from openmoment.types import Detections

MOST = 300
"""Candidates of a query that are kept, the best."""
LOWEST = 0.05
"""The score of a candidate that is still worth a look."""
_READING = 0.95  # the share of the work that is done when the video is read


class Finder:
    """Finds moments, with pipelines that stay loaded."""

    def __init__(self) -> None:
        self._load = lru_cache(maxsize=2)(_load)

    def __call__(self, task: Mapping[str, Any], tell: Tell) -> dict[str, Any]:
        """Write the predictions of ``task``, and their curves.

        Gives the names asked, which of them were not understood and why, what is to be noted, the
        threshold of each name and the settings of the method. Raises OpenMomentError.
        """
        tell(None, "loading the backbone")
        pipeline = self._load(task["backbone"], task["method"], task["checkpoint"])

        def progress(done_s: float, all_s: float) -> None:
            tell(_READING * min(done_s / all_s, 1.0) if all_s else None, "reading the video")

        tell(0.0, "reading the video")
        snippets = pipeline.snippets(Path(task["path"]), progress=progress)
        tell(_READING, "looking for the words")
        heard = pipeline.hear(task["queries"])
        queries = pipeline.queries_of(
            heard, progress=lambda *_: tell(_READING, "looking for the words")
        )
        ranked = pipeline.ranking().localize(snippets, queries, video=task["name"], heard=heard)
        tell(_READING, "writing the predictions")
        write_curves(ranked, pipeline.cache or Cache())
        decisions = _decisions(pipeline, ranked, task.get("calibration"))
        seen = worth_a_look(ranked, decisions["thresholds"])
        keep_predictions(seen, Path(task["predictions"]))
        return {"names": list(ranked.names), **decisions}


def _decisions(pipeline: Pipeline, ranked: Detections, calibration: str | None) -> dict[str, Any]:
    """From which score on each query is shown at first: the method's own, or the calibration's.

    A calibration of another backbone or method than was asked for this time says nothing.
    """
    thresholds = thresholds_of(ranked, pipeline.decision)
    settings = dict(pipeline.settings)
    if calibration is not None:
        fitted = read_calibration(Path(calibration))
        with suppress(ConfigError):
            pipeline.calibrated(fitted)
            thresholds = {n: fitted.score.score_at(fitted.threshold, n) for n in ranked.names}
            settings["calibration"] = fitted.fingerprint
    return {"thresholds": thresholds, "settings": settings}


def worth_a_look(ranked: Detections, shown_from: Mapping[str, float]) -> Detections:
    """The best candidates of each query, without those that score next to nothing.

    What is shown at first, ``shown_from`` that score on, stays however little it scores.
    """
    lowest = [min(LOWEST, shown_from[name]) for name in ranked.names]
    kept = [
        np.flatnonzero((ranked.labels == label) & (ranked.scores >= lowest[label]))[:MOST]
        for label in range(len(ranked.names))
    ]
    return ranked[np.sort(np.concatenate(kept))]


def keep_predictions(ranked: Detections, path: Path) -> None:
    """Write predictions; those of other queries stay if they were made in the same way."""
    try:
        (old,) = read(path).values() if path.is_file() else (None,)
    except (FormatError, ValueError):
        old = None
    if old is not None and _maker(old) == _maker(ranked):
        new = set(ranked.names)
        asked = {n: float(p) for n, p in zip(old.names, old.presence, strict=True)}
        asked |= {n: float(p) for n, p in zip(ranked.names, ranked.presence, strict=True)}
        rows = [Row(*d) for d in old if d.name not in new] + [Row(*d) for d in ranked]
        unlike = {n: why for n, why in old.not_understood.items() if n not in new}
        ranked = replace(
            from_rows(rows, asked),
            origin=ranked.origin,
            not_understood=unlike | dict(ranked.not_understood),
            notes=ranked.notes,
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    write(ranked, path)


def _maker(found: Detections) -> tuple[object, ...]:
    """What has to be the same for two answers to stand in one file."""
    origin = found.origin
    if origin is None:
        return ()
    settings = json.dumps(origin.settings)  # in which a file has them
    return origin.source_sha256, origin.fingerprint, origin.method, settings


def _load(backbone: str, method: str | None, checkpoint: str | None) -> Pipeline:
    return load_pipeline(
        backbone, method, checkpoint=None if checkpoint is None else Path(checkpoint)
    )
