"""A made-up world in which words and snippets can be told apart, for tests of methods."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray as Array

from openmoment.encoders.base import Towers
from openmoment.types import Queries, Recipe, SnippetGrid, Snippets

DIM = 64


class CosineSpace:
    """Unit vectors, compared by their cosine."""

    def logits(
        self, features: Float[Array, "t d"], embeddings: Float[Array, "k d"]
    ) -> Float[Array, "k t"]:
        return 10.0 * embeddings @ features.T

    def project_video(self, features: Float[Array, "t d"]) -> Float[Array, "t d"]:
        return features

    def project_text(self, embeddings: Float[Array, "k d"]) -> Float[Array, "k d"]:
        return embeddings

    def towers(self, features: Float[Array, "t d"], embeddings: Float[Array, "k d"]) -> Towers:
        identity = np.eye(embeddings.shape[1])
        return Towers(features, identity, embeddings, identity, 10.0)

    def evidence(
        self,
        features: Float[Array, "t d"],
        embeddings: Float[Array, "k d"],
        bank: Float[Array, "m d"],
    ) -> Float[Array, "k t"]:
        return self.logits(features, embeddings)


def words(num: int, *, seed: int = 0, num_background: int = 200) -> Queries:
    """Queries and background of random directions, nearly at right angles."""
    vectors = np.random.default_rng(seed).normal(size=(num + num_background, DIM))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return Queries(tuple(f"word {i}" for i in range(num)), vectors[:num], vectors[num:])


def film(
    queries: Queries,
    scenes: Sequence[tuple[int | None, int]],
    *,
    snippet_s: float = 0.25,
    noise: float = 0.02,
    seed: int = 1,
) -> Snippets:
    """Snippets that show a query (or, for None, nothing known) for so many snippets each."""
    random = np.random.default_rng(seed)
    rows: list[Array] = []
    for shown, num in scenes:
        centre = random.normal(size=DIM) / np.sqrt(DIM)
        if shown is not None:
            centre = queries.embeddings[shown]
        rows += [centre + noise * random.normal(size=DIM) for _ in range(num)]
    features = np.stack(rows)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    end_s = len(features) * snippet_s
    grid = SnippetGrid.uniform(len(features), end_s=end_s)
    return Snippets(features, grid, Recipe("made up", "0", 1 / snippet_s, ""), end_s)
