"""Class names of the datasets and the published class splits: names only, as package data."""

import json
from functools import cache
from importlib import resources
from typing import Any

SYNTHETIC = "synthetic-"
"""Before the name of a real dataset: the made-up one with its classes and splits."""


@cache
def published_splits() -> dict[str, Any]:
    """``{dataset: {classes: [...], unseen: {setting: [[name, ...], ...]}}}``.

    Made-up datasets share the lists of the real ones.
    """
    path = resources.files("openmoment") / "data" / "class_splits.json"
    real = json.loads(path.read_text(encoding="utf-8"))
    return real | {SYNTHETIC + name: lists for name, lists in real.items()}


def original(dataset: str) -> str:
    """The real dataset whose classes, splits and presets one has; a synthetic one has another's."""
    return dataset.removeprefix(SYNTHETIC)


def class_names(dataset: str) -> tuple[str, ...]:
    """The class names of a dataset that has published splits, in alphabetical order."""
    return tuple(published_splits()[dataset]["classes"])
