"""A dataset folder out of annotated videos that lie scattered: copies of them, and one file.

The source is ActivityNet's form with paths of videos, from the file's own folder on, as keys.
"""

import json
import shutil
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

from openmoment.datasets.compose import ANNOTATIONS, TEST, VIDEOS
from openmoment.errors import FormatError
from openmoment.storage.atomic import atomic_write, write_text
from openmoment.storage.reading import get, read_json


def collect(
    source: Path, out: Path, *, labels: Sequence[str] = (), include: Sequence[str] = ()
) -> int:
    """Write ``out/videos`` and ``out/annotations.json``, all of them to test on; how many.

    Only videos that fit a pattern of ``include``, and of their instances only those of
    ``labels``, where these are given; a video without any is left out. Raises FormatError.
    """
    database = get(read_json(source), "database", dict, str(source))
    found: dict[str, dict[str, object]] = {}
    (out / VIDEOS).mkdir(parents=True, exist_ok=True)
    for name, entry in database.items():
        where = f"{source}: database[{name!r}]"
        if include and not any(fnmatch(name, pattern) for pattern in include):
            continue
        rows = get(entry, "annotations", list, where)
        kept = [row for row in rows if not labels or get(row, "label", str, where) in labels]
        if not kept:
            continue
        video = source.parent / name
        if video.stem in found:
            raise FormatError(f"{where}: another video is called {video.stem} too.")
        if not video.is_file():
            raise FormatError(f"{where}: there is no {video}.")
        with atomic_write(out / VIDEOS / video.name) as temporary:
            shutil.copyfile(video, temporary)
        found[video.stem] = {
            "subset": TEST,
            "duration": entry.get("duration"),
            "annotations": kept,
        }
    if not found:
        raise FormatError(f"{source}: no video fits.")
    document = {"version": "collected", "taxonomy": [], "database": found}
    write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", out / ANNOTATIONS)
    return len(found)
