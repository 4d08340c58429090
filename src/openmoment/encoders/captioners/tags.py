"""Captions without a language model: what the default backbone's classifier sees, named.

A snippet of the `embedded` backbone is a distribution over the 1,000 ImageNet classes, so its
features are all it takes: no picture is decoded where they are there.

Axes: t snippets, c classes, h height, w width.
"""

from functools import cache
from hashlib import sha256
from importlib import resources

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray as Array

from openmoment.encoders.embedded.backbone import IMAGE_SIDE, IMAGE_TEMPERATURE, Embedded
from openmoment.errors import FeatureError
from openmoment.features.captions import Captions
from openmoment.storage.rows import blocks
from openmoment.types import Snippets

NAME = "tags"
MIN_SHARE = 0.05
"""Of the classifier's probability, for a label to be named; the best one always is."""
MAX_LABELS = 3


class TagCaptioner:
    """The top ImageNet labels of each picture. Objects and places only; always ready."""

    name = NAME
    short_side = IMAGE_SIDE
    batch = 4  # as the backbone: larger ones are slower

    def __init__(self, encoder: Embedded | None = None) -> None:
        self.encoder = encoder or Embedded()

    @property
    def fingerprint(self) -> str:
        return _fingerprint(self.encoder.fingerprint)

    def missing(self) -> str | None:
        """What keeps this captioner from running here, and the cure; None when it is ready."""
        return self.encoder.missing()

    def caption(self, pictures: list[UInt8[Array, "h w 3"]]) -> list[str]:
        return _name_labels(self.encoder.encode_pictures(pictures))


def tag_captions(snippets: Snippets) -> Captions:
    """A caption for each snippet of the `embedded` backbone, from its features alone.

    The same as a `TagCaptioner` says of the video at that rate. Raises FeatureError for snippets
    of another backbone.
    """
    recipe = snippets.recipe
    if recipe.encoder != Embedded.name or snippets.features.shape[1] != Embedded.dim_in:
        raise FeatureError(
            f"Tags are made of {Embedded.name} features, {Embedded.dim_in} wide; these are of "
            f"{recipe.encoder}, {snippets.features.shape[1]} wide. Caption the video instead."
        )
    return Captions(
        times_s=snippets.grid.centres_s,
        texts=tuple(text for block in blocks(snippets.features) for text in _name_labels(block)),
        captioner=NAME,
        fingerprint=_fingerprint(recipe.fingerprint),
        fps=recipe.fps,
        source_sha256=recipe.source_sha256,
    )


def _fingerprint(of_features: str) -> str:
    recipe = f"{of_features} {MIN_SHARE} {MAX_LABELS} v1"
    return sha256(recipe.encode()).hexdigest()[:16]


def _name_labels(features: Float[Array, "t c"]) -> list[str]:
    """``"a photo of A, B and C"`` for each row of class probabilities, the likeliest first."""
    shares = features.astype(np.float64) ** IMAGE_TEMPERATURE  # the classifier's own, unsoftened
    shares /= shares.sum(axis=1, keepdims=True)
    best = np.argsort(-shares, axis=1, kind="stable")[:, :MAX_LABELS]
    names = _labels()
    return [
        _sentence([names[c] for rank, c in enumerate(row) if not rank or share[c] >= MIN_SHARE])
        for row, share in zip(best, shares, strict=True)
    ]


def _sentence(names: list[str]) -> str:
    *others, last = dict.fromkeys(names)  # a few classes share a name
    return "a photo of " + (f"{', '.join(others)} and {last}" if others else last)


@cache
def _labels() -> tuple[str, ...]:
    """The first name of each ImageNet class."""
    text = (resources.files("openmoment") / "data" / "imagenet_classes.tsv").read_text()
    return tuple(row.split("\t")[1].split(",")[0] for row in text.splitlines())
