"""openmoment ask: questions beyond one label, of moments that are there already."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from openmoment.cli.options.moments import Duration, InFormat, length_of, read_all, say_lengths
from openmoment.cli.options.outputs import Json, Outputs, PlotPath, ReportPath
from openmoment.cli.text.console import print_json, verb
from openmoment.types import Detections


@verb
def ask_verb(
    file: Annotated[
        Path, typer.Argument(help="Moments, in any format of openmoment convert; or a folder.")
    ],
    question: Annotated[
        list[str],
        typer.Argument(help='Such as \'"run-up" then "jump" within 10 s\'; one or more.'),
    ],
    format: InFormat = None,  # noqa: A002
    duration: Duration = None,
    as_json: Json = False,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the answers: .json .csv .vtt …")
    ] = None,
    report: ReportPath = None,
    plot: PlotPath = None,
) -> None:
    """Ask questions beyond one label of a file of moments.

    A then B within 10 s; A and B; A or B; not A; A for at least 2 s; A at least 3 times within
    1 min; first A; last A; with parentheses. Labels of odd words stand in double quotes.

    openmoment ask found.json '"run-up" then "jump" within 10 s'
    """
    from openmoment.cli.text.found import show
    from openmoment.experiments.finding import Answers
    from openmoment.questions import parse, with_answers

    questions = [parse(text) for text in question]
    videos = read_all([file], format)
    outputs = Outputs(out=out, report=report, plot=plot)
    answers = Answers(is_folder=len(videos) != 1)
    outputs.check(is_folder=answers.is_folder)
    lengths = {video: length_of(video, read, duration) for video, read in videos.items()}
    if any(one.needs_duration for one in questions):
        say_lengths(lengths)
    names = dict.fromkeys(name for read in videos.values() for name in read.found.names)
    for video, read in videos.items():
        found = _with_names(read.found, tuple(names))
        answered = with_answers(found, questions, duration_s=lengths[video].seconds)
        answers.found[video] = answered
        if not as_json:
            show(Path(video), answered, with_name=answers.is_folder)
    outputs.write(answers)
    if as_json:
        print_json(answers.to_dict())


def _with_names(found: Detections, names: tuple[str, ...]) -> Detections:
    """The detections of one video, which also knows the queries of the others."""
    missing = tuple(name for name in names if name not in found.names)
    presence = np.concatenate([found.presence, np.zeros(len(missing))])
    return replace(found, names=(*found.names, *missing), presence=presence)
