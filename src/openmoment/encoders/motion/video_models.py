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


class R2Plus1D18(VideoModel):
    """R(2+1)D-18 on Kinetics-400: 512 wide, clips of 16 frames at 15 a second."""

    name = "r2plus1d-18"
    dim_in = 512
    architecture = Architecture(
        "r2plus1d_18",
        "r2plus1d_18-91a641e6.pth",
        head="fc",
        num_frames=16,
        rate=15.0,
        resize=(128, 171),
        crop=112,
        mean=(0.43216, 0.394666, 0.37645),
        deviation=(0.22803, 0.22145, 0.216989),
    )


class S3D(VideoModel):
    """S3D on Kinetics-400: 1024 wide, clips of 128 frames at 15 a second."""

    name = "s3d"
    dim_in = 1024
    architecture = Architecture(
        "s3d",
        "s3d-d76dad2f.pth",
        head="classifier",
        num_frames=128,
        rate=15.0,
        resize=(256, 256),
        crop=224,
        mean=(0.43216, 0.394666, 0.37645),
        deviation=(0.22803, 0.22145, 0.216989),
    )


class MViTV2S(VideoModel):
    """MViTv2-S on Kinetics-400: 768 wide, clips of 16 frames at 7.5 a second."""

    name = "mvit-v2-s"
    dim_in = 768
    architecture = Architecture(
        "mvit_v2_s",
        "mvit_v2_s-ae3be167.pth",
        head="head",
        num_frames=16,
        rate=7.5,
        resize=(256,),
        crop=224,
        mean=(0.45, 0.45, 0.45),
        deviation=(0.225, 0.225, 0.225),
    )


class Swin3DT(VideoModel):
    """Video Swin-T on Kinetics-400: 768 wide, clips of 32 frames at 15 a second."""

    name = "swin3d-t"
    dim_in = 768
    architecture = Architecture(
        "swin3d_t",
        "swin3d_t-7615ae03.pth",
        head="head",
        num_frames=32,
        rate=15.0,
        resize=(256,),
        crop=224,
        mean=(0.485, 0.456, 0.406),
        deviation=(0.229, 0.224, 0.225),
    )
