"""Weights of torchvision's models that are on this machine already; nothing is downloaded.

They are a safetensors file, or what torchvision itself has downloaded before, a pickle that is
read without running any code of it.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from safetensors import SafetensorError

from openmoment.errors import MissingWeightsError

_SUFFIX = ".safetensors"


def downloads() -> Path:
    """Where torchvision's downloads go: the folder of `torch.hub`, found without torch."""
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    home = os.environ.get("TORCH_HOME", f"{cache}/torch")
    return Path(home).expanduser() / "hub" / "checkpoints"


@dataclass(frozen=True)
class TorchvisionWeights:
    """The weights of one model: ``given``, or torchvision's own download of that name."""

    name: str
    """Of the model, as users know it."""
    download: str
    given: Path | None = None
    otherwise: tuple[str, ...] = ()
    """What else there is to do without weights."""

    def missing(self) -> str | None:
        """What is wrong, and the cure, in one line; None where there is a file."""
        if self.given is None:
            path = downloads() / self.download
            if path.is_file():
                return None
            *first, last = (f"give {self.name}@FILE{_SUFFIX}", *self.otherwise)
            cures = ", ".join(["Fetch them with torchvision", *first])
            return f"{self.name}: no weights at {path}. {cures}, or {last}."
        if self.given.suffix != _SUFFIX:
            return f"{self.given}: expected a {_SUFFIX} file of the weights of {self.name}."
        return None if self.given.is_file() else f"{self.given}: no such file."

    def find(self) -> Path:
        """The file. Raises MissingWeightsError."""
        if problem := self.missing():
            raise MissingWeightsError(problem)
        return self.given or downloads() / self.download

    def sha256(self) -> str:
        """Of the file. Raises MissingWeightsError."""
        from openmoment.features.cache import Cache

        return Cache().sha256(self.find())

    def load(self, make: Any) -> Any:
        """The model that ``make`` (one of torchvision's functions) builds, ready to be asked.

        Raises MissingWeightsError.
        """
        import torch

        path = self.find()
        with torch.random.fork_rng(devices=[]):  # what is drawn is overwritten
            model = make(weights=None)
        try:
            model.load_state_dict(_read(path))
        except (OSError, RuntimeError, SafetensorError, UnpicklingError, ValueError) as error:
            problem = " ".join(str(error).split())[:200]
            raise MissingWeightsError(f"{path}: no weights of {self.name} ({problem}).") from error
        return model.eval().requires_grad_(False)


def _read(path: Path) -> dict[str, Any]:
    if path.suffix == _SUFFIX:
        from safetensors.torch import load_file

        return load_file(path)
    import torch

    return torch.load(path, map_location="cpu", weights_only=True)
