"""Checkpoints that a command line names, and what has to be said of them."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from openmoment.cli.text.console import say

if TYPE_CHECKING:
    from openmoment.evaluation.protocol import Protocol
    from openmoment.experiments.detection import Checkpoints
    from openmoment.pipeline.answering import Pipeline


def checkpoints_of(
    folder: Path | None, protocol: "Protocol", load: "Callable[[Path | None], Pipeline]"
) -> "Checkpoints | None":
    """Those of ``--checkpoint``; a number over seen and unseen classes is told on stderr."""
    from openmoment.experiments.detection import Checkpoints

    if folder is None:
        return None
    found = Checkpoints(folder, protocol, load)
    if found.mixture:
        say(found.mixture)
    return found
