"""Where the snippets of a video come from: the cache, the video itself, or a folder of files."""

from dataclasses import dataclass, replace
from pathlib import Path

from openmoment.encoders.base import Encoder, Progress, file_suffix
from openmoment.encoders.motion.flow import FLOW_MARK
from openmoment.errors import FeatureError
from openmoment.features.cache import Cache, sha256
from openmoment.features.file import FLOW_SUFFIX, IMPORTED, SUFFIX, find_features, read_features
from openmoment.types import Recipe, Snippets


def encode_snippets(
    video: Path,
    encoder: Encoder,
    cache: Cache | None,
    *,
    fps: float,
    progress: Progress | None = None,
) -> Snippets:
    """A video's features, from the cache if they are there. Raises VideoError."""
    digest = cache.sha256(video) if cache else sha256(video)
    known = cache.load(Recipe(encoder.name, encoder.fingerprint, fps, digest)) if cache else None
    if known:
        return known
    made = encoder.encode_video(video, fps=fps, source_sha256=digest, progress=progress)
    if cache:
        cache.store(made)
    return made


@dataclass(frozen=True)
class FeatureFolder:
    """The feature files of an encoder; ``is_own`` are a method's, whoever made them.

    With ``has_flow`` each brings the features of optical flow that lie beside it: of ``flow``, or
    of any flow that the encoder sees. Raises FeatureError where there is no such folder.
    """

    folder: Path
    encoder: Encoder
    is_own: bool = False
    has_flow: bool = False
    flow: Encoder | None = None

    def __post_init__(self) -> None:
        if not self.folder.is_dir():
            raise FeatureError(f"{self.folder}: no such folder.")

    def paths(self) -> dict[str, Path]:
        """The files by the id of their video, with and without ``v_``."""
        return find_features(self.folder, file_suffix(self.encoder))

    def read(self, path: Path) -> Snippets:
        """Raises FeatureError when another encoder made them."""
        snippets = self._read(path)
        return replace(snippets, flow=self._read_flow(path)) if self.has_flow else snippets

    def _read_flow(self, path: Path) -> Snippets:
        """What moves in the same video, as the same backbone sees it."""
        beside = path.with_name(path.name.removesuffix(SUFFIX) + FLOW_SUFFIX)
        if not beside.is_file():
            raise FeatureError(
                f"{beside}: no such file. The method sees motion apart: openmoment features "
                "extract --flow dis, into the same folder; or train it with use_flow=false."
            )
        flow = read_features(beside)
        if not (self.is_own or self._is_known_flow(flow.recipe)):
            wanted = self.flow or self.encoder
            raise FeatureError(
                f"{beside}: made by {flow.recipe.encoder} (fingerprint {flow.recipe.fingerprint}), "
                f"asked for the flow of {wanted.name} ({wanted.fingerprint}). Extract it again."
            )
        return flow

    def _is_known_flow(self, recipe: Recipe) -> bool:
        if self.flow is None:
            return recipe.encoder.startswith(self.encoder.name + FLOW_MARK)
        is_same = recipe.fingerprint in (self.flow.fingerprint, IMPORTED)
        return recipe.encoder == self.flow.name and is_same

    def _read(self, path: Path) -> Snippets:
        snippets = read_features(path)
        encoder, recipe = self.encoder, snippets.recipe
        is_known = recipe.fingerprint in (encoder.fingerprint, IMPORTED)
        if self.is_own or (recipe.encoder == encoder.name and is_known):
            return snippets
        cure = "Extract again, or choose that backbone."
        if getattr(encoder, "is_tuned", False):
            cure = "Its image tower was tuned with the method: give videos, --videos DIR."
        raise FeatureError(
            f"{path}: made by {recipe.encoder} (fingerprint {recipe.fingerprint}), asked for "
            f"{encoder.name} ({encoder.fingerprint}). {cure}"
        )
