"""openmoment find: when do these things happen in this video, or in these?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from openmoment.cli.options.clips import cut_clips
from openmoment.cli.text.console import (
    INPUT_FAULT,
    Backbone,
    CalibrationPath,
    CaptionPath,
    CheckpointPath,
    Device,
    FinderName,
    Json,
    PlotPath,
    Precision,
    Preset,
    PriorsPath,
    ReportPath,
    Settings,
    check_folders,
    method_settings,
    one_line,
    print_json,
    progress_bar,
    say,
    verb,
)
from openmoment.cli.text.found import show
from openmoment.encoders import describe_backbone
from openmoment.errors import ConfigError, FormatError, OpenMomentError, QueryError
from openmoment.pipeline.tasks import TOP
from openmoment.types import Detections, Task

if TYPE_CHECKING:
    from openmoment.encoders.base import Progress
    from openmoment.pipeline.answering import Pipeline
    from openmoment.priors import Example
    from openmoment.questions import Question
    from openmoment.types import Queries, Snippets


@dataclass(frozen=True)
class Outputs:
    """Where the answers go besides the terminal."""

    out: Path | None = None
    format: str | None = None
    report: Path | None = None
    plot: Path | None = None
    clips: Path | None = None
    exact: bool = False
    predictions: Path | None = None
    explain: Path | None = None

    def check(self, *, is_folder: bool) -> None:
        """Refuse what could not be written, before the long work. Raises OpenMomentError."""
        from openmoment.export import FORMATS, format_of

        if self.out:
            name = format_of(self.out, self.format)
            if is_folder and not FORMATS[name].holds_several:
                raise FormatError(
                    f"{self.out}: {name} holds one video. For a folder use .json or .csv."
                )
        if self.plot:
            from openmoment.extras import require

            require("matplotlib", extra="plot")
            if is_folder:
                raise ConfigError("--plot draws one video. For a folder use --report.")
        check_folders(self.out, self.report, self.plot, self.predictions, self.explain)


@dataclass
class Answers:
    """What a run found, and what it could not read."""

    is_folder: bool
    found: dict[str, Detections] = field(default_factory=dict)
    ranked: dict[str, Detections] = field(default_factory=dict)
    """Everything that the method proposes, where predictions are kept."""
    explained: dict[str, Any] = field(default_factory=dict)
    """How each answer came about, and its grid, where that was asked for."""
    failed: dict[str, str] = field(default_factory=dict)

    def all_found(self) -> "Detections | dict[str, Detections]":
        """One video's answer by itself; of a folder, all by path."""
        return self.found if self.is_folder else next(iter(self.found.values()))


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
    exact: Annotated[
        bool, typer.Option("--exact", help="Cut clips to the frame, by encoding them again.")
    ] = False,
    save_predictions: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.json", help="Write all candidates, ranked: for openmoment evaluate."
        ),
    ] = None,
    captions: CaptionPath = None,
    explain: Annotated[
        Path | None,
        typer.Option(metavar="FILE.html", help="Write a page of how t3al came to its answer."),
    ] = None,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Keep nothing, and use nothing that was kept.")
    ] = False,
) -> None:
    """Find when each query happens in VIDEO.

    Prints start, end, query and score of each moment, in order of time, and which queries do not
    occur. A second question about the same video takes about a second.

    openmoment find kitchen.mp4 "a person opens the fridge, then pours milk" --task mr

    openmoment find kitchen.mp4 --image fridge.jpg

    openmoment find kitchen.mp4 --ask '"opens the fridge" then "pours milk" within 20 s'
    """
    from openmoment.calibration import read_calibration
    from openmoment.methods import DEFAULT, Explains
    from openmoment.pipeline import load_pipeline
    from openmoment.pipeline.queries import tidy_names
    from openmoment.questions import names_of

    outputs = Outputs(out, format, report, plot, clips, exact, save_predictions, explain)
    outputs.check(is_folder=video.is_dir())
    pipeline = load_pipeline(
        backbone,
        method,
        checkpoint=checkpoint,
        settings=method_settings(method or DEFAULT, preset, setting or []),
        fps=fps,
        use_cache=not no_cache,
        device=device,
        precision=precision,
        calibration=read_calibration(calibration) if calibration else None,
    ).to_task(task, top=top)
    if explain and not isinstance(pipeline.method, Explains):
        raise ConfigError(
            f"--explain: {pipeline.method_name} has nothing to explain. Use --method t3al."
        )
    ranking = pipeline.ranking() if save_predictions else None
    answers = Answers(is_folder=video.is_dir())
    videos = list_videos(video)
    words = [*(query or []), *read_queries(queries)]
    questions = pipeline.questions(ask_for or [])
    looked_for = [*words, *names_of(questions)]
    names = tidy_names(looked_for) if looked_for or not image else ()
    examples = read_examples(names, priors, image or [])
    is_explained = explain is not None
    asking = Asking(pipeline, ranking, captions, examples, is_explained, words, questions)
    for path, found in ask(asking, videos, names, answers):
        if not as_json:
            show(path, found, with_name=len(videos) > 1)
        if clips:
            cut_clips(path, found, clips, exact=exact)
    write_outputs(answers, outputs)
    if as_json:
        print_json(to_dict(answers))
    elif answers.found:
        say(f"Backbone: {describe_backbone(pipeline.encoder.name)}")
    if answers.failed:
        raise typer.Exit(INPUT_FAULT)


def read_examples(
    names: Sequence[str], priors: Path | None, images: Sequence[Path]
) -> "dict[str, Example]":
    """What shows what the queries mean; says for which of them ``priors`` has nothing."""
    if priors is None and not images:
        return {}
    from openmoment.priors import examples_of, read_priors

    known = None if priors is None else read_priors(priors)
    examples = examples_of(names, priors=known, images=images)
    bare = [name for name in names if known is not None and name not in known]
    if bare:
        say(f"{priors}: nothing of {', '.join(bare)}. These go by their words alone.")
    return examples


def list_videos(video: Path) -> list[Path]:
    """The video itself, or those below a folder."""
    if not video.is_dir() or video.suffix:
        return [video]  # a folder named like a file is refused by the reader, by name
    from openmoment.storage.listing import find_videos

    return find_videos(video)


def read_queries(path: Path | None) -> list[str]:
    """The lines of a text file, without empty ones. Raises QueryError."""
    if path is None:
        return []
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise QueryError(f"{path}: cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise QueryError(f"{path}: not a text file in UTF-8.") from error
    names = [line.strip() for line in lines if line.strip()]
    if not names:
        raise QueryError(f"{path}: holds no query. Write one a line.")
    return names


@dataclass(frozen=True)
class Asking:
    """What is asked of every video."""

    pipeline: "Pipeline"
    ranking: "Pipeline | None"
    captions: Path | None
    examples: "dict[str, Example]"
    is_explained: bool
    words: Sequence[str] = ()
    questions: "Sequence[Question]" = ()

    def snippets(self, path: Path, progress: "Progress | None") -> "Snippets":
        """The video's features, with its captions where there are some."""
        snippets = self.pipeline.snippets(path, progress=progress)
        if self.captions is None:
            return snippets
        from openmoment.features.captions import captions_for

        captions = captions_for(path.stem, self.captions)
        if captions is None:
            raise FormatError(f"{self.captions}: holds no captions of {path.name}.")
        return self.pipeline.captioned(snippets, captions)

    def answer(
        self, path: Path, snippets: "Snippets", queries: "Queries", answers: Answers
    ) -> Detections:
        """Localize one video, and keep what else was asked for."""
        explained = None
        if self.is_explained:
            explained = self.pipeline.explain(snippets, queries)
            answers.explained[str(path)] = (explained, snippets.grid)
        video = str(path)
        if self.ranking:
            answers.ranked[video] = self.ranking.localize(snippets, queries, video=video)
        found = self.pipeline.localize(snippets, queries, video=video, explained=explained)
        from openmoment.questions import answered

        return answered(found, self.questions, self.words)


def ask(
    asking: Asking, videos: Sequence[Path], names: Sequence[str], answers: Answers
) -> Iterator[tuple[Path, Detections]]:
    """One video after the other; one that cannot be read is noted and passed over."""
    queries: Queries | None = None
    for number, path in enumerate(videos, start=1):
        label = f"{number}/{len(videos)} {path.name}" if len(videos) > 1 else path.name
        try:
            with progress_bar(label) as progress:
                snippets = asking.snippets(path, progress)
            if queries is None:  # once, and after the first video, where most mistakes are
                queries = asking.pipeline.queries(names, examples=asking.examples)
            found = asking.answer(path, snippets, queries, answers)
        except OpenMomentError as error:
            if len(videos) == 1:
                raise
            answers.failed[str(path)] = one_line(error)
            say(f"openmoment: {one_line(error)}")
            continue
        answers.found[str(path)] = found
        yield path, found


def write_outputs(answers: Answers, outputs: Outputs) -> None:
    """The files asked for."""
    if not answers.found:
        return
    if outputs.out:
        from openmoment.export import FORMATS, format_of

        FORMATS[format_of(outputs.out, outputs.format)].write(answers.all_found(), outputs.out)
        say(f"Wrote {outputs.out}.")
    if outputs.explain:
        from openmoment.report.explanation import write_explanation

        write_explanation(answers.explained, outputs.explain)
        say(f"Wrote {outputs.explain}: open it in a browser.")
    if outputs.predictions:
        from openmoment.export import FORMATS

        FORMATS["activitynet"].write(answers.ranked, outputs.predictions)
        say(f"Wrote {outputs.predictions}: score it with openmoment evaluate.")
    if outputs.report:
        from openmoment.report.page import write_report

        write_report(answers.found, outputs.report, failed=answers.failed)
        say(f"Wrote {outputs.report}: open it in a browser.")
    if outputs.plot:
        from openmoment.figures.plot import save_plot

        (found,) = answers.found.values()
        save_plot(found, outputs.plot)
        say(f"Wrote {outputs.plot}.")


def to_dict(answers: Answers) -> dict[str, Any]:
    """The JSON on stdout: one video's answer, or a list of them and of failures."""
    from openmoment.export.json import to_document

    document = to_document(answers.all_found())
    if not answers.is_folder:
        return document
    failed = [{"path": path, "error": message} for path, message in answers.failed.items()]
    return document | {"failed": failed}
