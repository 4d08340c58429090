"""Action segmentation: against the literal rules, scikit-learn, and by hand."""

import jaxtyping
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.metrics import average_precision_score

from openmoment.errors import FormatError
from openmoment.evaluation import segmentation
from openmoment.evaluation.segmentation import (
    Frames,
    average_precision,
    evaluate_frames,
    evaluate_segmentation,
)


def random_videos(seed, *, num_videos=4, num_classes=6):
    """Coarse logits with ties and zeros, frames of no and of several classes, unused classes."""
    random = np.random.default_rng(seed)
    videos = []
    for i in range(num_videos):
        shape = (int(random.integers(0, 30)) + (i == 0), num_classes)
        logits = random.integers(-4, 4, shape) / 2
        truth = random.random(shape) < 0.15
        truth[:, num_classes // 2] = False
        videos.append(Frames(f"v{i}", logits.astype(np.float32), truth))
    return videos


# frames against the literal rules ----------------------------------------------------------


def slow_accuracy(videos):
    right = []
    for video in videos:
        for logits, truth in zip(video.logits, video.truth, strict=True):
            best = max(range(len(logits)), key=logits.__getitem__)
            right.append(bool(truth[best]) if logits[best] > 0 else not truth.any())
    return np.mean(right)


@pytest.mark.parametrize("seed", range(20))
def test_frames_equal_the_literal_rules(seed, monkeypatch):
    videos = random_videos(seed, num_videos=1 + seed % 5)
    monkeypatch.setattr(segmentation, "_CLASSES_AT_ONCE", 1 + seed % 4)
    truth = np.concatenate([video.truth for video in videos])
    logits = np.concatenate([video.logits for video in videos])
    present = np.flatnonzero(truth.any(axis=0))
    expected = [average_precision_score(truth[:, c], logits[:, c]) for c in present]
    result = evaluate_frames(iter(videos))
    assert_array_equal(result.labels, present)
    assert_allclose(result.ap, expected, atol=1e-12)
    if len(present):
        assert result.mean_ap == pytest.approx(np.mean(expected), abs=1e-12)
    assert result.accuracy == pytest.approx(slow_accuracy(videos), abs=1e-12)
    assert result.num_frames == len(truth)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_how_frames_are_cut_into_videos_does_not_matter(seed):
    videos = random_videos(seed)
    random = np.random.default_rng(seed)
    truth = np.concatenate([video.truth for video in videos])
    logits = np.concatenate([video.logits for video in videos])
    order = random.permutation(len(truth))
    a, b = evaluate_frames(videos), evaluate_frames([Frames("all", logits[order], truth[order])])
    assert a.accuracy == b.accuracy
    assert_allclose(a.ap, b.ap, atol=1e-12)


# frames by hand ----------------------------------------------------------------------------


def one_video(logits, labels, *, num_classes=2):
    truth = np.zeros((len(labels), num_classes), dtype=bool)
    for frame, label in enumerate(labels):
        if label is not None:
            truth[frame, label] = True
    return evaluate_frames([Frames("v", np.array(logits, dtype=float), truth)])


def test_a_logit_of_zero_is_background():
    assert one_video([[0.0, -1.0]], [None]).accuracy == 1
    assert one_video([[0.0, -1.0]], [0]).accuracy == 0
    assert one_video([[1e-9, -1.0]], [0]).accuracy == 1
    assert one_video([[1e-9, -1.0]], [None]).accuracy == 0


def test_of_equal_logits_the_first_class_is_chosen():
    assert one_video([[1.0, 1.0]], [0]).accuracy == 1
    assert one_video([[1.0, 1.0]], [1]).accuracy == 0


def test_a_frame_of_two_classes_accepts_either():
    truth = np.array([[True, False, True]])
    for best, accuracy in ((0, 1), (1, 0), (2, 1)):
        logits = np.full((1, 3), -1.0)
        logits[0, best] = 1.0
        assert evaluate_frames([Frames("v", logits, truth)]).accuracy == accuracy


def test_average_precision_by_hand():
    result = one_video([[3.0, 0], [2.0, 0], [1.0, 0]], [0, None, 0])
    assert result.labels.tolist() == [0]
    assert result.mean_ap == pytest.approx((1 + 2 / 3) / 2)
    tied = average_precision(np.array([1.0, 1.0, 1.0, 0.0]), np.array([0]))
    assert tied == pytest.approx(1 / 3)
    assert average_precision(np.zeros(5), np.array([1, 4])) == pytest.approx(2 / 5)


def test_all_background_scores_its_share_of_frames():
    truth = np.zeros((10, 3), dtype=bool)
    truth[:4, 1] = True
    result = evaluate_frames([Frames("v", np.full((10, 3), -2.0), truth)])
    assert (result.accuracy, result.mean_ap) == (0.6, 0.4)
    nothing = evaluate_frames([Frames("v", np.full((10, 3), -2.0), truth & False)])
    assert nothing.accuracy == 1
    assert np.isnan(nothing.mean_ap)


def test_frames_that_do_not_fit_are_refused(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as outside of tests
    for logits, truth in (((3, 2), (2, 2)), ((3,), (3,))):
        with pytest.raises(FormatError, match="'v': expected logits and truth as frames x classes"):
            Frames("v", np.zeros(logits), np.zeros(truth, dtype=bool))


def test_bad_frames_are_refused_by_video():
    logits, truth = np.zeros((3, 2)), np.zeros((3, 2), dtype=bool)
    with pytest.raises(FormatError, match="no frame"):
        evaluate_frames([])
    with pytest.raises(FormatError, match="no frame"):
        evaluate_frames([Frames("v", logits[:0], truth[:0])])
    with pytest.raises(FormatError, match="Video 'b' has 1 classes, those before it 2"):
        evaluate_frames([Frames("a", logits, truth), Frames("b", logits[:, :1], truth[:, :1])])
    with pytest.raises(FormatError, match="'v': expected at least one class"):
        Frames("v", logits[:, :0], truth[:, :0])
    logits[1, 1] = np.nan
    with pytest.raises(FormatError, match="'v': the logit of frame 1, class 1 is NaN"):
        Frames("v", logits, truth)


# segments against the literal rules --------------------------------------------------------


def slow_runs(labels, background):
    """Rows of label, first frame, end."""
    rows = []
    for frame, label in enumerate(labels):
        if not rows or rows[-1][0] != label:
            rows.append([label, frame, frame])
        rows[-1][2] = frame + 1
    return [row for row in rows if row[0] not in background]


def slow_edit(found, true):
    a, b = [row[0] for row in found], [row[0] for row in true]
    distance = np.zeros((len(a) + 1, len(b) + 1))
    distance[:, 0], distance[0] = range(len(a) + 1), range(len(b) + 1)
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            replace = distance[i - 1, j - 1] + (a[i - 1] != b[j - 1])
            distance[i, j] = min(replace, distance[i - 1, j] + 1, distance[i, j - 1] + 1)
    return 1 - distance[-1, -1] / max(len(a), len(b)) if a or b else 1.0


def slow_counts(found, true, threshold):
    """True positives, false positives and false negatives."""
    taken, hits = set(), 0
    for label, first, end in found:
        overlaps = []
        for other, true_first, true_end in true:
            shared = max(0, min(end, true_end) - max(first, true_first))
            whole = max(end, true_end) - min(first, true_first)
            overlaps.append(shared / whole if other == label else 0.0)
        if not overlaps:
            continue
        best = overlaps.index(max(overlaps))
        if overlaps[best] >= threshold and best not in taken:
            taken.add(best)
            hits += 1
    return np.array([hits, len(found) - hits, len(true) - len(taken)])


def slow_segmentation(predicted, truth, tious, background):
    counts = np.zeros((len(tious), 3))
    edits, right = [], []
    for video, labels in truth.items():
        found, true = slow_runs(predicted[video], background), slow_runs(labels, background)
        edits.append(slow_edit(found, true))
        right += [a == b for a, b in zip(predicted[video], labels, strict=True)]
        counts += [slow_counts(found, true, threshold) for threshold in tious]
    f1 = [2 * tp / (2 * tp + fp + fn) if tp + fp + fn else 1.0 for tp, fp, fn in counts]
    return np.mean(right), np.mean(edits), f1


def random_labels(seed, *, num_videos=3, num_labels=4):
    """Truth in long runs; predictions are the truth with pieces overwritten."""
    random = np.random.default_rng(seed)
    predicted, truth = {}, {}
    for i in range(num_videos):
        runs = random.integers(0, num_labels, random.integers(1, 9))
        truth[f"v{i}"] = np.repeat(runs, random.integers(1, 9, len(runs)))
        wrong = truth[f"v{i}"].copy()
        for _ in range(random.integers(0, 6)):
            at = random.integers(len(wrong))
            wrong[at : at + random.integers(1, 5)] = random.integers(num_labels)
        predicted[f"v{i}"] = wrong
    return predicted, truth


TIOUS = (0.1, 0.25, 0.5, 0.75)


@pytest.mark.parametrize("background", [(), (0,), (0, 2)])
@pytest.mark.parametrize("seed", range(12))
def test_segments_equal_the_literal_rules(seed, background):
    predicted, truth = random_labels(seed)
    mof, edit, f1 = slow_segmentation(predicted, truth, TIOUS, background)
    result = evaluate_segmentation(predicted, truth, tious=TIOUS, background=background)
    assert result.mof == pytest.approx(mof, abs=1e-12)
    assert result.edit == pytest.approx(edit, abs=1e-12)
    assert_allclose(result.f1, f1, atol=1e-12)


@given(seed=st.integers(0, 10_000), background=st.sampled_from([(), (0,), (0, 1, 2, 3)]))
@settings(max_examples=30, deadline=None)
def test_properties_of_segment_scores(seed, background):
    predicted, truth = random_labels(seed)
    result = evaluate_segmentation(predicted, truth, tious=TIOUS, background=background)
    swapped = evaluate_segmentation(truth, predicted, tious=TIOUS, background=background)
    assert (result.mof, result.edit) == (swapped.mof, swapped.edit)
    assert (np.diff(result.f1) <= 0).all()
    assert 0 <= result.edit <= 1
    stretched = [{v: np.repeat(x, 3) for v, x in side.items()} for side in (predicted, truth)]
    finer = evaluate_segmentation(*stretched, tious=TIOUS, background=background)
    assert (finer.mof, finer.edit) == pytest.approx((result.mof, result.edit))
    assert_array_equal(finer.f1, result.f1)
    perfect = evaluate_segmentation(truth, truth, background=background)
    assert (perfect.mof, perfect.edit, *perfect.f1) == (1, 1, 1, 1, 1)


# segments by hand --------------------------------------------------------------------------


def segments(predicted, truth, **options):
    videos = [{"v": np.array([int(c) for c in side], dtype=int)} for side in (predicted, truth)]
    return evaluate_segmentation(*videos, **options)


def test_a_split_segment_is_right_once():
    result = segments("1111211112", "1111111112")
    assert result.mof == 0.9
    assert result.edit == 0.5  # 1 2 1 2 against 1 2
    assert result.f1.tolist() == [2 * 2 / (4 + 2)] * 2 + [2 / (4 + 2)]


def test_tiou_equal_to_the_threshold_counts():
    assert segments("1100", "1111", background=[0]).f1.tolist() == [1, 1, 1]
    assert segments("1000", "1111", background=[0]).f1.tolist() == [1, 1, 0]


def test_background_parts_equal_segments():
    result = segments("1101", "1001", background=[0])
    assert (result.mof, result.edit) == (0.75, 1)
    assert result.f1.tolist() == [1, 1, 1]
    assert segments("0000", "1111", background=[0]).f1.tolist() == [0, 0, 0]
    assert segments("1111", "0000", background=[0]).edit == 0
    assert segments("0000", "0000", background=[0]).edit == 1


def test_edit_is_averaged_over_videos_and_f1_pooled():
    predicted = {"a": np.array([1, 2]), "b": np.array([3] * 6)}
    truth = {"b": np.array([4] * 6), "a": np.array([1, 2])}
    result = evaluate_segmentation(predicted, truth)
    assert (result.mof, result.edit) == (0.25, 0.5)
    assert result.f1.tolist() == pytest.approx([2 * 2 / 6] * 3)


def test_unmatched_videos_are_refused_by_name():
    labels = np.array([1, 2])
    with pytest.raises(FormatError, match="'b' is missing in the predictions"):
        evaluate_segmentation({"a": labels}, {"a": labels, "b": labels})
    with pytest.raises(FormatError, match="'b' is missing in the ground truth"):
        evaluate_segmentation({"a": labels, "b": labels}, {"a": labels})
    with pytest.raises(FormatError, match="'a': 1 predicted frames, 2 annotated ones"):
        evaluate_segmentation({"a": labels[:1]}, {"a": labels})
    with pytest.raises(FormatError, match="holds no frame"):
        evaluate_segmentation({}, {})
