"""CLIP and SigLIP as transformers saves them: a folder with ``config.json`` and safetensors.

The second way to the same models: features before the visual projection, texts before theirs, as
with open_clip. Nothing is downloaded, and no code of a folder is run.
"""

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray as Array
from safetensors import SafetensorError, safe_open

from openmoment.encoders.towers.projected import ProjectedSpace, Projections
from openmoment.encoders.two_tower.base import TwoTower
from openmoment.errors import MissingWeightsError

if TYPE_CHECKING:
    from torch import Tensor

KINDS = ("clip", "siglip", "siglip2")
WEIGHTS = "model.safetensors"
_MANY_TOKENS = 100_000


def is_folder(path: Path) -> bool:
    """Whether a folder holds a CLIP or SigLIP model of transformers."""
    try:
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and config.get("model_type") in KINDS


class TransformersClip(TwoTower):
    """A CLIP or SigLIP model from a folder of transformers."""

    def __init__(self, folder: Path, *, device: str = "cpu", precision: str = "fp32") -> None:
        super().__init__(device=device, precision=precision)
        if not (folder / WEIGHTS).is_file():
            raise MissingWeightsError(f"{folder}: holds no {WEIGHTS}.")
        self.folder = folder
        self.name = folder.name
        self.space = ProjectedSpace(self._read_projections)

    @staticmethod
    def missing() -> str | None:
        """What keeps such models from running here, and the cure; None when nothing does."""
        from importlib.util import find_spec

        if find_spec("transformers") is None:
            return "Needs transformers. Run: pip install 'openmoment[hf]'"
        return None

    @property
    def kind(self) -> str:
        return "transformers"

    @cached_property
    def path(self) -> Path:
        return self.folder / WEIGHTS

    @property
    def reads_english_alone(self) -> bool:
        """Not so where its tokens are those of many languages, as SigLIP 2's are."""
        config = json.loads((self.folder / "config.json").read_text(encoding="utf-8"))
        return (config.get("text_config") or {}).get("vocab_size", 0) < _MANY_TOKENS

    def _read_projections(self) -> Projections:
        path = self.path
        try:
            with safe_open(path, framework="numpy") as file:
                names = set(file.keys())

                def read(name: str) -> Array | None:
                    return file.get_tensor(name).astype(np.float32) if name in names else None

                video, text = read("visual_projection.weight"), read("text_projection.weight")
                scale, bias = read("logit_scale"), read("logit_bias")
        except (OSError, SafetensorError) as error:
            raise MissingWeightsError(f"{path}: no readable weights ({error}).") from error
        return Projections(
            None if video is None else video.T,
            None if text is None else text.T,
            100.0 if scale is None else float(np.exp(scale.reshape(-1)[0])),
            0.0 if bias is None else float(bias.reshape(-1)[0]),
        )

    def encode_pictures(self, pictures: list[UInt8[Array, "h w 3"]]) -> Float[Array, "b d_in"]:
        import torch

        model, processor = self._made
        pixels = processor(images=list(pictures), return_tensors="pt")["pixel_values"]
        with torch.inference_mode():
            seen = model.vision_model(pixel_values=self._placed(pixels, model))
        return seen.pooler_output.float().cpu().numpy()

    def encode_text(
        self, names: Sequence[str], *, templates: Sequence[str] | None = None
    ) -> Float[Array, "k d_txt"]:
        import torch

        templates = templates or self.templates
        prompts = [t.format(name) for name in names or ("x",) for t in templates]
        model, processor = self._made
        padding = "max_length" if model.config.model_type != "clip" else True
        tokens = processor(text=prompts, return_tensors="pt", padding=padding, truncation=True)
        tokens = {name: value.to(self.device) for name, value in tokens.items()}
        with torch.inference_mode():
            pooled = model.text_model(**tokens).pooler_output.float().cpu().numpy()
        return pooled.reshape(-1, len(templates), pooled.shape[1]).mean(axis=1)[: len(names)]

    def _placed(self, pixels: "Tensor", model: Any) -> "Tensor":
        return pixels.to(self.device, next(model.parameters()).dtype)

    @cached_property
    def _made(self) -> tuple[Any, Any]:
        """The model, in evaluation mode, and its processor."""
        import torch

        from openmoment.encoders.weights.torchvision_ops import declare_missing
        from openmoment.extras import require

        declare_missing()
        transformers = require("transformers", extra="hf")
        here = {"local_files_only": True, "trust_remote_code": False}
        try:
            model = transformers.AutoModel.from_pretrained(
                self.folder, use_safetensors=True, **here
            )
            processor = transformers.AutoProcessor.from_pretrained(self.folder, **here)
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            problem = " ".join(str(error).split())[:300]
            raise MissingWeightsError(f"{self.folder}: cannot be loaded ({problem}).") from error
        model.eval().requires_grad_(False)
        kinds = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
        return model.to(self.device, kinds[self.precision]), processor


def from_name(name: str, *, device: str, precision: str) -> TransformersClip | None:
    """The model in a folder of transformers; None for any other name."""
    folder = Path(name).expanduser()
    if not (folder.is_dir() and is_folder(folder)):
        return None
    return TransformersClip(folder, device=device, precision=precision)
