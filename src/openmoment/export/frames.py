"""The text of action segmentation (Breakfast, 50Salads, GTEA): one label a line, one line a frame.

Frames are those that a player shows, at the container's presentation times, so that the video
itself is needed to write the file. A frame has the label of the best-scored moment that covers its
time, with underscores for spaces, or ``background``. Nothing else is in the file, neither times nor
scores: `read_frames` takes the rate that the reader knows.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray as Array

from openmoment.detections import Detections as Held
from openmoment.detections import Row, from_rows
from openmoment.errors import FormatError
from openmoment.export.base import Format, Found, Read, only_video
from openmoment.export.rate import checked, find_video
from openmoment.postprocess import cover
from openmoment.storage.atomic import write_text
from openmoment.storage.reading import read_text
from openmoment.types import Detections

BACKGROUND = "background"
_TIE_S = 1e-3  # by which containers and files round times


def write(found: Found, path: Path, *, fps: float | None = None) -> None:
    """Write a line for each frame of the video.

    Where the video is not there, frames are ``1 / fps`` seconds apart up to its recorded end.
    Raises FormatError when that is not known either, VideoError for a video that cannot be read.
    """
    video, moments = only_video(found, path)
    if here := find_video(video, path):
        from openmoment.video import frame_times

        times_s = frame_times(here)
    elif fps and moments.origin:
        times_s = np.arange(round(moments.origin.duration_s * checked(fps, path))) / fps
    else:
        raise FormatError(
            f"{path}: labels of frames need the times of the frames, but {video or 'the video'} is "
            "not there. Write .csv or .json, or say where the video is."
        )
    write_frames(moments, path, times_s=times_s)


def write_frames(moments: Detections, path: Path, *, times_s: Float[Array, " t"]) -> None:
    """Write a line for each of these times. Raises FormatError for labels that look alike."""
    names = to_labels(moments.names, path)
    labels, _ = cover(moments, times_s + _TIE_S)
    write_text("".join(f"{names[label]}\n" for label in labels.tolist()), path)


def to_labels(names: Sequence[str], path: Path) -> list[str]:
    """The names as labels, and ``background`` behind them, where -1 finds it.

    Raises FormatError for two that would be one, and for a name that no line can hold.
    """
    labels = ["_".join(name.split()) for name in names]
    seen = {BACKGROUND: "what is no query"}
    for name, label in zip(names, labels, strict=True):
        if not label:
            raise FormatError(f"{path}: a query of white space alone cannot be a label.")
        if label in seen:
            raise FormatError(
                f"{path}: {name!r} and {seen[label]} would both be {label!r}. Reword one."
            )
        seen[label] = repr(name)
    return [*labels, BACKGROUND]


def read(path: Path, *, fps: float | None = None) -> Read:
    """The detections, under the file's stem; see `read_frames`.

    The file says no times, so that it is refused in one line without ``fps``.
    """
    read_text(path)
    if fps is None:
        raise FormatError(
            f"{path}: labels of frames say no times. Give the rate of the frames: --fps 25, or "
            "openmoment.export.frames.read_frames(path, fps=25.0) in Python."
        )
    return {path.stem: read_frames(path, fps=fps)}


def read_frames(path: Path, *, fps: float, start_s: float = 0.0) -> Held:
    """The segments of such a file at ``fps`` frames a second, the first of them at ``start_s``.

    Underscores are spaces again. Scores, of which the file says nothing, are 1. Raises
    FormatError for an empty line, or a rate that is not positive.
    """
    checked(fps, path)
    labels = read_text(path).removesuffix("\n").split("\n")
    if labels == [""]:
        return Held.empty(())
    lines = np.array([label.strip() for label in labels])
    if not all(lines):
        number = int(np.flatnonzero(lines == "")[0]) + 1
        raise FormatError(f"{path}, line {number}: expected a label or {BACKGROUND!r}.")
    first = np.flatnonzero(np.append(True, lines[1:] != lines[:-1]))
    last = np.append(first[1:], len(lines))
    rows = [
        Row(start_s + a / fps, start_s + b / fps, str(lines[a]).replace("_", " "), 1.0)
        for a, b in zip(first.tolist(), last.tolist(), strict=True)
        if lines[a] != BACKGROUND
    ]
    return from_rows(rows)


FRAMES = Format(
    write,
    read,
    extension=".txt",
    about="the text of action segmentation, a label a line, a line a frame",
    loses="scores, moments under better ones, the video, queries that were not found, and where "
    "it all comes from",
    reads_frames=True,
    writes_frames=True,
    keeps_times=False,
)
