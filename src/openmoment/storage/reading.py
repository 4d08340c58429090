"""Reading what people and other programs wrote: every fault is one line that names its place.

``where`` names the file and the place in it, as the start of that line.
"""

import csv
import gzip
import io
import json
import math
import reprlib
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from openmoment.errors import FormatError

T = TypeVar("T")


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, line ends as they are; ``.gz`` is unpacked. Raises FormatError."""
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
        return content.decode("utf-8-sig")
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise FormatError(f"{path}: is not a whole gzip file ({error}).") from error
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise FormatError(f"{path}: is not UTF-8 text (byte {error.start}).") from error


def read_json(path: Path) -> Any:
    """The value that a JSON file holds. Raises FormatError."""
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise FormatError(f"{path}, line {error.lineno}: is not JSON: {error.msg}.") from error
    except (ValueError, RecursionError) as error:  # a number too long, or nested too deep
        raise FormatError(f"{path}: is not JSON that can be read: {error}.") from error


def read_json_lines(path: Path) -> Iterator[tuple[Any, str]]:
    """The value on each line that is not blank, and its place. Raises FormatError."""
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        where = f"{path}, line {number}"
        if line.strip():
            try:
                yield json.loads(line), where
            except (ValueError, RecursionError) as error:
                raise FormatError(f"{where}: is not JSON: {error}.") from error


def read_cells(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a table below its heading, each with the number of its last line.

    Cells stand between tabs where the heading has any, else between commas; one that a row lacks
    is None. ``"label or query"`` asks for either column. Raises FormatError for a column that is
    missing, and what is no table.
    """
    text = read_text(path)
    delimiter = "\t" if "\t" in text.partition("\n")[0] else ","
    table = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        found = list(table.fieldnames or ())
        missing = [column for column in columns if not {*column.split(" or ")} & {*found}]
        if missing:
            shown = ", ".join(" ".join(name.split()) for name in found)  # a quote can span lines
            raise FormatError(
                f"{path}, line 1: column {missing[0]!r} is missing. "
                f"Expected: {', '.join(columns)}; found: {shown or 'none'}."
            )
        for cells in table:
            yield table.line_num, cells
    except csv.Error as error:
        raise FormatError(f"{path}, line {table.line_num}: is not CSV: {error}.") from error


def get(table: Any, name: str, kind: type[T], where: str) -> T:
    """``table[name]``, which must be of that kind. Raises FormatError starting with ``where``."""
    if not isinstance(table, dict):
        raise FormatError(f"{where}: expected an object, got {reprlib.repr(table)}.")
    if name not in table:
        raise FormatError(f"{where}: field {name!r} is missing.")
    value = table[name]
    if not isinstance(value, kind):
        shown = reprlib.repr(value)
        raise FormatError(f"{where}: {name}: expected {_KINDS[kind]}, got {shown}.")
    return value


def get_number(table: Any, name: str, where: str) -> float:
    """``table[name]`` as `get` gives it, which must be a finite number."""
    value = get(table, name, object, where)
    if isinstance(value, bool | str):
        raise FormatError(f"{where}: {name}: expected a number, got {reprlib.repr(value)}.")
    return to_number(value, f"{where}: {name}")


def to_number(value: Any, where: str) -> float:
    """A finite number, also from text. Raises FormatError starting with ``where``."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise FormatError(f"{where}: expected a number, got {reprlib.repr(value)}.")
    return number


def check_order(start_s: float, end_s: float, where: str) -> None:
    """Raises FormatError starting with ``where`` when a moment ends before it starts."""
    if end_s < start_s:
        raise FormatError(f"{where}: end_s {end_s:g} lies before start_s {start_s:g}.")


_KINDS: dict[type, str] = {str: "text", list: "a list", dict: "an object"}


def check_score(score: float, where: str) -> None:
    """Raises FormatError starting with ``where`` when a score is not in [0, 1]."""
    if not 0 <= score <= 1:
        raise FormatError(f"{where}: expected a score from 0 to 1, got {score:g}.")
