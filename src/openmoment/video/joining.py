"""Clips one after the other as one video, with the times of the cuts."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np
from av.container import OutputContainer
from av.error import FFmpegError
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from jaxtyping import UInt8
from numpy import ndarray as Array

from openmoment.errors import VideoError
from openmoment.storage.atomic import atomic_write
from openmoment.video.frames import read_frames

# x264 without its macroblock tree, which now and then chooses other bits for the same pictures
_ENCODER = {"crf": "20", "preset": "veryfast", "x264-params": "no-mbtree=1"}


def join(
    clips: Sequence[Path],
    out: Path,
    *,
    fps: int,
    size: tuple[int, int],
    max_clip_s: float,
) -> list[tuple[float, float]]:
    """Write the clips to ``out`` (.mp4, H.264, no sound); when each starts and ends, in seconds.

    Pictures are fitted into ``size`` (width, height) with black bars. Of each clip at most
    ``max_clip_s`` are shown. The same clips give the same bytes. Raises VideoError.
    """
    cuts: list[tuple[float, float]] = []
    with (
        atomic_write(out) as temporary,
        av.open(str(temporary.absolute()), "w", options={"fflags": "+bitexact"}) as container,
    ):
        codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
        options = (_ENCODER if codec == "libx264" else {}) | {"g": str(2 * fps)}
        stream = container.add_stream(codec, rate=fps, options=options)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.thread_count = 1  # several threads may choose other bits
        count = 0
        for clip in clips:
            start = count
            for picture in islice(_pictures(clip, fps, size), max(1, round(max_clip_s * fps))):
                picture.pts, picture.time_base = count, Fraction(1, fps)
                _mux(container, stream, picture, out)
                count += 1
            cuts.append((start / fps, count / fps))
        _mux(container, stream, None, out)
    return cuts


def _mux(
    container: OutputContainer,
    stream: VideoStream,
    picture: VideoFrame | None,
    out: Path,
) -> None:
    try:
        container.mux(stream.encode(picture))
    except (FFmpegError, OSError) as error:
        raise VideoError(f"{out}: the video could not be written ({error.strerror}).") from error


def _pictures(clip: Path, fps: int, size: tuple[int, int]) -> Iterator[VideoFrame]:
    """Its pictures at an even rate, fitted in."""
    last, fitted = None, None
    for frame in read_frames(clip, fps=float(fps)):
        if fitted is None or frame.rgb is not last:
            last, fitted = frame.rgb, _fit(frame.rgb, size)
        yield VideoFrame.from_ndarray(fitted, format="rgb24")


def _fit(picture: UInt8[Array, "h w 3"], size: tuple[int, int]) -> UInt8[Array, "_ _ 3"]:
    width, height = size
    scale = min(width / picture.shape[1], height / picture.shape[0])
    w, h = (max(2, round(n * scale) // 2 * 2) for n in (picture.shape[1], picture.shape[0]))
    small = VideoFrame.from_ndarray(picture, format="rgb24").reformat(width=w, height=h)
    canvas = np.zeros((height, width, 3), dtype=np.uint8)
    top, left = (height - h) // 2, (width - w) // 2
    canvas[top : top + h, left : left + w] = small.to_ndarray()
    return canvas
