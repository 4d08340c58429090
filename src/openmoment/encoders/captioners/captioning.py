"""What a captioner owes, captioners by name, and the captions of a whole video.

Axes: h height, w width.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray as Array

from openmoment.encoders import load_encoder
from openmoment.encoders.base import Progress
from openmoment.errors import ConfigError, MissingWeightsError, UnknownNameError
from openmoment.features.cache import Cache
from openmoment.features.captions import Captions
from openmoment.types import Recipe

if TYPE_CHECKING:
    from openmoment.encoders.captioners.coca import CocaCaptioner


@runtime_checkable
class Captioner(Protocol):
    """One way to put pictures into words. Making one is cheap: weights load when first needed."""

    name: str
    batch: int
    """Pictures at a time."""

    @property
    def short_side(self) -> int | None:
        """Of the pictures it wants, in pixels; None for those of the video."""
        ...

    @property
    def fingerprint(self) -> str:
        """Changes whenever the same picture would give other words."""
        ...

    def missing(self) -> str | None:
        """What keeps this captioner from running here, and the cure; None when it is ready."""
        ...

    def caption(self, pictures: list[UInt8[Array, "h w 3"]]) -> list[str]:
        """One line for each picture."""
        ...


KNOWN = ("tags", "blip@WHERE", "coca-vit-l-14", "coca_ViT-L-14@FILE", "coca@FOLDER")


def load_captioner(name: str, *, device: str = "cpu", precision: str = "fp32") -> Captioner:
    """The captioner of that name, which is ready to run.

    - ``tags``: the top labels of the default backbone's classifier
    - ``blip@WHERE``: BLIP from a folder, or from a repository in the hub cache
    - ``coca-vit-l-14``, or another CoCa model as `load_encoder` reads it; ``coca@FOLDER`` too

    ``device`` is for BLIP and CoCa, ``precision`` for CoCa. Raises UnknownNameError, ConfigError,
    MissingWeightsError.
    """
    kind, _, where = name.partition("@")
    if kind.lower().startswith("coca") and name != "coca":
        captioner = _load_coca(where if kind == "coca" else name, device, precision)
    elif kind not in ("blip", "tags") or (kind == "blip") != bool(where):
        raise UnknownNameError("captioner", name, list(KNOWN))
    elif precision != "fp32" or (device != "cpu" and kind == "tags"):
        raise ConfigError(f"{kind} does not run on {device} in {precision}.")
    elif kind == "tags":
        from openmoment.encoders.captioners.tags import TagCaptioner

        captioner = TagCaptioner()
    else:
        from openmoment.encoders.captioners.blip import BlipCaptioner

        captioner = BlipCaptioner(where, device=device)
    if problem := captioner.missing():
        raise MissingWeightsError(problem)
    return captioner


def _load_coca(name: str, device: str, precision: str) -> "CocaCaptioner":
    from openmoment.encoders.captioners.coca import CocaCaptioner
    from openmoment.encoders.two_tower.open_clip import OpenClip

    encoder = load_encoder(name, device=device, precision=precision)
    if not isinstance(encoder, OpenClip):
        raise ConfigError(f"Captioner {name!r}: expected a CoCa model of open_clip.")
    return CocaCaptioner(encoder)


def caption_video(
    path: Path,
    captioner: Captioner,
    *,
    fps: float,
    source_sha256: str,
    progress: Progress | None = None,
) -> Captions:
    """Decode and caption a video in constant memory; ``fps`` 0 is every frame.

    A picture that is shown twice in a row is captioned once. Raises VideoError.
    """
    from openmoment.video import probe, read_frames

    duration_s = probe(path).duration_s if progress else 0.0
    times_s: list[float] = []
    shown: list[int] = []  # which picture, at each of the times
    texts: list[str] = []  # of each picture
    waiting: list[UInt8[Array, "h w 3"]] = []

    def flush() -> None:
        texts.extend(" ".join(text.split()) for text in captioner.caption(waiting))
        waiting.clear()

    for frame in read_frames(path, fps=fps, short_side=captioner.short_side):
        if not frame.is_repeat:
            if len(waiting) == captioner.batch:
                flush()
                if progress:
                    progress(frame.start_s, duration_s)
            waiting.append(frame.rgb)
        times_s.append((frame.start_s + frame.end_s) / 2)
        shown.append(len(texts) + len(waiting) - 1)
    flush()
    return Captions(
        times_s=np.array(times_s),
        texts=tuple(texts[picture] for picture in shown),
        captioner=captioner.name,
        fingerprint=captioner.fingerprint,
        fps=fps,
        source_sha256=source_sha256,
    )


def cached_captions(
    path: Path,
    captioner: Captioner,
    *,
    fps: float,
    source_sha256: str,
    cache: Cache | None,
    progress: Progress | None = None,
) -> Captions:
    """As `caption_video`, but from ``cache`` where they are there, and into it otherwise."""
    recipe = Recipe(captioner.name, captioner.fingerprint, fps, source_sha256)
    if cache and (known := cache.load_captions(recipe)) is not None:
        return known
    captions = caption_video(
        path, captioner, fps=fps, source_sha256=source_sha256, progress=progress
    )
    if cache:
        cache.store_captions(captions)
    return captions
