"""Learned words around the names of classes, read by the backbone's own text tower.

[start][learned][name][learned][end] instead of a prompt written by hand: Zhou et al., "Learning to
Prompt for Vision-Language Models" (CoOp), IJCV 2022; here as in STALE (section 3.1, eq. 2) and
EffPrompt, one context for all classes. Axes: k names, n tokens, w the tower's width, d joint.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from openmoment.blocks.borrowed import ReadsTexts
from openmoment.encoders.base import HasTextTower
from openmoment.encoders.towers.text_tower import Shared, TextTower
from openmoment.errors import ConfigError

ClassPosition = Literal["middle", "end"]
_STD = 0.02  # of the first context, as of the towers' own embeddings; CoOp's too


class LearnedContext(ReadsTexts):
    """Names of any number to points of the joint space, through a context that learns.

    ``space`` is the encoder's, and keeps its weights: with ``finetune`` a copy of its text tower
    learns too. A long name takes places of the context, and one that alone is too long is cut.
    With ``by_position`` there is an embedding for each position of a sentence, as in EffPrompt's
    code, so that what follows a name depends on how long it is. ``std`` is of the first ones.
    Raises ConfigError for backbones without a text tower that takes a context.
    """

    def __init__(
        self,
        space: Any,
        *,
        num_tokens: int = 50,
        class_position: ClassPosition = "middle",
        finetune: bool = False,
        by_position: bool = False,
        std: float = _STD,
    ) -> None:
        if not isinstance(space, HasTextTower):
            raise ConfigError(
                "A learned context needs a backbone with a text tower that takes one: embedded or "
                "one of open_clip."
            )
        if num_tokens < 0:
            raise ConfigError(f"context_tokens: expected 0 or more, got {num_tokens}.")
        own: TextTower = space.text_tower()
        super().__init__(own, finetune=finetune)
        self._space = Shared(space)
        self._marks = read_marks(own)
        self._num_tokens, self._by_position = num_tokens, by_position
        self._num_before = num_tokens if class_position == "end" else (num_tokens + 1) // 2
        num_embeddings = own.context_length if by_position else num_tokens
        self.context = nn.Parameter(torch.randn(num_embeddings, own.width) * std)

    def forward(self, names: Sequence[str]) -> Float[Tensor, "k d"]:
        """Each name's point, of whatever length, as `Space.project_text` gives it."""
        tower = self._reader()
        tokens, places = (rows.to(self.context.device) for rows in self._rows(tower, names))
        embeddings = tower.embed(tokens)
        at = (places >= 0).nonzero(as_tuple=True)
        learned = self.context[places[at]].to(embeddings.dtype)
        pooled, _ = tower.encode(embeddings.index_put(at, learned), tokens)
        return self._space.value.tower_to_joint(pooled.float())

    def _rows(
        self, tower: TextTower, names: Sequence[str]
    ) -> tuple[Int[Tensor, "k n"], Int[Tensor, "k n"]]:
        """Token ids, and for each the place in the context that its embedding is at, or -1."""
        start, end, filler, padding = self._marks
        room = tower.context_length - len(start) - len(end)
        rows: list[list[tuple[int, int]]] = []
        for tokens in tower.tokenize(names).tolist():
            bare = _without_padding(tokens, padding)
            name = bare[len(start) : len(bare) - len(end)]
            kept = self._kept(room - len(name))
            before, after = ([(filler, place) for place in part] for part in kept)
            row = [*_fixed(start), *before, *_fixed(name), *after, *_fixed(end)]
            rows.append(_by_position(row) if self._by_position else row)
        longest = tower.context_length if tower.needs_padding else max(len(row) for row in rows)
        filled = [row + [(padding, -1)] * (longest - len(row)) for row in rows]
        ids, places = torch.tensor(filled).unbind(dim=-1)
        return ids, places

    def _kept(self, room: int) -> tuple[range, range]:
        """The places of the context before and after a name, as many as there is room for.

        Those next to the name stay; where it is in the middle, both sides lose alike.
        """
        total, middle = self._num_tokens, self._num_before
        dropped = max(0, total - room)
        first = dropped if middle == total else (dropped + 1) // 2
        return range(first, middle), range(middle, total - (dropped - first))


class Marks(NamedTuple):
    """What a tokenizer puts around a name."""

    start: tuple[int, ...]
    end: tuple[int, ...]
    filler: int
    """An ordinary token, to stand where embeddings are learned."""
    padding: int


def read_marks(tower: TextTower) -> Marks:
    """From how nothing and one letter are tokenized.

    Raises ConfigError for marks behind the padding: where a text ends could not be moved.
    """
    blank, letter = tower.tokenize(["", "a"]).tolist()
    padding = blank[-1]
    marks, marked = _without_padding(blank, padding), _without_padding(letter, padding)
    num_start = next(i for i, (a, b) in enumerate(zip(blank, letter, strict=True)) if a != b)
    start, end = marks[:num_start], marks[num_start:]
    if marked[len(marked) - len(end) :] != end:
        raise ConfigError(
            "This model's tokenizer puts marks behind the padding, and takes no learned context."
        )
    return Marks(tuple(start), tuple(end), letter[num_start], padding)


def _without_padding(row: list[int], padding: int) -> list[int]:
    last = len(row)
    while last and row[last - 1] == padding:
        last -= 1
    return row[:last]


def _by_position(row: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """With the position in the sentence for the place in the context."""
    return [(token, i if place >= 0 else -1) for i, (token, place) in enumerate(row)]


def _fixed(tokens: Sequence[int]) -> list[tuple[int, int]]:
    return [(token, -1) for token in tokens]
