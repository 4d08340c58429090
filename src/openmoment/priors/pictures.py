"""Pictures as people keep them, read into RGB and written as PNG that says where it is from.

Axes: h height, w width.
"""

import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray as Array

from openmoment.encoders.frames import to_short_side
from openmoment.errors import FormatError
from openmoment.storage.atomic import atomic_write

if TYPE_CHECKING:
    from PIL.Image import Image

T = TypeVar("T")

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
LONGEST_SIDE = 1024
"""Of what is kept as a prior: more than any backbone looks at."""

_NOTE = "openmoment"  # the PNG's text field


def read_picture(path: Path, short_side: int | None = None) -> UInt8[Array, "h w 3"]:
    """The picture as a viewer shows it, or scaled to a shorter side. Raises FormatError."""
    picture = np.asarray(to_image(_read_bytes(path), str(path)))
    return to_short_side(picture, short_side) if short_side else picture


def to_image(content: bytes, where: str) -> "Image":
    """A picture file's bytes, upright and in RGB. Raises FormatError starting with ``where``."""

    def decode() -> "Image":
        from PIL import Image, ImageOps

        with Image.open(io.BytesIO(content)) as image:
            return ImageOps.exif_transpose(image).convert("RGB")

    return _decoded(decode, where)


def write_png(image: "Image", path: Path, note: Mapping[str, Any]) -> None:
    """Write a picture of at most `LONGEST_SIDE`, with a note inside it, whole or not at all."""
    from PIL.PngImagePlugin import PngInfo

    small = image.copy()
    small.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    info = PngInfo()
    info.add_itxt(_NOTE, json.dumps(note, ensure_ascii=False))
    with atomic_write(path) as temporary:
        small.save(temporary, format="PNG", pnginfo=info)


def read_note(path: Path) -> str | None:
    """The note inside a picture, None where there is none. Raises FormatError."""

    def look() -> str | None:
        from PIL import Image

        with Image.open(path) as image:
            note = image.info.get(_NOTE)
            return note if isinstance(note, str) else None

    return _decoded(look, str(path))


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise FormatError(f"{path}: no such file. Check the path.") from None
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror}).") from error


def _decoded(work: Callable[[], T], where: str) -> T:
    """What ``work`` gives; whatever Pillow finds wrong is one line."""
    from PIL import Image, UnidentifiedImageError

    try:
        return work()
    except UnidentifiedImageError:
        raise FormatError(f"{where}: is not a picture. Give a PNG, JPEG, WebP or BMP.") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = " ".join(str(error).split())[:200]
        raise FormatError(f"{where}: is a picture that cannot be read ({reason}).") from error
