"""The protocol: splits, cards, comparisons, published rows, and the whole-video oracle."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from commands import run
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_detection import slow_detection

from openmoment.cli.text.results import describe, told_drops
from openmoment.datasets import load_dataset
from openmoment.datasets.base import Dataset
from openmoment.errors import ConfigError, FormatError
from openmoment.evaluation.compare import (
    over_splits,
    over_videos,
    require_alike,
    weighted_average,
)
from openmoment.evaluation.detection import PROFILES, evaluate_detection, match
from openmoment.evaluation.protocol import (
    Protocol,
    match_ids,
    score_files,
    whole_video_with_true_labels,
)
from openmoment.evaluation.published import published_beside, published_results
from openmoment.evaluation.result import (
    DECISIVE,
    Card,
    Result,
    SplitScore,
    read_result,
    write_result,
)
from openmoment.evaluation.tables import comparison_table, render, splits_table
from openmoment.evaluation.text_check import text_verdict
from openmoment.experiments.kept import keep, read_kept, read_predictions
from openmoment.types import Annotations, Detections

TIOUS = (0.3, 0.5, 0.7)
NAMES = ("run", "jump", "swim")


def random_truth(rng: np.random.Generator, videos: int) -> dict[str, Annotations]:
    truth = {}
    for i in range(videos):
        n = int(rng.integers(1, 5))
        starts = rng.uniform(0, 80, n)
        segments = np.stack([starts, starts + rng.uniform(1, 15, n)], axis=1)
        truth[f"v{i}"] = Annotations(segments, rng.integers(0, 3, n), NAMES, 100.0)
    return truth


def random_predictions(
    rng: np.random.Generator, truth: dict[str, Annotations], *, noise: float
) -> dict[str, Detections]:
    found = {}
    for video, true in truth.items():
        segments = np.repeat(true.segments, 3, axis=0)
        segments = np.sort(segments + rng.normal(0, noise, segments.shape), axis=1)
        labels = np.where(rng.random(len(segments)) < 0.8, np.repeat(true.labels, 3), 0)
        scores = rng.random(len(segments))
        found[video] = Detections(segments, scores, labels, NAMES, np.ones(3))
    return found


def dataset_of(truth: dict[str, Annotations], name: str = "mine") -> Dataset:
    return Dataset(name, {"train": {}, "test": truth}, NAMES, "train", "test", "fine")


def a_result(values: list[float], **card: object) -> Result:
    base = Card("thumos14", "test", "thumos14", (0.5,), setting="75-25", splits=(0, 1))
    splits = [
        SplitScore(str(i), ("Diving",), np.array([[value]]), (3,), 2, 5)
        for i, value in enumerate(values)
    ]
    return Result(replace(base, **card), tuple(splits))


@pytest.fixture(scope="module")
def activitynet(data_root: Path) -> Dataset:
    return load_dataset("activitynet", data_root / "annotations" / "activitynet")


# scoring files -----------------------------------------------------------------------------------


def test_score_files_is_the_evaluator_and_says_what_was_counted() -> None:
    rng = np.random.default_rng(0)
    truth = random_truth(rng, 12)
    predictions = random_predictions(rng, truth, noise=1.0)
    run = score_files(Protocol(dataset_of(truth)), {"all": predictions}, method="x")
    plain = evaluate_detection(predictions, truth, tious=PROFILES["fine"])
    np.testing.assert_array_equal(run.result.splits[0].ap, plain.ap)
    assert run.result.mean["mAP_avg"] == pytest.approx(plain.average)
    assert run.result.std["mAP_avg"] == 0.0
    assert run.result.splits[0].num_videos == 12
    assert run.num_aside == 0


@pytest.mark.data
def test_real_predictions_of_ten_splits_score_as_their_own_evaluator_says(data_root) -> None:
    """Mean over the ten splits: 10.0464 by the authors' code."""
    folder = data_root / "eval_samples" / "thumos14_freezad"
    expected = json.loads((folder / "expected.json").read_text())
    averages = [expected[f"75/{split}"]["avg_map_percent"] for split in range(10)]
    assert np.mean(averages) == pytest.approx(10.0464, abs=1e-4)
    root = data_root / "annotations" / "thumos14"
    dataset = load_dataset(
        "thumos14", root, annotations=root / "thumos_anno_action.json", exclude="none"
    )
    protocol = Protocol(dataset, "75-25", rule="t3al-code")
    predictions = {str(i): read_csv(folder / "predict_csv" / "75" / f"{i}.csv") for i in range(10)}
    run = score_files(protocol, predictions, method="FreeZAD")
    np.testing.assert_allclose(100 * run.result.metrics["mAP_avg"], averages, atol=1e-3)
    assert run.num_aside == 0
    assert run.result.card.subset == "validation+test"


def read_csv(path: Path) -> dict[str, Detections]:
    rows = [line.split(",") for line in path.read_text().splitlines()[1:]]
    found = {}
    for video in dict.fromkeys(row[0] for row in rows):
        mine = [row for row in rows if row[0] == video]
        names = tuple(sorted({row[4] for row in mine}))
        found[video] = Detections(
            np.array([[float(row[1]), float(row[2])] for row in mine]),
            np.array([float(row[3]) for row in mine]),
            np.array([names.index(row[4]) for row in mine], dtype=np.int64),
            names,
            np.ones(len(names)),
        )
    return found


@pytest.mark.data
def test_videos_that_a_split_does_not_evaluate_are_set_aside(data_root) -> None:
    dataset = load_dataset("thumos14", data_root / "annotations" / "thumos14")
    anything = Detections(
        np.array([[0.0, 5.0]]), np.ones(1), np.zeros(1, int), ("Diving",), np.ones(1)
    )
    protocol = Protocol(dataset, "75-25", splits=(0,))
    (part,) = protocol.parts.values()
    inside = next(iter(part.test))
    given = {
        inside: anything,
        "video_validation_0000051": anything,  # of the other subset
        "video_test_0001496": anything,  # excluded
        "video_nobody_knows": anything,
    }
    run = score_files(protocol, {"all": given}, method="x")
    assert set(run.predictions["0"]) == {inside, "video_nobody_knows"}
    assert run.num_aside == 2


def test_ids_match_with_and_without_their_prefix() -> None:
    found = Detections.empty(("a",))
    truth = dict.fromkeys(
        ["x1", "v_x2"], Annotations(np.zeros((0, 2)), np.zeros(0, int), ("a",), 1.0)
    )
    assert set(match_ids({"v_x1": found, "x2.mp4": found, "new": found}, truth)) == {
        "x1",
        "v_x2",
        "new",
    }
    with pytest.raises(FormatError, match="None of the 1 predicted videos"):
        match_ids({"other": found}, truth)
    with pytest.raises(FormatError, match="twice"):
        match_ids({"v_x1": found, "x1": found}, truth)


@pytest.mark.data
@pytest.mark.parametrize(
    ("setting", "rule", "subset", "splits", "expected", "tolerance"),
    [
        ("50-50", "openmoment", None, range(10), (35.4, 19.6, 4.7, 20.5, 19.9), 0.1),
        ("75-25", "openmoment", None, range(10), (34.6, 18.9, 4.4, 19.9, 19.3), 0.25),
        ("50-50", "stale-code", None, range(10), (42.2, 23.4, 5.6, 24.5, 23.7), 0.1),
        ("50-50", "t3al-code", None, range(3), (32.8, 17.3, 3.4, 18.5, 17.8), 0.12),
    ],
)
def test_whole_videos_with_true_labels_score_what_others_measured(
    activitynet, setting, rule, subset, splits, expected, tolerance
) -> None:
    """All scores tie, and another order of the videos moves these by up to 0.5."""
    protocol = Protocol(activitynet, setting, tuple(splits), rule=rule, subset=subset)
    oracle = {n: whole_video_with_true_labels(part.test) for n, part in protocol.parts.items()}
    mean = score_files(protocol, oracle, method="whole_video").result.mean
    names = ("mAP@0.5", "mAP@0.75", "mAP@0.95", "mAP_avg", "mAP_avg3")
    found = [100 * mean[name] for name in names]
    np.testing.assert_allclose(found, expected, atol=tolerance + 0.05)  # printed to 0.1


# settings that make no sense ---------------------------------------------------------------------


def test_protocols_that_make_no_sense() -> None:
    data = dataset_of(random_truth(np.random.default_rng(0), 2))
    with pytest.raises(ConfigError, match="no published class splits"):
        Protocol(data, "50-50")
    with pytest.raises(ConfigError, match="numbered 0 to 9"):
        Protocol(replace(data, name="thumos14"), "50-50", (12,))
    assert len(Protocol(replace(data, name="thumos14"), "50-50").splits) == 10


# results in files --------------------------------------------------------------------------------


def test_a_result_is_read_as_it_was_written(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    truth = random_truth(rng, 6)
    predictions = random_predictions(rng, truth, noise=1.0)
    run = score_files(Protocol(dataset_of(truth)), {"all": predictions}, method="x")
    keep(run.result, run.predictions, run.truth, tmp_path / "r")
    again = read_result(tmp_path / "r")
    assert again.card == run.result.card
    assert again.mean == run.result.mean
    found, true = read_kept(tmp_path / "r", "all")
    rescored = evaluate_detection(found, true, tious=PROFILES["fine"])
    np.testing.assert_array_equal(rescored.ap, run.result.splits[0].ap)
    assert set(read_predictions(tmp_path / "r" / "split_all.predictions.json")) == set(predictions)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "is not JSON"),
        ("{}", "field 'schema' is missing"),
        ('{"schema": "other/1"}', "expected 'openmoment-result/1'"),
        (
            '{"schema": "openmoment-result/1", "card": {"x": 1}, "splits": []}',
            "this version can read",
        ),
    ],
)
def test_a_file_that_is_no_result(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "result.json").write_text(text)
    with pytest.raises(FormatError, match="result.json") as caught:
        read_result(tmp_path)
    assert says in str(caught.value)


# comparing ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", DECISIVE)
def test_unlike_cards_are_refused_by_the_field_that_differs(field: str) -> None:
    a = a_result([0.1, 0.2])
    value = getattr(a.card, field)
    other = {tuple: ("x",), bool: True, str: "something else"}[type(value)]
    b = replace(
        a,
        card=replace(a.card, **{field: {"splits": (1, 7), "tious": (0.5, 0.6)}.get(field, other)}),
    )
    with pytest.raises(ConfigError, match=field):
        require_alike({"a": a, "b": b})
    require_alike({"a": a, "b": replace(a, card=replace(a.card, method="m", backbone="b", seed=3))})


def test_the_bootstrap_over_splits_sees_what_is_clear() -> None:
    rng = np.random.default_rng(0)
    base = rng.uniform(0.1, 0.5, 10)
    card = {"splits": tuple(range(10))}
    a, b = a_result(list(base + 0.05), **card), a_result(list(base), **card)
    clear = over_splits(a, b)
    assert clear.difference == pytest.approx(0.05)
    assert clear.is_clear and clear.share_better == 1.0
    noisy = a_result(list(base + rng.normal(0, 0.1, 10)), **card)
    assert not over_splits(noisy, b).is_clear
    assert over_splits(b, b).share_better == 0.5
    with pytest.raises(ConfigError, match="at least two splits"):
        over_splits(a_result([0.1]), a_result([0.2]))


@pytest.mark.parametrize(("num", "is_enough"), [(2, False), (4, False), (5, True)])
def test_few_splits_are_too_few_to_tell(num: int, is_enough: bool) -> None:
    """However far apart: the interval of two equal signs never reaches zero."""
    better, worse = a_result([0.6, 0.4, 0.5, 0.7, 0.6][:num]), a_result([0.1] * num)
    difference = over_splits(better, worse)
    assert difference.low_high[0] > 0 and difference.num_resampled == num
    assert difference.is_clear == difference.is_enough == is_enough
    told = "a clear difference" if is_enough else f"too few to tell (splits: {num}, it takes 5)"
    assert difference.verdict == told


@pytest.mark.parametrize(("num", "verdict"), [(1, "videos: 1, it takes 10"), (10, "clear")])
def test_few_videos_are_too_few_to_tell(num: int, verdict: str) -> None:
    truth = random_truth(np.random.default_rng(4), num)
    good = random_predictions(np.random.default_rng(5), truth, noise=0.1)
    bad = {video: found[found.scores < 0] for video, found in good.items()}
    files = [(good, truth)] * 2, [(bad, truth)] * 2  # of two splits, with the same videos
    difference = over_videos(*files, tious=TIOUS, num_samples=50)
    assert difference.num_resampled == num and difference.low_high[0] > 0
    assert difference.is_clear == (num == 10)
    assert verdict in difference.verdict


def test_where_splits_are_few_their_videos_are_resampled(tmp_path: Path) -> None:
    """Of results without their files, what is left are the splits."""
    truth = random_truth(np.random.default_rng(4), 12)
    found = random_predictions(np.random.default_rng(5), truth, noise=1.0)
    for name, values in {"a": [0.1, 0.2], "b": [0.3, 0.3]}.items():
        parts = {"0": found, "1": found}, {"0": truth, "1": truth}
        keep(a_result(values), *parts, tmp_path / name)
    folders = (tmp_path / "a", tmp_path / "b")
    assert "resamplings of videos" in run("compare", *folders).stdout
    assert "(splits: 2, it takes 5)" in run("compare", *folders, "--over", "splits").stdout
    (tmp_path / "b" / "split_1.truth.json").unlink()
    assert "(splits: 2, it takes 5)" in run("compare", *folders).stdout
    many = [0.1 + 0.01 * i for i in range(5)]
    for i, folder in enumerate(folders):
        write_result(a_result([value + 0.1 * i for value in many]), folder)
    assert "resamplings of splits" in run("compare", *folders).stdout


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_a_video_of_weight_two_is_two_videos(seed: int) -> None:
    """Against copies of the videos, scored by the literal rules."""
    rng = np.random.default_rng(seed)
    truth = random_truth(rng, 5)
    predictions = random_predictions(rng, truth, noise=1.5)
    predictions["not annotated"] = predictions["v0"]
    matching, _, videos = match(predictions, truth, tious=TIOUS)
    weights = rng.integers(0, 4, (1, len(videos)))
    copies = [(v, c) for v, w in zip(videos, weights[0], strict=True) for c in range(w)]
    true = [
        (f"{v}#{c}", NAMES[label], *segment)
        for v, c in copies
        if v in truth
        for segment, label in zip(truth[v].segments, truth[v].labels, strict=True)
    ]
    found = [
        (f"{v}#{c}", p.name, p.start_s, p.end_s, p.score) for v, c in copies for p in predictions[v]
    ]
    found.sort(key=lambda row: -row[4])
    literal = np.mean(list(slow_detection(true, found, TIOUS).values())) if true else 0.0
    assert weighted_average(matching, weights)[0] == pytest.approx(literal, abs=1e-9)


def test_the_bootstrap_over_videos_is_paired() -> None:
    rng = np.random.default_rng(3)
    truth = random_truth(rng, 60)
    good = random_predictions(rng, truth, noise=0.5)
    bad = random_predictions(rng, truth, noise=4.0)
    difference = over_videos([(good, truth)], [(bad, truth)], tious=TIOUS, num_samples=200)
    plain = [evaluate_detection(p, truth, tious=TIOUS).average for p in (good, bad)]
    assert difference.difference == pytest.approx(plain[0] - plain[1])
    assert difference.is_clear
    same = over_videos([(good, truth)], [(good, truth)], tious=TIOUS, num_samples=50)
    assert same.low_high == (0.0, 0.0)


def test_what_was_trained_on_stands_beside_the_number(tmp_path: Path) -> None:
    """Of candidates, those that have instances; results of before have no such field."""
    result = a_result([0.1], trained_on=("Diving", "Shotput"), splits=())
    _, rows = comparison_table([("mine", result), ("other", a_result([0.2]))])
    assert [row[-1] for row in rows] == ["trained on 1 of 1 classes", "2 of 10 splits"]
    assert "; trained on 1 of 1 classes" in describe(result)
    write_result(result, tmp_path)
    assert read_result(tmp_path).card.trained_on == ("Diving", "Shotput")
    document = result.to_dict()
    del document["card"]["trained_on"]
    (tmp_path / "result.json").write_text(json.dumps(document))
    assert read_result(tmp_path).card.trained_on == ()


# does it read its text? --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "others", "says"),
    [
        (0.6, (0.1, 0.29), "it reads its text"),
        (0.6, (0.1, 0.31), "it reads its text in part"),
        (0.6, (0.31, 0.1), "it reads its text in part"),
        (0.6, (0.31, 0.5), "it does not seem to read its text"),
        (0.0, (0.592, 0.0), "too little to tell (the score itself is below 1 %)"),
        (0.009, (0.0, 0.0), "too little to tell (the score itself is below 1 %)"),
    ],
)
def test_half_the_score_has_to_be_lost_in_every_check(
    own: float, others: tuple[float, ...], says: str
) -> None:
    assert text_verdict(own, others) == says
    assert text_verdict(own, others, num_labels=3, num_scored=10) == says


def test_there_is_no_verdict_on_little() -> None:
    assert "labels: 2, it takes 3" in text_verdict(0.6, [0.0], num_labels=2, num_scored=50)
    told = text_verdict(0.6, [0.0], num_labels=5, num_scored=9)
    assert told == "too little to tell (instances or sentences: 9, it takes 10)"


def test_a_score_of_zero_has_no_share() -> None:
    others = {"names exchanged": 0.592, "nonsense words": 0.0}
    *lines, verdict = told_drops("mAP", 0.0, others, num_labels=9, num_scored=50).splitlines()
    assert lines == [
        "names exchanged: mAP 0.0 becomes 59.2.",
        "nonsense words: mAP 0.0 becomes 0.0.",
    ]
    assert verdict == "Verdict: too little to tell (the score itself is below 1 %)."


# tables and papers -------------------------------------------------------------------------------


def test_tables_in_every_form() -> None:
    result = a_result([0.1234, 0.2])
    for form in ("text", "markdown", "latex", "csv"):
        assert "16.2" in render(*splits_table(result), form)
        assert "2 of 10 splits" in render(*comparison_table([("mine", result)]), form)
    header, rows = comparison_table([("mine", result)], published_beside("thumos14", "75-25"))
    assert len({len(header), *map(len, rows)}) == 1


def test_published_rows_are_those_of_the_papers() -> None:
    rows = {(r.paper, r.method): r for r in published_beside("thumos14", "50-50")}
    t3al = rows["T3AL", "T3AL"]
    assert t3al.percent["mAP_avg"] == 10.4
    assert "videos of both subsets" in t3al.note
    assert "AFSD" in rows["STALE", "B-I"].note
    assert rows["STALE", "B-II"].note == ""
    assert "not mAP" in rows["ConTrans", "GRIZAL"].note
    anet = {(r.paper, r.method): r for r in published_beside("activitynet", "75-25")}
    assert "three tIoUs" in anet["T3AL", "T3AL"].note
    assert "classifier" in anet["STALE", "STALE"].note
    assert published_beside("mine", "all") == ()
    assert {row.dataset for row in published_results()} >= {"thumos14", "coin", "charades-sta"}
