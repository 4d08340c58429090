"""What the page does to a review, as pure functions, run in Chromium without a page around them."""

# ruff: noqa: F401, F811 - fixtures are imported

import json
from typing import Any

import pytest
from page_world import Site, browser, open_page, site

pytestmark = pytest.mark.browser

DOC = {
    "queries": [
        {"query": "run-up", "presence": 0.9, "threshold": 0.4, "occurs": None, "checked": False},
        {"query": "jump", "presence": 0.2, "threshold": 0.4, "occurs": None, "checked": False},
    ],
    "segments": [
        dict(zip(("id", "start_s", "end_s", "query", "score", "status"), values, strict=True))
        for values in (
            ("a", 1.0, 9.0, "run-up", 0.9, "open"),
            ("b", 2.0, 3.0, "run-up", 0.5, "rejected"),
            ("c", 4.0, 5.0, "jump", 0.3, "open"),
            ("d", 6.0, 7.0, "jump", 0.1, "accepted"),
        )
    ],
}


@pytest.fixture
def run(site: Site, open_page: Any) -> Any:
    """Runs an expression over `state`, `view` (viewport.js), `format` and the document `doc`."""
    page = open_page(site.url, waits_for="#home").page

    def run_(expression: str) -> Any:
        return page.evaluate(
            f"""async () => {{
                const state = await import('/static/state.js');
                const view = await import('/static/viewport.js');
                const format = await import('/static/format.js');
                const doc = {json.dumps(DOC)};
                const of = (id, made) => state.segmentOf(made, id);
                return {expression};
            }}"""
        )

    return run_


def test_lanes_hold_what_is_shown_by_start(run: Any) -> None:
    told = "({shown, ends, below}) => [shown.map((s) => s.id), ends, below]"
    lanes = run(f"state.lanesOf(doc).map({told})")
    assert lanes == [[["a", "b"], [9, 9], 0], [["d"], [7], 1]]


@pytest.mark.parametrize(("limit", "at"), [(0, 0), (1, 1), (2.5, 2), (9, 3)])
def test_the_first_above_a_limit(run: Any, limit: float, at: int) -> None:
    assert run(f"state.firstAbove([1, 2, 3], {limit})") == at


def test_a_moved_or_relabelled_guess_is_accepted_and_a_rejected_one_stays_so(run: Any) -> None:
    edits = {"a": "2, 30", "b": "5, 4"}
    moved = [run(f"of('{id}', state.move(doc, '{id}', {to}, 20))") for id, to in edits.items()]
    assert [(s["start_s"], s["end_s"], s["status"]) for s in moved] == [
        (2, 20, "accepted"),
        (4, 5, "rejected"),
    ]
    assert run("of('c', state.relabel(doc, 'c', 'run-up'))")["status"] == "accepted"


@pytest.mark.parametrize("times", ["[3, 3]", "[-5, -1]", "[30, 40]", "[20, 20]"])
def test_no_edit_makes_an_empty_segment_or_leaves_the_video(run: Any, times: str) -> None:
    start, end = run(f"state.bounded(...{times}, 20)")
    assert 0 <= start < end <= 20


def test_split_and_merge_are_each_others_inverse_in_time(run: Any) -> None:
    parts = run("state.split(doc, 'a', 4, 'e').segments")
    assert [(s["id"], s["start_s"], s["end_s"]) for s in parts[:2]] == [("a", 1, 4), ("e", 4, 9)]
    whole = run("state.merge(state.split(doc, 'a', 4, 'e'), 'a', 'e').segments")
    assert (whole[0]["start_s"], whole[0]["end_s"], len(whole)) == (1, 9, 4)
    assert run("state.split(doc, 'a', 9.01, 'e')") is None
    assert run("state.following(doc, 'd')") is None


def test_steps_under_one_key_are_undone_as_one(run: Any) -> None:
    steps = """(() => {
        let history = state.historyOf(doc);
        const marked = (value) => state.mark(history.present, 'jump', {threshold: value});
        history = state.edited(history, state.remove(doc, 'a'), 'delete');
        for (const value of [0.5, 0.6, 0.7]) {
            history = state.edited(history, marked(value), 'threshold', 'key');
        }
        const undone = state.undone(history);
        const twice = state.undone(undone);
        return [undone.present.queries[1].threshold, twice.present === doc, state.undone(twice),
            state.redone(state.redone(twice)).present === history.present];
    })()"""
    assert run(steps) == [0.4, True, None, True]


def test_my_changes_go_on_top_of_theirs(run: Any) -> None:
    merged = run(
        """(() => {
        let mine = state.move(doc, 'a', 1, 8, 20);
        mine = state.remove(mine, 'b');
        mine = state.mark(mine, 'jump', {checked: true});
        mine = state.add(mine, {id: 'mine', query: 'jump', start: 10, end: 11, duration: 20});
        let theirs = state.setStatus(doc, 'c', 'rejected');
        theirs = state.setStatus(theirs, 'b', 'accepted');
        theirs = state.mark(theirs, 'jump', {threshold: 0.1});
        const added = {id: 'their', query: 'run-up', start: 12, end: 13, duration: 20};
        theirs = state.add(theirs, added);
        return state.rebase(doc, mine, theirs);
    })()"""
    )
    assert {s["id"]: (s["end_s"], s["status"]) for s in merged["segments"]} == {
        "a": (8, "accepted"),
        "c": (5, "rejected"),
        "d": (7, "accepted"),
        "their": (13, "accepted"),
        "mine": (11, "accepted"),
    }
    assert (merged["queries"][1]["checked"], merged["queries"][1]["threshold"]) == (True, 0.1)
    assert run("state.rebase(doc, structuredClone(doc), doc) === doc")


@pytest.mark.parametrize("remover", ["mine", "theirs"])
def test_a_query_that_one_removes_and_another_uses_stays_with_what_is_new(
    run: Any, remover: str
) -> None:
    other = {"mine": "theirs", "theirs": "mine"}[remover]
    merged = run(
        f"""(() => {{
        const {remover} = state.removeQuery(doc, 'jump');
        const added = {{id: 'new', query: 'jump', start: 10, end: 11, duration: 20}};
        const {other} = state.add(doc, added);
        return state.rebase(doc, mine, theirs);
    }})()"""
    )
    assert {q["query"] for q in merged["queries"]} == {"run-up", "jump"}
    assert {s["id"] for s in merged["segments"]} == {"a", "b", "new"}
    alone = run("state.rebase(doc, state.removeQuery(doc, 'jump'), structuredClone(doc))")
    assert [q["query"] for q in alone["queries"]] == ["run-up"]


def test_zooming_keeps_its_anchor_and_stays_in_the_video(run: Any) -> None:
    seen = run(
        """(() => {
        const port = new view.Viewport();
        port.width = 1000;
        port.fit(100);
        port.zoom(0.1, 30);
        const anchor = port.x(30);
        port.pan(1000);
        const end = port.end;
        port.zoom(1e-9, 99);
        const least = port.span;
        port.zoom(1e9, 50);
        return [anchor, end, least, port.start, port.span, port.reveal(3, 4)];
    })()"""
    )
    assert seen == pytest.approx([300, 100, 0.5, 0, 100, False])


def test_times_are_written_and_read_alike(run: Any) -> None:
    written = run("[59.96, 3725.04, 61].map((s) => format.clock(s))")
    assert written == ["1:00.0", "1:02:05.0", "1:01.0"]
    assert run("['12.5', '1:02,5', '1:01:02'].map(format.parseClock)") == [12.5, 62.5, 3662]
    assert run("['', 'x', '1:2:3:4', '-1'].every((text) => Number.isNaN(format.parseClock(text)))")


def test_queries_have_the_colours_of_the_report(run: Any) -> None:
    from openmoment.figures.timeline import COLOURS

    colours = run("Array.from({length: 200}, (_, i) => format.colourOf(i))")
    assert tuple(colours[: len(COLOURS)]) == COLOURS
    assert len(set(colours)) > 190
