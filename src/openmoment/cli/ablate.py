"""openmoment ablate: a paper's ablation table, run, and printed beside the paper's."""

from pathlib import Path
from typing import Annotated

import typer

from openmoment.cli.options.datasets import (
    EVERY_SPLIT,
    AllowMissing,
    DatasetName,
    FeatureFiles,
    Root,
    Splits,
    list_numbers,
)
from openmoment.cli.options.methods import Backbone, Device, Preset, PriorsPath
from openmoment.cli.options.outputs import Json
from openmoment.cli.options.training import NamedTraining
from openmoment.cli.text.console import print_json, verb

TABLES = "contrans 4 5 6 7 8; stale 3 4 5 6 7 8; unloc 1 2 3 4; grizal 1 4a 4b 4c 4d 4e 4f 5 6"


@verb
def ablate_verb(
    method: Annotated[
        str, typer.Argument(metavar="METHOD", help="contrans, stale, grizal or unloc.")
    ],
    table: Annotated[str, typer.Option(metavar="NUMBER", help=f"Of the method's paper: {TABLES}.")],
    dataset: DatasetName,
    root: Root,
    features: FeatureFiles,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where every row's runs go.")],
    given: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]...",
            help="Settings of the method and of training, for every row.",
            show_default=False,
        ),
    ] = None,
    videos: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Its videos, for rows that learn from frames."),
    ] = None,
    setting: Annotated[
        str, typer.Option(metavar="NAME", help="75-25, as in the papers, or 50-50.")
    ] = "75-25",
    splits: Splits = EVERY_SPLIT,
    backbone: Backbone = "auto",
    preset: Preset = None,
    priors: PriorsPath = None,
    device: Device = "cpu",
    allow_missing: AllowMissing = False,
    as_json: Json = False,
) -> None:
    """Run the rows of a paper's ablation table, and print them beside the paper's.

    openmoment ablate contrans --table 4 --dataset activitynet --root DIR --features DIR --out DIR

    What is finished in --out is kept: the same command goes on.

    Tables of a method may share --out: rows that are trained alike are trained once.
    """
    from openmoment.cli.text.ablation import follow, show
    from openmoment.datasets import load_dataset
    from openmoment.errors import ConfigError
    from openmoment.evaluation.protocol import ALL_CLASSES, Protocol
    from openmoment.experiments.ablation import Ablation, ablation_rows
    from openmoment.training.processes import start_processes

    ablation_rows(method, table)  # before the long work
    if setting == ALL_CLASSES:
        raise ConfigError("--setting: an ablation needs unseen classes: 75-25 or 50-50.")
    data = load_dataset(dataset, root)
    protocol = Protocol(data, setting, list_numbers(splits))
    named = NamedTraining(
        method, backbone, preset, given or [], features, videos, priors, allow_missing=allow_missing
    )
    plan = named.plan(data)
    out.mkdir(parents=True, exist_ok=True)
    ablation = Ablation(plan, protocol, out, start_processes(device, plan.config.precision), device)
    rows = follow(ablation, table)
    if as_json:
        head = {"method": method, "table": table, "dataset": dataset}
        print_json(head | {"rows": [row.to_dict() for row in rows]})
    else:
        num = len(protocol.parts)
        show(table, rows, f"{dataset}, {setting}, {num} of 10 splits, {plan.encoder.name}")
