"""What is trained, and how, as options name it."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from openmoment.datasets.base import Dataset, RetrievalDataset
    from openmoment.training.run import Plan

TrainedMethod = Annotated[str, typer.Argument(metavar="METHOD", help="openmoment models.")]
CheckpointOut = Annotated[Path, typer.Option(metavar="DIR", help="Where the checkpoint goes.")]
TrainingSettings = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[KEY=VALUE]...",
        help="Settings of the method and of training, over the preset's.",
        show_default=False,
    ),
]
TrainingDevice = Annotated[
    str, typer.Option(metavar="NAME", help="Where it is trained: cpu, cuda, cuda:1, mps.")
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on where a run into --out was stopped.")]
TensorBoard = Annotated[bool, typer.Option("--tensorboard", help="Log for TensorBoard too.")]


@dataclass(frozen=True)
class NamedTraining:
    """What is trained, on what, as the options name it."""

    method: str
    backbone: str
    preset: str | None
    assignments: list[str]
    """``KEY=VALUE`` each, over the preset's."""
    features: Path | None = None
    videos: Path | None = None
    priors: Path | None = None
    init: Path | None = None
    allow_missing: bool = False

    def plan(self, data: "Dataset | RetrievalDataset") -> "Plan":
        """For a dataset. Raises OpenMomentError."""
        from openmoment.config import parse_assignments
        from openmoment.encoders import load_encoder
        from openmoment.features.cache import Cache
        from openmoment.training.run import make_plan

        return make_plan(
            self.method,
            data,
            self.features,
            load_encoder(self.backbone),
            videos=self.videos,
            preset=self.preset,
            given=parse_assignments(self.assignments),
            cache=Cache(),
            allow_missing=self.allow_missing,
            init=self.init,
            priors=self.priors,
        )

    def to_evaluate(self, encoder: str) -> dict[str, object]:
        """The options of the verb that scores what was trained with that encoder."""
        options: dict[str, object] = {"features": self.features}
        if self.videos:
            options = {"videos": self.videos}
        options["backbone"] = encoder if self.backbone == "auto" else self.backbone
        return options | ({"priors": self.priors} if self.priors else {})
