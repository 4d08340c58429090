"""Sentences that words are put into, for whoever reads or writes words.

Axes: k texts, d width before the text projection.
"""

from collections.abc import Sequence

from jaxtyping import Float
from numpy import ndarray as Array

from openmoment.encoders.base import Encoder
from openmoment.features.cache import Cache

AS_IT_IS = "{}"
"""The template of a sentence that needs no words around it."""

KINETICS_PROMPTS = tuple(
    f"{what} of {doing}{{}}."
    for what in ("a photo", "a video", "a example", "a demonstration")
    for doing in (
        "",
        "a person ",
        "a person using ",
        "a person doing ",
        "a person during ",
        "a person performing ",
        "a person practicing ",
    )
)
"""The 28 sentences of CLIP's release for Kinetics, to the letter."""


def encode_with(
    template: str, texts: Sequence[str], encoder: Encoder, cache: Cache | None
) -> Float[Array, "k d"]:
    """Texts put into one sentence, as the encoder embeds it."""

    def encode(names: Sequence[str]) -> Float[Array, "k d"]:
        return encoder.encode_text(names, templates=(template,))

    if cache is None:
        return encode(texts)
    told = "as it is" if template == AS_IT_IS else template
    return cache.texts(f"{encoder.fingerprint} {told}", texts, encode)
