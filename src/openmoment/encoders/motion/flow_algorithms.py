"""Optical flow between two pictures: OpenCV's DIS, which has no weights, or torchvision's RAFT.

DIS: Kroeger et al., "Fast Optical Flow using Dense Inverse Search", ECCV 2016. RAFT: Teed and
Deng, "RAFT: Recurrent All-Pairs Field Transforms for Optical Flow", ECCV 2020.

Axes: h height, w width; a vector is (right, down), in pixels.
"""

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray as Array

from openmoment.encoders.weights.torchvision_weights import TorchvisionWeights
from openmoment.errors import UnknownNameError
from openmoment.extras import require

if TYPE_CHECKING:
    from torch import Tensor

DEFAULT = "dis"
_PRESETS = {"dis": "medium", "dis-fast": "fast", "dis-ultrafast": "ultrafast"}
_HUB_FILES = {
    "raft": "raft_large_C_T_SKHT_V2-ff5fadd5.pth",
    "raft-small": "raft_small_C_T_V2-01064c6d.pth",
}
"""Of torchvision's own checkpoints, as its downloads are named."""
NAMES = (*_PRESETS, *_HUB_FILES)
_UPDATES = 12  # as torchvision's RAFT does by default
_MULTIPLE = 8  # of the sides that RAFT takes


@runtime_checkable
class Flow(Protocol):
    """A way to see where everything went."""

    name: str

    def recipe(self) -> str:
        """All that decides its numbers."""
        ...

    def between(
        self, first: UInt8[Array, "h w 3"], second: UInt8[Array, "h w 3"]
    ) -> Float[Array, "h w 2"]:
        """How far each pixel of ``first`` has moved in ``second``."""
        ...


def load_flow(name: str = DEFAULT, *, device: str = "cpu") -> Flow:
    """The flow of that name: `NAMES`, or ``raft@FILE.safetensors``. Loads nothing yet.

    Raises UnknownNameError.
    """
    plain, _, path = name.partition("@")
    if plain in _HUB_FILES:
        return Raft(plain, Path(path).expanduser() if path else None, device=device)
    if name in _PRESETS:
        return Dis(name)
    raise UnknownNameError("flow", name, list(NAMES))


class Dis:
    """Dense inverse search, on grey pictures. Needs OpenCV."""

    def __init__(self, name: str = DEFAULT) -> None:
        self.name = name

    def recipe(self) -> str:
        return f"dis {_PRESETS[self.name]}"

    def between(
        self, first: UInt8[Array, "h w 3"], second: UInt8[Array, "h w 3"]
    ) -> Float[Array, "h w 2"]:
        cv2, search = self._made
        grey = [cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY) for rgb in (first, second)]
        return search.calc(*grey, None)

    @cached_property
    def _made(self) -> tuple[Any, Any]:
        cv2 = require("cv2", extra="flow")
        preset = getattr(cv2, f"DISOPTICAL_FLOW_PRESET_{_PRESETS[self.name].upper()}")
        return cv2, cv2.DISOpticalFlow_create(preset)


class Raft:
    """RAFT through torchvision, large or small; its weights are never downloaded.

    They are the ``path``, a safetensors file, or what torchvision itself has downloaded before,
    read without running any code of the file.
    """

    def __init__(
        self, name: str = "raft", path: Path | None = None, *, device: str = "cpu"
    ) -> None:
        self.name, self.device = name, device
        cure = (f"use {DEFAULT}, which needs none",)
        self._weights = TorchvisionWeights(name, _HUB_FILES[name], path, cure)

    def recipe(self) -> str:
        return f"{self.name} {self._weights.sha256()} {_UPDATES}"

    def between(
        self, first: UInt8[Array, "h w 3"], second: UInt8[Array, "h w 3"]
    ) -> Float[Array, "h w 2"]:
        import torch

        height, width = first.shape[:2]
        with torch.inference_mode():
            pair = [self._prepared(picture) for picture in (first, second)]
            flow = self._model(*pair, num_flow_updates=_UPDATES)[-1][0, :, :height, :width]
        return flow.permute(1, 2, 0).cpu().numpy()

    def _prepared(self, picture: UInt8[Array, "h w 3"]) -> "Tensor":
        """Between -1 and 1, its last row and column repeated up to a side that RAFT takes."""
        import torch

        padding = [(0, -side % _MULTIPLE) for side in picture.shape[:2]]
        padded = np.pad(picture, [*padding, (0, 0)], mode="edge")
        pixels = torch.from_numpy(padded).to(self.device).permute(2, 0, 1)[None]
        return pixels.float() / 127.5 - 1

    @cached_property
    def _model(self) -> Any:
        from openmoment.encoders.weights.torchvision_ops import declare_missing

        declare_missing()
        models = require("torchvision.models.optical_flow", extra="raft")
        make = models.raft_small if self.name == "raft-small" else models.raft_large
        return self._weights.load(make).to(self.device)
