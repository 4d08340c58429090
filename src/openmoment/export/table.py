"""What the tables share: rows below a heading, whatever the order of the columns."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from openmoment.errors import FormatError
from openmoment.storage.reading import read_cells


def read_table(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows below the heading, each with the number of its last line, with all of ``columns``.

    Cells stand between tabs where the heading has any, else between commas. Raises FormatError
    for a column that is missing, and a row without one of their cells.
    """
    for line, cells in read_cells(path, columns):
        short = [column for column in columns if cells[column] is None]
        if short:
            raise FormatError(f"{path}, line {line}: {short[0]} is missing.")
        yield line, cells
