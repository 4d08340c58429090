"""openmoment stats: how much, how often and in what order, of moments that are there already."""

from pathlib import Path
from typing import Annotated

import typer

from openmoment.cli.options.moments import (
    Duration,
    InFormat,
    Length,
    Read,
    length_of,
    read_all,
    say_lengths,
)
from openmoment.cli.options.outputs import Json, check_folders
from openmoment.cli.text.console import counted, print_json, say, verb
from openmoment.errors import FormatError

MAX_APART_S = 1.0
"""Lengths told of one video differ by no more."""

TablePath = Annotated[
    Path | None, typer.Option(metavar="FILE.csv", help="Write a table of each video and all.")
]


@verb
def stats_verb(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...", help="Moments or reviews, in any format; or folders of them."
        ),
    ],
    format: InFormat = None,  # noqa: A002
    duration: Duration = None,
    as_json: Json = False,
    out: TablePath = None,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE.png", help="Draw bouts, time budget and transitions."),
    ] = None,
) -> None:
    """Counts, durations, time budget and transitions of behaviours.

    Of several videos together, and with --json and --out of each. Moments of one query that overlap
    are one bout. What every number means: docs/behaviour.md.
    """
    from openmoment.behaviour import bouts_of, statistics_of
    from openmoment.behaviour.statistics import to_document
    from openmoment.cli.text.behaviour import show_statistics, statistics_table, write_table

    check_folders(out, plot)
    read = read_all(files, format)
    lengths = {video: length_of(video, one, duration) for video, one in read.items()}
    bouts = {video: bouts_of(one.found, lengths[video].seconds) for video, one in read.items()}
    together = statistics_of(list(bouts.values()))
    each = {video: statistics_of([own], together.names) for video, own in bouts.items()}
    say_lengths(lengths)
    if out:
        write_table(statistics_table(together, each), out)
        say(f"Wrote {out}.")
    if plot:
        from openmoment.figures.plot import save_figure
        from openmoment.report.behaviour import plot_statistics

        save_figure(plot_statistics(together, bouts), plot)
        say(f"Wrote {plot}.")
    if as_json:
        told_by = {video: length.told_by for video, length in lengths.items()}
        print_json(to_document(together, each, told_by))
    else:
        show_statistics(together, num_videos=len(each))


@verb
def agreement_verb(
    a: Annotated[Path, typer.Argument(help="Moments or a review, in any format; or a folder.")],
    b: Annotated[Path, typer.Argument(help="The same videos, by another person or a method.")],
    format: InFormat = None,  # noqa: A002
    duration: Duration = None,
    as_json: Json = False,
    out: TablePath = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Draw both, and how far they agree.")
    ] = None,
) -> None:
    """Whether two annotations of the same videos agree: Cohen's kappa over time, segment F1.

    Neither is taken for the truth. What every number means: docs/behaviour.md.
    """
    from openmoment.behaviour import agreement_of, bouts_of
    from openmoment.behaviour.agreement import to_document
    from openmoment.cli.text.behaviour import agreement_table, show_agreement, write_table

    check_folders(out, plot)
    read_a, read_b = read_all([a], format), read_all([b], format)
    pairs = {}
    lengths = {}
    for video, (in_a, in_b) in match_videos(list(read_a), list(read_b), f"{a} and {b}").items():
        told = [length_of(in_a, read_a[in_a], duration), length_of(in_b, read_b[in_b], duration)]
        sides = read_a[in_a], read_b[in_b]
        require_one_length(sides, told)
        differ = " (by their sha256 they differ)" if are_other_files(sides) else ""
        if differ or Path(in_a).stem != Path(in_b).stem:
            say(f"Taken for one video{differ}: {in_a!r} of {a} and {in_b!r} of {b}.")
        sure = [length for length in told if length.told_by != "its last moment"]
        length = sure[0] if sure else max(told)
        lengths[video] = length
        pairs[video] = (
            bouts_of(read_a[in_a].found, length.seconds),
            bouts_of(read_b[in_b].found, length.seconds),
        )
    together = agreement_of(list(pairs.values()))
    names = [query.query for query in together.queries]
    each = {video: agreement_of([pair], names) for video, pair in pairs.items()}
    say_lengths(lengths)
    alone = len(read_a) + len(read_b) - 2 * len(pairs)
    if alone:
        say(f"Left out: {counted(alone, 'video')} in one of the two alone.")
    if out:
        write_table(agreement_table(together, each), out)
        say(f"Wrote {out}.")
    if plot:
        from openmoment.figures.plot import save_figure
        from openmoment.report.behaviour import plot_agreement

        save_figure(plot_agreement(together, pairs, (str(a), str(b))), plot)
        say(f"Wrote {plot}.")
    if as_json:
        print_json(to_document(together, each))
    else:
        show_agreement(together, a, b, num_videos=len(each))


def match_videos(a: list[str], b: list[str], where: str) -> dict[str, tuple[str, str]]:
    """The videos that both have, and what each calls them: by name, else by stem.

    One video on each side is the same one, whatever it is called. Raises FormatError when there is
    none in common.
    """
    if len(a) == len(b) == 1:
        return {a[0]: (a[0], b[0])}
    stems = {Path(video).stem: video for video in b}
    known = set(b)
    found = {
        video: (video, video if video in known else stems[Path(video).stem])
        for video in a
        if video in known or Path(video).stem in stems
    }
    if not found:
        raise FormatError(f"{where}: no video is in both. There is {a[:1]} and {b[:1]}.")
    return found


def require_one_length(sides: tuple[Read, Read], told: list[Length]) -> None:
    """Raises FormatError where the two sides tell of videos of different lengths."""
    guesses = ("--duration", "its last moment")
    own_s = [length.seconds for length in told if length.told_by not in guesses]
    if not own_s or max(own_s) - min(own_s) <= MAX_APART_S:
        return
    files = " and ".join(str(side.file) for side in sides)
    lengths = " and ".join(f"{length_s:.1f} s" for length_s in own_s)
    raise FormatError(
        f"{files}: their videos are {lengths} long. Give two annotations of the same video."
    )


def are_other_files(sides: tuple[Read, Read]) -> bool:
    """Whether the two sides tell of different files: other videos, or copies of one."""
    hashes = {side.found.origin.source_sha256 for side in sides if side.found.origin} - {""}
    return len(hashes) > 1
