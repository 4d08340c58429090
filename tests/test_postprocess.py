"""Post-processing against slow references, and the properties that any input must keep."""

from math import exp

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from openmoment.postprocess import (
    bridge,
    clip_to,
    merge,
    nms,
    outermost,
    runs,
    soft_nms,
    soft_nms_bmn,
    soft_nms_tensorflow,
    temporal_iou,
    top,
)
from openmoment.types import Detections, Origin

NAMES = ("jump", "run", "throw")
ORIGIN = Origin("v.mp4", 60.0, "fake", "f0", "none", {})
quick = settings(max_examples=25, deadline=None)


def detections(segments, scores=None, labels=None):
    n = len(segments)
    return Detections(
        np.array(segments, dtype=float).reshape(n, 2),
        np.linspace(1.0, 0.5, n) if scores is None else np.array(scores, dtype=float),
        np.zeros(n, dtype=int) if labels is None else np.array(labels, dtype=int),
        NAMES,
        np.array([0.9, 0.5, 0.1]),
        ORIGIN,
    )


def rows(found):
    """What a result says, without its order."""
    return sorted((round(s, 9), round(e, 9), name, round(score, 9)) for s, e, name, score in found)


@st.composite
def candidates(draw, max_size=12):
    """For `detections`: a coarse grid, so that they touch, repeat, have no length; scores differ.

    Plain values, because Detections check their types at random, which a strategy must not.
    """
    n = draw(st.integers(0, max_size))
    pair = st.tuples(st.integers(0, 10), st.integers(0, 6))
    spans = draw(st.lists(pair, min_size=n, max_size=n))
    labels = draw(st.lists(st.integers(0, 2), min_size=n, max_size=n))
    scores = draw(st.permutations([(i + 1) / (n + 1) for i in range(n)]))
    return [(a, a + b) for a, b in spans], scores, labels


# tIoU --------------------------------------------------------------------------------------


def slow_tiou(a, b):
    overlap = max(0.0, min(a[1], b[1]) - max(a[0], b[0]))
    union = (a[1] - a[0]) + (b[1] - b[0]) - overlap
    return overlap / union if union else 0.0


@quick
@given(candidates(), candidates())
def test_tiou_is_symmetric_bounded_and_as_defined(a, b):
    a, b = detections(*a), detections(*b)
    iou = temporal_iou(a.segments, b.segments)
    assert_array_equal(iou, temporal_iou(b.segments, a.segments).T)
    assert ((iou >= 0) & (iou <= 1)).all()
    expected = [[slow_tiou(x, y) for y in b.segments] for x in a.segments]
    assert_allclose(iou, np.array(expected).reshape(iou.shape))


def test_tiou_of_segments_without_length_is_zero():
    assert_array_equal(temporal_iou(np.array([[2.0, 2.0]]), np.array([[2.0, 2.0], [1.0, 3.0]])), 0)


# suppression -------------------------------------------------------------------------------


def slow_nms(found, tiou, per_label):
    kept = []
    for i in sorted(range(len(found)), key=lambda i: -found.scores[i]):
        rivals = [j for j in kept if not per_label or found.labels[j] == found.labels[i]]
        if all(slow_tiou(found.segments[i], found.segments[j]) <= tiou for j in rivals):
            kept.append(i)
    return found[kept]


def slow_soft_nms(found, weight, min_score, max_out, per_label):
    """``weight(iou, length_s)``; one loop over all labels, as the definition has it."""
    scores, left, chosen = found.scores.copy(), list(range(len(found))), []
    while left and (max_out is None or len(chosen) < max_out):
        best = max(left, key=lambda i: scores[i])
        if scores[best] <= 0 or scores[best] < min_score:
            break
        left.remove(best)
        chosen.append((*found.segments[best], NAMES[found.labels[best]], scores[best]))
        length_s = found.segments[best, 1] - found.segments[best, 0]
        for i in left:
            if not per_label or found.labels[i] == found.labels[best]:
                iou = slow_tiou(found.segments[i], found.segments[best])
                scores[i] *= weight(iou, length_s)
    return chosen


@quick
@given(candidates(), st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.booleans())
def test_nms(drawn, tiou, per_label):
    found = detections(*drawn)
    kept = nms(found, tiou=tiou, per_label=per_label)
    assert list(kept) == list(slow_nms(found, tiou, per_label))
    assert list(nms(kept, tiou=tiou, per_label=per_label)) == list(kept)


FORMS = {
    "gaussian": (
        lambda found, **options: soft_nms(found, sigma=0.4, **options),
        lambda iou, length_s: exp(-(iou**2) / 0.4),
    ),
    "tensorflow": (
        soft_nms_tensorflow,
        lambda iou, length_s: exp(-0.5 * iou**2 / 0.3),
    ),
    "old tensorflow": (
        lambda found, **options: soft_nms_tensorflow(found, hard_tiou=0.5, **options),
        lambda iou, length_s: exp(-0.5 * iou**2 / 0.3) if iou <= 0.5 else 0.0,
    ),
    "bmn": (
        lambda found, **options: soft_nms_bmn(found, duration_s=16.0, **options),
        lambda iou, length_s: exp(-(iou**2) / 0.4) if iou > 0.5 + 0.4 * length_s / 16 else 1.0,
    ),
}
form = pytest.mark.parametrize("name", FORMS)


@form
@quick
@given(drawn=candidates(), min_score=st.sampled_from([0.001, 0.3]), per_label=st.booleans())
def test_soft_nms_forms(name, drawn, min_score, per_label):
    found = detections(*drawn)
    fast, weight = FORMS[name]
    options = {"min_score": min_score, "per_label": per_label}
    expected = slow_soft_nms(found, weight, max_out=None, **options)
    result = fast(found, **options)
    assert_allclose(result.scores, [score for *_, score in expected])
    assert rows(result) == rows(expected)
    few = fast(found, max_out=3, **options)
    assert_allclose(few.scores, [score for *_, score in expected][:3])


@form
@quick
@given(drawn=candidates())
def test_soft_nms_never_raises_a_score(name, drawn):
    found = detections(*drawn)
    before = {}
    for start_s, end_s, label, score in found:
        key = (start_s, end_s, label)
        before[key] = max(score, before.get(key, 0.0))
    for start_s, end_s, label, score in FORMS[name][0](found):
        assert score <= before[start_s, end_s, label]


ALL = {
    "nms": lambda found: nms(found, tiou=0.4),
    "merge": lambda found: merge(found, max_gap_s=1.0),
    "top": lambda found: top(found, 4),
    "clip": lambda found: clip_to(found, 9.0),
} | {name: fast for name, (fast, _) in FORMS.items()}
every = pytest.mark.parametrize("name", ALL)


@every
@quick
@given(drawn=candidates(), seed=st.integers(0, 99))
def test_input_order_and_label_numbers_do_not_matter(name, drawn, seed):
    found = detections(*drawn)
    random = np.random.default_rng(seed)
    order, relabel = random.permutation(len(found)), random.permutation(len(NAMES))
    shuffled = found[order]
    renamed = Detections(
        shuffled.segments,
        shuffled.scores,
        relabel[shuffled.labels],
        tuple(NAMES[i] for i in np.argsort(relabel)),
        found.presence,
    )
    assert rows(ALL[name](renamed)) == rows(ALL[name](found))


@every
def test_what_is_not_ranked_stays(name):
    found = detections([(1, 3), (2, 4), (8, 9)], labels=[0, 1, 0])
    result = ALL[name](found)
    assert result.names is found.names
    assert result.presence is found.presence
    assert result.origin is ORIGIN
    assert (np.diff(result.scores) <= 0).all()


@every
def test_no_detection_is_legal(name):
    assert len(ALL[name](detections([]))) == 0


def test_equal_scores_keep_their_order():
    found = detections([(5, 6), (1, 2), (3, 4)], [0.5, 0.5, 0.5])
    for result in (nms(found, tiou=0.5), soft_nms(found, sigma=0.5), top(found, 3)):
        assert_array_equal(result.segments, found.segments)


@quick
@given(candidates(), st.sampled_from([0.3, 0.5, 1.0]), st.booleans())
def test_outermost(drawn, share, per_label):
    found = detections(*drawn)
    best_first = found[np.argsort(-found.scores, kind="stable")]
    kept = []
    for start_s, end_s, name, score in best_first:
        is_inside = False
        for other in kept:
            overlap = min(end_s, other[1]) - max(start_s, other[0])
            shorter = min(end_s - start_s, other[1] - other[0])
            is_inside |= (name == other[2] or not per_label) and overlap > share * shorter
        if not is_inside:
            kept.append((start_s, end_s, name, score))
    assert rows(outermost(found, share=share, per_label=per_label)) == rows(kept)


def test_nms_keeps_what_overlaps_by_exactly_the_limit():
    found = detections([(0, 4), (0, 2)])
    assert len(nms(found, tiou=0.5)) == 2
    assert len(nms(found, tiou=0.49)) == 1


def test_tensorflow_sigma_is_half_of_the_usual():
    found = detections([(0, 4), (1, 5), (2, 9)])
    assert list(soft_nms_tensorflow(found, sigma=0.3)) == list(soft_nms(found, sigma=0.6))


def test_bmn_tolerates_more_of_long_segments():
    found = detections([(0, 10), (0, 7)])
    assert soft_nms_bmn(found, duration_s=10.0).scores[1] == 0.5
    assert soft_nms_bmn(found, duration_s=100.0).scores[1] < 0.5


# merging, clipping, selecting --------------------------------------------------------------


def slow_merge(found, max_gap_s, per_label):
    """Join any two that are close until nothing changes."""
    parts = list(found)
    changed = True
    while changed:
        changed = False
        for a in parts:
            for b in parts:
                gap = max(a[0], b[0]) - min(a[1], b[1])
                if a is not b and gap <= max_gap_s and (a[2] == b[2] or not per_label):
                    best = max(a, b, key=lambda d: d[3])
                    parts = [p for p in parts if p is not a and p is not b]
                    parts.append((min(a[0], b[0]), max(a[1], b[1]), best[2], best[3]))
                    changed = True
                    break
            if changed:
                break
    return parts


@quick
@given(candidates(), st.sampled_from([0.0, 1.0, 2.5]), st.booleans())
def test_merge(drawn, max_gap_s, per_label):
    found = detections(*drawn)
    merged = merge(found, max_gap_s=max_gap_s, per_label=per_label)
    assert rows(merged) == rows(slow_merge(found, max_gap_s, per_label))
    assert rows(merge(merged, max_gap_s=max_gap_s, per_label=per_label)) == rows(merged)


def test_clip_to_drops_what_lies_outside():
    found = clip_to(detections([(-1, 2), (3, 3), (9, 12), (11, 12)]), 10.0)
    assert_array_equal(found.segments, [[0, 2], [9, 10]])


def test_top_takes_the_best():
    assert top(detections([(0, 1), (2, 3), (4, 5)], [0.2, 0.9, 0.5]), 2).scores.tolist() == [
        0.9,
        0.5,
    ]


# runs --------------------------------------------------------------------------------------


@quick
@given(st.lists(st.booleans(), max_size=20), st.integers(0, 4))
def test_runs_and_bridge(mask, max_gap):
    found = runs(np.array(mask, dtype=bool))
    rebuilt = np.zeros(len(mask), dtype=bool)
    for first, end in found:
        assert first < end
        rebuilt[first:end] = True
    assert rebuilt.tolist() == mask
    assert (found[1:, 0] > found[:-1, 1]).all()

    expected = []
    for first, end in found.tolist():
        if expected and first - expected[-1][1] <= max_gap:
            expected[-1][1] = end
        else:
            expected.append([first, end])
    assert bridge(found, max_gap).tolist() == expected
