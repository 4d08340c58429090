"""From maps to proposals, and from classified proposals to detections. NumPy.

A proposal is a stretch where something may happen, of whatever class. Axes: t snippets, d
durations, n proposals, k classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray as Array

from openmoment.blocks.time_axis import positions
from openmoment.postprocess import soft_nms, soft_nms_bmn, top
from openmoment.types import Detections, Proposals, SnippetGrid

Source = Literal["bmn", "file", "gt"]


@dataclass(frozen=True)
class ProposalDecoding:
    """How proposals are chosen and become detections. The defaults are for THUMOS14.

    Raises ValueError.
    """

    proposals: Source = "bmn"  # its own; those given with the snippets; the true segments: oracle
    boundaries: Literal["peaks", "all"] = "peaks"  # where proposals may start and end
    pre_nms: int = 1000  # the best proposals of a piece that are looked at
    proposal_nms: Literal["bmn", "gaussian", "none"] = "bmn"  # the forms of Soft-NMS; of its own
    nms_sigma: float = 0.4  # of exp(-tIoU^2 / sigma); BMN calls it alpha
    nms_low: float = 0.5  # bmn: the tIoU above which the others decay, for a short proposal ...
    nms_high: float = 0.9  # ... and for one as long as a piece
    max_proposals: int = 200  # that are classified
    topk_classes: int = 1  # the best classes of each proposal
    label_nms: Literal["none", "gaussian"] = "none"  # Soft-NMS of each class's detections
    label_nms_sigma: float = 0.3
    max_out: int = 200
    min_score: float = 0.3  # weaker moments are not reported; 0 ranks all

    def __post_init__(self) -> None:
        for name in ("pre_nms", "max_proposals", "topk_classes", "max_out"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, got {getattr(self, name)}")
        if self.nms_sigma <= 0 or self.label_nms_sigma <= 0:
            raise ValueError("nms_sigma and label_nms_sigma must be positive")
        if not 0 <= self.nms_low <= self.nms_high <= 1:
            raise ValueError("expected 0 <= nms_low <= nms_high <= 1")


# from maps ---------------------------------------------------------------------------------


def peaks(scores: Float[Array, " t"]) -> Bool[Array, " t"]:
    """Snippets above both neighbours, or above half of the highest (BSN, section 3.3)."""
    inner = scores[1:-1]
    is_peak = np.zeros(len(scores), dtype=bool)
    is_peak[1:-1] = (inner > scores[:-2]) & (inner > scores[2:])
    return is_peak | (scores > 0.5 * scores.max())


def propose(
    start: Float[Array, " t"],
    end: Float[Array, " t"],
    quality: Float[Array, "d t"],
    how: ProposalDecoding,
) -> Proposals:
    """The best stretches of one piece, in snippets, best first; all scores are in [0, 1].

    A start ``i`` and an end ``j`` propose ``[i, j + 1]``, with the product of both boundaries'
    scores and the ``quality`` of cell ``(j - i, i)``. The first snippet may always be a start,
    the last always an end.
    """
    num_durations, t = quality.shape
    may_start = np.ones(t, dtype=bool) if how.boundaries == "all" else peaks(start)
    may_end = np.ones(t, dtype=bool) if how.boundaries == "all" else peaks(end)
    may_start[0] = may_end[-1] = True
    i, j = np.nonzero(may_start[:, None] & may_end)
    is_cell = (j >= i) & (j - i < num_durations)
    i, j = i[is_cell], j[is_cell]
    scores = start[i] * end[j] * quality[j - i, i]
    best = np.argsort(-scores, kind="stable")[: how.pre_nms]
    segments = np.stack([i, j + 1], axis=1).astype(np.float64)
    return Proposals(segments[best], scores[best].astype(np.float64))


def suppress(found: Detections, how: ProposalDecoding, *, piece_s: float) -> Detections:
    """The best proposals of a video, labels ignored. ``piece_s`` is what BMN calls a width of 1."""
    match how.proposal_nms:
        case "none":
            return top(found, how.max_proposals)
        case "gaussian":
            return soft_nms(
                found,
                sigma=how.nms_sigma,
                min_score=0.0,
                max_out=how.max_proposals,
                per_label=False,
            )
        case _:
            return soft_nms_bmn(
                found,
                duration_s=piece_s,
                alpha=how.nms_sigma,
                t1=how.nms_low,
                t2=how.nms_high,
                min_score=0.0,
                max_out=how.max_proposals,
                per_label=False,
            )


# given ones --------------------------------------------------------------------------------


def best_given(given: Proposals, num: int) -> Proposals:
    """So many of those that were given, best first; a stretch that is there twice counts once."""
    order = np.argsort(-given.scores, kind="stable")
    _, first = np.unique(given.segments[order], axis=0, return_index=True)
    chosen = order[np.sort(first)][:num]
    return Proposals(given.segments[chosen], given.scores[chosen])


def share_out(given: Proposals, grids: Sequence[SnippetGrid]) -> list[Proposals]:
    """Each proposal, in seconds, to the piece that shows most of it, in that piece's snippets."""
    edges = np.array([[grid.start_s, grid.end_s] for grid in grids])
    start_s, end_s = given.segments[:, :1], given.segments[:, 1:]
    shown_s = np.minimum(end_s, edges[:, 1]) - np.maximum(start_s, edges[:, 0])  # n pieces
    home = shown_s.argmax(axis=1)
    return [
        Proposals(positions(given.segments[home == i], grid), given.scores[home == i])
        for i, grid in enumerate(grids)
    ]


# to detections -----------------------------------------------------------------------------


def to_labelled(
    found: Detections,
    probabilities: Float[Array, "n k"],
    names: Sequence[str],
    how: ProposalDecoding,
) -> Detections:
    """Proposals under their best classes, each score times the class's probability.

    A query's presence is the best score that it gets anywhere.
    """
    scores = found.scores[:, None] * probabilities
    presence = scores.max(axis=0, initial=0.0)
    chosen = np.argsort(-scores, axis=1, kind="stable")[:, : how.topk_classes]
    rows = np.repeat(np.arange(len(found)), chosen.shape[1])
    labels: Int[Array, " m"] = chosen.ravel()
    made = Detections(found.segments[rows], scores[rows, labels], labels, tuple(names), presence)
    if how.label_nms == "gaussian":
        made = soft_nms(made, sigma=how.label_nms_sigma, min_score=0.0, max_out=how.max_out)
    made = top(made, how.max_out)
    return made[made.scores >= how.min_score]


def actionness(found: Proposals, t: int) -> Float[Array, " t"]:
    """The highest score of a proposal at each snippet's centre, 0 where there is none."""
    centres = np.arange(t) + 0.5
    inside = (found.segments[:, :1] <= centres) & (centres < found.segments[:, 1:])
    return np.where(inside, found.scores[:, None], 0.0).max(axis=0, initial=0.0)
