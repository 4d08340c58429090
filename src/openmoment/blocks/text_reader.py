"""Texts as tokens for a transformer: one of each text, or all that a text tower makes of it.

Axes: k texts, m tokens of a text, n of one in its tower, d width.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import normalize
from torch.nn.utils.rnn import pad_sequence

from openmoment.blocks.borrowed import ReadsTexts
from openmoment.encoders.base import HasTextTower
from openmoment.encoders.towers.text_tower import Shared, TextTower
from openmoment.errors import ConfigError

Tokens = Literal["one", "all"]
CLIP = "clip"
"""The backbone's own text tower, whichever it is."""

MEMORY_BYTES = 256 << 20
_AT_ONCE = 256  # texts that go through a tower that does not learn


class TextReader(ReadsTexts):
    """Sentences to their tokens, by the backbone's text tower or by a T5.

    ``tokens`` one: the feature of a text, in the joint space where the tower is the backbone's;
    ``all``: the tower's tokens after its last layer, of a long text the first ``max_tokens - 1``
    and the last. ``tower``: clip, the backbone's; t5-small, t5-base, or a folder that holds a T5.
    With ``finetune`` a copy of the tower learns; else each text is read once, and remembered.

    Raises ConfigError for a backbone without a text tower, MissingWeightsError for T5.
    """

    def __init__(
        self,
        space: Any,
        *,
        tokens: Tokens = "one",
        max_tokens: int = 16,
        finetune: bool = False,
        tower: str = CLIP,
    ) -> None:
        if max_tokens < 1:
            raise ConfigError(f"max_tokens: expected 1 or more, got {max_tokens}.")
        own = _find_tower(space, tower)
        super().__init__(own, finetune=finetune)
        self._tokens, self._max_tokens = tokens, max_tokens
        self._padding = int(own.tokenize(["", "a"])[0, -1])
        self._space = Shared(space) if tower == CLIP else None
        self._joint_width = self._width_in_joint(own)
        self._width = own.width if tokens == "all" else self._joint_width
        size = 4 * self._width * (1 if tokens == "one" else max_tokens)
        self._memory = _Memory(max(1, MEMORY_BYTES // size))

    @property
    def width(self) -> int:
        """Of a token: d."""
        return self._width

    def forward(self, texts: Sequence[str]) -> tuple[Float[Tensor, "k m d"], Bool[Tensor, "k m"]]:
        """The tokens of each text, and where they are no padding."""
        if self.tower is not None and torch.is_grad_enabled():
            self._memory.forget()  # the weights are about to change
            rows = self._read(texts)
        else:
            rows = self._recall(texts)
        lengths = torch.tensor([len(row) for row in rows], device=self._here.device)
        mask = torch.arange(int(lengths.max()), device=lengths.device) < lengths[:, None]
        return pad_sequence(rows, batch_first=True), mask

    def turns(
        self, tokens: Float[Tensor, "k m d"], mask: Bool[Tensor, "k m"]
    ) -> Float[Tensor, "k d_joint"]:
        """Of each text what its later words say less what its earlier ones do, of length one.

        Words are as points of the joint space, weighted from -1 for the first to 1 for the last.
        Of the backbone's own tower alone.
        """
        assert self._space is not None
        last = mask.sum(dim=1, keepdim=True) - 1
        places = torch.arange(mask.shape[1], device=mask.device)
        weights = (2 * places / last.clamp(min=1) - 1) * mask
        points = tokens.new_zeros(*mask.shape, self._joint_width)
        points[mask] = self._space.value.tower_to_joint(tokens[mask]).to(tokens)
        return normalize((weights[:, :, None] * points).sum(dim=1), dim=1)

    def _recall(self, texts: Sequence[str]) -> list[Tensor]:
        # the version of a weight counts how often it was changed
        weights = [] if self.tower is None else self.tower.parameters()
        state = sum(weight._version for weight in weights)
        with torch.inference_mode(False), torch.no_grad():  # to serve a step that learns, too
            rows = self._memory.recall(texts, state, self._read)
            return [row.to(self._here.device) for row in rows]

    def _read(self, texts: Sequence[str]) -> list[Float[Tensor, "_ d"]]:
        tower = self._reader()
        ids = tower.tokenize(texts)
        lengths = _lengths(ids, self._padding)
        if not tower.needs_padding:
            ids = ids[:, : max(lengths)]
        ids = ids.to(self._here.device)
        pooled, every = tower.encode(tower.embed(ids), ids)
        if self._tokens == "one":
            points = pooled.float()
            if self._space is not None:
                points = self._space.value.tower_to_joint(points)
            return list(points[:, None])
        return [row[self._kept(length)] for row, length in zip(every.float(), lengths, strict=True)]

    def _kept(self, length: int) -> list[int]:
        """The places of a text's tokens: what the last one says is of the whole text."""
        if length <= self._max_tokens:
            return list(range(length))
        return [*range(self._max_tokens - 1), length - 1]

    def _width_in_joint(self, own: TextTower) -> int:
        """Of the joint space; of the tower, where it is not the backbone's."""
        if self._space is None:
            return own.width
        blank = next(own.parameters()).new_zeros(1, own.width, dtype=torch.float32)
        with torch.no_grad():
            return self._space.value.tower_to_joint(blank).shape[1]


class _Memory:
    """What texts were read as; the oldest are forgotten beyond ``room`` of them."""

    def __init__(self, room: int) -> None:
        self._room, self._state = room, 0
        self._rows: OrderedDict[str, Tensor] = OrderedDict()

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Memory":
        return _Memory(self._room)

    def forget(self) -> None:
        self._rows.clear()

    def recall(
        self, texts: Sequence[str], state: int, read: Callable[[Sequence[str]], list[Tensor]]
    ) -> list[Tensor]:
        """Of each text; ``read`` reads those that are new, or all once the ``state`` is another."""
        if state != self._state:
            self._state = state
            self.forget()
        known = {text: self._rows[text] for text in texts if text in self._rows}
        new = [text for text in dict.fromkeys(texts) if text not in known]
        for start in range(0, len(new), _AT_ONCE):
            part = new[start : start + _AT_ONCE]
            found = dict(zip(part, read(part), strict=True))
            known |= found
            self._rows |= {text: row.clone() for text, row in found.items()}
        while len(self._rows) > self._room:
            self._rows.popitem(last=False)
        return [known[text] for text in texts]


def _find_tower(space: Any, name: str) -> TextTower:
    if name != CLIP:
        from openmoment.encoders.towers.t5 import find_t5, load_t5

        return load_t5(find_t5(name))
    if not isinstance(space, HasTextTower):
        raise ConfigError(
            "Reading words with the backbone's text tower needs one: embedded or one of open_clip."
        )
    return space.text_tower()


def _lengths(ids: Int[Tensor, "k n"], padding: int) -> list[int]:
    """Of each row without the padding at its end; one at the least."""
    places = torch.arange(1, ids.shape[1] + 1) * (ids != padding)
    return places.amax(dim=1).clamp(min=1).tolist()
