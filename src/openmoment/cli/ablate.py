"""openmoment ablate: a paper's ablation table, run, and printed beside the paper's."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from openmoment.cli.text.console import (
    EVERY_SPLIT,
    AllowMissing,
    Backbone,
    DatasetName,
    Device,
    FeatureFiles,
    Json,
    Preset,
    PriorsPath,
    Root,
    list_numbers,
    print_json,
    progress_bar,
    say,
    verb,
)

if TYPE_CHECKING:
    from openmoment.training.loop import Heard

TABLES = "contrans 4 5 6 7 8; stale 3 4 5 6 7 8; unloc 1 2 3 4; grizal 1 4a 4b 4c 4d 4e 4f 5 6"
_REGIONS = ("R@IoU0.5", "mIoU")
"""What GRIZAL reports, with the label given."""


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
    splits: Annotated[
        str, typer.Option(metavar="LIST", help="Which of the ten, such as 0,1,2.")
    ] = EVERY_SPLIT,
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
    from openmoment.config import parse_assignments
    from openmoment.datasets import load_dataset
    from openmoment.encoders import load_encoder
    from openmoment.errors import ConfigError
    from openmoment.evaluation.protocol import ALL_CLASSES, Protocol
    from openmoment.evaluation.result import AVERAGE
    from openmoment.evaluation.tables import percent, printed_metrics, render
    from openmoment.experiments.ablation import Ablation, ablation_rows, published_row
    from openmoment.features.cache import Cache
    from openmoment.training.processes import start_processes
    from openmoment.training.run import make_plan

    rows = ablation_rows(method, table)
    if setting == ALL_CLASSES:
        raise ConfigError("--setting: an ablation needs unseen classes: 75-25 or 50-50.")
    data = load_dataset(dataset, root)
    protocol = Protocol(data, setting, list_numbers(splits))
    plan = make_plan(
        method,
        data,
        features,
        load_encoder(backbone),
        videos=videos,
        preset=preset,
        given=parse_assignments(given or []),
        cache=Cache(),
        allow_missing=allow_missing,
        priors=priors,
    )
    out.mkdir(parents=True, exist_ok=True)
    ablation = Ablation(plan, protocol, out, start_processes(device, plan.config.precision), device)
    records: list[dict[str, Any]] = []
    metrics: list[str] = []
    reports = ("mAP@0.5", AVERAGE)
    quoted: set[str] = set()
    with progress_bar(f"{method}, table {table}") as advance:

        def hear(label: str, heard: "Heard") -> None:
            if advance:
                advance(heard.step, heard.num_steps, label)

        for row, result in ablation.results(rows, hear=hear):
            paper = published_row(method, table, row, dataset)
            if paper:
                quoted.add(f"{paper.dataset}, {paper.setting}")
            if paper and paper.percent.keys() >= set(_REGIONS):
                reports = _REGIONS
            ours = result.mean | result.label_given if result else {}
            metrics = printed_metrics(result) if result else metrics
            records.append(
                {
                    "row": row.row,
                    "ours": ours,
                    "paper_percent": dict(paper.percent) if paper else {},
                    "note": row.other,
                }
            )
            say(f"{row.row}: {percent(ours[AVERAGE]) if result else row.other}")
    if as_json:
        print_json({"method": method, "table": table, "dataset": dataset, "rows": records})
        return
    metrics += [name for name in _REGIONS if reports == _REGIONS]
    header = [f"Table {table}", *metrics, *(f"paper {name}" for name in reports), "note"]
    lines = [
        [
            record["row"],
            *(percent(record["ours"][name]) if record["ours"] else "" for name in metrics),
            *(str(record["paper_percent"].get(name, "")) for name in reports),
            record["note"],
        ]
        for record in records
    ]
    typer.echo(render(header, lines, "text"))
    num = len(protocol.parts)
    typer.echo(f"\nOurs: {dataset}, {setting}, {num} of 10 splits, {plan.encoder.name}.")
    for told in sorted(quoted):
        typer.echo(f"The paper's: {told}, CLIP ViT-B/16.")
