"""Features, or captions, of many videos: resumable, and shared by as many processes as one likes.

Each video gets ``<out>/<stem>.safetensors``, for optical flow ``<stem>.flow.safetensors``, or
``<stem>.captions.json``, because annotations name videos by their stem; two videos of the same stem
are refused before any work. A video whose file is there, with the same recipe, is passed over. A
process holds a lease (``<stem>.lease``, ``<stem>.flow.lease``, ``<stem>.captions.lease``) while it
works on a video, so the others pass over it; killing a process loses at most the video that it was
working on.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from openmoment.encoders.base import Progress, VideoEncoder, file_suffix
from openmoment.encoders.captioners.captioning import Captioner, cached_captions
from openmoment.errors import (
    ConfigError,
    FeatureError,
    FormatError,
    MissingExtraError,
    MissingWeightsError,
    OpenMomentError,
    VideoError,
)
from openmoment.features.cache import Cache
from openmoment.features.cache import sha256 as hash_file
from openmoment.features.captions import SUFFIX as CAPTIONS_SUFFIX
from openmoment.features.captions import Captions, read_captions, write_captions
from openmoment.features.file import check_recipe, read_header, write_features
from openmoment.storage.atomic import leftovers
from openmoment.storage.leases import lease
from openmoment.types import Recipe, Snippets

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
    encoder: VideoEncoder,
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
    recipe = Recipe(encoder.name, encoder.fingerprint, fps, source_sha256="")
    product = _FeatureFiles(recipe, encoder)
    return _run(videos, out, _Job(product, overwrite, sha256, progress))


def caption(
    videos: Sequence[Path],
    out: Path,
    captioner: Captioner,
    *,
    fps: float,
    overwrite: bool = False,
    cache: Cache | None = None,
    progress: Callable[[Path, float, float], None] | None = None,
) -> Iterator[Extracted]:
    """Write a caption file for each of the videos, as `extract` does feature files.

    Captions that are in ``cache`` are not made again, and new ones go there. Raises as `extract`.
    """
    recipe = Recipe(captioner.name, captioner.fingerprint, fps, source_sha256="")
    product = _CaptionFiles(recipe, captioner, cache)
    sha256 = cache.sha256 if cache else hash_file
    return _run(videos, out, _Job(product, overwrite, sha256, progress))


@runtime_checkable
class _Product(Protocol):
    """The kind of file that every video gets."""

    @property
    def suffix(self) -> str:
        """Of its name, after the video's."""
        ...

    @property
    def recipe(self) -> Recipe:
        """Its source is filled in for each video."""
        ...

    def check(self, path: Path, recipe: Recipe) -> None:
        """Raises FeatureError or FormatError when the file was not made so."""
        ...

    def make(self, video: Path, recipe: Recipe, progress: Progress | None) -> Any: ...

    def write(self, made: Any, path: Path) -> None: ...


@dataclass(frozen=True)
class _FeatureFiles:
    recipe: Recipe
    encoder: VideoEncoder

    @property
    def suffix(self) -> str:
        return file_suffix(self.encoder)

    def check(self, path: Path, recipe: Recipe) -> None:
        check_recipe(read_header(path).recipe, recipe, path)

    def make(self, video: Path, recipe: Recipe, progress: Progress | None) -> Snippets:
        return self.encoder.encode_video(
            video, fps=recipe.fps, source_sha256=recipe.source_sha256, progress=progress
        )

    def write(self, made: Snippets, path: Path) -> None:
        write_features(made, path)


@dataclass(frozen=True)
class _CaptionFiles:
    recipe: Recipe
    captioner: Captioner
    cache: Cache | None
    suffix = CAPTIONS_SUFFIX

    def check(self, path: Path, recipe: Recipe) -> None:
        read_captions(path, expected=recipe)

    def make(self, video: Path, recipe: Recipe, progress: Progress | None) -> Captions:
        return cached_captions(
            video,
            self.captioner,
            fps=recipe.fps,
            source_sha256=recipe.source_sha256,
            cache=self.cache,
            progress=progress,
        )

    def write(self, made: Captions, path: Path) -> None:
        write_captions(made, path)


def _run(videos: Sequence[Path], out: Path, job: "_Job") -> Iterator[Extracted]:
    paths = _paths(videos, out, job.product.suffix)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FeatureError(f"{out}: cannot be made ({error.strerror or error}).") from error
    return (job.run(video, path) for video, path in paths.items())


@dataclass(frozen=True)
class _Job:
    """What all videos of one run have in common."""

    product: _Product
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
            self.product.check(path, self._recipe_of(video))
        except VideoError as error:
            return Extracted(video, path, "failed", str(error))
        except (FeatureError, FormatError) as error:
            if self.overwrite:
                return None
            return Extracted(video, path, "failed", str(error))
        return Extracted(video, path, "present")

    def _make(self, video: Path, path: Path) -> Extracted:
        heard = self.progress
        progress = heard and (lambda done_s, all_s: heard(video, done_s, all_s))
        try:
            made = self.product.make(video, self._recipe_of(video), progress)
        except (MissingExtraError, MissingWeightsError, ConfigError):
            raise  # would be the same for every video
        except OpenMomentError as error:
            return Extracted(video, path, "failed", str(error))
        self.product.write(made, path)
        return Extracted(video, path, "made")

    def _recipe_of(self, video: Path) -> Recipe:
        return replace(self.product.recipe, source_sha256=self.sha256(video))


def _paths(videos: Sequence[Path], out: Path, suffix: str) -> dict[Path, Path]:
    """Where the file of each video goes. Raises FeatureError for two videos of one stem."""
    paths = {video: out / f"{video.stem}{suffix}" for video in videos}
    taken: dict[Path, Path] = {}
    for video, path in paths.items():
        if path in taken:
            raise FeatureError(
                f"{taken[path]} and {video} would both be written to {path}. Rename one of them, "
                "or extract them to different folders."
            )
        taken[path] = video
    return paths
