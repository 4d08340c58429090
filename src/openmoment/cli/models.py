"""openmoment models: the backbones and methods, and what is ready on this machine."""

from typing import Annotated

import typer

from openmoment.cli.options.outputs import Json
from openmoment.cli.text.console import print_json, say, verb
from openmoment.cli.text.ready import list_backbones, list_methods, list_video_models
from openmoment.errors import ConfigError


@verb
def models_verb(
    pull: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[pull NAME]", help="Download a backbone's weights.", show_default=False
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """List backbones and methods: what each is, what it needs, whether it is ready here.

    Backbones for features alone read no words: openmoment features extract --backbone NAME.

    openmoment models pull NAME downloads the weights of a backbone, or of MODEL@TAG, into the hub
    cache: nothing else ever downloads. What is there stays, and what arrives is checked.
    """
    if pull:
        if len(pull) != 2 or pull[0] != "pull":
            raise ConfigError(f"Expected nothing, or 'pull NAME', got {' '.join(pull)!r}.")
        pull_weights(pull[1])
        return
    backbones, video_models, methods = list_backbones(), list_video_models(), list_methods()
    if as_json:
        print_json({"backbones": backbones, "video_models": video_models, "methods": methods})
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    tables = {"backbone": backbones, "for features alone": video_models, "method": methods}
    for number, (title, rows) in enumerate(tables.items()):
        if number:
            typer.echo()
        table = Table(box=None, pad_edge=False, padding=(0, 3, 1, 0))
        for column in (title, "what it is", "ready"):
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*(Text(cell or "yes") for cell in row.values()))
        Console(highlight=False).print(table)


def pull_weights(name: str) -> None:
    """Download the weights of a preset or of an open_clip tag, and say where they are."""
    from openmoment.encoders import ENCODERS, FEATURE_ENCODERS, split_path
    from openmoment.encoders.two_tower.open_clip import OpenClip
    from openmoment.encoders.two_tower.open_clip_names import parse_spec, repo_of
    from openmoment.encoders.weights.hub import pull

    if split_path(name)[0] in FEATURE_ENCODERS:
        raise ConfigError(f"The weights of {name} are torchvision's, and it downloads them.")
    weights = parse_spec(name)
    if weights is None:
        encoder = ENCODERS[name]
        if not issubclass(encoder, OpenClip):
            raise ConfigError(f"{name} needs no download: its weights come with the package.")
        weights = encoder.weights
    if weights.path:
        raise ConfigError(f"{name} is on this machine already: {weights.path}.")
    say(f"{name}: {pull(repo_of(weights))}")
