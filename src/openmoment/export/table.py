"""What the tables share: rows below a heading, whatever the order of the columns."""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from openmoment.errors import FormatError
from openmoment.reading import read_text


def read_table(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows below the heading, each with the number of its last line, with all of ``columns``.

    Cells stand between tabs where the heading has any, else between commas. Raises FormatError
    for a column that is missing, and a row without one of their cells.
    """
    text = read_text(path)
    delimiter = "\t" if "\t" in text.partition("\n")[0] else ","
    table = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        missing = [column for column in columns if column not in (table.fieldnames or ())]
        if missing:
            raise FormatError(f"{path}, line 1: column {missing[0]!r} is missing.")
        for cells in table:
            short = [column for column in columns if cells[column] is None]
            if short:
                raise FormatError(f"{path}, line {table.line_num}: {short[0]} is missing.")
            yield table.line_num, cells
    except csv.Error as error:
        raise FormatError(f"{path}, line {table.line_num}: is not CSV: {error}.") from error
