"""Some of a batch's classes, where a step cannot see all. Axes: k classes, c of them chosen."""

import torch
from jaxtyping import Int
from torch import Tensor

from openmoment.blocks.batch import Batch, Instances


def all_classes(batch: Batch) -> Int[Tensor, " k"]:
    return torch.arange(len(batch.names), device=batch.features.device)


def some_classes(batch: Batch, num_others: int) -> Int[Tensor, " c"]:
    """Those that occur, and so many others at random; sorted."""
    device = batch.features.device
    occurs = torch.zeros(len(batch.names), dtype=torch.bool, device=device)
    for instances in batch.instances:
        occurs[instances.labels] = True
    others = (~occurs).nonzero().squeeze(1)
    drawn = others[torch.randperm(len(others))[:num_others].to(device)]
    return torch.cat([occurs.nonzero().squeeze(1), drawn]).sort().values


def among(instances: Instances, chosen: Int[Tensor, " c"]) -> Instances:
    """With labels into the chosen classes, which are sorted and hold all of them."""
    return instances._replace(labels=torch.searchsorted(chosen, instances.labels))
