"""Reading and writing detections in the formats that other tools speak.

Every format is one file with one pair of functions, whatever it holds:

    write(found, path)      found: the Detections of one video, or {video: Detections}
    read(path)              {video: Detections}

A video is named by its path, or an id; what `read` calls it is what the file does. A file that
does not follow its format is refused with a FormatError of one line.
"""

from pathlib import Path

from openmoment.errors import FormatError, UnknownNameError
from openmoment.export.base import Format
from openmoment.registry import LazyTable

FORMATS: LazyTable[Format] = LazyTable(
    "format",
    {
        "json": "openmoment.export.json:JSON",
        "csv": "openmoment.export.csv:CSV",
        "webvtt": "openmoment.export.webvtt:WEBVTT",
        "srt": "openmoment.export.srt:SRT",
        "activitynet": "openmoment.export.activitynet:ACTIVITYNET",
        "frames": "openmoment.export.frames:FRAMES",
    },
)

_BY_EXTENSION = {
    ".json": "json",
    ".csv": "csv",
    ".vtt": "webvtt",
    ".srt": "srt",
    ".txt": "frames",
}


def format_of(path: Path, name: str | None = None) -> str:
    """The name of the format for ``path``: the one given, else by the file's extension.

    Raises UnknownNameError for a name that is not in `FORMATS`, FormatError for an extension that
    tells nothing.
    """
    if name is not None:
        if name not in FORMATS:
            raise UnknownNameError("format", name, list(FORMATS))
        return name
    extension = path.suffix.lower()
    if extension not in _BY_EXTENSION:
        raise FormatError(
            f"{path}: {extension or 'no extension'} does not tell the format. Use "
            f"{', '.join(_BY_EXTENSION)}, or name a format: {', '.join(FORMATS)}."
        )
    return _BY_EXTENSION[extension]
