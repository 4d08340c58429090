"""A method trained on splits of a dataset, one after the other, each into a checkpoint."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from openmoment.checkpoints.card import TrainingCard, split_folder
from openmoment.experiments.progress import Advance, Tell
from openmoment.extras import require
from openmoment.training.loop import Hear
from openmoment.training.processes import Processes, start_processes
from openmoment.training.run import ClassSplit, Plan, is_done, prepare_folder, train_split


class Watch(NamedTuple):
    """Who hears how a training goes on: videos that are read, and steps."""

    advance: Advance | None = None
    hear: Hear | None = None


OpenWatch = Callable[[str], AbstractContextManager[Watch]]
"""Opens a watch of that label for as long as the work takes."""


def unwatched(label: str) -> AbstractContextManager[Watch]:
    """Nobody hears of it."""
    return nullcontext(Watch())


class Trained(NamedTuple):
    """One split that is trained: what it is called, and where its checkpoint is."""

    label: str
    folder: Path
    card: TrainingCard | None
    """None where it was finished before."""


@dataclass(frozen=True)
class TrainingRun:
    """Splits that are trained by one plan, into folders below ``out``, or, if alone, into it."""

    plan: Plan
    splits: Sequence[ClassSplit]
    out: Path
    processes: Processes
    tensorboard: bool = False

    def each(self, watch: OpenWatch = unwatched, *, tell: Tell | None = None) -> Iterator[Trained]:
        """Train one split after the other; what is finished is kept. Raises OpenMomentError.

        ``tell`` hears what a split begins with.
        """
        is_alone = len(self.splits) == 1
        for split in self.splits:
            folder = self.out if is_alone else split_folder(self.out, split.name)
            label = self.plan.method if is_alone else f"{self.plan.method}, split {split.name}"
            if is_done(self.plan, split, folder):
                yield Trained(label, folder, None)
                continue
            folder.mkdir(exist_ok=True)
            with watch(label) as watched:
                card = train_split(
                    self.plan,
                    split,
                    folder,
                    processes=self.processes,
                    tensorboard=self.tensorboard,
                    advance=watched.advance,
                    hear=watched.hear,
                    tell=tell,
                )
            yield Trained(label, folder, card)


def start_training(
    plan: Plan,
    splits: Sequence[ClassSplit],
    out: Path,
    *,
    device: str = "cpu",
    resume: bool = False,
    tensorboard: bool = False,
) -> TrainingRun:
    """Check that a plan can be trained into a folder, and make it. Raises OpenMomentError."""
    processes = start_processes(device, plan.config.precision)
    if tensorboard:
        require("torch.utils.tensorboard", extra="tensorboard")
    prepare_folder(out, resume=resume)
    return TrainingRun(plan, splits, out, processes, tensorboard)
