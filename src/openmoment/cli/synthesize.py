"""openmoment datasets synthesize: a made-up world to try methods in, without any download."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from openmoment.cli.console import progress_bar, say, verb


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
    from openmoment.cache import Cache
    from openmoment.config import from_table, parse_assignments, to_table
    from openmoment.datasets import DATASETS
    from openmoment.datasets.base import prompt_name
    from openmoment.datasets.names import SYNTHETIC, published_splits
    from openmoment.datasets.synthetic import FPS, World
    from openmoment.datasets.synthetic_files import FEATURES, PRIORS, WORLDS, write_world
    from openmoment.datasets.synthetic_sentences import SentenceWorld
    from openmoment.encoders import load_encoder
    from openmoment.encoders.flow import FlowEncoder
    from openmoment.encoders.synthetic import Synthetic
    from openmoment.errors import ConfigError, UnknownNameError
    from openmoment.priors.made_up import write_made_up_priors
    from openmoment.types import Recipe

    if name not in WORLDS:
        raise UnknownNameError("world", name, list(WORLDS))
    if priors and WORLDS[name].kind is SentenceWorld:
        raise ConfigError(f"--priors: {name} has sentences and no classes to draw.")
    benchmark, shape = DATASETS[SYNTHETIC + name], WORLDS[name]
    given = parse_assignments(set_ or [])
    settings = from_table(World, {**to_table(shape.settings), **given}, where="world")
    encoder = load_encoder("synthetic")
    assert isinstance(encoder, Synthetic)
    names = [prompt_name(label) for label in shape.names]
    texts = Cache().texts(encoder.fingerprint, names, encoder.encode_text)
    world = shape.kind(
        shape.names,
        encoder.space.project_text(texts),
        shape.footage,
        settings=settings,
        seed=seed,
    )
    num_videos = {
        benchmark.train_subset: train or shape.footage.num_train,
        benchmark.test_subset: test or shape.footage.num_test,
    }
    num_videos |= dict.fromkeys(shape.more_tests, num_videos[benchmark.test_subset])
    recipe = Recipe(encoder.name, encoder.fingerprint, FPS, "")
    seen = FlowEncoder(encoder)
    moving = replace(recipe, encoder=seen.name, fingerprint=seen.fingerprint) if flow else None
    with progress_bar(benchmark.name) as advance:
        write_world(world, out, recipe, num_videos=num_videos, flow=moving, advance=advance)
    if priors:
        write_made_up_priors(world, encoder, out / PRIORS)
    counted = ", ".join(f"{number} {subset}" for subset, number in num_videos.items())
    say(f"Made {counted} videos in {out}. They are made up. Next:")
    setting = " --setting 75-25" if benchmark.name in published_splits() else ""
    say(
        f"openmoment evaluate --method similarity --backbone {encoder.name} --dataset "
        f"{benchmark.name} --root {out} --features {out / FEATURES}{setting}"
    )
