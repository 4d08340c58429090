"""Questions by example: sentences and pictures that join a query's words in its embedding.

Axes: b pictures, k queries, n texts, d width before the text projection.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray as Array

from openmoment.encoders.base import AsksByPicture, Encoder, SeesPictures, Space
from openmoment.errors import ConfigError, FormatError
from openmoment.features.cache import Cache, sha256
from openmoment.priors.files import Priors
from openmoment.priors.pictures import read_picture


@dataclass(frozen=True)
class Example:
    """What shows what a query means."""

    texts: tuple[str, ...] = ()
    images: tuple[Path, ...] = ()
    has_words: bool = True
    """Whether the query's own words count too; not where it is a picture's name."""

    def to_dict(self) -> dict[str, object]:
        """What an answer says of it."""
        images = [image.name for image in self.images]
        return {"words": self.has_words, "texts": len(self.texts), "images": images}


def examples_of(
    names: Sequence[str], *, priors: Priors | None = None, images: Iterable[str | Path] = ()
) -> dict[str, Example]:
    """The examples of each query that has some: those of ``names``, then pictures.

    A picture is a query by itself, named by its file's stem; it joins the words, and the other
    pictures, of the same name. Raises FormatError for pictures that cannot be read, and when
    ``priors`` holds none of the names.
    """
    found: dict[str, Example] = {}
    for name in names:
        if priors and name in priors:
            prior = priors[name]
            found[name] = Example(prior.texts, prior.images)
    if priors and names and not found:
        raise FormatError(
            f"The folder of priors holds none of {', '.join(map(repr, names))}. It has: "
            f"{', '.join(list(priors)[:10])}."
        )
    for image in map(Path, images):
        name = " ".join(image.stem.split())
        known = found.get(name, Example(has_words=name in names))
        found[name] = Example(known.texts, (*known.images, image), known.has_words)
    for example in found.values():
        for image in example.images:
            read_picture(image)  # refused before the long work
    return found


def embed_pictures(
    paths: Sequence[Path], encoder: Encoder, cache: Cache | None
) -> Float[Array, "b d"]:
    """What the encoder makes of each picture, by content. Raises ConfigError, FormatError."""
    space = encoder.space
    if not (isinstance(encoder, SeesPictures) and isinstance(space, AsksByPicture)):
        raise ConfigError(f"{encoder.name} cannot be asked with pictures. Use another backbone.")
    digests = [sha256(path) for path in paths]
    by_digest = dict(zip(digests, paths, strict=True))

    def embed(wanted: Sequence[str]) -> Float[Array, "b d"]:
        pictures = [read_picture(by_digest[digest], encoder.picture_side) for digest in wanted]
        seen = [encoder.encode_pictures([picture]) for picture in pictures]  # of several sizes
        return space.picture_queries(np.concatenate(seen))

    if cache is None:
        return embed(digests)
    return cache.texts(f"{encoder.fingerprint} picture", digests, embed)


def blend(kinds: Sequence[Float[Array, "_ d"]], space: Space) -> Float[Array, " d"]:
    """Words, sentences and pictures as one query.

    The mean over the kinds of the mean within each, of points of length one in the joint space;
    so three pictures count as much as one. A kind without rows is left out.
    """
    means = [_at_one(rows, space).mean(axis=0) for rows in kinds if len(rows)]
    return _at_one(np.mean(means, axis=0)[None], space)[0].astype(np.float32)


def _at_one(rows: Float[Array, "n d"], space: Space) -> Float[Array, "n d"]:
    """The rows, scaled so that their projections have length one."""
    lengths = np.linalg.norm(space.project_text(rows), axis=1, keepdims=True)
    return rows / np.maximum(lengths, 1e-12)


def describe(examples: Mapping[str, Example]) -> dict[str, object]:
    """What the settings of an answer say of its examples."""
    return {name: example.to_dict() for name, example in examples.items()}
