"""How fast is test-time adaptation? Against the literal algorithm, in one run.

    python benchmarks/t3al.py [--frames 6000] [--steps 60] [--literal-steps 6]

Random weights of CoCa ViT-L/14's size, random frames. The literal algorithm encodes the texts of
all classes again and projects every frame again at every step, with gradients, as the equations
say; ours encodes each text once, and multiplies a matrix with a vector where the literal one
multiplies two matrices. Both draw the same frames by the same seed and must come to the same
projections. The literal one runs fewer steps, and its time is scaled up: it takes minutes.
"""

import argparse
import time
from dataclasses import replace

import numpy as np
import torch

from openmoment.encoders.base import Towers
from openmoment.encoders.two_tower.open_clip_names import import_open_clip
from openmoment.methods.t3al import Adapter, T3al, T3alConfig
from openmoment.types import Queries, Recipe, SnippetGrid, Snippets

WIDTH, CONTEXT, LAYERS, HEADS, CLASSES = 768, 76, 12, 12, 20
LABEL = 0  # the class that is shown


class RandomSpace:
    """Projections of CoCa's size."""

    def __init__(self, rng: np.random.Generator) -> None:
        scale = WIDTH**-0.5
        self.video = (rng.normal(size=(WIDTH, WIDTH)) * scale).astype(np.float32)
        self.text = (rng.normal(size=(WIDTH, WIDTH)) * scale).astype(np.float32)

    def towers(self, features, texts) -> Towers:
        return Towers(features, self.video, texts, self.text, 100.0)


class Literal(Adapter):
    """Every step from the beginning: all texts through the tower, all frames through W."""

    def __init__(self, *args, tower, tokens) -> None:
        super().__init__(*args)
        self.tower, self.tokens = tower, tokens

    def scores(self, *, fresh: bool = True, cosine: bool = True):
        from torch.nn.functional import normalize

        self.texts = self.tower(self.tokens)  # the same numbers, computed again
        projected = self.frames @ self.video
        words = normalize(self.texts[self.label] @ self.text, dim=0)
        frames = projected - self.background
        similar = (normalize(frames, dim=1) if cosine else frames) @ words
        return similar.detach().double().numpy()


def text_tower():
    open_clip = import_open_clip()
    tower = open_clip.transformer.TextTransformer(
        context_length=CONTEXT,
        width=WIDTH,
        heads=HEADS,
        layers=LAYERS,
        embed_cls=True,
        output_dim=None,
    )
    torch.nn.init.normal_(tower.cls_emb, std=0.02)
    return tower.eval()


def shots(num: int, texts, space: RandomSpace, rng: np.random.Generator) -> np.ndarray:
    """Twelve shots of unlike scenes; every other one shows the first class."""
    towards = texts[0] @ space.text @ space.video.T
    towards /= np.linalg.norm(towards)
    centres = rng.normal(size=(12, WIDTH))
    centres[::2] += 20 * towards
    scenes = np.repeat(centres, num // 12 + 1, axis=0)[:num]
    return scenes + 0.5 * rng.normal(size=(num, WIDTH))


def timed(function, *, runs: int = 1):
    """What the function gives, and its best time."""
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        found = function()
        seconds.append(time.perf_counter() - start)
    return found, min(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--frames", type=int, default=6000)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--literal-steps", type=int, default=6)
    options = parser.parse_args()
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    space, tower = RandomSpace(rng), text_tower()
    tokens = torch.randint(1, 49000, (CLASSES, CONTEXT))
    with torch.no_grad():
        texts, encode_s = timed(lambda: tower(tokens).numpy())
    features = shots(options.frames, texts, space, rng)
    grid = SnippetGrid.uniform(options.frames, end_s=options.frames / 30)
    recipe = Recipe("random", "0", 30.0, "")
    snippets = Snippets(features.astype(np.float32), grid, recipe, grid.end_s)
    names = tuple(f"class {i}" for i in range(CLASSES))
    queries = Queries(names, texts, np.zeros((0, WIDTH), dtype=np.float32))
    config = T3alConfig(labels="single", steps=options.steps, patience=0)

    dots = replace(config, cosine_in_loop=False)
    towers = space.towers(snippets.features, texts)

    def steps(cls, config, **more):
        adapter = cls(config, towers, grid, LABEL, None, **more)
        adapter.run()
        return adapter

    # Ours first: the literal one leaves memory in pieces behind it.
    _, steps_s = timed(lambda: steps(Adapter, config), runs=3)
    _, dots_s = timed(lambda: steps(Adapter, dots), runs=3)
    found, ours_s = timed(lambda: T3al(config, space).localize(snippets, queries), runs=3)
    exact = replace(config, norms_every=1)
    found_exact, exact_s = timed(lambda: T3al(exact, space).localize(snippets, queries))

    few = replace(config, steps=options.literal_steps)
    parts = {"tower": tower, "tokens": tokens}
    literal, literal_s = timed(lambda: steps(Literal, replace(few, norms_every=1), **parts))
    literal_s *= options.steps / options.literal_steps
    same = is_same(literal, steps(Adapter, replace(few, norms_every=1)))
    few_dots = replace(few, cosine_in_loop=False)
    literal_dots, literal_dots_s = timed(lambda: steps(Literal, few_dots, **parts))
    literal_dots_s *= options.steps / options.literal_steps
    same_dots = is_same(literal_dots, steps(Adapter, few_dots))

    print(f"{options.frames} frames of width {WIDTH}, {options.steps} steps, {CLASSES} classes")
    print("| what | seconds | the literal one takes so many times as long |")
    print("|---|---|---|")
    run = f"{options.literal_steps} steps run, scaled up"
    rows = [
        (f"cosines, literal ({run})", literal_s, 1.0),
        ("cosines, our steps", steps_s, literal_s / steps_s),
        ("cosines, our whole localization", ours_s, literal_s / ours_s),
        ("the same, lengths exact at every step", exact_s, literal_s / exact_s),
        (f"dot products, literal ({run})", literal_dots_s, 1.0),
        ("dot products, our steps", dots_s, literal_dots_s / dots_s),
        ("encoding the texts once", encode_s, None),
    ]
    for what, seconds, ratio in rows:
        print(f"| {what} | {seconds:.3f} | {'' if ratio is None else format(ratio, '.0f')} |")
    print(f"\nsame draws and projections as the literal one: {same}, {same_dots}")
    same_segments = np.array_equal(found.segments, found_exact.segments)
    print(f"same segments with exact lengths: {same_segments}; {len(found)} segments")


def is_same(a: Adapter, b: Adapter) -> bool:
    """Whether both drew the same frames and came to the same projections."""
    drew = np.array_equal(a.positives, b.positives) and np.array_equal(a.negatives, b.negatives)
    ends = [
        np.allclose(x.detach(), y.detach(), atol=1e-6)
        for x, y in ((a.video, b.video), (a.text, b.text))
    ]
    return drew and all(ends)


if __name__ == "__main__":
    main()
