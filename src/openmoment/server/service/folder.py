"""The served folder: what lies in it, where our own files go, and that nothing leaves it.

    FOLDER/openmoment/predictions/<name>.json   openmoment/1: all that was proposed
    FOLDER/openmoment/reviews/<name>.json       openmoment-review/1
    FOLDER/openmoment/uploads/                  files that are just arriving
    FOLDER/openmoment/jobs.sqlite               the jobs

``<name>`` is a video's path relative to the folder.
"""

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex

from openmoment.errors import OpenMomentError
from openmoment.server.service.problems import RefusedError

STATE = "openmoment"
_LONGEST = 200  # bytes of a file name that leave room for endings and for temporary names


class Folder:
    """A folder that is served. Raises OpenMomentError when it cannot be written to."""

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise OpenMomentError(f"{root}: no such folder. Give a folder of videos, or make it.")
        self.root = root.resolve()
        self.state = self.root / STATE
        try:
            for name in ("predictions", "reviews", "uploads"):
                self.inside(self.state / name).mkdir(parents=True, exist_ok=True)
            for left in (self.state / "uploads").iterdir():  # of a server that was killed
                shutil.rmtree(left, ignore_errors=True)
        except OSError as error:
            raise OpenMomentError(f"{root}: cannot be written to ({error.strerror}).") from error
        if not os.access(self.state, os.W_OK):
            raise OpenMomentError(f"{root}: may not be written to. Serve a folder of your own.")

    def inside(self, path: Path) -> Path:
        """The path, if links do not lead it out of the folder. Raises RefusedError (404)."""
        try:
            is_inside = path.resolve().is_relative_to(self.root)
        except (OSError, RuntimeError):  # the latter, before Python 3.13, of links in a circle
            is_inside = False
        if not is_inside:
            raise RefusedError(404, f"{path.name}: leads out of the served folder.")
        return path

    def predictions(self, name: str) -> Path:
        """Where the predictions of a video are kept."""
        return self._kept("predictions", name)

    def review(self, name: str) -> Path:
        """Where the review of a video is kept."""
        return self._kept("reviews", name)

    def _kept(self, kind: str, name: str) -> Path:
        path = self.state / kind / f"{name}.json"
        if len(os.fsencode(path.name)) > _LONGEST + len(".json"):
            path = path.with_name(f"{path.name[:40]}-{video_id(name)}.json")
        return self.inside(path)

    @contextmanager
    def arriving(self) -> Iterator[Path]:
        """A folder for files that are not yet what they will be; it goes at the end."""
        path = self.inside(self.state / "uploads") / token_hex(8)
        path.mkdir()
        try:
            yield path
        finally:
            with suppress(OSError):
                shutil.rmtree(path)


def video_id(name: str) -> str:
    """The opaque id of the video with that relative path."""
    return hashlib.sha256(os.fsencode(name)).hexdigest()[:16]
