"""What a question is made of, and its canonical text.

Every form's fields are parts, or plain values; lengths of time are in seconds.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

Bound = Literal["at least", "at most", "exactly"]


@dataclass(frozen=True)
class Label:
    """The moments of one query."""

    name: str


@dataclass(frozen=True)
class Then:
    """From a moment of the one to the next of the other."""

    before: "Expression"
    after: "Expression"
    within_s: float | None = None


@dataclass(frozen=True)
class And:
    """When both go on."""

    left: "Expression"
    right: "Expression"


@dataclass(frozen=True)
class Or:
    """When one of them goes on, or both."""

    left: "Expression"
    right: "Expression"


@dataclass(frozen=True)
class Not:
    """When it does not go on."""

    part: "Expression"


@dataclass(frozen=True)
class Lasting:
    """Moments that are long enough, or short enough."""

    part: "Expression"
    bound: Bound
    seconds: float


@dataclass(frozen=True)
class Times:
    """Moments, where there are that many of them: in the video, or in that time."""

    part: "Expression"
    bound: Bound
    count: int
    within_s: float | None = None


@dataclass(frozen=True)
class Pick:
    """The one moment that comes first, or last."""

    which: Literal["first", "last"]
    part: "Expression"


Expression = Label | Then | And | Or | Not | Lasting | Times | Pick

_THEN, _OR, _AND, _SHAPED, _PREFIXED = range(5)
"""How tightly a form binds: a part that binds less tightly stands in parentheses."""


@dataclass(frozen=True)
class Question:
    """A question that was read; its text as `str` gives it reads as the same question."""

    expression: Expression

    @property
    def names(self) -> tuple[str, ...]:
        """The queries to look for, each once, in the order of the text."""
        parts = _walk(self.expression)
        return tuple(dict.fromkeys(part.name for part in parts if isinstance(part, Label)))

    @property
    def needs_duration(self) -> bool:
        """Whether the answer depends on how long the video is."""
        return any(isinstance(part, Not) for part in _walk(self.expression))

    @property
    def depth(self) -> int:
        """How many forms stand inside each other, where most do."""
        depth, level = 0, [self.expression]
        while level:
            depth, level = depth + 1, [part for form in level for part in _parts(form)]
        return depth

    def __str__(self) -> str:
        return _to_text(self.expression, _THEN)


def _walk(expression: Expression) -> Iterator[Expression]:
    """The expression and all its parts, from left to right."""
    waiting: list[Expression] = [expression]
    while waiting:
        here = waiting.pop()
        yield here
        waiting += reversed(_parts(here))


def _parts(expression: Expression) -> tuple[Expression, ...]:
    match expression:
        case Then(left, right) | And(left, right) | Or(left, right):
            return left, right
        case Not(part) | Lasting(part) | Times(part) | Pick(part=part):
            return (part,)
        case Label():
            return ()


def _to_text(expression: Expression, tightness: int) -> str:
    text, own = _bare_text(expression)
    return text if own >= tightness else f"({text})"


def _bare_text(expression: Expression) -> tuple[str, int]:
    """The text without parentheses around it, and how tightly it binds."""
    match expression:
        case Label(name):
            return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"', _PREFIXED
        case Then(before, after, within_s):
            # a count at the end would take the "within" for its own
            right = _to_text(after, _OR if within_s is None else _PREFIXED)
            return f"{_to_text(before, _THEN)} then {right}{_within(within_s)}", _THEN
        case Or(left, right):
            return f"{_to_text(left, _OR)} or {_to_text(right, _AND)}", _OR
        case And(left, right):
            return f"{_to_text(left, _AND)} and {_to_text(right, _SHAPED)}", _AND
        case Lasting(part, bound, seconds):
            return f"{_to_text(part, _SHAPED)} for {bound} {_seconds(seconds)}", _SHAPED
        case Times(part, bound, count, within_s):
            times = f"{bound} {count} time{'s' * (count != 1)}{_within(within_s)}"
            return f"{_to_text(part, _SHAPED)} {times}", _SHAPED
        case Not(part):
            return f"not {_to_text(part, _PREFIXED)}", _PREFIXED
        case Pick(which, part):
            return f"{which} {_to_text(part, _PREFIXED)}", _PREFIXED


def _within(within_s: float | None) -> str:
    return "" if within_s is None else f" within {_seconds(within_s)}"


def _seconds(seconds: float) -> str:
    return f"{np.format_float_positional(seconds, trim='-')} s"
