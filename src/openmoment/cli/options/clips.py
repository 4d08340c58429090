"""Clips of moments, for the verbs that cut them."""

from pathlib import Path
from typing import Annotated

import typer

from openmoment.cli.text.console import say
from openmoment.types import Detections

ExactCut = Annotated[
    bool, typer.Option("--exact", help="Cut clips to the frame, by encoding them again.")
]


def cut_clips(path: Path, found: Detections, folder: Path, *, exact: bool) -> None:
    """One video file per moment: ``<video>-<start>s-<query>.mp4``."""
    from openmoment.video import cut

    folder.mkdir(parents=True, exist_ok=True)
    for start_s, end_s, name, _ in found.by_time():
        tidy = "".join(c if c.isalnum() else "-" for c in name)[:40].strip("-")
        suffix = ".mp4" if exact else path.suffix
        clip = folder / f"{path.stem}-{start_s:08.2f}s-{tidy}{suffix}"
        cut(path, (start_s, end_s), clip, exact=exact)
    if len(found):
        say(f"{len(found)} clips of {path.name} are in {folder}.")
