"""openmoment find: when do these things happen in this video, or in these?"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from openmoment.cli.options.clips import ExactCut, cut_clips
from openmoment.cli.options.methods import (
    Backbone,
    CalibrationPath,
    CheckpointPath,
    Device,
    FinderName,
    NamedMethod,
    Precision,
    Preset,
    PriorsPath,
    Settings,
)
from openmoment.cli.options.outputs import Json, Outputs, PlotPath, ReportPath
from openmoment.cli.options.queries import read_queries
from openmoment.cli.text.console import (
    INPUT_FAULT,
    print_json,
    progress_bar,
    say,
    say_fault,
    verb,
)
from openmoment.cli.text.found import show
from openmoment.encoders import describe_backbone
from openmoment.errors import ConfigError
from openmoment.methods import DEFAULT
from openmoment.pipeline.tasks import TOP
from openmoment.types import Task

if TYPE_CHECKING:
    from openmoment.pipeline.answering import Pipeline


@verb
def find_verb(
    video: Annotated[Path, typer.Argument(help="A video, or a folder of videos.")],
    query: Annotated[
        list[str] | None, typer.Argument(help='What to look for: "pole vault" "a man waves".')
    ] = None,
    queries: Annotated[
        Path | None, typer.Option(metavar="FILE", help="More queries, one a line.")
    ] = None,
    image: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE", help="Moments like this picture, under its file's name; repeatable."
        ),
    ] = None,
    ask_for: Annotated[
        list[str] | None,
        typer.Option(
            "--ask",
            metavar="QUESTION",
            help='A question beyond one label: \'"run-up" then "jump" within 10 s\'; repeatable.',
        ),
    ] = None,
    priors: PriorsPath = None,
    backbone: Backbone = "auto",
    method: FinderName = None,
    checkpoint: CheckpointPath = None,
    task: Annotated[
        Task | None,
        typer.Option(
            help="tal: actions. mr: the moments that each sentence may mean, ranked. "
            "as: one query, or none, at any time.",
            show_default="tal, or the checkpoint's",
        ),
    ] = None,
    top: Annotated[
        int, typer.Option(metavar="K", min=1, help="Moments of each sentence, for --task mr.")
    ] = TOP,
    exclusive: Annotated[
        bool,
        typer.Option("--exclusive", help="At any time at most one of the queries happens."),
    ] = False,
    setting: Settings = None,
    preset: Preset = None,
    calibration: CalibrationPath = None,
    fps: Annotated[
        float | None, typer.Option(help="Snippets per second of video.", show_default="by backbone")
    ] = None,
    device: Device = "cpu",
    precision: Precision = "fp32",
    as_json: Json = False,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write moments: .json .csv .vtt .srt .txt .jsonl .eaf .edl, or see --format.",
        ),
    ] = None,
    format: Annotated[  # noqa: A002
        str | None,
        typer.Option(
            metavar="NAME",
            help="Of --out, where the ending does not tell: "
            "activitynet, boris, label_studio, via, fiftyone.",
        ),
    ] = None,
    report: ReportPath = None,
    plot: PlotPath = None,
    clips: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Cut every moment out as a video.")
    ] = None,
    exact: ExactCut = False,
    save_predictions: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.json", help="Write all candidates, ranked: for openmoment evaluate."
        ),
    ] = None,
    captions: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="Captions: of features caption, or your .json, .csv."),
    ] = None,
    explain: Annotated[
        Path | None,
        typer.Option(metavar="FILE.html", help="Write a page of how t3al came to its answer."),
    ] = None,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Keep nothing, and use nothing that was kept.")
    ] = False,
) -> None:
    """Find when each query happens in VIDEO.

    Prints each moment in order of time, with how sure it is: from 0 to 1. A query is found, or
    unsure (its best guess is shown, marked), or not found, whatever else is asked. A second
    question about the same video takes about a second.

    openmoment find kitchen.mp4 "a person opens the fridge, then pours milk" --task mr

    openmoment find kitchen.mp4 --image fridge.jpg

    openmoment find kitchen.mp4 --ask '"opens the fridge" then "pours milk" within 20 s'
    """
    outputs = Outputs(out, format, report, plot, clips, exact, save_predictions, explain)
    outputs.check(is_folder=video.is_dir())
    if exclusive and (checkpoint or method not in (None, DEFAULT)):
        raise ConfigError(f"--exclusive is for the method {DEFAULT}: leave it out.")
    given = [*(setting or []), *(["exclusive=true"] if exclusive else [])]
    named = NamedMethod(method, preset, given, backbone, device, precision)
    pipeline = named.load(checkpoint, fps=fps, use_cache=not no_cache, calibration=calibration)
    asked = Asked(query or [], queries, ask_for or [], image or [], priors, captions)
    find(video, pipeline.to_task(task, top=top), asked, outputs, as_json=as_json)


@dataclass(frozen=True)
class Asked:
    """What is asked of every video, as the options name it."""

    words: list[str]
    file: Path | None
    questions: list[str]
    images: list[Path]
    priors: Path | None
    captions: Path | None


def find(
    video: Path, pipeline: "Pipeline", asked: Asked, outputs: Outputs, *, as_json: bool
) -> None:
    """Ask one video after the other; say and write what is found."""
    from openmoment.experiments.finding import Answers, ask, prepare, require_explains

    if outputs.explain:
        require_explains(pipeline)
    videos = list_videos(video)
    asking, bare = prepare(
        pipeline,
        [*asked.words, *read_queries(asked.file)],
        pipeline.questions(asked.questions),
        priors=asked.priors,
        images=asked.images,
        captions=asked.captions,
        is_ranked=outputs.predictions is not None,
        is_explained=outputs.explain is not None,
    )
    if bare:
        say(f"{asked.priors}: nothing of {', '.join(bare)}. These go by their words alone.")
    answers = Answers(is_folder=video.is_dir())
    told: set[str] = set()
    for path, found in ask(asking, videos, answers, bar=progress_bar, tell=say_fault):
        if not as_json:
            show(path, found, with_name=len(videos) > 1, told=told)
        if outputs.clips:
            cut_clips(path, found, outputs.clips, exact=outputs.exact)
    outputs.write(answers)
    if as_json:
        print_json(answers.to_dict())
    elif answers.found:
        if not pipeline.notes:
            say(f"Backbone: {describe_backbone(pipeline.encoder.name)}.")
    if answers.failed:
        raise typer.Exit(INPUT_FAULT)


def list_videos(video: Path) -> list[Path]:
    """The video itself, or those below a folder."""
    if not video.is_dir() or video.suffix:
        return [video]  # a folder named like a file is refused by the reader, by name
    from openmoment.storage.listing import find_videos

    return find_videos(video)
