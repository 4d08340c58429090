"""From a stream of frames to the clip around each snippet, in constant memory.

Axes: l frames of a clip, h height, w width.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from math import floor
from operator import is_
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray as Array

if TYPE_CHECKING:
    from openmoment.video import Frame

_ROUNDING = 1e-6  # of a frame: what should be a tie is one


@dataclass(frozen=True)
class Clip:
    """What is seen around a snippet's centre, and the time for which the snippet stands."""

    start_s: float
    end_s: float
    rgb: UInt8[Array, "l h w 3"]
    is_repeat: bool
    """True when these are the pictures of the clip before; ``rgb`` is shared then."""


def clips(
    frames: "Iterable[Frame]",
    prepare: Callable[[UInt8[Array, "h w 3"]], UInt8[Array, "h2 w2 3"]],
    *,
    length: int,
    rate: float,
    fps: float,
) -> Iterator[Clip]:
    """The ``length`` frames around the centre of each snippet, ``fps`` snippets a second.

    ``frames`` come at ``rate`` per second, as `read_frames` gives them; snippets tile the same
    time by the same rule. A clip is centred to within half a frame, and where it reaches beyond
    the video the first or the last frame is repeated. Each frame goes through ``prepare`` once,
    and no more than ``length`` of them are held, beside one clip.
    """
    from openmoment.video.source import TIE_S

    window = _Window(length, rate, fps)
    frame: Frame | None = None
    for frame in frames:
        if not window.num_seen:
            window.start_s = frame.start_s
        is_known = frame.is_repeat and window.num_seen
        window.see(window.last if is_known else prepare(frame.rgb))
        while window.is_full:
            yield from window.advance()
    if frame is None:
        return
    while window.held is None or window.centre_s < frame.end_s + TIE_S:
        while not window.is_full:
            window.see(window.last)
        yield from window.advance()
    yield replace(window.held, end_s=frame.end_s)


class _Window:
    """The pictures of the clip that is to come. One clip is held back: it may be the last."""

    def __init__(self, length: int, rate: float, fps: float) -> None:
        self.length, self.rate, self.fps = length, rate, fps
        self.start_s = 0.0
        self.num_seen, self.num_clips = 0, 0
        self.held: Clip | None = None
        self._pictures: deque[UInt8[Array, "h w 3"]] = deque(maxlen=length)
        self._of_held: list[UInt8[Array, "h w 3"]] = []

    @property
    def last(self) -> UInt8[Array, "h w 3"]:
        return self._pictures[-1]

    @property
    def centre_s(self) -> float:
        """Of the snippet whose clip is to come."""
        return self.start_s + (self.num_clips + 0.5) / self.fps

    @property
    def is_full(self) -> bool:
        """Whether the picture seen last is the last of the clip to come, or beyond it."""
        centre = (self.num_clips + 0.5) / self.fps * self.rate  # in frames
        return floor(centre + self.length / 2 + 0.5 + _ROUNDING) <= self.num_seen

    def see(self, picture: UInt8[Array, "h w 3"]) -> None:
        """The first one stands for all that came before it, too."""
        self._pictures.extend([picture] * (1 if self.num_seen else self.length))
        self.num_seen += 1

    def advance(self) -> Iterator[Clip]:
        """Make the clip to come, and give the one before it."""
        if self.held:
            yield self.held
        pictures = list(self._pictures)
        is_repeat = self.held is not None and all(map(is_, pictures, self._of_held))
        rgb = self.held.rgb if self.held and is_repeat else np.stack(pictures)
        start_s = self.start_s + self.num_clips / self.fps
        self.held, self._of_held = Clip(start_s, start_s + 1 / self.fps, rgb, is_repeat), pictures
        self.num_clips += 1
