"""Can a browser play it? If not, a copy that every browser can, with the same times."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import av
from av.container import OutputContainer
from av.error import FFmpegError
from av.stream import Stream
from av.video.frame import PictureType, VideoFrame

from openmoment.errors import VideoError
from openmoment.storage.atomic import atomic_write
from openmoment.video.clips import (
    Sound,
    add_copies,
    add_encoder,
    shift,
    shown_s,
    turner,
    without_sound,
)
from openmoment.video.opening import choose_stream, open_container, tick
from openmoment.video.source import Source
from openmoment.video.view import View

MAX_SIDE = 720
"""Pixels of the shorter side of a copy: enough to look, light enough to seek."""
KEYFRAMES_S = 1.0
"""How far apart keyframes are in a copy: how far a browser decodes to show a frame."""

_MP4 = (".mp4", ".m4v", ".mov")
_WEBM = (".webm",)
_PICTURES = {  # by kind of container; codecs with the pixel formats that browsers decode
    _MP4: {
        "h264": {"yuv420p", "yuvj420p"},
        "vp9": {"yuv420p"},
        "av1": {"yuv420p", "yuv420p10le"},
    },
    _WEBM: {
        "vp8": {"yuv420p"},
        "vp9": {"yuv420p"},
        "av1": {"yuv420p", "yuv420p10le"},
    },
}
_TIMED = ("matroska", "flv", "mp4")
"""Containers, as libav calls them, that tell of every packet when it is decoded and shown."""
_SOUNDS = {_MP4: {"aac", "mp3", "opus", "flac"}, _WEBM: {"opus", "vorbis"}}

Progress = Callable[[float, float], None]


def browser_plays(path: Path) -> bool:
    """Whether all usual browsers play the file as it is. Raises `VideoError`."""
    kind = next((kind for kind in _PICTURES if path.suffix.lower() in kind), None)
    with open_container(path) as container:
        video = choose_stream(path, container)
        if kind is None or not set(_formats(kind)) & set(container.format.name.split(",")):
            return False
        if video.codec_context.pix_fmt not in _PICTURES[kind].get(_codec(video), set()):
            return False
        sounds = [stream for stream in container.streams.audio if stream.codec_context]
        return all(_codec(sound) in _SOUNDS[kind] for sound in sounds)


def make_playable(path: Path, out: Path, *, progress: Progress | None = None) -> None:
    """Write a copy that browsers play, an MP4, whose frames have the times of the original.

    Pictures in H.264 are copied as they are; others are encoded anew, upright, no larger than
    `MAX_SIDE`. ``progress`` hears seconds done and in all, and may raise to stop. ``out`` appears
    only when it is complete. Raises `VideoError`, and as `atomic_write`.
    """
    with atomic_write(out) as temporary:
        with suppress(VideoError):  # what only looks as if it could be copied
            if _write(path, temporary, progress, _copied):
                return
        _write(path, temporary, progress, _encoded)


Way = Callable[[Source, OutputContainer, float], Iterator[float]]
"""Writes a copy, and yields the time of each frame that is done; none where it cannot."""


def _write(path: Path, out: Path, progress: Progress | None, way: Way) -> bool:
    """Write in one way; says whether there is any frame."""
    time_s = None
    with Source(path) as source:
        end_s = source.last_packet_end_s() or 0.0
        source.rewind()
        options = {"movflags": "+faststart"}  # the index first: it plays before all has arrived
        try:
            with av.open(str(out.absolute()), "w", options=options) as copy:
                for time_s in way(source, copy, end_s):
                    if progress:
                        progress(min(time_s, end_s), end_s)
        except (FFmpegError, OSError) as error:
            raise VideoError(f"{path}: could not be converted ({error.strerror}).") from error
    return time_s is not None


def _formats(kind: tuple[str, ...]) -> tuple[str, ...]:
    """What libav calls the containers of that kind."""
    return ("mp4", "mov") if kind == _MP4 else ("webm",)


def _codec(stream: Stream) -> str:
    return stream.codec_context.codec.canonical_name


# copied --------------------------------------------------------------------------------


def _copied(source: Source, copy: OutputContainer, end_s: float) -> Iterator[float]:
    if not _may_be_copied(source):
        return
    targets = add_copies(source, copy)
    is_begun, reached_s = False, 0.0
    for packet in source.packets(with_audio=True):
        is_video = packet.stream.index == source.stream.index
        target = targets.get(packet.stream.index)
        is_begun |= is_video and packet.is_keyframe
        if target is None or (is_video and not is_begun):
            continue
        reached_s = max(reached_s, shown_s(source, packet))
        shift(packet, -source.ticks_of(0.0, packet.stream))
        packet.stream = target
        copy.mux(packet)
        if is_video:
            yield reached_s


def _may_be_copied(source: Source) -> bool:
    """Whether only the container, or nothing, keeps browsers from playing it."""
    first = next(source.frames(), None)
    source.rewind()
    if first is None:
        raise source.undecodable()
    shown, stored = View.of(first[1], source.stream), source.stream.codec_context
    is_upright = not (shown.is_transposed or shown.is_mirrored_x or shown.is_mirrored_y)
    return (
        is_upright
        and bool(set(_TIMED) & set(source.container.format.name.split(",")))
        and _codec(source.stream) == "h264"
        and stored.pix_fmt in _PICTURES[_MP4]["h264"]
        and (source.audio is None or _codec(source.audio) in _SOUNDS[_MP4])
    )


# encoded -------------------------------------------------------------------------------


def _encoded(source: Source, copy: OutputContainer, end_s: float) -> Iterator[float]:
    first = next(source.frames(), None)
    if first is None:
        raise source.undecodable()
    source.rewind()
    view = _view(first[1], source)
    gap = max(1, round(KEYFRAMES_S * float(source.rate)))
    options = {"crf": "23", "preset": "veryfast", "bf": "0", "g": str(gap)}
    video = add_encoder(source, view, copy, options)
    turn = turner(view, tick(source.stream))
    sound = None if source.audio is None else Sound(source, copy, 0.0, end_s + 1.0)
    zero = source.ticks_of(0.0, source.stream)
    for time_s, frame in source.frames(
        without_sound(source.packets(with_audio=sound is not None), sound)
    ):
        picture = turn(view.scaled(frame, "yuv420p", multiple=2))
        picture.pts = source.ticks_of(time_s, source.stream) - zero
        picture.time_base = tick(source.stream)
        picture.pict_type = PictureType.NONE  # else the encoder repeats the source's choice
        copy.mux(video.encode(picture))
        yield time_s
    copy.mux(video.encode(None))
    if sound:
        sound.finish()


def _view(frame: VideoFrame, source: Source) -> View:
    """As shown, and no larger than `MAX_SIDE`."""
    shown = View.of(frame, source.stream)
    if min(shown.width, shown.height) <= MAX_SIDE:
        return shown
    return View.of(frame, source.stream, short_side=MAX_SIDE)
