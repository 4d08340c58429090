"""Small pictures of moments, as text that a page can hold."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from jaxtyping import UInt8
from numpy import ndarray as Array

from openmoment.errors import OpenMomentError
from openmoment.types import Detections

_SHORT_SIDE = 96  # twice what the page shows, for dense screens


@runtime_checkable
class Pictures(Protocol):
    """What reads pictures of a video at given times, as `openmoment.video.read_pictures` does."""

    def __call__(
        self, path: Path, times_s: Sequence[float], *, short_side: int
    ) -> Sequence[UInt8[Array, "h w 3"]]: ...


def make_thumbnails(
    found: Detections, video: Path, *, at_most: int, pictures: Pictures | None = None
) -> dict[int, str]:
    """``data:`` addresses of JPEG pictures by index of the detection, for the best-scored ones.

    Each shows the middle of its moment. A video that cannot be read gives none: the page can do
    without.
    """
    if pictures is None:
        from openmoment.video import read_pictures as pictures
    middles_s = found.segments[:at_most].mean(axis=1).tolist()
    if not middles_s:
        return {}
    try:
        read = pictures(video, middles_s, short_side=_SHORT_SIDE)
    except OpenMomentError:
        return {}
    return {i: to_address(picture) for i, picture in enumerate(read)}


def to_address(picture: UInt8[Array, "h w 3"]) -> str:
    """A picture as the ``data:`` address of a JPEG."""
    from PIL import Image

    jpeg = io.BytesIO()
    Image.fromarray(picture).save(jpeg, "JPEG", quality=72, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(jpeg.getvalue()).decode("ascii")
