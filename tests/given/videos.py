"""Videos made for tests, so that no test needs a file from elsewhere."""

import struct
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy import ndarray as Array

SIZE = (48, 64)
"""Height and width of the pictures that tests get unless they ask for others."""


def clock_picture(time_s: float, *, size: tuple[int, int] = SIZE) -> Array:
    """A picture that tells its own time: 20 blocks, the bits of its milliseconds."""
    bits = (round(time_s * 1000) >> np.arange(20)) & 1
    rows = np.arange(size[0]) * 4 // size[0]
    columns = np.arange(size[1]) * 5 // size[1]
    blocks = (40 + 160 * bits).astype(np.uint8).reshape(4, 5)
    return np.repeat(blocks[rows][:, columns, None], 3, axis=2)


def told_time(rgb: Array) -> float:
    """The time that a picture made by `clock_picture` tells, at any size."""
    height, width = rgb.shape[:2]
    rows = ((np.arange(4) + 0.5) * height / 4).astype(int)
    columns = ((np.arange(5) + 0.5) * width / 5).astype(int)
    bits = rgb[rows][:, columns].mean(axis=2).ravel() > 120
    return int(bits @ (1 << np.arange(20))) / 1000


def make_video(
    path: Path,
    *,
    seconds: float = 2.0,
    fps: int = 10,
    width: int = SIZE[1],
    height: int = SIZE[0],
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    paint: Callable[[float], Array] | None = None,
    times_s: Sequence[float] | None = None,
    start_s: float = 0.0,
    gop: int = 10,
    options: Mapping[str, str] | None = None,
    muxer: Mapping[str, str] | None = None,
    aspect: tuple[int, int] | None = None,
    audio: tuple[float, float] | None = None,
    audio_codec: str = "aac",
) -> Path:
    """Write a video whose picture at time t is ``paint(t)``, and give its path.

    ``times_s`` replaces the even rate by these frame times. ``start_s`` moves all video times in
    the file, not what is painted. ``audio`` is the start and end of a quiet tone. ``aspect`` is
    the shape of a pixel. ``options`` go to the encoder, ``muxer`` to the container.
    """
    paint = paint or (lambda time_s: clock_picture(time_s, size=(height, width)))
    rate = fps if times_s is None else 1000
    times = [i / fps for i in range(round(seconds * fps))] if times_s is None else times_s
    with av.open(path, "w", options=dict(muxer or {})) as out:
        stream = out.add_stream(codec, rate=rate, options=dict(options or {}))
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        stream.codec_context.gop_size = gop
        stream.codec_context.time_base = Fraction(1, rate)
        if aspect:
            stream.codec_context.sample_aspect_ratio = Fraction(*aspect)
        tone = out.add_stream(audio_codec, rate=16000, layout="mono") if audio else None
        if tone and audio:
            for packet in tone.encode(_tone(*audio)):
                out.mux(packet)
            out.mux(tone.encode(None))
        for time_s in times:
            frame = av.VideoFrame.from_ndarray(paint(time_s), format="rgb24")
            frame.pts = round((time_s + start_s) * rate)
            frame.time_base = Fraction(1, rate)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def make_sound(path: Path, *, seconds: float = 1.0, codec: str = "aac") -> Path:
    """Write a file with a quiet tone and no picture."""
    with av.open(path, "w") as out:
        stream = out.add_stream(codec, rate=16000, layout="mono")
        out.mux(stream.encode(_tone(0.0, seconds)))
        out.mux(stream.encode(None))
    return path


def set_display_matrix(path: Path, matrix: tuple[int, int, int, int]) -> Path:
    """Write (a, b, c, d), of values -1, 0 and 1, as the display matrix of an MP4's first track."""
    data = bytearray(path.read_bytes())
    a, b, c, d = (value << 16 for value in matrix)
    at = data.index(b"tkhd") + 4 + 40  # ISO 14496-12, 8.3.2, version 0
    struct.pack_into(">9i", data, at, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


def _tone(start_s: float, end_s: float) -> av.AudioFrame:
    rate = 16000
    wave = 0.1 * np.sin(np.arange(round((end_s - start_s) * rate)) * 0.2)
    frame = av.AudioFrame.from_ndarray(wave[None].astype(np.float32), format="fltp", layout="mono")
    frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
    frame.pts = round(start_s * rate)
    return frame
