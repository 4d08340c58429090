"""Moment retrieval: against the literal rules, the authors' own numbers, and by hand."""

import json

import jaxtyping
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.metrics import precision_recall_curve
from slow_detection import slow_average_precision, slow_tious

from openmoment.errors import ConfigError, FormatError
from openmoment.evaluation.detection import PROFILES
from openmoment.evaluation.retrieval import (
    LENGTHS_S,
    RATINGS,
    Retrieved,
    highlights,
    qvhighlights,
    recall_at,
    region_recall,
)
from openmoment.evaluation.retrieval_files import (
    read_predictions,
    read_ratings,
    read_saliency,
    read_truth,
)

TIOUS = PROFILES["activitynet"]


def windows(*rows):
    return np.array(rows, dtype=float).reshape(-1, 2)


def found(*rows):
    """Rows of start, end and score."""
    table = np.array(rows, dtype=float).reshape(-1, 3)
    return Retrieved(table[:, :2], table[:, 2])


def random_case(seed, *, num_queries=12, most=14, longest=8, keys=None):
    """On a coarse grid: equal tIoUs and scores, exact thresholds, length 0, queries unanswered."""
    random = np.random.default_rng(seed)

    def draw(n):
        starts = random.integers(0, 14, n)
        return np.stack([starts, starts + random.integers(0, longest, n)], axis=1).astype(float)

    keys = keys or [f"q{i}" for i in range(num_queries)]
    truth = {key: draw(random.integers(1, 5)) for key in keys}
    predictions = {}
    for key in random.permutation(np.array(keys, dtype=object)[: len(keys) - 1]):
        key = tuple(key) if isinstance(key, np.ndarray) else key
        segments = np.concatenate([draw(random.integers(0, most)), truth[key][:1]])
        segments = segments[random.permutation(len(segments))][: random.integers(0, most)]
        predictions[key] = Retrieved(segments, random.integers(0, 5, len(segments)) / 4)
    return predictions, truth


def ranked(retrieved):
    """(segment, score) of one query, best first, ties in input order."""
    rows = list(zip(retrieved.segments.tolist(), retrieved.scores.tolist(), strict=True))
    return sorted(rows, key=lambda row: -row[1])


# recall against the literal rules ----------------------------------------------------------


def slow_best(predictions, truth, k):
    """For each query the best tIoU among its K best-scored segments."""
    best = []
    for query, true in truth.items():
        rows = ranked(predictions[query])[:k] if query in predictions else []
        best.append(max((slow_tious(segment, true).max() for segment, _ in rows), default=0.0))
    return np.array(best)


@pytest.mark.parametrize("seed", range(20))
def test_recall_equals_the_literal_rules(seed):
    predictions, truth = random_case(seed)
    result = recall_at(predictions, truth, ks=(1, 3, 5), tious=TIOUS)
    for i, k in enumerate(result.ks):
        best = slow_best(predictions, truth, k)
        assert_array_equal(result.best_tiou[:, k - 1], best)
        for j, tiou in enumerate(TIOUS):
            assert result.recall[i, j] == result.at(k, tiou) == np.mean(best >= tiou)
    assert result.mean_iou == pytest.approx(slow_best(predictions, truth, 1).mean(), abs=1e-12)
    assert result.queries == tuple(truth)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_recall_grows_with_k_and_falls_with_tiou(seed):
    predictions, truth = random_case(seed, num_queries=5)
    recall = recall_at(predictions, truth, ks=(1, 2, 5, 50), tious=TIOUS).recall
    assert (np.diff(recall, axis=0) >= 0).all()
    assert (np.diff(recall, axis=1) <= 0).all()
    everywhere = {query: Retrieved(true, np.ones(len(true))) for query, true in truth.items()}
    assert (recall_at(everywhere, truth, tious=TIOUS).recall == 1).all()


@given(seed=st.integers(0, 10_000), scale=st.sampled_from([0.5, 2.0, 8.0]))
@settings(max_examples=25, deadline=None)
def test_order_of_queries_and_unit_of_time_do_not_matter(seed, scale):
    predictions, truth = random_case(seed, num_queries=5)
    other = {q: Retrieved(p.segments * scale, p.scores) for q, p in reversed(predictions.items())}
    reversed_truth = {query: true * scale for query, true in reversed(truth.items())}
    result, same = recall_at(predictions, truth), recall_at(other, reversed_truth)
    assert_array_equal(result.recall, same.recall)
    assert_array_equal(result.best_tiou, same.best_tiou[::-1])


# recall by hand ----------------------------------------------------------------------------


def test_unanswered_queries_are_misses_and_count():
    truth = {"a": windows((0, 10)), "b": windows((0, 10)), "c": windows((0, 10))}
    result = recall_at({"a": found((0, 10, 0.1)), "b": found()}, truth)
    assert result.at(1, 0.5) == result.at(5, 0.7) == pytest.approx(1 / 3)
    assert result.mean_iou == pytest.approx(1 / 3)
    assert (recall_at({}, truth).recall == 0).all()


def test_the_best_of_several_true_segments_counts():
    truth = {"a": windows((50, 60), (0, 10), (0, 8))}
    result = recall_at({"a": found((0, 8, 1.0), (50, 60, 0.5))}, truth)
    assert result.mean_iou == 1.0
    result = recall_at({"a": found((0, 9, 1.0), (50, 60, 0.5))}, truth)
    assert result.best_tiou[0].tolist() == [0.9, 1.0, 1.0, 1.0, 1.0]


def test_tiou_equal_to_the_threshold_counts():
    truth = {"a": windows((0, 10))}
    assert recall_at({"a": found((0, 5, 1))}, truth).at(1, 0.5) == 1
    assert recall_at({"a": found((0, 4.999, 1))}, truth).at(1, 0.5) == 0


def test_equal_scores_keep_their_input_order():
    truth = {"a": windows((0, 10))}
    right, wrong = (0, 10, 0.5), (20, 30, 0.5)
    assert recall_at({"a": found(right, wrong)}, truth, ks=(1,)).mean_iou == 1
    assert recall_at({"a": found(wrong, right)}, truth, ks=(1,)).mean_iou == 0


def test_duplicates_take_places():
    truth = {"a": windows((0, 10))}
    rows = [(20, 30, 0.9)] * 5 + [(0, 10, 0.8)]
    assert recall_at({"a": found(*rows)}, truth, ks=(5, 6)).recall[:, 0].tolist() == [0, 1]


def test_segment_without_length_is_found_by_its_copy_alone():
    truth = {"a": windows((3, 3))}
    assert recall_at({"a": found((3, 3, 1))}, truth).mean_iou == 1
    assert recall_at({"a": found((3, 4, 1))}, truth).mean_iou == 0
    assert recall_at({"a": found((4, 4, 1))}, truth).mean_iou == 0


# what is refused ---------------------------------------------------------------------------


def test_unknown_and_bare_queries_are_refused_by_name():
    truth = {"a": windows((0, 10)), "b": windows((0, 10))}
    for evaluate in (recall_at, qvhighlights):
        with pytest.raises(FormatError, match="'elsewhere' has predictions but no ground truth"):
            evaluate({"a": found(), "elsewhere": found((0, 1, 1))}, truth)
        with pytest.raises(FormatError, match="'bare' has no annotated segment"):
            evaluate({}, {"a": windows((0, 1)), "bare": windows(), "b": windows((0, 1))})
        with pytest.raises(FormatError, match="holds no query"):
            evaluate({}, {})
    with pytest.raises(FormatError, match="'c' has predictions but no ground truth"):
        highlights({"c": np.ones(2)}, {"a": np.ones((2, 3))})


@pytest.mark.parametrize("segment", [(5.0, 2.0), (np.nan, 2.0), (0.0, np.inf)])
def test_impossible_segments_are_refused_by_query_and_row(segment):
    truth = {"a": windows((0, 10)), "b": windows((0, 10), (0, 5))}
    with pytest.raises(FormatError, match=r"'b': prediction 1 has the segment"):
        recall_at({"b": found((0, 1, 1), (*segment, 1)), "a": found((0, 1, 1))}, truth)
    with pytest.raises(FormatError, match=r"'b': annotated segment 2 has the segment"):
        recall_at({}, truth | {"b": np.vstack([truth["b"], segment])})
    with pytest.raises(FormatError, match=r"'b': prediction 0 has the score NaN"):
        recall_at({"b": found((0, 1, np.nan))}, truth)


@pytest.mark.parametrize("asked", [{"ks": (0,)}, {"ks": ()}, {"tious": (50.0,)}, {"tious": (0.0,)}])
def test_meaningless_thresholds_are_refused(asked):
    with pytest.raises(ConfigError, match="tIoU thresholds lie above 0|Recall needs whole numbers"):
        recall_at({}, {"a": windows((0, 10))}, **asked)


def test_segments_without_scores_are_refused(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as outside of tests
    with pytest.raises(ValueError, match=r"segments \(2, 2\), scores \(1,\)"):
        Retrieved(np.zeros((2, 2)), np.zeros(1))


# regions -----------------------------------------------------------------------------------

PAIRS = [(f"v{i % 4}", name) for i in range(6) for name in ("run", "jump")]
DURATIONS = {"v0": 9.0, "v1": 12.0, "v2": 30.0, "v3": 17.0}


def cells(segments, duration_s):
    """The seconds of a video that segments with whole ends cover, one after the other."""
    covered = np.zeros(int(duration_s), dtype=bool)
    for start_s, end_s in segments:
        covered[int(start_s) : int(end_s)] = True
    return covered


@pytest.mark.parametrize("seed", range(20))
def test_regions_equal_counted_seconds(seed):
    pairs = list(dict.fromkeys(PAIRS))
    predicted, truth = random_case(seed, keys=pairs)
    expected = []
    for pair, true in truth.items():
        segments = predicted[pair].segments if pair in predicted else windows()
        a, b = cells(segments, DURATIONS[pair[0]]), cells(true, DURATIONS[pair[0]])
        expected.append((a & b).sum() / max((a | b).sum(), 1))
    result = region_recall(predicted, truth, DURATIONS)
    assert_allclose(result.best_tiou[:, 0], expected, atol=1e-12)
    assert result.mean_iou == pytest.approx(np.mean(expected), abs=1e-12)
    for j, tiou in enumerate(TIOUS):
        assert result.recall[0, j] == np.mean(np.array(expected) >= tiou)


@pytest.mark.parametrize("seed", range(10))
def test_best_segments_equal_the_literal_rules(seed):
    pairs = list(dict.fromkeys(PAIRS))
    predicted, truth = random_case(seed, keys=pairs)
    limit = {pair: DURATIONS[pair[0]] for pair in pairs}
    cut = {p: Retrieved(r.segments.clip(0, limit[p]), r.scores) for p, r in predicted.items()}
    expected = slow_best(cut, {p: t.clip(0, limit[p]) for p, t in truth.items()}, 1)
    result = region_recall(predicted, truth, DURATIONS, mode="segment", tious=(0.3, 0.5))
    assert_array_equal(result.best_tiou[:, 0], expected)
    assert result.at(1, 0.3) == np.mean(expected >= 0.3)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_regions_are_symmetric_and_know_no_cuts(seed):
    random = np.random.default_rng(seed)
    ends = np.sort(random.uniform(0, 20, (4, 2)), axis=1)
    a, b = {("v", "x"): ends[:2]}, {("v", "x"): ends[2:]}
    halves = np.concatenate([ends[:2], ends[:2]])
    halves[:2, 1] = halves[2:, 0] = ends[:2].mean(axis=1)

    def tiou(predicted, truth):
        given = {p: Retrieved(s, np.arange(len(s), dtype=float)) for p, s in predicted.items()}
        return region_recall(given, truth, {"v": 20.0}).mean_iou

    assert tiou(a, b) == pytest.approx(tiou(b, a), abs=1e-12)
    assert tiou({("v", "x"): halves}, b) == pytest.approx(tiou(a, b), abs=1e-12)
    assert tiou(a, a) == 1.0


def test_a_region_is_a_union_and_a_segment_is_one():
    truth = {("v", "run"): windows((0, 10), (5, 12), (20, 28)), ("v", "jump"): windows((0, 4))}
    predicted = {("v", "run"): found((20, 28, 0.9), (0, 6, 0.2), (4, 12, 0.1), (29, 99, 0.3))}
    whole = region_recall(predicted, truth, {"v": 30.0})
    assert whole.best_tiou[:, 0] == pytest.approx([20 / 21, 0.0])
    assert whole.queries == (("v", "run"), ("v", "jump"))
    single = region_recall(predicted, truth, {"v": 30.0}, mode="segment")
    assert single.best_tiou[:, 0].tolist() == [1.0, 0.0]


def test_regions_need_durations_and_known_pairs():
    truth = {("v", "run"): windows((0, 10))}
    for durations in ({}, {"v": np.nan}, {"v": 0.0}):
        with pytest.raises(FormatError, match="Video 'v': expected a duration above 0 s"):
            region_recall({}, truth, durations)
    with pytest.raises(FormatError, match="'jump'"):
        region_recall({("v", "jump"): found()}, truth, {"v": 10.0})
    with pytest.raises(ConfigError, match="tIoU"):
        region_recall({}, truth, {"v": 10.0}, tious=())


# QVHighlights ------------------------------------------------------------------------------


def slow_lengths(predictions, truth):
    """R1 and AP averaged over the queries, at each tIoU, by length."""
    result = {}
    for name, (low, high) in LENGTHS_S.items():
        of_length = {
            q: [w for w in t.tolist() if low < w[1] - w[0] <= high] for q, t in truth.items()
        }
        kept = {q: np.array(t) for q, t in of_length.items() if t}
        if not kept:
            continue
        per_query = []
        for query, true in kept.items():
            rows = ranked(predictions[query])[:10] if query in predictions else []
            per_query.append(
                slow_average_precision(
                    [(query, "", *window) for window in true.tolist()],
                    [(query, "", *segment, score) for segment, score in rows],
                    TIOUS,
                )
            )
        best = slow_best(predictions, kept, 1)
        result[name] = ([np.mean(best >= t) for t in TIOUS], np.mean(per_query, axis=0))
    return result


@pytest.mark.parametrize("seed", range(15))
def test_qvhighlights_equals_the_literal_rules(seed):
    predictions, truth = random_case(seed, most=25, longest=60 if seed % 3 else 8)
    expected = slow_lengths(predictions, truth)
    result = qvhighlights(predictions, truth)
    assert list(result) == list(expected)
    for name, (r1, mean_ap) in expected.items():
        assert_allclose(result[name].recall.recall[0], r1, atol=1e-12)
        assert_allclose(result[name].detection.mean_ap, mean_ap, atol=1e-12)


def test_lengths_on_the_borders():
    truth = {"a": windows((0, 10), (0, 30)), "b": windows((0, 30.5)), "c": windows((0, 151))}
    result = qvhighlights({"a": found((0, 30, 1), (0, 10, 0.5))}, truth)
    asked = {name: part.recall.queries for name, part in result.items()}
    assert asked == {"short": ("a",), "middle": ("a",), "long": ("b",), "full": ("a", "b", "c")}
    assert result["short"].recall.at(1, 0.5) == 0
    assert result["short"].detection.average == 0.5
    assert result["middle"].detection.average == 1
    assert result["full"].detection.average == pytest.approx(1 / 3)


def test_only_the_ten_best_windows_count():
    wrong = [(20, 30, 0.9)] * 9
    truth = {"a": windows((0, 10))}
    tenth = qvhighlights({"a": found((0, 10, 0.1), *wrong)}, truth)
    assert tenth["full"].detection.average == pytest.approx(0.1)
    eleventh = qvhighlights({"a": found((0, 10, 0.1), *wrong, wrong[0])}, truth)
    assert eleventh["full"].detection.average == 0


def percent(value):
    """As the authors round."""
    return float(f"{100 * value:.2f}")


@pytest.mark.data
def test_qvhighlights_sample_scores_as_its_authors_say(data_root):
    folder = data_root / "eval_samples" / "qvhighlights"
    expected = json.loads((folder / "sample_val_preds_metrics_raw.json").read_text())
    del expected["brief"]
    truth_path = data_root / "annotations" / "qvhighlights" / "highlight_val_release.jsonl"
    predicted_path = folder / "sample_val_preds.jsonl"

    result = {}
    for name, part in qvhighlights(
        read_predictions(predicted_path), read_truth(truth_path)
    ).items():
        tious = [str(tiou) for tiou in part.recall.tious]
        aps = dict(zip(tious, map(percent, part.detection.mean_ap), strict=True))
        recalls = dict(zip(tious, map(percent, part.recall.recall[0]), strict=True))
        average = {"average": percent(part.detection.average)}
        result[name] = {"MR-mAP": aps | average, "MR-R1": recalls}
    for name, part in highlights(read_saliency(predicted_path), read_ratings(truth_path)).items():
        scores = {"HL-mAP": percent(part.mean_ap), "HL-Hit1": percent(part.hit1)}
        result[f"HL-min-{name}"] = scores
    assert result == expected


# highlights --------------------------------------------------------------------------------


def slow_highlights(scores, ratings, level):
    """mAP and Hit1 with scikit-learn's curve, a rater at a time."""
    aps, hits = [], []
    for query, rated in ratings.items():
        given = scores.get(query, [])
        counts = rated >= level
        best = int(np.argmax(given)) if len(given) else len(rated)
        hits.append(best < len(rated) and counts[best].any())
        fitted = (list(given) + [0.0] * len(rated))[: len(rated)]
        for column in counts.T:
            if not len(given) or not column.any():
                aps.append(0.0)
                continue
            precision, recall, _ = precision_recall_curve(column, fitted)
            precision = [max(precision[: i + 1]) for i in range(len(precision))]
            aps.append(np.mean([precision[i] for i in np.flatnonzero(np.diff(recall))]))
    return np.mean(aps), np.mean(hits)


@pytest.mark.parametrize("seed", range(10))
def test_highlights_equal_the_authors_rules(seed):
    random = np.random.default_rng(seed)
    ratings, scores = {}, {}
    for i in range(12):
        num_clips = int(random.integers(1, 20))
        ratings[f"q{i}"] = random.integers(0, 5, (num_clips, 3)).astype(float)
        scores[f"q{i}"] = random.integers(-3, 4, num_clips + random.integers(-1, 2)) / 2
    del scores["q3"]
    result = highlights(scores, ratings)
    for name, level in RATINGS.items():
        expected = slow_highlights(scores, ratings, level)
        assert (result[name].mean_ap, result[name].hit1) == pytest.approx(expected, abs=1e-12)


def test_highlights_by_hand():
    ratings = {"a": np.array([[4.0, 0, 0], [0, 2, 2], [0, 0, 0]])}
    right = highlights({"a": np.array([0.9, 0.8, 0.1])}, ratings)
    assert right["VeryGood"].hit1 == 1
    assert right["VeryGood"].mean_ap == pytest.approx(1 / 3)  # two raters find no clip that good
    assert right["Fair"].mean_ap == pytest.approx((1 + 1 / 2 + 1 / 2) / 3)
    beyond = highlights({"a": np.array([0.1, 0.1, 0.1, 5.0])}, ratings)
    assert beyond["Fair"].hit1 == 0
    assert beyond["Fair"].mean_ap == pytest.approx(1 / 3)
    with pytest.raises(FormatError, match="'a': saliency score 1 is NaN"):
        highlights({"a": np.array([0.1, np.nan])}, ratings)


# files -------------------------------------------------------------------------------------

GOOD = {
    "qid": 7,
    "duration": 9,
    "relevant_windows": [[0, 4], [6, 8]],
    "relevant_clip_ids": [0, 3],
    "saliency_scores": [[1, 2, 3], [4, 4, 4]],
    "pred_relevant_windows": [[0, 4, 0.5], [2, 3.5, -1]],
    "pred_saliency_scores": [0.5, -1, 2],
}


def written(tmp_path, *rows):
    path = tmp_path / "rows.jsonl"
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_files_say_what_is_in_them(tmp_path):
    unseen = GOOD | {"qid": "x", "pred_relevant_windows": [], "query": "a\u2028b"}
    path = written(tmp_path, GOOD, "", json.dumps(unseen, ensure_ascii=False))
    assert_array_equal(read_truth(path)["7"], [[0, 4], [6, 8]])
    predictions = read_predictions(path)
    assert list(predictions) == ["7", "x"]
    assert_array_equal(predictions["7"].segments, [[0, 4], [2, 3.5]])
    assert_array_equal(predictions["7"].scores, [0.5, -1])
    assert predictions["x"].segments.shape == (0, 2)
    assert_array_equal(read_ratings(path)["7"], [[1, 2, 3], [0] * 3, [0] * 3, [4, 4, 4]])
    assert_array_equal(read_saliency(path)["7"], [0.5, -1, 2])


@pytest.mark.parametrize(
    ("read", "change", "message"),
    [
        (read_truth, {"relevant_windows": None}, "relevant_windows: expected a list, got None"),
        (read_truth, {"relevant_windows": []}, "relevant_windows: expected at least one window"),
        (
            read_truth,
            {"relevant_windows": [[0, 1], [5, 2]]},
            r"relevant_windows\[1\]: end_s 2 lies",
        ),
        (read_truth, {"relevant_windows": [[0, 1, 2]]}, r"relevant_windows\[0\]: expected a list"),
        (read_truth, {"relevant_windows": [[0, np.nan]]}, r"relevant_windows\[0\]: expected a num"),
        (read_truth, {"relevant_windows": ["ab"]}, r"relevant_windows\[0\]: expected a list of 2"),
        (read_truth, {"qid": [1]}, "qid: expected a number or text"),
        (read_truth, {"qid": 7}, "qid: 7 is there twice"),
        (read_predictions, {"pred_relevant_windows": [[3, 1, 0.5]]}, r"windows\[0\]: end_s 1 lies"),
        (
            read_predictions,
            {"pred_relevant_windows": [[0, 1]]},
            r"windows\[0\]: expected a list of",
        ),
        (
            read_predictions,
            {"pred_relevant_windows": [[0, 1, None]]},
            r"windows\[0\]: expected a n",
        ),
        (read_ratings, {"relevant_clip_ids": [0, 4]}, "relevant_clip_ids: expected whole numbers"),
        (read_ratings, {"relevant_clip_ids": [0, -1]}, "relevant_clip_ids: expected whole numbers"),
        (read_ratings, {"relevant_clip_ids": [0]}, "saliency_scores: expected one entry for each"),
        (
            read_ratings,
            {"saliency_scores": [[1, 2], [3]]},
            r"saliency_scores\[0\]: expected a list",
        ),
        (read_ratings, {"duration": "long"}, "duration: expected a number"),
        (read_saliency, {"pred_saliency_scores": [0, "?"]}, r"scores\[1\]: expected a number"),
    ],
)
def test_malformed_lines_are_named(tmp_path, read, change, message):
    path = written(tmp_path, GOOD, "", GOOD | {"qid": 8} | change)
    with pytest.raises(
        FormatError, match=f"rows.jsonl, line 3: {message}|line 3: .*{message}"
    ) as e:
        read(path)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("read", [read_truth, read_predictions, read_ratings, read_saliency])
def test_what_no_reader_takes(tmp_path, read):
    for bad in ("{", "[" * 100_000, "9" * 5000):
        with pytest.raises(FormatError, match="line 2: is not JSON"):
            read(written(tmp_path, GOOD, bad))
    for bad in ({"qid": 8}, {k: v for k, v in GOOD.items() if k != "qid"}):
        with pytest.raises(FormatError, match="line 2: field '.*' is missing"):
            read(written(tmp_path, GOOD, bad))
    with pytest.raises(FormatError, match="line 2: expected an object"):
        read(written(tmp_path, GOOD, "[1, 2]"))
    with pytest.raises(FormatError, match="cannot be read"):
        read(tmp_path / "absent.jsonl")
