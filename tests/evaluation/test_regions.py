"""GRIZAL's metrics of any method: counted by hand, over many snippets, and beside the paper's."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openmoment.evaluation.published import published_regions
from openmoment.evaluation.regions import label_given
from openmoment.evaluation.result import Card, Result, SplitScore
from openmoment.evaluation.tables import regions_table
from openmoment.types import Annotations, Detections, Origin, SnippetGrid

NAMES = ("a cat", "a dog", "a cow")
TIOUS = (0.3, 0.5, 0.7)
NUM = 40


def world(seed: int, num: int = 3) -> tuple[dict[str, Detections], dict[str, Annotations]]:
    """Curves at random, in another order of names; instances that begin and end with snippets."""
    rng = np.random.default_rng(seed)
    predictions, truth = {}, {}
    for i in range(num):
        starts = rng.integers(0, NUM - 8, 4)
        segments = np.stack([starts, starts + rng.integers(1, 9, 4)], axis=1) / 2
        labels = rng.integers(0, 2, 4)  # never a cow
        truth[f"v{i}"] = Annotations(segments, labels, NAMES, NUM / 2)
        order = rng.permutation(3)
        names = tuple(NAMES[j] for j in order)
        curves = np.repeat(rng.random((3, NUM // 4)), 4, axis=1)
        curves[0, 0] = 0.5  # which is not above one half
        told = Origin("v", NUM / 2, "b", "f", "m", {}, grid=SnippetGrid.uniform(NUM, end_s=NUM / 2))
        predictions[f"v{i}"] = replace(
            Detections.empty(names), origin=replace(told, curves=curves.astype(np.float32))
        )
    return predictions, truth


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_regions_are_counted_snippet_by_snippet(seed: int) -> None:
    predictions, truth = world(seed)
    found = []
    for video, known in truth.items():
        for label in sorted(set(known.labels.tolist())):
            shown = [False] * NUM
            for (start_s, end_s), own in zip(known.segments, known.labels, strict=True):
                for i in range(NUM):
                    shown[i] |= own == label and start_s <= i / 2 + 0.25 < end_s
            answer = predictions[video]
            curve = answer.origin.curves[answer.names.index(NAMES[label])]
            both = sum(on and p > 0.5 for on, p in zip(shown, curve, strict=True))
            either = sum(on or p > 0.5 for on, p in zip(shown, curve, strict=True))
            found.append(both / either)
    expected = {f"R@IoU{t:g}": np.mean([iou >= t for iou in found]) for t in TIOUS}
    expected["mIoU"] = np.mean(found)
    assert label_given(predictions, truth, TIOUS) == pytest.approx(expected)


def test_the_truth_is_found_whole_and_nothing_not_at_all() -> None:
    predictions, truth = world(0)
    for video, known in truth.items():
        grid, shown = predictions[video].origin.grid, np.zeros((3, NUM), np.float32)
        for (start_s, end_s), label in zip(known.segments, known.labels, strict=True):
            shown[label, (grid.centres_s > start_s) & (grid.centres_s < end_s)] = 1
        rows = shown[[NAMES.index(name) for name in predictions[video].names]]
        origin = replace(predictions[video].origin, curves=rows)
        predictions[video] = replace(predictions[video], origin=origin)
    assert set(label_given(predictions, truth, TIOUS).values()) == {1.0}
    for video, found in predictions.items():
        origin = replace(found.origin, curves=np.full((3, NUM), 0.5, np.float32))
        predictions[video] = replace(found, origin=origin)
    assert set(label_given(predictions, truth, TIOUS).values()) == {0.0}


def test_without_scores_of_snippets_there_is_nothing_to_say() -> None:
    predictions, truth = world(0)
    for wrong in ({"curves": None}, {"grid": None}):
        origin = replace(predictions["v1"].origin, **wrong)
        one = predictions | {"v1": replace(predictions["v1"], origin=origin)}
        assert label_given(one, truth, TIOUS) == {}
    from_file = {video: replace(found, origin=None) for video, found in predictions.items()}
    assert label_given(from_file, truth, TIOUS) == {}
    assert label_given({"v0": predictions["v0"]}, truth, TIOUS) == {}
    bare = {v: replace(t, segments=t.segments[:0], labels=t.labels[:0]) for v, t in truth.items()}
    assert label_given(predictions, bare, TIOUS) == {}


def test_where_annotations_tell_no_duration_the_video_does() -> None:
    predictions, truth = world(1)
    silent = {video: replace(known, duration_s=float("nan")) for video, known in truth.items()}
    assert label_given(predictions, silent, TIOUS) == label_given(predictions, truth, TIOUS)


def test_the_papers_rows_stand_beside_ours() -> None:
    given = {"R@IoU0.3": 0.5, "R@IoU0.5": 0.25, "R@IoU0.7": 0.1, "mIoU": 0.2}
    split = SplitScore("0", (), np.zeros((0, 3)), (), 1, 1)
    assert split.label_given == {}
    card = Card("thumos14", "test", "thumos14", TIOUS, setting="75-25", method="grizal")
    halves = [replace(split, label_given={k: v * s for k, v in given.items()}) for s in (0, 2)]
    result = Result(card, tuple(halves))
    assert result.label_given == pytest.approx(given)
    assert Result(card, (halves[0], split)).label_given == {}
    header, rows = regions_table([("mine", result)], card)
    assert header == ["result", "method", "R@IoU0.3", "R@IoU0.5", "R@IoU0.7", "mIoU"]
    assert rows[0] == ["mine", "grizal", "50.0", "25.0", "10.0", "20.0"]
    printed = next(row for row in rows if row[1] == "GRIZAL")
    assert printed[2:] == ["43.2", "25.7", "9.8", "27.0"]
    assert len(rows) == 1 + len(published_regions("thumos14", "75-25"))
    assert not published_regions("synthetic-thumos14", "75-25")
