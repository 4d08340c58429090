"""What a snippet's confidence can be taught, from the instances of a batch.

Axes: b pieces, t snippets, m masks of a piece (one for all its snippets, or one for each).
"""

import torch
from jaxtyping import Float
from torch import Tensor

from openmoment.blocks.batch import Batch, Instances
from openmoment.postprocess import paired_tiou, runs


def centreness(batch: Batch) -> Float[Tensor, "b t"]:
    """How near each snippet is to the middle of its instance: 1 there, 0 outside of all.

    ``sqrt(min(l, r) / max(l, r))`` of the distances to both ends (FCOS, eq. 3).
    """
    rows = [_centreness(i, batch.features.shape[1]) for i in batch.instances]
    return torch.stack(rows).to(batch.features)


def _centreness(instances: Instances, t: int) -> Float[Tensor, " t"]:
    centres = torch.arange(t, device=instances.positions.device) + 0.5
    left = (centres - instances.positions[:, :1]).clamp(min=0)
    right = (instances.positions[:, 1:] - centres).clamp(min=0)
    near = torch.minimum(left, right) / torch.maximum(left, right).clamp(min=1e-6)
    padded = torch.cat([near.sqrt() * instances.masks, near.new_zeros(1, t)])
    return padded.amax(dim=0)


def run_overlap(batch: Batch, masks: Float[Tensor, "b m t"]) -> Float[Tensor, "b t"]:
    """The tIoU of the run of mask above one half around each snippet with the snippet's instance.

    0 where the snippet is in no run or no instance. No gradient.
    """
    found = torch.zeros(batch.features.shape[:2])
    for row, known, mask in zip(found, batch.instances, masks.cpu(), strict=True):
        instances = Instances(*(part.cpu() for part in known))
        for i, part in enumerate(mask):
            inside = torch.ones(len(row), dtype=torch.bool)
            if len(mask) > 1:  # each snippet's own mask answers for it alone
                inside = torch.arange(len(row)) == i
            _add_overlaps(row, instances, part > 0.5, inside)
    return found.to(batch.features)


def _add_overlaps(row: Tensor, instances: Instances, above: Tensor, inside: Tensor) -> None:
    for run in runs(above.numpy()):
        for mask, position in zip(instances.masks, instances.positions.numpy(), strict=True):
            tiou = float(paired_tiou(run.astype(float), position.astype(float)))
            shared = mask & inside
            shared[: run[0]] = False
            shared[run[1] :] = False
            row[shared] = row[shared].clamp(min=tiou)
