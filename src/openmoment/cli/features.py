"""openmoment features: extract, caption, check, import, import-released, join, show."""

from collections.abc import Iterator
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from openmoment.cli.captions import caption_verb
from openmoment.cli.options.methods import Backbone, Device, Precision
from openmoment.cli.options.outputs import Json
from openmoment.cli.options.videos import Overwrite, VideoFolder, videos_of
from openmoment.cli.streams import import_released_verb, join_verb
from openmoment.cli.text.batch import Hear, conclude, follow
from openmoment.cli.text.console import INPUT_FAULT, one_line, print_json, say_fault, verb

if TYPE_CHECKING:
    from openmoment.encoders import VideoEncoder
    from openmoment.features.file import Stride
    from openmoment.pipeline.extraction import Extracted


class LayoutChoice(StrEnum):
    TIME_FIRST = "time-first"
    WIDTH_FIRST = "width-first"


app = typer.Typer(help="Make, import and inspect feature and caption files.", no_args_is_help=True)


@app.command("extract")
@verb
def extract_verb(
    folder: VideoFolder,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the feature files go.")],
    backbone: Backbone = "auto",
    fps: Annotated[
        float | None,
        typer.Option(
            min=0, help="Snippets per second; 0 for every frame.", show_default="by backbone"
        ),
    ] = None,
    overwrite: Overwrite = False,
    flow: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Encode optical flow, not frames: dis, dis-fast, dis-ultrafast, raft, raft-small, "
            "or raft@FILE with its weights.",
        ),
    ] = None,
    full_colour_speed: Annotated[
        float | None,
        typer.Option(
            metavar="SPEED",
            help="Of flow: what is drawn in full colour, in frame heights per second; 0: the "
            "fastest of each picture.",
            show_default="0.5",
        ),
    ] = None,
    device: Device = "cpu",
    precision: Precision = "fp32",
    as_json: Json = False,
) -> None:
    """Encode every video below DIR into one feature file each.

    With --flow it is a second file, NAME.flow.safetensors, beside the first. Run it again to go on
    where it stopped; start it in several terminals, or on several machines that share the folder,
    to go faster.
    """
    from openmoment.errors import ConfigError
    from openmoment.features.cache import Cache
    from openmoment.pipeline.extraction import extract

    if full_colour_speed is not None and flow is None:
        raise ConfigError("--full-colour-speed is of optical flow. Give --flow too.")
    videos = videos_of(folder)
    encoder = _load_encoder(backbone, device, precision, flow, full_colour_speed)
    rate = encoder.fps if fps is None else fps

    def start(hear: Hear) -> "Iterator[Extracted]":
        return extract(
            videos,
            out,
            encoder,
            fps=rate,
            overwrite=overwrite,
            sha256=Cache().sha256,
            progress=hear,
        )

    done = follow(start, len(videos))
    head = {"backbone": encoder.name, "fingerprint": encoder.fingerprint, "fps": rate}
    conclude(done, out, "features", head if as_json else None)


def _load_encoder(
    backbone: str, device: str, precision: str, flow: str | None, full_colour_speed: float | None
) -> "VideoEncoder":
    """A backbone, which sees optical flow where that is asked for."""
    from openmoment.encoders import load_feature_encoder
    from openmoment.encoders.motion.flow import FULL_COLOUR_SPEED, FlowEncoder
    from openmoment.encoders.motion.flow_algorithms import load_flow

    encoder = load_feature_encoder(backbone, device=device, precision=precision)
    if flow is None:
        return encoder
    speed = FULL_COLOUR_SPEED if full_colour_speed is None else full_colour_speed
    return FlowEncoder(encoder, load_flow(flow, device=device), full_colour_speed=speed)


app.command("caption")(caption_verb)
app.command("import-released")(import_released_verb)
app.command("join")(join_verb)


@app.command("import")
@verb
def import_verb(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A .npy, .npz or .csv file.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The feature file to write.")],
    backbone: Annotated[str, typer.Option(metavar="NAME", help="What encoded the video.")],
    duration: Annotated[float, typer.Option(metavar="S", help="Of the video, in seconds.")],
    fps: Annotated[float | None, typer.Option(help="Snippets per second of video.")] = None,
    stride: Annotated[
        int | None, typer.Option(help="Frames from one snippet to the next; needs --video-fps.")
    ] = None,
    video_fps: Annotated[float | None, typer.Option(help="Frames per second of video.")] = None,
    window: Annotated[
        int | None, typer.Option(help="Frames that a snippet saw.", show_default="the stride")
    ] = None,
    width: Annotated[
        int | None, typer.Option(help="Numbers per snippet.", show_default="by backbone")
    ] = None,
    layout: Annotated[
        LayoutChoice | None, typer.Option(help="Of the array, where the width leaves a doubt.")
    ] = None,
    key: Annotated[str | None, typer.Option(help="Which array of an .npz file.")] = None,
    as_json: Json = False,
) -> None:
    """Write features that another program made as a feature file.

    Say how they lie in time: --fps, or --stride and --video-fps; with neither, the snippets share
    the duration of the video equally.
    """
    from openmoment.features.file import import_features, write_features

    snippets = import_features(
        file,
        encoder=backbone,
        duration_s=duration,
        fps=fps,
        stride=_parse_stride(stride, video_fps, window),
        dim_in=_known_width(backbone) if width is None else width,
        key=key,
        layout=layout.value if layout else None,
    )
    write_features(snippets, out)
    _print_header(out, as_json)


@app.command("show")
@verb
def show_verb(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A feature file.")],
    as_json: Json = False,
) -> None:
    """Say how a feature file was made, and check that it is whole."""
    _print_header(file, as_json)


@app.command("check")
@verb
def check_verb(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Feature files.")],
    backbone: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="What they should be of: openmoment models.",
            show_default="what each file names",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Find out whether feature files fit a backbone. Exits with 2 when one does not.

    For features from elsewhere: width, times and numbers; and whether they lie where the backbone's
    own pictures do, and its words belong to them. The backbone's weights have to be here.
    """
    from openmoment.cli.text.checks import describe_features_check
    from openmoment.errors import FeatureError
    from openmoment.experiments.feature_check import FeatureCheck

    check = FeatureCheck(backbone)
    fits: list[dict[str, object]] = []
    misfits: list[dict[str, object]] = []
    for file in files:
        try:
            checked = check.check(file)
        except FeatureError as error:
            misfits.append({"path": str(file), "error": one_line(error)})
            say_fault(one_line(error))
            continue
        fits.append(checked.to_dict())
        if not as_json:
            typer.echo(describe_features_check(checked))
    if as_json:
        print_json({"fits": fits, "misfits": misfits})
    if misfits:
        raise typer.Exit(INPUT_FAULT)


def _print_header(path: Path, as_json: bool) -> None:
    from openmoment.features.file import read_features, read_header
    from openmoment.types import clock

    header, snippets = read_header(path), read_features(path)
    grid, motion = snippets.grid, snippets.motion
    facts: dict[str, object] = {
        "path": str(path),
        **asdict(header.recipe),
        "num_snippets": header.num_snippets,
        "dim_in": header.dim_in,
        "start_s": grid.start_s,
        "end_s": grid.end_s,
        "duration_s": header.duration_s,
        "version": header.version,
    }
    if motion is not None:
        facts["mean_motion"] = float(motion.mean())
    if as_json:
        print_json(facts)
        return
    recipe = header.recipe
    lines = {
        "backbone": f"{recipe.encoder} ({recipe.fingerprint})",
        "snippets": f"{header.num_snippets} x {header.dim_in}, {recipe.fps:g} per second",
        "covers": f"{clock(grid.start_s)} - {clock(grid.end_s)} of {clock(header.duration_s)}",
        "video": f"sha256 {recipe.source_sha256}" if recipe.source_sha256 else "not known",
        "written by": f"openmoment {header.version}",
    }
    if motion is not None:
        lines["motion"] = f"{motion.mean():.3f} frame heights a second on average"
    for name, value in lines.items():
        typer.echo(f"{name:<10}  {value}")


def _parse_stride(
    stride: int | None, video_fps: float | None, window: int | None
) -> "Stride | None":
    from openmoment.errors import ConfigError
    from openmoment.features.file import Stride

    if stride is not None and video_fps is not None:
        return Stride(stride, video_fps, window)
    if stride is None and video_fps is None and window is None:
        return None
    raise ConfigError("Give --stride and --video-fps together; --window needs them both.")


def _known_width(backbone: str) -> int | None:
    """How wide a backbone's features are; None for one that this version does not have."""
    from openmoment.encoders import FEATURE_ENCODERS, load_encoder
    from openmoment.errors import UnknownNameError

    if backbone in FEATURE_ENCODERS:
        return FEATURE_ENCODERS[backbone].dim_in  # known without weights  # pyright: ignore[reportAttributeAccessIssue]
    try:
        return load_encoder(backbone).dim_in
    except UnknownNameError:
        return None
