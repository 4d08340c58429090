"""The command line: one verb per file, each importing what is heavy when it runs."""

import os
from typing import Annotated

import typer

from openmoment.cli import (
    ablate,
    ask,
    bench,
    calibrate,
    compare,
    convert,
    datasets,
    demo,
    doctor,
    evaluate,
    features,
    find,
    models,
    pretrain,
    priors,
    serve,
    stats,
    train,
)
from openmoment.version import __version__

app = typer.Typer(
    name="openmoment",
    help="Find when things happen in video, from words alone.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("find")(find.find_verb)
app.command("ask")(ask.ask_verb)
app.command("stats")(stats.stats_verb)
app.command("agreement")(stats.agreement_verb)
app.command("evaluate")(evaluate.evaluate_verb)
app.command("convert")(convert.convert_verb)
app.command("calibrate")(calibrate.calibrate_verb)
app.command("train")(train.train_verb)
app.command("pretrain")(pretrain.pretrain_verb)
app.command("ablate")(ablate.ablate_verb)
app.command("compare")(compare.compare_verb)
app.command("serve")(serve.serve_verb)
app.command("demo")(demo.demo_verb)
app.command("doctor")(doctor.doctor_verb)
app.add_typer(models.app, name="models")
app.add_typer(bench.app, name="bench")
app.add_typer(features.app, name="features")
app.add_typer(datasets.app, name="datasets")
app.add_typer(priors.app, name="priors")


def _print_version(wanted: bool) -> bool:
    if not wanted:
        return False
    typer.echo(f"openmoment {__version__}")
    raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Find when things happen in video, from words alone."""


def run() -> None:
    """The entry point of the installed command."""
    # before any library reads it: threads that spin take the processor from whoever works
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    app()
