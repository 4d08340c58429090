"""Frames of a video at an even rate, or all of them; pictures at given times."""

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from av.video.frame import VideoFrame
from jaxtyping import UInt8
from numpy import ndarray as Array

from openmoment.errors import ConfigError
from openmoment.video.source import TIE_S, Source
from openmoment.video.view import View

SEEK_GAP_S = 4.0
"""Between times further apart than this, seeking is quicker than decoding on."""


@dataclass(frozen=True)
class Frame:
    """A picture, and the time from ``start_s`` to ``end_s`` for which it stands."""

    start_s: float
    end_s: float
    rgb: UInt8[Array, "h w 3"]
    is_repeat: bool
    """True when this is the same decoded picture as the frame before; ``rgb`` is shared then."""


def read_frames(
    path: Path,
    *,
    fps: float,
    short_side: int | None = None,
    on_damage: Callable[[str], None] | None = None,
) -> Iterator[Frame]:
    """Frames that tile the time from the first picture to the end of the last, in order.

    With ``fps`` over 0, frame i covers ``[t0 + i / fps, t0 + (i + 1) / fps)``, t0 being the time
    of the first picture, and shows what is on display at its centre. What remains at the end is
    a shorter frame, or lengthens the last one if it is under half a frame. With ``fps`` 0, every
    decoded picture is a frame, up to the next one.

    Pictures are as a player shows them: square pixels, turned upright, all of the first one's
    size; ``short_side`` is their shorter side in pixels. Memory is constant, and the file is
    closed when the iterator is exhausted or dropped. ``on_damage`` is called at most once, at the
    end, with one line on what could not be decoded or is missing.

    Raises `VideoError`, when the first frame is asked for, if there is no picture to be had.
    """
    if not (math.isfinite(fps) and fps >= 0):
        raise ConfigError(f"fps must be 0 (every frame) or more, got {fps}.")
    _check_side(short_side)
    with Source(path) as source:
        pictures = _displayed(source, short_side)
        yield from _all_cells(pictures) if fps == 0 else _even_cells(pictures, fps)
        if on_damage and (line := source.troubles()):
            on_damage(line)


def read_pictures(
    path: Path, times_s: Sequence[float], *, short_side: int
) -> list[UInt8[Array, "h w 3"]]:
    """The pictures on display at these times, in the order given, all of one size.

    Before the first picture it is the first, after the last the last. A picture on display at
    several of the times is shared, not copied. Raises `VideoError`.
    """
    _check_side(short_side)
    view: View | None = None
    found: dict[float, UInt8[Array, "h w 3"]] = {}
    with Source(path) as source:
        for close_s in _close(sorted(set(times_s))):
            for asked_s, frame in _pictures_at(source, close_s):
                view = view or View.of(frame, source.stream, short_side=short_side)
                found |= dict.fromkeys(asked_s, view.rgb(frame))
    return [found[time_s] for time_s in times_s]


@dataclass(frozen=True)
class _Displayed:
    """A decoded picture, for how long it is on display, and how to convert it."""

    start_s: float
    end_s: float
    frame: VideoFrame
    view: View
    is_last: bool = False

    def rgb(self) -> UInt8[Array, "h w 3"]:
        return self.view.rgb(self.frame)


def _displayed(source: Source, short_side: int | None) -> Iterator[_Displayed]:
    """Every picture with its end, which is the start of the next or its own duration."""
    frames = source.frames()
    first = next(frames, None)
    if first is None:
        raise source.undecodable()
    time_s, frame = first
    view = View.of(frame, source.stream, short_side=short_side)
    for next_s, next_frame in frames:
        yield _Displayed(time_s, next_s, frame, view)
        time_s, frame = next_s, next_frame
    yield _Displayed(time_s, time_s + source.duration_of(frame), frame, view, is_last=True)


def _all_cells(pictures: Iterator[_Displayed]) -> Iterator[Frame]:
    for shown in pictures:
        yield Frame(shown.start_s, shown.end_s, shown.rgb(), is_repeat=False)


def _even_cells(pictures: Iterator[_Displayed], fps: float) -> Iterator[Frame]:
    """One frame for each cell whose centre is in time; the last ends where the video does.

    A frame is held back until the next one shows that it is not the last.
    """
    held: Frame | None = None
    start_s, shown, index = None, None, 0
    for shown in pictures:
        if start_s is None:
            start_s = shown.start_s
        rgb = None
        until_s = shown.end_s + (TIE_S if shown.is_last else -TIE_S)
        while start_s + (index + 0.5) / fps < until_s:
            is_repeat = rgb is not None
            rgb = shown.rgb() if rgb is None else rgb
            if held:
                yield held
            span = start_s + index / fps, start_s + (index + 1) / fps
            held = Frame(*span, rgb, is_repeat)
            index += 1
    if held is None and shown is not None and start_s is not None:  # under half a cell in all
        held = Frame(start_s, shown.end_s, shown.rgb(), is_repeat=False)
    if held is not None and shown is not None:
        yield replace(held, end_s=shown.end_s)


def _close(times_s: Sequence[float]) -> Iterator[list[float]]:
    """Increasing times in groups, each to be read in one pass."""
    group: list[float] = []
    for time_s in times_s:
        if group and time_s - group[-1] > SEEK_GAP_S:
            yield group
            group = []
        group.append(time_s)
    if group:
        yield group


def _pictures_at(
    source: Source, times_s: Sequence[float]
) -> Iterator[tuple[list[float], VideoFrame]]:
    """The pictures on display at increasing times, each with its times."""
    found = _on_display(source.frames(source.packets_from(times_s[0])), times_s)
    first = next(found, None)
    if first is None:  # damage from that keyframe on
        source.rewind()
        found = _on_display(source.frames(), times_s)
        first = next(found, None)
    if first is None:
        raise source.undecodable()
    yield first
    yield from found


def _on_display(
    frames: Iterator[tuple[float, VideoFrame]], times_s: Sequence[float]
) -> Iterator[tuple[list[float], VideoFrame]]:
    """For each time the last picture that has started by then, or else the first."""
    waiting = deque(times_s)
    shown: VideoFrame | None = None
    for start_s, frame in frames:
        if shown is not None:
            asked_s: list[float] = []
            while waiting and start_s > waiting[0] + TIE_S:
                asked_s.append(waiting.popleft())
            if asked_s:
                yield asked_s, shown
            if not waiting:
                return
        shown = frame
    if shown is not None:
        yield list(waiting), shown


def _check_side(short_side: int | None) -> None:
    if short_side is not None and short_side < 1:
        raise ConfigError(f"short_side must be 1 pixel or more, got {short_side}.")
