"""An open video file: its video stream, the player's clock, packets and pictures in time order."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
from av.error import FFmpegError
from av.format import Flags
from av.packet import Packet
from av.stream import Stream
from av.video.frame import VideoFrame

from openmoment.errors import VideoError
from openmoment.types import clock
from openmoment.video.opening import choose_stream, open_container, origin_of, tick

TIE_S = 1e-3
"""Times this close are equal: Matroska and Flash round theirs to a millisecond."""

CUT_OFF_S = 1.0
"""A file that ends this much before its header says is cut off."""

LEAP_S = 10.0
"""A time that leaps ahead by more than this may be damaged."""

STILL_S = 3600.0
"""No picture is on display for longer: a time that leaps further is damaged."""

SEEK_BACK_S = (0.0, 2.0, 15.0)
"""A seek that lands too late, as with an inexact index, is tried again from this much before."""


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
        self.container = open_container(self.path)
        try:
            self.stream = choose_stream(self.path, self.container)
        except VideoError:
            self.container.close()
            raise
        self.stream.thread_type = "AUTO"
        self.audio = next(
            (stream for stream in self.container.streams.audio if stream.codec_context), None
        )
        self._origin = origin_of(self.container)
        flags = self.container.format.flags
        # Raw streams, whose packets carry no times and which cannot be searched.
        self._is_untimed = bool(flags & Flags.no_timestamps.value)
        self.declared_end_s = self._declared_end_s()

    def __enter__(self) -> "Source":
        return self

    def __exit__(self, *_: object) -> None:
        self.container.close()

    # the clock -------------------------------------------------------------------------

    def time_of(self, ticks: int, stream: Stream) -> float:
        """A time stamp of ``stream`` on the player's clock."""
        return float(ticks * tick(stream) - self._origin)

    def ticks_of(self, time_s: float, stream: Stream) -> int:
        """The inverse of `time_of`, to the nearest tick."""
        return round((Fraction(time_s) + self._origin) / tick(stream))

    @property
    def rate(self) -> Fraction:
        """Frames per second on average, as the header tells it or libav guesses."""
        told, guessed = self.stream.average_rate, self.stream.guessed_rate
        return (guessed or told if self._is_untimed else told or guessed) or Fraction(25)

    def _declared_end_s(self) -> float | None:
        """Where the header says that the file ends, at the least; None when it does not say."""
        if self.container.duration is None or self._is_untimed:
            return None
        # Matroska counts its duration from zero, others from the first time stamp.
        return self.container.duration / av.time_base - max(float(self._origin), 0.0)

    def _is_beyond_end(self, time_s: float) -> bool:
        return self.declared_end_s is not None and time_s > self.declared_end_s + LEAP_S

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
        except IndexError:
            return  # at the end, PyAV 18 may trip over a stream that turned up on the way

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
        if start_s is not None and not self._is_beyond_end(start_s):
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
        last_s: float | None = None
        step_s, stamps = 0.0, _Stamps()
        for frame in self._decoded(packets):
            ticks = stamps.best(frame)
            time_s = (last_s or 0.0) + step_s if ticks is None else self.time_of(ticks, self.stream)
            leap_s = 0.0 if last_s is None else time_s - last_s
            if leap_s > STILL_S or (leap_s > LEAP_S and self._is_beyond_end(time_s)):
                self.damage.note(last_s)
                continue
            last_s, step_s = time_s, self.duration_of(frame)
            yield time_s, frame

    def duration_of(self, timed: VideoFrame | Packet) -> float:
        """How long a frame of the video says that it lasts, or the usual step."""
        return float(timed.duration * tick(self.stream) if timed.duration else 1 / self.rate)

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
        if self.declared_end_s is not None and self.seek(self.declared_end_s - 2.0):
            end_s = self._latest_end_s()
            if end_s is not None:
                return end_s
        self.rewind()
        return self._latest_end_s()

    def _latest_end_s(self) -> float | None:
        end_s: float | None = None
        for packet in self.packets():
            start_s = self.start_of(packet)
            if start_s is None:
                start_s = end_s or 0.0
            if packet.is_discard or self._is_beyond_end(start_s):
                continue
            end_s = max(start_s + self.duration_of(packet), end_s or 0.0)
        return end_s

    def troubles(self) -> str | None:
        """What went wrong in reading to the end, as one line for the user; None if nothing did."""
        parts: list[str] = []
        if self.damage.count:
            parts.append(f"damaged or misplaced frames: {self.damage.count}")
        if self.damage.first_s is not None:
            parts[-1] += f", first near {clock(self.damage.first_s)}"
        end_s = self.declared_end_s
        if end_s is not None and self.reached_s < end_s - CUT_OFF_S:
            parts.append(f"cut off at {clock(self.reached_s)} of {clock(end_s)}")
        return f"{self.path}: {'; '.join(parts)}. The rest is used." if parts else None

    def undecodable(self) -> VideoError:
        """The error for a file that opened, but gave no picture."""
        codec = self.stream.codec_context.name
        return VideoError(
            f"{self.path}: no picture could be decoded (codec {codec}). The file is damaged or is "
            "no video: play it in a player, then record, copy or convert it again."
        )
