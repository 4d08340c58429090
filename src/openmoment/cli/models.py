"""openmoment models: the backbones and methods, and what is ready on this machine."""

import inspect
from typing import Annotated

import typer

from openmoment.cli.console import Json, print_json, say, verb

app = typer.Typer(invoke_without_command=True)


@app.callback()
@verb
def models_verb(context: typer.Context, as_json: Json = False) -> None:
    """List backbones and methods: what each is, what it needs, whether it is ready here."""
    if context.invoked_subcommand:
        return
    backbones, methods = list_backbones(), list_methods()
    if as_json:
        print_json({"backbones": backbones, "methods": methods})
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    for title, rows in (("backbone", backbones), ("method", methods)):
        table = Table(box=None, pad_edge=False, padding=(0, 3, 1, 0))
        for column in (title, "what it is", "ready"):
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*(Text(cell or "yes") for cell in row.values()))
        Console(highlight=False).print(table)


@app.command("pull")
@verb
def pull_verb(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A backbone, or MODEL@TAG.")],
) -> None:
    """Download a backbone's weights into the hub cache: nothing else here ever downloads.

    What is there is not downloaded again; what was interrupted goes on; what arrives is checked.
    """
    from openmoment.encoders import ENCODERS
    from openmoment.encoders.hub import pull
    from openmoment.encoders.open_clip import OpenClip, parse_spec, repo_of
    from openmoment.errors import ConfigError

    weights = parse_spec(name)
    if weights is None:
        encoder = ENCODERS[name]
        if not issubclass(encoder, OpenClip):
            raise ConfigError(f"{name} needs no download: its weights come with the package.")
        weights = encoder.weights
    if weights.path:
        raise ConfigError(f"{name} is on this machine already: {weights.path}.")
    say(f"{name}: {pull(repo_of(weights))}")


def list_backbones() -> list[dict[str, str | None]]:
    """Name, summary, and what is missing (None when it is ready)."""
    from openmoment.encoders import ENCODERS

    rows: list[dict[str, str | None]] = []
    for name, encoder in ENCODERS.items():
        rows.append({"name": name, "summary": first_line(encoder), "missing": encoder.missing()})
    return rows


def list_methods() -> list[dict[str, str | None]]:
    """As for backbones. None of these methods needs training, so all are ready."""
    from openmoment.methods import METHODS

    return [
        {"name": name, "summary": first_line(method), "missing": None}
        for name, method in METHODS.items()
    ]


def first_line(thing: object) -> str:
    """What a class says of itself."""
    return (inspect.getdoc(thing) or "").partition("\n")[0]
