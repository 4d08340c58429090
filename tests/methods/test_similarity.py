"""Similarity, step by step against literal references, and on films with known answers."""

import numpy as np
import pytest
from spaces import CosineSpace, film, words

from openmoment.encoders.base import Calibration
from openmoment.errors import ConfigError
from openmoment.methods import load_method
from openmoment.methods.similarity import exceeded_for, inner_outer, sigmoid, smooth
from openmoment.types import Queries, SnippetGrid

RANDOM = np.random.default_rng(3)


def similarity(**settings):
    return load_method("similarity", CosineSpace(), settings)


# parts ---------------------------------------------------------------------------------------


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


def test_a_level_is_exceeded_for_the_time_asked() -> None:
    grid = SnippetGrid.uniform(100, end_s=50.0)
    curve = RANDOM.permutation(np.arange(100.0))
    level = exceeded_for(curve[None], grid, 2.0)[0]
    assert (curve > level).sum() == 4  # snippets of half a second
    assert exceeded_for(curve[None], grid, 1000.0)[0] == np.median(curve)


def test_inner_and_outer_means() -> None:
    curve = RANDOM.normal(size=40)
    for a, b in [(0, 40), (0, 8), (10, 30), (39, 40), (5, 6)]:
        flank = max(1, (b - a) // 4)
        around = [*curve[max(0, a - flank) : a], *curve[b : b + flank]]
        inner, outer = inner_outer(curve, np.array([[a, b]]))
        assert inner[0] == pytest.approx(np.mean(curve[a:b]))
        assert outer[0] == pytest.approx(np.mean(around) if around else curve.min())


def test_sigmoid_is_half_at_the_middle() -> None:
    calibration = Calibration(slope=2.0, middle=3.0)
    np.testing.assert_allclose(sigmoid(np.array([3.0]), calibration), 0.5)
    np.testing.assert_allclose(sigmoid(np.array([4.0]), calibration), 1 / (1 + np.exp(-2.0)))


def test_margins_compare_each_query_with_the_mean_of_its_rivals() -> None:
    queries = words(3, num_background=4)
    snippets = film(queries, [(None, 5), (1, 5)])
    method = similarity(smooth_s="0")
    evidence = 10.0 * np.concatenate([queries.embeddings, queries.background]) @ snippets.features.T
    for k in range(3):
        for t in range(10):
            rivals = [np.exp(evidence[j, t]) for j in range(7) if j != k]
            expected = evidence[k, t] - np.log(np.mean(rivals))
            assert method.margins(snippets, queries)[k, t] == pytest.approx(expected)


def test_a_query_without_rivals_is_its_own_evidence() -> None:
    queries = words(1, num_background=0)
    snippets = film(queries, [(0, 6)])
    expected = 10.0 * queries.embeddings @ snippets.features.T
    np.testing.assert_allclose(similarity(smooth_s="0").margins(snippets, queries), expected)


def test_margins_stay_finite_when_the_evidence_is_extreme() -> None:
    queries = words(2)
    snippets = film(queries, [(0, 6)], noise=0.0)
    space = CosineSpace()
    space.evidence = lambda features, texts: 500.0 * texts @ features.T
    assert np.isfinite(load_method("similarity", space).margins(snippets, queries)).all()


# films with known answers ------------------------------------------------------------------------

FILM = [(None, 24), (0, 16), (None, 24), (0, 12), (None, 20), (1, 16), (None, 24)]


def test_every_instance_of_every_query_is_found_where_it_is() -> None:
    queries = words(3)
    found = similarity().localize(film(queries, FILM), queries).by_time()
    assert [(d.name, d.start_s, d.end_s) for d in found] == [
        ("word 0", 6.0, 10.0),
        ("word 0", 16.0, 19.0),
        ("word 1", 24.0, 28.0),
    ]
    assert found.not_found == ("word 2",)
    assert found.presence[2] < 0.5 < found.presence[:2].min()


def test_nothing_is_found_in_a_film_of_other_things() -> None:
    queries = words(3)
    found = similarity().localize(film(queries, [(None, 40), (None, 40)]), queries)
    assert len(found) == 0
    assert found.not_found == queries.names


def test_asking_for_more_does_not_lose_what_is_there() -> None:
    many = words(12)
    one = Queries(many.names[:1], many.embeddings[:1], many.background)
    alone = similarity().localize(film(many, FILM), one)
    among = similarity().localize(film(many, FILM), many)
    np.testing.assert_array_equal(
        alone.by_time().segments, among[among.labels == 0].by_time().segments
    )


def test_a_moment_that_lasts_the_whole_film() -> None:
    queries = words(2)
    found = similarity().localize(film(queries, [(0, 8)]), queries)
    assert found.not_found == ("word 1",)


# settings ----------------------------------------------------------------------------------------


def test_min_presence_decides_who_is_answered() -> None:
    queries = words(3)
    everything = similarity(min_presence=0, min_score=0).localize(film(queries, FILM), queries)
    assert everything.not_found == ()
    assert len(similarity(min_presence=1).localize(film(queries, FILM), queries)) == 0


def test_min_score_keeps_the_best_moment_of_a_query_that_is_present() -> None:
    queries = words(3)
    found = similarity(min_score=1).localize(film(queries, FILM), queries)
    assert sorted(found.labels.tolist()) == [0, 1]


def test_min_snippets_drops_what_is_short() -> None:
    queries = words(1)
    snippets = film(queries, [(None, 20), (0, 3), (None, 20), (0, 12), (None, 20)])
    settings = {"min_presence": 0, "min_score": 0, "smooth_s": "0.05"}
    found = similarity(**settings, min_snippets=6).localize(snippets, queries)
    assert all(d.end_s - d.start_s >= 1.5 for d in found)
    assert len(similarity(**settings).localize(snippets, queries)) > len(found)


def test_smoothing_joins_what_flickers() -> None:
    queries = words(1)
    flicker = [(0, 2), (None, 1)] * 6
    snippets = film(queries, [(None, 30), *flicker, (None, 30)])
    settings = {"min_presence": 0, "min_score": 0}
    apart = similarity(smooth_s="0", **settings).localize(snippets, queries)
    joined = similarity(smooth_s="1", **settings).localize(snippets, queries)
    longest = [max(d.end_s - d.start_s for d in found) for found in (apart, joined)]
    assert longest[0] <= 1.0
    assert longest[1] >= 3.0


def test_a_higher_threshold_gives_shorter_segments() -> None:
    queries = words(1)
    ramp = np.concatenate([np.linspace(0, 1, 20), np.linspace(1, 0, 20)])
    snippets = film(queries, [(None, 40)], noise=0.0)
    features = ramp[:, None] * queries.embeddings[0] + 0.001
    snippets = type(snippets)(features, snippets.grid, snippets.recipe, snippets.duration_s)
    lengths = []
    for threshold in ("0.3", "0.7"):
        settings = {"thresholds": threshold, "min_presence": 0, "smooth_s": "0"}
        (segment,) = similarity(**settings).localize(snippets, queries).segments
        lengths.append(segment[1] - segment[0])
    assert lengths[0] > lengths[1] > 0


def test_peak_s_is_how_long_the_peak_lasts() -> None:
    """A flash sets the scale only when the peak may be as short as it."""
    queries = words(1)
    snippets = film(queries, [(None, 40)], noise=0.0)
    curve = np.full(200, 0.0)
    curve[50:80], curve[120] = 0.4, 1.0
    features = curve[:, None] * queries.embeddings[0] + 1e-6
    grid = SnippetGrid.uniform(200, end_s=50.0)
    snippets = type(snippets)(features, grid, snippets.recipe, 50.0)
    settings = {"min_presence": 0, "min_score": 0, "smooth_s": "0", "min_snippets": 1}
    flash = similarity(peak_s=0.01, thresholds="0.5", **settings).localize(snippets, queries)
    steady = similarity(peak_s=4.0, thresholds="0.5", **settings).localize(snippets, queries)
    assert flash.segments.tolist() == [[30.0, 30.25]]
    assert [12.5, 20.0] in steady.segments.tolist()


def test_presence_s_is_how_long_a_query_has_to_show() -> None:
    queries = words(2)
    snippets = film(queries, [(None, 60), (0, 6), (None, 60)])
    brief = similarity(presence_s=0.5).localize(snippets, queries).presence[0]
    long = similarity(presence_s=6).localize(snippets, queries).presence[0]
    assert brief > 0.5 > long


def test_nms_tiou_lets_overlaps_stay() -> None:
    queries = words(2)
    settings = {"min_presence": 0, "min_score": 0}
    snippets = film(queries, FILM, noise=0.2)
    strict = similarity(nms_tiou=0, nested=True, **settings).localize(snippets, queries)
    lax = similarity(nms_tiou=1, nested=True, **settings).localize(snippets, queries)
    plain = similarity(nms_tiou=1, **settings).localize(snippets, queries)
    assert len(lax) > len(strict)
    assert len(lax) > len(plain)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("thresholds", "0.5,1.2"),
        ("thresholds", "high"),
        ("smooth_s", "-1"),
        ("min_presence", "2"),
        ("min_score", "-0.1"),
    ],
)
def test_impossible_settings_are_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=name):
        similarity(**{name: value})
