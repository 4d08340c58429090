"""How a stored picture becomes the one that a player shows."""

import math
from dataclasses import dataclass, field

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from jaxtyping import UInt8
from numpy import ndarray as Array


@dataclass(frozen=True)
class View:
    """Scale to square pixels and the wanted size, then transpose, then mirror.

    The last two are one of the eight ways in which a camera may be held, from the display matrix
    of ISO 14496-12, 6.2.2: a stored point (x, y) is shown at (a x + c y, b x + d y).
    """

    scaled_width: int
    scaled_height: int
    is_transposed: bool
    is_mirrored_x: bool
    is_mirrored_y: bool
    rotation: int
    """Degrees clockwise, a multiple of 90, by which the stored picture is turned."""
    _scaler: VideoReformatter = field(default_factory=VideoReformatter, repr=False, compare=False)

    @classmethod
    def of(cls, frame: VideoFrame, stream: VideoStream, *, short_side: int | None = None) -> "View":
        """How to show ``frame``, with its shorter side scaled to ``short_side`` pixels."""
        aspect = float(stream.sample_aspect_ratio or 1)
        width, height = frame.width * aspect, float(frame.height)
        scale = 1.0 if short_side is None else short_side / min(width, height)
        a, b, c, d = _display_matrix(frame)
        is_transposed = abs(a) < abs(b)
        return cls(
            scaled_width=max(1, round(width * scale)),
            scaled_height=max(1, round(height * scale)),
            is_transposed=is_transposed,
            is_mirrored_x=(c if is_transposed else a) < 0,
            is_mirrored_y=(b if is_transposed else d) < 0,
            rotation=round(math.degrees(math.atan2(b, a)) / 90) * 90 % 360,
        )

    @property
    def width(self) -> int:
        return self.scaled_height if self.is_transposed else self.scaled_width

    @property
    def height(self) -> int:
        return self.scaled_width if self.is_transposed else self.scaled_height

    def scaled(self, frame: VideoFrame, pixel_format: str, *, multiple: int = 1) -> VideoFrame:
        """``frame`` with square pixels, its sides cut down to a ``multiple``, not yet upright."""
        return self._scaler.reformat(
            frame,
            width=max(multiple, self.scaled_width // multiple * multiple),
            height=max(multiple, self.scaled_height // multiple * multiple),
            format=pixel_format,
            interpolation="BICUBIC",
        )

    def rgb(self, frame: VideoFrame) -> UInt8[Array, "h w 3"]:
        """``frame`` as shown."""
        picture = self.scaled(frame, "rgb24").to_ndarray()
        if self.is_transposed:
            picture = picture.transpose(1, 0, 2)
        if self.is_mirrored_x:
            picture = picture[:, ::-1]
        if self.is_mirrored_y:
            picture = picture[::-1]
        return np.ascontiguousarray(picture)


def _display_matrix(frame: VideoFrame) -> tuple[int, int, int, int]:
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return 1, 0, 0, 1
    a, b, _, c, d, *_ = np.frombuffer(bytes(data), dtype=np.int32).tolist()
    return a, b, c, d
