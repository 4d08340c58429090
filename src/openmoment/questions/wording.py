"""What the words of a query ask for that a backbone cannot know; the rules: data/wording.toml.

Rules are of English. A query that would be answered by chance or by its opposite is refused; of
one that is looked for but in part, that is noted.
"""

import re
import shlex
import tomllib
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from importlib import resources
from typing import Any, NamedTuple

from openmoment.questions.words import fold, is_common, is_english, near

_EDGES = r"(?<![\w’'-]){}(?![\w’'-])"
_NUMBERS = {
    w: str(n) for n, w in enumerate("two three four five six seven eight nine ten".split(), 2)
}
_LOOSE_ENDS = re.compile(
    r"^(?:any|and|but|who|that|which|there|is|are) "
    r"| (?:who|that|which|and|but|or|is|are|it|there|while|with),?$",
    re.IGNORECASE,
)
"""Words that a part of a query starts or ends with, and that lead nowhere."""
_JUDGED = 500
"""Characters of a query that are looked at."""
_LONGEST = 12
"""Words of a sentence that can still be put as a question."""
_MARKS = str.maketrans("'‘“”„", '’’"""')
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z][a-z])")
"""Where a name such as BaseballPitch goes apart."""
_CONSONANTS = re.compile(r"[bcdfghjklmnpqrstvwxz]{5}|^[^aeiouy]{3,}$", re.IGNORECASE)
"""What no name is written with: five in a row, or no vowel at all."""


class Remark(NamedTuple):
    """What is to be said of a query."""

    kind: str
    query: str
    why: str = ""
    """Of a query that is refused: why, and what to do."""
    words: tuple[str, ...] = ()
    """Those that it is about."""
    question: str = ""
    """A question that asks it, where one does."""

    @property
    def is_refused(self) -> bool:
        """Whether the query is not to be looked for."""
        return bool(self.why)


def remarks(query: str, *, reads_english_alone: bool = True) -> tuple[Remark, ...]:
    """What is to be said of a query: one remark if it is refused, else notes of different kinds.

    A text tower that reads more than English takes words of any language. Of a query that is
    longer than anybody asks, the start is judged.
    """
    text = query[:_JUDGED]
    refused = _comment(text)
    if refused is None and reads_english_alone:
        refused = _unknown(text)
    if refused := refused or _negated(text):
        return (refused._replace(query=query),)
    unknown = _unknown_words(text) if reads_english_alone else ()
    noted = [Remark("unknown", text, words=unknown)] if unknown else []
    return tuple(remark._replace(query=query) for remark in (*noted, *_noted(text)))


def notes_of(said: Iterable[Remark]) -> tuple[str, ...]:
    """What remarks note, in a sentence for each kind, or for each that has a question."""
    grouped: dict[tuple[str, str], list[Remark]] = {}
    for remark in said:
        if not remark.is_refused:
            grouped.setdefault((remark.kind, remark.question), []).append(remark)
    return tuple(
        _rules()["noted"][kind].format(
            queries=_quoted(remark.query for remark in group),
            words=_quoted(word for remark in group for word in remark.words),
            question=shlex.quote(question),
        )
        for (kind, question), group in grouped.items()
    )


# words -------------------------------------------------------------------------------------


def _comment(query: str) -> Remark | None:
    """Refuses what has no letter in it, and what looks like a comment."""
    if not any(c.isalpha() for c in query):
        return _refuse("nonsense", query, "nothing")
    return _refuse("nonsense", query, "comment") if re.match(r"#\s", query) else None


def _unknown(query: str) -> Remark | None:
    """Refuses a query of which no word is known but small ones, or that is of another language."""
    every = _split(query)
    unknown = [word for word in every if not _is_known(word)]
    words = [word for word in every if fold(word) not in _listed("small_words")]
    if every and not words:
        return _refuse("nonsense", query, "nothing")
    alphabets = [name for word in words if (name := _alphabet(word))]
    foreign = [word for word in words if fold(word) in _listed("foreign_words")]
    others = [word for word in words if word not in foreign]
    if alphabets and len(unknown) == len(words):
        return _refuse("language", query, "language", [*dict.fromkeys(alphabets)], quoted=False)
    is_title = words[:1] != foreign[:1] and all(map(_is_name, others))  # Cirque du Soleil
    is_foreign = others and not is_title and not any(is_common(fold(word)) for word in others)
    if foreign and (is_foreign or any(word in unknown and word.islower() for word in others)):
        return _refuse("language", query, "language", words)
    known = [word for word in words if word not in unknown]
    if all(map(_is_name, unknown)) or any(is_common(fold(word)) for word in known):
        return None
    if len(known) >= len(unknown):
        return None
    hint = next(filter(None, (near(fold(word)) for word in unknown)), "")
    return _refuse("nonsense", query, "slip" if hint else "unknown", unknown, near=hint)


def _unknown_words(query: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word for word in _split(query) if not _is_known(word)))


def _split(query: str) -> list[str]:
    """The words of a query, of one letter or more, without digits and what apostrophes add."""
    query = re.sub(
        r"’(?:s|t|re|ve|ll|d|m)\b", " ", unicodedata.normalize("NFC", query.translate(_MARKS))
    )
    words = re.findall(r"[^\W_]+", query)
    words = [part for word in words for part in ([word] if _is_known(word) else _CAMEL.split(word))]
    return [word for word in words if len(word) > 1 and word.isalpha() or _alphabet(word)]


def _is_known(word: str) -> bool:
    folded = fold(word)
    if any(folded in _listed(which) for which in ("small_words", "more_words")):
        return True
    return not _alphabet(word) and is_english(folded)


def _is_name(word: str) -> bool:
    """Whether a word looks like the name of somebody, of a place, or like an abbreviation."""
    is_short = word.removesuffix("s").isupper() and len(word) <= 5
    return is_short or (word[0].isupper() and not word.isupper() and not _CONSONANTS.search(word))


def _alphabet(word: str) -> str:
    """The letters that a word is written in, where they are not Latin."""
    for letter in filter(str.isalpha, word):
        name = unicodedata.name(letter, "").split(" ")[0]
        if name not in ("LATIN", "FEMININE", "MASCULINE", ""):
            return _rules()["alphabets"].get(name, f"{name.title()} letters")
    return ""


# rules -------------------------------------------------------------------------------------


def _negated(query: str) -> Remark | None:
    """Refuses a negation, with the question that asks it."""
    rules = _rules()["negation"]
    bare = query.translate(_MARKS)
    for pattern in _compiled(tuple(rules["none"])):
        bare = pattern.sub(lambda found: re.sub(r"\w", "x", found[0]), bare)
    (words,) = _compiled((rules["words"],))
    if not (found := words.search(bare)):
        return None
    word = query[slice(*found.span())]
    is_short = len(query.split()) <= _LONGEST
    for rule in rules["rules"]:
        if is_short and (match := _whole(rule["pattern"]).fullmatch(bare)):
            spans = {name: query[slice(*match.span(name))] for name in match.groupdict()}
            if any(words.search(part) for part in match.groupdict().values()):
                break
            if question := _ask(rule["question"], spans):
                return _refuse("negation", query, "negation", [word], question=question)
    return _refuse("negation", query, "bare_negation", [word], question=rules["example"])


def _noted(query: str) -> Iterator[Remark]:
    """What is noted of a query, a remark of each kind that fits."""
    over: set[str] = set()
    plain = query.translate(_MARKS)
    for rule in _rules()["notes"]:
        patterns = _compiled(tuple(rule["patterns"]))
        found = next((m for p in patterns if (m := p.search(plain))), None)
        if found is None or rule["kind"] in over:
            continue
        over.update(rule["instead"])
        question = _ask(rule.get("question", ""), found.groupdict())
        if question or "question" not in rule:
            yield Remark(rule["kind"], query, question=question)


def _ask(question: str, parts: dict[str, str]) -> str:
    """A question of the parts of a query; none where a part would be empty."""
    tidy = {name: _trimmed(part) for name, part in parts.items()}
    small = _listed("small_words")
    if any(small.issuperset(map(fold, part.split())) for part in tidy.values()):
        return ""
    return question.format(**tidy)


def _trimmed(part: str) -> str:
    """A part of a query as a label: without quotes, and without words that lead nowhere."""
    part = re.sub(r'["“”\\]', "", part).strip(" ,.;:!?")
    while (shorter := _LOOSE_ENDS.sub("", part).strip(" ,")) != part:
        part = shorter
    return _NUMBERS.get(part.lower(), part)


def _refuse(
    kind: str,
    query: str,
    reason: str,
    words: Sequence[str] = (),
    *,
    quoted: bool = True,
    question: str = "",
    near: str = "",
) -> Remark:
    why = _rules()["refused"][reason].format(
        words=_quoted(words) if quoted else ", ".join(words),
        word=words[0] if words else "",
        question=shlex.quote(question),
        near=near,
    )
    return Remark(kind, query, why, tuple(words), question)


def _quoted(texts: Iterable[str]) -> str:
    return ", ".join(f'"{text}"' for text in dict.fromkeys(texts))


@cache
def _rules() -> dict[str, Any]:
    path = resources.files("openmoment") / "data" / "wording.toml"
    return tomllib.loads(path.read_text(encoding="utf-8"))


@cache
def _listed(which: str) -> frozenset[str]:
    return frozenset(map(fold, _rules()[which].split()))


@cache
def _compiled(patterns: tuple[str, ...]) -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(_EDGES.format(f"(?:{p})"), re.IGNORECASE) for p in patterns)


@cache
def _whole(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)
