"""Who computes: one process in full precision by torch alone, or `accelerate`.

`accelerate` is imported where torchrun, or what sets the same variables, started several processes,
or another precision is asked for.
"""

import os
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from openmoment.errors import ConfigError
from openmoment.extras import require


@runtime_checkable
class Processes(Protocol):
    """What the training loop asks for: a part of `accelerate.Accelerator`."""

    process_index: int
    num_processes: int
    is_main_process: bool
    device: torch.device

    def prepare(self, *parts: Any) -> Any:
        """The module and the optimizer, for this device and for all processes."""
        ...

    def backward(self, loss: Tensor) -> None: ...

    def clip_grad_norm_(self, parameters: list[nn.Parameter], max_norm: float) -> Tensor:
        """The norm that the gradient had."""
        ...

    def reduce(self, tensor: Tensor, reduction: str = "mean") -> Tensor: ...

    def wait_for_everyone(self) -> None: ...


class OneProcess:
    """The same for this process alone, in full precision."""

    process_index = 0
    num_processes = 1
    is_main_process = True

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def prepare(self, *parts: Any) -> Any:
        return parts

    def backward(self, loss: Tensor) -> None:
        loss.backward()

    def clip_grad_norm_(self, parameters: list[nn.Parameter], max_norm: float) -> Tensor:
        return nn.utils.clip_grad_norm_(parameters, max_norm)

    def reduce(self, tensor: Tensor, reduction: str = "mean") -> Tensor:
        return tensor

    def wait_for_everyone(self) -> None:
        return


def is_one_of_several() -> bool:
    """Whether torchrun started several of this process."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def start_processes(device: str = "cpu", precision: str = "fp32") -> Processes:
    """All processes of this run, once they have found each other.

    Raises ConfigError for a device that is not there or has no such precision, and
    MissingExtraError.
    """
    place = find_device(device)
    if precision == "fp16" and place.type == "cpu":
        raise ConfigError("precision=fp16 needs a GPU: --device cuda. The processor has bf16.")
    if not is_one_of_several() and precision == "fp32":
        return OneProcess(place)
    accelerate = require("accelerate", extra="train")
    if place.index is not None:
        torch.cuda.set_device(place)
    # a method may have parameters that some batch does not reach
    unused = accelerate.DistributedDataParallelKwargs(find_unused_parameters=True)
    return accelerate.Accelerator(
        cpu=place.type == "cpu",
        mixed_precision="no" if precision == "fp32" else precision,
        kwargs_handlers=[unused],
    )


def find_device(name: str) -> torch.device:
    """The device of that name. Raises ConfigError when it is not there."""
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = " ".join(str(error).split("\n")[0].split())
        raise ConfigError(f"--device {name}: not a device of this machine ({reason})") from None
    return device
