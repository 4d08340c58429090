"""What the verbs that train say: every step, what a run came to, and the command that is next."""

import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from openmoment.cli.text.console import Advance, progress_bar, say
from openmoment.types import clock

if TYPE_CHECKING:
    from openmoment.checkpoints.card import TrainingCard
    from openmoment.experiments.training import TrainingRun, Watch
    from openmoment.training.loop import Heard


def follow(run: "TrainingRun") -> None:
    """Train the splits of a run, and say what becomes of each."""
    is_first = run.processes.is_main_process
    watch = partial(watched, num_epochs=run.plan.config.epochs, shown=is_first)
    for trained in run.each(watch, tell=say if is_first else None):
        if trained.card is None:
            say(f"{trained.label}: finished already.")
        elif is_first:
            say_trained(trained.label, trained.card, trained.folder)


@contextmanager
def watched(label: str, num_epochs: int, *, shown: bool) -> "Iterator[Watch]":
    """A bar that shows every step, or, where there is none, a line after each epoch."""
    from openmoment.experiments.training import Watch

    with progress_bar(label, shown=shown) as advance:
        yield Watch(advance, _listener(label, num_epochs, advance))


def say_trained(label: str, card: "TrainingCard", folder: Path) -> None:
    """How long it took, and where the checkpoint is."""
    say(f"{label}: {card.steps} steps in {clock(card.seconds)}. {folder} is a checkpoint.")


def show_command(verb: str, options: Mapping[str, object]) -> None:
    """The command that is next, on stdout."""
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    typer.echo(shlex.join(["openmoment", verb, *words]))


def _listener(label: str, num_epochs: int, advance: Advance | None) -> "Callable[[Heard], None]":
    def hear(heard: "Heard") -> None:
        terms = ", ".join(f"{name} {value:.3f}" for name, value in heard.loss.items())
        loss = f"loss {sum(heard.loss.values()):.3f} ({terms})"
        told = f"{label}: epoch {heard.epoch}/{num_epochs}, {loss}"
        if advance:
            advance(heard.step, heard.num_steps, told)
        elif heard.ends_epoch:
            say(f"{told}, {clock(heard.seconds_left)} left")

    return hear
