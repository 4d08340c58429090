"""What is known of each method besides its code: package data."""

import inspect
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Literal

from openmoment.config import from_table
from openmoment.methods import METHODS


@dataclass(frozen=True)
class MethodCard:
    """Of one method, as ``data/method_cards.toml`` tells it."""

    title: str
    what: str
    paper: str = ""
    reference: Literal["", "none", "partial", "full"] = ""
    """Whether its authors published code: of nothing, of a part, of all; empty where not said."""
    published: tuple[str, ...] = ()
    """What papers' tables call it, best fit first."""
    choices: tuple[str, ...] = ()
    """Where the paper is silent or wrong, and what we do."""
    failures: tuple[str, ...] = ()


def card_of(method: str) -> MethodCard:
    """The card of a method; of one without, what its module says of itself."""
    return _cards().get(method) or MethodCard(method, _own_words(method))


def _own_words(method: str) -> str:
    if method not in METHODS:
        return ""
    told = inspect.getdoc(inspect.getmodule(METHODS[method])) or ""
    return " ".join(told.partition("\n\n")[0].split())


@cache
def _cards() -> Mapping[str, MethodCard]:
    path = resources.files("openmoment") / "data" / "method_cards.toml"
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    return {
        name: from_table(MethodCard, table, where=f"card of {name}")
        for name, table in document.items()
    }
