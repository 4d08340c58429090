"""Words from a model that says which token may follow: greedy, beam search, grouped beam search.

Beam search gives what open_clip 3.3 gives with the ``BeamSearchScorer`` of transformers 4, which
later versions no longer have. Three of its habits are kept, for captions made with it before:

- a sequence's score is the sum of its *logits*, over its length; ``scores="log-probabilities"`` is
  the usual way
- an end token that is not among the best of a step ends nothing, and open sequences compete with
  ended ones at the maximal length
- without a ``diversity`` penalty all groups find the same, so only one of them is searched here

Axes: n sequences, w tokens, v vocabulary.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

Step = Callable[[Int[Tensor, "n w"], Int[Tensor, " n"]], Float[Tensor, "n v"]]
"""From the tokens so far, and which picture each row is about, to logits of the next token."""


@dataclass(frozen=True)
class Decoding:
    """How a caption is searched for; the defaults are open_clip's. Raises ValueError."""

    beams: int = 6  # over all groups; 1 is greedy
    groups: int = 3
    max_length: int = 30  # tokens, the start and the end among them
    min_length: int = 5  # tokens before the end may come, the start among them
    start: int = 49406
    end: int = 49407
    scores: Literal["logits", "log-probabilities"] = "logits"
    length_penalty: float = 1.0  # a sum is divided by its length to this power
    diversity: float = 0.0  # taken off a token's score for each earlier group that chose it

    def __post_init__(self) -> None:
        if self.beams < 1 or self.groups < 1 or self.beams % self.groups:
            raise ValueError(f"{self.beams} beams do not divide into {self.groups} groups")
        if not 1 <= self.min_length < self.max_length:
            raise ValueError(f"lengths {self.min_length} to {self.max_length} leave no caption")

    @property
    def group_width(self) -> int:
        return self.beams // self.groups


def decode(step: Step, num_pictures: int, how: Decoding) -> list[list[int]]:
    """One caption per picture, without its start and end token."""
    if how.beams == 1:
        return greedy(step, num_pictures, how)
    return beam_search(step, num_pictures, how)


# greedy ----------------------------------------------------------------------------------


def greedy(step: Step, num_pictures: int, how: Decoding) -> list[list[int]]:
    """The likeliest token at every step, until the end token or the maximal length."""
    found = [[how.start] for _ in range(num_pictures)]
    for _ in range(how.max_length - 1):
        going = [i for i, tokens in enumerate(found) if tokens[-1] != how.end]
        if not going:
            break
        logits = step(torch.tensor([found[i] for i in going]), torch.tensor(going))
        best = _forbid_early_end(logits, len(found[going[0]]), how).argmax(dim=1)
        for i, token in zip(going, best.tolist(), strict=True):
            found[i].append(token)
    return [_words(tokens, how) for tokens in found]


def _words(tokens: list[int], how: Decoding) -> list[int]:
    return tokens[1:-1] if tokens[-1] == how.end else tokens[1:]


def _forbid_early_end(
    logits: Float[Tensor, "n v"], length: int, how: Decoding
) -> Float[Tensor, "n v"]:
    if length >= how.min_length:
        return logits
    logits = logits.clone()
    logits[:, how.end] = -torch.inf
    return logits


# beam search -----------------------------------------------------------------------------


class _Beam(NamedTuple):
    score: float
    tokens: list[int]


def beam_search(step: Step, num_pictures: int, how: Decoding) -> list[list[int]]:
    """The best-scored sequence that ``beams`` beams find for each picture."""
    searches = [_Search(how) for _ in range(num_pictures)]
    for _ in range(how.max_length - 1):
        going = [i for i, search in enumerate(searches) if not search.is_done]
        if not going:
            break
        rows = [(beam.tokens, i) for i in going for beam in searches[i].beams]
        tokens, pictures = zip(*rows, strict=True)
        logits = step(torch.tensor(tokens), torch.tensor(pictures)).float()
        sizes = [len(searches[i].beams) for i in going]
        for i, part in zip(going, logits.split(sizes), strict=True):
            searches[i].advance(part)
    return [_words(search.best(), how) for search in searches]


class _Search:
    """The search for one picture's caption, in all groups."""

    def __init__(self, how: Decoding) -> None:
        self.how = how
        self.groups = [_Group(how) for _ in range(how.groups if how.diversity else 1)]

    @property
    def beams(self) -> list[_Beam]:
        return [beam for group in self._going for beam in group.beams]

    @property
    def is_done(self) -> bool:
        return not self._going

    @property
    def _going(self) -> list["_Group"]:
        return [group for group in self.groups if not group.is_done]

    def advance(self, logits: Float[Tensor, "n v"]) -> None:
        """One token more in every group; rows are those of `beams`."""
        chosen: list[int] = []
        going = self._going
        parts = logits.split([len(group.beams) for group in going])
        for group, part in zip(going, parts, strict=True):
            scores = part.log_softmax(dim=1) if self.how.scores == "log-probabilities" else part
            scores = _forbid_early_end(scores, len(group.beams[0].tokens), self.how)
            times = torch.bincount(
                torch.tensor(chosen, dtype=torch.long), minlength=scores.shape[1]
            )
            group.advance(scores - self.how.diversity * times.to(scores.device))
            chosen += [beam.tokens[-1] for beam in group.beams]

    def best(self) -> list[int]:
        found = [beam for group in self.groups for beam in group.finish()]
        return max(found, key=lambda beam: beam.score).tokens


class _Group:
    """Beams that compete with each other; the ``ended`` are ranked by their score over length."""

    def __init__(self, how: Decoding) -> None:
        self.how = how
        self.beams = [_Beam(0.0, [how.start])]
        self.ended: list[_Beam] = []
        self.is_done = False

    def advance(self, scores: Float[Tensor, "n v"]) -> None:
        sums = scores + torch.tensor([[beam.score] for beam in self.beams], device=scores.device)
        best = sums.flatten().topk(min(2 * self.how.group_width, sums.numel()))
        candidates = zip(best.values.tolist(), best.indices.tolist(), strict=True)
        beams: list[_Beam] = []
        for rank, (score, index) in enumerate(candidates):
            if score == -torch.inf or len(beams) == self.how.group_width:
                break
            row, token = divmod(index, scores.shape[1])
            grown = _Beam(score, [*self.beams[row].tokens, token])
            if token != self.how.end:
                beams.append(grown)
            elif rank < self.how.group_width:
                self._end(grown)
        length = len(self.beams[0].tokens) + 1
        self.beams = beams
        self.is_done = not beams or self._cannot_improve(best.values[0].item(), length)

    def finish(self) -> list[_Beam]:
        """The best of the ended sequences, and of the open ones where the search was cut off."""
        if not self.is_done:
            for beam in self.beams:
                self._end(beam)
        return self.ended

    def _end(self, beam: _Beam) -> None:
        ended = _Beam(self._over_length(beam.score, len(beam.tokens)), beam.tokens)
        ranked = sorted([*self.ended, ended], key=lambda beam: beam.score, reverse=True)
        self.ended = ranked[: self.how.group_width]

    def _cannot_improve(self, best_sum: float, length: int) -> bool:
        if len(self.ended) < self.how.group_width:
            return False
        return self.ended[-1].score >= self._over_length(best_sum, length)

    def _over_length(self, total: float, length: int) -> float:
        return total / length**self.how.length_penalty
