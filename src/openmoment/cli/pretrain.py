"""openmoment pretrain: weights to begin with, from clips that show one class each."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from openmoment.cli.options.datasets import list_names
from openmoment.cli.options.methods import Backbone, Preset
from openmoment.cli.options.training import (
    CheckpointOut,
    Resume,
    TensorBoard,
    TrainedMethod,
    TrainingDevice,
    TrainingSettings,
)
from openmoment.cli.text.console import say, verb
from openmoment.cli.text.training import say_trained, watched


@verb
def pretrain_verb(
    method: TrainedMethod,
    out: CheckpointOut,
    given: TrainingSettings = None,
    clips: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="A folder of videos for each class, of its name."),
    ] = None,
    features: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The same with feature files.")
    ] = None,
    unseen: Annotated[
        str | None,
        typer.Option(metavar="LIST", help="Classes to leave out, with commas between them."),
    ] = None,
    backbone: Backbone = "auto",
    preset: Preset = None,
    device: TrainingDevice = "cpu",
    resume: Resume = False,
    tensorboard: TensorBoard = False,
) -> None:
    """Train METHOD to tell which class a clip shows, into a checkpoint to begin with.

    openmoment pretrain unloc --clips kinetics/train --out DIR

    openmoment train unloc ... --init DIR

    Videos are encoded once, into the cache; with tune_image=true they are decoded in each epoch.
    """
    from openmoment.config import parse_assignments
    from openmoment.encoders import load_encoder
    from openmoment.extras import require
    from openmoment.features.cache import Cache
    from openmoment.training.pretrain import is_done, plan_clips, pretrain
    from openmoment.training.processes import start_processes
    from openmoment.training.run import prepare_folder

    require("tomli_w", extra="train")
    plan = plan_clips(
        method,
        load_encoder(backbone),
        videos=clips,
        features=features,
        left_out=list_names(unseen),
        preset=preset,
        given=parse_assignments(given or []),
        cache=Cache(),
    )
    processes = start_processes(device, plan.config.precision)
    if tensorboard:
        require("torch.utils.tensorboard", extra="tensorboard")
    prepare_folder(out, resume=resume)
    if is_done(plan, out):
        say(f"{method}: finished already.")
        return
    is_first = processes.is_main_process
    with watched(method, plan.config.epochs, shown=is_first) as watch:
        card = pretrain(
            plan,
            out,
            processes=processes,
            tensorboard=tensorboard,
            advance=watch.advance,
            hear=watch.hear,
        )
    if is_first:
        say_trained(method, card, out)
        typer.echo(shlex.join(["openmoment", "train", method, "--init", str(out)]) + " ...")
