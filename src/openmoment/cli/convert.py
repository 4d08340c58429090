"""openmoment convert: from the file of one tool to that of another."""

from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Annotated

import typer

from openmoment.cli.options.clips import ExactCut, cut_clips
from openmoment.cli.options.moments import read_moments
from openmoment.cli.text.console import counted, say, verb
from openmoment.errors import ConfigError, FormatError, VideoError
from openmoment.types import Detections

CLIPS = "clips"
"""What ``--to`` may be besides a format: the moments themselves, cut out of their videos."""


@verb
def convert_verb(
    source: Annotated[Path, typer.Argument(metavar="IN", help="A file of moments, or a review.")],
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="A file; or a folder, for one of each video.")
    ],
    from_: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="NAME", help="Of IN, where its ending and fields do not tell."
        ),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Of OUT, where the ending does not tell: "
            "activitynet, boris, label_studio, via, fiftyone; or clips, cut into the folder OUT.",
        ),
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option(help="Frames a second, where a format counts them.", show_default="video's"),
    ] = None,
    exact: ExactCut = False,
) -> None:
    """Turn a file of moments into that of another tool, and say what does not fit into it.

    What each format is, and what it keeps: docs/formats.md.

    openmoment convert moments.json match.eaf

    openmoment convert match.eaf tasks.json --to label_studio --fps 25

    openmoment convert moments.json clips/ --to clips
    """
    if exact and to != CLIPS:
        raise ConfigError("--exact is how clips are cut. Give --to clips with it.")
    videos = read_moments(source, from_, fps=fps)
    if to == CLIPS:
        cut_all(videos, out, source, exact=exact)
        return
    from openmoment.export import FORMATS, format_of

    is_folder = out.is_dir() or (to is not None and not out.suffix)
    if is_folder and to is None:
        raise FormatError(
            f"{out}: is a folder. Say what to write into it: --to {'|'.join(FORMATS)}"
        )
    name = format_of(out, to)
    if is_folder:
        write_each(videos, out, name, fps)
    elif FORMATS[name].holds_several or len(videos) == 1:
        write_one(videos, out, name, fps)
    else:
        raise FormatError(
            f"{out}: {name} holds one video, and {source} has {len(videos)}. Give a folder as OUT, "
            f"for a file of each: --to {name}."
        )
    if FORMATS[name].loses:
        say(f"{name} does not keep {FORMATS[name].loses}.")


def write_one(videos: Mapping[str, Detections], out: Path, name: str, fps: float | None) -> None:
    """One file of all the videos."""
    from openmoment.export import FORMATS

    # one video that names itself is written as a single answer, as openmoment find does
    only = next(iter(videos.items())) if len(videos) == 1 else None
    is_named = only and only[1].origin and only[1].origin.video == only[0]
    FORMATS[name].write(only[1] if only and is_named else videos, out, fps=fps)
    moments = counted(sum(map(len, videos.values())), "moment")
    say(f"Wrote {out}: {moments} of {counted(len(videos), 'video')}.")


def write_each(videos: Mapping[str, Detections], out: Path, name: str, fps: float | None) -> None:
    """A file of each video in a folder, under the video's name."""
    from openmoment.export import FORMATS

    files: dict[Path, str] = {}
    for video in videos:
        stem = PurePath(video).stem or "moments"
        path = out / f"{stem}{FORMATS[name].extension}"
        if path in files:
            raise FormatError(f"{path}: both {files[path]} and {video} would be written there.")
        files[path] = video
    out.mkdir(parents=True, exist_ok=True)
    for path, video in files.items():
        write_one({video: videos[video]}, path, name, fps)


def cut_all(videos: Mapping[str, Detections], out: Path, source: Path, *, exact: bool) -> None:
    """The moments of all videos as video files in a folder. Raises VideoError for a missing one."""
    from openmoment.export.rate import find_video

    paths = {video: find_video(video, source) for video in videos}
    missing = [video or "a video without a name" for video, path in paths.items() if path is None]
    if missing:
        raise VideoError(f"{missing[0]}: is not there to cut clips from.")
    for video, path in paths.items():
        if path is not None:
            cut_clips(path, videos[video], out, exact=exact)
