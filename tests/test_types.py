"""The nouns: what they refuse, how they convert, how they print."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openmoment.detections import Detections
from openmoment.errors import FeatureError, QueryError
from openmoment.types import Annotations, Origin, Queries, Recipe, SnippetGrid, Snippets, clock

RECIPE = Recipe("embedded", "abc", 4.0, "f00")


def three() -> Detections:
    return Detections(
        np.array([[60.0, 62.5], [1.0, 2.0], [30.0, 31.0]]),
        np.array([0.9, 0.8, 0.4]),
        np.array([1, 0, 1]),
        ("a dog", "a cat", "a cow"),
        np.array([0.9, 0.8, 0.1]),
    )


# time ----------------------------------------------------------------------------------------


@settings(max_examples=50)
@given(st.lists(st.floats(0.01, 5), min_size=1, max_size=30), st.floats(-5, 100))
def test_runs_and_points_agree_about_time(lengths: list[float], start_s: float) -> None:
    edges = start_s + np.concatenate([[0], np.cumsum(lengths)])
    grid = SnippetGrid(edges)
    num = len(grid)
    whole = grid.runs_to_seconds(np.array([[0, num]]))
    np.testing.assert_allclose(whole, [[edges[0], edges[-1]]])
    np.testing.assert_allclose(grid.points_to_seconds(np.arange(num) * 1.0), grid.centres_s)
    np.testing.assert_allclose(grid.points_to_seconds(np.arange(num + 1) - 0.5), edges)


def test_a_uniform_grid() -> None:
    grid = SnippetGrid.uniform(4, start_s=1.0, end_s=3.0)
    assert grid.edges_s.tolist() == [1.0, 1.5, 2.0, 2.5, 3.0]
    assert (len(grid), grid.start_s, grid.end_s, grid.snippet_s) == (4, 1.0, 3.0, 0.5)


@pytest.mark.parametrize("edges", [[0.0], [0.0, 0.0], [1.0, 0.5], [0.0, np.nan], [0.0, np.inf]])
def test_impossible_grids_are_refused(edges: list[float]) -> None:
    with pytest.raises(FeatureError):
        SnippetGrid(np.array(edges))


@pytest.mark.parametrize(
    ("time_s", "text"),
    [(0.0, "0:00:00.0"), (59.96, "0:01:00.0"), (3725.04, "1:02:05.0"), (36000.0, "10:00:00.0")],
)
def test_clock(time_s: float, text: str) -> None:
    assert clock(time_s) == text


# snippets and queries ------------------------------------------------------------------------


def test_features_that_are_not_numbers_are_placed_in_time() -> None:
    features = np.zeros((4, 2))
    features[2, 1] = np.nan
    with pytest.raises(FeatureError, match=r"1 of 4 snippets, first at snippet 2 \(1\.00 s\)"):
        Snippets(features, SnippetGrid.uniform(4, end_s=2.0), RECIPE, 2.0)


def test_features_have_to_fit_their_grid() -> None:
    with pytest.raises(FeatureError, match="3 features for 4 snippets"):
        Snippets(np.zeros((3, 2)), SnippetGrid.uniform(4, end_s=2.0), RECIPE, 2.0)


def test_recipes_tell_what_differs() -> None:
    other = Recipe("embedded", "abc", 8.0, "f00")
    assert RECIPE.differences(RECIPE) == []
    assert RECIPE.differences(other) == ["fps: 4.0 here, 8.0 asked for"]


def test_no_query_is_refused() -> None:
    with pytest.raises(QueryError, match="No query"):
        Queries((), np.zeros((0, 3)), np.zeros((0, 3)))


# detections ----------------------------------------------------------------------------------


def test_detections_are_sliced_and_keep_their_queries() -> None:
    found = three()
    good = found[found.scores > 0.5]
    assert len(good) == 2
    assert good.names == found.names
    assert good.not_found == ("a cow",)
    assert found[2].not_found == ("a dog", "a cow")
    assert len(found[[]]) == 0
    assert len(found[found.scores > 2]) == 0


def test_detections_of_some_queries_bring_their_presence_and_curves() -> None:
    rows = [(0.0, 1.0, 0.9, 2), (1.0, 2.0, 0.8, 0), (3.0, 4.0, 0.7, 1), (5.0, 6.0, 0.6, 2)]
    segments = np.array([row[:2] for row in rows])
    scores, labels = np.array([row[2] for row in rows]), np.array([row[3] for row in rows])
    grid, curves = SnippetGrid.uniform(2, end_s=6.0), np.arange(6.0).reshape(3, 2)
    origin = Origin("a.mp4", 6.0, "fake", "fake-1", "made", {}, grid=grid, curves=curves)
    found = Detections(segments, scores, labels, ("a", "b", "c"), np.array([0.1, 0.2, 0.3]), origin)
    some = found.of("c", "a", "c")
    assert [tuple(d) for d in some] == [(0, 1, "c", 0.9), (1, 2, "a", 0.8), (5, 6, "c", 0.6)]
    assert (some.names, some.presence.tolist()) == (("c", "a"), [0.3, 0.1])
    assert some.origin is not None and some.origin.curves is not None
    assert some.origin.curves.tolist() == [[4, 5], [0, 1]]
    assert found.of().names == ()
    with pytest.raises(QueryError, match="There is no query 'd'. There is: 'a', 'b', 'c'"):
        found.of("a", "d")


def test_detections_in_order_of_time() -> None:
    assert [d.start_s for d in three().by_time()] == [1.0, 30.0, 60.0]
    first = next(iter(three().by_time()))
    assert first == (1.0, 2.0, "a dog", 0.8)


def test_detections_print_well() -> None:
    assert repr(three()).splitlines() == [
        "3 moments",
        "  0:00:01.0 - 0:00:02.0  a dog  0.80",
        "  0:00:30.0 - 0:00:31.0  a cat  0.40",
        "  0:01:00.0 - 0:01:02.5  a cat  0.90",
        "  not found: a cow",
    ]
    assert "not found: x, y" in repr(Detections.empty(["x", "y"]))


def test_detections_become_a_table() -> None:
    table = three().to_pandas()
    assert table.columns.tolist() == ["start_s", "end_s", "query", "score"]
    assert table["query"].tolist() == ["a dog", "a cat", "a cat"]


@pytest.mark.parametrize(
    "change",
    [
        {"labels": np.array([0, 1, 3])},
        {"labels": np.array([-1, 1, 2])},
        {"presence": np.zeros(2)},
    ],
)
def test_arrays_that_do_not_fit_are_refused(change: dict) -> None:
    found = three()
    parts = {
        name: getattr(found, name) for name in ("segments", "scores", "labels", "names", "presence")
    }
    with pytest.raises(ValueError, match="fit|index|presence"):
        Detections(**(parts | change))


def test_annotations_have_a_length() -> None:
    assert len(Annotations(np.zeros((2, 2)), np.zeros(2, int), ("a",), 1.0)) == 2
