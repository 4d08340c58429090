"""Captions by BLIP (Li et al., ICML 2022) through transformers, from weights on this machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

from jaxtyping import UInt8
from numpy import ndarray as Array

from openmoment.encoders.weights.hub import cached_weights
from openmoment.errors import FormatError, MissingWeightsError, OpenMomentError
from openmoment.extras import require
from openmoment.features.cache import Cache
from openmoment.storage.reading import get, read_json

NUM_BEAMS = 3  # as in the authors' demo, and so are the lengths
MIN_TOKENS, MAX_TOKENS = 5, 20
_RECIPE_SUFFIXES = (".json", ".safetensors", ".txt")  # what changes the words


class BlipCaptioner:
    """One line per picture, from ``where``: a folder, or a repository in the hub cache.

    The folder is in transformers' own form, with safetensors weights.
    """

    short_side = None  # the model's own processor resizes
    batch = 8

    def __init__(self, where: str, *, device: str = "cpu") -> None:
        self.where, self.device = where, device
        self.name = f"blip@{Path(where).name}"

    @cached_property
    def folder(self) -> Path:
        """Where the weights are. Raises MissingWeightsError, FormatError for another model's."""
        folder = Path(self.where).expanduser()
        if not folder.is_dir():
            weights = cached_weights(self.where)
            if weights is None:
                raise MissingWeightsError(
                    f"{self.where}: no such folder, and no such repository with safetensors "
                    "weights in the hub cache. Download it first; nothing is downloaded here."
                )
            return weights.parent
        if not any(folder.glob("*.safetensors")):
            raise MissingWeightsError(
                f"{folder}: holds no .safetensors file. Pickled weights can run code and are not "
                "loaded; convert them first."
            )
        config = folder / "config.json"
        if (kind := get(read_json(config), "model_type", str, str(config))) != "blip":
            raise FormatError(f"{config}: model_type: expected 'blip', got {kind!r}.")
        return folder

    @property
    def fingerprint(self) -> str:
        recipe = f"{self._digests} {NUM_BEAMS} {MIN_TOKENS} {MAX_TOKENS} v1"
        return sha256(recipe.encode()).hexdigest()[:16]

    @cached_property
    def _digests(self) -> str:
        cache = Cache()
        parts = sorted(path for path in self.folder.iterdir() if path.suffix in _RECIPE_SUFFIXES)
        return " ".join(f"{path.name} {cache.sha256(path)}" for path in parts)

    def missing(self) -> str | None:
        """What keeps this captioner from running here, and the cure; None when it is ready."""
        try:
            _ = self.folder
        except OpenMomentError as error:
            return str(error)
        return None

    def caption(self, pictures: list[UInt8[Array, "h w 3"]]) -> list[str]:
        import torch

        model, processor = self._parts
        inputs = processor(images=pictures, return_tensors="pt").to(self.device)
        with torch.inference_mode():
            tokens = model.generate(
                pixel_values=inputs["pixel_values"],
                do_sample=False,
                num_beams=NUM_BEAMS,
                min_new_tokens=MIN_TOKENS,
                max_new_tokens=MAX_TOKENS,
            )
        texts: list[str] = processor.batch_decode(
            tokens[:, 1:],  # the start token is in no tokenizer's list of special ones
            skip_special_tokens=True,
        )
        return [text.strip() for text in texts]

    @cached_property
    def _parts(self) -> tuple[Any, Any]:
        """The model and its processor. Raises MissingExtraError, MissingWeightsError."""
        from openmoment.encoders.weights.torchvision_ops import declare_missing

        declare_missing()
        transformers = require("transformers", extra="hf")
        try:
            with _no_bar(transformers.utils.logging):
                processor = transformers.BlipProcessor.from_pretrained(
                    self.folder, local_files_only=True
                )
                model, told = transformers.BlipForConditionalGeneration.from_pretrained(
                    self.folder,
                    local_files_only=True,
                    use_safetensors=True,
                    output_loading_info=True,
                )
        except Exception as error:  # the library's errors have no common base
            reason = " ".join(str(error).split())[:200]
            raise MissingWeightsError(f"{self.folder}: cannot be loaded ({reason}).") from error
        if absent := sorted(told["missing_keys"]):
            raise MissingWeightsError(
                f"{self.folder}: the weights lack {len(absent)} tensors, such as {absent[0]!r}."
            )
        return model.eval().to(self.device), processor


@contextmanager
def _no_bar(logging: Any) -> Iterator[None]:
    """Loading is not worth a bar of transformers' own."""
    was_shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_shown:
            logging.enable_progress_bar()
