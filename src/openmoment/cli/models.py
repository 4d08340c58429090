"""openmoment models: the backbones and methods, what is ready on this machine, and more of them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from openmoment.cli.options.methods import Device, Precision
from openmoment.cli.options.outputs import Json
from openmoment.cli.text.checks import describe_backbone_check
from openmoment.cli.text.console import print_json, progress_bar, say, verb
from openmoment.cli.text.ready import (
    PULL,
    advise,
    list_backbones,
    list_methods,
    list_video_models,
)
from openmoment.errors import ConfigError

if TYPE_CHECKING:
    from openmoment.encoders.two_tower.open_clip_names import Weights


class Verbs(TyperGroup):
    """Verbs below a verb, which sees the context that its annotation promises."""

    context_class = typer.Context


app = typer.Typer(cls=Verbs, invoke_without_command=True)


@app.callback()
@verb
def models_verb(context: typer.Context, as_json: Json = False) -> None:
    """List backbones and methods: what each is, what it needs, whether it is ready here.

    The best backbone comes first, and the last line says which to take. Frames a second are this
    machine's, once openmoment models check has measured them. Backbones for features alone read no
    words: openmoment features extract --backbone NAME.
    """
    if context.invoked_subcommand:
        return
    backbones, video_models, methods = list_backbones(), list_video_models(), list_methods()
    take = advise(backbones)
    if as_json:
        tables = {"backbones": backbones, "video_models": video_models, "methods": methods}
        print_json(tables | {"take": take})
        return
    _print_table(
        ("backbone", "what it is", "MB", "frames/s", "licence", "ready"),
        [(*_facts(row), _readiness(row)) for row in backbones],
    )
    for title, rows in (("for features alone", video_models), ("method", methods)):
        typer.echo()
        cells = [(row["name"], row["summary"], row["missing"] or "yes") for row in rows]
        _print_table((title, "what it is", "ready"), cells)
    typer.echo(f"\nTake: {take}")


def _facts(row: dict[str, Any]) -> tuple[str, ...]:
    speed = row["frames_per_s"]
    return (
        row["name"],
        row["summary"],
        str(row["megabytes"] or "-"),
        "-" if speed is None else f"{speed:.1f}",
        row["licence"],
    )


def _readiness(row: dict[str, Any]) -> str:
    """Short, as what to run is told below the tables."""
    missing = row["missing"]
    if missing is None:
        return "yes"
    return "pull it" if PULL in missing else missing.partition("Run: ")[2] or missing


def _print_table(columns: "tuple[str, ...]", rows: "list[tuple[str | None, ...]]") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 1, 0))
    for column in columns:
        is_number = column in ("MB", "frames/s")
        is_whole = is_number or column in ("backbone", "licence")
        table.add_column(
            column, overflow="fold", justify="right" if is_number else "left", no_wrap=is_whole
        )
    for row in rows:
        table.add_row(*(Text(cell or "") for cell in row))
    Console(highlight=False).print(table)


@app.command("pull")
@verb
def pull_verb(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A backbone, or MODEL@TAG of open_clip.")
    ],
) -> None:
    """Download the weights of a backbone into the hub cache: nothing else ever downloads.

    What was interrupted goes on where it stopped, and what arrives is checked by its SHA-256.
    """
    from openmoment.encoders import ENCODERS
    from openmoment.encoders.two_tower.open_clip_names import repo_of
    from openmoment.encoders.weights.hub import pull

    weights, about = _weights_of(name)
    repo = repo_of(weights)
    say(f"{name}: {about}from https://huggingface.co/{repo}. Ctrl-C stops it, and it resumes.")
    try:
        say(f"{name}: {pull(repo)}")
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt(
            "stopped. What has arrived is kept: pull again to go on."
        ) from error
    lacks = ENCODERS[name].missing() if name in ENCODERS else None
    say(lacks or f"Does it work here? openmoment models check {name}")


def _weights_of(name: str) -> "tuple[Weights, str]":
    """What is to be downloaded, and what is known of it. Raises ConfigError, UnknownNameError."""
    from openmoment.encoders import ENCODERS, FEATURE_ENCODERS, split_path
    from openmoment.encoders.two_tower.open_clip import OpenClip
    from openmoment.encoders.two_tower.open_clip_names import parse_spec

    if split_path(name)[0] in FEATURE_ENCODERS:
        raise ConfigError(f"The weights of {name} are torchvision's, and it downloads them.")
    weights = parse_spec(name)
    if weights is None:
        encoder = ENCODERS[name]
        if not issubclass(encoder, OpenClip):
            raise ConfigError(f"{name} needs no download: its weights come with the package.")
        facts = encoder.facts
        about = f"about {facts.megabytes} MB, licence {facts.licence}, " if facts else ""
        return encoder.weights, about
    if weights.path:
        raise ConfigError(f"{name} is on this machine already: {weights.path}.")
    return weights, ""


@app.command("check")
@verb
def check_verb(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A backbone, in any of its forms.")],
    video: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Look at the first 20 s of a video of yours, too."),
    ] = None,
    device: Device = "cpu",
    precision: Precision = "fp32",
    as_json: Json = False,
) -> None:
    """Find out whether a backbone works here. Exits with 2 when it does not.

    The demo's video, made of photographs, is encoded and timed. Its scenes have to be named by
    their own names, what it shows has to be told from what it does not, at the right times: a
    model whose pictures and words are not of one kind is refused. It is no measure of accuracy.
    The speed is kept for openmoment models. With --video the same things, most of them absent, are
    asked of your video.
    """
    from openmoment.experiments.backbone_check import check_backbone, require_works
    from openmoment.pipeline import load_pipeline

    pipeline = load_pipeline(name, device=device, precision=precision)
    checked = check_backbone(pipeline, video, bar=progress_bar)
    if as_json:
        print_json(checked.to_dict())
    else:
        for line in describe_backbone_check(checked):
            typer.echo(line)
    require_works(checked)
