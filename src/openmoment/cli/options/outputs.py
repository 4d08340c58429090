"""What verbs print and write: JSON, tables in some form, files of answers, pages and pictures."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from openmoment.cli.text.console import say
from openmoment.errors import ConfigError, FormatError

if TYPE_CHECKING:
    from openmoment.experiments.finding import Answers


class Form(StrEnum):
    TEXT = "text"
    MARKDOWN = "markdown"
    LATEX = "latex"
    CSV = "csv"


Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
FormOption = Annotated[Form, typer.Option("--format", help="Of the tables.")]
ReportPath = Annotated[
    Path | None, typer.Option(metavar="FILE.html", help="Write a page to look at.")
]
PlotPath = Annotated[Path | None, typer.Option(metavar="FILE.png", help="Draw the timeline.")]


def check_folders(*paths: Path | None) -> None:
    """Refuse what could not be written, before the long work. Raises FormatError."""
    for path in paths:
        if path and not path.absolute().parent.is_dir():
            raise FormatError(f"{path}: its folder does not exist. Make it first.")


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

    def write(self, answers: "Answers") -> None:
        """The files asked for, if anything was found, with a line for each."""
        if not answers.found:
            return
        if self.out:
            from openmoment.export import FORMATS, format_of

            FORMATS[format_of(self.out, self.format)].write(answers.all_found(), self.out)
            say(f"Wrote {self.out}.")
        if self.explain:
            from openmoment.report.explanation import write_explanation

            write_explanation(answers.explained, self.explain)
            say(f"Wrote {self.explain}: open it in a browser.")
        if self.predictions:
            from openmoment.export import FORMATS

            FORMATS["activitynet"].write(answers.ranked, self.predictions)
            say(f"Wrote {self.predictions}: score it with openmoment evaluate.")
        if self.report:
            from openmoment.report.page import write_report

            write_report(answers.found, self.report, failed=answers.failed)
            say(f"Wrote {self.report}: open it in a browser.")
        if self.plot:
            from openmoment.figures.plot import save_plot

            (found,) = answers.found.values()
            save_plot(found, self.plot)
            say(f"Wrote {self.plot}.")
