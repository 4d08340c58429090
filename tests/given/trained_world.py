"""A small world that a trained method can learn by heart, and what does that."""

from functools import cache, cached_property

import numpy as np
import torch
from spaces import DIM, CosineSpace, film, words

from openmoment.blocks.batch import Batch, instances_on
from openmoment.blocks.time_axis import resample
from openmoment.config import from_table
from openmoment.evaluation.detection import evaluate_detection
from openmoment.methods import METHODS
from openmoment.methods.trained import Trained, Widths
from openmoment.types import Annotations, Queries, Recipe, SnippetGrid, Snippets

NUM_CLASSES, NUM_SNIPPETS, SNIPPET_S = 4, 32, 0.5
WORDS = tuple(f"word {i}" for i in range(NUM_CLASSES))
_BMN = {"width": 64, "sample_width": 32, "map_width": 16, "num_samples": 8}
SETTINGS: dict[str, dict] = {
    "contrans": {"heads": 4, "num_layers": 2},
    "grizal": {
        "use_flow": False,
        "width": 64,
        "heads": 4,
        "inner": 128,
        "vle_layers": 1,
        "k": 1,
        "negative_ratio": 3.0,
    },
    "unloc": {"width": 64, "heads": 4, "inner": 128, "layers": 2},
    "two_stage": _BMN | {"scale": 5.0},
    "dense_clip": {"temporal_layers": 2, "decoder_layers": 1, "decoder_width": 64},
    "effprompt": _BMN
    | {"context_tokens": 0, "temporal_layers": 1, "clip_residual": 0.0, "temperature": 0.2},
}
"""What makes each trained method small."""
STEPS = {
    "contrans": 80,
    "stale": 200,
    "grizal": 80,
    "unloc": 80,
    "two_stage": 120,
    "dense_clip": 150,
    "effprompt": 120,
}
"""How long each needs to learn to read."""
RATES = {"two_stage": 3e-3, "effprompt": 3e-3}
"""At which each learns, where that is not 1e-3."""


class World:
    """``num`` videos of 32 snippets with two instances each; ``empty`` leaves the last without.

    ``width`` is that of the features; where it is not the texts', another encoder made them.
    """

    def __init__(
        self, num: int = 4, *, width: int = DIM, empty: bool = False, seed: int = 0
    ) -> None:
        self.num, self.width, self.seed, self.empty = num, width, seed, empty
        self.queries: Queries = words(NUM_CLASSES, seed=seed, num_background=0)
        self.grid = SnippetGrid.uniform(NUM_SNIPPETS, end_s=NUM_SNIPPETS * SNIPPET_S)

    def truth(self, i: int) -> Annotations:
        rng = np.random.default_rng([self.seed, i])
        starts = np.array([rng.integers(1, 8), rng.integers(18, 24)])
        segments = np.stack([starts, starts + rng.integers(3, 8, 2)], axis=1) * SNIPPET_S
        labels = np.array([i % NUM_CLASSES, (i + i // NUM_CLASSES) % NUM_CLASSES])
        if self.empty and i == self.num - 1:
            segments, labels = segments[:0], labels[:0]
        return Annotations(segments, labels, WORDS, self.grid.end_s)

    @cached_property
    def _mix(self) -> np.ndarray:
        """From the texts' space to that of the features."""
        if self.width == DIM:
            return np.eye(DIM)
        return np.random.default_rng(self.seed).normal(size=(DIM, self.width)) / np.sqrt(DIM)

    def snippets(self, i: int) -> Snippets:
        rng = np.random.default_rng([self.seed, i, 1])
        rows = rng.normal(size=(NUM_SNIPPETS, DIM)) / np.sqrt(DIM)
        true = self.truth(i)
        for (start_s, end_s), label in zip(true.segments, true.labels, strict=True):
            shown = slice(round(start_s / SNIPPET_S), round(end_s / SNIPPET_S))
            rows[shown] = 0.3 * rows[shown] + self.queries.embeddings[label]
        rows = (rows @ self._mix).astype(np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        return Snippets(rows, self.grid, Recipe("made up", "0", 1 / SNIPPET_S, ""), self.grid.end_s)


def batch_of(world: World, method: Trained | None = None) -> Batch:
    """All videos of a world; with a method, as it takes them."""
    truths = [world.truth(i) for i in range(world.num)]
    films = [world.snippets(i) for i in range(world.num)]
    rows = [method.piece(film, world.grid) if method else film.features for film in films]
    texts = method.to_texts(world.queries) if method else world.queries.embeddings
    return Batch(
        torch.from_numpy(np.stack(rows)),
        torch.from_numpy(texts.astype(np.float32)),
        world.queries.names,
        tuple(instances_on(world.grid, t.segments, t.labels) for t in truths),
        tuple(f"video {i}" for i in range(world.num)),
    )


def overfit(method, world: World, *, steps: int, lr: float = 1e-3):
    """The method after so many steps on one batch of all videos."""
    batch = batch_of(world, method)
    optimizer = torch.optim.Adam(method.parameters(), lr=lr)
    method.train()
    for _ in range(steps):
        optimizer.zero_grad()
        sum(method.loss(batch).values()).backward()
        torch.nn.utils.clip_grad_norm_(method.parameters(), 1.0)
        optimizer.step()
    return method.eval()


def score(method, world: World, *, words: tuple[str, ...] = WORDS) -> float:
    """mAP at 0.5 on the world's own videos; ``words`` are asked in place of the true ones."""
    order = [WORDS.index(word) for word in words]
    queries = Queries(WORDS, world.queries.embeddings[order], world.queries.background)
    found = {str(i): method.localize(world.snippets(i), queries) for i in range(world.num)}
    truth = {str(i): world.truth(i) for i in range(world.num)}
    return evaluate_detection(found, truth, tious=(0.5,)).average


@cache
def trained_on_films(name: str):
    """A trained method that has learned to read any words: each step has new ones."""
    torch.manual_seed(0)
    cls = METHODS[name]
    settings = {"length": 64, "min_score": 0.0} | SETTINGS.get(name, {})
    method = cls(from_table(cls.Config, settings, where="test"), CosineSpace(), Widths(DIM, DIM))
    optimizer = torch.optim.Adam(method.parameters(), lr=RATES.get(name, 1e-3))
    rng = np.random.default_rng(0)
    for step in range(STEPS[name]):
        optimizer.zero_grad()
        sum(method.loss(_films(method, rng, step)).values()).backward()
        torch.nn.utils.clip_grad_norm_(method.parameters(), 1.0)
        optimizer.step()
    return method.eval()


def _films(method: Trained, rng: np.random.Generator, step: int) -> Batch:
    """Eight films of one action between two scenes, of eight words."""
    queries = words(8, seed=1000 + step)
    rows, instances = [], []
    for i in range(8):
        before, shown, after = (int(n) for n in rng.integers((4, 10, 4), (24, 64, 24)))
        snippets = film(queries, [(None, before), (i, shown), (None, after)], seed=1000 * step + i)
        piece = SnippetGrid.uniform(64, end_s=snippets.duration_s)
        rows.append(resample(snippets.features.astype(np.float32), snippets.grid, piece))
        segment = np.array([[before, before + shown]]) * 0.25
        instances.append(instances_on(piece, segment, np.array([i])))
    texts = torch.from_numpy(method.to_texts(queries))
    features = torch.from_numpy(np.stack(rows).astype(np.float32))
    return Batch(features, texts, queries.names, tuple(instances), ("film",) * 8)
