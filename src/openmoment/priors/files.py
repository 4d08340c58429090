"""The folder of priors: ``<label>/texts.json`` and ``<label>/img_*``, whoever wrote them.

    {
      "label": "pole vault",
      "texts": ["a person runs up with a long pole", "..."],
      "made": {"provider": "openai", "model": "...", "prompt": "...", "seed": 0, ...}
    }

``label`` and ``texts`` are all that a file by hand needs. A picture that a provider made carries
its provenance inside it, in the text of its PNG.
"""

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from pathlib import Path
from typing import Any

from openmoment.errors import FormatError, QueryError
from openmoment.priors.pictures import SUFFIXES, read_note
from openmoment.storage.atomic import write_text
from openmoment.storage.reading import get, read_json

TEXTS_FILE = "texts.json"
_LONGEST = 100  # bytes of a folder's name
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)", re.IGNORECASE)  # names that Windows keeps


@dataclass(frozen=True)
class Provenance:
    """Who made a text or a picture, and out of what."""

    provider: str
    model: str
    prompt: str
    seed: int | None
    """None where the provider takes none."""
    date: str
    """The day, as 2026-01-31."""
    sha256: str
    """Of the texts, or of the picture file as it came."""


@dataclass(frozen=True)
class Prior:
    """What is known of one label beyond its words."""

    label: str
    texts: tuple[str, ...]
    images: tuple[Path, ...]
    made: Provenance | None
    """Of the texts; None for those by hand."""
    images_made: tuple[Provenance | None, ...]
    """Of each image."""

    @property
    def is_edited(self) -> bool:
        """Whether the texts are other ones than those that the provider gave."""
        return self.made is not None and self.made.sha256 != digest_of(self.texts)


class Priors(Mapping[str, Prior]):
    """Priors by label. Upper and lower case and white space do not count."""

    def __init__(self, priors: Sequence[Prior]) -> None:
        self._priors = {key_of(prior.label): prior for prior in priors}

    def __getitem__(self, label: str) -> Prior:
        return self._priors[key_of(label)]

    def __contains__(self, label: object) -> bool:
        return isinstance(label, str) and key_of(label) in self._priors

    def __iter__(self) -> Iterator[str]:
        return (prior.label for prior in self._priors.values())

    def __len__(self) -> int:
        return len(self._priors)


def read_priors(folder: str | Path) -> Priors:
    """What a folder of priors holds. Raises FormatError, which names the file and the field."""
    root = Path(folder)
    if not root.is_dir():
        raise FormatError(f"{root}: no such folder of priors. Make one: openmoment priors make.")
    found: dict[str, Prior] = {}
    for child in sorted(path for path in root.iterdir() if path.is_dir()):
        if child.name.startswith(".") or not any(child.iterdir()):
            continue
        prior = read_prior(child)
        if twin := found.get(key_of(prior.label)):
            raise FormatError(f"{child}: the label {prior.label!r} is there twice ({twin.label}).")
        found[key_of(prior.label)] = prior
    if not found:
        raise FormatError(f"{root}: holds no priors. Make some: openmoment priors make.")
    return Priors(list(found.values()))


def read_prior(folder: Path) -> Prior:
    """One label's folder. Raises FormatError."""
    path = folder / TEXTS_FILE
    if not path.is_file():
        raise FormatError(
            f'{path}: is missing. Write it by hand: {{"label": "pole vault", "texts": []}}.'
        )
    document = read_json(path)
    label = " ".join(get(document, "label", str, str(path)).split())
    if not label:
        raise FormatError(f"{path}: label: is empty.")
    images = list_images(folder)
    return Prior(
        label,
        tuple(_read_texts(document, path)),
        tuple(images),
        _read_provenance(document["made"], f"{path}: made") if document.get("made") else None,
        tuple(_provenance_of(image) for image in images),
    )


def write_texts(label: str, texts: Sequence[str], made: Provenance | None, path: Path) -> None:
    """Write one label's ``texts.json``, in a form that people can correct."""
    document: dict[str, Any] = {"label": label, "texts": list(texts)}
    if made:
        document["made"] = asdict(made)
    write_text(json.dumps(document, ensure_ascii=False, indent=2) + "\n", path)


def list_images(folder: Path) -> list[Path]:
    """The pictures of one label: ``img_*``, in the order of their names."""
    return sorted(path for path in folder.glob("img_*") if path.suffix.lower() in SUFFIXES)


def digest_of(texts: Sequence[str]) -> str:
    """The SHA-256 of texts, to see whether they were changed."""
    return sha256("\n".join(texts).encode("utf-8", "surrogatepass")).hexdigest()


def folder_names(labels: Sequence[str]) -> dict[str, str]:
    """A folder's name for each label. Raises QueryError when two would share one."""
    names: dict[str, str] = {}
    owners: dict[str, str] = {}
    for label in labels:
        name = folder_name(label)
        other = owners.setdefault(name.casefold(), label)
        if other != label:
            raise QueryError(
                f"The labels {other!r} and {label!r} would share the folder {name!r}. Rename one."
            )
        names[label] = name
    return names


def folder_name(label: str) -> str:
    """A file name that every system takes: letters, digits, spaces, ``-`` and ``_``.

    What is cut off, or left with nothing, gets some digits of a hash, so that it stays its own.
    """
    plain = unicodedata.normalize("NFC", label)
    name = "".join(c if _is_plain(c) else "-" for c in plain).strip(" -")
    short = name.encode()[:_LONGEST].decode(errors="ignore").strip(" -")
    if name and short == name and not _RESERVED.fullmatch(name):
        return name
    return f"{short or 'label'}-{sha256(label.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def _is_plain(letter: str) -> bool:
    is_mark = unicodedata.category(letter).startswith("M")  # vowel signs of many scripts
    return letter.isalnum() or is_mark or letter in " -_"


def _read_texts(document: Any, path: Path) -> Iterator[str]:
    for i, text in enumerate(get(document, "texts", list, str(path))):
        if not isinstance(text, str) or not text.strip():
            raise FormatError(f"{path}: texts[{i}]: expected a sentence, got {text!r}.")
        yield " ".join(text.split())


def _provenance_of(image: Path) -> Provenance | None:
    note = read_note(image)
    if note is None:
        return None
    try:
        return _read_provenance(json.loads(note), f"{image}: its note")
    except ValueError as error:
        raise FormatError(f"{image}: its note is not JSON ({error}). Save it anew.") from error


def _read_provenance(table: Any, where: str) -> Provenance:
    kinds = {field.name: str for field in fields(Provenance) if field.name != "seed"}
    seed = table.get("seed") if isinstance(table, dict) else None
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int)):
        raise FormatError(f"{where}: seed: expected a whole number, got {seed!r}.")
    return Provenance(seed=seed, **{name: get(table, name, kinds[name], where) for name in kinds})


def key_of(label: str) -> str:
    """What is the same for two ways to write one label."""
    return " ".join(label.split()).casefold()
