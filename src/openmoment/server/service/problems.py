"""Requests that are refused, and with which status."""

from pathlib import Path

from openmoment.errors import ConflictError, OpenMomentError

UNREADABLE = 422


class RefusedError(OpenMomentError):
    """A request that is refused with a status of its own."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def status_of(error: OpenMomentError) -> int:
    """The status that tells what kind of error it is."""
    if isinstance(error, RefusedError):
        return error.status
    return 409 if isinstance(error, ConflictError) else UNREADABLE


def without_folder(message: str, folder: Path) -> str:
    """A message on one line, whose paths start at the served folder."""
    plain = message.replace(f"{folder}/", "").replace(f"{folder}\\", "")
    return " ".join(plain.split())
