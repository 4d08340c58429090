"""Captions by CoCa (Yu et al., TMLR 2022), with open_clip's model and our own decoding.

open_clip's ``generate`` needs a class that transformers 5 no longer has. Here a picture is encoded
once for all beams and steps; there it is encoded once per beam.

Axes: h height, w width.
"""

from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from jaxtyping import UInt8
from numpy import ndarray as Array

from openmoment.encoders.two_tower.open_clip import OpenClip
from openmoment.encoders.two_tower.open_clip_names import import_open_clip
from openmoment.errors import ConfigError, OpenMomentError

if TYPE_CHECKING:
    from torch import Tensor

    from openmoment.encoders.captioners.decoding import Decoding, Step

_VERSION = "v1"  # of the way from pictures to words; part of the fingerprint


class CocaCaptioner:
    """One line per picture, from the CoCa model that ``encoder`` holds."""

    short_side = None  # the model's own transform resizes
    batch = 8

    def __init__(self, encoder: OpenClip, how: "Decoding | None" = None) -> None:
        self.encoder = encoder
        self.name = encoder.name
        self._how = how

    @property
    def how(self) -> "Decoding":
        """How captions are searched for; open_clip's defaults unless told otherwise."""
        from openmoment.encoders.captioners.decoding import Decoding

        return self._how or Decoding()

    @property
    def fingerprint(self) -> str:
        recipe = f"{self.encoder.fingerprint} {self.how} {_VERSION}"
        return sha256(recipe.encode()).hexdigest()[:16]

    def missing(self) -> str | None:
        """What keeps this captioner from running here, and the cure; None when it is ready."""
        try:
            _ = self.encoder.path
        except OpenMomentError as error:
            return str(error)
        return None

    def caption(self, pictures: list[UInt8[Array, "h w 3"]]) -> list[str]:
        """Raises ConfigError when the model has no decoder of open_clip's own tokens."""
        import torch

        from openmoment.encoders.captioners.decoding import decode

        with torch.inference_mode():
            captions = decode(self._reader(pictures), len(pictures), self.how)
        to_text = import_open_clip().decode
        return [to_text(torch.tensor(words)).strip() for words in captions]

    def _reader(self, pictures: list[UInt8[Array, "h w 3"]]) -> "Step":
        """The decoder with the pictures before its eyes; they are encoded here, once."""
        model, device = self._model, self.encoder.device
        seen = model(self.encoder.preprocess(pictures))
        pooled, tokens = seen["image_features"], seen["image_embs"]

        def step(words: "Tensor", rows: "Tensor") -> "Tensor":
            found = model(
                None,
                words.to(device),
                image_latent=pooled[rows],
                image_embs=tokens[rows],
                output_labels=False,
            )
            return found["logits"][:, -1]

        return step

    @cached_property
    def _model(self) -> Any:
        model = self.encoder.model
        decoder = getattr(model, "text_decoder", None)
        if decoder is None or decoder.text_projection.shape[1] != self.how.end + 1:
            raise ConfigError(
                f"{self.name}: cannot caption; that takes a CoCa model with CLIP's tokens."
            )
        return model
