"""A made-up world on disk: what `openmoment datasets synthesize` and the bench make."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from openmoment.config import from_table, to_table
from openmoment.datasets import DATASETS
from openmoment.datasets.base import prompt_name
from openmoment.datasets.made_up.files import PRIORS, WORLDS, write_world
from openmoment.datasets.made_up.sentences import SentenceWorld
from openmoment.datasets.made_up.world import FPS, World
from openmoment.datasets.names import SYNTHETIC
from openmoment.encoders import load_encoder
from openmoment.encoders.embedded.made_up import Synthetic
from openmoment.encoders.motion.flow import FlowEncoder
from openmoment.errors import ConfigError, UnknownNameError
from openmoment.features.cache import Cache
from openmoment.priors.made_up import write_made_up_priors
from openmoment.types import Recipe


def make_world(
    name: str,
    out: Path,
    *,
    seed: int = 0,
    train: int | None = None,
    test: int | None = None,
    given: Mapping[str, object] | None = None,
    has_flow: bool = False,
    has_priors: bool = False,
    advance: Callable[[float, float], None] | None = None,
) -> dict[str, int]:
    """Write the made-up world of dataset ``name`` below ``out``; the number of videos by subset.

    ``given`` says how hard it is. Raises UnknownNameError, ConfigError, FormatError.
    """
    if name not in WORLDS:
        raise UnknownNameError("world", name, list(WORLDS))
    if has_priors and WORLDS[name].kind is SentenceWorld:
        raise ConfigError(f"--priors: {name} has sentences and no classes to draw.")
    benchmark, shape = DATASETS[SYNTHETIC + name], WORLDS[name]
    settings = from_table(World, {**to_table(shape.settings), **(given or {})}, where="world")
    encoder = load_encoder("synthetic")
    assert isinstance(encoder, Synthetic)
    names = [prompt_name(label) for label in shape.names]
    texts = Cache().texts(encoder.fingerprint, names, encoder.encode_text)
    points = encoder.space.project_text(texts)
    world = shape.kind(shape.names, points, shape.footage, settings=settings, seed=seed)
    num_videos = {
        benchmark.train_subset: train or shape.footage.num_train,
        benchmark.test_subset: test or shape.footage.num_test,
    }
    num_videos |= dict.fromkeys(shape.more_tests, num_videos[benchmark.test_subset])
    recipe = Recipe(encoder.name, encoder.fingerprint, FPS, "")
    seen = FlowEncoder(encoder)
    moving = replace(recipe, encoder=seen.name, fingerprint=seen.fingerprint) if has_flow else None
    write_world(world, out, recipe, num_videos=num_videos, flow=moving, advance=advance)
    if has_priors:
        write_made_up_priors(world, encoder, out / PRIORS)
    return num_videos
