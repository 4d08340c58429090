"""What the processes of a run have to agree on while a loss is computed."""

import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor


def mean_over_processes(value: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """The mean over all processes, of what has no gradient; a single one has its own.

    A sum divided by the mean count over processes is, averaged over them, what a single process
    would have of the whole batch.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return value
    total = value.detach().clone()
    dist.all_reduce(total)
    return total / dist.get_world_size()
