"""Which files of a folder are videos, by their endings."""

import os
from collections.abc import Sequence
from pathlib import Path

from openmoment.errors import VideoError

VIDEO_SUFFIXES = (
    *(".3gp", ".asf", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4"),
    *(".mpeg", ".mpg", ".mts", ".mxf", ".ogv", ".ts", ".vob", ".webm", ".wmv"),
)


def find_videos(folder: Path) -> list[Path]:
    """The video files below a folder, sorted.

    Hidden files and folders are passed over, and links to folders are not followed. Raises
    VideoError when there is none.
    """
    if not folder.is_dir():
        raise VideoError(f"{folder}: no such folder.")
    videos: list[Path] = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths = [Path(parent, name) for name in names if not name.startswith(".")]
        videos += [path for path in paths if path.suffix.lower() in VIDEO_SUFFIXES]
    if not videos:
        known = " ".join(VIDEO_SUFFIXES)
        raise VideoError(f"{folder}: no video in this folder. Known endings: {known}.")
    return sorted(videos)


def by_id(files: Sequence[Path]) -> dict[str, Path]:
    """Files by the id of their video, their stem, with and without ``v_``."""
    found = {path.stem: path for path in files}
    return {stem.removeprefix("v_"): path for stem, path in found.items()} | found
