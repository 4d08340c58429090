"""Decoding against literal references: argmax, every sequence, and open_clip's own beam search."""

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from openmoment.encoders.captioners.decoding import Decoding, Step, beam_search, decode, greedy

VOCABULARY, START, END = 9, 7, 8
USUAL = Decoding(start=START, end=END, max_length=12)
Table = torch.Tensor
"""Logits of the next token: picture, last token, the one before it, next token."""


def made_up(seed: int, *, pictures: int = 3, vocabulary: int = VOCABULARY) -> Table:
    """A language model in a table; some end soon, some late, some never."""
    generator = torch.Generator().manual_seed(seed)
    table = torch.randn(pictures, vocabulary, vocabulary, vocabulary, generator=generator)
    table = table * (0.5, 1.0, 3.0)[seed % 3] - (0.0, 2.0, 5.0)[seed // 3 % 3]
    table[..., -1] += (-3.0, 0.0, 1.0, 3.0)[seed % 4]
    return table


def stepping(table: Table) -> Step:
    """Grows with the length, lest two orders of the same words have the same sum."""

    def step(tokens: torch.Tensor, pictures: torch.Tensor) -> torch.Tensor:
        before = tokens[:, -2] if tokens.shape[1] > 1 else torch.zeros_like(tokens[:, -1])
        return table[pictures, tokens[:, -1], before] * (1 + 0.1 * tokens.shape[1])

    return step


def logits_after(table: Table, picture: int, tokens: list[int], how: Decoding) -> torch.Tensor:
    row = stepping(table)(torch.tensor([tokens]), torch.tensor([picture]))[0].clone()
    if len(tokens) < how.min_length:
        row[how.end] = -torch.inf
    return row


seeds = st.integers(0, 10_000)


@settings(max_examples=40, deadline=None)
@given(seed=seeds, min_length=st.integers(1, 6))
def test_greedy_is_argmax_step_by_step(seed: int, min_length: int) -> None:
    table, how = made_up(seed), replace(USUAL, min_length=min_length)
    for picture, found in enumerate(greedy(stepping(table), 3, how)):
        tokens = [START]
        while len(tokens) < how.max_length and tokens[-1] != END:
            tokens.append(int(logits_after(table, picture, tokens, how).argmax()))
        assert found == [token for token in tokens[1:] if token != END]


@settings(max_examples=40, deadline=None)
@given(seed=seeds)
def test_one_beam_is_greedy(seed: int) -> None:
    """The search itself too, where going on can never raise the score."""
    table = made_up(seed)
    how = replace(USUAL, beams=1, groups=1, scores="log-probabilities", length_penalty=0.0)
    expected = greedy(stepping(table), 3, how)
    assert beam_search(stepping(table), 3, how) == expected
    assert decode(stepping(table), 3, how) == expected


@settings(max_examples=25, deadline=None)
@given(seed=seeds, penalty=st.sampled_from([0.0, 1.0, 2.0]), by_logits=st.booleans())
def test_beams_for_every_sequence_find_the_best_of_all(
    seed: int, penalty: float, by_logits: bool
) -> None:
    """Three words and an end, at most three words long: 3 + 9 + 27 open, 1 + 3 + 9 ended."""
    table = made_up(seed, pictures=1, vocabulary=5)
    table[..., 3] = -torch.inf  # the start is never said again
    how = Decoding(
        beams=60, groups=1, max_length=4, min_length=2, start=3, end=4,
        scores="logits" if by_logits else "log-probabilities", length_penalty=penalty,
    )  # fmt: skip

    def score(tokens: list[int]) -> float:
        total = 0.0
        for i in range(1, len(tokens)):
            row = logits_after(table, 0, tokens[:i], replace(how, min_length=1))
            total += float((row if by_logits else row.log_softmax(0))[tokens[i]])
        return total / len(tokens) ** penalty

    words = [list(w) for n in (1, 2, 3) for w in product(range(3), repeat=n)]
    complete = [[3, *w, 4] for w in words if len(w) < 3] + [[3, *w] for w in words if len(w) == 3]
    best = max(complete, key=score)
    assert beam_search(stepping(table), 1, how) == [[t for t in best[1:] if t != 4]]


Kept = list[tuple[float, list[int]]]


def add(kept: Kept, how: Decoding, total: float, sequence: list[int], length: int) -> None:
    """Keep a sequence if there is room, or a worse one to throw out."""
    score = total / length**how.length_penalty
    if len(kept) < how.group_width or score > min(kept)[0]:
        kept.append((score, sequence))
        if len(kept) > how.group_width:
            kept.remove(min(kept))


def advance(
    kept: Kept, beams: Kept, table: Table, picture: int, how: Decoding
) -> tuple[Kept, bool]:
    """The beams of one group a token later, and whether it is done."""
    width, length = how.group_width, len(beams[0][1]) + 1
    options = [
        (total + float(value), [*sequence, token])
        for total, sequence in beams
        for token, value in enumerate(logits_after(table, picture, sequence, how))
    ]
    options = sorted(options, key=lambda option: -option[0])[: 2 * width]
    grown: Kept = []
    for rank, (total, sequence) in enumerate(options):
        if sequence[-1] != how.end:
            grown.append((total, sequence))
        elif rank < width:
            add(kept, how, total, sequence[:-1], length)
        if len(grown) == width:
            break
    attainable = options[0][0] / length**how.length_penalty
    return grown, len(kept) == width and min(kept)[0] >= attainable


def open_clip_beams(table: Table, picture: int, how: Decoding) -> list[int]:
    """open_clip 3.3's beam search with transformers 4's scorer, for one picture, told literally.

    All groups are searched, and the beams that do not count yet start at -1e9.
    """
    found: Kept = []
    for _ in range(how.groups):
        kept: Kept = []
        beams = [(0.0 if not i else -1e9, [how.start]) for i in range(how.group_width)]
        is_done = False
        while not is_done and len(beams[0][1]) < how.max_length:
            beams, is_done = advance(kept, beams, table, picture, how)
        for total, sequence in [] if is_done else beams:
            add(kept, how, total, sequence, len(sequence))
        found += kept
    return max(found)[1][1:]


@settings(max_examples=40, deadline=None)
@given(seed=seeds, shape=st.sampled_from([(6, 3), (4, 1), (4, 2), (2, 2)]), low=st.integers(1, 6))
@example(seed=2296, shape=(4, 1), low=1)
def test_beam_search_is_that_of_open_clip(seed: int, shape: tuple[int, int], low: int) -> None:
    table = made_up(seed, pictures=1).double()
    how = replace(USUAL, beams=shape[0], groups=shape[1], min_length=low)
    assert beam_search(stepping(table), 1, how) == [open_clip_beams(table, 0, how)]


@pytest.mark.parametrize("diversity", [0.0, 1.5])
@pytest.mark.parametrize("search", [greedy, beam_search])
def test_a_batch_gives_what_one_by_one_gives(search: Callable, diversity: float) -> None:
    table = made_up(9, pictures=6)
    how = replace(USUAL, diversity=diversity)
    together = search(stepping(table), 6, how)
    assert together == [search(stepping(table[i : i + 1]), 1, how)[0] for i in range(6)]
    assert together == search(stepping(table), 6, how)
    assert len({len(words) for words in together}) > 1
    assert search(stepping(table), 0, how) == []


@settings(max_examples=30, deadline=None)
@given(seed=seeds, low=st.integers(1, 5), more=st.integers(1, 5), beams=st.sampled_from([1, 3, 6]))
def test_lengths_are_honoured(seed: int, low: int, more: int, beams: int) -> None:
    how = replace(USUAL, min_length=low, max_length=low + more, beams=beams, groups=1)
    for words in decode(stepping(made_up(seed)), 3, how):
        assert low - 1 <= len(words) <= how.max_length - 1
        assert END not in words


def test_a_diversity_penalty_makes_groups_look_elsewhere() -> None:
    """The first group takes 0; the penalty sends the second to 1, where the better end lies."""
    table = torch.full((1, 4, 4, 4), -9.0)
    table[0, 2, 0] = torch.tensor([1.0, 0.9, -9.0, -9.0])
    table[0, 0, :, 3] = -1.0
    table[0, 1, :, 3] = 5.0
    how = Decoding(beams=2, groups=2, max_length=3, min_length=2, start=2, end=3)
    assert beam_search(stepping(table), 1, how) == [[0]]
    assert beam_search(stepping(table), 1, replace(how, diversity=0.5)) == [[1]]


def test_settings_that_cannot_be_are_refused() -> None:
    for change in ({"beams": 5}, {"groups": 0}, {"min_length": 12}, {"min_length": 0}):
        with pytest.raises(ValueError, match="leave no caption|do not divide"):
            replace(USUAL, **change)
