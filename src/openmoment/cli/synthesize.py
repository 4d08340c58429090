"""openmoment datasets synthesize: a made-up world to try methods in, without any download."""

from pathlib import Path
from typing import Annotated

import typer

from openmoment.cli.console import progress_bar, say, verb


@verb
def synthesize_verb(
    name: Annotated[str, typer.Argument(metavar="NAME", help="thumos14 or activitynet.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where annotations and features go.")],
    seed: Annotated[int, typer.Option(help="Of the world and of every video.")] = 0,
    train: Annotated[
        int | None, typer.Option(min=1, help="Videos to train on.", show_default="120 or 600")
    ] = None,
    test: Annotated[
        int | None, typer.Option(min=1, help="Videos to test on.", show_default="100 or 400")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="How hard it is: noise=2; repeatable."),
    ] = None,
) -> None:
    """Make up a dataset with the classes of a real one: annotations and features, no video.

    Methods can be trained, compared and taken apart in it: docs/datasets.md. What they score says
    nothing of real video.
    """
    from openmoment.cache import Cache
    from openmoment.config import from_table, parse_assignments
    from openmoment.datasets import DATASETS
    from openmoment.datasets.base import prompt_name
    from openmoment.datasets.names import SYNTHETIC
    from openmoment.datasets.synthetic import FOOTAGE, FPS, SyntheticWorld, World
    from openmoment.datasets.synthetic_files import FEATURES, write_world
    from openmoment.encoders import load_encoder
    from openmoment.errors import UnknownNameError
    from openmoment.types import Recipe

    if name not in FOOTAGE:
        raise UnknownNameError("world", name, list(FOOTAGE))
    settings = from_table(World, parse_assignments(set_ or []), where="world")
    benchmark, footage = DATASETS[SYNTHETIC + name], FOOTAGE[name]
    encoder = load_encoder("synthetic")
    names = [prompt_name(label) for label in benchmark.classes]
    texts = Cache().texts(encoder.fingerprint, names, encoder.encode_text)
    world = SyntheticWorld(
        benchmark.classes,
        encoder.space.project_text(texts),
        footage,
        settings=settings,
        seed=seed,
    )
    num_videos = {
        benchmark.train_subset: train or footage.num_train,
        benchmark.test_subset: test or footage.num_test,
    }
    recipe = Recipe(encoder.name, encoder.fingerprint, FPS, "")
    with progress_bar(benchmark.name) as advance:
        write_world(world, out, recipe, num_videos=num_videos, advance=advance)
    counted = ", ".join(f"{number} {subset}" for subset, number in num_videos.items())
    say(f"Made {counted} videos in {out}. They are made up. Next:")
    say(
        f"openmoment evaluate --method similarity --backbone {encoder.name} --dataset "
        f"{benchmark.name} --root {out} --features {out / FEATURES} --setting 75-25"
    )
