"""Captions of a video's frames: one JSON file per video, and those that others wrote.

A file holds ``format``, ``captioner``, ``fingerprint``, ``fps``, ``source_sha256``, ``version``
and ``captions``, a list of ``{"time_s": 0.5, "text": "a man throws a ball"}``.

Axes: c captions.
"""

import csv
import io
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray as Array

from openmoment.errors import FormatError, RecipeError
from openmoment.features.file import IMPORTED
from openmoment.storage.atomic import write_text
from openmoment.storage.reading import get, get_number, read_json, read_text, to_number
from openmoment.types import Recipe
from openmoment.version import __version__

FORMAT = "openmoment-captions/1"
SUFFIX = ".captions.json"


@dataclass(frozen=True)
class Captions:
    """What the frames of one video show, in words; in the order of time.

    Raises FormatError when times and texts do not fit together, or times go back.
    """

    times_s: Float[Array, " c"]
    """Of the middle of what each caption stands for."""
    texts: tuple[str, ...]
    captioner: str
    """Its name, for people."""
    fingerprint: str
    """Of the captioner's weights, preprocessing and decoding."""
    fps: float
    """Captions per second of video; 0 for every frame, or where that is not known."""
    source_sha256: str
    """Of the video file's bytes; empty for captions made elsewhere."""

    def __post_init__(self) -> None:
        times_s = np.asarray(self.times_s, dtype=np.float64)
        if times_s.shape != (len(self.texts),):
            raise FormatError(f"{len(self.texts)} captions for times {times_s.shape}.")
        if not np.isfinite(times_s).all() or (np.diff(times_s) < 0).any():
            raise FormatError("The times of captions must be finite and in order.")
        object.__setattr__(self, "times_s", times_s)

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def recipe(self) -> Recipe:
        """How they were made, in the terms of a feature file."""
        return Recipe(self.captioner, self.fingerprint, self.fps, self.source_sha256)


def write_captions(captions: Captions, path: Path) -> None:
    """Write one caption file, or leave what was there. Raises FormatError if it cannot."""
    head = {"format": FORMAT, **_head_of(captions.recipe), "version": __version__}
    pairs = zip(captions.times_s.tolist(), captions.texts, strict=True)
    items = [{"time_s": time_s, "text": text} for time_s, text in pairs]
    try:
        write_text(json.dumps(head | {"captions": items}, indent=1, ensure_ascii=False), path)
    except OSError as error:
        raise FormatError(f"{path}: cannot be written ({error.strerror or error}).") from error


def read_captions(path: Path, *, expected: Recipe | None = None) -> Captions:
    """The captions of one of our files.

    Raises `RecipeError` when they were made in another way than ``expected``, and `FormatError`
    when the file is missing, damaged or of another kind.
    """
    captions = _parse(read_json(path), path)
    if expected and (differences := captions.recipe.differences(expected)):
        raise RecipeError(
            f"{path}: made with another recipe. {'; '.join(differences)}. Caption the video again "
            "and overwrite the file, or ask with the recipe that made it."
        )
    return captions


def _head_of(recipe: Recipe) -> dict[str, Any]:
    """The recipe under the names that the file uses."""
    fields = asdict(recipe)
    return {"captioner": fields.pop("encoder"), **fields}


def _parse(table: Any, path: Path) -> Captions:
    where = str(path)
    if (found := get(table, "format", str, where)) != FORMAT:
        raise FormatError(f"{path}: format: expected {FORMAT!r}, got {found!r}.")
    times_s, texts = _parse_items(get(table, "captions", list, where), path)
    try:
        return Captions(
            times_s,
            texts,
            captioner=get(table, "captioner", str, where),
            fingerprint=get(table, "fingerprint", str, where),
            fps=get_number(table, "fps", where),
            source_sha256=get(table, "source_sha256", str, where),
        )
    except FormatError as error:
        raise FormatError(_placed(error, path)) from None


def _parse_items(items: Iterable[Any], path: Path) -> tuple[Float[Array, " c"], tuple[str, ...]]:
    times_s: list[float] = []
    texts: list[str] = []
    for number, item in enumerate(items, start=1):
        where = f"{path}, caption {number}"
        times_s.append(get_number(item, "time_s", where))
        texts.append(get(item, "text", str, where))
    return np.array(times_s, dtype=np.float64), tuple(texts)


def _placed(error: FormatError, path: Path) -> str:
    message = str(error)
    return message if message.startswith(str(path)) else f"{path}: {message}"


# ---------------------------------------------------------------------------------------------
# Captions that others wrote
# ---------------------------------------------------------------------------------------------


def import_captions(path: Path, *, fps: float | None = None) -> Captions:
    """Captions from a file of another program, in the order of time; our own files are read too.

    - ``.json``: a list of ``{"time_s": 0.5, "text": "..."}``; other fields are passed over
    - ``.csv``: a header with the columns ``time_s`` and ``text``, in any order, among others
    - ``.txt``: one caption a line, and ``fps`` says how many there are per second: line i stands
      for ``[i / fps, (i + 1) / fps)``, a blank one for no caption

    Raises FormatError when the file is not one of these, holds no caption, or has its times stated
    twice or not at all.
    """
    readers: dict[str, Callable[[Path], Captions]] = {".json": _import_json, ".csv": _import_csv}
    if path.suffix == ".txt":
        if fps is None or not 0 < fps < np.inf:
            raise FormatError(f"{path}: say how many captions there are per second, with fps.")
        return _import_lines(path, fps)
    if path.suffix not in readers:
        raise FormatError(f"{path}: expected a .json, .csv or .txt file of captions.")
    if fps is not None:
        raise FormatError(f"{path}: the file states its times, so leave fps out.")
    return readers[path.suffix](path)


def captions_for(stem: str, where: Path) -> Captions | None:
    """A video's captions by its name: those of a file, or of ``<stem>`` in a folder.

    In a folder our own ``<stem>.captions.json`` comes before ``<stem>.json`` and ``<stem>.csv`` of
    other programs; None when there is none. Raises FormatError.
    """
    if where.is_file():
        return import_captions(where)
    if not where.is_dir():
        raise FormatError(f"{where}: no such file or folder of captions.")
    options = (where / f"{stem}{ending}" for ending in (SUFFIX, ".json", ".csv"))
    path = next((option for option in options if option.is_file()), None)
    return import_captions(path) if path else None


def _import_json(path: Path) -> Captions:
    table = read_json(path)
    if isinstance(table, dict):
        return _parse(table, path)
    if not isinstance(table, list):
        raise FormatError(f"{path}: expected a list of captions, got {type(table).__name__}.")
    return _imported(*_parse_items(table, path), path)


def _import_csv(path: Path) -> Captions:
    rows = csv.DictReader(io.StringIO(read_text(path), newline=""), restval="")
    times_s: list[float] = []
    texts: list[str] = []
    try:
        if missing := [name for name in ("time_s", "text") if name not in (rows.fieldnames or ())]:
            raise FormatError(f"{path}: the header has no column {missing[0]!r}.")
        for row in rows:
            times_s.append(to_number(row["time_s"], f"{path}, line {rows.line_num}: time_s"))
            texts.append(row["text"])
    except csv.Error as error:
        raise FormatError(f"{path}, line {rows.line_num}: is not CSV ({error}).") from error
    return _imported(np.array(times_s, dtype=np.float64), tuple(texts), path)


def _import_lines(path: Path, fps: float) -> Captions:
    lines = enumerate(read_text(path).splitlines())
    kept = {(index + 0.5) / fps: line.strip() for index, line in lines if line.strip()}
    times_s = np.array(list(kept), dtype=np.float64)
    return _imported(times_s, tuple(kept.values()), path, fps=fps)


def _imported(
    times_s: Float[Array, " c"], texts: tuple[str, ...], path: Path, *, fps: float | None = None
) -> Captions:
    if not texts:
        raise FormatError(f"{path}: holds no caption.")
    order = np.argsort(times_s, kind="stable")
    times_s = times_s[order]
    if fps is None:
        steps_s = np.diff(np.unique(times_s))
        fps = float(1 / np.median(steps_s)) if steps_s.size else 0.0
    texts = tuple(texts[index] for index in order)
    return Captions(times_s, texts, IMPORTED, IMPORTED, fps, source_sha256="")
