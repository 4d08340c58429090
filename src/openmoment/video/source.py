"""An open video file: its video stream, the player's clock, packets and pictures in time order."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from types import TracebackType

import av
from av.container import InputContainer
from av.error import FFmpegError, InvalidDataError
from av.format import Flags
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from openmoment.errors import VideoError
from openmoment.types import clock

TIE_S = 1e-3
"""Times this close are equal: Matroska and Flash round theirs to a millisecond."""

CUT_OFF_S = 1.0
"""A file that ends this much before its header says is cut off."""

LEAP_S = 10.0
"""A time that leaps ahead by more than this may be damaged."""

SEEK_BACK_S = (0.0, 2.0, 15.0)
"""A seek that lands too late, as with an inexact index, is tried again from this much before."""

LISTS = ("concat", "hls", "tty")
"""Formats of text files, which name videos or would be drawn as text."""

NO_LIST = "is a text file, not a video. Give the video file itself."
NO_INDEX = "has no usable index (moov box), as when it is cut off. Record or copy it again."
NO_VIDEO = "is not a video file. Give a video, such as MP4, MKV, WebM, MOV, AVI or TS."


@dataclass
class Damage:
    """What could not be decoded, or not well."""

    count: int = 0
    first_s: float | None = None

    def note(self, time_s: float | None) -> None:
        self.count += 1
        if self.first_s is None:
            self.first_s = time_s


@dataclass
class _Stamps:
    """Which time stamp of a decoded picture to trust: the one for showing or the one for decoding.

    AVI stores none for showing, and those that libav makes up are wrong for DivX and Xvid files
    with packed B-frames. Pictures come in the order of showing, so that whichever stamp has gone
    backwards less often is right, as libav's own players decide.
    """

    pts: int | None = None
    dts: int | None = None
    pts_faults: int = 0
    dts_faults: int = 0

    def best(self, frame: VideoFrame) -> int | None:
        if frame.pts is not None:
            self.pts_faults += self.pts is not None and frame.pts <= self.pts
            self.pts = frame.pts
        if frame.dts is not None:
            self.dts_faults += self.dts is not None and frame.dts <= self.dts
            self.dts = frame.dts
        if frame.pts is None or (frame.dts is not None and self.pts_faults > self.dts_faults):
            return frame.dts
        return frame.pts


class Source:
    """A video opened for reading, from its start until `seek` moves it; a context manager.

    Raises `VideoError` when the file is missing, is not a video, or holds no video stream.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damage = Damage()
        self.reached_s = 0.0
        """The latest end of any packet read, of sound or picture."""
        self._open()

    def _open(self) -> None:
        self.container = _open_container(self.path)
        try:
            self.stream = _choose_stream(self.path, self.container)
        except VideoError:
            self.container.close()
            raise
        self.stream.thread_type = "AUTO"
        self.audio = next(
            (stream for stream in self.container.streams.audio if stream.codec_context), None
        )
        self._origin = _origin(self.container)

    def __enter__(self) -> "Source":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.container.close()

    # the clock -------------------------------------------------------------------------

    def time_of(self, ticks: int, stream: Stream) -> float:
        """A time stamp of ``stream`` on the player's clock."""
        return float(ticks * tick(stream) - self._origin)

    def ticks_of(self, time_s: float, stream: Stream) -> int:
        """The inverse of `time_of`, to the nearest tick."""
        return round((Fraction(time_s) + self._origin) / tick(stream))

    @property
    def step_s(self) -> float:
        """The usual time from frame to frame, as the header tells or libav guesses it."""
        rate = self.stream.average_rate
        if rate is None or self._is_untimed:
            rate = self.stream.guessed_rate or rate
        return float(1 / rate) if rate else 0.04

    @property
    def declared_end_s(self) -> float | None:
        """Where the header says that the file ends, at the least; None when it does not say."""
        if self.container.duration is None or self._is_untimed:
            return None
        # Matroska counts its duration from zero, others from the first time stamp.
        return self.container.duration / av.time_base - max(float(self._origin), 0.0)

    @property
    def _is_untimed(self) -> bool:
        """True for raw streams, whose packets carry no times and which cannot be searched."""
        return bool(self.container.format.flags & Flags.no_timestamps.value)

    # packets ---------------------------------------------------------------------------

    def packets(self, *, with_audio: bool = False) -> Iterator[Packet]:
        """Packets of the video, and of the sound if asked for, from here to the end of file."""
        streams = [self.stream, self.audio] if self.audio else [self.stream]
        try:
            for packet in self.container.demux(*streams):
                if not packet.size:  # the demuxer's sign of the end, or a dropped frame in AVI
                    continue
                self._reach(packet)
                if with_audio or packet.stream.index == self.stream.index:
                    yield packet
        except FFmpegError:
            self.damage.note(self.reached_s)

    def packets_from(self, time_s: float, *, with_audio: bool = False) -> Iterator[Packet]:
        """Packets from the last keyframe at or before ``time_s`` on, or else from the beginning."""
        if not self._is_untimed:
            for back_s in SEEK_BACK_S:
                if not self.seek(time_s - back_s):
                    break
                packets = self.packets(with_audio=with_audio)
                head = self._up_to(time_s, packets)
                if head:
                    return chain(head, packets)
        self.rewind()
        return self.packets(with_audio=with_audio)

    def _up_to(self, time_s: float, packets: Iterator[Packet]) -> list[Packet]:
        """The first packets, up to one past ``time_s``, less the pictures before the keyframe.

        Nothing if there is no keyframe. Taken from ``packets``, and held: a few seconds' worth.
        """
        head: list[Packet] = []
        has_keyframe = False
        for packet in packets:
            is_video = packet.stream.index == self.stream.index
            start_s = self.start_of(packet)
            if (
                is_video
                and packet.is_keyframe
                and start_s is not None
                and start_s <= time_s + TIE_S
            ):
                head = [p for p in head if p.stream.index != self.stream.index]
                has_keyframe = True
            if has_keyframe or not is_video:
                head.append(packet)
            if is_video and start_s is not None and start_s > time_s + TIE_S:
                break
        return head if has_keyframe else []

    def start_of(self, packet: Packet) -> float | None:
        """When a packet is shown, or else decoded; None where it does not tell."""
        ticks = packet.pts if packet.pts is not None else packet.dts
        return None if ticks is None else self.time_of(ticks, packet.stream)

    def rewind(self) -> None:
        """Go back to the beginning. It opens the file anew, which works where seeking does not."""
        self.container.close()
        self._open()

    def seek(self, time_s: float) -> bool:
        """Go to a keyframe at or before ``time_s``, as the file's index has it."""
        try:
            self.container.seek(self.ticks_of(time_s, self.stream), stream=self.stream)
        except FFmpegError:
            return False
        return True

    def _reach(self, packet: Packet) -> None:
        start_s = self.start_of(packet)
        if start_s is not None:
            lasts_s = float((packet.duration or 0) * tick(packet.stream))
            self.reached_s = max(self.reached_s, start_s + lasts_s)

    # pictures --------------------------------------------------------------------------

    def frames(self, packets: Iterable[Packet] | None = None) -> Iterator[tuple[float, VideoFrame]]:
        """Decoded pictures and their start times, which increase.

        A picture is left out when its time goes backwards, or leaps ahead only for the next one
        to be back, as damaged times do; what cannot be decoded is skipped. `damage` counts these.
        """
        last_s: float | None = None
        leapt: tuple[float, VideoFrame] | None = None
        for time_s, frame in self._timed(self.packets() if packets is None else packets):
            if leapt is not None:
                if time_s > leapt[0]:
                    yield leapt
                    last_s = leapt[0]
                else:
                    self.damage.note(last_s)
                leapt = None
            if last_s is not None and time_s <= last_s:
                if time_s < last_s - CUT_OFF_S:  # less is disorder, which `_Stamps` repairs
                    self.damage.note(last_s)
            elif last_s is not None and time_s > last_s + LEAP_S:
                leapt = time_s, frame
            else:
                yield time_s, frame
                last_s = time_s
        if leapt is not None:
            yield leapt

    def _timed(self, packets: Iterable[Packet]) -> Iterator[tuple[float, VideoFrame]]:
        """Decoded pictures and their times; a missing one is the one before plus the usual step."""
        time_s, step_s, stamps = 0.0, 0.0, _Stamps()
        declared_s = self.declared_end_s
        for frame in self._decoded(packets):
            ticks = stamps.best(frame)
            next_s = time_s + step_s if ticks is None else self.time_of(ticks, self.stream)
            if declared_s is not None and next_s > max(declared_s, time_s) + LEAP_S:
                self.damage.note(time_s)
                continue
            time_s, step_s = next_s, self.duration_of(frame)
            yield time_s, frame

    def duration_of(self, timed: VideoFrame | Packet) -> float:
        """How long a frame of the video says that it lasts, or the usual step."""
        return float(timed.duration * tick(self.stream)) if timed.duration else self.step_s

    def _decoded(self, packets: Iterable[Packet]) -> Iterator[VideoFrame]:
        held: Packet | None = None
        for packet in packets:
            if held is not None:
                yield from self._decode(held)
            held = packet
        if held is not None and held.is_corrupt:
            # The stump of a cut-off file. Decoders that run ahead in threads would answer it
            # with an error in place of the pictures that they still hold.
            self.damage.note(self.reached_s)
        elif held is not None:
            yield from self._decode(held)
        yield from self._decode(None)

    def _decode(self, packet: Packet | None) -> list[VideoFrame]:
        try:
            frames = self.stream.decode(packet)
        except FFmpegError:
            self.damage.note(self.reached_s)
            return []
        if (packet and packet.is_corrupt) or any(frame.is_corrupt for frame in frames):
            self.damage.note(self.reached_s)
        return frames

    # the end ---------------------------------------------------------------------------

    def last_packet_end_s(self) -> float | None:
        """The end of the last video packet, found near the end of the file if it can be sought.

        None when there is no packet. Moves the source to its end.
        """
        declared_s = self.declared_end_s
        if declared_s is not None and self.seek(declared_s - 2.0):
            end_s = self._latest_end_s()
            if end_s is not None:
                return end_s
        self.rewind()
        return self._latest_end_s()

    def _latest_end_s(self) -> float | None:
        end_s: float | None = None
        for packet in self.packets():
            if packet.is_discard:
                continue
            start_s = self.start_of(packet)
            if start_s is None:
                start_s = end_s or 0.0
            end_s = max(start_s + self.duration_of(packet), end_s or 0.0)
        return end_s

    def troubles(self) -> str | None:
        """What went wrong in reading to the end, as one line for the user; None if nothing did."""
        parts: list[str] = []
        if self.damage.count:
            near = (
                "" if self.damage.first_s is None else f", first near {clock(self.damage.first_s)}"
            )
            parts.append(f"{self.damage.count} damaged or misplaced frames{near}")
        declared_s = self.declared_end_s
        if declared_s is not None and self.reached_s < declared_s - CUT_OFF_S:
            parts.append(f"cut off at {clock(self.reached_s)} of {clock(declared_s)}")
        return f"{self.path}: {'; '.join(parts)}. The rest is used." if parts else None

    def undecodable(self) -> VideoError:
        """The error for a file that opened, but gave no picture."""
        codec = self.stream.codec_context.name
        return VideoError(
            f"{self.path}: no picture could be decoded (codec {codec}). The file is damaged or is "
            "no video: play it in a player, then record, copy or convert it again."
        )


def tick(stream: Stream) -> Fraction:
    """The unit of a stream's time stamps, in seconds."""
    return stream.time_base or Fraction(1, av.time_base)


def _open_container(path: Path) -> InputContainer:
    if path.is_dir():
        raise VideoError(f"{path}: is a folder, not a video. Give a file in it.")
    try:
        if path.stat().st_size == 0:
            raise VideoError(f"{path}: is empty (0 bytes). Copy or download it again.")
    except FileNotFoundError:
        raise VideoError(f"{path}: no such file. Check the path.") from None
    try:
        # An absolute path, as libav takes the "x" of "x:y.mp4" for a protocol.
        container = av.open(
            str(path.absolute()),
            options={"protocol_whitelist": "file"},
            metadata_errors="replace",
        )
    except (FFmpegError, OSError) as error:
        raise VideoError(f"{path}: {_why_unreadable(path, error)}") from None
    problem = _why_unusable(path, container)
    if problem:
        container.close()
        raise VideoError(f"{path}: {problem}")
    return container


def _why_unreadable(path: Path, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):  # the file is there, but names one that is not
        return NO_LIST
    if not isinstance(error, InvalidDataError | EOFError):
        return f"cannot be opened ({error}). Check that it can be read."
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


def _choose_stream(path: Path, container: InputContainer) -> VideoStream:
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


def _origin(container: InputContainer) -> Fraction:
    """The time stamp, in seconds, that a player shows as 0:00."""
    if container.start_time is None:
        return Fraction(0)
    start = Fraction(container.start_time, av.time_base)
    exact = (s.start_time * tick(s) for s in container.streams if s.start_time is not None)
    # libav rounds the container's start to a microsecond: take the stream's own where it fits.
    return next((time for time in exact if abs(time - start) < 2 / av.time_base), start)
