"""openmoment datasets synthesize: a made-up world to try methods in, without any download."""

from pathlib import Path
from typing import Annotated

import typer

from openmoment.cli.text.console import progress_bar, say, verb


@verb
def synthesize_verb(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="thumos14, activitynet, coin, charades-sta …")
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where annotations and features go.")],
    seed: Annotated[int, typer.Option(help="Of the world and of every video.")] = 0,
    train: Annotated[
        int | None, typer.Option(min=1, help="Videos to train on.", show_default="by NAME")
    ] = None,
    test: Annotated[
        int | None, typer.Option(min=1, help="Videos to test on.", show_default="by NAME")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="How hard it is: noise=2; repeatable."),
    ] = None,
    flow: Annotated[
        bool, typer.Option("--flow", help="A second stream too: what moves, for grizal.")
    ] = False,
    priors: Annotated[
        bool, typer.Option("--priors", help="Sentences and pictures of each class too, for grizal.")
    ] = False,
) -> None:
    """Make up a dataset in the form of a real one: annotations and features, no video.

    Methods can be trained, compared and taken apart in it: docs/datasets.md. What they score says
    nothing of real video.
    """
    from openmoment.config import parse_assignments
    from openmoment.datasets.made_up.files import FEATURES
    from openmoment.datasets.names import SYNTHETIC, published_splits
    from openmoment.experiments.synthesis import make_world

    with progress_bar(SYNTHETIC + name) as advance:
        num_videos = make_world(
            name,
            out,
            seed=seed,
            train=train,
            test=test,
            given=parse_assignments(set_ or []),
            has_flow=flow,
            has_priors=priors,
            advance=advance,
        )
    counted = ", ".join(f"{number} {subset}" for subset, number in num_videos.items())
    say(f"Made {counted} videos in {out}. They are made up. Next:")
    setting = " --setting 75-25" if SYNTHETIC + name in published_splits() else ""
    say(
        f"openmoment evaluate --method similarity --backbone synthetic --dataset "
        f"{SYNTHETIC + name} --root {out} --features {out / FEATURES}{setting}"
    )
