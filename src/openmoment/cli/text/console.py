"""What all verbs share: data on stdout, messages on stderr, one line for an error."""

import functools
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, Protocol, TypeVar, runtime_checkable

import typer

from openmoment.errors import OpenMomentError

P = ParamSpec("P")
R = TypeVar("R")

INPUT_FAULT = 2
INTERRUPTED = 130
_INTERRUPTED = "interrupted. Finished videos are kept; run it again to go on."


def verb(function: Callable[P, R]) -> Callable[P, R]:
    """Turn the user's errors into one line and exit code 2, and Ctrl-C into 130."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except OpenMomentError as error:
            say_fault(one_line(error))
            raise typer.Exit(INPUT_FAULT) from error
        except KeyboardInterrupt as error:
            say_fault(one_line(error) or _INTERRUPTED)
            raise typer.Exit(INTERRUPTED) from error

    return wrapped


def say(message: str) -> None:
    """A message for the person, on stderr."""
    typer.echo(message, err=True)


def say_fault(message: str) -> None:
    """What went wrong, on stderr."""
    say(f"openmoment: {message}")


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
