"""What a method uses of an encoder's towers: the encoder's own, or a copy that learns."""

import copy
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from openmoment.encoders.base import HasImageTower
from openmoment.encoders.towers.image_tower import ImageTower
from openmoment.encoders.towers.text_tower import Shared, TextTower
from openmoment.errors import ConfigError

M = TypeVar("M", bound=nn.Module)


def learning_copy(own: M) -> M:
    """The same in full precision, with weights that learn; the encoder keeps its own."""
    copied = copy.deepcopy(own).to(torch.get_default_device(), torch.float32)
    return copied.requires_grad_(True)


def learning_image_tower(space: Any, *, checkpointing: bool = False) -> ImageTower:
    """A copy of the space's image tower that learns.

    ``checkpointing``: see `ImageTower`. Raises ConfigError for a backbone without one.
    """
    if not isinstance(space, HasImageTower):
        raise ConfigError(
            "tune_image=true needs a backbone whose image tower can be tuned: one of open_clip."
        )
    tower = learning_copy(space.image_tower())
    tower.checkpointing = checkpointing
    return tower


class ReadsTexts(nn.Module):
    """A module that reads through a text tower of an encoder's.

    With ``finetune`` a copy of it learns, `tower`; without, no part of the tower is among the
    parameters or in the state.
    """

    tower: TextTower | None
    """The copy that learns; None where the encoder's own reads the texts."""
    _here: Tensor

    def __init__(self, own: TextTower, *, finetune: bool) -> None:
        super().__init__()
        self.register_buffer("_here", torch.empty(0), persistent=False)  # moves with the module
        self._lent = Shared({_device_of(own): own})
        self.tower = learning_copy(own) if finetune else None

    def _reader(self) -> TextTower:
        """What learns; or the encoder's, or a copy of that on the device of this module."""
        if self.tower is not None:
            return self.tower
        towers, device = self._lent.value, self._here.device
        if device not in towers:
            with torch.inference_mode(False):  # what is made in it can never learn
                towers[device] = copy.deepcopy(next(iter(towers.values()))).to(device)
        return towers[device]


def _device_of(module: nn.Module) -> torch.device:
    return next(module.parameters()).device
