"""Queries that say nothing to a backbone: named in the answer, and never asked of the method."""

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from fakes import FakeEncoder

from openmoment.experiments.finding import Answers, ask, prepare
from openmoment.methods import load_method
from openmoment.pipeline.answering import Pipeline
from openmoment.priors import Example


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "match.mp4"
    path.write_bytes(bytes(range(256)) * 40)  # ten seconds, as FakeEncoder counts
    return path


def pipeline(encoder: FakeEncoder, **settings: float) -> Pipeline:
    method = load_method("similarity", encoder.space, {"min_presence": 0.0, **settings})
    return Pipeline(encoder, method, "similarity", 4.0, None)


MIXED = ("!!!", "a dog", "no baby", "two cats", "asdfgh")


@pytest.mark.parametrize("task", ["tal", "mr", "as"])
def test_what_is_refused_stands_among_the_rest(
    video: Path, task: Literal["tal", "mr", "as"]
) -> None:
    encoder = FakeEncoder()
    made = pipeline(encoder)
    found = made.to_task(task).find(video, MIXED)
    assert found.names == MIXED
    assert list(found.not_understood) == ["!!!", "no baby", "asdfgh"]
    assert not set(found.not_understood) & set(encoder.texts)
    assert [found.answer_of(name) for name in MIXED if name in found.not_understood] == (
        ["not understood"] * 3
    )
    assert found.presence[[0, 2, 4]].tolist() == [0, 0, 0]
    assert set(found.labels.tolist()) <= {1, 3} and len(found)
    (note,) = found.notes
    assert note.startswith('"two cats": how many')
    alone = made.to_task(task).find(video, ["a dog", "two cats"])
    assert [d[:3] for d in alone] == [d[:3] for d in found]
    assert alone.origin and found.origin
    assert alone.origin.curves is not None and found.origin.curves is not None
    np.testing.assert_array_equal(found.origin.curves[[1, 3]], alone.origin.curves)
    assert not found.origin.curves[[0, 2, 4]].any()


@pytest.mark.parametrize("task", ["tal", "mr", "as"])
def test_an_answer_to_nothing_that_is_understood(
    video: Path, task: Literal["tal", "mr", "as"]
) -> None:
    encoder = FakeEncoder()
    found = pipeline(encoder).to_task(task).find(video, ["no baby", "!!!"])
    assert (len(found), found.names, encoder.texts) == (0, ("no baby", "!!!"), [])
    assert found.origin is not None and found.origin.duration_s == 10.0
    assert found.origin.curves is not None and found.origin.curves.shape == (2, 40)
    assert {q["answer"] for q in found.to_dict()["queries"]} == {"not understood"}


def test_examples_say_what_words_do_not(video: Path) -> None:
    made = pipeline(FakeEncoder())
    example = {"blorf": Example(texts=("a small dog",))}
    assert made.hear(["blorf"]).understood == ()
    heard = made.hear(["!!!"], examples=example)
    assert (heard.names, heard.understood) == (("!!!", "blorf"), ("blorf",))


def test_a_tower_of_many_languages_is_asked_in_any(video: Path) -> None:
    encoder = FakeEncoder()
    encoder.reads_english_alone = False  # pyright: ignore[reportAttributeAccessIssue]
    heard = pipeline(encoder).hear(["ein Hund", "плавание", "!!!", "no baby"])
    assert heard.understood == ("ein Hund", "плавание")


def test_a_question_about_what_was_not_understood_is_not_either(video: Path) -> None:
    made = pipeline(FakeEncoder())
    found = made.find(video, ["a cat"], ask=['not "a dog"', 'not "no baby"', "a cat then blorf"])
    assert found.names == ("a cat", 'not "a dog"', 'not "no baby"', '"a cat" then "blorf"')
    assert list(found.not_understood) == ['not "no baby"', '"a cat" then "blorf"']
    assert found.not_understood['"a cat" then "blorf"'].startswith('"blorf": no English word')
    kept = made.find(video, ["a cat", "no baby"])
    answer = kept.ask('a cat and not "no baby"')
    assert answer.answer_of(answer.names[0]) == "not understood"


def test_the_command_line_asks_the_same_way(video: Path) -> None:
    made = pipeline(FakeEncoder())
    asking, _ = prepare(made, ["no baby", "a dog"], is_ranked=True)
    answers = Answers(is_folder=False)
    ((_, found),) = ask(asking, [video], answers)
    assert (found.names, list(found.not_understood)) == (("no baby", "a dog"), ["no baby"])
    (ranked,) = answers.ranked.values()
    assert ranked.names == ("no baby", "a dog") and not (ranked.labels == 0).any()


def test_encoded_queries_are_asked_as_they_are(video: Path) -> None:
    made = pipeline(FakeEncoder())
    found = made.find(video, made.queries(["no baby", "asdfgh"]))
    assert (dict(found.not_understood), found.notes) == ({}, ())
