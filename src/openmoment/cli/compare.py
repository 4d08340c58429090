"""openmoment compare: results side by side, and whether they differ by more than chance."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from openmoment.cli.options.outputs import Form, FormOption, Json
from openmoment.cli.text.console import print_json, verb
from openmoment.errors import ConfigError

if TYPE_CHECKING:
    from openmoment.evaluation.compare import Difference
    from openmoment.evaluation.result import Result


class Over(StrEnum):
    AUTO = "auto"
    SPLITS = "splits"
    VIDEOS = "videos"


@verb
def compare_verb(
    results: Annotated[
        list[Path],
        typer.Argument(metavar="RESULT...", help="Folders that evaluate --out wrote."),
    ],
    over: Annotated[
        Over,
        typer.Option(help="What the bootstrap resamples; auto: splits, videos below five splits."),
    ] = Over.AUTO,
    form: FormOption = Form.TEXT,
    as_json: Json = False,
) -> None:
    """Put results in one table, with published ones, and test each against the first.

    Refuses results that were not made by one protocol, and says which field differs.
    """
    from openmoment.cli.text.results import describe
    from openmoment.evaluation.compare import require_alike
    from openmoment.evaluation.published import published_beside
    from openmoment.evaluation.result import read_result
    from openmoment.evaluation.tables import comparison_table, render

    if len({path.resolve() for path in results}) < len(results):
        raise ConfigError("A result is given twice.")
    found = {str(path): read_result(path) for path in results}
    require_alike(found)
    first = next(iter(found.values()))
    differences = {str(path): _difference(path, results[0], found, over) for path in results[1:]}
    if as_json:
        print_json(
            {
                "results": {name: result.to_dict() for name, result in found.items()},
                "differences": {
                    name: {**vars(value), "verdict": value.verdict}
                    for name, value in differences.items()
                },
            }
        )
        return
    published = published_beside(first.card.dataset, first.card.setting)
    typer.echo(describe(first) + "\n")
    typer.echo(render(*comparison_table(list(found.items()), published), form.value))
    for name, difference in differences.items():
        typer.echo("\n" + _say(name, str(results[0]), difference))


def _difference(path: Path, first: Path, found: "dict[str, Result]", over: Over) -> "Difference":
    from openmoment.evaluation.compare import over_splits, over_videos
    from openmoment.experiments.kept import read_kept

    a, b = found[str(path)], found[str(first)]
    names, folders = [split.name for split in a.splits], (path, first)
    if over is Over.SPLITS or (over is Over.AUTO and _resamples_splits(names, folders)):
        return over_splits(a, b)
    files = [[read_kept(folder, name) for name in names] for folder in folders]
    return over_videos(*files, tious=a.card.tious)


def _resamples_splits(names: Sequence[str], folders: Sequence[Path]) -> bool:
    """Whether there are enough splits, or no more than their numbers."""
    from openmoment.evaluation.compare import FEWEST_SPLITS
    from openmoment.experiments.kept import is_kept

    if len(names) >= FEWEST_SPLITS:
        return True
    is_complete = all(is_kept(folder, name) for folder in folders for name in names)
    return len(names) > 1 and not is_complete


def _say(name: str, first: str, difference: "Difference") -> str:
    low, high = difference.low_high
    return (
        f"{name} against {first}: average mAP {100 * difference.difference:+.1f}, 95 % of "
        f"{difference.num_samples} resamplings of {difference.over} between {100 * low:+.1f} and "
        f"{100 * high:+.1f}: {difference.verdict}."
    )
