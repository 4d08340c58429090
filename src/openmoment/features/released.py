"""Features that the field shares, by the name of the release: how its files lie in time.

What is said here is what the releases say of themselves; docs/backbones.md names the places.
Their weights are not at hand, so that nothing can be extracted again in the same way.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from openmoment.errors import FeatureError, FormatError, UnknownNameError
from openmoment.features.file import Stride, import_features
from openmoment.storage.reading import get, get_number, read_json
from openmoment.types import Snippets


@dataclass(frozen=True)
class Release:
    """One release: a file for each video, named by it, as [snippets, width]."""

    suffix: str
    width: int
    stride: int | None = None
    """Frames from one snippet to the next; None: a fixed number of snippets shares the video."""
    window: int | None = None
    """Frames that a snippet saw."""
    video_fps: float | None = None
    """Of the frames; None: each video's own rate."""


RELEASES: Mapping[str, Release] = MappingProxyType(
    {
        "actionformer-thumos14-i3d": Release(".npy", 2048, 4, 16),
        "actionformer-activitynet-i3d": Release(".npy", 2048, 16, 16, video_fps=25.0),
        "actionformer-activitynet-tsp": Release(".npy", 512, 16, 16, video_fps=15.0),
        "bsn-activitynet-tsn": Release(".csv", 400),
    }
)


@dataclass(frozen=True)
class Times:
    """What a release's annotations say of a video, in seconds; None where they are silent."""

    duration_s: float
    video_fps: float | None = None
    covered_s: float | None = None
    """Until where there are features."""


def find_release(name: str) -> Release:
    """Raises UnknownNameError."""
    if name not in RELEASES:
        raise UnknownNameError("release", name, list(RELEASES))
    return RELEASES[name]


def read_times(path: Path) -> dict[str, Times]:
    """Times by the id of a video, from the annotations of a release.

    They have ActivityNet's layout (``database``, with ``duration`` and perhaps ``fps``), or BSN's
    (``duration_second``, ``duration_frame``, ``feature_frame``). Raises FormatError.
    """
    table = read_json(path)
    is_bsn = isinstance(table, dict) and "database" not in table
    videos = get({"database": table} if is_bsn else table, "database", dict, str(path))
    read = _bsn_times if is_bsn else _times
    return {video: read(facts, f"{path}: {video}") for video, facts in videos.items()}


def find_times(times: Mapping[str, Times], path: Path) -> Times:
    """Those of the video that a file is named by, with or without ``v_``. Raises FeatureError."""
    names = path.stem, path.stem.removeprefix("v_"), f"v_{path.stem}"
    for name in names:
        if name in times:
            return times[name]
    raise FeatureError(f"{path}: the annotations say nothing of this video.")


def _times(facts: Any, where: str) -> Times:
    duration_s = get_number(facts, "duration", where)
    return Times(duration_s, get_number(facts, "fps", where) if "fps" in facts else None)


def _bsn_times(facts: Any, where: str) -> Times:
    names = ("duration_second", "duration_frame", "feature_frame")
    seconds, frames, seen = (get_number(facts, name, where) for name in names)
    if frames <= 0:
        raise FormatError(f"{where}: duration_frame: expected a positive number, got {frames:g}.")
    return Times(seconds, covered_s=min(seen / frames, 1.0) * seconds)


def import_released(path: Path, name: str, times: Times) -> Snippets:
    """The snippets of one file of the release of that name, which becomes their encoder.

    Raises UnknownNameError, FeatureError.
    """
    release = find_release(name)
    stride = None
    if release.stride is not None:
        fps = release.video_fps or times.video_fps
        if fps is None:
            raise FeatureError(
                f"{path}: is timed in frames of the video, but the annotations give it no 'fps'."
            )
        stride = Stride(release.stride, fps, release.window)
    end_s = times.covered_s if stride is None and times.covered_s else times.duration_s
    snippets = import_features(
        path,
        encoder=name,
        duration_s=end_s,
        stride=stride,
        dim_in=release.width,
        layout="time-first",
    )
    return replace(snippets, duration_s=times.duration_s)
