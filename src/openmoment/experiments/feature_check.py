"""Whether features made elsewhere are a backbone's: by its own sight of a few photographs.

All pictures of a model lie in one narrow corner of its space, and those of two models in two that
have nothing to do with each other. Of real vectors (CLIP ViT-B/32 of 76 videos, beside any seven
photographs) the mean cosine is .30 or more; of the same vectors turned at random, or of another
model, .11 at most (docs/backbones.md). Texts lie in a corner of their own, whose distance to that
of the pictures differs from model to model, and is known of OpenAI's alone.

Axes: t snippets, d width of the joint space, d_in width of the features.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray as Array

from openmoment.encoders import Encoder, VideoEncoder, load_feature_encoder
from openmoment.encoders.motion.flow import FLOW_MARK
from openmoment.encoders.towers.projected import unit
from openmoment.encoders.two_tower.base import TwoTower
from openmoment.errors import FeatureError, RecipeError
from openmoment.features.cache import Cache
from openmoment.features.file import IMPORTED, read_features
from openmoment.pipeline.queries import bank_of
from openmoment.types import Snippets

OWN_OVER = 0.2
"""The mean cosine with photographs seen by the same model, which features of it exceed."""
_ALIKE = 1e-4  # features that vary by less, relative to their size, say nothing
_CURE = "Extract them with that backbone, or name the one that they are of: --backbone NAME"


class Corner(NamedTuple):
    """Where a backbone's pictures and texts lie, as points of length one."""

    pictures: Float[Array, "n d"]
    texts: Float[Array, "m d"]
    unrelated_over: float | None = None
    """The mean cosine of pictures and texts of any kind, where that is known of the model."""


class Fit(NamedTuple):
    """Mean cosines of features with what the backbone makes of photographs and of texts."""

    to_pictures: float
    to_texts: float


@dataclass(frozen=True)
class CheckedFeatures:
    """What a check of one feature file found."""

    path: str
    backbone: str
    num_snippets: int
    dim_in: int
    duration_s: float
    gap_s: float
    """The largest time without a snippet before the end of the video, or before the first."""
    to_pictures: float | None
    to_texts: float | None
    """None where the backbone's space knows no such cosine, or is of flow or of clips."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class FeatureCheck:
    """Checks feature files, each against the backbone that it names, or against ``backbone``.

    Backbones are loaded once. Raises UnknownNameError, MissingWeightsError.
    """

    def __init__(self, backbone: str | None = None) -> None:
        self._backbone = backbone
        self._corners: dict[str, tuple[VideoEncoder, Corner | None]] = {}
        if backbone is not None:
            self._corner(backbone)

    def check(self, path: Path) -> CheckedFeatures:
        """Raises FeatureError, which says what is wrong."""
        if path.is_file() and path.suffix != ".safetensors":
            raise FeatureError(
                f"{path}: of another program; it has no times and no backbone yet. "
                "Import it first: openmoment features import --help"
            )
        snippets = read_features(path)
        name = self._backbone or snippets.recipe.encoder
        if self._backbone is None and FLOW_MARK in name:
            return _told(path, name, snippets, None)  # the pictures are drawings of flow
        encoder, corner = self._corner(name)
        made_by = snippets.recipe.fingerprint
        if self._backbone is None and made_by not in (encoder.fingerprint, IMPORTED):
            raise RecipeError(
                f"{path}: made by other weights of {name} (fingerprint {made_by}) than those here "
                f"({encoder.fingerprint}). Extract it again, or give --backbone {name} to look at "
                "the numbers alone."
            )
        check_numbers(path, snippets, encoder)
        if corner is None:
            return _told(path, name, snippets, None)
        space = encoder.space  # pyright: ignore[reportAttributeAccessIssue]
        fit = fit_of(unit(space.project_video(np.asarray(snippets.features))), corner)
        if problem := misfit(fit, corner):
            raise FeatureError(f"{path}: {problem.format(name=name)} {_CURE}.")
        return _told(path, name, snippets, fit)

    def _corner(self, name: str) -> tuple[VideoEncoder, Corner | None]:
        if name not in self._corners:
            encoder = load_feature_encoder(name)
            self._corners[name] = encoder, corner_of(encoder)
        return self._corners[name]


def corner_of(encoder: VideoEncoder) -> Corner | None:
    """Where the backbone's pictures and texts lie; None for one that is not made of two towers."""
    if not (isinstance(encoder, TwoTower) and isinstance(encoder, Encoder)):
        return None
    from openmoment.video.demo import photographs

    space = encoder.space
    pictures = space.project_video(encoder.encode_pictures(photographs()))
    texts = space.project_text(bank_of(encoder, Cache()))
    return Corner(unit(pictures), unit(texts), getattr(encoder, "unrelated_over", None))


def check_numbers(path: Path, snippets: Snippets, encoder: VideoEncoder) -> None:
    """Raises FeatureError for a width that is not the backbone's, and for features all alike."""
    features = snippets.features
    if features.shape[1] != encoder.dim_in:
        raise FeatureError(
            f"{path}: {features.shape[1]} numbers a snippet, {encoder.name} makes "
            f"{encoder.dim_in}. Features are kept before the visual projection. {_CURE}."
        )
    if len(features) > 1 and features.std(axis=0).max() <= _ALIKE * np.abs(features).max():
        raise FeatureError(f"{path}: all {len(features)} snippets are alike. Extract them again.")


def fit_of(points: Float[Array, "t d"], corner: Corner) -> Fit:
    """Of points of length one."""
    middle = points.mean(axis=0)
    return Fit(
        float((corner.pictures @ middle).mean()),
        float((corner.texts @ middle).mean()),
    )


def misfit(fit: Fit, corner: Corner) -> str | None:
    """Why features cannot be the backbone's, ``{name}``; None when they can."""
    if fit.to_pictures < OWN_OVER:
        return (
            "features of another model than {name}: their mean cosine with what it makes of "
            f"photographs is {fit.to_pictures:.2f}, of its own it is over {OWN_OVER:.2f}."
        )
    if corner.unrelated_over is not None and fit.to_texts < corner.unrelated_over:
        return (
            "the words of {name} are not of the model of these features: their mean cosine is "
            f"{fit.to_texts:.2f}, of its own it is over {corner.unrelated_over:.2f}."
        )
    return None


def _told(path: Path, name: str, snippets: Snippets, fit: Fit | None) -> CheckedFeatures:
    grid = snippets.grid
    return CheckedFeatures(
        path=str(path),
        backbone=name,
        num_snippets=len(snippets),
        dim_in=snippets.features.shape[1],
        duration_s=snippets.duration_s,
        gap_s=max(grid.start_s, snippets.duration_s - grid.end_s, 0.0),
        to_pictures=fit and fit.to_pictures,
        to_texts=fit and fit.to_texts,
    )
