"""What an encoder owes: snippets from a video and embeddings from words, in one space.

Axes: t snippets, k texts, d joint width, d_in width of the stored features.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from numpy import ndarray as Array

from openmoment.types import Snippets

Progress = Callable[[float, float], None]
"""Called with (seconds of video done, seconds in all) while a video is encoded."""


class Space(Protocol):
    """How features and text embeddings are compared. NumPy alone: a cached question needs no more."""

    def logits(
        self, features: Float[Array, "t d_in"], embeddings: Float[Array, "k d"]
    ) -> Float[Array, "k t"]:
        """How well each snippet fits each text; a softmax over texts makes probabilities."""
        ...


@runtime_checkable
class Encoder(Protocol):
    """One vision and language backbone. Making one is cheap: weights load when first needed."""

    name: str
    fps: float
    """Snippets per second of video, unless the caller asks for another rate."""
    dim_in: int
    dim: int
    space: Space

    @property
    def fingerprint(self) -> str:
        """Changes whenever the same video or text would give other numbers."""
        ...

    def encode_video(
        self, path: Path, *, fps: float, source_sha256: str, progress: Progress | None = None
    ) -> Snippets:
        """Decode and encode a video in constant memory. Raises VideoError."""
        ...

    def encode_text(
        self, names: Sequence[str], *, templates: Sequence[str] | None = None
    ) -> Float[Array, "k d"]:
        """One embedding for each name, averaged over ``templates`` (default: the encoder's own)."""
        ...
