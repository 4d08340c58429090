"""Generated sentences and pictures of labels as pairs, for methods that read them token by token.

A label without any has sentences all the same: itself in prompts of CLIP's release. Nothing is
generated here. Axes: n labels, k pairs, s tokens of a pair, d joint width.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray as Array
from safetensors import SafetensorError
from safetensors.numpy import load, save

from openmoment.encoders.base import Encoder
from openmoment.encoders.joint import JointEncoder, Pairing, load_joint, pad_pairs
from openmoment.encoders.prompts import AS_IT_IS, encode_with
from openmoment.encoders.towers.projected import unit
from openmoment.features.cache import Cache, sha256
from openmoment.priors.examples import Example, blend, embed_pictures
from openmoment.priors.pictures import read_picture
from openmoment.priors.plain import TemplateTexts
from openmoment.types import Pairs

_TOKENS = "tokens"


def encode_pairs(
    names: Sequence[str],
    words: Float[Array, "n d_txt"],
    pairing: Pairing,
    encoder: Encoder,
    cache: Cache | None,
    *,
    examples: Mapping[str, Example] | None = None,
) -> Pairs:
    """The pairs of each name, whose own embedding is its row of ``words``.

    Of fewer sentences or pictures than ``pairing.k`` some come again; what is beyond is left out.
    Raises ConfigError for a joint encoder that the backbone cannot serve, FormatError for a
    picture that cannot be read.
    """
    joint = load_joint(pairing.joint, encoder=encoder, text_tokens=pairing.text_tokens)
    pairs: list[Float[Array, "s d"]] = []
    points: list[Float[Array, "2 d"]] = []
    for name, word in zip(names, words, strict=True):
        shown = _shown(name, (examples or {}).get(name, Example()), pairing)
        pairs += [_encode(joint, *shown.pair(i), cache) for i in range(pairing.k)]
        points.append(_points(word, shown, encoder, cache))
    tokens, _ = pad_pairs(pairs)
    return Pairs(tokens.reshape(len(names), pairing.k, *tokens.shape[1:]), np.stack(points))


class _Shown(NamedTuple):
    """What there is of a label: never nothing."""

    texts: tuple[str, ...]
    images: tuple[Path, ...]
    has_words: bool
    """Whether its name means anything; a picture's may not."""

    def pair(self, i: int) -> tuple[Path | None, str | None]:
        """The picture and the sentence of a pair."""
        image = self.images[i % len(self.images)] if self.images else None
        return image, self.texts[i % len(self.texts)] if self.texts else None


def _shown(name: str, example: Example, pairing: Pairing) -> _Shown:
    images = example.images[: pairing.k] if pairing.has_images else ()
    has_words = example.has_words or not images
    if not pairing.has_texts:
        return _Shown((name,) if has_words else (), images, has_words)
    texts = example.texts[: pairing.k]
    if not texts and has_words:
        texts = tuple(TemplateTexts().write(name, pairing.k, seed=0))
    return _Shown(texts, images, has_words)


def _encode(
    joint: JointEncoder, image: Path | None, text: str | None, cache: Cache | None
) -> Float[Array, "s d"]:
    """One pair's tokens, from the cache if they are there."""

    def encode() -> Float[Array, "s d"]:
        return joint.encode_pair(None if image is None else read_picture(image), text)

    if cache is None:
        return encode()
    recipe = {
        "joint": joint.fingerprint,
        "text": text,
        "image": "" if image is None else sha256(image),
    }
    kept = cache.generated(recipe, lambda: save({_TOKENS: encode()}))
    try:
        return load(kept)[_TOKENS]
    except (SafetensorError, KeyError):  # damaged: it costs time alone
        return encode()


def _points(
    word: Float[Array, " d_txt"], shown: _Shown, encoder: Encoder, cache: Cache | None
) -> Float[Array, "2 d"]:
    """The name with its sentences, and the pictures; these for both where a name says nothing."""
    told = [word[None]] if shown.has_words else []
    if shown.texts:
        told.append(encode_with(AS_IT_IS, shown.texts, encoder, cache))
    seen = [embed_pictures(shown.images, encoder, cache)] if shown.images else []
    name = _to_joint(told or seen, encoder)
    return np.stack([name, _to_joint(seen, encoder) if seen else np.zeros_like(name)])


def _to_joint(kinds: Sequence[Float[Array, "_ d_txt"]], encoder: Encoder) -> Float[Array, " d"]:
    space = encoder.space
    return unit(space.project_text(blend(kinds, space)[None]))[0].astype(np.float32)
