"""Where the features of a run come from: feature files, or videos that are encoded once."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from openmoment.encoders.base import Encoder
from openmoment.errors import FeatureError
from openmoment.features.cache import Cache
from openmoment.pipeline.snippets import FeatureFolder, encode_snippets
from openmoment.types import Recipe, Snippets


class AlikeFiles:
    """The feature files of a folder by video, or those given.

    Raises FeatureError for two that are not alike.
    """

    kind = "feature"

    def __init__(self, folder: FeatureFolder, paths: Mapping[str, Path] | None = None) -> None:
        self.folder = folder.folder
        self._folder = folder
        self._paths = folder.paths() if paths is None else paths
        self._first: dict[bool, tuple[Path, Recipe]] = {}
        self._rates: set[float] = set()

    def __contains__(self, video: str) -> bool:
        return video in self._paths

    def load(self, video: str) -> Snippets:
        path = self._paths[video]
        snippets = self._folder.read(path)
        self._require_alike(path, snippets.recipe)
        if snippets.flow:
            self._require_alike(path, snippets.flow.recipe, of_flow=True)
        self._rates.add(snippets.recipe.fps)
        return snippets

    def _require_alike(self, path: Path, recipe: Recipe, *, of_flow: bool = False) -> None:
        first_path, first = self._first.setdefault(of_flow, (path, recipe))
        if (recipe.encoder, recipe.fingerprint) != (first.encoder, first.fingerprint):
            raise FeatureError(
                f"{first_path} and {path} are features of {first.encoder} ({first.fingerprint}) "
                f"and of {recipe.encoder} ({recipe.fingerprint}). Extract all with one."
            )

    @property
    def recipe(self) -> Recipe:
        """Of the first file that was loaded."""
        return self._first[False][1]

    @property
    def flow_recipe(self) -> Recipe | None:
        """Of the flow beside it, where that is seen."""
        return self._first[True][1] if True in self._first else None

    @property
    def fps(self) -> float | None:
        """Of all files that were loaded; None where they differ."""
        return next(iter(self._rates)) if len(self._rates) == 1 else None


@dataclass(frozen=True)
class EncodedVideos:
    """Videos as a backbone sees them, kept in the cache; without one they are encoded each time."""

    paths: Mapping[str, Path]
    encoder: Encoder
    cache: Cache | None

    def load(self, video: str) -> Snippets:
        """Raises VideoError."""
        return encode_snippets(self.paths[video], self.encoder, self.cache, fps=self.fps)

    @property
    def fps(self) -> float:
        return self.encoder.fps

    @property
    def recipe(self) -> Recipe:
        return Recipe(self.encoder.name, self.encoder.fingerprint, self.fps, "")
