"""Tokens of a picture and a sentence together: the joint encoder M of GRIZAL (methods.md 5.2).

The paper's own (GAFNet) has no weights that match it. ``clip``, the default, puts the tokens of a
backbone's two towers one behind the other: the picture's own feature (CLS), its patches, then
the words, all projected into the joint space. A tower that gives no tokens gives its feature as
the only one: of ``embedded``, a picture is one token and a sentence as many as it has.

Axes: s tokens of a pair, k pairs, d joint width, h height, w width.
"""

from collections.abc import Sequence
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray as Array

from openmoment.encoders.base import Encoder, HasImageTower, HasTextTower, SeesPictures
from openmoment.encoders.frames import to_short_side
from openmoment.errors import ConfigError, UnknownNameError

if TYPE_CHECKING:
    from torch import Tensor

CLIP, TEXT, IMAGE = "clip", "text", "image"
KINDS = (CLIP, TEXT, IMAGE)
TEXT_TOKENS = 30
"""Of a sentence, its marks included, as in the paper."""
_DECLARED = {
    "vilbert": "ViLBERT's weights and its region detector",
    "tcl": "TCL's weights, which no package of ours can load",
    "bart": "BART's weights (facebook/bart-base) and a loader for them",
}
_VERSION = "v1"  # of this way from pairs to tokens; part of every fingerprint


class Pairing(NamedTuple):
    """Which pairs of a picture and a sentence a method reads of each label."""

    joint: str = CLIP
    """The joint encoder: `KINDS`."""
    k: int = 4
    """Pairs of a label."""
    text_tokens: int = TEXT_TOKENS
    has_images: bool = True
    """Else pictures are left out, where there are some."""
    has_texts: bool = True
    """Else every sentence is the bare label."""


@runtime_checkable
class JointEncoder(Protocol):
    """Reads a picture and a sentence as one sequence. Never trained."""

    name: str

    @property
    def width(self) -> int:
        """Of a token."""
        ...

    @property
    def fingerprint(self) -> str:
        """Changes whenever the same pair would give other numbers."""
        ...

    def encode_pair(
        self, image: UInt8[Array, "h w 3"] | None, text: str | None
    ) -> Float[Array, "s d"]:
        """The pair's tokens, without padding; what is None has none."""
        ...


def load_joint(
    name: str = CLIP, *, encoder: Encoder, text_tokens: int = TEXT_TOKENS
) -> JointEncoder:
    """The joint encoder of that name, made of a backbone's towers; `KINDS` are ready.

    Raises UnknownNameError, and ConfigError for one that is declared and not built, or that the
    backbone cannot serve.
    """
    if name in _DECLARED:
        raise ConfigError(
            f"The joint encoder {name} is not built in: it needs {_DECLARED[name]}. "
            f"Use one of {', '.join(KINDS)}."
        )
    if name not in KINDS:
        raise UnknownNameError("joint encoder", name, [*KINDS, *_DECLARED])
    if name != TEXT and not isinstance(encoder, SeesPictures):
        raise ConfigError(f"The joint encoder {name}: {encoder.name} sees no pictures. Use {TEXT}.")
    return TwoTowers(name, encoder, text_tokens)


class TwoTowers:
    """A backbone's towers side by side, or one of them: ``clip``, ``text`` or ``image``.

    Sentences are cut to ``text_tokens``, the end mark kept. Raises ConfigError below 3.
    """

    def __init__(self, name: str, encoder: Encoder, text_tokens: int = TEXT_TOKENS) -> None:
        if text_tokens < 3:
            raise ConfigError(
                f"text_tokens: expected 3 or more (two marks and a word), got {text_tokens}."
            )
        self.name, self.encoder, self.text_tokens = name, encoder, text_tokens

    @property
    def width(self) -> int:
        return self._nothing.shape[1]

    @property
    def fingerprint(self) -> str:
        recipe = f"{self.name} {self.encoder.fingerprint} {self.text_tokens} {_VERSION}"
        return sha256(recipe.encode()).hexdigest()[:16]

    def encode_pair(
        self, image: UInt8[Array, "h w 3"] | None, text: str | None
    ) -> Float[Array, "s d"]:
        """The picture's tokens, its feature first, and the sentence's: unscaled joint points."""
        parts = [self._nothing]
        if image is not None and self.name != TEXT:
            parts.append(self._see(image))
        if text is not None and self.name != IMAGE:
            parts.append(self._read(text))
        return np.concatenate(parts)

    @cached_property
    def _nothing(self) -> Float[Array, "0 d"]:
        words = self.encoder.encode_text(["x"], templates=("{}",))
        return self.encoder.space.project_text(words)[:0].astype(np.float32)

    def _see(self, image: UInt8[Array, "h w 3"]) -> Float[Array, "s d"]:
        encoder = self.encoder
        assert isinstance(encoder, SeesPictures)
        side = encoder.picture_side
        pictures = [to_short_side(image, side) if side else image]
        feature = encoder.space.project_video(encoder.encode_pictures(pictures))
        patches = _patches(encoder, pictures)
        return feature if patches is None else np.concatenate([feature, patches])

    def _read(self, text: str) -> Float[Array, "s d"]:
        encoder, space = self.encoder, self.encoder.space
        if not isinstance(space, HasTextTower):
            return space.project_text(encoder.encode_text([text], templates=("{}",)))
        import torch

        tower = space.text_tower()
        with torch.inference_mode():
            ids, length = cut(tower.tokenize([text]), self.text_tokens, tower.padding_id)
            ids = ids.to(next(tower.parameters()).device)
            tokens = tower.encode(tower.embed(ids), ids)[1][0, :length]
            return space.tower_to_joint(tokens).float().cpu().numpy()


def cut(ids: "Tensor", limit: int, padding_id: int) -> "tuple[Tensor, int]":
    """One text's token ids, [1, n], of which at most ``limit`` are read, and how many these are.

    What is too long loses words before its last mark, which closes it.
    """
    is_read = (ids[0] != padding_id).nonzero()
    length = int(is_read.max()) + 1 if len(is_read) else 1
    if length <= limit:
        return ids, length
    shorter = ids.clone()
    shorter[0, limit - 1] = ids[0, length - 1]
    shorter[0, limit:] = padding_id
    return shorter, limit


def _patches(encoder: Encoder, pictures: list[UInt8[Array, "h w 3"]]) -> Float[Array, "n d"] | None:
    """A picture's patches in the joint space; None where the tower gives none."""
    give, space = getattr(encoder, "image_tokens", None), encoder.space
    if give is None or not isinstance(space, HasImageTower):
        return None
    try:
        tokens = give(pictures)
    except ConfigError:
        return None
    return space.image_to_joint(tokens[0]).float().cpu().numpy()


def pad_pairs(
    pairs: Sequence[Float[Array, "_ d"]],
) -> tuple[Float[Array, "k s d"], Bool[Array, "k s"]]:
    """Pairs of different lengths as one array, and which of its tokens are real."""
    lengths = np.array([len(pair) for pair in pairs])
    valid = np.arange(lengths.max(initial=0)) < lengths[:, None]
    tokens = np.zeros((*valid.shape, pairs[0].shape[1]), dtype=np.float32)
    tokens[valid] = np.concatenate(pairs)
    return tokens, valid
