"""What encoders of two projected towers share, whichever library runs the towers.

A file of safetensors weights, a device and a precision, a fingerprint of all that decides a
number, and videos encoded before the visual projection.
"""

import re
from functools import cached_property
from hashlib import sha256
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray as Array

from openmoment.encoders.base import Progress
from openmoment.encoders.frames import encode_file
from openmoment.encoders.towers.projected import ProjectedSpace
from openmoment.errors import ConfigError
from openmoment.types import Recipe, Snippets

TEMPLATES = ("a video of action {}",)
"""The prompt of T3AL and of the naive baselines."""
PRECISIONS = ("fp32", "bf16", "fp16")
_MANY_LANGUAGES = re.compile(r"siglip-?2|multilingual|xlm|nllb", re.IGNORECASE)
_VERSION = "v1"  # of this way from frames to features; part of every fingerprint


def check_precision(precision: str) -> None:
    """Raises ConfigError for one that is not of `PRECISIONS`."""
    if precision not in PRECISIONS:
        raise ConfigError(f"precision: expected one of {', '.join(PRECISIONS)}, got {precision!r}.")


class TwoTower:
    """A vision and language model on any device that torch knows.

    Raises ConfigError for an unknown precision.
    """

    name: str
    note = "a model trained on pictures and captions"
    fps = 4.0
    takes_device = True
    picture_side = None
    picture_batch = 16
    templates: tuple[str, ...] = TEMPLATES
    """Sentences that words are put into, unless the caller says otherwise."""
    space: ProjectedSpace

    @property
    def reads_english_alone(self) -> bool:
        """Not so where the name says that it was trained on captions of many languages."""
        return not _MANY_LANGUAGES.search(self.name)

    def __init__(self, *, device: str, precision: str) -> None:
        check_precision(precision)
        self.device, self.precision = device, precision

    @property
    def kind(self) -> str:
        """What the weights are weights of."""
        raise NotImplementedError

    @property
    def variant(self) -> str:
        """What else decides a number, where it is not as for OpenAI's models."""
        return ""

    @cached_property
    def path(self) -> Path:
        """The weights file. Raises MissingWeightsError."""
        raise NotImplementedError

    def encode_pictures(self, pictures: list[UInt8[Array, "h w 3"]]) -> Float[Array, "b d_in"]:
        """Features before the visual projection, of pictures of one size."""
        raise NotImplementedError

    @property
    def fingerprint(self) -> str:
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        from openmoment.features.cache import Cache

        digest = Cache().sha256(self.path)
        recipe = f"{self.kind} {digest} {self.precision} {self.templates} {_VERSION}{self.variant}"
        return sha256(recipe.encode()).hexdigest()[:16]

    @property
    def dim_in(self) -> int:
        video = self.space.projections.video
        return self._width if video is None else len(video)

    @cached_property
    def _width(self) -> int:
        return self.encode_pictures([np.zeros((8, 8, 3), dtype=np.uint8)]).shape[1]

    def encode_video(
        self, path: Path, *, fps: float, source_sha256: str, progress: Progress | None = None
    ) -> Snippets:
        recipe = Recipe(self.name, self.fingerprint, fps, source_sha256)
        batch = self.picture_batch
        return encode_file(path, self.encode_pictures, recipe, batch=batch, progress=progress)
