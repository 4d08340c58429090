"""Similarity, step by step against literal references, and on films with known answers."""

import numpy as np
import pytest
from spaces import CosineSpace, film, words

from openmoment.errors import ConfigError
from openmoment.methods import load_method
from openmoment.methods.similarity import exceeded_for
from openmoment.types import Queries, SnippetGrid

RANDOM = np.random.default_rng(3)


def similarity(**settings):
    return load_method("similarity", CosineSpace(), settings)


# parts ---------------------------------------------------------------------------------------


def test_a_level_is_exceeded_for_the_time_asked() -> None:
    grid = SnippetGrid.uniform(100, end_s=50.0)
    curve = RANDOM.permutation(np.arange(100.0))
    level = exceeded_for(curve[None], grid, 2.0)[0]
    assert (curve > level).sum() == 4  # snippets of half a second
    assert exceeded_for(curve[None], grid, 1000.0)[0] == np.median(curve)


# films with known answers ------------------------------------------------------------------------

FILM = [(None, 24), (0, 16), (None, 24), (0, 12), (None, 20), (1, 16), (None, 24)]


def test_every_instance_of_every_query_is_found_where_it_is() -> None:
    queries = words(3, seed=6)
    found = similarity().localize(film(queries, FILM), queries).by_time()
    shown = [d for d in found if found.answer_of(d.name) == "found"]
    assert [d.name for d in shown] == ["word 0", "word 0", "word 1"]
    times = [d[:2] for d in shown]
    np.testing.assert_allclose(times, [(6, 10), (16, 19), (24, 28)], atol=0.26)
    assert found.answer_of("word 2") != "found"
    assert found.presence[2] < 0.5 < found.presence[:2].min()


def test_nothing_is_found_in_a_film_of_other_things() -> None:
    queries = words(3)
    found = similarity().localize(film(queries, [(None, 20)] * 8), queries)
    assert found.scores.max(initial=0.0) < 0.3


def test_asking_for_more_changes_no_bit() -> None:
    many = words(12)
    one = Queries(many.names[:1], many.embeddings[:1], many.background)
    alone = similarity().localize(film(many, FILM), one)
    among = similarity().localize(film(many, FILM), many)
    np.testing.assert_array_equal(alone.segments, among.of("word 0").segments)
    np.testing.assert_array_equal(alone.scores, among.of("word 0").scores)
    assert alone.presence[0] == among.presence[0]


def test_a_moment_that_lasts_the_whole_film() -> None:
    queries = words(2)
    found = similarity().localize(film(queries, [(0, 8)]), queries)
    assert found.not_found == ("word 1",)


# settings ----------------------------------------------------------------------------------------


def test_min_presence_decides_who_is_answered() -> None:
    queries = words(3)
    everything = similarity(min_presence=0, min_fit=0).localize(film(queries, FILM), queries)
    assert everything.not_found == ()
    assert len(similarity(min_presence=1).localize(film(queries, FILM), queries)) == 0


def test_min_fit_keeps_the_best_moment_of_a_query_that_is_present() -> None:
    queries = words(3, seed=6)
    found = similarity(min_fit=1, min_presence=0.5).localize(film(queries, FILM), queries)
    assert sorted(found.labels.tolist()) == [0, 1]


def test_min_score_keeps_nothing_that_is_weaker() -> None:
    queries = words(3)
    whole = similarity().localize(film(queries, FILM), queries)
    limit = float(np.median(whole.scores))
    found = similarity(min_score=limit).localize(film(queries, FILM), queries)
    assert 0 < len(found) < len(whole) and found.scores.min() >= limit


def test_a_query_that_is_not_sure_has_its_best_moment_as_a_guess() -> None:
    queries = words(3)
    whole = similarity().localize(film(queries, FILM), queries)
    assert whole.unsure == frozenset()
    sure = float(whole.presence[0]) + 1e-6
    found = similarity(sure=sure).localize(film(queries, FILM), queries)
    assert "word 0" in found.unsure and found.answer_of("word 0") == "unsure"
    guess = found.of("word 0")
    assert guess.segments.tolist() == whole.of("word 0").segments[:1].tolist()
    absent = similarity(min_presence=0.6).localize(film(queries, FILM), queries)
    assert absent.answer_of("word 2") == "not found" and "unsure" in repr(found)


def test_no_score_is_above_the_presence() -> None:
    queries = words(6)
    found = similarity(min_presence=0, min_fit=0).localize(film(queries, FILM, noise=0.2), queries)
    assert len(found) > 6 and (found.scores <= found.presence[found.labels]).all()


def test_exclusive_leaves_each_moment_to_one_query() -> None:
    queries = words(2)
    blend = queries.embeddings.copy()
    blend[1] = 0.8 * blend[0] + 0.6 * blend[1]  # much like the first
    alike = Queries(queries.names, blend, queries.background)
    snippets = film(alike, [(None, 24), (0, 16), (None, 24)])
    free = similarity().localize(snippets, alike)
    assert free.not_found == ()
    apart = similarity(exclusive=True).localize(snippets, alike)
    assert free.of("word 1").scores.max() > 0.3
    assert apart.of("word 0").scores.max() > 0.9 > 0.3 > apart.of("word 1").scores.max(initial=0.0)


def test_min_snippets_drops_what_is_short() -> None:
    queries = words(1)
    snippets = film(queries, [(None, 20), (0, 3), (None, 20), (0, 12), (None, 20)])
    settings = {"min_presence": 0, "min_fit": 0, "smooth_s": "0.05"}
    found = similarity(**settings, min_snippets=6).localize(snippets, queries)
    assert all(d.end_s - d.start_s >= 1.5 for d in found)
    assert len(similarity(**settings).localize(snippets, queries)) > len(found)


def test_smoothing_joins_what_flickers() -> None:
    queries = words(1)
    flicker = [(0, 2), (None, 1)] * 6
    snippets = film(queries, [(None, 30), *flicker, (None, 30)])
    settings = {"min_presence": 0, "min_fit": 0}
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
    settings = {"min_presence": 0, "min_fit": 0, "smooth_s": "0", "min_snippets": 1}
    flash = similarity(peak_s=0.01, thresholds="0.5", **settings).localize(snippets, queries)
    steady = similarity(peak_s=4.0, thresholds="0.5", **settings).localize(snippets, queries)
    assert flash.segments.tolist() == [[30.0, 30.25]]
    assert [12.5, 20.0] in steady.segments.tolist()


def test_nms_tiou_lets_overlaps_stay() -> None:
    queries = words(2)
    settings = {"min_presence": 0, "min_fit": 0}
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
