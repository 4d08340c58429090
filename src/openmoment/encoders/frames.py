"""From a stream of frames to one row of features per snippet, in constant memory.

Axes: b frames, h height, w width, t snippets, d width.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray as Array

from openmoment.types import SnippetGrid

if TYPE_CHECKING:
    from openmoment.video import Frame


def encode_frames(
    frames: Iterable["Frame"],
    encode: Callable[[list[UInt8[Array, "h w 3"]]], Float[Array, "b d"]],
    *,
    batch: int,
    advance: Callable[[float], None] | None = None,
) -> tuple[Float[Array, "t d"], SnippetGrid]:
    """Features and grid of a video; a picture that is shown twice is encoded once.

    Only ``batch`` frames are held at a time. ``advance`` hears of the seconds that are done.
    """
    rows: list[Float[Array, "b d"]] = []
    row_of_snippet: list[int] = []
    edges_s: list[float] = []
    end_s = 0.0
    waiting: list[UInt8[Array, "h w 3"]] = []
    num_pictures = 0
    for frame in frames:
        if num_pictures == 0 or not frame.is_repeat:
            waiting.append(frame.rgb)
            num_pictures += 1
        row_of_snippet.append(num_pictures - 1)
        edges_s.append(frame.start_s)
        end_s = frame.end_s
        if len(waiting) == batch:
            rows.append(encode(waiting))
            waiting = []
            if advance:
                advance(end_s)
    if waiting:
        rows.append(encode(waiting))
    if advance:
        advance(end_s)
    return np.concatenate(rows)[row_of_snippet], SnippetGrid(np.array([*edges_s, end_s]))


def centre_crop(rgb: UInt8[Array, "h w 3"], side: int) -> UInt8[Array, "side side 3"]:
    """The middle ``side`` x ``side`` pixels."""
    top, left = (rgb.shape[0] - side) // 2, (rgb.shape[1] - side) // 2
    return rgb[top : top + side, left : left + side]
