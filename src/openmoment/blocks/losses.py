"""Losses that several methods share. Each is a mean over the pieces of a batch.

So a batch that several processes share has the same loss, whoever has which piece.
Axes: b pieces, t positions (snippets, or snippets times snippets), k classes.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

_FLOOR = 1e-6
_ALPHA, _GAMMA = 0.25, 2.0  # of the focal loss


def class_cross_entropy(
    logits: Float[Tensor, "b k t"], targets: Float[Tensor, "b k t"]
) -> Float[Tensor, ""]:
    """Over the classes of each snippet, the mean over all snippets; targets may share the one.

    From logits: a softmax that is sure and wrong still has a gradient.
    """
    return -(targets * logits.log_softmax(dim=1)).sum(dim=1).mean()


def balanced_bce(mask: Float[Tensor, "*b t"], target: Float[Tensor, "*b t"]) -> Float[Tensor, "*b"]:
    """Binary cross-entropy in which positives weigh as much as negatives.

    Minus the mean log of the mask over the positives, minus the mean log of its rest over the
    negatives; without any of a kind, that term is 0 (ConTrans eq. 4.2, STALE eq. 10, corrected).
    """
    positives = (target * _log(mask)).sum(dim=-1) / target.sum(dim=-1).clamp(min=1)
    rest = 1 - target
    negatives = (rest * _log(1 - mask)).sum(dim=-1) / rest.sum(dim=-1).clamp(min=1)
    return -positives - negatives


def bce(mask: Float[Tensor, "*b t"], target: Float[Tensor, "*b t"]) -> Float[Tensor, "*b"]:
    """Binary cross-entropy, the mean over positions."""
    return -(target * _log(mask) + (1 - target) * _log(1 - mask)).mean(dim=-1)


def dice(
    mask: Float[Tensor, "*b t"], target: Float[Tensor, "*b t"], *, factor: float = 2.0
) -> Float[Tensor, "*b"]:
    """``1 - (factor m.g + 1) / (m.m + g.g + 1)``; factor 1 is as the papers print it."""
    shared = factor * (mask * target).sum(dim=-1) + 1
    return 1 - shared / (mask.square().sum(dim=-1) + target.square().sum(dim=-1) + 1)


def focal(
    logits: Float[Tensor, "*shape"], targets: Float[Tensor, "*shape"]
) -> Float[Tensor, "*shape"]:
    """The focal loss of each (Lin et al., ICCV 2017, eq. 5), with alpha 0.25 and gamma 2."""
    p = logits.sigmoid()
    right = p * targets + (1 - p) * (1 - targets)
    weight = _ALPHA * targets + (1 - _ALPHA) * (1 - targets)
    bce = binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return weight * (1 - right) ** _GAMMA * bce


def _log(values: Tensor) -> Tensor:
    return torch.log(values.clamp(min=_FLOOR))
