"""Files that are whole or not there."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from openmoment.errors import OpenMomentError


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A temporary path in the same folder, with the same suffix, that becomes ``path`` at the end.

    When the block raises, ``path`` is as it was and the temporary file is gone. Raises
    OpenMomentError when the folder does not exist or may not be written to, or ``path`` is one.
    """
    if not path.parent.is_dir():
        raise OpenMomentError(f"{path}: the folder {path.parent} does not exist. Make it first.")
    if not os.access(path.parent, os.W_OK):
        raise OpenMomentError(f"{path}: the folder {path.parent} may not be written to.")
    if path.is_dir():
        raise OpenMomentError(f"{path}: is a folder, expected the name of a file.")
    temporary = path.with_name(f".{path.stem}.{uuid4().hex[:8]}.tmp{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def leftovers(path: Path) -> list[Path]:
    """Temporary files that a killed process left behind while it wrote ``path``."""
    pattern = re.compile(rf"\.{re.escape(path.stem)}\.[0-9a-f]{{8}}\.tmp{re.escape(path.suffix)}")
    return [other for other in path.parent.iterdir() if pattern.fullmatch(other.name)]


def write_text(text: str, path: Path) -> None:
    """Write ``text`` as UTF-8, whole or not at all, line ends as they are.

    What UTF-8 cannot hold, such as the bytes of a file name in another encoding, is written as
    ``\\udc80``, which is JSON's own way. Raises as `atomic_write`.
    """
    with atomic_write(path) as temporary:
        temporary.write_bytes(text.encode("utf-8", "backslashreplace"))
