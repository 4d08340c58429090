"""Points of a pyramid: targets decode back to their segments, and what is left after NMS."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from openmoment.blocks.batch import Instances
from openmoment.blocks.points import (
    PointDecoding,
    Points,
    level_positions,
    level_ranges,
    point_targets,
    propose,
    suppress,
    to_seconds,
)
from openmoment.types import SnippetGrid

ANY = (0.0, float("inf"))
ALL = PointDecoding(min_score=0.5, nms_per_label=True)


def instances(segments: list[tuple[float, float]], labels: list[int], t: int) -> Instances:
    positions = torch.tensor(segments, dtype=torch.float32).reshape(-1, 2)
    return Instances(
        torch.ones(len(labels), t, dtype=torch.bool),
        torch.tensor(labels, dtype=torch.int64),
        positions,
    )


def literal_targets(segments, labels, t, k, level, reach, radius):
    """Section 6.3 of the method, one position and one instance at a time."""
    positive, displacements = np.zeros((k, -(-t // 2**level)), bool), {}
    for column, u in enumerate(range(0, t, 2**level)):
        best: dict[int, float] = {}
        for (start, end), label in zip(segments, labels, strict=True):
            a, b = start - 0.5, end - 0.5
            left, right = u - a, b - u
            is_near = not radius or abs(u - (a + b) / 2) <= radius * 2**level
            if not (a <= u <= b and is_near and reach[0] <= max(left, right) < reach[1]):
                continue
            positive[label, column] = True
            if end - start < best.get(label, np.inf):
                best[label] = end - start
                displacements[label, column] = (left / 2**level, right / 2**level)
    return positive, displacements


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_targets_are_those_of_a_literal_search(data) -> None:
    t = data.draw(st.integers(3, 41))
    level = data.draw(st.integers(0, 3))
    radius = data.draw(st.sampled_from([0.0, 1.0, 3.0]))
    ends = st.integers(0, 8 * t).map(lambda n: n / 8)
    pairs = st.tuples(ends, ends).map(sorted).filter(lambda p: p[1] - p[0] > 0.1)
    segments = data.draw(st.lists(pairs, max_size=4, unique_by=lambda p: p[1] - p[0]))
    labels = [data.draw(st.integers(0, 2)) for _ in segments]
    reach = data.draw(st.sampled_from([ANY, (0.0, 4.0), (4.0, 8.0)]))
    found = point_targets(instances(segments, labels, t), t, 3, level, reach, radius=radius)
    positive, displacements = literal_targets(segments, labels, t, 3, level, reach, radius)
    np.testing.assert_array_equal(found.positive, positive)
    for (label, column), expected in displacements.items():
        assert found.displacements[label, column].tolist() == pytest.approx(expected, abs=1e-5)


@given(st.integers(2, 61), st.integers(0, 4), st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_targets_decode_to_their_segment_at_every_level(t, level, first, second) -> None:
    start, end = sorted((round(first * t, 3), round(second * t, 3)))
    targets = point_targets(instances([(start, end)], [0], t), t, 1, level, ANY, radius=0.0)
    empty = [np.zeros((1, len(level_positions(t, i)))) for i in range(level)]
    scores = [*empty, targets.positive.numpy().astype(float)]
    reaches = [*(np.zeros((*e.shape, 2)) for e in empty), targets.displacements.numpy()]
    found = propose(scores, reaches, t, PointDecoding(min_score=0.5))
    assert len(found.segments) == int(targets.positive.sum())
    for segment in found.segments:
        assert segment.tolist() == pytest.approx([start, end], abs=1e-4)
    inside = [u for u in range(0, t, 2**level) if start <= u + 0.5 <= end]
    assert len(found.segments) == len(inside)


def test_of_two_overlapping_instances_of_a_class_the_shorter_counts() -> None:
    found = point_targets(
        instances([(0, 10), (4, 7), (3, 9)], [0, 0, 1], 10), 10, 2, 0, ANY, radius=0.0
    )
    assert found.displacements[0, 5].tolist() == [1.5, 1.5]
    assert found.displacements[0, 1].tolist() == [1.5, 8.5]
    assert found.displacements[1, 5].tolist() == [2.5, 3.5]


def test_levels_share_all_lengths() -> None:
    assert level_ranges(4) == [(0, 4), (4, 8), (8, 16), (16, float("inf"))]
    assert level_ranges(1) == [ANY]
    assert level_ranges(2, [6.0]) == [(0, 6), (6, float("inf"))]
    with pytest.raises(ValueError, match="3 levels need 2"):
        level_ranges(3, [4.0])
    with pytest.raises(ValueError, match="growing"):
        level_ranges(3, [8.0, 4.0])


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"nms": "hard"}, "nms_hard_tiou"), ({"nms_sigma": 0.0}, "positive"),
     ({"pre_nms": 0}, "positive")],
)  # fmt: skip
def test_decoding_that_makes_no_sense(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PointDecoding(**settings)


def test_weak_points_propose_nothing_and_the_best_come_first() -> None:
    scores = [np.array([[0.9, 0.1, 0.6, 0.0]]), np.array([[0.7, 0.2]])]
    reaches = [np.ones((1, 4, 2)), np.ones((1, 2, 2))]
    found = propose(scores, reaches, 4, ALL, labels=np.array([5]))
    assert found.scores.tolist() == [0.9, 0.7, 0.6] and found.labels.tolist() == [5, 5, 5]
    assert found.segments.tolist() == [[0, 1.5], [0, 2.5], [1.5, 3.5]]  # clipped to the piece
    few = propose(scores, reaches, 4, PointDecoding(min_score=0.5, pre_nms=2))
    assert few.scores.tolist() == [0.9, 0.7]


def test_pieces_become_one_ranking_in_seconds() -> None:
    grid = SnippetGrid.uniform(10, start_s=20.0, end_s=40.0)
    points = Points(
        np.array([[1.0, 3.0], [1.0, 3.1], [4.0, 4.0]]), np.array([1, 1, 0]), np.array([0.9, 0.8, 1])
    )
    found = to_seconds([(grid, points)], ("a", "b"))
    assert found.segments.tolist() == pytest.approx(np.array([[22, 26], [22, 26.2]]))
    assert found.presence.tolist() == [1.0, 0.9]  # without a length, but seen
    soft = suppress(found, PointDecoding(min_score=0.0), per_label=True)
    assert soft.scores[1] == pytest.approx(0.8 * np.exp(-0.5 * (4 / 4.2) ** 2 / 0.3))
    hard = suppress(found, PointDecoding(nms="hard", nms_hard_tiou=0.5), per_label=True)
    assert hard.scores.tolist() == [0.9]
    assert len(to_seconds([], ("a",))) == 0
