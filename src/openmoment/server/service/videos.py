"""The videos of a folder: which there are, what each is, by ids that hold no path."""

import json
import os
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any

from openmoment.errors import OpenMomentError, VideoError
from openmoment.features.cache import Cache
from openmoment.server.service.folder import STATE, Folder, video_id
from openmoment.server.service.problems import RefusedError, without_folder
from openmoment.storage.listing import find_videos

PROBING_S = 1.0
"""How long a listing waits for files that were never looked at; the others follow."""


@dataclass(frozen=True)
class Video:
    """A file in the folder, as it was when it was looked up."""

    id: str
    name: str
    """The path relative to the folder, with slashes."""
    path: Path
    size_bytes: int
    modified_ns: int

    @property
    def stamp(self) -> dict[str, Any]:
        """What changes with the file."""
        return {"path": str(self.path), "size": self.size_bytes, "modified": self.modified_ns}

    @property
    def modified(self) -> str:
        when = datetime.fromtimestamp(self.modified_ns // 10**9, UTC)
        return when.isoformat().replace("+00:00", "Z")


@dataclass(frozen=True)
class Facts:
    """What probing a file told."""

    duration_s: float | None = None
    width: int | None = None
    height: int | None = None
    fps: float | None = None
    is_playable: bool = False
    """By a browser, as it is."""
    error: str | None = None


class Library:
    """The videos of a folder, and what is known of each."""

    def __init__(self, folder: Folder, cache: Cache) -> None:
        self.folder, self.cache = folder, cache
        self._lock = Lock()
        self._known: dict[str, str] = {}
        self._facts: dict[str, tuple[dict[str, Any], Facts]] = {}
        self._prober = ThreadPoolExecutor(1, thread_name_prefix="probe")

    def close(self) -> None:
        """Look at no further file."""
        self._prober.shutdown(wait=False, cancel_futures=True)

    def videos(self) -> list[Video]:
        """All, by name. Links that lead out of the folder are passed over."""
        found = list(self._scan())
        with self._lock:
            self._known = {video.id: video.name for video in found}
        return found

    def find(self, id: str) -> Video:  # noqa: A002
        """The video of that id. Raises RefusedError (404)."""
        name = self._known.get(id)
        if name is None:
            self.videos()
            name = self._known.get(id)
        video = None if name is None else self._look_up(self.folder.root / name)
        if video is None:
            raise RefusedError(404, "There is no such video.")
        return video

    def at(self, path: Path) -> Video:
        """The video in that file of the folder."""
        video = self._look_up(path)
        if video is None:
            raise RefusedError(404, "There is no such video.")
        return video

    def facts(self, video: Video) -> Facts:
        """What the file is, also if it is none; looked at once."""
        known = self.known_facts(video)
        if known is not None:
            return known
        try:
            recipe = {"probe": 1, **video.stamp}
            facts = Facts(**json.loads(self.cache.generated(recipe, lambda: _probe(video.path))))
        except OpenMomentError as error:
            facts = Facts(error=without_folder(str(error), self.folder.root))
        with self._lock:
            self._facts[video.id] = (video.stamp, facts)
        return facts

    def known_facts(self, video: Video) -> Facts | None:
        """What is known without opening the file."""
        stamp, facts = self._facts.get(video.id, ({}, None))
        return facts if stamp == video.stamp else None

    def all_facts(self, videos: list[Video]) -> Mapping[str, Facts]:
        """Facts by id; those that take too long stay empty, and are looked at in the meantime."""
        until = time.monotonic() + PROBING_S
        unknown = [video for video in videos if self.known_facts(video) is None]
        waiting = [self._prober.submit(self.facts, video) for video in unknown]
        for future in waiting:
            try:
                future.result(max(0.0, until - time.monotonic()))
            except TimeoutError:
                break
        return {video.id: self.known_facts(video) or Facts() for video in videos}

    def duration_s(self, video: Video) -> float:
        """Raises VideoError for a file that is no video."""
        facts = self.facts(video)
        if facts.duration_s is None:
            raise VideoError(facts.error or f"{video.name}: is not a video.")
        return facts.duration_s

    def _scan(self) -> Iterator[Video]:
        try:
            paths = find_videos(self.folder.root)
        except VideoError:  # none yet
            return
        for path in paths:
            if path.relative_to(self.folder.root).parts[0] != STATE and (
                video := self._look_up(path)
            ):
                yield video

    def _look_up(self, path: Path) -> Video | None:
        try:
            is_inside = path.resolve(strict=True).is_relative_to(self.folder.root)
            stat = path.stat()
        except (OSError, RuntimeError):  # the latter, before Python 3.13, of links in a circle
            return None
        if not (is_inside and path.is_file()):
            return None
        name = path.relative_to(self.folder.root).as_posix()
        return Video(video_id(name), name, path, stat.st_size, stat.st_mtime_ns)


def _probe(path: Path) -> bytes:
    """Facts as JSON. Raises VideoError."""
    from openmoment.video import probe
    from openmoment.video.playable import browser_plays

    info = probe(path)
    facts = Facts(
        duration_s=round(info.duration_s, 3),
        width=info.width,
        height=info.height,
        fps=round(info.fps, 3),
        is_playable=browser_plays(path),
    )
    return json.dumps(asdict(facts)).encode()


def printable(name: str) -> str:
    """A file name as text, also one in another encoding."""
    return os.fsencode(name).decode("utf-8", "replace")
