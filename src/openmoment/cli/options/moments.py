"""What the verbs share that read files of moments: any format, reviews, folders; video lengths."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from openmoment.cli.text.console import say
from openmoment.errors import FormatError
from openmoment.types import Detections

InFormat = Annotated[
    str | None,
    typer.Option("--format", metavar="NAME", help="Of the files, where they do not tell."),
]
Duration = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS", min=0.0, help="The length of videos where nothing else tells it."
    ),
]


class Length(NamedTuple):
    """A video's length, and what tells it."""

    seconds: float
    told_by: str


class Read(NamedTuple):
    """One video's moments, and the file that they are from."""

    found: Detections
    file: Path


def read_moments(
    path: Path, format_name: str | None = None, *, fps: float | None = None
) -> Mapping[str, Detections]:
    """The moments of a file by video: in any export format, or a review. Raises FormatError.

    ``fps`` is the rate of frames where a format counts them.
    """
    from openmoment.export import FORMATS, recognise
    from openmoment.reviews import is_review, read_review, to_detections

    if format_name is None and is_review(path):
        review = read_review(path)
        return {review.video: to_detections(review)}
    return FORMATS[recognise(path, format_name)].read(path, fps=fps)


def read_all(paths: Sequence[Path], format_name: str | None = None) -> dict[str, Read]:
    """The moments of files, and of those below folders, by video.

    Raises FormatError, also when two files are of one video.
    """
    videos: dict[str, Read] = {}
    for path in [file for given in paths for file in _files(given, format_name)]:
        for video, found in read_moments(path, format_name).items():
            if video in videos:
                raise FormatError(f"{path}: the video {video!r} is in {videos[video].file} too.")
            videos[video] = Read(found, path)
    return videos


def length_of(video: str, read: Read, given_s: float | None) -> Length:
    """From the file, else the video where it is here, else as given, else the last moment's end."""
    from openmoment.storage.listing import VIDEO_SUFFIXES

    origin = read.found.origin
    if origin is not None and origin.duration_s > 0:
        return Length(origin.duration_s, "its file")
    for path in (Path(video), read.file.parent / video):
        if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file():
            from openmoment.video import probe

            return Length(probe(path).duration_s, "the video")
    if given_s is not None:
        return Length(given_s, "--duration")
    return Length(float(read.found.segments[:, 1].max(initial=0.0)), "its last moment")


def say_lengths(lengths: dict[str, Length]) -> None:
    """Warn of lengths that are a guess."""
    guessed = [video for video, length in lengths.items() if length.told_by == "its last moment"]
    if guessed:
        more = f" and {len(guessed) - 1} more" if len(guessed) > 1 else ""
        say(
            f"{guessed[0]}{more}: nothing tells the length of the video, so it is taken to end "
            "with its last moment. Give --duration."
        )


def _files(path: Path, format_name: str | None) -> list[Path]:
    """The file itself, or those below a folder whose ending is that of a format."""
    from openmoment.export import FORMATS

    if not path.is_dir():
        return [path]
    names = [format_name] if format_name else [n for n in FORMATS if FORMATS[n].keeps_times]
    endings = {FORMATS[name].extension for name in names} | {".json"}
    files = [
        file
        for file in sorted(path.rglob("*"))
        if file.suffix.lower() in endings and not file.name.startswith(".") and file.is_file()
    ]
    if not files:
        raise FormatError(f"{path}: no file of moments in this folder: {' '.join(sorted(endings))}")
    return files
