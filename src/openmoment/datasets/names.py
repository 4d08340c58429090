"""Class names of the datasets and the published class splits: names only, as package data."""

import json
from functools import cache
from importlib import resources
from typing import Any


@cache
def published_splits() -> dict[str, Any]:
    """``{dataset: {classes: [...], unseen: {setting: [[name, ...], ...]}}}``."""
    path = resources.files("openmoment") / "data" / "class_splits.json"
    return json.loads(path.read_text(encoding="utf-8"))


def class_names(dataset: str) -> tuple[str, ...]:
    """The class names of a dataset that has published splits, in alphabetical order."""
    return tuple(published_splits()[dataset]["classes"])
