"""From a stream of frames to one row of features per snippet, in constant memory.

Axes: b frames, h height, w width, t snippets, d width.
"""

from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray as Array

from openmoment.encoders.base import Progress
from openmoment.storage.rows import RowSpool
from openmoment.types import Recipe, SnippetGrid, Snippets


@runtime_checkable
class Shown(Protocol):
    """A picture or a clip, and the time from ``start_s`` to ``end_s`` for which it stands."""

    @property
    def start_s(self) -> float: ...
    @property
    def end_s(self) -> float: ...
    @property
    def rgb(self) -> UInt8[Array, "*pictures 3"]: ...
    @property
    def is_repeat(self) -> bool:
        """True when this is the same as the one before; ``rgb`` is shared then."""
        ...


def encode_frames(
    frames: Iterable[Shown],
    encode: Callable[[list[UInt8[Array, "*pictures 3"]]], Float[Array, "b d"]],
    *,
    batch: int,
    advance: Callable[[float], None] | None = None,
) -> tuple[Float[Array, "t d"], SnippetGrid]:
    """Features and grid of a video, by a picture or a clip each; one shown twice is encoded once.

    Only ``batch`` of them are held at a time. ``advance`` hears of the seconds that are done.
    """
    with closing(RowSpool()) as spool:
        edges_s = _fill(spool, frames, encode, batch, advance)
        return spool.to_array(), SnippetGrid(np.array(edges_s))


def _fill(
    spool: RowSpool,
    frames: Iterable[Shown],
    encode: Callable[[list[UInt8[Array, "*pictures 3"]]], Float[Array, "b d"]],
    batch: int,
    advance: Callable[[float], None] | None,
) -> list[float]:
    """The edges of the frames, whose features go into the spool."""
    edges_s: list[float] = []
    end_s = 0.0
    waiting: list[UInt8[Array, "*pictures 3"]] = []
    times_shown: list[int] = []  # of each that waits
    last: Float[Array, "1 d"] | None = None

    def flush() -> Float[Array, "1 d"]:
        encoded = encode(waiting)
        spool.append(np.repeat(encoded, times_shown, axis=0))
        waiting.clear()
        times_shown.clear()
        if advance:
            advance(end_s)
        return encoded[-1:]

    for frame in frames:
        edges_s.append(frame.start_s)
        end_s = frame.end_s
        if frame.is_repeat and waiting:
            times_shown[-1] += 1
        elif frame.is_repeat and last is not None:
            spool.append(last)
        else:
            if len(waiting) == batch:
                last = flush()
            waiting.append(frame.rgb)
            times_shown.append(1)
    if waiting:
        flush()
    return [*edges_s, end_s]


def encode_file(
    path: Path,
    encode: Callable[[list[UInt8[Array, "h w 3"]]], Float[Array, "b d"]],
    recipe: Recipe,
    *,
    batch: int,
    short_side: int | None = None,
    progress: Progress | None = None,
) -> Snippets:
    """A video's snippets, decoded at the recipe's rate. Raises VideoError."""
    from openmoment.video import probe, read_frames

    duration_s = probe(path).duration_s
    features, grid = encode_frames(
        read_frames(path, fps=recipe.fps, short_side=short_side),
        encode,
        batch=batch,
        advance=None if progress is None else lambda done_s: progress(done_s, duration_s),
    )
    return Snippets(features, grid, recipe, max(duration_s, grid.end_s))


def centre_crop(rgb: UInt8[Array, "h w 3"], side: int) -> UInt8[Array, "side side 3"]:
    """The middle ``side`` x ``side`` pixels."""
    top, left = (rgb.shape[0] - side) // 2, (rgb.shape[1] - side) // 2
    return rgb[top : top + side, left : left + side]


def to_short_side(rgb: UInt8[Array, "h w 3"], side: int) -> UInt8[Array, "h2 w2 3"]:
    """The whole picture, scaled until its shorter side has ``side`` pixels."""
    from PIL import Image

    height, width = rgb.shape[:2]
    scale = side / min(height, width)
    if scale == 1:
        return rgb
    size = max(side, round(width * scale)), max(side, round(height * scale))
    return np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.BICUBIC))
