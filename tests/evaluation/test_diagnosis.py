"""What goes wrong and what reviewing costs: against literal rules, by hand, on real results."""

import json
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from slow_detection import slow_tious
from test_evaluation_detection import (
    annotations,
    as_in_files,
    detections,
    evaluate,
    random_rows,
    read_rows,
)

from openmoment.errors import ConfigError, FormatError
from openmoment.evaluation.detection import PROFILES
from openmoment.evaluation.diagnosis import EDGES, ERRORS, KINDS, diagnose
from openmoment.evaluation.review import ANY_HIT, review_cost
from openmoment.report.diagnosis import write_diagnosis

HALF = (0.5,)
THREE = (0.3, 0.5, 0.7)


def diagnosis_of(truth, predictions, tious=HALF, **options):
    return diagnose(detections(predictions), annotations(truth), tious=tious, **options)


# literal rules -----------------------------------------------------------------------------


def slow_kinds(truth, predictions, tiou):
    """(rank, kind) of each prediction of a known class, and the rank that found each instance."""
    kinds, found_by = {}, {}
    for name in {row[1] for row in truth}:
        mine = [i for i, row in enumerate(predictions) if row[1] == name]
        for rank, i in enumerate(sorted(mine, key=lambda i: -predictions[i][4]), start=1):
            video, _, *segment, _ = predictions[i]
            here = [j for j, row in enumerate(truth) if row[0] == video]
            overlap = dict(
                zip(here, slow_tious(segment, [truth[j][2:4] for j in here]), strict=True)
                if here
                else []
            )
            own = sorted((overlap[j], j) for j in here if truth[j][1] == name and j not in found_by)
            if own and own[-1][0] >= tiou:
                found_by[own[-1][1]] = rank
                kinds[i] = rank, "true positive"
                continue
            best = max(overlap.values(), default=0.0)
            is_own = any(overlap[j] == best and truth[j][1] == name for j in here)
            if best >= tiou:
                kinds[i] = rank, "double detection" if is_own else "wrong label"
            elif best >= 0.1:
                kinds[i] = rank, "localization" if is_own else "confusion"
            else:
                kinds[i] = rank, "background"
    return kinds, found_by


@pytest.mark.parametrize("seed", range(12))
def test_kinds_equal_the_literal_rules(seed):
    truth, predictions = random_rows(seed, num_videos=1 + seed % 4)
    predictions = as_in_files(predictions)
    num_instances = Counter(row[1] for row in truth)
    group = diagnosis_of(truth, predictions, THREE).groups["all"]
    expected = np.zeros((3, 10, len(KINDS)), dtype=int)
    missed = []
    for t, tiou in enumerate(THREE):
        kinds, found_by = slow_kinds(truth, predictions, tiou)
        for i, (rank, kind) in kinds.items():
            band = (rank - 1) // num_instances[predictions[i][1]]
            if band < 10:
                expected[t, band, KINDS.index(kind)] += 1
        missed.append(
            [found_by.get(j, 1e9) > 10 * num_instances[row[1]] for j, row in enumerate(truth)]
        )
    assert (group.counts == expected).all()
    by_length = group.missed["length"]
    assert by_length.num_missed.sum() == pytest.approx(np.mean(missed, axis=0).sum())
    is_short = [row[3] - row[2] <= 3 for row in truth]
    assert by_length.num_instances[0] == sum(is_short)
    assert by_length.num_missed[0] == pytest.approx(np.mean(missed, axis=0)[is_short].sum())


@pytest.mark.parametrize("seed", range(6))
def test_gain_is_that_of_evaluating_without_those_predictions(seed):
    truth, predictions = random_rows(seed)
    predictions = as_in_files(predictions)
    kinds, _ = slow_kinds(truth, predictions, 0.5)
    group = diagnosis_of(truth, predictions).groups["all"]
    assert group.average_map == pytest.approx(evaluate(truth, predictions).average)
    for error, gain in zip(ERRORS, group.gain, strict=True):
        kept = [row for i, row in enumerate(predictions) if kinds.get(i, (0, ""))[1] != error]
        without = evaluate(truth, kept).average
        assert gain == pytest.approx(without - group.average_map, abs=1e-12)


@settings(max_examples=20, deadline=None)
@given(st.integers(100, 100_000), st.sampled_from([HALF, THREE, PROFILES["activitynet"]]))
def test_shares_sum_to_one_and_errors_never_help(seed, tious):
    truth, predictions = random_rows(seed, num_predicted=60)
    group = diagnosis_of(truth, predictions, tious).groups["all"]
    some = ~np.isnan(group.shares).any(axis=1)
    assert some[0]
    assert_allclose(group.shares[some].sum(axis=1), 1)
    assert_allclose(group.share_of_all.sum(), 1)
    assert (group.gain >= 0).all()
    assert group.average_map + group.gain.max() <= 1 + 1e-9
    for found in group.missed.values():
        assert found.num_instances.sum() == group.num_instances == len(truth)
        assert (found.num_missed <= found.num_instances).all()


@pytest.mark.parametrize("seed", range(3))
def test_groups_share_out_the_whole(seed):
    truth, predictions = random_rows(seed)
    seen, unseen = ["jump", "run"], ["throw", "never predicted"]
    groups = diagnosis_of(
        truth, predictions, THREE, groups={"seen": seen, "unseen": unseen, "other": ["unknown"]}
    ).groups
    assert list(groups) == ["all", "seen", "unseen"]
    parts = groups["seen"], groups["unseen"]
    assert (groups["all"].counts == sum(part.counts for part in parts)).all()
    for name in ("average_map", "gain", "top_n_map"):
        means = np.mean([getattr(part, name) for part in parts], axis=0)  # two classes each
        assert_allclose(getattr(groups["all"], name), means)
    for kind in EDGES:
        total = sum(part.missed[kind].num_missed for part in parts)
        assert_allclose(groups["all"].missed[kind].num_missed, total)


# kinds by hand -----------------------------------------------------------------------------

TRUTH = [
    ("a", "run", 0.0, 10.0),
    ("a", "jump", 20.0, 30.0),
    ("a", "dive", 40.0, 50.0),
    ("a", "cliff dive", 40.0, 50.0),
    ("b", "run", 0.0, 10.0),
]
FOUND = ("a", "run", 0.0, 10.0, 1.0)


@pytest.mark.parametrize(
    ("prediction", "kind"),
    [
        (("b", "run", 0.0, 5.0), "true positive"),
        (("a", "run", 0.0, 9.0), "double detection"),
        (("a", "run", 20.0, 29.0), "wrong label"),
        (("b", "run", 0.0, 4.9), "localization"),
        (("a", "run", 0.0, 4.9), "localization"),
        (("b", "run", 9.0, 10.0), "localization"),
        (("b", "run", 9.01, 10.0), "background"),
        (("a", "run", 28.0, 34.0), "confusion"),
        (("a", "run", 29.5, 34.0), "background"),
        (("not annotated", "run", 0.0, 10.0), "background"),
        (("a", "dive", 40.0, 44.0), "localization"),
        (("a", "run", 8.0, 30.0), "confusion"),
    ],
)
def test_kind_of_a_prediction(prediction, kind):
    group = diagnosis_of(TRUTH, [FOUND, (*prediction, 0.5)]).groups["all"]
    expected = Counter(["true positive", kind])
    assert dict(zip(KINDS, group.counts.sum(axis=(0, 1)), strict=True)) == {
        name: expected[name] for name in KINDS
    }


def test_two_names_of_one_action_do_not_count_against_each_other():
    found = [("a", name, 40.0, 50.0, score) for name in ("dive", "cliff dive") for score in (1, 2)]
    group = diagnosis_of(TRUTH, found).groups["all"]
    assert group.counts.sum(axis=(0, 1)).tolist() == [2, 2, 0, 0, 0, 0]


def test_bands_are_of_as_many_as_the_class_has_instances():
    wrong = [("a", "run", 60.0, 61.0, 0.1)] * 30
    group = diagnosis_of(TRUTH, [FOUND, *wrong], groups={"runs": ["run"]}).groups["runs"]
    assert group.counts[0, :, 0].tolist() == [1] + [0] * 9
    assert group.counts[0, :, -1].tolist() == [1] + [2] * 9
    assert group.shares[0].tolist() == [0.5, 0, 0, 0, 0, 0.5]
    late = diagnosis_of(TRUTH, [*wrong[:20], ("b", "run", 0.0, 10.0, 0.05)]).groups["all"]
    assert late.missed["length"].num_missed.sum() == 5  # found, but after 10G


def test_buckets_include_their_upper_end():
    truth = [("a", "run", 0.0, 3.0), ("a", "run", 10.0, 13.5), *[("b", "run", 0.0, 99.0)] * 5]
    truth += [("a", "jump", 0.0, 0.5)]
    missed = diagnosis_of(truth, [("a", "run", 0.0, 3.0, 1.0)]).groups["all"].missed

    def filled(kind):
        rows = zip(
            missed[kind].buckets, missed[kind].num_instances, missed[kind].num_missed, strict=True
        )
        return {name: (num, num_missed) for name, num, num_missed in rows if num}

    assert filled("length") == {"0–3 s": (2, 1), "3–6 s": (1, 1), "60–120 s": (5, 5)}
    assert filled("coverage") == {"0–2 %": (1, 1), "2–4 %": (2, 1), "over 80 %": (5, 5)}
    assert filled("instances") == {"1": (1, 1), "2–4": (2, 1), "5–8": (5, 5)}


@pytest.mark.parametrize("duration_s", [np.nan, 0.0])
def test_coverage_of_a_video_of_unknown_length(duration_s):
    truth = {"a": replace(annotations(TRUTH)["a"], duration_s=duration_s)}
    missed = diagnose({}, truth, tious=HALF).groups["all"].missed
    assert missed["coverage"].num_instances.tolist() == [0] * 8 + [4]
    assert missed["length"].num_instances.sum() == 4


def test_own_buckets():
    options = {"edges": {"length": (1.0, 5.0)}, "top_ns": (3,)}
    group = diagnosis_of(TRUTH, [FOUND], **options).groups["all"]
    assert group.missed["length"].buckets == ("0–1 s", "1–5 s", "over 5 s", "unknown")
    assert len(group.top_n_map) == 1
    with pytest.raises(ConfigError, match="length, coverage, instances, got 'colour'"):
        diagnosis_of(TRUTH, [FOUND], edges={"colour": (1.0,)})


def test_map_of_the_top_predictions_of_each_video():
    found = [
        ("a", "run", 60.0, 70.0, 0.9),
        FOUND[:4] + (0.8,),
        ("b", "run", 0.0, 10.0, 0.7),
        ("a", "nothing known", 0.0, 1.0, 0.85),
    ]
    group = diagnosis_of(TRUTH, found, groups={"runs": ["run"]}, top_ns=(1, 2, 3)).groups["runs"]
    one = 0.5 / 2  # the second prediction is the first that is true, of two instances
    assert_allclose(group.top_n_map, [one, one, 2 / 3])
    assert group.average_map == pytest.approx(2 / 3)


def test_nothing_predicted_and_nothing_true(tmp_path):
    nothing = diagnosis_of(TRUTH, [])
    assert nothing.groups["all"].average_map == 0
    assert "true positive" in nothing.to_text()
    shares = json.loads(json.dumps(nothing.to_dict(), allow_nan=False))["groups"]["all"]["shares"]
    assert shares["background"] == [None] * 10
    write_diagnosis(nothing, tmp_path / "page.html")
    with pytest.raises(FormatError, match="no instance"):
        diagnosis_of([], [FOUND])


# what reviewing costs ----------------------------------------------------------------------


def slow_cost(truth, predictions, durations, recall, tiou):
    """Threshold, false alarms, seconds watched, found: the first threshold that finds enough."""
    for threshold in sorted({row[4] for row in predictions}, reverse=True):
        kept = [row for row in predictions if row[4] >= threshold]

        def hits(row, instance, least=tiou):
            same = row[:2] == instance[:2]
            return same and slow_tious(row[2:4], [instance[2:4]])[0] >= least

        found = sum(any(hits(row, instance) for row in kept) for instance in truth)
        if found >= recall * len(truth) - 1e-9:
            false = sum(not any(hits(row, instance) for instance in truth) for row in kept)
            watched = {
                (row[0], second)  # the random segments have whole seconds
                for row in kept
                for second in range(int(row[2]), min(int(row[3]), durations[row[0]]))
            }
            return threshold, false, len(watched), found
    return None


@pytest.mark.parametrize("tiou", [ANY_HIT, 0.5])
@pytest.mark.parametrize("seed", range(6))
def test_cost_equals_the_literal_rules(seed, tiou):
    truth, predictions = random_rows(seed, num_true=25, num_predicted=60)
    durations = {row[0]: 10 + i % 7 for i, row in enumerate(truth)}
    names = {row[1] for row in truth}
    known = [row for row in predictions if row[0] in durations and row[1] in names]
    true = {
        v: replace(each, duration_s=float(durations[v])) for v, each in annotations(truth).items()
    }
    for recall in (0.2, 0.5, 0.9):
        review = review_cost(detections(predictions), true, recall=recall, tiou=tiou)
        assert review.hours == pytest.approx(sum(durations.values()) / 3600)
        for each in (review.overall, *review.classes):
            mine = [row for row in truth if each.name in ("all", row[1])]
            asked = [row for row in known if each.name in ("all", row[1])]
            expected = slow_cost(mine, asked, durations, recall, tiou)
            assert each.num_instances == len(mine)
            assert (each.cost is None) == (expected is None) == (each.best_recall < recall)
            if each.cost is None:
                continue
            threshold, false, watched_s, found = expected
            assert (each.cost.threshold, each.cost.num_false) == (threshold, false)
            assert each.cost.num_found == found == round(each.cost.recall * len(mine))
            assert each.cost.false_per_hour == pytest.approx(false / review.hours)
            assert each.cost.minutes_per_hit == pytest.approx(watched_s / 60 / found)
            assert each.cost.skipped == pytest.approx(1 - watched_s / 3600 / review.hours)


def test_cost_by_hand():
    found = [
        ("a", "run", 0.0, 10.0, 0.9),
        ("a", "run", 1.0, 10.0, 0.8),  # again: no false alarm
        ("a", "jump", 60.0, 120.0, 0.7),  # beyond the end of the video
        ("b", "run", 0.0, 3.0, 0.6),
        ("not annotated", "run", 0.0, 10.0, 1.0),
    ]
    truth = annotations(TRUTH[:2] + TRUTH[-1:])
    review = review_cost(detections(found), truth, recall=1 / 3)
    assert review.overall.cost
    assert review.overall.cost.num_kept == 1
    assert review.overall.cost.skipped == pytest.approx(0.95)
    jump, run = review.classes
    assert (jump.name, jump.best_recall, jump.cost) == ("jump", 0.0, None)
    assert (run.name, run.best_recall, run.cost and run.cost.recall) == ("run", 0.5, 0.5)
    cost = review_cost(detections(found), truth, recall=0.6, tiou=ANY_HIT).overall.cost
    assert cost
    assert (cost.threshold, cost.num_kept, cost.num_false, cost.num_found) == (0.6, 4, 1, 2)
    assert cost.minutes_per_hit == pytest.approx((10 + 40 + 3) / 60 / 2)
    assert cost.false_per_hour == pytest.approx(1 / (200 / 3600))


def test_unreachable_recall_is_said():
    review = review_cost({}, annotations(TRUTH), recall=0.5)
    assert review.overall.cost is None
    assert json.loads(json.dumps(review.to_dict(), allow_nan=False))["overall"]["cost"] is None
    assert review.to_text().splitlines()[3].split() == ["all", "5", "-", "-", "0.0", "-", "-", "-"]


def test_what_review_refuses():
    true = annotations(TRUTH)
    with pytest.raises(ConfigError, match="a recall above 0 and up to 1, got 80"):
        review_cost({}, true, recall=80.0)
    with pytest.raises(ConfigError, match="a tIoU above 0"):
        review_cost({}, true, tiou=0.0)
    with pytest.raises(FormatError, match="Video 'b' has the duration nan s"):
        review_cost({}, true | {"b": replace(true["b"], duration_s=np.nan)})


# the page ----------------------------------------------------------------------------------


class Tags(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.open, self.seen = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_page_is_whole_and_needs_nothing_else(tmp_path):
    truth, predictions = random_rows(5)
    result = diagnosis_of(truth, predictions, groups={"<i>unseen": ["run"]})
    write_diagnosis({"<b>0": result, "1": result}, tmp_path / "page.html", title="<s>A & B")
    page = (tmp_path / "page.html").read_text()
    tags = Tags(page)
    assert tags.open == []
    names = {tag for tag, _ in tags.seen}
    assert not names & {"script", "link", "img", "b", "i", "s"}
    assert not any({"src", "href"} & attributes.keys() for _, attributes in tags.seen)
    assert [tag for tag, _ in tags.seen].count("figure") == 2 * 2 * 4
    widths = [float(a["width"].rstrip("%")) for tag, a in tags.seen if tag == "rect"]
    assert 0 <= min(widths) <= max(widths) == 100
    costs = [part.split("</figure>")[0] for part in page.split("What each error costs")[1:]]
    assert sum(cost.count('width="100.00%"') for cost in costs) == 2  # one scale for all groups


# real data ---------------------------------------------------------------------------------


@pytest.mark.data
@pytest.mark.parametrize("split", [0, 7])
def test_real_thumos_predictions(data_root, split, tmp_path):
    folder = data_root / "eval_samples" / "thumos14_freezad"
    truth = list(read_rows(folder / "gt_csv" / "75" / f"{split}.csv"))
    predictions = list(read_rows(folder / "predict_csv" / "75" / f"{split}.csv"))
    official = json.loads((data_root / "annotations/thumos14/thumos14.json").read_text())
    true = {
        video: replace(each, duration_s=official["database"][video]["duration"])
        for video, each in annotations(truth).items()
    }
    found = detections(predictions)
    result = diagnose(found, true, tious=PROFILES["thumos14"], top_ns=(1, 10_000))
    group = result.groups["all"]
    expected = json.loads((folder / "expected.json").read_text())[f"75/{split}"]
    assert 100 * group.average_map == pytest.approx(expected["avg_map_percent"], abs=1e-4)
    assert group.top_n_map[1] == pytest.approx(group.average_map)
    assert group.top_n_map[0] < group.average_map
    predictions = as_in_files(predictions)
    kinds, found_by = slow_kinds(truth, predictions, 0.5)
    counts = Counter(kind for rank, kind in kinds.values())
    at_half = dict(zip(KINDS, group.counts[2].sum(axis=0).tolist(), strict=True))
    assert at_half == {kind: counts[kind] for kind in KINDS}  # none is beyond 10G
    review = review_cost(found, true, recall=0.15)
    assert review.overall.cost
    assert review.overall.best_recall >= len(found_by) / len(truth)
    assert 0.15 <= review.overall.cost.recall < 0.16
    write_diagnosis(result, tmp_path / "page.html")
