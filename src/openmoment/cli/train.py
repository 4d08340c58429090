"""openmoment train: a method with weights, on the classes or the sentences of a dataset."""

from pathlib import Path
from typing import Annotated

import typer

from openmoment.cli.options.datasets import (
    AllowMissing,
    DatasetName,
    Exclusion,
    MaybeFeatureFiles,
    Root,
    UnseenNames,
    list_names,
)
from openmoment.cli.options.methods import Backbone, Preset, PriorsPath
from openmoment.cli.options.training import (
    CheckpointOut,
    NamedTraining,
    Resume,
    TensorBoard,
    TrainedMethod,
    TrainingDevice,
    TrainingSettings,
)
from openmoment.cli.text.console import verb
from openmoment.cli.text.training import follow, show_command


@verb
def train_verb(
    method: TrainedMethod,
    dataset: DatasetName,
    root: Root,
    out: CheckpointOut,
    given: TrainingSettings = None,
    features: MaybeFeatureFiles = None,
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
    exclude: Exclusion = "default",
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
    from openmoment.datasets import load_either
    from openmoment.datasets.base import RetrievalDataset
    from openmoment.experiments.training import start_training
    from openmoment.extras import require
    from openmoment.training.run import class_splits

    require("tomli_w", extra="train")
    data = load_either(dataset, root, exclude=exclude)
    splits = class_splits(data, setting, split, list_names(unseen))
    named = NamedTraining(
        method, backbone, preset, given or [], features, videos, priors, init, allow_missing
    )
    plan = named.plan(data)
    run = start_training(plan, splits, out, device=device, resume=resume, tensorboard=tensorboard)
    follow(run)
    if run.processes.is_main_process:
        options = {"checkpoint": out, "dataset": dataset, "root": root}
        options |= named.to_evaluate(plan.encoder.name)
        if not isinstance(data, RetrievalDataset):
            options |= _classes_to_evaluate(exclude, setting, split, unseen)
        show_command("evaluate", options)


def _classes_to_evaluate(
    exclude: str, setting: str, split: str | None, unseen: str | None
) -> dict[str, object]:
    """The options of the verb that scores what was trained, on the classes that it never met."""
    named = {"unseen": unseen} if unseen else {"setting": setting}
    return {"exclude": exclude, **named, **({"splits": split} if split else {})}
