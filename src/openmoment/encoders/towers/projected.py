"""The space of a two-tower model: features and texts meet after a projection each, by cosine.

Axes: t snippets, k texts, d_in and d_txt widths before the projections, d after.
"""

from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray as Array

from openmoment.encoders.base import Towers


class Projections(NamedTuple):
    """What a model's weights say of its space; a projection that it lacks is None."""

    video: Float[Array, "d_in d"] | None
    text: Float[Array, "d_txt d"] | None
    logit_scale: float
    """By which the cosine is multiplied, as in the model's own loss."""
    logit_bias: float = 0.0
    """What is added then: of models that were trained pair by pair, such as SigLIP."""


class ProjectedSpace:
    """Cosine similarity after the projections, which are read when first needed."""

    def __init__(self, read: Callable[[], Projections]) -> None:
        self._read = read

    @cached_property
    def projections(self) -> Projections:
        return self._read()

    @property
    def logit_scale(self) -> float:
        return self.projections.logit_scale

    def logits(
        self, features: Float[Array, "t d_in"], embeddings: Float[Array, "k d_txt"]
    ) -> Float[Array, "k t"]:
        """The scaled cosine; a softmax over texts is the model's own classifier.

        With a bias, a sigmoid is: how likely the two belong together, whatever else there is.
        """
        snippets, words = self.project_video(features), self.project_text(embeddings)
        cosines = self.logit_scale * unit(words) @ unit(snippets).T
        bias = self.projections.logit_bias
        return cosines + np.float32(bias) if bias else cosines

    def evidence(
        self,
        features: Float[Array, "t d_in"],
        embeddings: Float[Array, "k d_txt"],
        bank: Float[Array, "m d_txt"],
    ) -> Float[Array, "k t"]:
        """The cosine of the snippet with the text's direction from the middle of the bank.

        All texts of such a model lie in one corner of the space, and all pictures in another: what
        texts share says nothing of a picture.
        """
        middle = unit(self.project_text(bank)).mean(axis=0)
        directions = unit(unit(self.project_text(embeddings)) - middle)
        return directions @ unit(self.project_video(features)).T

    def project_video(self, features: Float[Array, "t d_in"]) -> Float[Array, "t d"]:
        video = self.projections.video
        return features if video is None else features @ video

    def project_text(self, embeddings: Float[Array, "k d_txt"]) -> Float[Array, "k d"]:
        text = self.projections.text
        return embeddings if text is None else embeddings @ text

    def picture_queries(self, features: Float[Array, "b d_in"]) -> Float[Array, "b d_txt"]:
        """What `project_text` makes the pictures' own points of, by least squares.

        Exact where texts are at least as wide before their projection as after it.
        """
        points, text = self.project_video(features), self.projections.text
        if text is None:
            return points
        solved = np.linalg.lstsq(text.T.astype(np.float64), points.T, rcond=None)[0]
        return solved.T.astype(np.float32)

    def towers(
        self, features: Float[Array, "t d_in"], embeddings: Float[Array, "k d_txt"]
    ) -> Towers:
        """Both sides before their projections, and these; identities where the model has none."""
        video, text, scale, _ = self.projections
        return Towers(
            features,
            np.eye(features.shape[1], dtype=np.float32) if video is None else video,
            embeddings,
            np.eye(embeddings.shape[1], dtype=np.float32) if text is None else text,
            scale,
        )


def unit(rows: Float[Array, "n d"]) -> Float[Array, "n d"]:
    """Rows of length one; a row of zeros stays."""
    return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12)
