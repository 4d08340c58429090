"""CLIP, CoCa, SigLIP, PE, MobileCLIP: any model of open_clip, from weights on this machine.

A name is a preset (`clip-vit-b-16`), or ``ARCHITECTURE@TAG``, ``ARCHITECTURE@FILE.safetensors``,
or a folder with ``open_clip_config.json`` and its weights. Features are stored before the visual
projection. Weights are safetensors, read from a path or from the hub cache; nothing is downloaded
here (`hub.pull` does, when asked).
"""

import copy
from collections.abc import Sequence
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray as Array
from safetensors import SafetensorError, safe_open

from openmoment.encoders.base import Facts
from openmoment.encoders.towers.projected import ProjectedSpace, Projections
from openmoment.encoders.two_tower.base import TwoTower
from openmoment.encoders.two_tower.open_clip_names import (
    MOBILE,
    OPENAI,
    Pixels,
    Weights,
    find_weights,
    import_open_clip,
    missing_packages,
    missing_weights,
    name_of,
    parse_spec,
    pixels_of,
)
from openmoment.encoders.weights.hub import offline
from openmoment.errors import ConfigError, MissingExtraError, MissingWeightsError

if TYPE_CHECKING:
    from torch import Tensor

    from openmoment.encoders.towers.image_tower import ImageTower
    from openmoment.encoders.towers.text_tower import OpenClipTower, Prompt, TextTower

_VIDEO_PROJECTIONS = ("visual.proj",)
_TEXT_PROJECTIONS = ("text_projection", "text.text_projection")
_TEXT_HEAD = "text.text_projection.weight"  # has a bias too, and is applied with the tower
_FOLDER = "local-dir:"
_HUB_TOKENIZER = "tokenizer_config.json"


class OpenClip(TwoTower):
    """A vision and language model through open_clip, on any device that torch knows."""

    name = "open_clip"
    weights = Weights("")
    facts: ClassVar[Facts | None] = None
    pixels: Pixels | None = None
    """How pictures are prepared; None: to be found out."""
    has_hub_tokenizer = False
    """Whether its tokenizer is one of transformers, whose files come with the weights."""
    unrelated_over: float | None = None
    """The mean cosine that pictures and texts of any kind exceed, where that is known."""
    is_tuned = False
    """Whether it sees with an image tower that was trained with a method."""

    def __init__(
        self, weights: Weights | None = None, *, device: str = "cpu", precision: str = "fp32"
    ) -> None:
        super().__init__(device=device, precision=precision)
        if weights:
            self.weights = weights
            self.name = name_of(weights)
        self.space = OpenClipSpace(self)

    # what it is, without torch -------------------------------------------------------------

    @classmethod
    def missing(cls) -> str | None:
        """What keeps this backbone from running here, and the cure; None when it is ready."""
        is_preset = bool(cls.weights.architecture)
        return missing_packages(has_hub_tokenizer=cls.has_hub_tokenizer) or (
            missing_weights(cls.weights, cls.name) if is_preset else None
        )

    @cached_property
    def path(self) -> Path:
        """The weights file. Raises MissingWeightsError."""
        found = find_weights(self.weights)
        if found is None:
            problem = missing_weights(self.weights, self.name)
            raise MissingWeightsError(problem or f"{self.name}: no weights.")
        return found

    @property
    def kind(self) -> str:
        return self.weights.architecture

    @property
    def variant(self) -> str:
        prepared = "" if self._pixels in (None, OPENAI) else f" {tuple(self._pixels)}"
        return prepared + (" folded" if self._folds else "")

    @cached_property
    def _pixels(self) -> Pixels | None:
        """How pictures are prepared; None: as the model's own folder says."""
        if self.pixels or self.kind.startswith(_FOLDER):
            return self.pixels
        return pixels_of(self.weights)

    @property
    def _folds(self) -> bool:
        """Whether branches of the image tower, of use in training alone, are made one."""
        return self.kind.startswith(MOBILE)

    @cached_property
    def _width(self) -> int:
        """Where the image tower projects by itself it is that of the joint space."""
        with safe_open(self.path, framework="numpy") as file:
            names = set(file.keys())
            if _TEXT_HEAD in names:
                return file.get_slice(_TEXT_HEAD).get_shape()[0]
            text = next((name for name in _TEXT_PROJECTIONS if name in names), None)
            return file.get_slice(text).get_shape()[1] if text else super()._width

    def read_projections(self) -> Projections:
        """From the weights file alone, so that a question of cached features needs no torch."""
        try:
            with safe_open(self.path, framework="numpy") as file:
                names = set(file.keys())

                def read(options: Sequence[str]) -> Array | None:
                    name = next((option for option in options if option in names), None)
                    return None if name is None else file.get_tensor(name).astype(np.float32)

                scale, bias = read(("logit_scale",)), read(("logit_bias",))
                video, text = read(_VIDEO_PROJECTIONS), read(_TEXT_PROJECTIONS)
        except (OSError, SafetensorError) as error:
            raise MissingWeightsError(
                f"{self.path}: not a readable weights file ({error})."
            ) from error
        logit_scale = 100.0 if scale is None else float(np.exp(scale.reshape(-1)[0]))
        logit_bias = 0.0 if bias is None else float(bias.reshape(-1)[0])
        return Projections(video, text, logit_scale, logit_bias)

    # encoding ------------------------------------------------------------------------------

    def encode_pictures(self, pictures: list[UInt8[Array, "h w 3"]]) -> Float[Array, "b d_in"]:
        import torch

        tower = self.image_tower  # made outside: what is made inside can never learn
        with torch.inference_mode():
            pooled = tower.see(self.preprocess(pictures))
        return pooled.float().cpu().numpy()

    def image_tokens(self, pictures: list[UInt8[Array, "h w 3"]]) -> "Tensor":
        """All tokens of each picture, [b, n, w], for GRIZAL and captions.

        Raises ConfigError when the model gives none.
        """
        import torch

        visual: Any = self.image_tower.visual
        if not hasattr(visual, "output_tokens"):
            raise ConfigError(f"{self.name}: its image tower gives no tokens.")
        before, visual.output_tokens = visual.output_tokens, True
        try:
            with torch.inference_mode():
                return visual(self.preprocess(pictures))[1]
        finally:
            visual.output_tokens = before

    def preprocess(self, pictures: list[UInt8[Array, "h w 3"]]) -> "Tensor":
        """What open_clip's own transform makes of each picture, bit for bit, as one batch."""
        import torch
        from PIL import Image

        resize, mean, std = self._transform
        small = [np.asarray(resize(Image.fromarray(picture))) for picture in pictures]
        batch = torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2).contiguous()
        batch = batch.to(torch.float32).div(255).sub_(mean).div_(std)
        return batch.to(self.device, next(self.image_tower.parameters()).dtype)

    def encode_text(
        self, names: Sequence[str], *, templates: Sequence[str] | None = None
    ) -> Float[Array, "k d_txt"]:
        import torch

        if not names:
            return np.zeros((0, self.encode_text(["x"]).shape[1]), dtype=np.float32)
        prompts = [t.format(name) for name in names for t in templates or self.templates]
        tower = self.text_tower
        with torch.inference_mode():
            tokens = tower.tokenize(prompts).to(self.device)
            pooled, _ = tower.encode(tower.embed(tokens), tokens)
            if self.text_head is not None:
                pooled = self.text_head(pooled)
        return pooled.float().cpu().numpy().reshape(len(names), -1, pooled.shape[1]).mean(axis=1)

    def tokens(self, texts: Sequence[str]) -> "Tensor":
        """All tokens of each text after the last layer, [b, n, w]."""
        import torch

        tower = self.text_tower
        with torch.inference_mode():
            ids = tower.tokenize(texts).to(self.device)
            return tower.encode(tower.embed(ids), ids)[1]

    # the model -----------------------------------------------------------------------------

    def with_image_tower(self, tower: "ImageTower") -> "OpenClip":
        """The same words, and videos as a copy of ``tower`` sees them."""
        import torch

        dtype = next(self.image_tower.parameters()).dtype  # loads the model, which both share
        digest = tower.fingerprint
        tuned = copy.copy(self)
        with torch.inference_mode(False):
            seeing = copy.deepcopy(tower).requires_grad_(False)
            tuned.image_tower = seeing.to(self.device, dtype)
        tuned.name = f"{self.name}+{digest[:8]}"
        tuned.is_tuned = True
        tuned.note = "an image tower that was tuned with a method, which alone may read it"
        tuned._fingerprint = sha256(f"{self.fingerprint} {digest}".encode()).hexdigest()[:16]
        return tuned

    @cached_property
    def image_tower(self) -> "ImageTower":
        """The image side, to be tuned too."""
        from openmoment.encoders.towers.image_tower import ImageTower

        settings = self._preprocessing
        height, width = settings.size if not isinstance(settings.size, int) else [settings.size] * 2
        visual = self.model.visual
        tower = ImageTower(visual, (height, width), mean=settings.mean, deviation=settings.std)
        return tower.to(self.device, next(visual.parameters()).dtype)

    @cached_property
    def text_tower(self) -> "OpenClipTower":
        """The text side, for learnable contexts too."""
        from openmoment.encoders.towers.text_tower import OpenClipTower

        return OpenClipTower(self.model, self._tokenizer)

    @cached_property
    def model(self) -> Any:
        """The open_clip model, its projections taken off, in evaluation mode."""
        return self._made[0]

    @property
    def text_head(self) -> Any:
        """A text projection with a bias, which is no matrix, and so is applied here."""
        return self._made[1]

    @cached_property
    def _made(self) -> tuple[Any, Any]:
        import torch

        open_clip = import_open_clip()
        path = self.path
        is_folder, pixels = self.kind.startswith(_FOLDER), self._pixels
        try:
            # What is drawn and then overwritten must not move the numbers of a seeded run.
            with offline(), torch.random.fork_rng(devices=[]):
                model = open_clip.create_model(
                    self.weights.architecture,
                    pretrained=None if is_folder else str(path),
                    device=self.device,
                    force_preprocess_cfg=pixels._asdict() if pixels else None,
                )
        except (AssertionError, RuntimeError, ValueError, OSError, SafetensorError) as error:
            problem = " ".join(str(error).split())[:300]
            raise MissingWeightsError(
                f"{path}: these weights do not fit {self.weights.architecture} ({problem})."
            ) from error
        model.eval()
        if self._folds:
            from timm.utils.model import reparameterize_model

            reparameterize_model(model.visual, inplace=True)
        model.requires_grad_(False)
        if self.precision != "fp32":
            model.to({"bf16": torch.bfloat16, "fp16": torch.float16}[self.precision])
        if getattr(model.visual, "proj", None) is not None and isinstance(
            model.visual.proj, torch.nn.Parameter
        ):
            model.visual.proj = None
        text = getattr(model, "text", model)
        head = getattr(text, "text_projection", None)
        if head is not None:
            text.text_projection = None
        return model, head if isinstance(head, torch.nn.Module) else None

    @cached_property
    def _tokenizer(self) -> Any:
        open_clip, architecture = import_open_clip(), self.weights.architecture
        try:
            with offline():
                table = (open_clip.get_model_config(architecture) or {}).get("text_cfg", {})
                beside = self.path.parent  # where the hub has it too, without asking the hub
                if "hf_tokenizer_name" in table and (beside / _HUB_TOKENIZER).is_file():
                    return open_clip.tokenizer.HFTokenizer(
                        str(beside),
                        context_length=table["context_length"],
                        **table.get("tokenizer_kwargs", {}),
                    )
                return open_clip.get_tokenizer(architecture)
        except ImportError as error:
            raise MissingExtraError("transformers", "hf") from error
        except (OSError, ValueError) as error:
            raise MissingWeightsError(
                f"{self.name}: its tokenizer is not on this machine. Run: openmoment models pull "
                f"{self.name}, or give a folder that holds it."
            ) from error

    @property
    def _preprocessing(self) -> Any:
        """How open_clip prepares a picture: its size, mean and deviation among others."""
        return import_open_clip().transform.PreprocessCfg(**self.model.visual.preprocess_cfg)

    @cached_property
    def _transform(self) -> tuple[Any, "Tensor", "Tensor"]:
        """Resizing and cropping as open_clip composes it, and its mean and deviation."""
        import torch
        from torchvision.transforms import Compose

        transform = import_open_clip().transform
        steps = transform.image_transform_v2(self._preprocessing, is_train=False).transforms
        normalize = steps[-1]
        shape = (1, 3, 1, 1)
        mean, std = (torch.tensor(v).view(shape) for v in (normalize.mean, normalize.std))
        return Compose(steps[:-2]), mean, std


def from_name(name: str, *, device: str, precision: str) -> OpenClip | None:
    """The model of ``MODEL@TAG``, ``MODEL@PATH`` or a folder of open_clip; None for other names.

    Raises MissingWeightsError.
    """
    weights = parse_spec(name)
    return OpenClip(weights, device=device, precision=precision) if weights else None


class OpenClipSpace(ProjectedSpace):
    """The space of one encoder, whose text tower methods may train copies of."""

    def __init__(self, encoder: OpenClip) -> None:
        super().__init__(encoder.read_projections)
        self._encoder = encoder

    def prompt(self, name: str) -> "Prompt":
        """One query as the text tower reads it."""
        from torch.nn import Flatten, Sequential

        from openmoment.encoders.towers.text_tower import Prompt

        head = self._encoder.text_head
        finish = Sequential(*([] if head is None else [head]), Flatten(0))
        return Prompt(self._encoder.text_tower, [self._encoder.templates[0].format(name)], finish)

    def text_tower(self) -> "TextTower":
        """The encoder's own. Raises ConfigError for models of another library."""
        return self._encoder.text_tower

    def tower_to_joint(self, pooled: "Tensor") -> "Tensor":
        """The text projection, [k, w] to [k, d], with gradients, on whichever device."""
        from torch.nn.functional import linear

        head, projection = self._encoder.text_head, self.projections.text
        if head is not None:
            pooled = linear(pooled, head.weight.to(pooled), head.bias.to(pooled))
        return pooled if projection is None else pooled @ pooled.new_tensor(projection)

    def image_tower(self) -> "ImageTower":
        """The encoder's own."""
        return self._encoder.image_tower

    def image_to_joint(self, features: "Tensor") -> "Tensor":
        """The visual projection, with gradients, on whichever device."""
        projection = self.projections.video
        return features if projection is None else features @ features.new_tensor(projection)
