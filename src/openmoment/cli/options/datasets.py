"""Datasets, their files, and which of their videos and classes: as options name them."""

from pathlib import Path
from typing import Annotated

import typer

from openmoment.errors import ConfigError

EVERY_SPLIT = "all"
_LEFT_OUT = "A named list of videos to leave out."
_FEATURES = "Feature files of its videos."

DatasetName = Annotated[str, typer.Option(metavar="NAME", help="openmoment datasets list.")]
Root = Annotated[Path, typer.Option(metavar="DIR", help="Where its annotations are.")]
FeatureFiles = Annotated[Path, typer.Option(metavar="DIR", help=_FEATURES)]
MaybeFeatureFiles = Annotated[Path | None, typer.Option(metavar="DIR", help=_FEATURES)]
Subset = Annotated[
    str | None, typer.Option(metavar="NAME", help="By default the one that papers test on.")
]
Exclusion = Annotated[str, typer.Option(metavar="LIST", help=_LEFT_OUT)]
MaybeExclusion = Annotated[
    str | None,
    typer.Option(
        metavar="LIST", help=_LEFT_OUT, show_default="none for a file, default for a method"
    ),
]
Splits = Annotated[str, typer.Option(metavar="LIST", help="Which of the ten, such as 0,1,2.")]
UnseenNames = Annotated[
    str | None,
    typer.Option(
        metavar="LIST", help="Your own split: the unseen classes, with commas between them."
    ),
]
AllowMissing = Annotated[
    bool, typer.Option("--allow-missing", help="Leave out videos without features.")
]


def list_names(text: str | None) -> tuple[str, ...]:
    """The names between the commas of an option."""
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())


def list_numbers(splits: str) -> tuple[int, ...]:
    """The numbers between the commas of an option; none for all. Raises ConfigError."""
    if splits == EVERY_SPLIT:
        return ()
    try:
        return tuple(sorted({int(part) for part in splits.split(",")}))
    except ValueError:
        raise ConfigError(
            f"--splits: expected numbers such as 0,1,2 or all, got {splits!r}."
        ) from None
