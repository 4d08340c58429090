"""The backbone of the made-up world: words as the default backbone reads them, and no video.

Features come from ``openmoment datasets synthesize`` (datasets/synthetic.py) and lie in the space
of the words already, so that nothing is projected.
"""

from collections.abc import Sequence
from functools import cached_property
from hashlib import sha256
from pathlib import Path

from jaxtyping import Float
from numpy import ndarray as Array

from openmoment.datasets.synthetic import FPS
from openmoment.encoders.base import Progress
from openmoment.encoders.embedded import Embedded, SentenceSide
from openmoment.encoders.projected import ProjectedSpace, Projections
from openmoment.errors import VideoError
from openmoment.types import Snippets

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

    def encode_text(
        self, names: Sequence[str], *, templates: Sequence[str] | None = None
    ) -> Float[Array, "k d"]:
        return self._words.encode_text(names, templates=templates)
