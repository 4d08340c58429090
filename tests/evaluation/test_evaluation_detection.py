"""Detection mAP and proposal recall: against the literal rules, official samples, by hand."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from slow_detection import slow_average_recall, slow_detection

from openmoment.datasets import load_dataset
from openmoment.errors import FormatError
from openmoment.evaluation import matching
from openmoment.evaluation.detection import (
    PROFILES,
    average_recall,
    evaluate_columns,
    evaluate_detection,
)
from openmoment.evaluation.matching import Columns
from openmoment.types import Annotations, Detections

HALF = (0.5,)


def by_video(rows):
    grouped = {}
    for video, *row in rows:
        grouped.setdefault(video, []).append(row)
    return grouped


def noun(rows):
    """The columns of one video; its names are its own, so labels differ between videos."""
    names = tuple(dict.fromkeys(row[0] for row in rows))
    labels = np.array([names.index(row[0]) for row in rows], dtype=int)
    return np.array([row[1:3] for row in rows], dtype=float).reshape(-1, 2), labels, names


def annotations(rows):
    result = {}
    for video, of_video in by_video(rows).items():
        segments, labels, names = noun(of_video)
        result[video] = Annotations(segments, labels, names, 100.0)
    return result


def detections(rows):
    result = {}
    for video, of_video in by_video(rows).items():
        segments, labels, names = noun(of_video)
        scores = np.array([row[3] for row in of_video], dtype=float)
        result[video] = Detections(segments, scores, labels, names, np.ones(len(names)))
    return result


def evaluate(truth, predictions, tious=HALF, **options):
    return evaluate_detection(detections(predictions), annotations(truth), tious=tious, **options)


def random_rows(seed, *, num_videos=4, num_true=40, num_predicted=150):
    """On a coarse grid: equal tIoUs and scores, exact thresholds, length 0, empty classes."""
    random = np.random.default_rng(seed)

    def draw(n, videos, names):
        starts, lengths = random.integers(0, 14, n), random.integers(0, 8, n)
        return [
            (f"v{random.integers(videos)}", str(random.choice(names)), float(a), float(a + d))
            for a, d in zip(starts, lengths, strict=True)
        ]

    truth = draw(num_true, num_videos, ["jump", "run", "throw", "never predicted"])
    predicted = draw(num_predicted, num_videos + 1, ["throw", "unknown", "run", "jump"])
    predicted += [random.choice(np.array(truth, dtype=object)) for _ in range(num_predicted // 4)]
    return truth, [(*row, random.integers(12) / 12) for row in predicted]


def as_in_files(predictions):
    """The rows in the order that their videos first appear, as a mapping gives them."""
    return [(video, *row) for video, rows in by_video(predictions).items() for row in rows]


# mAP against the literal rules -------------------------------------------------------------


@pytest.mark.parametrize("seed", range(30))
def test_equals_the_literal_rules(seed):
    truth, predictions = random_rows(seed, num_videos=1 + seed % 5)
    tious = PROFILES["fine"] if seed % 2 else PROFILES["activitynet"]
    expected = slow_detection(truth, as_in_files(predictions), tious)
    result = evaluate(truth, predictions, tious)
    assert result.classes == tuple(expected)
    assert_allclose(result.ap, list(expected.values()), rtol=0, atol=1e-9)
    assert_allclose(result.mean_ap, np.mean(list(expected.values()), axis=0), atol=1e-9)
    assert result.average == pytest.approx(np.mean(list(expected.values())), abs=1e-9)


def test_portions_change_nothing(monkeypatch):
    truth, predictions = random_rows(99)
    whole = evaluate(truth, predictions, PROFILES["fine"])
    monkeypatch.setattr(matching, "PAIRS_AT_ONCE", 7)
    assert (evaluate(truth, predictions, PROFILES["fine"]).ap == whole.ap).all()


def test_long_disputes_over_equal_instances():
    truth = [("v", "run", 0.0, 10.0)] * 40
    predictions = [("v", "run", 0.0, 10.0 + i % 3, i / 60) for i in range(60)]
    expected = slow_detection(truth, predictions, PROFILES["activitynet"])
    assert_allclose(evaluate(truth, predictions, PROFILES["activitynet"]).ap[0], expected["run"])


# mAP by hand -------------------------------------------------------------------------------

TRUE = [("a", "run", 0.0, 10.0), ("a", "run", 20.0, 30.0)]


def test_duplicate_is_a_false_positive():
    found = [
        ("a", "run", 0.0, 10.0, 0.9),
        ("a", "run", 0.0, 9.0, 0.8),
        ("a", "run", 20.0, 30.0, 0.7),
    ]
    assert evaluate(TRUE, found).average == pytest.approx((1 + 2 / 3) / 2)


def test_second_best_instance_is_a_fallback():
    truth = [("a", "run", 0.0, 10.0), ("a", "run", 1.0, 12.0)]
    found = [("a", "run", 0.0, 10.0, 0.9), ("a", "run", 0.0, 10.0, 0.8)]
    assert evaluate(truth, found).average == 1.0
    assert evaluate(truth, found, (0.9,)).average == 0.5


def test_tiou_equal_to_the_threshold_counts():
    assert evaluate(TRUE[:1], [("a", "run", 0.0, 5.0, 1.0)]).average == 1.0
    assert evaluate(TRUE[:1], [("a", "run", 0.0, 4.999, 1.0)]).average == 0.0


def test_equal_scores_keep_their_input_order():
    right, wrong = ("a", "run", 0.0, 10.0, 0.5), ("a", "run", 50.0, 60.0, 0.5)
    assert evaluate(TRUE[:1], [right, wrong]).average == 1.0
    assert evaluate(TRUE[:1], [wrong, right]).average == 0.5


@pytest.mark.parametrize("video", ["a", "b", "not annotated"])
def test_wrong_predictions_cost_wherever_they_are(video):
    truth = [*TRUE[:1], ("b", "jump", 0.0, 5.0)]
    found = [(video, "run", 50.0, 60.0, 0.9), ("a", "run", 0.0, 10.0, 0.5)]
    assert dict(zip(("jump", "run"), evaluate(truth, found).ap[:, 0], strict=True)) == {
        "jump": 0.0,
        "run": 0.5,
    }


def test_class_without_instances_is_ignored():
    found = [("a", "jump", 0.0, 10.0, 0.9), ("a", "run", 0.0, 10.0, 0.5)]
    result = evaluate(TRUE[:1], found)
    assert (result.classes, result.average) == (("run",), 1.0)
    assert result.num_instances.tolist() == [1]


@pytest.mark.parametrize("video", ["a", "b"])
def test_instance_without_length_is_found_by_its_copy_alone(video):
    truth = [*TRUE[:1], (video, "run", 3.0, 3.0)]
    found = [("a", "run", 0.0, 10.0, 0.9), (video, "run", 4.0, 4.0, 0.8)]
    assert evaluate(truth, found).average == 0.5
    assert evaluate(truth, [*found, (video, "run", 3.0, 3.0, 0.9)]).average == 1.0


def test_annotations_without_predictions():
    assert evaluate(TRUE, []).average == 0.0


def test_options_of_the_ground_truth():
    truth = [*TRUE, TRUE[0], ("a", "run", 40.0, 40.0005), ("b", "run", 0.0, 1.0)]
    found = [(*row, 1.0) for row in TRUE] + [("b", "run", 5.0, 6.0, 2.0)]
    assert evaluate(truth, found).num_instances.tolist() == [5]
    clean = evaluate(truth, found, drop_duplicates=True, min_length_s=0.001, blocked=["b"])
    assert (clean.num_instances.tolist(), clean.average) == ([2], 1.0)


def test_profiles_are_the_published_grids():
    assert_allclose(PROFILES["thumos14"], np.linspace(0.3, 0.7, 5))
    assert_allclose(PROFILES["activitynet"], np.linspace(0.5, 0.95, 10))
    assert_allclose(PROFILES["fine"], np.linspace(0.1, 0.7, 7))


# what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize("segment", [(5.0, 2.0), (np.nan, 2.0), (0.0, np.inf)])
def test_impossible_segments_are_refused_by_video_and_index(segment):
    found = [
        ("b", "run", 0.0, 1.0, 1.0),
        *[(*row, 1.0) for row in TRUE],
        ("a", "run", *segment, 0.5),
    ]
    with pytest.raises(FormatError, match="'a': detection 2 has the segment"):
        evaluate(TRUE, found)
    with pytest.raises(FormatError, match="'a': annotation 2 has the segment"):
        evaluate([*TRUE, ("a", "run", *segment)], [])
    with pytest.raises(FormatError, match="Prediction 1 \\(video 4\\)"):
        true = Columns(np.array([4]), np.array([0]), np.array([[0.0, 1.0]]))
        bad = Columns(np.array([3, 4]), np.array([0, 0]), np.array([[0.0, 1.0], segment]))
        evaluate_columns(bad, np.ones(2), true, classes=["run"], tious=HALF)


def test_score_that_is_no_number_is_refused():
    with pytest.raises(FormatError, match="'a': detection 0 has the score NaN"):
        evaluate(TRUE, [("a", "run", 0.0, 1.0, np.nan)])


def test_truth_without_instances_is_refused():
    with pytest.raises(FormatError, match="no instance"):
        evaluate([], [("a", "run", 0.0, 1.0, 1.0)])
    with pytest.raises(FormatError, match="no instance"):
        average_recall({}, {})


# proposal recall ---------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(10))
def test_average_recall_equals_the_literal_rules(seed):
    truth, proposals = random_rows(seed, num_videos=3)
    budget = [3.0, 20.0, 100.0][seed % 3]
    tious = PROFILES["activitynet"]
    numbers, recall = slow_average_recall(truth, proposals, tious, budget)
    result = average_recall(detections(proposals), annotations(truth), max_proposals=budget)
    assert_allclose(result.num_proposals, numbers, atol=1e-9)
    assert_allclose(result.recall, recall, atol=1e-9)
    area = np.sum(np.diff(numbers) * (recall[:, 1:] + recall[:, :-1]).mean(axis=0) / 2)
    assert result.auc == pytest.approx(area / numbers[-1])
    assert result.at(numbers[-1]) == pytest.approx(recall[:, -1].mean())


def test_average_recall_without_proposals():
    result = average_recall({}, annotations(TRUE))
    assert (result.recall == 0).all()


# real data ---------------------------------------------------------------------------------


def read_rows(path: Path):
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            head = (row["video-id"], row["label"], float(row["t-start"]), float(row["t-end"]))
            yield (*head, float(row["score"])) if "score" in row else head


@pytest.mark.data
@pytest.mark.parametrize("split", range(10))
def test_real_thumos_predictions_score_as_published(data_root, split):
    folder = data_root / "eval_samples" / "thumos14_freezad"
    expected = json.loads((folder / "expected.json").read_text())[f"75/{split}"]
    truth = list(read_rows(folder / "gt_csv" / "75" / f"{split}.csv"))
    predictions = list(read_rows(folder / "predict_csv" / "75" / f"{split}.csv"))
    result = evaluate(truth, predictions, PROFILES["thumos14"])

    assert list(result.classes) == sorted(expected["classes"])
    rounding = 0.5e-4 + 1e-9  # the file has four decimals of a percentage
    published = [expected["ap_percent"][name] for name in result.classes]
    assert_allclose(100 * result.ap, published, rtol=0, atol=rounding)
    assert_allclose(100 * result.mean_ap, expected["map_percent"], rtol=0, atol=rounding)
    assert 100 * result.average == pytest.approx(expected["avg_map_percent"], abs=rounding)
    literal = slow_detection(truth, as_in_files(predictions), PROFILES["thumos14"])
    assert_allclose(result.ap, list(literal.values()), rtol=0, atol=1e-9)


@pytest.mark.data
def test_official_activitynet_sample_is_perfect(data_root):
    path = data_root / "annotations" / "activitynet" / "activity_net.v1-3.assembled.json"
    database = json.loads(path.read_text())["database"]
    videos = {key: v for key, v in database.items() if v["subset"] == "validation"}
    truth = [(k, a["label"], *a["segment"]) for k, v in videos.items() for a in v["annotations"]]
    path = data_root / "eval_samples" / "activitynet" / "sample_detection_prediction.json"
    results = json.loads(path.read_text())["results"]
    found = [(v, d["label"], *d["segment"], d["score"]) for v, ds in results.items() for d in ds]
    result = evaluate(truth, found, PROFILES["activitynet"])
    assert len(result.classes) == 200
    assert result.num_instances.sum() == len(found) == 7654
    assert (result.mean_ap == 1.0).all()


SANITY = {"50_test_50": (35.4, 19.6, 4.7, 20.5), "75_test_25": (34.6, 18.9, 4.4, 19.9)}


@pytest.mark.data
@pytest.mark.parametrize("setting", SANITY)
def test_whole_videos_with_true_labels_score_as_measured(data_root, setting):
    """Mean over the ten splits, at 0.5, 0.75, 0.95 and on average, in percent.

    All scores are equal, so that the order of the videos alone moves the numbers by 0.4.
    """
    folder = data_root / "annotations" / "activitynet"
    with (folder / "video_info_new.csv").open(newline="") as file:
        validation = {r["video"] for r in csv.DictReader(file) if r["subset"] == "validation"}
    everything = json.loads((folder / "anet_anno_action.json").read_text())
    videos = {key: video for key, video in everything.items() if key in validation}
    assert len(videos) == 4728
    rows = [(k, a["label"], *a["segment"]) for k, v in videos.items() for a in v["annotations"]]
    scores = []
    for split in range(10):
        path = data_root / f"splits/train_{setting}/ActivityNet/test/split_{split}.list"
        unseen = set(path.read_text().split("\n"))
        truth = [row for row in rows if row[1] in unseen]
        pairs = dict.fromkeys(row[:2] for row in truth)
        found = [(key, name, 0.0, videos[key]["duration_second"], 1.0) for key, name in pairs]
        result = evaluate(truth, found, PROFILES["activitynet"])
        scores.append([*result.mean_ap[[0, 5, 9]], result.average])
    assert_allclose(100 * np.mean(scores, axis=0), SANITY[setting], rtol=0, atol=0.2)


@pytest.mark.data
@pytest.mark.parametrize(
    ("dataset", "subset", "profile"),
    [("thumos14", "test", "thumos14"), ("activitynet", "validation", "activitynet")],
)
def test_random_predictions_over_real_ground_truth(data_root, dataset, subset, profile):
    """Jittered, mislabelled, repeated and tied predictions, against the literal rules."""
    videos = load_dataset(dataset, data_root / "annotations" / dataset).subset(subset)
    rng = np.random.default_rng(7)
    truth = [
        (video, true.names[label], *map(float, segment))
        for video, true in videos.items()
        for segment, label in zip(true.segments, true.labels, strict=True)
    ]
    names = sorted({row[1] for row in truth})
    found = []
    for video, name, start_s, end_s in truth:
        for _ in range(rng.integers(0, 4)):
            width = max(end_s - start_s, 0.1)
            start, end = np.sort([start_s, end_s] + rng.normal(0, 0.2 * width, 2))
            label = name if rng.random() < 0.7 else names[rng.integers(len(names))]
            found.append((video, label, float(start), float(end), round(rng.random(), 2)))
    result = evaluate(truth, found, PROFILES[profile])
    literal = slow_detection(truth, as_in_files(found), PROFILES[profile])
    assert list(result.classes) == sorted(literal)
    assert 0.05 < result.average < 0.95
    assert_allclose(result.ap, [literal[name] for name in result.classes], rtol=0, atol=1e-9)
