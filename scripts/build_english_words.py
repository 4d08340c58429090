"""Write the English words of the package from Debian's lists, WordNet, and our class names.

    apt-get download wamerican wbritish wamerican-large wbritish-large wordnet-base
    for deb in *.deb; do dpkg-deb -x $deb words; done
    python scripts/build_english_words.py words

What is in wamerican, wbritish or in a class name is a common word, all else a rare one.
"""

import json
import lzma
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from openmoment.questions.words import fold, is_form_of

DATA = Path(__file__).parents[1] / "src" / "openmoment" / "data"
COMMON = ("american-english", "british-english")
RARE = ("american-english-large", "british-english-large")


def words_of(texts: Iterable[str], shortest: int = 2) -> set[str]:
    """All words in texts."""
    found = {word for text in texts for word in re.findall("[a-z]+", fold(text))}
    return {word for word in found if len(word) >= shortest}


def words_in_list(path: Path) -> set[str]:
    """The words of a file with one a line, without the possessives."""
    lines = path.read_text(encoding="utf-8").splitlines()
    words = {fold(line.removesuffix("'s")) for line in lines}
    return {word for word in words if re.fullmatch("[a-z]{2,}", word)}


def class_texts() -> Iterator[str]:
    """The class names that come with the package."""
    for dataset in json.loads((DATA / "class_splits.json").read_text()).values():
        for name in dataset["classes"]:
            yield re.sub("(?<=[a-z])(?=[A-Z])", " ", name)
    yield from (DATA / "kinetics400_names.txt").read_text().splitlines()
    for row in (DATA / "imagenet_classes.tsv").read_text().splitlines():
        yield row.split("\t", 1)[1]


def without_forms(words: set[str], known: Iterable[str] = ()) -> list[str]:
    """The words that are no form of another, or of one that is known."""
    kept = set(known)
    new = []
    for word in sorted(words - kept, key=lambda word: (len(word), word)):
        if not is_form_of(word, kept):
            kept.add(word)
            new.append(word)
    return sorted(new)


def main(root: Path) -> None:
    dictionaries = root / "usr" / "share" / "dict"
    common = words_of(class_texts())
    for name in COMMON:
        common |= words_in_list(dictionaries / name)
    rare: set[str] = set()
    for name in RARE:
        rare |= words_in_list(dictionaries / name)
    for path in (root / "usr" / "share" / "wordnet").glob("index.[nva]*"):
        lines = path.read_text(encoding="ascii").splitlines()
        heads = (line.split(" ", 1)[0] for line in lines if not line.startswith(" "))
        rare |= words_of(heads, shortest=3)
    kept = without_forms(common)
    text = "\n".join(kept) + "\n\n" + "\n".join(without_forms(rare, kept))
    (DATA / "english_words.xz").write_bytes(
        lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME)
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
