"""Open a file as a video: the container, its video stream and its zero of time, or why not."""

from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.error import FFmpegError, InvalidDataError
from av.stream import Disposition, Stream
from av.video.stream import VideoStream

from openmoment.errors import VideoError

LISTS = ("concat", "hls", "tty")
"""Formats of text files, which name videos or would be drawn as text."""

NO_LIST = "is a text file, not a video. Give the video file itself."
NO_INDEX = "has no usable index (moov box), as when it is cut off. Record or copy it again."
NO_VIDEO = "is not a video file. Give a video, such as MP4, MKV, WebM, MOV, AVI or TS."


def open_container(path: Path) -> InputContainer:
    """The opened file. Raises `VideoError` for what is not there, or is no video at all."""
    if path.is_dir():
        raise VideoError(f"{path}: is a folder, not a video. Give a file in it.")
    if not path.is_file():
        raise VideoError(f"{path}: no such file. Check the path.")
    if path.stat().st_size == 0:
        raise VideoError(f"{path}: is empty (0 bytes). Copy or download it again.")
    try:
        # An absolute path, as libav takes the "x" of "x:y.mp4" for a protocol.
        container = av.open(str(path.absolute()), metadata_errors="replace")
    except (FFmpegError, OSError) as error:
        raise VideoError(f"{path}: {_why_unreadable(path, error)}") from None
    problem = _why_unusable(path, container)
    if problem:
        container.close()
        raise VideoError(f"{path}: {problem}")
    return container


def _why_unreadable(path: Path, error: FFmpegError | OSError) -> str:
    if isinstance(error, FileNotFoundError):  # the file is there, but names one that is not
        return NO_LIST
    if not isinstance(error, InvalidDataError | EOFError):
        return f"cannot be opened ({error.strerror}). Check that it can be read."
    return NO_INDEX if _is_mp4(path) else NO_VIDEO


def _why_unusable(path: Path, container: InputContainer) -> str | None:
    if container.format.name in LISTS:
        return NO_LIST
    if not container.streams:
        return NO_INDEX if _is_mp4(path) else NO_VIDEO
    return None


def _is_mp4(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(8)[4:] in (b"ftyp", b"mdat", b"wide", b"free")


def choose_stream(path: Path, container: InputContainer) -> VideoStream:
    """The first video stream that is no cover picture; one marked as default goes first."""
    moving = [
        stream
        for stream in container.streams.video
        if not stream.disposition & Disposition.attached_pic
    ]
    if not moving:
        has = "only sound" if container.streams.audio else "no video stream"
        raise VideoError(f"{path}: holds {has}. Give a file with pictures.")
    known = [stream for stream in moving if stream.codec_context]
    if not known:
        raise VideoError(
            f"{path}: its video codec is not one that PyAV can decode. Convert it to H.264."
        )
    return next((s for s in known if s.disposition & Disposition.default), known[0])


def origin_of(container: InputContainer) -> Fraction:
    """The time stamp, in seconds, that a player shows as 0:00."""
    if container.start_time is None:
        return Fraction(0)
    start = Fraction(container.start_time, av.time_base)
    exact = (s.start_time * tick(s) for s in container.streams if s.start_time is not None)
    # libav rounds the container's start to a microsecond: take the stream's own where it fits.
    return next((time for time in exact if abs(time - start) < 2 / av.time_base), start)


def tick(stream: Stream) -> Fraction:
    """The unit of a stream's time stamps, in seconds."""
    return stream.time_base or Fraction(1, av.time_base)
