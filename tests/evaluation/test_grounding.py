"""cgF1 and what stands beside it: against a literal form, and by what must hold."""

import math
from itertools import permutations

import numpy as np
import pytest
from detections import make_detections
from hypothesis import given, settings
from hypothesis import strategies as st

from openmoment.errors import FormatError
from openmoment.evaluation.grounding import TIOUS, calibration_error, evaluate_grounding
from openmoment.types import Annotations

NAMES = ("a", "b", "c")


def annotated(rows: list[tuple[float, float, str]]) -> Annotations:
    segments = np.array([row[:2] for row in rows], dtype=float).reshape(-1, 2)
    labels = np.array([NAMES.index(row[2]) for row in rows], dtype=np.int64)
    return Annotations(segments, labels, NAMES, 100.0)


def said(rows: list[tuple[float, float, str]]):
    return make_detections([(*row, 0.8) for row in rows], NAMES)


def tiou(a, b) -> float:
    overlap = max(0.0, min(a[1], b[1]) - max(a[0], b[0]))
    return overlap / (max(a[1], b[1]) - min(a[0], b[0]))


def literal(videos) -> np.ndarray:
    """The definition, one pair after the other, every assignment tried."""
    tp, fp, fn = np.zeros(10), np.zeros(10), np.zeros(10)
    table = {(True, True): 0, (True, False): 0, (False, True): 0, (False, False): 0}
    for found, true in videos:
        for name in NAMES:
            mine = [row[:2] for row in found if row[2] == name]
            own = [row[:2] for row in true if row[2] == name]
            table[bool(own), bool(mine)] += 1
            if not own:
                continue
            short, long = (mine, own) if len(mine) <= len(own) else (own, mine)
            best = max(
                (
                    [tiou(x, y) for x, y in zip(short, chosen, strict=True)]
                    for chosen in permutations(long, len(short))
                ),
                key=sum,
            )
            for g, threshold in enumerate(TIOUS):
                right = sum(value >= threshold for value in best)
                tp[g] += right
                fp[g] += len(mine) - right
                fn[g] += len(own) - right
    precision, recall = tp / (tp + fp + 1e-4), tp / (tp + fn + 1e-4)
    pmf1 = 2 * precision * recall / (precision + recall + 1e-4)
    a, b, c, d = (
        table[key] for key in ((True, True), (False, True), (True, False), (False, False))
    )
    return pmf1 * (a * d - b * c) / (math.sqrt((a + b) * (a + c) * (d + b) * (d + c)) + 1e-6)


moments = st.lists(
    st.tuples(st.integers(0, 90), st.integers(1, 9), st.sampled_from(NAMES)), max_size=6
).map(lambda rows: [(float(start), float(start + length), name) for start, length, name in rows])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(moments, moments), min_size=1, max_size=5))
def test_it_is_what_the_definition_says(videos) -> None:
    predictions = {str(i): said(found) for i, (found, _) in enumerate(videos)}
    truth = {str(i): annotated(true) for i, (_, true) in enumerate(videos)}
    found = evaluate_grounding(predictions, truth)
    num_present = sum(len({row[2] for row in true}) for _, true in videos)
    if num_present in (0, 3 * len(videos)):
        assert math.isnan(found.mcc) and np.isnan(found.cgf1).all()
        return
    np.testing.assert_allclose(found.cgf1, literal(videos), atol=1e-9)
    backwards = dict(reversed(predictions.items()))
    np.testing.assert_allclose(evaluate_grounding(backwards, truth).cgf1, found.cgf1, atol=1e-12)


TRUE = {"v": annotated([(10, 20, "a"), (50, 60, "a"), (30, 40, "b")])}
PERFECT = [(10.0, 20.0, "a"), (50.0, 60.0, "a"), (30.0, 40.0, "b")]


def test_perfect_answers_have_one() -> None:
    found = evaluate_grounding({"v": said(PERFECT)}, TRUE)
    assert found.mean == pytest.approx(1, abs=1e-3) and found.mcc == pytest.approx(1, abs=1e-3)
    assert (found.yes_present, found.yes_absent) == (1.0, 0.0)
    assert found.to_dict()["cgf1"] == pytest.approx(100, abs=0.1)


def test_everything_everywhere_has_nothing() -> None:
    found = evaluate_grounding({"v": said([*PERFECT, (0.0, 100.0, "c")])}, TRUE)
    assert found.mcc == 0 and found.mean == 0
    assert found.pmf1[0] == pytest.approx(1, abs=1e-3)  # what is wrong of "c" counts in the MCC


def test_silence_has_nothing() -> None:
    found = evaluate_grounding({"v": said([])}, TRUE)
    assert (found.mcc, found.mean, found.yes_present) == (0, 0, 0)


def test_a_guess_is_not_an_answer() -> None:
    from dataclasses import replace

    sure = said([*PERFECT, (0.0, 5.0, "c")])
    guessed = replace(sure, unsure=frozenset({"c"}))
    assert evaluate_grounding({"v": sure}, TRUE).mcc == 0
    assert evaluate_grounding({"v": guessed}, TRUE).mcc == pytest.approx(1, abs=1e-3)


def test_a_one_sided_truth_leaves_the_positive_part() -> None:
    everything = {"v": annotated([(0, 10, "a"), (0, 10, "b"), (0, 10, "c")])}
    found = evaluate_grounding({"v": said([(0.0, 10.0, "a")])}, everything)
    assert math.isnan(found.mean) and math.isnan(found.yes_absent)
    assert found.pmf1[0] == pytest.approx(0.5, abs=1e-3)
    assert found.to_dict()["cgf1"] is None and found.to_dict()["cgf1_at"] == {}


def test_videos_without_truth_and_no_queries_are_refused() -> None:
    with pytest.raises(FormatError, match="'w' has predictions but no ground truth"):
        evaluate_grounding({"w": said([])}, TRUE)
    with pytest.raises(FormatError, match="name none"):
        evaluate_grounding({}, TRUE)


def test_a_calibrated_presence_has_no_error_and_a_boast_has() -> None:
    occurs = np.array([True] * 7 + [False] * 3 + [False] * 4)
    presence = np.array([0.7] * 10 + [0.05] * 4)
    weights = np.where(occurs, 0.5 / 7, 0.5 / 7)
    by_hand = abs((weights[:10] * (0.7 - occurs[:10])).sum()) + weights[10:].sum() * 0.05
    assert calibration_error(presence, occurs) == pytest.approx(by_hand)
    assert calibration_error(np.full(14, 0.95), occurs) == pytest.approx(0.45)
    assert math.isnan(calibration_error(presence, np.ones(14, dtype=bool)))
