"""Which words are English: a list of them, and how their forms lead to it."""

import lzma
import re
import unicodedata
from collections.abc import Collection, Iterator
from functools import cache
from importlib import resources
from typing import NamedTuple

_LETTERS = str.maketrans({"ø": "o", "æ": "ae", "œ": "oe", "ß": "ss", "ł": "l", "đ": "d", "ı": "i"})
_ENDINGS = (
    *(("s", ""), ("es", ""), ("ies", "y"), ("ves", "f"), ("ing", ""), ("ing", "e"), ("ed", "")),
    *(("ed", "e"), ("ied", "y"), ("er", ""), ("er", "e"), ("ers", ""), ("ers", "e"), ("ly", "")),
    *(("ness", ""), ("less", ""), ("est", ""), ("est", "e"), ("y", "")),
)
"""What a form may end in, and its word instead."""
_DOUBLED = ("ing", "ed", "er", "ers", "est", "y")  # after which "running" is of "run"
_STEM = 3  # letters that a word has at least, less its ending
_LONG = 6  # and one of which a slip is told
_PART = 4  # and each word of a compound


class Words(NamedTuple):
    """Words as `fold` gives them, of which forms are left out where their word is there."""

    common: frozenset[str]
    rare: frozenset[str]


def fold(text: str) -> str:
    """Small letters without accents: ``Café`` is ``cafe``."""
    parts = unicodedata.normalize("NFKD", text.lower().translate(_LETTERS))
    return "".join(c for c in parts if not unicodedata.combining(c))


@cache
def english_words() -> Words:
    """The package's list (scripts/build_english_words.py)."""
    data = (resources.files("openmoment") / "data" / "english_words.xz").read_bytes()
    common, rare = lzma.decompress(data).decode("ascii").split("\n\n")
    return Words(frozenset(common.split()), frozenset(rare.split()))


def is_common(word: str) -> bool:
    """Whether a folded word, or the word that it is a form of, is an everyday one."""
    return is_form_of(word, english_words().common)


def is_english(word: str) -> bool:
    """Whether a folded word is in the list, is a form of one, or two everyday ones in one."""
    common, rare = english_words()
    if is_form_of(word, common) or is_form_of(word, rare):
        return True
    cuts = range(_PART, len(word) - _PART + 1)
    return any(word[:i] in common and is_form_of(word[i:], common) for i in cuts)


def near(word: str) -> str | None:
    """An everyday word that one slip of the finger makes of this one; None for short ones."""
    if len(word) < _LONG:
        return None
    common = english_words().common
    cuts = [(word[:i], word[i:]) for i in range(len(word) + 1)]
    letters = "abcdefghijklmnopqrstuvwxyz"
    slips = [a + b[1] + b[0] + b[2:] for a, b in cuts if len(b) > 1]
    slips += [a + b[1:] for a, b in cuts if b]
    slips += [a + c + b[k:] for a, b in cuts for k in (0, 1) for c in letters]
    return next((s for s in slips if s in common or s.removesuffix("s") in common), None)


def is_form_of(word: str, words: Collection[str]) -> bool:
    """Whether a word, or one that it may be a form of, is among these."""
    return word in words or any(base in words for base in bases(word))


def bases(word: str) -> Iterator[str]:
    """The words that a word may be a form of, such as ``run`` and ``runn`` of ``running``."""
    for ending, instead in _ENDINGS:
        stem = word.removesuffix(ending)
        if stem == word or len(stem) < _STEM:
            continue
        yield stem + instead
        if ending in _DOUBLED and not instead and re.search(r"(.)\1$", stem):
            yield stem[:-1]
