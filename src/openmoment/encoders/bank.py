"""The bank: fixed everyday texts that every question is asked beside.

By them an answer means the same whatever else is asked (`methods.standing`). A backbone may bring
its own: what serves as a measure depends on what its texts are like.
"""

from functools import cache
from importlib import resources
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from numpy import ndarray as Array


@runtime_checkable
class KeepsBank(Protocol):
    """An encoder that brings its bank, embedded."""

    @property
    def bank(self) -> Float[Array, "m d"]:
        """As `encode_text` embeds names."""
        ...


@cache
def everyday_names() -> tuple[str, ...]:
    """The bank of backbones that bring none: things that are about in pictures.

    ImageNet's classes, a third of them animals, measure worse (docs/benchmarks.md).
    """
    path = resources.files("openmoment") / "data" / "everyday_names.txt"
    return tuple(path.read_text(encoding="utf-8").split("\n")[:-1])
