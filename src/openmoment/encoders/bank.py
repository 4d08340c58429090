"""The bank: fixed everyday texts that every question is asked beside.

By them an answer means the same whatever else is asked (`methods.standing`). A backbone may bring
its own: what serves as a measure depends on what its texts are like.
"""

from functools import cache
from importlib import resources
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from numpy import ndarray as Array

_EVERY = 3  # classes of ImageNet: more of them measure no better


@runtime_checkable
class KeepsBank(Protocol):
    """An encoder that brings its bank, embedded."""

    @property
    def bank(self) -> Float[Array, "m d"]:
        """As `encode_text` embeds names."""
        ...


@cache
def everyday_names() -> tuple[str, ...]:
    """The bank of backbones that bring none: every third class of ImageNet by its first name."""
    path = resources.files("openmoment") / "data" / "imagenet_classes.tsv"
    rows = path.read_text(encoding="utf-8").splitlines()[::_EVERY]
    return tuple(dict.fromkeys(row.split("\t")[1].split(",")[0].strip() for row in rows))
