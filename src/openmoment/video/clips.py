"""Cut a clip out of a video, by copying its packets or exactly by encoding it again."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
from av.container import OutputContainer
from av.error import FFmpegError
from av.filter import Graph
from av.packet import Packet
from av.stream import Stream
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

from openmoment.errors import VideoError
from openmoment.storage.atomic import atomic_write
from openmoment.video.opening import tick
from openmoment.video.source import TIE_S, Source
from openmoment.video.view import View

SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".ts")
"""What a clip may be: containers of any frame rate."""

LAG_S = 3.0
"""How far apart in a file may be what belongs together: a picture's decoding and its showing, or
picture and sound. A clip gets what is within."""

ENCODER = {"crf": "18", "preset": "veryfast"}

AUDIO_RATE = 48000

RGB_COLORSPACE = 0


def cut(
    path: Path, segment: tuple[float, float], out: Path, *, exact: bool = False
) -> tuple[float, float]:
    """Write the part of a video in ``segment`` to ``out``; give its true start and end.

    Without ``exact``, packets are copied: fast and lossless, but the clip starts at the keyframe
    at or before the segment, and may end a few frames after it. With ``exact`` it holds just the
    frames that start within the segment, encoded again (H.264, AAC), upright. Sound is kept where
    the container of ``out`` can hold it. The clip's own clock starts at 0. ``out`` appears only
    when it is complete. Raises `VideoError`, and as `atomic_write`.
    """
    _check(path, segment, out)
    with Source(path) as source, atomic_write(out) as temporary:
        end_s = source.last_packet_end_s() or 0.0
        if segment[0] >= end_s:
            raise VideoError(
                f"{path}: cannot cut from {segment[0]} s, as the video ends at {end_s:.2f} s."
            )
        try:
            with av.open(str(temporary.absolute()), "w") as clip:
                span = (_encode if exact else _copy)(source, segment, clip)
        except (FFmpegError, OSError) as error:
            raise VideoError(f"{out}: the clip could not be written ({error.strerror}).") from error
        if span[0] >= span[1]:
            raise _nothing_in(source, segment)
        return span


def _check(path: Path, segment: tuple[float, float], out: Path) -> None:
    start_s, end_s = segment
    if not (math.isfinite(start_s) and math.isfinite(end_s) and 0 <= start_s < end_s):
        raise VideoError(f"{path}: cannot cut {start_s} to {end_s} s. Give 0 <= start < end.")
    if out.suffix.lower() not in SUFFIXES:
        raise VideoError(f"{out}: a clip must be one of {', '.join(SUFFIXES)}.")
    if out.exists() and path.exists() and out.samefile(path):
        raise VideoError(f"{out}: would replace the video it is cut from. Give another name.")


def _until(
    source: Source, packets: Iterable[Packet], end_s: float, *, streams: int
) -> Iterator[Packet]:
    """Packets up to the last one shown before ``end_s``, in each of so many ``streams``."""
    late: list[Packet] = []  # pictures shown too late, kept if an earlier one is to lean on them
    done: set[int] = set()
    for packet in packets:
        index = packet.stream.index
        shown_s = source.start_of(packet)
        if packet.dts is not None:
            decoded_s = source.time_of(packet.dts, packet.stream)
        else:
            decoded_s = None if shown_s is None else shown_s - LAG_S
        if decoded_s is not None and decoded_s >= end_s - TIE_S:
            done.add(index)
            if len(done) == streams or decoded_s > end_s + LAG_S:
                return
        elif shown_s is not None and shown_s >= end_s - TIE_S:
            late += [packet] if index == source.stream.index else []
        else:
            if index == source.stream.index:
                yield from late
                late.clear()
            yield packet


def _nothing_in(source: Source, segment: tuple[float, float]) -> VideoError:
    start_s, end_s = segment
    return VideoError(
        f"{source.path}: no frame starts from {start_s} to {end_s} s. Cut a longer segment."
    )


# copied --------------------------------------------------------------------------------


def _copy(
    source: Source, segment: tuple[float, float], clip: OutputContainer
) -> tuple[float, float]:
    targets = add_copies(source, clip)
    first = next(source.packets_from(segment[0]), None)
    if first is None:
        raise source.undecodable()
    start_s = clip_end_s = shown_s(source, first)
    packets = source.packets_from(segment[0], with_audio=True)
    for packet in _until(source, packets, segment[1], streams=len(targets)):
        target = targets.get(packet.stream.index)
        time_s = shown_s(source, packet)
        # Pictures shown before the keyframe would need one that is not in the clip.
        if target is None or time_s < start_s - TIE_S:
            continue
        if packet.stream.index == source.stream.index:
            clip_end_s = max(clip_end_s, time_s + source.duration_of(packet))
        shift(packet, -source.ticks_of(start_s, packet.stream))
        packet.stream = target
        clip.mux(packet)
    return start_s, clip_end_s


def add_copies(source: Source, clip: OutputContainer) -> dict[int, Stream]:
    """The clip's streams by the index of the source's; without the sound if it does not fit."""
    targets: dict[int, Stream] = {}
    try:
        targets[source.stream.index] = clip.add_stream_from_template(source.stream, opaque=True)
    except ValueError:
        codec = source.stream.codec_context.name
        raise VideoError(
            f"{source.path}: its video ({codec}) cannot be copied to {clip.format.name}. "
            "Write an .mkv, or cut exactly."
        ) from None
    if source.audio is not None:
        with suppress(ValueError):
            targets[source.audio.index] = clip.add_stream_from_template(source.audio, opaque=True)
    return targets


def shown_s(source: Source, packet: Packet) -> float:
    """The presentation time of a packet, which gets one if only its decoding time is known."""
    if packet.pts is None:
        reordered = packet.stream.index == source.stream.index and source.stream.has_b_frames
        if packet.dts is None or reordered:
            raise VideoError(f"{source.path}: packets without times cannot be copied. Cut exactly.")
        packet.pts = packet.dts
    return source.time_of(packet.pts, packet.stream)


def shift(packet: Packet, ticks: int) -> None:
    """Move when a packet is decoded and shown."""
    packet.pts = None if packet.pts is None else packet.pts + ticks
    packet.dts = None if packet.dts is None else packet.dts + ticks


# encoded -------------------------------------------------------------------------------


def _encode(
    source: Source, segment: tuple[float, float], clip: OutputContainer
) -> tuple[float, float]:
    start_s, first = _first_frame(source, segment)
    view = View.of(first, source.stream)
    video = add_encoder(source, view, clip)
    turn = turner(view, tick(source.stream))
    sound = None if source.audio is None else Sound(source, clip, start_s, segment[1])
    zero, clip_end_s = source.ticks_of(start_s, source.stream), start_s
    packets = source.packets_from(segment[0], with_audio=sound is not None)
    packets = _until(source, packets, segment[1], streams=2 if sound else 1)
    for time_s, frame in source.frames(without_sound(packets, sound)):
        if not start_s - TIE_S <= time_s < segment[1] - TIE_S:
            continue
        picture = turn(view.scaled(frame, "yuv420p", multiple=2))
        picture.pts = source.ticks_of(time_s, source.stream) - zero
        picture.time_base = tick(source.stream)
        picture.pict_type = PictureType.NONE  # else the encoder repeats the source's choice
        clip.mux(video.encode(picture))
        clip_end_s = time_s + source.duration_of(frame)
    clip.mux(video.encode(None))
    if sound:
        sound.finish()
    return start_s, clip_end_s


def _first_frame(source: Source, segment: tuple[float, float]) -> tuple[float, VideoFrame]:
    """The first frame that starts in the segment, and when. Raises `VideoError` if none does."""
    time_s = None
    for time_s, frame in source.frames(source.packets_from(segment[0])):
        if time_s >= segment[1] - TIE_S:
            break
        if time_s >= segment[0] - TIE_S:
            return time_s, frame
    if time_s is None:
        raise source.undecodable()
    raise _nothing_in(source, segment)


def add_encoder(
    source: Source, view: View, clip: OutputContainer, options: Mapping[str, str] = ENCODER
) -> VideoStream:
    """An H.264 stream of ``clip`` that takes what ``view`` makes of the source's pictures."""
    try:
        video = clip.add_stream("libx264", rate=source.rate, options=dict(options))
    except ValueError:
        raise VideoError(
            f"{source.path}: {clip.format.name} cannot hold H.264. Write an .mp4 or .mkv."
        ) from None
    video.width, video.height = view.width // 2 * 2 or 2, view.height // 2 * 2 or 2
    video.pix_fmt = "yuv420p"
    video.codec_context.time_base = tick(source.stream)
    given = source.stream.codec_context
    video.codec_context.color_range = given.color_range
    if given.colorspace != RGB_COLORSPACE:
        video.codec_context.colorspace = given.colorspace
        video.codec_context.color_trc = given.color_trc
        video.codec_context.color_primaries = given.color_primaries
    return video


def turner(view: View, time_base: Fraction) -> Callable[[VideoFrame], VideoFrame]:
    """What turns a scaled picture upright without leaving its pixel format."""
    steps = [("transpose", "cclock_flip")] if view.is_transposed else []
    steps += [("hflip", None)] if view.is_mirrored_x else []
    steps += [("vflip", None)] if view.is_mirrored_y else []
    if not steps:
        return lambda picture: picture
    graph: Graph | None = None

    def turn(picture: VideoFrame) -> VideoFrame:
        nonlocal graph
        if graph is None:
            graph = Graph()
            head = graph.add_buffer(
                width=picture.width,
                height=picture.height,
                format=picture.format,
                time_base=time_base,
            )
            body = [graph.add(name, args) for name, args in steps]
            graph.link_nodes(head, *body, graph.add("buffersink")).configure()
        graph.vpush(picture)
        return graph.vpull()

    return turn


class Sound:
    """The sound from one time to another, encoded anew on the clip's clock."""

    def __init__(self, source: Source, clip: OutputContainer, start_s: float, end_s: float) -> None:
        assert source.audio is not None
        layout = "mono" if source.audio.codec_context.channels == 1 else "stereo"
        self.stream = clip.add_stream("aac", rate=AUDIO_RATE, layout=layout)
        self.source, self.clip = source, clip
        self.start_s, self.end_s = start_s, end_s

    def add(self, packet: Packet) -> None:
        """Encode what the packet holds. Sound that is damaged or changes its kind is left out."""
        try:
            frames = packet.decode()
        except FFmpegError:
            return
        for frame in frames:
            if frame.pts is None:
                continue
            time_s = self.source.time_of(frame.pts, packet.stream)
            if self.start_s - TIE_S <= time_s < self.end_s - TIE_S:
                frame.pts -= self.source.ticks_of(self.start_s, packet.stream)
                with suppress(ValueError):
                    self.clip.mux(self.stream.encode(frame))

    def finish(self) -> None:
        self.clip.mux(self.stream.encode(None))


def without_sound(packets: Iterable[Packet], sound: Sound | None) -> Iterator[Packet]:
    """The video's packets; the others go to ``sound`` as they come by."""
    for packet in packets:
        if sound and packet.stream.type == "audio":
            sound.add(packet)
        else:
            yield packet
