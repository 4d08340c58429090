"""Moments in the formats of other tools: written for a download, read from what was sent."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from openmoment.errors import OpenMomentError
from openmoment.export import FORMATS, recognise
from openmoment.server.service.folder import Folder
from openmoment.server.service.names import clean_name
from openmoment.server.service.problems import UNREADABLE, RefusedError
from openmoment.server.service.videos import Video, printable
from openmoment.types import Detections


def written(
    found: Detections, video: Video, name: str, folder: Folder, *, fps: float | None
) -> tuple[str, bytes]:
    """The name and the content of a file in that format. Raises UnknownNameError, FormatError."""
    made = FORMATS[name]
    plain = printable(PurePosixPath(video.name).name)
    with folder.arriving() as place:
        path = place / f"moments{made.extension}"
        # lines that are frames need the video itself; other files are to name it as it lies beside
        key = plain if made.keeps_times else str(video.path)
        try:
            made.write({key: found}, path, fps=fps)
        except OpenMomentError as error:
            raise RefusedError(UNREADABLE, _plainly(error, path, f"{name} of {plain}")) from error
        return f"{PurePosixPath(plain).stem}{made.extension}", path.read_bytes()


def read_sent(
    content: bytes,
    sent: str,
    name: str | None,
    video: Video,
    folder: Folder,
    *,
    fps: float | None,
) -> Detections:
    """The moments of a video in a file of the name ``sent``. Raises RefusedError, FormatError."""
    plain = clean_name(sent, suffixes=None)
    if plain.lower().endswith(".gz"):  # a few bytes can unpack to more than the memory holds
        raise RefusedError(UNREADABLE, f"{plain}: is packed. Unpack it, and send what is in it.")
    with folder.arriving() as place:
        path = place / plain
        path.write_bytes(content)
        try:
            found = FORMATS[recognise(path, name)].read(path, fps=fps)
        except OpenMomentError as error:
            raise RefusedError(UNREADABLE, _plainly(error, path, plain)) from error
    return _of_video(found, printable(video.name), plain)


def _plainly(error: OpenMomentError, path: Path, name: str) -> str:
    """The message, with the name that a person knows."""
    return str(error).replace(str(path), name)


def _of_video(found: Mapping[str, Detections], video: str, sent: str) -> Detections:
    """What a file says of this video; a file about one video is taken to be about this."""
    if len(found) == 1:
        return next(iter(found.values()))
    plain = PurePosixPath(video)
    by_name = {PurePosixPath(key).name: each for key, each in found.items()}
    for known, name in ((found, video), (by_name, plain.name), (by_name, plain.stem)):
        if name in known:
            return known[name]
    listed = ", ".join(list(found)[:5]) or "none"
    raise RefusedError(UNREADABLE, f"{sent}: is about other videos than {video}: {listed}.")
