"""Reading and writing detections in the formats that other tools speak.

Every format is one file with one pair of functions, whatever it holds:

    write(found, path)      found: the Detections of one video, or {video: Detections}
    read(path)              {video: Detections}

Those of formats that count frames take their rate, ``fps``, which otherwise is the video's.

A video is named by its path, or an id; what `read` calls it is what the file does. A file that
does not follow its format is refused with a FormatError of one line.
"""

import re
from pathlib import Path
from typing import Any

from openmoment.errors import FormatError, UnknownNameError
from openmoment.export.base import Format
from openmoment.registry import LazyTable
from openmoment.storage.reading import read_json, read_text

FORMATS: LazyTable[Format] = LazyTable(
    "format",
    {
        "json": "openmoment.export.json:JSON",
        "csv": "openmoment.export.csv:CSV",
        "webvtt": "openmoment.export.webvtt:WEBVTT",
        "srt": "openmoment.export.srt:SRT",
        "activitynet": "openmoment.export.activitynet:ACTIVITYNET",
        "frames": "openmoment.export.frames:FRAMES",
        "qvhighlights": "openmoment.export.qvhighlights:QVHIGHLIGHTS",
        "elan": "openmoment.export.elan:ELAN",
        "boris": "openmoment.export.boris:BORIS",
        "label_studio": "openmoment.export.label_studio:LABEL_STUDIO",
        "via": "openmoment.export.via:VIA",
        "edl": "openmoment.export.edl:EDL",
        "fiftyone": "openmoment.export.fiftyone:FIFTYONE",
    },
)


def format_of(path: Path, name: str | None = None) -> str:
    """The name of the format for ``path``: the one given, else by the file's extension.

    Of formats that share an extension it is the first. Raises UnknownNameError for a name that is
    not in `FORMATS`, FormatError for an extension that tells nothing.
    """
    if name is not None:
        if name not in FORMATS:
            raise UnknownNameError("format", name, list(FORMATS))
        return name
    return _with_extension(path)[0]


def recognise(path: Path, name: str | None = None) -> str:
    """The name of the format that the file ``path`` is in, to read it.

    As `format_of`, but of formats that share an extension the one whose fields are in the file.
    """
    if name is not None:
        return format_of(path, name)
    names = _with_extension(path)
    if len(names) == 1:
        return names[0]
    fields = _fields_in(path)
    return next((name for name in names if fields.issuperset(FORMATS[name].marks)), names[0])


def describe_formats() -> list[dict[str, Any]]:
    """What there is to choose from, as plain values: name, ending, what it is, what it loses."""
    return [
        {
            "name": name,
            "extension": FORMATS[name].extension,
            "about": FORMATS[name].about,
            "loses": FORMATS[name].loses,
            "several": FORMATS[name].holds_several,
            "reads": True,
            "writes": True,
        }
        for name in FORMATS
    ]


def _with_extension(path: Path) -> list[str]:
    """The formats of such files, at least one. Raises FormatError."""
    extension = path.suffix.lower()
    names = [name for name in FORMATS if FORMATS[name].extension == extension]
    if not names:
        known = dict.fromkeys(FORMATS[name].extension for name in FORMATS)
        raise FormatError(
            f"{path}: {extension or 'no extension'} does not tell the format. Use "
            f"{', '.join(known)}, or name a format: {', '.join(FORMATS)}."
        )
    return names


def _fields_in(path: Path) -> set[str]:
    """The fields of the object that a JSON file holds, or of the first in its list; or columns."""
    if path.suffix.lower() != ".json":
        return set(re.split(r"[,\t]", read_text(path).partition("\n")[0].strip().replace('"', "")))
    value = read_json(path)
    if isinstance(value, list) and value:
        value = value[0]
    return set(value) if isinstance(value, dict) else set()
