"""What all verbs share: data on stdout, messages on stderr, one line for an error."""

import functools
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, ParamSpec, Protocol, TypeVar, runtime_checkable

import typer

from openmoment.errors import ConfigError, FormatError, OpenMomentError

P = ParamSpec("P")
R = TypeVar("R")

INPUT_FAULT = 2
INTERRUPTED = 130
EVERY_SPLIT = "all"
_INTERRUPTED = "interrupted. Finished videos are kept; run it again to go on."

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Backbone = Annotated[
    str, typer.Option(metavar="NAME", help="What encodes video and words: openmoment models.")
]

Device = Annotated[
    str, typer.Option(metavar="NAME", help="Where the backbone runs: cpu, cuda, cuda:1, mps.")
]
Precision = Annotated[
    str, typer.Option(metavar="KIND", help="Of the backbone's numbers: fp32, bf16, fp16.")
]

Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="A setting of the method; repeatable."),
]
CaptionPath = Annotated[
    Path | None,
    typer.Option(metavar="PATH", help="Captions: of features caption, or your .json, .csv."),
]
PriorsPath = Annotated[
    Path | None,
    typer.Option(
        "--priors",
        metavar="DIR",
        help="Descriptions and pictures of the queries: openmoment priors.",
    ),
]
CheckpointPath = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="A trained method: what openmoment train left."),
]
CalibrationPath = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Decide as people marked it: what openmoment calibrate wrote."
    ),
]
FinderName = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="What finds the moments: openmoment models.",
        show_default="similarity, or the checkpoint's",
    ),
]
ReportPath = Annotated[
    Path | None, typer.Option(metavar="FILE.html", help="Write a page to look at.")
]
PlotPath = Annotated[Path | None, typer.Option(metavar="FILE.png", help="Draw the timeline.")]
DatasetName = Annotated[str, typer.Option(metavar="NAME", help="openmoment datasets list.")]
Root = Annotated[Path, typer.Option(metavar="DIR", help="Where its annotations are.")]
FeatureFiles = Annotated[Path, typer.Option(metavar="DIR", help="Feature files of its videos.")]
AllowMissing = Annotated[
    bool, typer.Option("--allow-missing", help="Leave out videos without features.")
]
UnseenNames = Annotated[
    str | None,
    typer.Option(
        metavar="LIST", help="Your own split: the unseen classes, with commas between them."
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files of another recipe.")]
Preset = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Settings of the method by name: thumos14-paper …"),
]


def method_settings(method: str, preset: str | None, assignments: list[str]) -> dict[str, object]:
    """A preset's settings, and over them those that were given one by one."""
    from openmoment.config import parse_assignments
    from openmoment.methods import preset_settings

    settings = preset_settings(method, preset) if preset else {}
    return {**settings, **parse_assignments(assignments)}


def check_folders(*paths: Path | None) -> None:
    """Refuse what could not be written, before the long work. Raises FormatError."""
    for path in paths:
        if path and not path.absolute().parent.is_dir():
            raise FormatError(f"{path}: its folder does not exist. Make it first.")


def list_names(text: str | None) -> tuple[str, ...]:
    """The names between the commas of an option."""
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())


def list_numbers(splits: str) -> tuple[int, ...]:
    """The numbers between the commas of an option; none for all. Raises ConfigError."""
    if splits == EVERY_SPLIT:
        return ()
    try:
        return tuple(sorted({int(part) for part in splits.split(",")}))
    except ValueError:
        raise ConfigError(
            f"--splits: expected numbers such as 0,1,2 or all, got {splits!r}."
        ) from None


def verb(function: Callable[P, R]) -> Callable[P, R]:
    """Turn the user's errors into one line and exit code 2, and Ctrl-C into 130."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except OpenMomentError as error:
            say(f"openmoment: {one_line(error)}")
            raise typer.Exit(INPUT_FAULT) from error
        except KeyboardInterrupt as error:
            say(f"openmoment: {one_line(error) or _INTERRUPTED}")
            raise typer.Exit(INTERRUPTED) from error

    return wrapped


def say(message: str) -> None:
    """A message for the person, on stderr."""
    typer.echo(message, err=True)


def one_line(error: BaseException) -> str:
    """The error's message, whatever a file name in it may contain."""
    return " ".join(str(error).split())


def counted(number: int, noun: str) -> str:
    """``1 video``, ``2 videos``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def print_json(value: dict[str, Any]) -> None:
    """One JSON object on stdout."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


@runtime_checkable
class Advance(Protocol):
    """Hears how much is done of how much, and, where that changes, what to call it."""

    def __call__(self, done: float, total: float, label: str | None = None, /) -> None: ...


@contextmanager
def progress_bar(label: str, *, shown: bool = True) -> Iterator[Advance | None]:
    """A bar on a terminal; nothing where stderr is a file, or unless ``shown``."""
    if not (shown and sys.stderr.isatty()):
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(label, total=None)

        def advance(done: float, total: float, label: str | None = None, /) -> None:
            bars.update(task, completed=done, total=total, description=label)

        yield advance
