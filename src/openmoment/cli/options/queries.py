"""Queries in files."""

from pathlib import Path

from openmoment.errors import QueryError


def read_queries(path: Path | None) -> list[str]:
    """The lines of a text file, without empty ones. Raises QueryError."""
    if path is None:
        return []
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise QueryError(f"{path}: cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise QueryError(f"{path}: not a text file in UTF-8.") from error
    names = [line.strip() for line in lines if line.strip()]
    if not names:
        raise QueryError(f"{path}: holds no query. Write one a line.")
    return names
