"""Videos to work through, as options name them."""

from pathlib import Path
from typing import Annotated

import typer

VideoFolder = Annotated[Path, typer.Argument(metavar="DIR", help="A folder of videos, or a video.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files of another recipe.")]


def videos_of(folder: Path) -> list[Path]:
    """The video itself, or those below a folder. Raises VideoError."""
    from openmoment.storage.listing import find_videos

    return [folder] if folder.is_file() else find_videos(folder)
