"""Networks that see clips, not pictures, and read no words: torchvision's, trained on Kinetics.

Their features are for methods that learn on features of another encoder (``features=own``). A
snippet's feature is what the classifier would see of the clip around its centre. Clips are as
long, as fast and prepared as torchvision states for the accuracy of its weights.

R(2+1)D: Tran et al., CVPR 2018. S3D: Xie et al., ECCV 2018. MViTv2: Li et al., CVPR 2022. Video
Swin: Liu et al., CVPR 2022. Axes: b clips, l frames, h height, w width, d width of the features.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray as Array

from openmoment.encoders.base import Progress
from openmoment.encoders.frames import encode_frames
from openmoment.encoders.motion.clips import clips
from openmoment.encoders.two_tower.base import check_precision
from openmoment.encoders.weights.torchvision_weights import TorchvisionWeights
from openmoment.errors import ConfigError
from openmoment.extras import require
from openmoment.types import Recipe, SnippetGrid, Snippets

if TYPE_CHECKING:
    from openmoment.video import Frame

EXTRA = "kinetics"
_FRAMES_AT_ONCE = 128  # in a batch of clips, so that all models need about the same memory
_VERSION = "v1"  # of this way from frames to features; part of every fingerprint


@dataclass(frozen=True)
class Architecture:
    """One of torchvision's models, and how its weights want to see."""

    function: str
    """Of torchvision.models.video."""
    download: str
    head: str
    """The part of the model that turns features into classes."""
    num_frames: int
    rate: float
    """Frames per second of a clip."""
    resize: tuple[int] | tuple[int, int]
    """The shorter side, or height and width, before the crop."""
    crop: int
    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]


class VideoModel:
    """A network of clips, on any device that torch knows; made without loading anything.

    ``path`` is a safetensors file of its weights, by default torchvision's own download. Raises
    MissingWeightsError when that is no such file, ConfigError for an unknown precision.
    """

    name: str
    architecture: Architecture
    dim_in: int
    note = "a network of video clips that reads no words, for features=own of a method that learns"
    fps = 3.75  # divides the rates of all models, so that their clips are centred exactly
    takes_device = True
    picture_side = None

    def __init__(
        self, path: Path | None = None, *, device: str = "cpu", precision: str = "fp32"
    ) -> None:
        check_precision(precision)
        self.device, self.precision = device, precision
        self._weights = TorchvisionWeights(self.name, self.architecture.download, path)
        if path:
            self._weights.find()

    @classmethod
    def missing(cls) -> str | None:
        """What keeps this backbone from running here, and the cure; None when it is ready."""
        if find_spec("torchvision") is None:
            return f"{cls.name} needs torchvision. Run: pip install 'openmoment[{EXTRA}]'"
        return TorchvisionWeights(cls.name, cls.architecture.download).missing()

    @property
    def fingerprint(self) -> str:
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        parts = (self.architecture, self._weights.sha256(), self.precision, _VERSION)
        return sha256(str(parts).encode()).hexdigest()[:16]

    @property
    def clip_rate(self) -> float:
        """Frames per second that it wants to see."""
        return self.architecture.rate

    def encode_video(
        self, path: Path, *, fps: float, source_sha256: str, progress: Progress | None = None
    ) -> Snippets:
        """Decode and encode, a clip at a time. Raises VideoError, ConfigError for ``fps`` 0."""
        from openmoment.video import probe, read_frames

        duration_s = probe(path).duration_s
        features, grid = self.encode_stream(
            read_frames(path, fps=self.clip_rate),
            fps=fps,
            advance=progress and (lambda done_s: progress(done_s, duration_s)),
        )
        recipe = Recipe(self.name, self.fingerprint, fps, source_sha256)
        return Snippets(features, grid, recipe, max(duration_s, grid.end_s))

    def encode_stream(
        self,
        frames: "Iterable[Frame]",
        *,
        fps: float,
        advance: Callable[[float], None] | None = None,
    ) -> tuple[Float[Array, "t d"], SnippetGrid]:
        """Features and grid of a video whose frames come at `clip_rate`.

        ``advance`` hears of the seconds that are done. Raises ConfigError for ``fps`` 0.
        """
        if fps <= 0:
            raise ConfigError(f"{self.name} sees clips: expected an fps over 0, got {fps:g}.")
        length, rate = self.architecture.num_frames, self.clip_rate
        return encode_frames(
            clips(frames, self.prepare, length=length, rate=rate, fps=fps),
            self.encode_clips,
            batch=max(1, _FRAMES_AT_ONCE // length),
            advance=advance,
        )

    def prepare(self, picture: UInt8[Array, "h w 3"]) -> UInt8[Array, "h2 w2 3"]:
        """One frame as the model sees it but for its scale: torchvision's resize and crop."""
        import torch
        from torch.nn.functional import interpolate

        height, width = self._resized(*picture.shape[:2])
        crop = self.architecture.crop
        top, left = round((height - crop) / 2), round((width - crop) / 2)
        pixels = torch.tensor(picture).permute(2, 0, 1)[None].float()
        # without antialiasing, as the weights were trained
        resized = interpolate(pixels, (height, width), mode="bilinear", align_corners=False)
        shown = resized[0, :, top : top + crop, left : left + crop].permute(1, 2, 0)
        return shown.round().to(torch.uint8).contiguous().numpy()

    def _resized(self, height: int, width: int) -> tuple[int, int]:
        sides = self.architecture.resize
        if len(sides) == 2:
            return sides
        short, long = sides[0], int(sides[0] * max(height, width) / min(height, width))
        return (short, long) if height <= width else (long, short)

    def encode_clips(self, prepared: list[UInt8[Array, "l h w 3"]]) -> Float[Array, "b d"]:
        """What the classifier would see of clips that are prepared."""
        import torch

        model = self._model  # made outside: what is made inside can never learn
        with torch.inference_mode():
            pixels = torch.from_numpy(np.stack(prepared)).to(self.device).float() / 255
            mean, deviation = (
                pixels.new_tensor(v) for v in (self.architecture.mean, self.architecture.deviation)
            )
            seen = ((pixels - mean) / deviation).permute(0, 4, 1, 2, 3)
            features = model(seen.to(next(model.parameters()).dtype))
        return features.float().cpu().numpy()

    @cached_property
    def _model(self) -> Any:
        import torch

        from openmoment.encoders.weights.torchvision_ops import declare_missing

        declare_missing()
        models = require("torchvision.models.video", extra=EXTRA)
        model = self._weights.load(getattr(models, self.architecture.function))
        setattr(model, self.architecture.head, torch.nn.Identity())
        kinds = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
        return model.to(self.device, kinds[self.precision])


# models of Kinetics-400 --------------------------------------------------------------------

_Colours = tuple[tuple[float, float, float], tuple[float, float, float]]

_DULL: _Colours = (0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)
_EVEN: _Colours = (0.45, 0.45, 0.45), (0.225, 0.225, 0.225)
_IMAGENET: _Colours = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def _of_kinetics(
    name: str,
    title: str,
    dim_in: int,
    weights: str,
    head: str,
    num_frames: int,
    rate: int | float,
    resize: tuple[int] | tuple[int, int],
    crop: int,
    colours: _Colours,
) -> type[VideoModel]:
    """The class of that name, from a row of facts; ``colours`` are their mean and deviation."""
    function, seen = weights.partition("-")[0], f"{num_frames} frames at {rate:g} a second"
    facts: dict[str, object] = {
        "__doc__": f"{title} on Kinetics-400: {dim_in} wide, clips of {seen}.",
        "name": function.replace("_", "-"),
        "dim_in": dim_in,
        "architecture": Architecture(
            function, f"{weights}.pth", head, num_frames, float(rate), resize, crop, *colours
        ),
    }
    return type(name, (VideoModel,), facts)


_TABLE = (
    # name, title, width, weights, head, frames, frames a second, resize, crop, colours
    ("R2Plus1D18", "R(2+1)D-18", 512, "r2plus1d_18-91a641e6", "fc", 16, 15, (128, 171), 112, _DULL),
    ("S3D", "S3D", 1024, "s3d-d76dad2f", "classifier", 128, 15, (256, 256), 224, _DULL),
    ("MViTV2S", "MViTv2-S", 768, "mvit_v2_s-ae3be167", "head", 16, 7.5, (256,), 224, _EVEN),
    ("Swin3DT", "Video Swin-T", 768, "swin3d_t-7615ae03", "head", 32, 15, (256,), 224, _IMAGENET),
)
R2Plus1D18, S3D, MViTV2S, Swin3DT = (_of_kinetics(*row) for row in _TABLE)
