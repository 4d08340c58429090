"""Arrays of many rows that need not be in memory: written to a file, read a block at a time.

Features of a long video are larger than everything else that answers a question about it.
"""

import mmap
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float, Shaped
from numpy import ndarray as Array

_BLOCK_BYTES = 4 << 20


class RowSpool:
    """Rows that are appended block by block, and read back as one array that the disk holds.

    The file has no name, and goes with the array.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="openmoment-")  # noqa: SIM115
        self._num_rows = 0
        self._width = 0

    def append(self, rows: Float[Array, "n d"]) -> None:
        """Add rows, all of one width. Raises OSError when the disk is full."""
        self._width = rows.shape[1]
        self._num_rows += len(rows)
        self._file.write(np.ascontiguousarray(rows, dtype=np.float32).data)

    def close(self) -> None:
        """Let go of the file; what `to_array` gave stays."""
        self._file.close()

    def to_array(self) -> Float[Array, "t d"]:
        """All rows; nothing can be appended after that. Raises ValueError when there is none."""
        shape = (self._num_rows, self._width)
        with self._file:
            self._file.flush()
            return np.memmap(self._file, dtype=np.float32, mode="r", shape=shape)


def map_rows(path: Path, *, offset: int, shape: tuple[int, int]) -> Float[Array, "t d"]:
    """Float32 rows of a file from byte ``offset`` on, read when they are used."""
    return np.memmap(path, dtype="<f4", mode="r", offset=offset, shape=shape)


def blocks(rows: Shaped[Array, "t d"]) -> Iterator[Shaped[Array, "n d"]]:
    """The rows in order, some megabytes at a time; what was read of a file leaves memory again."""
    step = max(1, _BLOCK_BYTES // max(rows[:1].nbytes, 1))
    for start in range(0, len(rows), step):
        yield rows[start : start + step]
        _let_go(rows)


def over_blocks(
    function: Callable[[Float[Array, "t d"], Float[Array, "k e"]], Float[Array, "k t"]],
    rows: Float[Array, "t d"],
    texts: Float[Array, "k e"],
) -> Float[Array, "k t"]:
    """``function(rows, texts)``, a block of rows at a time."""
    return np.concatenate([function(block, texts) for block in blocks(rows)], axis=1)


def mean_row(rows: Float[Array, "t d"]) -> Float[Array, " d"]:
    """The mean over the rows, in double precision."""
    total = np.zeros(rows.shape[1])
    for block in blocks(rows):
        total += block.sum(axis=0, dtype=np.float64)
    return total / len(rows)


def _let_go(rows: Shaped[Array, "t d"]) -> None:
    """Tell the system that the pages of a mapped file are not needed now."""
    base = rows.base
    if isinstance(base, mmap.mmap) and hasattr(base, "madvise"):
        base.madvise(mmap.MADV_DONTNEED)
