"""Features of many videos: resumable, and shared by as many processes as one likes to start.

Each video gets ``<out>/<stem>.safetensors``, because annotations name videos by their stem; two
videos of the same stem are refused before any work. A video whose file is there, with the same
recipe, is not encoded again. A process holds ``<stem>.lease`` while it works on a video, so the
others pass over it; killing a process loses at most the video that it was working on.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from openmoment.cache import sha256 as hash_file
from openmoment.encoders.base import Encoder
from openmoment.errors import (
    ConfigError,
    FeatureError,
    MissingExtraError,
    MissingWeightsError,
    OpenMomentError,
    VideoError,
)
from openmoment.features import SUFFIX, check_recipe, read_header, write_features
from openmoment.files import leftovers
from openmoment.leases import lease
from openmoment.types import Recipe

Status = Literal["made", "present", "taken", "failed"]


@dataclass(frozen=True)
class Extracted:
    """What became of one video.

    ``"present"``: its file was there already; ``"taken"``: another process is working on it.
    """

    video: Path
    path: Path
    status: Status
    message: str = ""


def extract(
    videos: Sequence[Path],
    out: Path,
    encoder: Encoder,
    *,
    fps: float,
    overwrite: bool = False,
    sha256: Callable[[Path], str] = hash_file,
    progress: Callable[[Path, float, float], None] | None = None,
) -> Iterator[Extracted]:
    """Write a feature file for each of the videos, and say one by one what became of them.

    A video that cannot be read is reported and passed over, and so is one whose file was made with
    another recipe, unless ``overwrite``. ``progress`` hears (video, seconds done, seconds in all);
    ``sha256`` hashes a video (`Cache.sha256` remembers).

    Raises FeatureError when two videos have the same stem, OpenMomentError when ``out`` cannot be
    written to or the encoder cannot run.
    """
    paths = _feature_paths(videos, out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FeatureError(f"{out}: cannot be made ({error.strerror or error}).") from error
    recipe = Recipe(encoder.name, encoder.fingerprint, fps, source_sha256="")
    job = _Job(encoder, recipe, overwrite, sha256, progress)
    return (job.run(video, path) for video, path in paths.items())


@dataclass(frozen=True)
class _Job:
    """What all videos of one run have in common."""

    encoder: Encoder
    recipe: Recipe
    """Its source is filled in for each video."""
    overwrite: bool
    sha256: Callable[[Path], str]
    progress: Callable[[Path, float, float], None] | None

    def run(self, video: Path, path: Path) -> Extracted:
        if known := self._check_existing(video, path):
            return known
        with lease(path.with_suffix(".lease")) as outcome:
            if outcome == "taken":
                return Extracted(video, path, "taken", "another process is working on it.")
            if outcome == "inherited":
                for leftover in leftovers(path):
                    leftover.unlink(missing_ok=True)
            # Another process may have finished it since the first look.
            return self._check_existing(video, path) or self._make(video, path)

    def _check_existing(self, video: Path, path: Path) -> Extracted | None:
        """What to say of a file that is there; None where there is work to do."""
        if not path.exists():
            return None
        try:
            check_recipe(read_header(path).recipe, self._recipe_of(video), path)
        except VideoError as error:
            return Extracted(video, path, "failed", str(error))
        except FeatureError as error:
            if self.overwrite:
                return None
            return Extracted(video, path, "failed", str(error))
        return Extracted(video, path, "present")

    def _make(self, video: Path, path: Path) -> Extracted:
        heard = self.progress
        try:
            recipe = self._recipe_of(video)
            snippets = self.encoder.encode_video(
                video,
                fps=recipe.fps,
                source_sha256=recipe.source_sha256,
                progress=heard and (lambda done_s, all_s: heard(video, done_s, all_s)),
            )
        except (MissingExtraError, MissingWeightsError, ConfigError):
            raise  # would be the same for every video
        except OpenMomentError as error:
            return Extracted(video, path, "failed", str(error))
        write_features(snippets, path)
        return Extracted(video, path, "made")

    def _recipe_of(self, video: Path) -> Recipe:
        return replace(self.recipe, source_sha256=self.sha256(video))


def _feature_paths(videos: Sequence[Path], out: Path) -> dict[Path, Path]:
    """Where the features of each video go. Raises FeatureError for two videos of one stem."""
    paths = {video: out / f"{video.stem}{SUFFIX}" for video in videos}
    taken: dict[Path, Path] = {}
    for video, path in paths.items():
        if path in taken:
            raise FeatureError(
                f"{taken[path]} and {video} would both be written to {path}. Rename one of them, "
                "or extract them to different folders."
            )
        taken[path] = video
    return paths
