"""Behaviour statistics and agreement: against literal references, scikit-learn, and by hand."""

import json
import statistics as plain
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from commands import refusal, run
from detections import make_detections, make_origin
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from openmoment.behaviour import agreement_of, bouts_of, statistics_of
from openmoment.behaviour.agreement import TIOUS, most_pairs
from openmoment.behaviour.bouts import transitions_of
from openmoment.export import FORMATS
from openmoment.types import Detections

NAMES = ("groom", "rear", "walk")
END = 60  # of a video, in tenths of a second
few = settings(max_examples=25, deadline=None)

Rows = list[tuple[int, int, int]]  # start and end in tenths of a second, label

_row = st.tuples(st.integers(0, END - 12), st.integers(1, 12), st.integers(0, 2))
_rows = st.lists(_row.map(lambda r: (r[0], r[0] + r[1], r[2])), max_size=8)


def detections(rows: Rows) -> Detections:
    return make_detections([(s / 10, e / 10, NAMES[label], 0.5) for s, e, label in rows], NAMES)


def bouts(rows: Rows):
    return bouts_of(detections(rows), END / 10)


def merge(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Overlapping spans become one, two at a time, until none overlap."""
    for i, a in enumerate(spans):
        for j, b in enumerate(spans[:i]):
            if max(a[0], b[0]) < min(a[1], b[1]):
                rest = [span for k, span in enumerate(spans) if k not in (i, j)]
                return merge([*rest, (min(a[0], b[0]), max(a[1], b[1]))])
    return sorted(spans)


def of_label(rows: Rows, label: int) -> list[tuple[int, int]]:
    return merge([(s, e) for s, e, own in rows if own == label])


def on_grid(rows: Rows) -> list[tuple[bool, ...]]:
    """Which queries go on in each tenth of a second."""
    return [
        tuple(any(s <= t < e for s, e, own in rows if own == label) for label in range(3))
        for t in range(END)
    ]


# statistics --------------------------------------------------------------------------------------


@few
@given(rows=_rows)
def test_statistics_are_what_they_say(rows):
    found = statistics_of([bouts(rows)])
    for label, query in enumerate(found.queries):
        spans = of_label(rows, label)
        lengths = [(e - s) / 10 for s, e in spans]
        gaps = [(b[0] - a[1]) / 10 for a, b in zip(spans[:-1], spans[1:], strict=True)]
        assert query.count == len(lengths)
        assert query.total_s == pytest.approx(sum(lengths))
        assert query.share == pytest.approx(sum(on[label] for on in on_grid(rows)) / END)
        assert query.per_hour == pytest.approx(600 * len(lengths))
        told = (query.mean_s, query.median_s, query.min_s, query.max_s, query.latency_s)
        if lengths:
            known = (plain.mean(lengths), plain.median(lengths), min(lengths), max(lengths))
            assert told == pytest.approx((*known, spans[0][0] / 10))
        else:
            assert told == (None,) * 5
        sd = plain.stdev(lengths) if len(lengths) > 1 else None
        assert query.sd_s == (sd if sd is None else pytest.approx(sd))
        mean, median = (plain.mean(gaps), plain.median(gaps)) if gaps else (None, None)
        told = (query.interval_mean_s, query.interval_median_s)
        assert told == ((None, None) if mean is None else pytest.approx((mean, median)))
    assert found.share_none == pytest.approx(sum(not any(on) for on in on_grid(rows)) / END)


@few
@given(rows=_rows)
def test_transitions_are_to_what_starts_next(rows):
    every = [(s, e, label) for label in range(3) for s, e in of_label(rows, label)]
    counts = np.zeros((3, 3), dtype=int)
    for _, end, label in every:
        later = [other for other in every if other[0] >= end]
        for start, _, after in later:
            counts[label, after] += start == min(start for start, _, _ in later)
    np.testing.assert_array_equal(transitions_of(bouts(rows), NAMES), counts)
    shares = statistics_of([bouts(rows)]).transition_shares.sum(axis=1)
    np.testing.assert_allclose(shares, counts.sum(axis=1) > 0)


@few
@given(first=_rows, second=_rows)
def test_videos_together_are_like_one_after_the_other(first, second):
    """But that nothing leads from one to the next."""
    together = statistics_of([bouts(first), bouts(second)])
    behind = [(s + END, e + END, label) for s, e, label in second]
    joined = statistics_of([bouts_of(detections([*first, *behind]), 2 * END / 10)])
    for a, b in zip(together.queries, joined.queries, strict=True):
        assert (a.count, a.total_s, a.share) == pytest.approx((b.count, b.total_s, b.share))
        assert a.median_s == (b.median_s if b.median_s is None else pytest.approx(b.median_s))
    assert together.share_none == pytest.approx(joined.share_none)
    parts = [statistics_of([bouts(rows)], NAMES).transitions for rows in (first, second)]
    np.testing.assert_array_equal(together.transitions, sum(parts))


def test_bouts_by_hand():
    found = make_detections(
        [(-1.0, 2.0, "a", 0.5), (1.5, 3.0, "a", 0.9), (3.0, 4.0, "a", 0.5), (9.0, 12.0, "b", 0.5)]
        + [(5.0, 5.0, "b", 0.5), (11.0, 12.0, "a", 0.5)],
    )
    own = bouts_of(found, 10.0)
    assert own.of("a").tolist() == [[0.0, 3.0], [3.0, 4.0]]
    assert own.of("b").tolist() == [[5.0, 5.0], [9.0, 10.0]]
    assert own.of("c").tolist() == []
    assert transitions_of(own, ("a", "b")).tolist() == [[1, 1], [0, 1]]


def test_what_starts_together_follows_together():
    own = bouts_of(
        make_detections([(0.0, 1.0, "a", 1.0), (2.0, 3.0, "a", 1.0), (2.0, 4.0, "b", 1.0)]), 9.0
    )
    assert transitions_of(own, ("a", "b")).tolist() == [[1, 1], [0, 0]]


def test_nothing_at_all():
    found = statistics_of([bouts_of(Detections.empty(["a"]), 0.0)])
    assert (found.queries[0].share, found.share_none) == (None, None)
    json.dumps(found.to_dict(), allow_nan=False)
    assert statistics_of([]).to_dict()["queries"] == []
    assert agreement_of([]).to_dict()["queries"] == []


# agreement ---------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")  # scikit-learn warns where kappa is not defined
@few
@given(videos=st.lists(st.tuples(_rows, _rows), min_size=1, max_size=2))
def test_kappa_is_that_of_scikit_learn_on_a_fine_grid(videos):
    found = agreement_of([(bouts(a), bouts(b)) for a, b in videos], NAMES)
    said_a, said_b = ([on for pair in videos for on in on_grid(pair[side])] for side in (0, 1))
    for label, query in enumerate(found.queries):
        a, b = ([on[label] for on in said] for said in (said_a, said_b))
        check(query, a, b)
    sets_a, sets_b = ([str(on) for on in said] for said in (said_a, said_b))
    check(found.overall, sets_a, sets_b)


def check(query, a: list, b: list) -> None:
    assert query.agreement == pytest.approx(np.mean([x == y for x, y in zip(a, b, strict=True)]))
    known = cohen_kappa_score(a, b)
    assert query.kappa == (None if np.isnan(known) else pytest.approx(known))


def most_pairs_tried(a: list, b: list, tiou: float) -> int:
    """By trying every choice for every segment."""
    if not a:
        return 0
    (s, e), rest = a[0], a[1:]
    best = most_pairs_tried(rest, b, tiou)
    for i, (start, end) in enumerate(b):
        shared = max(0, min(e, end) - max(s, start))
        if shared / (e - s + end - start - shared) >= tiou:
            best = max(best, 1 + most_pairs_tried(rest, b[:i] + b[i + 1 :], tiou))
    return best


@few
@given(a=_rows, b=_rows)
def test_f1_is_of_the_most_pairs(a, b):
    found = agreement_of([(bouts(a), bouts(b))], NAMES)
    hits, sizes = np.zeros(3), 0
    for label, query in enumerate(found.queries):
        left, right = of_label(a, label), of_label(b, label)
        pairs = [most_pairs_tried(left, right, tiou) for tiou in TIOUS]
        size = len(left) + len(right)
        assert query.f1 == (pytest.approx([2 * n / size for n in pairs]) if size else (None,) * 3)
        assert (query.count_a, query.count_b) == (len(left), len(right))
        hits, sizes = hits + pairs, sizes + size
    assert found.overall.f1 == (pytest.approx(2 * hits / sizes) if sizes else (None,) * 3)


@few
@given(a=_rows, b=_rows)
def test_agreement_has_no_side(a, b):
    there, back = agreement_of([(bouts(a), bouts(b))]), agreement_of([(bouts(b), bouts(a))])
    for one, other in zip(there.queries, back.queries, strict=True):
        assert (one.agreement, one.kappa) == pytest.approx((other.agreement, other.kappa))
        assert one.f1 == other.f1
    assert there.overall.kappa == pytest.approx(back.overall.kappa)
    same = agreement_of([(bouts(a), bouts(a))])
    assert all(q.kappa in (None, pytest.approx(1.0)) for q in same.queries)
    assert {f1 for q in same.queries for f1 in q.f1} <= {None, 1.0}
    assert same.overall.agreement == pytest.approx(1.0)


def test_agreement_by_hand():
    a = bouts_of(make_detections([(0.0, 4.0, "a", 1.0)]), 10.0)
    b = bouts_of(make_detections([(2.0, 6.0, "a", 1.0), (6.0, 7.0, "b", 1.0)]), 10.0)
    found = agreement_of([(a, b)])
    first, second = found.queries
    assert first.agreement == pytest.approx(0.6)
    assert first.kappa == pytest.approx((0.6 - 0.52) / 0.48)
    assert first.f1 == (1.0, 1.0, 0.0)
    assert (second.kappa, second.f1) == (pytest.approx(0.0), (0.0, 0.0, 0.0))
    assert found.overall.agreement == pytest.approx(0.5)
    by_chance = 0.4 * 0.4 + 0.6 * 0.5
    assert found.overall.kappa == pytest.approx((0.5 - by_chance) / (1 - by_chance))
    assert found.overall.f1 == (pytest.approx(2 / 3), pytest.approx(2 / 3), 0.0)


def test_what_is_the_same_throughout_has_no_kappa():
    always = bouts_of(make_detections([(0.0, 10.0, "a", 1.0)]), 10.0)
    assert agreement_of([(always, always)]).queries[0].kappa is None
    assert agreement_of([(always, always)]).queries[0].agreement == 1.0


def test_thousands_of_bouts_take_no_time():
    rng = np.random.default_rng(0)
    starts = np.sort(rng.uniform(0, 10_000, size=5000))
    found = Detections(
        segments=np.stack([starts, starts + rng.uniform(0.1, 3, size=5000)], axis=1),
        scores=np.ones(5000),
        labels=rng.integers(5, size=5000),
        names=tuple("abcde"),
        presence=np.ones(5),
    )
    own = bouts_of(found, 10_010.0)
    most_pairs(own.of("a"), own.of("b"))  # scipy is imported
    start = time.perf_counter()
    statistics_of([own])
    agreement_of([(own, own)])
    assert time.perf_counter() - start < 3


# the command line --------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two videos by ana, of known length, and the first by ben, in another format."""
    one = [(0.0, 4.0, "a", 0.9), (6.0, 8.0, "a", 0.8), (8.0, 9.0, "b $x", 0.7)]
    two = [(1.0, 2.0, "a", 0.9)]
    (tmp_path / "ana").mkdir()
    for name, rows in (("one", one), ("two", two)):
        origin = make_origin(f"{name}.mp4", duration_s=10.0)
        found = make_detections(rows, ("a", "b $x"), origin=origin)
        FORMATS["json"].write(found, tmp_path / "ana" / f"{name}.json")
    FORMATS["csv"].write({"day/one.mov": make_detections(one[:2])}, tmp_path / "ben.csv")
    return tmp_path


def test_stats_in_every_form(folder: Path):
    table, plot = folder / "t.csv", folder / "p.png"
    result = run("stats", folder / "ana", "--out", table, "--plot", plot)
    assert result.exit_code == 0, result.output
    assert "2 videos, 0:00:20.0 in all." in result.stdout
    (row,) = [line.split() for line in result.stdout.splitlines() if line.startswith("a  ")][:1]
    assert row[:5] == ["a", "3", "7.00", "35.0", "%"]
    assert "(none of them)" in result.stdout
    rows = table.read_text().splitlines()
    assert rows[0].startswith("video,query,count,total_s")
    assert len(rows) == 1 + 2 * 3
    assert plot.stat().st_size > 10_000

    found = json.loads(run("stats", folder / "ana", "--json").stdout)
    assert found["schema"] == "openmoment-statistics/1"
    assert found["together"]["transitions"]["counts"] == [[1, 1], [0, 0]]
    assert [video["duration_from"] for video in found["videos"]] == ["its file", "its file"]


def test_stats_says_when_it_guesses_a_length(folder: Path):
    guessed = run("stats", folder / "ben.csv", "--json")
    assert json.loads(guessed.stdout)["together"]["duration_s"] == 8.0
    assert "nothing tells the length of the video" in guessed.stderr
    told = run("stats", folder / "ben.csv", "--json", "--duration", "16")
    assert json.loads(told.stdout)["videos"][0]["duration_from"] == "--duration"
    assert json.loads(told.stdout)["together"]["queries"][0]["share"] == 0.375
    assert told.stderr == ""


def test_agreement_in_every_form(folder: Path):
    table, plot = folder / "t.csv", folder / "p.png"
    ana, ben = folder / "ana" / "one.json", folder / "ben.csv"
    result = run("agreement", ana, ben, "--out", table, "--plot", plot)
    assert result.exit_code == 0, result.output
    (row,) = [line.split() for line in result.stdout.splitlines() if line.startswith("a  ")]
    assert row[:4] == ["a", "100.0", "%", "1.00"]
    assert len(table.read_text().splitlines()) == 1 + 2 * 3
    assert plot.stat().st_size > 10_000
    found = json.loads(run("agreement", ana, ben, "--json").stdout)
    assert found["schema"] == "openmoment-agreement/1"
    assert found["together"]["overall"]["agreement"] == pytest.approx(0.9)
    assert found["together"]["queries"][1]["f1"] == {"0.1": 0.0, "0.25": 0.0, "0.5": 0.0}


def test_agreement_of_folders_leaves_out_what_one_has_alone(folder: Path):
    result = run("agreement", folder / "ana", folder / "ben.csv", "--json")
    found = json.loads(result.stdout)
    assert [video["video"] for video in found["videos"]] == ["one.mp4"]
    assert "Left out: 1 video in one of the two alone." in result.stderr


def write_video(path: Path, video: str, **told: object) -> Path:
    origin = replace(make_origin(video, duration_s=10.0), **told)
    FORMATS["json"].write(make_detections([(0.0, 4.0, "a", 0.9)], origin=origin), path)
    return path


def test_agreement_refuses_two_different_videos(folder: Path):
    ana = folder / "ana" / "one.json"
    longer = write_video(folder / "long.json", "one.mp4", source_sha256="", duration_s=42.0)
    told = refusal("agreement", ana, longer, "--duration", "5")
    assert f"{ana} and {longer}: their videos are 10.0 s and 42.0 s long" in told


def test_agreement_of_one_video_under_two_names_says_both(folder: Path):
    ana = folder / "ana" / "one.json"
    copy = write_video(folder / "copy.json", "copy.mp4", duration_s=10.9)
    result = run("agreement", ana, copy)
    assert result.exit_code == 0, result.output
    assert f"'one.mp4' of {ana} and 'copy.mp4' of {copy}" in result.stderr
    other = write_video(folder / "hash.json", "one.mp4", source_sha256="1" * 64)
    assert (
        "Taken for one video (by their sha256 they differ)" in run("agreement", ana, other).stderr
    )
    moved = write_video(folder / "moved.json", "day/one.mov")
    assert run("agreement", ana, moved).stderr == ""
    # what a person gives with --duration is no word of the file
    assert run("agreement", ana, folder / "ben.csv", "--duration", "60").exit_code == 0


def test_mistakes_are_one_line(folder: Path):
    (folder / "empty").mkdir()
    ana = folder / "ana"
    assert "no file of moments" in refusal("stats", folder / "empty")
    assert "cannot be read" in refusal("stats", folder / "none.csv")
    assert "'one.mp4' is in" in refusal("stats", ana, ana / "one.json")
    assert "no video is in both" in refusal("agreement", ana, write_other(folder))
    assert "does not exist" in refusal("stats", ana, "--out", folder / "no" / "t.csv")
    assert "expected a picture" in refusal("stats", ana / "one.json", "--plot", folder / "p.xyz")


def write_other(folder: Path) -> Path:
    path = folder / "other.csv"
    some = make_detections([(0.0, 1.0, "a", 1.0)])
    FORMATS["csv"].write({"x.mp4": some, "y.mp4": some}, path)
    return path


# questions of files ------------------------------------------------------------------------------


def test_ask_answers_from_a_file(folder: Path):
    out = folder / "answer.vtt"
    result = run(
        "ask", folder / "ana" / "one.json", 'a then "b $x" within 1 s', "not a", "--out", out
    )
    assert result.exit_code == 0, result.output
    assert [line.split()[:2] for line in result.stdout.splitlines()[1:]] == [
        ["0:00:04.0", "0:00:06.0"],
        ["0:00:06.0", "0:00:09.0"],
        ["0:00:08.0", "0:00:10.0"],
    ]
    (found,) = FORMATS["webvtt"].read(out).values()
    assert found.names == ('"a" then "b $x" within 1 s', 'not "a"')


def test_ask_answers_from_a_folder(folder: Path):
    found = json.loads(run("ask", folder / "ana", 'a and not "b $x"', "--json").stdout)
    assert [len(video["moments"]) for video in found["videos"]] == [2, 1]


def test_ask_of_a_video_without_one_of_the_labels(folder: Path):
    """A table lists only what was found; the labels are those of all its videos."""
    path = folder / "both.csv"
    a, b = ({name: make_detections([(0.0, 1.0, name, 1.0)])}[name] for name in "ab")
    FORMATS["csv"].write({"x.mp4": a, "y.mp4": b}, path)
    found = json.loads(run("ask", path, "a and not b", "--json", "--duration", "5").stdout)
    assert [len(video["moments"]) for video in found["videos"]] == [1, 0]


def test_ask_refuses_in_one_line(folder: Path):
    ana = folder / "ana" / "one.json"
    assert "there is no 'c'. There is: 'a', 'b $x'" in refusal("ask", ana, "a then c")
    assert 'at character 8, near "then"' in refusal("ask", ana, "a then then c")


def test_a_review_is_read_like_any_file(folder: Path):
    segments = [
        {
            "id": "1",
            "start_s": 1.0,
            "end_s": 3.0,
            "query": "a",
            "score": None,
            "status": "accepted",
        },
        {"id": "2", "start_s": 4.0, "end_s": 9.0, "query": "a", "score": 0.9, "status": "rejected"},
    ]
    query = {"query": "a", "presence": 0.9, "threshold": 0.4, "occurs": None}
    query |= {"checked": False, "made_by": None}
    document = {
        "schema": "openmoment-review/1",
        "video": {"path": "one.mp4", "duration_s": 10.0, "sha256": ""},
        "revision": 1,
        "queries": [query],
        "segments": [{**segment, "predicted": None} for segment in segments],
        "log": [],
    }
    (folder / "review.json").write_text(json.dumps(document))
    found = json.loads(run("stats", folder / "review.json", "--json").stdout)
    assert found["together"]["queries"][0]["share"] == 0.2
    assert found["videos"][0]["duration_from"] == "its file"
