"""Frames for formats that count them: their rate, and where a moment begins and ends among them.

Frame ``n``, counted from 1, is shown from ``(n - 1) / fps`` to ``n / fps``. Where a video's rate
varies, the average stands for it, as it does in the tools that count frames.
"""

import math
from contextlib import suppress
from pathlib import Path

from openmoment.errors import FormatError


def rate_of(video: str, path: Path, fps: float | None) -> float:
    """How many frames of ``video`` there are a second: ``fps``, else what the video itself says.

    Raises FormatError starting with ``path`` where neither is known, VideoError for a video that
    cannot be read.
    """
    if fps is not None:
        return checked(fps, path)
    here = find_video(video, path)
    if here is None:
        raise FormatError(
            f"{path}: this format counts frames, and {video or 'the video'} is not there to tell "
            "how many there are a second. Give --fps, or fps= in Python."
        )
    from openmoment.video import probe

    return checked(probe(here).fps, path)


def find_video(video: str, path: Path) -> Path | None:
    """The video, where its path says so, seen from here or from the file ``path``; else None."""
    with suppress(OSError, ValueError):  # of names that no file can have
        return next((p for p in (Path(video), path.parent / video) if p.is_file()), None)
    return None


def checked(fps: float, path: Path) -> float:
    """The rate itself. Raises FormatError unless it is a positive number up to 1000."""
    if not (math.isfinite(fps) and 0 < fps <= 1000):
        raise FormatError(f"{path}: expected a positive number of frames a second, got {fps}.")
    return fps


def to_frames(start_s: float, end_s: float, fps: float) -> tuple[int, int]:
    """The first and the last frame of a moment, counted from 1; one frame at least."""
    first = max(0, round(start_s * fps)) + 1
    return first, max(first, round(end_s * fps))


def to_seconds(first: float, last: float, fps: float) -> tuple[float, float]:
    """From when to when these frames are shown."""
    return (first - 1) / fps, last / fps
