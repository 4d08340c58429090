"""Methods and backbones, as options name them."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from openmoment.pipeline.answering import Pipeline
    from openmoment.priors import Priors

Backbone = Annotated[
    str, typer.Option(metavar="NAME", help="What encodes video and words: openmoment models.")
]
Device = Annotated[
    str, typer.Option(metavar="NAME", help="Where the backbone runs: cpu, cuda, cuda:1, mps.")
]
Precision = Annotated[
    str, typer.Option(metavar="KIND", help="Of the backbone's numbers: fp32, bf16, fp16.")
]
FinderName = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="What finds the moments: openmoment models.",
        show_default="similarity, or the checkpoint's",
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="A setting of the method; repeatable."),
]
Preset = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Settings of the method by name: thumos14-paper …"),
]
CheckpointPath = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="A trained method: what openmoment train left."),
]
CalibrationPath = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Decide as people marked it: what openmoment calibrate wrote."
    ),
]
PriorsPath = Annotated[
    Path | None,
    typer.Option(
        "--priors",
        metavar="DIR",
        help="Descriptions and pictures of the queries: openmoment priors.",
    ),
]


@dataclass(frozen=True)
class NamedMethod:
    """A method and its backbone as the options name them."""

    method: str | None
    preset: str | None
    assignments: list[str]
    """``NAME=VALUE`` each, over the preset's."""
    backbone: str
    device: str
    precision: str
    priors: Path | None = None
    """A folder of them, for one that is evaluated."""

    def load(
        self,
        checkpoint: Path | None,
        *,
        fps: float | None = None,
        use_cache: bool = True,
        calibration: Path | None = None,
    ) -> "Pipeline":
        """To find moments with; of the checkpoint, where the method is trained."""
        from openmoment.calibration import read_calibration
        from openmoment.methods import DEFAULT
        from openmoment.pipeline import load_pipeline

        return load_pipeline(
            self.backbone,
            self.method,
            checkpoint=checkpoint,
            settings=self._settings(self.method or DEFAULT),
            fps=fps,
            use_cache=use_cache,
            device=self.device,
            precision=self.precision,
            calibration=read_calibration(calibration) if calibration else None,
        )

    def load_ranking(self, checkpoint: Path | None) -> "Pipeline":
        """To be evaluated, ranking all that it proposes; of the checkpoint likewise."""
        from openmoment.checkpoints.card import read_card
        from openmoment.methods import METHODS
        from openmoment.pipeline import load_pipeline

        method = read_card(checkpoint).method if checkpoint else self.method
        assert method
        given = self._settings(method)
        return load_pipeline(
            self.backbone,
            self.method,
            checkpoint=checkpoint,
            settings={**METHODS[method].RANKING, **given},
            device=self.device,
            precision=self.precision,
            priors=self._known,
            is_judged=False,
        )

    @cached_property
    def _known(self) -> "Priors | None":
        """What the folder of priors holds, read once for all splits."""
        from openmoment.priors import read_priors

        return read_priors(self.priors) if self.priors else None

    def _settings(self, method: str) -> dict[str, object]:
        """A preset's, and over them those that were given one by one."""
        from openmoment.config import parse_assignments
        from openmoment.methods import preset_settings

        settings = preset_settings(method, self.preset) if self.preset else {}
        return {**settings, **parse_assignments(self.assignments)}
