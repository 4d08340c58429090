"""Three answers, what was not understood, and notes: the same wherever an answer is read."""

import io
import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from detections import make_detections, make_origin
from rich.console import Console
from typer.testing import CliRunner

from openmoment.behaviour import bouts_of
from openmoment.cli.main import app
from openmoment.cli.text import found as told
from openmoment.detections import Detections
from openmoment.encoders import ENCODERS
from openmoment.encoders.base import reads_english_alone
from openmoment.export import FORMATS
from openmoment.reviews import MadeBy, Review, add_predictions, to_detections
from openmoment.reviews.files import read_review, write_review

NAMES = ("a cat", "a dog", "a cow", "no bird")
WHY = "Ask --ask 'not \"bird\"'"
NOTES = ("The backbone sees little.", '"two cats": how many is not counted.')
ANSWERS = {
    "a cat": "found",
    "a dog": "unsure",
    "a cow": "not found",
    "no bird": "not understood",
}


@pytest.fixture
def answer() -> Detections:
    """One query of each kind."""
    moments = [(1.0, 4.0, "a cat", 0.8), (6.0, 9.0, "a dog", 0.2)]
    found = make_detections(moments, NAMES, origin=make_origin("a.mp4", num_queries=4))
    assert found.origin
    return replace(
        Detections.holding(found),
        presence=np.array([0.9, 0.45, 0.1, 0.0]),
        unsure=frozenset({"a dog"}),
        not_understood={"no bird": WHY},
        notes=NOTES,
        origin=replace(found.origin, occurs_at=0.5, settings={"min_presence": 0.4, "sure": 0.5}),
    )


def answers_of(found: Detections) -> dict[str, str]:
    return {name: found.answer_of(name) for name in found.names}


def test_in_python(answer: Detections) -> None:
    assert answers_of(answer) == ANSWERS
    assert answers_of(answer.of("a dog", "no bird")) == {
        "a dog": "unsure",
        "no bird": "not understood",
    }
    lines = repr(answer).splitlines()
    assert lines[2].endswith("a dog    0.20  unsure")
    assert lines[3:] == [
        "  not found: a cow",
        f"  not understood: no bird: {WHY}",
        *(f"  {note}" for note in NOTES),
    ]


def test_in_json_by_the_schema(answer: Detections, tmp_path: Path) -> None:
    document = answer.to_dict()
    schema = json.loads(Path("src/openmoment/data/openmoment-1.schema.json").read_text())
    jsonschema.validate(document, schema)
    assert {q["query"]: q["answer"] for q in document["queries"]} == ANSWERS
    assert [q["found"] for q in document["queries"]] == [True, False, False, False]
    assert document["queries"][3]["why"] == WHY
    assert document["notes"] == list(NOTES)


@pytest.mark.parametrize(
    "name", ["json", "webvtt", "elan", "fiftyone", "label_studio", "via", "edl"]
)
def test_in_every_format_that_says_where_it_comes_from(
    name: str, answer: Detections, tmp_path: Path
) -> None:
    form = FORMATS[name]
    path = tmp_path / f"a{form.extension}"
    counted = {"fps": 25.0} if name in ("label_studio", "edl") else {}
    form.write({"a.mp4": answer} if form.holds_several else answer, path, **counted)
    (back,) = form.read(path).values()
    assert answers_of(back) == ANSWERS
    assert (back.notes, dict(back.not_understood)) == (NOTES, {"no bird": WHY})


def test_in_a_review_until_somebody_says_otherwise(answer: Detections, tmp_path: Path) -> None:
    assert answer.origin
    review = add_predictions(
        Review("a.mp4", 60.0),
        answer,
        threshold=0.0,
        made_by=MadeBy.of(answer.origin),
        when="2026-01-01T00:00:00Z",
    )
    path = tmp_path / "a.json"
    write_review(review, path)
    back = to_detections(read_review(path))
    assert answers_of(back) == ANSWERS
    assert back.notes == NOTES
    queries = [replace(q, occurs=q.query != "a dog") for q in review.queries]
    said = to_detections(replace(review, queries=tuple(queries)))
    assert (said.unsure, said.not_understood) == (frozenset(), {})


def test_on_the_command_line(answer: Detections, monkeypatch: pytest.MonkeyPatch) -> None:
    printed = io.StringIO()
    monkeypatch.setattr(
        "rich.console.Console", lambda **_: Console(file=printed, width=100, highlight=False)
    )
    told.show(Path("a.mp4"), answer, with_name=False)
    lines = [line.rstrip() for line in printed.getvalue().splitlines()]
    assert lines[0].split()[-2:] == ["how", "sure"]
    assert "a dog (unsure)" in lines[2]
    assert lines[3:] == [
        "unsure, how sure it occurs: a dog (0.45)",
        "not found, how sure it occurs: a cow (0.10)",
        f"not understood: no bird: {WHY}",
        *NOTES,
    ]


def test_in_the_report(answer: Detections, tmp_path: Path) -> None:
    from openmoment.report.page import write_report

    path = tmp_path / "a.html"
    write_report({"a.mp4": answer}, path)
    page = path.read_text()
    assert "<dt>Unsure</dt><dd><bdi>1</bdi></dd>" in page
    assert "<bdi>a dog</bdi> <small>unsure</small>" in page
    assert "unsure, how sure it occurs: 0.45" in page
    assert "not found, how sure it occurs: 0.10" in page
    assert "not understood: Ask --ask" in page
    assert page.count('class="occurs"') == 4
    assert all(f'<p class="note">{note}' in page.replace("&quot;", '"') for note in NOTES)


def test_exclusive_is_for_the_method_that_can() -> None:
    done = CliRunner().invoke(app, ["find", "a.mp4", "a cat", "--exclusive", "--method", "t3al"])
    assert done.exit_code == 2
    assert "--exclusive is for the method similarity" in done.output


def test_a_spreadsheet_tells_guesses_from_moments(answer: Detections, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    FORMATS["csv"].write({"a.mp4": answer}, path)
    lines = path.read_text().splitlines()
    assert lines[0].endswith(",query,score,answer")
    assert [line.rsplit(",", 1)[1] for line in lines[1:]] == ["found", "unsure"]
    (back,) = FORMATS["csv"].read(path).values()
    assert back.unsure == {"a dog"}
    path.write_text("\n".join(line.rsplit(",", 1)[0] for line in lines))
    (old,) = FORMATS["csv"].read(path).values()
    assert (len(old), old.unsure) == (2, frozenset())


@pytest.mark.parametrize(
    "name", ["siglip2-b-32-256", "siglip2-b-16", "clip-vit-b-32", "pe-core-b-16"]
)
def test_backbones_read_the_languages_that_they_are_listed_with(name: str) -> None:
    encoder = ENCODERS[name]
    assert encoder().reads_english_alone == (encoder.facts.languages == "English")


def test_the_default_reads_english_alone() -> None:
    assert reads_english_alone(ENCODERS["embedded"]())


def test_a_guess_stays_a_guess_in_what_is_made_of_it(answer: Detections) -> None:
    asked = Detections.holding(answer)
    both = asked.ask('"a cat" then "a dog"')
    assert both.answer_of(both.names[0]) == "unsure" and len(both) == 1
    rest = asked.ask('not "a dog"')
    assert rest.scores.max() == pytest.approx(0.55)  # what a presence of 0.45 leaves
    assert asked.ask('"a cat" then "a cat"').unsure == frozenset()
    bouts = bouts_of(answer, 60.0)
    assert bouts.names == ("a cat", "a cow")
    assert asked.not_found == ("a cow",)


def test_presence_without_a_moment_is_told_apart(
    answer: Detections, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed = io.StringIO()
    monkeypatch.setattr(
        "rich.console.Console", lambda **_: Console(file=printed, width=100, highlight=False)
    )
    seen = replace(answer, presence=np.array([0.9, 0.45, 0.8, 0.0]))
    told.show(Path("a.mp4"), seen, with_name=False)
    assert (
        "not found, as no moment is its own, how sure it occurs: a cow (0.80)" in printed.getvalue()
    )
