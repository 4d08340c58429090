"""What BMN is taught, and by which losses: of starts and ends, and of the map of proposals.

Lin et al., ICCV 2019, section 3.3, as in the released code. Each loss is that of the whole batch,
whichever process has which piece. Axes: b pieces, t snippets, d durations, n instances.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import logsigmoid

from openmoment.blocks.batch import Instances
from openmoment.blocks.boundary_matching import BmnOutput, in_map
from openmoment.blocks.processes import mean_over_processes

_IS_BOUNDARY = 0.5  # share of a snippet in the stretch around a boundary, above which it is one
_IS_PROPOSAL = 0.9  # tIoU above which a proposal is one
_HIGH, _LOW = 0.7, 0.3  # tIoUs that divide what the regression is taught


class BmnTargets(NamedTuple):
    """Of each piece."""

    start: Float[Tensor, "b t"]
    end: Float[Tensor, "b t"]
    overlap: Float[Tensor, "b d t"]
    """The highest tIoU of each proposal with an instance; 0 for what is no proposal."""


class BmnLosses(NamedTuple):
    """Unweighted."""

    boundary: Float[Tensor, ""]
    classification: Float[Tensor, ""]
    regression: Float[Tensor, ""]


def bmn_targets(
    instances: Sequence[Instances],
    t: int,
    num_durations: int,
    *,
    cells: float = 3.0,
    is_cut: bool = False,
) -> BmnTargets:
    """From instances in snippets. ``cells`` is the length of the stretch around a boundary.

    With ``is_cut`` an end of an instance at the very end of a piece is where the piece was cut:
    that is no boundary, and the instance is no proposal of this piece.
    """
    rows = [_targets(i.positions, t, num_durations, cells, is_cut) for i in instances]
    return BmnTargets(*(torch.stack(column) for column in zip(*rows, strict=True)))


def _targets(
    positions: Float[Tensor, "n 2"], t: int, num_durations: int, cells: float, is_cut: bool
) -> tuple[Tensor, Tensor, Tensor]:
    starts, ends = positions.unbind(dim=1)
    whole = positions
    if is_cut:
        whole = positions[(starts > 0) & (ends < t)]
        starts, ends = starts[starts > 0], ends[ends < t]
    return (
        boundary_overlap(starts, t, cells),
        boundary_overlap(ends, t, cells),
        map_overlap(whole, t, num_durations),
    )


def boundary_overlap(at: Float[Tensor, " n"], t: int, cells: float = 3.0) -> Float[Tensor, " t"]:
    """The share of each snippet that lies within ``cells / 2`` of a boundary: of the nearest."""
    first = torch.arange(t, device=at.device)
    low = torch.maximum(first, at[:, None] - cells / 2)
    high = torch.minimum(first + 1, at[:, None] + cells / 2)
    return _highest((high - low).clamp(min=0), (t,))


def map_overlap(segments: Float[Tensor, "n 2"], t: int, num_durations: int) -> Float[Tensor, "d t"]:
    """The highest tIoU of each proposal with any segment; 0 for what is no proposal."""
    first = torch.arange(t, device=segments.device)
    last = first + torch.arange(1, num_durations + 1, device=segments.device)[:, None]  # d t
    starts, ends = (part[:, None, None] for part in segments.unbind(dim=1))
    shared = (torch.minimum(last, ends) - torch.maximum(first, starts)).clamp(min=0)
    tiou = shared / ((last - first) + (ends - starts) - shared)
    return _highest(tiou, last.shape) * in_map(t, num_durations).to(segments.device)


def _highest(rows: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Over the instances; 0 without any."""
    return torch.cat([rows, rows.new_zeros(1, *shape)]).amax(dim=0)


def bmn_losses(out: BmnOutput, targets: BmnTargets) -> BmnLosses:
    """``L_TEM`` and both parts of ``L_PEM`` (eq. 3 to 5)."""
    everywhere = torch.ones_like(targets.start, dtype=torch.bool)
    start, end = (
        _balanced_bce(logits, target > _IS_BOUNDARY, everywhere)
        for logits, target in ((out.start, targets.start), (out.end, targets.end))
    )
    overlap = targets.overlap
    num_durations, t = overlap.shape[1:]
    valid = in_map(t, num_durations).to(overlap.device).expand_as(overlap)
    classification = _balanced_bce(out.classification, overlap > _IS_PROPOSAL, valid)
    regression = _regression(out.regression.sigmoid(), overlap)
    return BmnLosses(start + end, classification, regression)


def _balanced_bce(
    logits: Float[Tensor, "*shape"], positive: Bool[Tensor, "*shape"], valid: Bool[Tensor, "*shape"]
) -> Float[Tensor, ""]:
    """Binary cross-entropy of a batch in which positives weigh as much as negatives.

    The released weights, ``0.5 r`` for positives and ``0.5 r / (r - 1)`` for the others with ``r``
    the number of entries to a positive, over the number of entries, are half the mean over the
    positives and half that over the others. Without any of a kind that half is 0.
    """
    negative = valid & ~positive
    hits = logsigmoid(logits[positive]).sum() / _count(positive)
    rejections = logsigmoid(-logits[negative]).sum() / _count(negative)
    return -0.5 * (hits + rejections)


def _regression(
    found: Float[Tensor, "b d t"], overlap: Float[Tensor, "b d t"]
) -> Float[Tensor, ""]:
    """Half the mean squared error, of all proposals of a high tIoU and about as many of lower ones.

    Which of these is chance: each is taken with the probability that makes the numbers equal.
    Those that overlap nothing are not taught.
    """
    high = overlap > _HIGH
    middle = (overlap <= _HIGH) & (overlap > _LOW)
    low = (overlap <= _LOW) & (overlap > 0)
    drawn = high
    for group in (middle, low):
        share = _count(high, least=0.0) / _count(group)
        drawn = drawn | (group & (torch.rand_like(overlap) < share))
    return 0.5 * (found - overlap)[drawn].square().sum() / _count(drawn)


def _count(chosen: Bool[Tensor, "*shape"], *, least: float = 1.0) -> Float[Tensor, ""]:
    """How many, as a mean over the processes."""
    return mean_over_processes(chosen.sum().float()).clamp(min=least)
