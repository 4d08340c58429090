"""Standing among a bank: each step against a literal form, and what must not change it."""

import numpy as np
import pytest
from spaces import DIM, CosineSpace, film, words

from openmoment.encoders.towers.projected import ProjectedSpace, Projections
from openmoment.errors import QueryError
from openmoment.methods.standing import (
    exclusive,
    fit_of,
    inner_outer,
    less_everyday,
    smooth,
    standing_of,
    strength,
)
from openmoment.types import Queries, SnippetGrid

RANDOM = np.random.default_rng(3)
FILM = [(None, 24), (0, 16), (None, 24), (0, 12), (None, 20), (1, 16), (None, 24)]


@pytest.mark.parametrize("deviation", [0.0, 0.5, 1.0, 2.5])
def test_smoothing_is_a_gaussian_over_mirrored_edges(deviation: float) -> None:
    curve = RANDOM.normal(size=30)
    mirrored = [*curve[::-1], *curve, *curve[::-1]]
    expected = []
    for i in range(30, 60):
        weights = [
            np.exp(-0.5 * (j / deviation) ** 2) if deviation else j == 0 for j in range(-10, 11)
        ]
        if deviation:
            reach = round(4 * deviation)
            weights = [
                w if abs(j) <= reach else 0 for j, w in zip(range(-10, 11), weights, strict=True)
            ]
        values = [w * mirrored[i + j] for j, w in zip(range(-10, 11), weights, strict=True)]
        expected.append(sum(values) / sum(weights))
    np.testing.assert_allclose(smooth(curve[None], deviation)[0], expected, atol=1e-9)


def test_smoothing_survives_a_single_snippet() -> None:
    np.testing.assert_array_equal(smooth(np.array([[2.0]]), 4.0), [[2.0]])


def test_inner_and_outer_means() -> None:
    curve = RANDOM.normal(size=40)
    for a, b in [(0, 40), (0, 8), (10, 30), (39, 40), (5, 6)]:
        flank = max(1, (b - a) // 4)
        around = [*curve[max(0, a - flank) : a], *curve[b : b + flank]]
        inner, outer = inner_outer(curve, np.array([[a, b]]))
        assert inner[0] == pytest.approx(np.mean(curve[a:b]))
        assert outer[0] == pytest.approx(np.mean(around) if around else curve.min())


@pytest.mark.parametrize(
    ("num", "end_s", "best"),
    [(100, 25.0, 8), (100, 400.0, 2), (6, 1.5, 3), (1, 9.0, 1), (7, 1.0, 4)],
)
def test_the_strength_is_the_mean_of_the_best_two_seconds(
    num: int, end_s: float, best: int
) -> None:
    grid = SnippetGrid.uniform(num, end_s=end_s)
    curves = RANDOM.normal(size=(3, num))
    expected = [np.mean(sorted(curve)[-best:]) for curve in curves]
    np.testing.assert_allclose(strength(curves, grid), expected)


def test_what_is_usual_for_a_query_is_taken_off_the_more_the_longer_the_video() -> None:
    curves = RANDOM.normal(size=(2, 50))
    for end_s in (1.0, 30.0, 3000.0):
        share = 0.5 * end_s / (end_s + 30)
        quarter = [np.quantile(curve, 0.25) for curve in curves]
        expected = curves - share * np.array(quarter)[:, None]
        grid = SnippetGrid.uniform(50, end_s=end_s)
        np.testing.assert_allclose(less_everyday(curves, grid), expected)


def test_a_fit_counts_what_stands_out_from_its_flanks() -> None:
    curve = RANDOM.normal(size=40) + 3
    inner, outer = inner_outer(curve, np.array([[8, 20]]))
    expected = 1 / (1 + np.exp(-0.64 * (inner + 0.5 * (inner - outer) - 3.4)))
    np.testing.assert_allclose(fit_of(curve, np.array([[8, 20]])), expected)


def literal(space, snippets, queries):
    """The recipe, a query, a text of the bank and a snippet at a time."""
    grid = snippets.grid
    bank = queries.background

    def evidence(text):
        rows = [space.evidence(f[None], text[None], bank)[0, 0] for f in snippets.features]
        return smooth(np.array(rows)[None], 0.5 / grid.snippet_s)[0]

    among = np.array([evidence(text) for text in bank])

    def stand(curve):
        z = np.array([(c - np.mean(a)) / np.std(a) for c, a in zip(curve, among.T, strict=True)])
        return less_everyday(z[None], grid)

    curves = [stand(evidence(text)) for text in queries.embeddings]
    strengths = [strength(curve, grid)[0] for curve in curves]
    others = sorted(strength(stand(curve), grid)[0] for curve in among)
    middle = max(2.2, np.quantile(others, 0.6))
    presence = [1 / (1 + np.exp(-1.4 * (s - middle))) for s in strengths]
    return np.concatenate(curves), np.array(presence)


@pytest.mark.parametrize("num_background", [2, 8, 70, 200])
def test_the_whole_is_what_the_recipe_says(num_background: int) -> None:
    queries = words(3, num_background=num_background)
    snippets = film(queries, FILM, noise=0.1)
    found = standing_of(CosineSpace(), snippets, queries)
    curves, presence = literal(CosineSpace(), snippets, queries)
    np.testing.assert_allclose(found.curves, curves, atol=1e-5)
    np.testing.assert_allclose(found.presence, presence, atol=1e-5)


def test_a_bank_that_is_not_kept_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    queries = words(2, num_background=150)
    snippets = film(queries, FILM, noise=0.1)
    kept = standing_of(CosineSpace(), snippets, queries)
    monkeypatch.setattr("openmoment.methods.standing._KEPT_BYTES", 0)
    again = standing_of(CosineSpace(), snippets, queries)
    np.testing.assert_allclose(again.curves, kept.curves, atol=1e-5)
    np.testing.assert_allclose(again.middle, kept.middle, atol=1e-5)


def test_what_else_is_asked_changes_no_bit() -> None:
    many = words(12)
    snippets = film(many, FILM, noise=0.1)
    among = standing_of(CosineSpace(), snippets, many)
    for k in range(12):
        one = Queries(many.names[k : k + 1], many.embeddings[k : k + 1], many.background)
        alone = standing_of(CosineSpace(), snippets, one)
        np.testing.assert_array_equal(alone.curves[0], among.curves[k])
        assert alone.presence[0] == among.presence[k]


def test_scale_and_bias_of_a_models_logits_cancel() -> None:
    queries = words(3, num_background=40)
    snippets = film(queries, FILM, noise=0.1)

    class Scaled(CosineSpace):
        def evidence(self, features, embeddings, bank):
            return 37.0 * super().evidence(features, embeddings, bank) - 12.5

    plain, scaled = (standing_of(s, snippets, queries) for s in (CosineSpace(), Scaled()))
    np.testing.assert_allclose(scaled.curves, plain.curves, atol=1e-6)
    np.testing.assert_allclose(scaled.presence, plain.presence, atol=1e-6)


def test_a_two_tower_model_is_measured_from_the_middle_of_its_bank() -> None:
    """What all texts share moves no standing, however long the vectors are."""
    queries = words(3, num_background=40)
    snippets = film(queries, FILM, noise=0.1)
    space = ProjectedSpace(lambda: Projections(None, None, 100.0))
    shared = 3.0 * RANDOM.normal(size=DIM) / np.sqrt(DIM)
    bank = queries.background
    features = RANDOM.normal(size=(5, DIM))
    found = space.evidence(7 * features, 2 * (queries.embeddings + shared), 2 * (bank + shared))
    for k, text in enumerate(queries.embeddings + shared):
        middle = np.mean([b / np.linalg.norm(b) for b in bank + shared], axis=0)
        direction = text / np.linalg.norm(text) - middle
        direction /= np.linalg.norm(direction)
        for t, row in enumerate(features):
            expected = direction @ row / np.linalg.norm(row)
            assert found[k, t] == pytest.approx(expected, abs=1e-6)
    assert standing_of(space, snippets, queries).presence[0] > 0.9


def test_a_long_video_in_which_most_of_the_bank_peaks_raises_the_bar() -> None:
    queries = words(4, num_background=30)
    bank = queries.background
    all_of_it = film(Queries(tuple(map(str, range(30))), bank, bank), [(i, 12) for i in range(30)])
    usual = standing_of(CosineSpace(), film(queries, [(None, 4)] * 30), queries)
    varied = standing_of(CosineSpace(), all_of_it, queries)
    assert usual.middle == 2.2 < varied.middle
    shown = standing_of(CosineSpace(), all_of_it, Queries(("0",), bank[:1], bank))
    assert shown.presence[0] < 0.6


def test_queries_that_exclude_each_other_leave_each_moment_to_one() -> None:
    curves = np.array([[3.0, 1.0, -2.0, 4.0], [2.0, 2.0, -1.0, 4.0]])
    expected = [[3.0, 0.0, -2.0, 4.0], [0.0, 2.0, -1.0, 4.0]]
    np.testing.assert_array_equal(exclusive(curves), expected)


def test_queries_without_a_bank_are_refused() -> None:
    queries = words(2, num_background=1)
    with pytest.raises(QueryError, match="no bank"):
        standing_of(CosineSpace(), film(queries, [(0, 6)]), queries)
