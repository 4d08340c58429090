"""The reviews of a folder: read once, written whole, one change at a time."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from threading import Lock, RLock
from typing import Any

from openmoment.errors import OpenMomentError
from openmoment.reviews import (
    MadeBy,
    Review,
    add_detections,
    add_predictions,
    read_edit,
    read_review,
    revise,
    to_detections,
    write_review,
)
from openmoment.server.service.folder import Folder
from openmoment.server.service.jobs import now
from openmoment.server.service.videos import Library, Video, printable
from openmoment.types import Detections

HELD = 64
"""Reviews that are kept in memory."""

Stamp = tuple[int, int, int]


class Reviews:
    """The reviews by video; usable from any thread. ``heard`` is told of every new revision."""

    def __init__(self, folder: Folder, library: Library, heard: Callable[[str, int], None]) -> None:
        self.folder, self.library, self.heard = folder, library, heard
        self._locks: dict[str, RLock] = {}
        self._held: OrderedDict[str, tuple[Stamp, Review]] = OrderedDict()
        self._counts: dict[str, tuple[Stamp, tuple[int, int]]] = {}
        self._lock = Lock()

    def read(self, video: Video) -> Review:
        """The review; an empty one where nothing was asked yet. Raises FormatError, VideoError."""
        path = self.folder.review(video.name)
        stamp = _stamp(path)
        if stamp is None:
            return Review(printable(video.name), self.library.duration_s(video))
        with self._lock:
            known = self._held.get(video.id)
        if known and known[0] == stamp:
            return known[1]
        review = read_review(path)
        self._hold(video, stamp, review)
        return review

    def revise(self, video: Video, document: Any, *, who: str) -> Review:
        """What a person changed. Raises ConflictError for a stale revision, FormatError."""

        def change(review: Review) -> Review:
            edit = read_edit(document, review)
            return revise(
                review,
                edit.queries,
                edit.segments,
                who=who,
                when=now(),
                revision=edit.revision,
            )

        return self._change(video, change)

    def add_predictions(
        self,
        video: Video,
        ranked: Detections,
        *,
        thresholds: Mapping[str, float],
        settings: dict[str, Any],
    ) -> Review:
        """What a method proposes, as one that decides with these settings."""
        origin = ranked.origin
        assert origin is not None
        made_by = replace(MadeBy.of(origin), settings=settings)

        def change(review: Review) -> Review:
            known = replace(review, sha256=origin.source_sha256)
            return add_predictions(known, ranked, threshold=thresholds, made_by=made_by, when=now())

        return self._change(video, change)

    def add_detections(self, video: Video, found: Detections, *, who: str, source: str) -> Review:
        """What was read from a file of another tool."""
        return self._change(
            video, lambda review: add_detections(review, found, who=who, when=now(), source=source)
        )

    def count(self, video: Video) -> tuple[int, int]:
        """How many queries there are, and moments that are shown; none of an unreadable review."""
        try:
            stamp = _stamp(self.folder.review(video.name))
            known, counts = self._counts.get(video.id, (None, (0, 0)))
            if stamp is None or stamp == known:
                return counts if stamp else (0, 0)
            review = self.read(video)
        except OpenMomentError:
            return 0, 0
        counts = len(review.queries), len(to_detections(review))
        self._counts[video.id] = stamp, counts
        return counts

    def _change(self, video: Video, change: Callable[[Review], Review]) -> Review:
        with self._lock:
            lock = self._locks.setdefault(video.id, RLock())
        with lock:
            old = self.read(video)
            new = change(old)
            if new is old:
                return old
            path = self.folder.review(video.name)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_review(new, path)
            stamp = _stamp(path)
            if stamp:
                self._hold(video, stamp, new)
        self.heard(video.id, new.revision)
        return new

    def _hold(self, video: Video, stamp: Stamp, review: Review) -> None:
        with self._lock:
            self._held[video.id] = stamp, review
            self._held.move_to_end(video.id)
            while len(self._held) > HELD:
                self._held.popitem(last=False)


def _stamp(path: Path) -> Stamp | None:
    """What changes with the file; None where there is none."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_size, stat.st_mtime_ns, stat.st_ino
