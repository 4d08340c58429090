"""openmoment datasets compose: labelled clips become untrimmed videos with exact ground truth."""

from pathlib import Path
from typing import Annotated

import typer

from openmoment.cli.options.datasets import list_names
from openmoment.cli.text.console import progress_bar, say, verb


@verb
def compose_verb(
    clips: Annotated[
        Path,
        typer.Argument(
            metavar="CLIPS",
            help="A folder with a folder a label, or a CSV: path,label,group.",
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where videos and annotations go.")],
    labels: Annotated[
        str | None, typer.Option(metavar="LIST", help="Only these labels, commas between them.")
    ] = None,
    unseen: Annotated[
        str | None,
        typer.Option(metavar="LIST", help="Labels that no training video shows; all others train."),
    ] = None,
    background: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN",
            help="Paths of clips without any label, as label background; repeatable.",
        ),
    ] = None,
    include: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="Of labelled clips only such paths; repeatable."),
    ] = None,
    train: Annotated[int, typer.Option(min=0, help="Videos to train on.")] = 24,
    test: Annotated[int, typer.Option(min=1, help="Videos to test on.")] = 12,
    seed: Annotated[int, typer.Option(help="Of what is shown where.")] = 0,
    max_clip: Annotated[
        float, typer.Option(metavar="S", help="The most that is shown of a clip, in seconds.")
    ] = 10.0,
) -> None:
    """Compose untrimmed videos with exact segments out of short labelled clips.

    openmoment datasets compose clips/ --out composed/ --unseen "high jump,pole vault"

    The clips of one source recording (column group, or each clip its own) are all in training
    videos or all in test videos. The same clips and seed give the same bytes.
    """
    from openmoment.datasets.compose import Composition, compose, read_clips

    composition = Composition(
        num_train=train,
        num_test=test,
        unseen=list_names(unseen),
        seed=seed,
        max_clip_s=max_clip,
    )
    found = read_clips(
        clips, labels=list_names(labels), background=background or (), include=include or ()
    )
    with progress_bar("composing") as advance:
        numbers = compose(found, composition, out, advance=advance)
    counted = ", ".join(f"{number} {subset}" for subset, number in numbers.items())
    say(f"Made {counted} videos in {out}. Next:")
    say(f"openmoment features extract {out / 'videos'} --out {out / 'features'}")
    say(
        f"openmoment evaluate --method similarity --dataset folder --root {out} --features "
        f"{out / 'features'}{f' --unseen {unseen!r}' if unseen else ''}"
    )
