"""Questions beyond one label: the grammar, its errors, and each rule against a literal reference.

References work on whole centiseconds, so that they are exact.
"""

import json
import re
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from commands import refusal, run
from detections import make_detections, make_origin
from fakes import FakeEncoder
from hypothesis import given, settings
from hypothesis import strategies as st

import openmoment
from openmoment.detections import Detections
from openmoment.errors import ConfigError, QueryError, QuestionError
from openmoment.questions import names_of, not_only_labels, parse, with_answers
from openmoment.questions.expressions import (
    And,
    Label,
    Lasting,
    Not,
    Or,
    Pick,
    Question,
    Then,
    Times,
)

A, B, C = Label("a"), Label("b"), Label("c")
DURATION = 300  # centiseconds
few = settings(max_examples=60, deadline=None)


# reading -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("a", A),
        ('  "a"  ', A),
        ("“a”", A),
        ("a person opens the fridge", Label("a person opens the fridge")),
        ('"rock and  roll"', Label("rock and roll")),
        (r'"say \"hi\" \\"', Label(r'say "hi" \\'[:-1])),
        ("thence and then-after", And(Label("thence"), Label("then-after"))),
        (
            "waiting for a bus for at least 2 s",
            Lasting(Label("waiting for a bus"), "at least", 2.0),
        ),
        ("looking at b", Label("looking at b")),
        ("A THEN B Within 2 MIN", Then(Label("A"), Label("B"), 120.0)),
        ("a then b then c", Then(Then(A, B), C)),
        ("a then b within 1 s then c within 2 s", Then(Then(A, B, 1.0), C, 2.0)),
        ("a then b or c and a", Then(A, Or(B, And(C, A)))),
        ("a or b then c", Then(Or(A, B), C)),
        ("a or b or c", Or(Or(A, B), C)),
        ("(a or b) and c", And(Or(A, B), C)),
        ("a and not b", And(A, Not(B))),
        ("not a for at least 2 s", Lasting(Not(A), "at least", 2.0)),
        ("not (a for at least 2 s)", Not(Lasting(A, "at least", 2.0))),
        ("not not a", Not(Not(A))),
        ("a and b for at most 500 ms", And(A, Lasting(B, "at most", 0.5))),
        ("(a and b) for at most 500ms", Lasting(And(A, B), "at most", 0.5)),
        ("first a then last b", Then(Pick("first", A), Pick("last", B))),
        ("first a at least 1 time", Times(Pick("first", A), "at least", 1)),
        ("a 3 times", Times(A, "exactly", 3)),
        ("a exactly 3 times within 1 hour", Times(A, "exactly", 3, 3600.0)),
        ("a then b 2 times within 5 s", Then(A, Times(B, "exactly", 2, 5.0))),
        ("a then b 2 times within 5 s within 9 s", Then(A, Times(B, "exactly", 2, 5.0), 9.0)),
        ("a then (b 2 times) within 5 s", Then(A, Times(B, "exactly", 2), 5.0)),
        (
            "a for at least 1.5 sec for at most 2 seconds at most 3 times",
            Times(Lasting(Lasting(A, "at least", 1.5), "at most", 2.0), "at most", 3),
        ),
    ],
)
def test_what_a_question_is_read_as(text, expression):
    assert parse(text) == Question(expression)
    assert parse(str(parse(text))) == parse(text)


@pytest.mark.parametrize(
    ("unit", "seconds"),
    [
        *((unit, 0.002) for unit in ("ms", "millisecond", "milliseconds")),
        *((unit, 2.0) for unit in ("s", "sec", "secs", "second", "seconds")),
        *((unit, 120.0) for unit in ("min", "mins", "minute", "minutes")),
        *((unit, 7200.0) for unit in ("h", "hour", "hours")),
    ],
)
def test_units_of_time(unit, seconds):
    assert parse(f"a for at least 2 {unit}").expression == Lasting(A, "at least", seconds)


@pytest.mark.parametrize(
    ("text", "position", "message"),
    [
        ("", 0, "expected what to look for, and the text ends"),
        ("a then ", 6, "expected what to look for, and the text ends"),
        ("and b", 0, 'expected what to look for, at character 1, near "and"'),
        ("a then b within ten seconds", 16, 'length of time .*, at character 17, near "ten"'),
        ("a then b within 2 weeks", 16, "expected a length of time such as 10 s"),
        ("a then (b or c", 14, r'or "\)", and the text ends, at character 15'),
        ("a) or b", 1, 'expected then, and, .* near "\\)"'),
        ('a then "b', 7, "this quotation mark has no partner, at character 8"),
        ('a then ""', 7, "nothing between the quotation marks"),
        ("a not b", 2, 'at character 3, near "not"'),
        ("a within 3 s", 2, 'near "within"'),
        ("a at least twice", 11, 'expected a number of times such as 3 times, .* near "twice"'),
        ("a 0 times", 2, "expected 1 time or more, and not for what never happens"),
        ("a for at most 3 times", 14, "expected a length of time"),
        (f"a for at least {'9' * 400} s", 15, "too long"),
        ("a " * 501, 1000, "longer than 1000 characters"),
    ],
)
def test_a_mistake_is_one_line_that_points_at_its_place(text, position, message):
    with pytest.raises(QuestionError, match=message) as caught:
        parse(text)
    assert caught.value.position == position
    assert f"at character {position + 1}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_deepest_question_can_be_answered():
    found = make_detections([(1.0, 2.0, "a", 0.5)])
    deep = parse("not " * 49 + "a")
    assert len(found.ask(str(deep), duration_s=9.0)) == 2
    with pytest.raises(QuestionError, match="more than 50 forms inside each other"):
        parse("not " * 249 + "a")
    assert parse("(" * 499 + "a" + ")" * 499) == Question(A)


_names = st.text(min_size=1, max_size=6).map(lambda t: " ".join(t.split())).filter(bool)
_lengths = st.floats(0.001, 1e6, allow_nan=False)
_bounds = st.sampled_from(["at least", "at most"])
_expressions = st.recursive(
    st.builds(Label, _names),
    lambda part: st.one_of(
        st.builds(Then, part, part, st.none() | _lengths),
        st.builds(And, part, part),
        st.builds(Or, part, part),
        st.builds(Not, part),
        st.builds(Lasting, part, _bounds, _lengths),
        st.builds(
            Times,
            part,
            st.sampled_from(["at least", "at most", "exactly"]),
            st.integers(1, 99),
            st.none() | _lengths,
        ),
        st.builds(Pick, st.sampled_from(["first", "last"]), part),
    ),
    max_leaves=6,
)


@few
@given(expression=_expressions)
def test_the_canonical_text_reads_as_the_same_question(expression):
    question = Question(expression)
    assert parse(str(question)) == question


_words = st.sampled_from('a then "b" and or not ( ) 3 times 2 s within for at least'.split())


@few
@given(text=st.text(max_size=40) | st.lists(_words, max_size=9).map(" ".join))
def test_any_text_is_read_or_refused_in_its_place(text):
    try:
        question = parse(text)
    except QuestionError as error:
        assert 0 <= error.position <= len(text)
    else:
        assert parse(str(question)) == question


# answering, by hand ------------------------------------------------------------------------------

SPORT = make_detections(
    [
        (1.0, 3.0, "run-up", 0.9),
        (3.5, 4.0, "jump", 0.6),
        (10.0, 12.0, "run-up", 0.7),
        (11.875, 13.0, "jump", 0.8),
        (20.0, 21.0, "run-up", 0.5),
        (40.0, 41.0, "jump", 0.95),
        (40.75, 44.0, "crowd", 0.4),
    ],
    ("run-up", "jump", "crowd", "fall"),
    origin=make_origin(num_queries=4),
)


@pytest.mark.parametrize(
    ("question", "moments"),
    [
        ("run-up then jump", [(1, 4, 0.6), (10, 13, 0.7), (20, 41, 0.5)]),
        ("run-up then jump within 10 s", [(1, 4, 0.6), (10, 13, 0.7)]),
        ("run-up then jump within 0 s", [(10, 13, 0.7)]),
        ("run-up then run-up", [(1, 12, 0.7), (10, 21, 0.5)]),
        ("run-up then jump then crowd", [(20, 44, 0.4)]),
        ("run-up then (jump then crowd)", [(20, 44, 0.4)]),
        ("jump and crowd", [(40.75, 41, 0.4)]),
        ("jump and not crowd", [(3.5, 4, 0.6), (11.875, 13, 0.8), (40, 40.75, 0.95)]),
        (
            "not (run-up or jump or crowd)",
            [(0, 1, 1), (3, 3.5, 1), (4, 10, 1), (13, 20, 1), (21, 40, 1), (44, 60, 1)],
        ),  # noqa: E501
        ("not fall", [(0, 60, 0.88)]),  # its presence is 0.12
        ("not (jump or fall) for at least 20 s", [(13, 40, 0.88)]),
        (
            "run-up or jump",
            [(1, 3, 0.9), (3.5, 4, 0.6), (10, 13, 0.8), (20, 21, 0.5), (40, 41, 0.95)],
        ),  # noqa: E501
        ("run-up for at least 2 s", [(1, 3, 0.9), (10, 12, 0.7)]),
        ("jump for at most 1 s", [(3.5, 4, 0.6), (40, 41, 0.95)]),
        ("first jump", [(3.5, 4, 0.6)]),
        ("last jump", [(40, 41, 0.95)]),
        ("first fall", []),
        ("jump 3 times", [(3.5, 4, 0.6), (11.875, 13, 0.8), (40, 41, 0.95)]),
        ("jump at least 4 times", []),
        ("jump 2 times within 10 s", [(3.5, 13, 0.6)]),
        ("jump at most 1 time within 10 s", [(40, 41, 0.95)]),
        ("fall", []),
        ("fall at most 3 times", []),
    ],
)
def test_answers_by_hand(question, moments):
    found = SPORT.ask(question).by_time()
    assert [(d.start_s, d.end_s, d.score) for d in found] == [
        pytest.approx(moment) for moment in moments
    ]


def test_an_answer_is_detections_like_any_other():
    answer = SPORT.ask("run-up then jump within 10 s")
    assert answer.names == ('"run-up" then "jump" within 10 s',)
    assert answer.scores.tolist() == [0.7, 0.6]
    assert answer.presence.tolist() == [0.7]
    assert answer.origin is not None
    assert answer.origin.settings["questions"] == list(answer.names)
    assert answer.origin.curves.shape == (1, 240)
    assert set(np.unique(answer.origin.curves)) == {np.float32(v) for v in (0, 0.6, 0.7)}
    assert SPORT.ask("fall").presence.tolist() == [0.0]


def test_answers_stand_beside_what_was_looked_for():
    questions = [parse("crowd then jump"), parse("not jump"), parse("crowd then jump")]
    shown = not_only_labels(SPORT.names, questions, ["crowd "])
    found = with_answers(SPORT, questions, shown=shown)
    assert found.names == ("run-up", "crowd", "fall", '"crowd" then "jump"', 'not "jump"')
    assert found.not_found == ("fall", '"crowd" then "jump"')
    assert (np.diff(found.scores) <= 0).all()
    assert found.origin.curves.shape == (5, 240)
    np.testing.assert_array_equal(found.origin.curves[1], SPORT.origin.curves[2])
    assert names_of(questions) == ("crowd", "jump")
    assert (
        with_answers(SPORT, [], shown=SPORT.names).to_dict()["moments"]
        == (SPORT.to_dict()["moments"])
    )


def test_what_nobody_looked_for_is_refused_by_name():
    message = "there is no 'jumps'. Did you mean 'jump'\\? There is: 'run-up', 'jump'"
    with pytest.raises(QueryError, match=message):
        SPORT.ask("run-up then jumps")


def test_not_needs_the_length_of_the_video():
    found = make_detections([(1.0, 2.0, "a", 0.5)])
    with pytest.raises(QueryError, match="how long the video is"):
        found.ask("a and not a")
    assert len(found.ask("not a", duration_s=2.0)) == 1
    assert len(found.ask("a or a")) == 1


# answering, against references -------------------------------------------------------------------

Rows = list[tuple[int, int, int]]  # start and end in centiseconds, score in tenths

_row = st.tuples(st.integers(0, DURATION - 60), st.integers(0, 60), st.integers(1, 9))
_rows = st.lists(_row.map(lambda r: (r[0], r[0] + r[1], r[2])), max_size=7)
_limit = st.integers(0, 150)


def detections(**rows: Rows) -> Detections:
    moments = [(s / 100, e / 100, name, v / 10) for name in rows for s, e, v in rows[name]]
    found = make_detections(moments, tuple(rows))
    has = np.isin(np.arange(len(rows)), found.labels)
    return replace(found, presence=np.where(has, found.presence, 0.0))


def ask(question: str, **rows: Rows) -> Rows:
    found = detections(**rows).ask(question, duration_s=DURATION / 100)
    table = np.column_stack([found.segments * 100, found.scores * 10])
    assert np.abs(table - table.round()).max(initial=0) < 1e-6
    return sorted(map(tuple, table.round().astype(int).tolist()))


def merge(rows: Rows) -> Rows:
    """Overlapping rows become one, two at a time, until none overlap."""
    rows = [row for row in rows if row[1] > row[0]]
    for i, a in enumerate(rows):
        for j, b in enumerate(rows[:i]):
            if max(a[0], b[0]) < min(a[1], b[1]):
                rest = [row for k, row in enumerate(rows) if k not in (i, j)]
                joined = (min(a[0], b[0]), max(a[1], b[1]), max(a[2], b[2]))
                return merge([*rest, joined])
    return sorted(rows)


@few
@given(a=_rows, b=_rows)
def test_and_is_where_both_go_on(a, b):
    pairs = [(x, y) for x in merge(a) for y in merge(b)]
    shared = [(max(x[0], y[0]), min(x[1], y[1]), min(x[2], y[2])) for x, y in pairs]
    assert ask("a and b", a=a, b=b) == sorted(row for row in shared if row[0] < row[1])


@few
@given(a=_rows, b=_rows)
def test_or_is_where_one_goes_on(a, b):
    assert ask("a or b", a=a, b=b) == merge(a + b)


@few
@given(a=_rows)
def test_not_is_the_rest_of_the_video(a):
    is_on = [any(s <= t < e for s, e, _ in a) for t in range(DURATION)]
    starts = [t for t in range(DURATION) if not is_on[t] and (t == 0 or is_on[t - 1])]
    ends = [t + 1 for t in range(DURATION) if not is_on[t] and (t + 1 == DURATION or is_on[t + 1])]
    assert ask("not a", a=a) == [(s, e, 10) for s, e in zip(starts, ends, strict=True)]


def follow(a: Rows, b: Rows, within: int | None) -> Rows:
    b = sorted(b, key=lambda y: (y[0], y[1], -y[2]))
    answered: dict[int, Rows] = {}
    for x in sorted(a):
        early = min(25, (x[1] - x[0]) / 2)
        later = [i for i, y in enumerate(b) if y[0] > x[0] and y[0] >= x[1] - early]
        if later:
            answered.setdefault(later[0], []).append(x)
    found = []
    for i, xs in answered.items():
        x = max(xs, key=lambda x: (x[1], x[0], x[2]))
        if within is None or b[i][0] - x[1] <= within:
            found.append((x[0], max(x[1], b[i][1]), min(x[2], b[i][2])))
    return sorted(found)


@few
@given(a=_rows, b=_rows, within=st.none() | _limit)
def test_then_leads_to_the_next(a, b, within):
    tail = "" if within is None else f" within {within * 10} ms"
    # of equal moments the score tells nothing: give them one
    same = {(s, e): v for s, e, v in a}
    a = [(s, e, same[s, e]) for s, e, _ in a]
    assert ask("a then b" + tail, a=a, b=b) == follow(a, b, within)
    assert ask("a then a" + tail, a=a) == follow(a, a, within)


def stretches(rows: Rows, holds, within: int) -> Rows:
    """Every run of moments that fits and could not be longer, those that share one joined."""
    rows = sorted(rows, key=lambda y: (y[0], y[1], -y[2]))

    def fits(i: int, j: int) -> bool:
        inside = 0 <= i and j <= len(rows)
        return inside and max(e for _, e, _ in rows[i:j]) - rows[i][0] <= within

    spans = [(i, j) for j in range(len(rows) + 1) for i in range(j) if fits(i, j)]
    full = [(i, j) for i, j in spans if not fits(i - 1, j) and not fits(i, j + 1)]
    members = [set(range(i, j)) for i, j in sorted(full) if holds(j - i)]
    joined: list[set[int]] = []
    for own in members:
        if joined and joined[-1] & own:
            joined[-1] |= own
        else:
            joined.append(own)
    groups = [[rows[i] for i in sorted(own)] for own in joined]
    return sorted((g[0][0], max(e for _, e, _ in g), min(v for _, _, v in g)) for g in groups)


@few
@given(a=_rows, count=st.integers(1, 5), within=_limit)
def test_times_within_are_the_fullest_stretches(a, count, within):
    holds = {
        "at least": lambda n: n >= count,
        "at most": lambda n: n <= count,
        "exactly": lambda n: n == count,
    }
    for bound, is_right in holds.items():
        text = f"a {bound} {count} times within {within * 10} ms"
        assert ask(text, a=a) == stretches(a, is_right, within)
        assert ask(f"a {bound} {count} times", a=a) == (sorted(a) if is_right(len(a)) else [])


@few
@given(a=_rows, limit=_limit)
def test_lengths_and_picks(a, limit):
    assert ask(f"a for at least {limit * 10} ms", a=a) == sorted(
        row for row in a if row[1] - row[0] >= limit
    )
    assert ask(f"a for at most {limit * 10} ms", a=a) == sorted(
        row for row in a if row[1] - row[0] <= limit
    )
    in_order = sorted(a, key=lambda y: (y[0], y[1], -y[2]))
    assert ask("first a", a=a) == in_order[:1]
    assert ask("last a", a=a) == in_order[-1:]


@settings(max_examples=20, deadline=None)
@given(a=_rows, b=_rows, c=_rows)
def test_laws(a, b, c):
    """Of the times that are covered; scores follow where nothing is negated."""

    def same(left: str, right: str) -> None:
        assert ask(left, a=a, b=b, c=c) == ask(right, a=a, b=b, c=c), (left, right)

    same("a and b", "b and a")
    same("a or b", "b or a")
    same("(a or b) or c", "a or (b or c)")
    same("not (a or b)", "not a and not b")
    same("not not not a", "not a")
    same("a then b", "(a then b) for at least 0 s")
    same("a then b within 10 h", "a then b")
    same("a then b then c", "(a then b) then c")


@few
@given(a=_rows, b=_rows)
def test_a_moment_that_is_merely_later_changes_nothing_before(a, b):
    """All answers but those of counts and `not` look at what is near."""
    early = ask("a then b within 100 ms", a=a, b=b)
    later = [(s + 1000, e + 1000, v) for s, e, v in a]
    assert ask("a then b within 100 ms", a=a + later, b=b) == early


@pytest.mark.parametrize(
    "question",
    [
        "a then b within 10 s then c",
        "(a and b) or not c",
        "(a or b) at least 3 times within 1 h for at least 1 s",
        "a exactly 3 times within 1 h then not b",
    ],
)
@pytest.mark.parametrize("length_s", [1.0, 5000.0])
def test_thousands_of_moments_are_answered_at_once(question, length_s):
    """Also where all of them overlap; no step is quadratic."""
    rng = np.random.default_rng(0)
    starts = rng.uniform(0, 10_000, size=5000)
    found = Detections(
        segments=np.stack([starts, starts + rng.uniform(0.1, length_s, size=5000)], axis=1),
        scores=rng.uniform(size=5000),
        labels=rng.integers(3, size=5000),
        names=("a", "b", "c"),
        presence=np.ones(3),
    )
    parse(question)  # the grammar is read once in a process
    start = time.perf_counter()
    found.ask(question, duration_s=20_000.0)
    assert time.perf_counter() - start < 0.5  # 0.01 s alone on a machine


# the whole way ------------------------------------------------------------------------------------


@pytest.fixture
def video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A "video" of ten seconds, and the backbone that reads it."""

    def load(*_: object, **__: object) -> FakeEncoder:
        return FakeEncoder()

    monkeypatch.setattr("openmoment.pipeline.loading.load_encoder", load)
    path = tmp_path / "match.mp4"
    path.write_bytes(bytes(range(256)) * 40)
    return path


def test_find_answers_in_python(video: Path):
    no_threshold = {"min_presence": 0}
    found = openmoment.find(video, "a dog", ask=["a dog and not a cat"], settings=no_threshold)
    assert found.names == ("a dog", '"a dog" and not "a cat"')
    assert len(found) > 0
    both = openmoment.find(video, ["a dog", "a cat"], settings=no_threshold)
    assert found.names[1] in both.ask("a dog and not a cat").names
    mine = found[found.labels == 1].by_time().segments
    np.testing.assert_array_equal(mine, both.ask("a dog and not a cat").by_time().segments)
    with pytest.raises(ConfigError, match="leave the task out"):
        openmoment.find(video, ask=["a dog"], task="mr")


def test_find_answers_on_the_command_line(video: Path, tmp_path: Path):
    out, page = tmp_path / "found.csv", tmp_path / "found.html"
    asked = (
        "--ask",
        "not (a dog or a cat)",
        "--ask",
        "a dog then a cat",
        "--set",
        "min_presence=0",
    )
    result = run("find", video, *asked, "--json", "--out", out, "--report", page)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    names = ['not ("a dog" or "a cat")', '"a dog" then "a cat"']
    assert [query["query"] for query in found["queries"]] == names
    assert found["method"]["settings"]["questions"] == names
    assert found["moments"]
    assert len(out.read_text().splitlines()) == 1 + len(found["moments"])
    assert page.stat().st_size > 1000


def test_find_answers_about_a_folder(video: Path):
    video.with_name("other.mp4").write_bytes(video.read_bytes()[:5000])
    result = run("find", video.parent, "a cow", "--ask", "not a dog", "--json")
    found = json.loads(result.stdout)
    assert [len(entry["queries"]) for entry in found["videos"]] == [2, 2]


def test_find_points_at_a_mistake_before_it_reads_the_video(tmp_path: Path):
    line = refusal("find", tmp_path / "none.mp4", "--ask", '"run-up" then within 10 s')
    assert 'expected what to look for, at character 15, near "within"' in line


def test_every_form_in_the_document_can_be_read():
    text = (Path(__file__).parents[2] / "docs" / "questions.md").read_text()
    forms = text.partition("## Forms")[2].partition("So `")[0]
    cells = [line.split("|")[1] for line in forms.splitlines()[5:] if line.startswith("|")]
    questions = [question for cell in cells for question in re.findall("`([^`]+)`", cell)]
    assert len(questions) > 15
    for question in questions:
        parse(question)
    same = re.findall(r"`([^`]+)` is `([^`]+)`", text)
    assert len(same) == 4
    for left, right in same:
        assert parse(left) == parse(right)
