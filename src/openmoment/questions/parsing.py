"""From the text of a question to the question, with errors that point at the character."""

import math
import re
from collections.abc import Collection, Iterable
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from openmoment.errors import QuestionError
from openmoment.questions.expressions import (
    And,
    Bound,
    Expression,
    Label,
    Lasting,
    Not,
    Or,
    Pick,
    Question,
    Then,
    Times,
)

if TYPE_CHECKING:
    from lark import Lark, Token

MAX_LENGTH, MAX_DEPTH = 1000, 50
"""Characters of a question, and forms inside each other: more than any person asks."""

_SECONDS = (
    dict.fromkeys(("ms", "mil"), 0.001)
    | dict.fromkeys(("s", "sec"), 1.0)
    | {"min": 60.0}
    | dict.fromkeys(("h", "hou"), 3600.0)
)
"""What a unit holds, by its first three letters."""


def parse(text: str) -> Question:
    """The question that the text asks; grammar: docs/questions.md.

    Raises QuestionError, which knows the position in the text.
    """
    from lark.exceptions import UnexpectedCharacters, UnexpectedToken

    if len(text) > MAX_LENGTH:
        raise QuestionError(f"Question: longer than {MAX_LENGTH} characters", MAX_LENGTH)
    try:
        question = Question(_parser().parse(text))  # pyright: ignore[reportArgumentType]
    except UnexpectedCharacters as error:
        message = "Question: this quotation mark has no partner"
        raise QuestionError(message, error.pos_in_stream) from error
    except UnexpectedToken as error:
        raise _misplaced(error.token, error.accepts or error.expected, text) from error
    if question.depth > MAX_DEPTH:
        raise QuestionError(f"Question: more than {MAX_DEPTH} forms inside each other", 0)
    return question


def names_of(questions: Iterable[Question]) -> tuple[str, ...]:
    """The queries that the questions are about, each once."""
    return tuple(dict.fromkeys(name for question in questions for name in question.names))


def _misplaced(token: "Token", expected: Collection[str], text: str) -> QuestionError:
    wanted = _wanted(set(expected))
    if token.type == "$END":
        return QuestionError(f"Question: expected {wanted}, and the text ends", len(text.rstrip()))
    return QuestionError(f"Question: expected {wanted}", token.start_pos or 0, near=str(token))


def _wanted(expected: set[str]) -> str:
    """What could have stood there, for people."""
    if "_THEN" in expected:
        closing = ' or ")"' if "_CLOSE" in expected else ""
        return "then, and, or, for at least, 3 times" + closing
    if "DURATION" in expected:
        return "a length of time such as 10 s or 2 min"
    if "COUNT" in expected:
        return "a number of times such as 3 times"
    return "at least or at most" if "AT_LEAST" in expected else "what to look for"


@cache
def _parser() -> "Lark":
    """The parser of the grammar, which makes expressions right away."""
    from lark import Lark, Transformer, v_args

    @v_args(inline=True)
    class Building(Transformer):  # pyright: ignore[reportMissingTypeArgument, reportUntypedBaseClass]
        def words(self, *words: "Token") -> Label:
            return Label(" ".join(words))

        def quoted(self, token: "Token") -> Label:
            name = " ".join(re.sub(r"\\(.)", r"\1", token[1:-1], flags=re.DOTALL).split())
            if not name:
                raise QuestionError("Question: nothing between the quotation marks", _at(token))
            return Label(name)

        def then(
            self, before: Expression, after: Expression, within: "Token | None" = None
        ) -> Then:
            return Then(before, after, _to_seconds(within))

        def either(self, left: Expression, right: Expression) -> Or:
            return Or(left, right)

        def both(self, left: Expression, right: Expression) -> And:
            return And(left, right)

        def negated(self, part: Expression) -> Not:
            return Not(part)

        def pick(self, which: "Token", part: Expression) -> Pick:
            return Pick("first" if which.type == "FIRST" else "last", part)

        def lasting(self, part: Expression, bound: "Token", duration: "Token") -> Lasting:
            seconds = _to_seconds(duration)
            assert seconds is not None
            return Lasting(part, _to_bound(bound), seconds)

        def times(
            self,
            part: Expression,
            bound: "Token | None",
            count: "Token",
            within: "Token | None" = None,
        ) -> Times:
            number = int(count.split()[0])
            if number == 0:
                message = "Question: expected 1 time or more, and not for what never happens"
                raise QuestionError(message, _at(count), near=str(count))
            return Times(part, _to_bound(bound), number, _to_seconds(within))

    grammar = (resources.files("openmoment.questions") / "question.lark").read_text("utf-8")
    return Lark(grammar, parser="lalr", lexer="basic", transformer=Building())


def _to_bound(token: "Token | None") -> Bound:
    """``3 times`` by itself means exactly three."""
    match token.type if token is not None else None:
        case "AT_LEAST":
            return "at least"
        case "AT_MOST":
            return "at most"
        case _:
            return "exactly"


def _to_seconds(token: "Token | None") -> float | None:
    if token is None:
        return None
    number, unit = re.fullmatch(r"([0-9.]+)\s*(\w+)", token).groups()  # pyright: ignore
    seconds = float(number) * _SECONDS[unit.lower()[:3]]
    if not math.isfinite(seconds):
        raise QuestionError("Question: this length of time is too long", _at(token))
    return seconds


def _at(token: Any) -> int:
    return int(token.start_pos or 0)
