"""Texts as tokens of one width, before any video is met: each in one or several prompts.

Axes: k texts, p prompts of a text, m tokens of a text, d width inside.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import normalize

from openmoment.blocks.attention import unit_variance
from openmoment.blocks.text_reader import TextReader, Tokens
from openmoment.errors import ConfigError


class Words(NamedTuple):
    """The tokens of each text in each of its prompts, of the width inside."""

    tokens: Float[Tensor, "k p m d"]
    masks: Bool[Tensor, "k p m"] | None
    """False where a token is padding; None when none is."""
    points: Float[Tensor, "k p d_joint"]
    """Each text in the joint space, of length one."""
    turns: Float[Tensor, "k p d_joint"] | None = None
    """From what a text says first to what it says last, there too; None unless words are read."""
    places: Int[Tensor, " k"] | None = None
    """Of each among the classes that have a weight, without any text."""

    def __len__(self) -> int:
        return len(self.tokens)

    def some(self, which: slice) -> "Words":
        """Some of the texts."""
        return Words(*(None if part is None else part[which] for part in self))  # type: ignore[arg-type]

    def prompted(self, prompt: int | Int[Tensor, " k"]) -> "Words":
        """In one prompt: its number, or that for each text."""
        at = torch.arange(len(self.tokens), device=self.tokens.device), prompt
        masks = None if self.masks is None else self.masks[at][:, None]
        turns = None if self.turns is None else self.turns[at][:, None]
        tokens, points = self.tokens[at][:, None], self.points[at][:, None]
        return Words(tokens, masks, points, turns, self.places)


def asked_prompts(
    texts: Float[Tensor, "k p d_joint"], drawn: Int[Tensor, " k"] | None, *, first_alone: bool
) -> Int[Tensor, "k _"]:
    """The numbers of each text's prompts that are asked: the one drawn; else the first, or all."""
    if drawn is not None:
        return drawn[:, None]
    num = 1 if first_alone else texts.shape[1]
    return torch.arange(num, device=texts.device).repeat(len(texts), 1)


def in_prompts(
    names: Sequence[str], templates: tuple[str, ...], numbers: Int[Tensor, "k p"]
) -> list[str]:
    """The names in the templates of these numbers, all of a name together."""
    return [
        templates[number].format(name)
        for name, row in zip(names, numbers.tolist(), strict=True)
        for number in row
    ]


def class_places(names: Sequence[str], classes: Sequence[str]) -> Int[Tensor, " k"]:
    """Of names among the classes that have a weight. Raises ConfigError for any other."""
    known = {name: place for place, name in enumerate(classes)}
    if new := [name for name in names if name not in known]:
        raise ConfigError(
            f"fusion=none knows the classes that it was trained on alone, not {new[0]!r}."
        )
    return torch.tensor([known[name] for name in names])


def embedded_words(
    texts: Float[Tensor, "k p d_joint"], enter: nn.Module, places: Int[Tensor, " k"] | None = None
) -> Words:
    """Texts of one token each: their embedding, as ``enter`` projects it."""
    tokens = enter(unit_variance(texts))[:, :, None]
    return Words(tokens, None, normalize(texts, dim=2), places=places)


def read_words(
    sentences: Sequence[str],
    texts: Float[Tensor, "k p d_joint"],
    reader: TextReader,
    enter: nn.Module,
    *,
    tokens: Tokens,
    tells_order: bool,
) -> Words:
    """Texts as a tower reads them; ``texts`` are the embeddings of the same sentences.

    ``tokens`` is what the reader makes of a sentence: from all of them come, with ``tells_order``,
    the turns.
    """
    shape = texts.shape[:2]
    words, masks = reader(sentences)
    entered, points = enter(unit_variance(words)).unflatten(0, shape), normalize(texts, dim=2)
    if tokens == "one":
        return Words(entered, None, points)
    turns = reader.turns(words, masks).unflatten(0, shape) if tells_order else None
    return Words(entered, masks.unflatten(0, shape), points, turns)
