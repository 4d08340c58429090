"""Segments from points: every position of a pyramid says how far it is to a start and to an end.

Level l has positions 0, 2**l, 2 * 2**l, ... below T, in units of snippets, where i is the middle
of snippet i; what is learned of a displacement is measured in 2**l (ActionFormer, ECCV 2022; UnLoc
section 3.4). Axes: b pieces, t snippets, k classes, n instances, m positions of a level.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray as Array
from torch import Tensor

from openmoment.blocks.batch import Instances
from openmoment.blocks.time_axis import seconds
from openmoment.postprocess import nms, soft_nms_tensorflow, top
from openmoment.types import Detections, SnippetGrid

_FLOOR = 1e-6


@dataclass(frozen=True)
class PointDecoding:
    """What is left of the segments that points propose. Raises ValueError."""

    pre_nms: int = 2000  # the best candidates of a piece of video that are looked at
    nms: Literal["soft", "hard"] = "soft"  # TensorFlow's Soft-NMS
    nms_sigma: float = 0.3  # of exp(-tIoU^2 / 2 sigma)
    nms_hard_tiou: float = 0.0  # what overlaps by more goes besides, or alone; 0: nothing does
    nms_per_label: bool = False
    max_out: int = 100
    min_score: float = 0.3  # weaker moments are not reported; 0 ranks all

    def __post_init__(self) -> None:
        if self.nms == "hard" and not 0 < self.nms_hard_tiou <= 1:
            raise ValueError("nms hard needs nms_hard_tiou in (0, 1]")
        if self.nms_sigma <= 0 or min(self.max_out, self.pre_nms) < 1:
            raise ValueError("nms_sigma, max_out and pre_nms must be positive")


class Points(NamedTuple):
    """Proposed segments in snippets, where i is the start of snippet i, with class and score."""

    segments: Float[Array, "n 2"]
    labels: Int[Array, " n"]
    scores: Float[Array, " n"]


class Targets(NamedTuple):
    """What the positions of one level should say."""

    positive: Bool[Tensor, "k m"]
    displacements: Float[Tensor, "k m 2"]
    """To start and end, in units of the level; only where positive."""


# targets -----------------------------------------------------------------------------------


def level_positions(t: int, level: int) -> Int[Tensor, " m"]:
    """The positions of a level, in snippets."""
    return torch.arange(0, t, 2**level)


def level_ranges(levels: int, bounds: Sequence[float] = ()) -> list[tuple[float, float]]:
    """Which distances each level answers for: by default up to 4, 8, 16 ... snippets, then all.

    Raises ValueError when ``bounds`` are not one fewer than the levels.
    """
    inner = list(bounds) or [4.0 * 2**level for level in range(levels - 1)]
    if len(inner) != levels - 1 or sorted(inner) != inner:
        raise ValueError(f"{levels} levels need {levels - 1} growing range bounds, got {inner}")
    edges = [0.0, *inner, float("inf")]
    return list(zip(edges, edges[1:], strict=False))


def point_targets(
    instances: Instances,
    t: int,
    num_classes: int,
    level: int,
    reach: tuple[float, float],
    *,
    radius: float = 3.0,
) -> Targets:
    """The positives of a level: inside, near the middle, and of lengths that the level answers for.

    A position is positive for an instance when it lies in it, at most ``radius * 2**level`` from
    its middle, and the farther end is at a distance in ``reach``. Of several instances of a class
    the shortest counts. A ``radius`` of 0 asks for no nearness.
    """
    positions = instances.positions - 0.5  # from edges of snippets to their middles
    start, end = positions[:, :1], positions[:, 1:]
    u = level_positions(t, level).to(positions)
    left, right = u - start, end - u  # n m
    farthest = torch.maximum(left, right)
    is_positive = (left >= 0) & (right >= 0) & (farthest >= reach[0]) & (farthest < reach[1])
    if radius:
        is_positive &= (u - (start + end) / 2).abs() <= radius * 2**level
    found = Targets(
        torch.zeros(num_classes, len(u), dtype=torch.bool, device=u.device),
        torch.zeros(num_classes, len(u), 2, device=u.device),
    )
    longest_first = torch.argsort((end - start).squeeze(1), descending=True, stable=True)
    for i in longest_first.tolist():  # so that shorter ones are written over longer ones
        label, at = instances.labels[i], is_positive[i]
        found.positive[label] |= at
        both = torch.stack([left[i], right[i]], dim=1) / 2**level
        found.displacements[label, at] = both[at]
    return found


# losses ------------------------------------------------------------------------------------


def displacement_loss(
    found: Float[Tensor, "n 2"], true: Float[Tensor, "n 2"], kind: str
) -> Float[Tensor, " n"]:
    """How far two segments around the same position are apart, whatever their length.

    ``l1``: the distances of both ends over the length of the union (the released code's; printed
    without the union); ``iou``; ``diou``: and the squared distance of the middles over the union;
    ``l1+iou``: the sum.
    """
    union = torch.maximum(found, true).sum(dim=1)
    l1 = (found - true).abs().sum(dim=1) / (union + _FLOOR)
    iou = 1 - torch.minimum(found, true).sum(dim=1) / (union + _FLOOR)
    match kind:
        case "l1":
            return l1
        case "iou":
            return iou
        case "diou":
            off = (found[:, 1] - found[:, 0] - true[:, 1] + true[:, 0]) / 2
            return iou + (off / (union + _FLOOR)).square()
        case _:
            return l1 + iou


# decoding ----------------------------------------------------------------------------------


def propose(
    scores: Sequence[Float[Array, "k _"]],
    displacements: Sequence[Float[Array, "k _ 2"]],
    t: int,
    how: PointDecoding,
    *,
    labels: Int[Array, " k"] | None = None,
) -> Points:
    """The best segments of one piece; ``scores`` and ``displacements`` have an entry a level."""
    parts: list[Points] = []
    for level, (score, displacement) in enumerate(zip(scores, displacements, strict=True)):
        at, position = np.nonzero(score >= how.min_score)
        u = level_positions(t, level).numpy()[position] + 0.5
        reach = displacement[at, position] * 2**level
        ends = np.stack([u - reach[:, 0], u + reach[:, 1]], axis=1)
        parts.append(Points(np.clip(ends, 0, t), at, score[at, position].astype(np.float64)))
    found = Points(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    best = np.argsort(-found.scores, kind="stable")[: how.pre_nms]
    names = found.labels if labels is None else labels[found.labels]
    return Points(found.segments[best].astype(np.float64), names[best], found.scores[best])


def join_points(parts: Sequence[Points], how: PointDecoding) -> Points:
    """The best of several, in order of score."""
    found = Points(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    best = np.argsort(-found.scores, kind="stable")[: how.pre_nms]
    return Points(*(column[best] for column in found))


def curves_of(scores: list[Float[Array, "k _"]], t: int) -> Float[Array, "k t"]:
    """The highest score that each snippet gets from any level, linear between positions."""
    best = np.zeros((len(scores[0]), t))
    for level, rows in enumerate(scores):
        positions = np.arange(0, t, 2**level)
        for curve, row in zip(best, rows, strict=True):
            np.maximum(curve, np.interp(np.arange(t), positions, row), out=curve)
    return best


def to_seconds(pieces: Sequence[tuple[SnippetGrid, Points]], names: Sequence[str]) -> Detections:
    """The segments of all pieces; a query's presence is the best score that it gets anywhere."""
    if not pieces:
        return Detections.empty(names)
    segments = np.concatenate([seconds(found.segments, grid) for grid, found in pieces])
    scores = np.concatenate([found.scores for _, found in pieces])
    labels = np.concatenate([found.labels for _, found in pieces]).astype(np.int64)
    presence = np.zeros(len(names))
    np.maximum.at(presence, labels, scores)
    found = Detections(segments, scores, labels, tuple(names), presence)
    return found[segments[:, 1] > segments[:, 0]]


def suppress(found: Detections, how: PointDecoding, *, per_label: bool) -> Detections:
    """NMS over the whole video."""
    if how.nms == "hard":
        return top(nms(found, tiou=how.nms_hard_tiou, per_label=per_label), how.max_out)
    return soft_nms_tensorflow(
        found,
        sigma=how.nms_sigma,
        hard_tiou=how.nms_hard_tiou or None,
        min_score=max(how.min_score, 1e-4),
        max_out=how.max_out,
        per_label=per_label,
    )
