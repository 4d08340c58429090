"""A video with known contents, made from photographs that ship with scikit-image.

Each scene is one photograph under a slowly moving crop, faded into the next. For the demo and for
tests: photographs are no actions, and an answer about them is no measure of accuracy.
"""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray as Array

from openmoment.storage.atomic import atomic_write

SCENES = ("moon", "coffee", "camera", "chelsea", "coins", "rocket", "astronaut", "coffee")
"""Names of scikit-image's photographs; chelsea is a cat, camera a man with one."""
QUERIES = ("a cup of coffee", "a cat", "a rocket launch", "playing tennis")
"""Three things that the video shows, and one that it does not."""
SCENE_S = 4.0
FADE_S = 0.4

_WIDTH, _HEIGHT, _FPS = 320, 240, 25
_ZOOM = 0.85  # the crop's share of the photograph


def scene_segments() -> list[tuple[float, float]]:
    """When each scene is on, from the middle of one fade to the middle of the next."""
    return [(i * SCENE_S, (i + 1) * SCENE_S) for i in range(len(SCENES))]


def photographs() -> list[UInt8[Array, "h w 3"]]:
    """One picture of each photograph, as the video shows it."""
    return [_crop(_photograph(name), 0.5) for name in dict.fromkeys(SCENES)]


def make_demo_video(path: Path) -> None:
    """Write the video to ``path`` (.mp4)."""
    import av

    with atomic_write(path) as temporary, av.open(str(temporary), "w") as container:
        codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
        stream = container.add_stream(codec, rate=_FPS)
        stream.width, stream.height, stream.pix_fmt = _WIDTH, _HEIGHT, "yuv420p"
        stream.bit_rate = 2_000_000
        for index, picture in enumerate(_pictures()):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, _FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def _pictures() -> Iterator[UInt8[Array, "h w 3"]]:
    photographs = [_photograph(name) for name in SCENES]
    for index in range(round(len(SCENES) * SCENE_S * _FPS)):
        time_s = (index + 0.5) / _FPS
        scene = int(time_s / SCENE_S)
        picture = _crop(photographs[scene], time_s / SCENE_S - scene)
        to_next = (scene + 1) * SCENE_S - time_s
        if to_next < FADE_S / 2 and scene + 1 < len(SCENES):
            picture = _mix(picture, _crop(photographs[scene + 1], 0.0), 0.5 - to_next / FADE_S)
        since = time_s - scene * SCENE_S
        if since < FADE_S / 2 and scene > 0:
            picture = _mix(picture, _crop(photographs[scene - 1], 1.0), 0.5 - since / FADE_S)
        yield picture


def _photograph(name: str) -> UInt8[Array, "h w 3"]:
    """A photograph in colour, as large as the crop needs it."""
    from PIL import Image
    from skimage import data

    image = Image.fromarray(getattr(data, name)()).convert("RGB")
    scale = max(_WIDTH / image.width, _HEIGHT / image.height) / _ZOOM
    size = (round(image.width * scale), round(image.height * scale))
    return np.asarray(image.resize(size, Image.Resampling.LANCZOS))


def _crop(photograph: UInt8[Array, "h w 3"], progress: float) -> UInt8[Array, "240 320 3"]:
    """The part on view when ``progress`` of the scene has passed: a pan across the diagonal."""
    top = round((photograph.shape[0] - _HEIGHT) * progress)
    left = round((photograph.shape[1] - _WIDTH) * progress)
    return photograph[top : top + _HEIGHT, left : left + _WIDTH]


def _mix(
    picture: UInt8[Array, "h w 3"], other: UInt8[Array, "h w 3"], share: float
) -> UInt8[Array, "h w 3"]:
    return (picture * (1 - share) + other * share).astype(np.uint8)
