"""Names of uploaded files, so that each system takes them and none leads anywhere else."""

from pathlib import Path, PurePosixPath

from openmoment.server.service.problems import UNREADABLE, RefusedError
from openmoment.storage.listing import VIDEO_SUFFIXES

LONGEST = 200
"""Bytes of a name."""
_FORBIDDEN = str.maketrans(dict.fromkeys('<>:"|?*', "_"))  # what Windows refuses, or misreads
_DEVICES = {"CON", "PRN", "AUX", "NUL", "CLOCK$", "CONIN$", "CONOUT$"} | {
    f"{port}{digit}" for port in ("COM", "LPT") for digit in "0123456789¹²³"
}


def clean_name(name: str, suffixes: tuple[str, ...] | None = VIDEO_SUFFIXES) -> str:
    """A plain file name with one of the endings, or any where there are none.

    Refused with 422: folders, control characters, other endings. Mended: what some system does
    not take, such as a leading dot, a device's name, or a name that is too long.
    """
    if any(c in "/\\" for c in name):
        raise RefusedError(UNREADABLE, "name: expected the name of a file, without folders.")
    if not name.isprintable():
        raise RefusedError(UNREADABLE, "name: holds characters that cannot be shown.")
    plain = name.translate(_FORBIDDEN).strip(" .")
    suffix = PurePosixPath(plain).suffix
    stem = plain.removesuffix(suffix)
    if suffixes is not None and suffix.lower() not in suffixes:
        known = " ".join(suffixes)
        raise RefusedError(UNREADABLE, f"name: expected one of the endings {known}, got {name!r}.")
    if stem.split(".")[0].strip().upper() in _DEVICES:
        stem = f"_{stem}"
    suffix = suffix.encode()[:20].decode(errors="ignore")
    room = LONGEST - len(suffix.encode()) - len(" (999)")
    stem = stem.encode()[:room].decode(errors="ignore").rstrip(" .")
    return f"{stem or '_'}{suffix}"


def place(arrived: Path, folder: Path, name: str) -> Path:
    """Move a file into the folder under that name, or ``name (2)``; never over another."""
    suffix = PurePosixPath(name).suffix
    stem = name.removesuffix(suffix)
    for number in range(1, 1000):
        target = folder / (name if number == 1 else f"{stem} ({number}){suffix}")
        try:
            target.open("x").close()
        except FileExistsError:
            continue
        arrived.replace(target)
        return target
    raise RefusedError(409, f"{name}: there are 999 files of that name.")
