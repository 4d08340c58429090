"""What can be asked of a video: when actions happen, which moments a sentence means, or what every
snippet shows. Detections in, Detections out; the first task is what methods answer by themselves.
"""

from dataclasses import replace
from typing import get_args

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray as Array

from openmoment.postprocess import cover, label_by_curves
from openmoment.types import Detections, SnippetGrid, Task

TASKS: tuple[Task, ...] = get_args(Task)
TOP = 5
"""How many moments of a sentence are worth a look."""


def best_of_each(found: Detections, num: int) -> Detections:
    """The ``num`` best detections of each query, in the order in which they come: best first."""
    taken = np.zeros(len(found.names), dtype=np.int64)
    kept: list[int] = []
    for i, label in enumerate(found.labels.tolist()):
        taken[label] += 1
        if taken[label] <= num:
            kept.append(i)
    return found[kept]


def segment(found: Detections, *, by_curves: bool) -> Detections:
    """Consecutive segments, none over another, as every snippet has one label or is background.

    ``by_curves`` is for methods whose curves say so (see `label_by_curves`). Of others a snippet
    has the label of the best-scored detection that covers its middle. A segment's score is the
    mean over its snippets. The detections need the grid of their origin.
    """
    origin = found.origin
    assert origin and origin.grid
    if by_curves:
        assert origin.curves is not None
        labels, scores = label_by_curves(origin.curves)
    else:
        labels, scores = cover(found, origin.grid.centres_s)
    return _stretches(found, labels, scores, origin.grid)


def _stretches(
    found: Detections,
    labels: Int[Array, " t"],
    scores: Float[Array, " t"],
    grid: SnippetGrid,
) -> Detections:
    """The stretches of one label but for background, best first."""
    first = np.flatnonzero(np.diff(labels, prepend=labels[0] - 1))
    last = np.append(first[1:], len(labels))
    means = np.add.reduceat(scores.astype(np.float64), first) / (last - first)
    shown = np.flatnonzero(labels[first] >= 0)
    order = shown[np.argsort(-means[shown], kind="stable")]
    return replace(
        found,
        segments=grid.runs_to_seconds(np.stack([first, last], axis=1)[order]),
        scores=means[order],
        labels=labels[first][order],
    )
