"""What a video file is."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray as Array

from openmoment.video.source import Source
from openmoment.video.view import View


@dataclass(frozen=True)
class VideoInfo:
    """A video's time and shape, as a player shows them."""

    path: Path
    duration_s: float
    """The end of the last frame."""
    start_s: float
    """The start of the first frame; over 0 when the sound starts before the pictures."""
    fps: float
    """The average, as the header tells it."""
    width: int
    height: int
    codec: str
    rotation: int
    """Degrees clockwise by which the stored picture is turned; width and height are after it."""
    has_audio: bool


def probe(path: Path) -> VideoInfo:
    """What the file holds, from its first frame and last packets. Raises `VideoError`."""
    with Source(path) as source:
        first = next(source.frames(), None)
        if first is None:
            raise source.undecodable()
        start_s, frame = first
        view = View.of(frame, source.stream)
        end_s = source.last_packet_end_s()
        return VideoInfo(
            path=path,
            duration_s=max(end_s or 0.0, start_s + source.duration_of(frame)),
            start_s=start_s,
            fps=float(source.rate),
            width=view.width,
            height=view.height,
            codec=source.stream.codec_context.name,
            rotation=view.rotation,
            has_audio=bool(source.container.streams.audio),
        )


def frame_times(path: Path) -> Float[Array, " t"]:
    """When each frame that a player shows begins, in seconds, in order.

    All are decoded, so that none counts that is not shown. Raises `VideoError`.
    """
    with Source(path) as source:
        times_s = np.array([time_s for time_s, _ in source.frames()], dtype=np.float64)
        if not len(times_s):
            raise source.undecodable()
        return times_s
