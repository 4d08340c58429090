"""FreeZAD, equation by equation against literal references, and on films with known answers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spaces import CosineSpace, film, words

from openmoment.errors import ConfigError
from openmoment.methods import load_method
from openmoment.methods.freezad import (
    FreeZadConfig,
    JointFrames,
    log_oic,
    stretched,
    summed,
)
from openmoment.types import Queries, Recipe, SnippetGrid, Snippets

RANDOM = np.random.default_rng(5)
FILM = [(None, 24), (0, 16), (None, 24), (0, 12), (None, 20), (1, 16), (None, 24)]
PLACES = [("word 0", 6.0, 10.0), ("word 0", 16.0, 19.0), ("word 1", 24.0, 28.0)]


def freezad(**given):
    return load_method("freezad", CosineSpace(), given)


def of_features(features: np.ndarray, snippet_s: float = 0.25) -> Snippets:
    end_s = len(features) * snippet_s
    grid = SnippetGrid.uniform(len(features), end_s=end_s)
    return Snippets(features, grid, Recipe("made up", "0", 1 / snippet_s, ""), end_s)


def places(found) -> list[tuple[str, float, float]]:
    return [(d.name, d.start_s, d.end_s) for d in found.by_time()]


# LogOIC --------------------------------------------------------------------------------------


def literal_log_oic(curve: list[float], first: int, last: int, decay: bool) -> float:
    """As the released code has it, with weights 1, 1 and 0.2, divided by their sum."""
    inside = curve[first:last]
    reach = max(1, int((last - first) * 0.25))
    left = [curve[i] for i in range(first - 1, first - 1 - reach, -1) if i >= 0]
    right = [curve[i] for i in range(last, last + reach) if i < len(curve)]
    means = []
    for flank in (left, right):
        weights = [1 / np.log(i + 1.0) if decay else 1.0 for i in range(1, len(flank) + 1)]
        if flank:
            pairs = zip(weights, flank, strict=True)
            means.append(sum(w * v for w, v in pairs) / sum(weights))
    if not means:
        means = [min(curve)]
    missing = sum(means) / len(means)  # what the video cuts off is like the other flank
    both = (means + [missing])[:2]
    value = sum(inside) / len(inside) + max(inside) - 0.2 * both[0] - 0.2 * both[1]
    return value / (1 + 1 - 0.2 - 0.2)


@pytest.mark.parametrize("decay", [True, False])
def test_log_oic_is_the_inside_against_both_flanks(decay: bool) -> None:
    curve = RANDOM.normal(size=60)
    proposals = np.array([(0, 60), (0, 8), (10, 40), (50, 60), (59, 60), (5, 6), (4, 30)])
    found = log_oic(curve, proposals, FreeZadConfig(decay=decay))
    expected = [literal_log_oic(curve.tolist(), a, b, decay) for a, b in proposals]
    np.testing.assert_allclose(found, expected)


def test_what_lies_farther_out_counts_less() -> None:
    near, far = np.zeros(60), np.zeros(60)
    near[39], far[36] = 1.0, 1.0
    proposals = np.array([[40, 56]])
    config = FreeZadConfig()
    assert log_oic(near, proposals, config)[0] < log_oic(far, proposals, config)[0] < 0
    same = FreeZadConfig(decay=False)
    assert log_oic(near, proposals, same)[0] == pytest.approx(log_oic(far, proposals, same)[0])


@settings(max_examples=20, deadline=None)
@given(st.floats(-20, 20), st.integers(0, 30), st.integers(1, 30))
def test_log_oic_is_on_the_scale_of_the_curve(constant: float, first: int, length: int) -> None:
    """A constant added to the curve is added to the score, at the ends of the video too."""
    curve = np.random.default_rng(first).normal(size=40)
    proposals = np.array([[first, min(first + length, 40)]])
    plain = log_oic(curve, proposals, FreeZadConfig())
    raised = log_oic(curve + constant, proposals, FreeZadConfig())
    np.testing.assert_allclose(raised, plain + constant, atol=1e-9)
    flat = log_oic(np.full(40, constant), proposals, FreeZadConfig())
    np.testing.assert_allclose(flat, [constant], atol=1e-9)


# actionness ----------------------------------------------------------------------------------


def test_the_released_actionness_has_no_frequency_in_it() -> None:
    """Parseval: what the released code sums over frequencies is a sum over frames."""
    snippets = film(words(2), [(None, 9), (0, 7), (None, 5)])
    proposals = np.array([[0, 21], [9, 16], [3, 5]])
    rows = snippets.features - snippets.features.mean(axis=0)
    expected = []
    for first, last in proposals:
        energy = np.square(np.abs(np.fft.fft(rows[first:last], axis=0))).sum(axis=0).mean()
        expected.append(1 / (1 + np.exp(-energy)))
    method = freezad(actionness="released")
    found = method._actionness(JointFrames(CosineSpace(), snippets), proposals)
    np.testing.assert_allclose(found, expected)


def test_the_energy_is_in_seconds() -> None:
    snippets = film(words(2), [(None, 9), (0, 7), (None, 5)])
    proposals = np.array([[0, 21], [9, 16], [3, 5]])
    rows = snippets.features - snippets.features.mean(axis=0)
    energy = [0.25 * sum(float(row @ row) for row in rows[a:b]) for a, b in proposals]
    found = freezad()._actionness(JointFrames(CosineSpace(), snippets), proposals)
    np.testing.assert_allclose(found, [1 / (1 + np.exp(-e)) for e in energy])
    twice = of_features(np.repeat(snippets.features, 2, axis=0), 0.125)
    again = freezad()._actionness(JointFrames(CosineSpace(), twice), 2 * proposals)
    np.testing.assert_allclose(again, found)


def test_actionness_ranks_and_changes_no_segment() -> None:
    queries = words(3)
    plain = freezad(actionness="none", min_score=0).localize(film(queries, FILM), queries)
    ranked = freezad(min_score=0).localize(film(queries, FILM), queries)
    assert places(plain) == places(ranked)
    assert (ranked.by_time().scores < plain.by_time().scores).all()
    assert (2 * ranked.by_time().scores >= plain.by_time().scores).all()


# frames --------------------------------------------------------------------------------------


@pytest.mark.parametrize("block_bytes", [1, 3 * 64 * 8, 1 << 22])
def test_frames_are_read_in_blocks(block_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openmoment.rows._BLOCK_BYTES", block_bytes)
    queries = words(3)
    snippets = of_features(RANDOM.normal(size=(17, 64)))
    frames = JointFrames(CosineSpace(), snippets)
    unit = [row / np.sqrt(row @ row) for row in snippets.features]
    mean = sum(unit) / 17
    np.testing.assert_allclose(frames.mean, mean)
    np.testing.assert_allclose(frames.energies, [(u - mean) @ (u - mean) for u in unit])
    expected = [
        [10.0 * w @ (u - mean) / np.linalg.norm(u - mean) for u in unit] for w in queries.embeddings
    ]
    np.testing.assert_allclose(frames.centred_cosines(queries.embeddings), expected)


def test_curves_are_stretched_and_sums_are_taken_inside() -> None:
    curves = np.array([[1.0, 3.0, 2.0], [5.0, 5.0, 5.0]])
    np.testing.assert_allclose(stretched(curves), [[0.0, 1.0, 0.5], [0.0, 0.0, 0.0]])
    np.testing.assert_allclose(
        summed(np.array([1.0, 2.0, 4.0]), np.array([[0, 3], [1, 2]])), [7, 2]
    )


# films with known answers ------------------------------------------------------------------------


@pytest.mark.parametrize("given", [{}, {"curve": "centred"}, {"cut": "range"}])
def test_every_instance_of_every_query_is_found_where_it_is(given: dict) -> None:
    queries = words(3)
    found = freezad(**given).localize(film(queries, FILM), queries)
    assert places(found) == PLACES
    assert found.not_found == ("word 2",)


def test_one_label_for_the_video_is_the_one_its_mean_frame_is_like() -> None:
    queries = words(3)
    found = freezad(labels="single").localize(film(queries, FILM), queries)
    assert places(found) == PLACES[:2]


def test_nothing_is_found_in_a_film_of_other_things() -> None:
    queries = words(3)
    found = freezad().localize(film(queries, [(None, 40), (None, 40)]), queries)
    assert found.not_found == queries.names


@pytest.mark.parametrize("cut", ["levels", "range", "mean"])
def test_a_constant_curve_gives_nothing(cut: str) -> None:
    queries = words(2)
    still = of_features(np.repeat(queries.embeddings[:1], 40, axis=0))
    answer = freezad(cut=cut, min_presence=0, min_score=0).answer(still, queries)
    assert len(answer.detections) == 0
    assert answer.detections.presence[0] > 0.5
    rounding = 3.0 + 1e-12 * RANDOM.normal(size=40)
    assert len(freezad(cut=cut)._propose([rounding], still.grid)) == 0


def test_what_comes_later_is_found_as_much_later() -> None:
    queries = words(3)
    features = film(queries, FILM).features
    moved = np.concatenate([features[-8:], features[:-8]])  # of the scene at the end
    first = freezad().localize(of_features(features), queries)
    later = freezad().localize(of_features(moved), queries)
    assert places(later) == [(name, start + 2.0, end + 2.0) for name, start, end in PLACES]
    np.testing.assert_allclose(later.by_time().scores, first.by_time().scores, rtol=1e-6)


def test_the_answer_is_detections_and_curves() -> None:
    queries = words(3)
    snippets, method = film(queries, FILM), freezad()
    answer = method.answer(snippets, queries)
    np.testing.assert_array_equal(answer.curves, method.curves(snippets, queries))
    assert places(answer.detections) == places(method.localize(snippets, queries))


# settings ----------------------------------------------------------------------------------------


def test_the_mean_cuts_a_curve_once() -> None:
    queries = words(1)
    method = freezad(cut="mean", min_snippets=1)
    curve = np.array([0.0, 0.0, 3.0, 3.0, 0.0, 3.0, 0.0, 0.0])
    grid = SnippetGrid.uniform(8, end_s=2.0)
    assert method._propose([curve], grid).tolist() == [[2, 4], [5, 6]]
    joined = freezad(cut="mean", max_gap_s=0.25)._propose([curve], grid)
    assert joined.tolist() == [[2, 6]]
    assert freezad(cut="mean")._propose([curve], grid).tolist() == [[2, 4]]
    assert len(method.localize(film(queries, [(None, 8), (0, 8), (None, 8)]), queries)) == 1


def test_presence_and_score_decide_who_is_answered() -> None:
    queries = words(3)
    snippets = film(queries, FILM)
    assert freezad(min_presence=0, min_score=0).localize(snippets, queries).not_found == ()
    assert len(freezad(min_presence=1).localize(snippets, queries)) == 0
    best = freezad(min_score=1).localize(snippets, queries)
    assert sorted(best.labels.tolist()) == [0, 1]


def test_presence_is_that_of_the_default_method() -> None:
    queries = Queries(words(3).names, words(3).embeddings, words(3).background)
    snippets = film(queries, FILM)
    expected = load_method("similarity", CosineSpace()).presence(snippets, queries)
    np.testing.assert_array_equal(freezad().localize(snippets, queries).presence, expected)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"smooth_s": (-1.0,)}, "smooth_s"),
        ({"thresholds": (0.0,)}, "thresholds"),
        ({"min_score": 2.0}, "min_score must lie"),
        ({"outer_weight": 1.0}, "must outweigh two flanks"),
        ({"cut": "middle"}, "cut"),
    ],
)
def test_wrong_settings_are_named(given: dict, told: str) -> None:
    with pytest.raises((ConfigError, ValueError), match=told):
        freezad(**given)
