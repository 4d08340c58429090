"""The backbone of the made-up world: words as the default backbone reads them, and no video.

Features come from ``openmoment datasets synthesize`` (`datasets.made_up`) and lie in the space
of the words already, so that nothing is projected.
"""

from collections.abc import Sequence
from functools import cached_property
from hashlib import sha256
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray as Array

from openmoment.datasets.made_up.world import FPS
from openmoment.encoders.base import Progress
from openmoment.encoders.embedded.backbone import Embedded, SentenceSide
from openmoment.encoders.towers.projected import ProjectedSpace, Projections, unit
from openmoment.errors import FormatError, VideoError
from openmoment.types import Snippets

_PICTURE = (16, Embedded.dim // 16)  # height and width of a made-up picture
_LOGIT_SCALE = 100.0  # as CLIP's: made-up cosines are about as small as its


class SyntheticSpace(SentenceSide, ProjectedSpace):
    """The sentence encoder's space, in which made-up features lie."""

    def __init__(self) -> None:
        super().__init__(lambda: Projections(None, None, _LOGIT_SCALE))


class Synthetic:
    """For the made-up world alone, in which methods are tried out: it cannot see video."""

    name = "synthetic"
    note = "a made-up world. Its numbers say nothing of real video"
    fps = FPS
    takes_device = False
    dim = dim_in = Embedded.dim
    picture_side = None
    picture_batch = 64
    facts = Embedded.facts

    def __init__(self) -> None:
        self._words = Embedded()
        self.space = SyntheticSpace()

    @cached_property
    def fingerprint(self) -> str:
        return sha256(f"{self.name} {self._words.fingerprint} v1".encode()).hexdigest()[:16]

    @staticmethod
    def missing() -> str | None:
        """What keeps this backbone from running here, and the cure; None when it is ready."""
        problem = Embedded.missing()
        return f"{Synthetic.name}: {problem}" if problem else None

    def encode_video(
        self, path: Path, *, fps: float, source_sha256: str, progress: Progress | None = None
    ) -> Snippets:
        raise VideoError(
            f"{path}: the backbone {self.name} has made-up features only (openmoment datasets "
            "synthesize). Choose another backbone: openmoment models."
        )

    def draw(self, point: Float[Array, " d"]) -> UInt8[Array, "h w 3"]:
        """A made-up picture of a point of the space: its numbers as greys."""
        greys = 128 + 127 * point / np.abs(point).max()
        return np.repeat(np.round(greys).astype(np.uint8).reshape(*_PICTURE, 1), 3, axis=2)

    def encode_pictures(self, pictures: list[UInt8[Array, "h w 3"]]) -> Float[Array, "b d"]:
        """The points of made-up pictures, of length one. Raises FormatError for any other."""
        for picture in pictures:
            if picture.shape != (*_PICTURE, 3):
                raise FormatError(
                    f"The backbone {self.name} sees made-up pictures of {_PICTURE[1]} x "
                    f"{_PICTURE[0]} alone, got {picture.shape[1]} x {picture.shape[0]}."
                )
        rows = np.stack([picture[:, :, 0].ravel() for picture in pictures]).astype(np.float32)
        return unit(rows - 128).astype(np.float32)

    @property
    def bank(self) -> Float[Array, "m d"]:
        return self._words.bank

    def encode_text(
        self, names: Sequence[str], *, templates: Sequence[str] | None = None
    ) -> Float[Array, "k d"]:
        return self._words.encode_text(names, templates=templates)
