"""What is done to the frames of a piece before a tower sees them in training: UnLoc, section 6.5.

All of a piece's frames are treated alike. Random numbers are the caller's, since those of torch
belong to the step that is computed meanwhile. Axes: t frames, h height, w width.
"""

import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from jaxtyping import UInt8
from torch import Tensor

from openmoment.encoders.weights.torchvision_ops import declare_missing
from openmoment.extras import require

Augment = Literal["none", "crop-flip", "full"]

_ROOM = 256 / 224  # short side of a picture to that of a crop
_SCALES = (0.9, 1.33)
_P_FLIP, _P_COLOUR, _P_GREY = 0.5, 0.8, 0.1
_BRIGHTNESS, _CONTRAST, _SATURATION, _HUE = 0.125, 0.4, 0.4, 0.2
_LAYERS, _STRENGTH = 3, 10 / 30  # of RandAugment, whose magnitudes end at 30

Clip = UInt8[Tensor, "t 3 _ _"]


def short_side(size: tuple[int, int], kind: Augment) -> int:
    """Of the pictures that crops of ``size`` (height, width) are taken from."""
    return max(size) if kind == "none" else round(max(size) * _ROOM)


def augmented(
    clip: UInt8[Tensor, "t 3 h w"], size: tuple[int, int], kind: Augment, rng: np.random.Generator
) -> UInt8[Tensor, "t 3 out_h out_w"]:
    """A crop of ``size``.

    ``none``: the middle; ``crop-flip``: anywhere, and mirrored or not; ``full``: besides larger or
    smaller, other colours or none, and three layers of RandAugment (Cubuk et al., 2020). Raises
    MissingExtraError without torchvision.
    """
    declare_missing()
    functional = require("torchvision.transforms.v2.functional", extra="clip")
    if kind == "none":
        return functional.center_crop(clip, list(size))
    clip = _cropped(functional, clip, size, rng.uniform(*_SCALES) if kind == "full" else 1.0, rng)
    if rng.random() < _P_FLIP:
        clip = functional.horizontal_flip(clip)
    if kind == "crop-flip":
        return clip.contiguous()
    if rng.random() < _P_COLOUR:
        clip = _coloured(functional, clip, rng)
    if rng.random() < _P_GREY:
        clip = functional.rgb_to_grayscale(clip, num_output_channels=3)
    operations = rand_augment(functional)
    for number in rng.integers(len(operations), size=_LAYERS):
        clip = operations[number](clip, _STRENGTH * rng.choice([-1.0, 1.0]))
    return clip.contiguous()


def _cropped(
    functional: Any, clip: Clip, size: tuple[int, int], scale: float, rng: np.random.Generator
) -> Clip:
    """Anywhere, of pictures that are ``scale`` times as large."""
    shape = [min(math.ceil(n / scale), room) for n, room in zip(size, clip.shape[2:], strict=True)]
    corner = [
        int(rng.integers(room - n + 1)) for n, room in zip(shape, clip.shape[2:], strict=True)
    ]
    return functional.resized_crop(clip, *corner, *shape, list(size), antialias=True)


def _coloured(functional: Any, clip: Clip, rng: np.random.Generator) -> Clip:
    clip = functional.adjust_brightness(clip, rng.uniform(1 - _BRIGHTNESS, 1 + _BRIGHTNESS))
    clip = functional.adjust_saturation(clip, rng.uniform(1 - _SATURATION, 1 + _SATURATION))
    clip = functional.adjust_contrast(clip, rng.uniform(1 - _CONTRAST, 1 + _CONTRAST))
    return functional.adjust_hue(clip, rng.uniform(-_HUE, _HUE))


def rand_augment(functional: Any) -> list[Callable[[Clip, float], Clip]]:
    """RandAugment's operations, of a strength from -1 to 1, as torchvision has their ranges."""

    def affine(clip: Clip, **moved: Any) -> Clip:
        still = {"angle": 0.0, "translate": [0, 0], "scale": 1.0, "shear": [0.0, 0.0]}
        return functional.affine(clip, **still | moved)

    def sheared(strength: float) -> float:
        return math.degrees(math.atan(0.3 * strength))

    def shifted(length: int, strength: float) -> int:
        return int(150 / 331 * length * strength)

    return [
        lambda clip, _: clip,
        lambda clip, s: affine(clip, shear=[sheared(s), 0.0], center=[0, 0]),
        lambda clip, s: affine(clip, shear=[0.0, sheared(s)], center=[0, 0]),
        lambda clip, s: affine(clip, translate=[shifted(clip.shape[3], s), 0]),
        lambda clip, s: affine(clip, translate=[0, shifted(clip.shape[2], s)]),
        lambda clip, s: functional.rotate(clip, 30.0 * s),
        lambda clip, s: functional.adjust_brightness(clip, 1 + 0.9 * s),
        lambda clip, s: functional.adjust_saturation(clip, 1 + 0.9 * s),
        lambda clip, s: functional.adjust_contrast(clip, 1 + 0.9 * s),
        lambda clip, s: functional.adjust_sharpness(clip, 1 + 0.9 * s),
        lambda clip, s: functional.posterize(clip, 8 - round(4 * abs(s))),
        lambda clip, s: functional.solarize(clip, 255 * (1 - abs(s))),
        lambda clip, _: functional.autocontrast(clip),
        lambda clip, _: functional.equalize(clip),
    ]
