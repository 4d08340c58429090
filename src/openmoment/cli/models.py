"""openmoment models: the backbones and methods, and what is ready on this machine."""

import inspect

from openmoment.cli.console import Json, print_json, verb


@verb
def models_verb(as_json: Json = False) -> None:
    """List backbones and methods: what each is, what it needs, whether it is ready here."""
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
