"""What is shown, where nobody asks for ends: a clip's classes, or each frame's one class or none.

As UnLoc begins (section 4.1.2) and segments actions (3.5, 4.1.1). Axes: b pieces, t snippets,
k classes.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray as Array
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from openmoment.blocks.batch import Instances
from openmoment.blocks.points import Points
from openmoment.blocks.processes import mean_over_processes
from openmoment.postprocess import label_by_curves, runs


def clip_loss(logits: Float[Tensor, "b k"], instances: list[Instances]) -> Float[Tensor, ""]:
    """Sigmoid cross-entropy of what each clip shows, summed over classes."""
    targets = torch.zeros_like(logits)
    for row, clip in zip(targets, instances, strict=True):
        row[clip.labels] = 1.0
    return binary_cross_entropy_with_logits(logits, targets, reduction="none").sum(dim=1).mean()


def frame_loss(
    logits: Float[Tensor, "b k t"], instances: list[Instances], valid: Bool[Tensor, "b t"] | None
) -> Float[Tensor, ""]:
    """Sigmoid cross-entropy of each frame's one class, summed over classes; background is none."""
    targets = torch.stack([_frame_targets(i, logits.shape[1]) for i in instances]).to(logits)
    terms = binary_cross_entropy_with_logits(logits, targets, reduction="none").sum(dim=1)
    kept = terms if valid is None else terms[valid]
    num = mean_over_processes(kept.new_tensor(float(kept.numel())))
    return kept.sum() / num


def _frame_targets(instances: Instances, k: int) -> Float[Tensor, "k t"]:
    """One at each frame's class: of several that of the instance that began last."""
    found = torch.zeros(k, instances.masks.shape[1], device=instances.masks.device)
    for i in torch.argsort(instances.positions[:, 0], stable=True).tolist():
        mask = instances.masks[i]
        found[:, mask] = 0.0
        found[instances.labels[i], mask] = 1.0
    return found


def label_runs(curve: Float[Array, "k t"]) -> Points:
    """The runs of snippets whose best class is above one half."""
    best, _ = label_by_curves(curve)
    found = [
        (run, label, curve[label, run[0] : run[1]].mean())
        for label in np.unique(best[best >= 0]).tolist()
        for run in runs(best == label)
    ]
    if not found:
        return Points(np.zeros((0, 2)), np.zeros(0, dtype=np.int64), np.zeros(0))
    segments, labels, scores = zip(*found, strict=True)
    return Points(np.array(segments, dtype=np.float64), np.array(labels), np.array(scores))
