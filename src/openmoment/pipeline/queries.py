"""From what a person asks for to queries: words, tidied and embedded, and examples of them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float
from numpy import ndarray as Array

from openmoment.encoders.bank import KeepsBank, everyday_names
from openmoment.encoders.base import Encoder, Progress
from openmoment.encoders.joint import Pairing
from openmoment.encoders.prompts import AS_IT_IS, encode_with
from openmoment.errors import QueryError
from openmoment.features.cache import Cache
from openmoment.priors.examples import Example, blend, describe, embed_pictures
from openmoment.priors.pairs import encode_pairs
from openmoment.types import Queries

_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_TOGETHER = 32  # texts of the bank at a time: between them progress is told, and a stop is heard


def encode_queries(
    names: Sequence[str],
    encoder: Encoder,
    cache: Cache | None,
    *,
    templates: Sequence[str] = (),
    progress: Progress | None = None,
) -> Queries:
    """Names and the bank in an encoder's space, names in ``templates`` or in the encoder's own.

    Each name is embedded by itself: the same to the bit whatever else is asked. ``progress`` hears
    how much of the bank is embedded. Raises QueryError.
    """
    tidy = tidy_names(names)
    template = templates[0] if templates else None
    bank = bank_of(encoder, cache, template=template, progress=progress)
    if not templates:
        return Queries(tidy, _embed(tidy, encoder, cache), bank)
    each = [np.concatenate([encode_with(t, [n], encoder, cache) for n in tidy]) for t in templates]
    variants = np.stack(each, axis=1)
    return Queries(tidy, variants.mean(axis=1), bank, variants)


def bank_of(
    encoder: Encoder,
    cache: Cache | None,
    *,
    template: str | None = None,
    progress: Progress | None = None,
) -> Float[Array, "m d"]:
    """The bank in an encoder's space: what it brings, or everyday names, embedded once.

    Names are put into a ``template`` as the queries are, of several into the first; None: into the
    encoder's own.
    """
    if isinstance(encoder, KeepsBank):
        return encoder.bank
    names = everyday_names()
    parts: list[Float[Array, "n d"]] = []
    for start in range(0, len(names), _TOGETHER):
        some = names[start : start + _TOGETHER]
        if template is not None:
            parts.append(encode_with(template, some, encoder, cache))
        elif cache is not None:
            parts.append(cache.texts(encoder.fingerprint, some, encoder.encode_text))
        else:
            parts.append(encoder.encode_text(some))
        if progress:
            progress(start + len(some), len(names))
    return np.concatenate(parts)


def _embed(names: Sequence[str], encoder: Encoder, cache: Cache | None) -> Float[Array, "k d"]:
    encode = encoder.encode_text
    rows = [cache.texts(encoder.fingerprint, [n], encode) if cache else encode([n]) for n in names]
    return np.concatenate(rows)


def tidy_names(names: Sequence[str]) -> tuple[str, ...]:
    """Queries without stray white space; repeated ones count once. Raises QueryError."""
    tidy = tuple(dict.fromkeys(map(tidy_name, names)))
    if not tidy:
        raise QueryError("No query given. Say what to look for, for example 'pole vault'.")
    if "" in tidy:
        raise QueryError("A query is empty. Say what to look for, for example 'pole vault'.")
    return tidy


def tidy_name(name: str) -> str:
    """Without stray white space, and signs that nobody sees."""
    return " ".join(_UNSEEN.sub(" ", name.replace("\u200b", "").replace("\ufeff", "")).split())


def join_examples(
    queries: Queries, examples: Mapping[str, Example], encoder: Encoder, cache: Cache | None
) -> Queries:
    """The queries, each joined by its sentences, as they are, and its pictures."""
    embeddings = queries.embeddings.copy()
    for row, name in enumerate(queries.names):
        if (example := examples.get(name)) is None:
            continue
        kinds = [embeddings[row : row + 1]] if example.has_words else []
        if example.texts:
            kinds.append(encode_with(AS_IT_IS, example.texts, encoder, cache))
        if example.images:
            kinds.append(embed_pictures(example.images, encoder, cache))
        embeddings[row] = blend(kinds, encoder.space)
    return replace(queries, embeddings=embeddings, examples=describe(examples))


def pair_queries(
    queries: Queries,
    pairing: Pairing,
    encoder: Encoder,
    cache: Cache | None,
    examples: Mapping[str, Example] | None,
) -> Queries:
    """The queries, with what is generated about each as a joint encoder reads it."""
    pairs = encode_pairs(
        queries.names, queries.embeddings, pairing, encoder, cache, examples=examples
    )
    return replace(queries, pairs=pairs, examples=describe(examples) if examples else None)
