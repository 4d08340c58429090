"""openmoment train: a method with weights, on the classes or the sentences of a dataset."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from openmoment.cli.text.console import (
    Advance,
    AllowMissing,
    Backbone,
    DatasetName,
    Preset,
    PriorsPath,
    Root,
    UnseenNames,
    list_names,
    progress_bar,
    say,
    verb,
)
from openmoment.types import clock

if TYPE_CHECKING:
    from openmoment.training.loop import Heard


TrainedMethod = Annotated[str, typer.Argument(metavar="METHOD", help="openmoment models.")]
CheckpointOut = Annotated[Path, typer.Option(metavar="DIR", help="Where the checkpoint goes.")]
TrainingSettings = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[KEY=VALUE]...",
        help="Settings of the method and of training, over the preset's.",
        show_default=False,
    ),
]
TrainingDevice = Annotated[
    str, typer.Option(metavar="NAME", help="Where it is trained: cpu, cuda, cuda:1, mps.")
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on where a run into --out was stopped.")]
TensorBoard = Annotated[bool, typer.Option("--tensorboard", help="Log for TensorBoard too.")]


@verb
def train_verb(
    method: TrainedMethod,
    dataset: DatasetName,
    root: Root,
    out: CheckpointOut,
    given: TrainingSettings = None,
    features: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Feature files of its videos.")
    ] = None,
    videos: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Its videos, for a method that learns from frames."),
    ] = None,
    setting: Annotated[
        str, typer.Option(metavar="NAME", help="75-25 or 50-50: seen classes; or all classes.")
    ] = "all",
    split: Annotated[
        str | None,
        typer.Option(metavar="0..9|all", help="Which of the setting's ten class splits."),
    ] = None,
    unseen: UnseenNames = None,
    backbone: Backbone = "auto",
    preset: Preset = None,
    exclude: Annotated[
        str, typer.Option(metavar="LIST", help="A named list of videos to leave out.")
    ] = "default",
    init: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="A checkpoint to begin with: openmoment pretrain."),
    ] = None,
    priors: PriorsPath = None,
    device: TrainingDevice = "cpu",
    resume: Resume = False,
    tensorboard: TensorBoard = False,
    allow_missing: AllowMissing = False,
) -> None:
    """Train METHOD on the seen classes, or the sentences, of a dataset, into a checkpoint.

    openmoment train contrans --dataset thumos14 --root DIR --features DIR --setting 75-25
    --split 0 --out DIR lr=1e-4

    openmoment train unloc --dataset charades-sta --root DIR --features DIR --out DIR

    Without --preset the settings are the recommended ones for the dataset. --split all trains the
    ten one after the other. Several processes: torchrun --nproc-per-node 2 -m openmoment train …
    """
    from openmoment.checkpoints.card import split_folder
    from openmoment.config import parse_assignments
    from openmoment.datasets import load_either
    from openmoment.datasets.base import RetrievalDataset
    from openmoment.encoders import load_encoder
    from openmoment.extras import require
    from openmoment.features.cache import Cache
    from openmoment.training.processes import start_processes
    from openmoment.training.run import (
        class_splits,
        is_done,
        make_plan,
        prepare_folder,
        train_split,
    )

    require("tomli_w", extra="train")
    data = load_either(dataset, root, exclude=exclude)
    splits = class_splits(data, setting, split, list_names(unseen))
    encoder = load_encoder(backbone)
    plan = make_plan(
        method,
        data,
        features,
        encoder,
        videos=videos,
        preset=preset,
        given=parse_assignments(given or []),
        cache=Cache(),
        allow_missing=allow_missing,
        init=init,
        priors=priors,
    )
    processes = start_processes(device, plan.config.precision)
    if tensorboard:
        require("torch.utils.tensorboard", extra="tensorboard")
    prepare_folder(out, resume=resume)
    for one in splits:
        folder = out if len(splits) == 1 else split_folder(out, one.name)
        label = method if len(splits) == 1 else f"{method}, split {one.name}"
        if is_done(plan, one, folder):
            say(f"{label}: finished already.")
            continue
        folder.mkdir(exist_ok=True)
        with progress_bar(label, shown=processes.is_main_process) as advance:
            card = train_split(
                plan,
                one,
                folder,
                processes=processes,
                tensorboard=tensorboard,
                advance=advance,
                hear=listener(label, plan.config.epochs, advance),
                tell=say if processes.is_main_process else None,
            )
        if processes.is_main_process:
            say(f"{label}: {card.steps} steps in {clock(card.seconds)}. {folder} is a checkpoint.")
    if processes.is_main_process:
        named = encoder.name if backbone == "auto" else backbone
        options = {"checkpoint": out, "dataset": dataset, "root": root}
        shown = {"videos": videos} if videos else {"features": features}
        options |= shown | {"backbone": named} | ({"priors": priors} if priors else {})
        if not isinstance(data, RetrievalDataset):
            options["exclude"] = exclude
            options |= {"unseen": unseen} if unseen else {"setting": setting}
            options |= {"splits": split} if split else {}
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        typer.echo(shlex.join(["openmoment", "evaluate", *words]))


def listener(label: str, num_epochs: int, advance: Advance | None) -> "Callable[[Heard], None]":
    """Shows every step in the bar, or, where there is none, says a line after each epoch."""

    def hear(heard: "Heard") -> None:
        terms = ", ".join(f"{name} {value:.3f}" for name, value in heard.loss.items())
        loss = f"loss {sum(heard.loss.values()):.3f} ({terms})"
        told = f"{label}: epoch {heard.epoch}/{num_epochs}, {loss}"
        if advance:
            advance(heard.step, heard.num_steps, told)
        elif heard.ends_epoch:
            say(f"{told}, {clock(heard.seconds_left)} left")

    return hear
