"""What a backbone cannot know, by rules: none fires at a class name, and every advice parses."""

import csv
import json
import time
from importlib import resources
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openmoment.datasets.names import published_splits
from openmoment.questions import parse
from openmoment.questions.wording import notes_of, remarks
from openmoment.questions.words import english_words, is_english, near

DATA = resources.files("openmoment") / "data"


def kinds(query: str, *, reads_english_alone: bool = True) -> list[str]:
    return [r.kind for r in remarks(query, reads_english_alone=reads_english_alone)]


@pytest.mark.parametrize(
    ("query", "kind", "word"),
    [
        ("!!!", "nonsense", "no word"),
        ("123456", "nonsense", "no word"),
        ("🐶", "nonsense", "no word"),
        ("# comment", "nonsense", "#"),
        ("asdfgh", "nonsense", '"asdfgh"'),
        ("ASDFGH", "nonsense", '"ASDFGH"'),
        ("Asdfgh", "nonsense", '"Asdfgh"'),
        ("a zorble", "nonsense", '"zorble"'),
        ("doing the vroptic", "nonsense", '"vroptic"'),
        ("mivvet the pleen", "nonsense", '"mivvet", "pleen"'),
        ("basketbal", "nonsense", 'Did you mean "basketball"?'),
        ("плавание", "language", "Cyrillic letters"),
        ("篮球", "language", "Chinese or Japanese characters"),
        ("自転車に乗る", "language", "Japanese characters"),
        ("كرة السلة", "language", "Arabic letters"),
        ("ein Hund", "language", '"ein", "Hund"'),
        ("Lippenstift auftragen", "nonsense", '"auftragen"'),
        ("un barco", "language", '"barco"'),
        ("arc et fleches", "language", '"fleches"'),
    ],
)
def test_what_says_nothing_is_refused_by_name(query: str, kind: str, word: str) -> None:
    (remark,) = remarks(query)
    assert (remark.kind, remark.is_refused, remark.query) == (kind, True, query)
    assert word in remark.why


@pytest.mark.parametrize(
    ("query", "question"),
    [
        ("no baby", 'not "baby"'),
        ("not a baby", 'not "a baby"'),
        ("without any baby", 'not "baby"'),
        ("there are no people in the room", 'not "people in the room"'),
        ("nobody", 'not "a person"'),
        ("No one", 'not "a person"'),
        ("nobody in the room", 'not "a person in the room"'),
        ("never smiling", 'not "smiling"'),
        ("a man without a hat", '"a man" and not "a hat"'),
        ("a man with no hat", '"a man" and not "hat"'),
        ("a man who is not wearing a hat", '"a man" and not "wearing a hat"'),
        ("a dog that isn't barking", '"a dog" and not "barking"'),
        ("a dog that isn’t barking", '"a dog" and not "barking"'),
        ("the dog doesn't move", '"the dog" and not "move"'),
        ("a cat but not a dog", '"a cat" and not "a dog"'),
        ("neither a dog nor a cat", 'not ("a dog" or "a cat")'),
        ("zero people", 'not "people"'),
        ("nobody but the goalkeeper", 'not "a person"'),  # no question of its own fits
        ("everything except the dog", 'not "the dog"'),
        ("people other than the referee", '"people" and not "the referee"'),
        ("the absence of a baby", 'not "a baby"'),
        ("nothing happens", 'not "a person"'),
        ("not", 'not "a person"'),
    ],
)
def test_a_negation_is_refused_with_the_way_to_ask_it(query: str, question: str) -> None:
    (remark,) = remarks(query)
    assert (remark.kind, remark.is_refused, remark.question) == ("negation", True, question)
    assert f"--ask '{question}'" in remark.why
    assert all(not remarks(name) for name in parse(question).names)
    assert kinds(query, reads_english_alone=False) == ["negation"]


def test_a_part_of_a_question_is_no_negation_itself() -> None:
    (remark,) = remarks("no dog without a leash")
    assert (remark.kind, remark.question) == ("negation", 'not "a person"')


def test_a_long_sentence_gets_no_question_made_of_its_halves() -> None:
    query = "a man who wears a hat and does not look at the camera walks to the door of the house"
    (remark,) = remarks(query)
    assert (remark.kind, remark.question) == ("negation", 'not "a person"')


@pytest.mark.parametrize(
    ("query", "kind"),
    [
        ("two dogs", "count"),
        ("3 people", "count"),
        ("two old men", "count"),
        ("exactly one dog", "count"),
        ("the word STOP", "sign"),
        ("a sign that says exit", "sign"),
        ("text 'hello'", "sign"),
        ('a banner with "welcome" on it', "sign"),
        ("number 10 on the shirt", "sign"),
        ("a car with plate AB 123", "sign"),
        ("no smoking sign", "sign"),
        ("sign saying no dogs", "sign"),
        ("no more than two people", "count"),
        ("a dozen eggs", "count"),
        ("jumps twice", "which"),
        ("the second goal", "which"),
        ("do not enter sign", "sign"),
        ("a dog barking sound", "sound"),
        ("sound of applause", "sound"),
        ("loud music", "sound"),
        ("someone saying hello", "sound"),
        ('a man says "hello"', "sound"),
        ("talking about politics", "sound"),
        ("pouring xqzt into a cup", "unknown"),
        ("Messi", "unknown"),
        ("Messi scoring a goal", "unknown"),
    ],
)
def test_what_is_known_in_part_is_noted(query: str, kind: str) -> None:
    said = remarks(query)
    assert [r.kind for r in said] == [kind]
    assert not said[0].is_refused
    (note,) = notes_of(said)
    assert note.startswith(f'"{query}": ')


@pytest.mark.parametrize(
    ("query", "question"),
    [
        ("jump then land", '"jump" then "land"'),
        ("a cat before a cup of coffee", '"a cat" then "a cup of coffee"'),
        ("first a dog then a cat", '"a dog" then "a cat"'),
        ("opens the fridge, then pours milk", '"opens the fridge" then "pours milk"'),
        ("a jump followed by a fall", '"a jump" then "a fall"'),
        ("jumping three times", '"jumping" 3 times'),
        ("sitting for longer than 10 s", '"sitting" for at least 10 s'),
    ],
)
def test_what_a_question_asks_better_is_noted_with_it(query: str, question: str) -> None:
    (remark,) = remarks(query)
    assert (remark.is_refused, remark.question) == (False, question)
    assert f"--ask '{question}'" in notes_of([remark])[0]
    assert parse(question)


@pytest.mark.parametrize(
    "query",
    """one-handed catch|a four-poster|a two wheeler|three point shot|javelin throw|two hands
    |a café|a fork|a dog's bone|4x4|T-shirt|wi-fi|selfie|NBA|Eiffel Tower|BaseballPitch
    |shoot_gun|"pole vault"|#dance|no-look pass|no ball|tying a knot|a nonstick pan|an empty room
    |clapping|shouting|stop sign
    |la la land|Tour de France|pas de deux|Las Vegas
    |he then leaves|a number of bikers|jumprope|a|x
    |zero gravity flight|no longer raining|nothing but net|no smoking|HGVs|tuk-tuk
    |petting animal (not cat)""".split("|"),
)
def test_no_false_alarm(query: str) -> None:
    assert remarks(query.strip()) == ()


def test_a_tower_of_many_languages_reads_any_word() -> None:
    for query in ("плавание", "ein Hund", "asdfgh", "pouring xqzt into a cup"):
        assert remarks(query, reads_english_alone=False) == ()
    assert kinds("!!!", reads_english_alone=False) == ["nonsense"]


def test_notes_of_one_kind_are_one_line() -> None:
    said = [remark for query in ("two dogs", "three cats", "a cat") for remark in remarks(query)]
    (note,) = notes_of(said)
    assert note.startswith('"two dogs", "three cats": how many')


def test_class_names_of_the_package_raise_no_alarm() -> None:
    names = {name for lists in published_splits().values() for name in lists["classes"]}
    names |= set((DATA / "kinetics400_names.txt").read_text().splitlines())
    assert len(names) > 600
    for row in (DATA / "imagenet_classes.tsv").read_text().splitlines():
        names |= {name.strip() for name in row.split("\t")[1].split(",")}
    assert {name: remarks(name) for name in names if remarks(name)} == {}


@pytest.mark.data
def test_names_of_real_datasets_raise_no_alarm(data_root: Path) -> None:
    with (data_root / "clips.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    names = {row[column] for row in rows for column in ("label", "thumos14_class")} - {""}
    names = {name for name in names if not name.startswith("(")}  # no labels, but remarks
    ucf101 = json.loads((data_root / "annotations/ucf101_24/ucf101_24_temporal.json").read_text())
    names |= set(ucf101["classes"].values())
    listed = json.loads((data_root / "query_words.json").read_text())
    names |= {*listed["everyday_absent"], *listed["rare_absent"], *listed["synonyms"]}
    names |= {word for words in listed["synonyms"].values() for word in words}
    assert {name: remarks(name) for name in names if remarks(name)} == {}


@pytest.mark.data
def test_nonsense_and_other_languages_are_refused(data_root: Path) -> None:
    listed = json.loads((data_root / "query_words.json").read_text())

    def refused(which: str) -> float:
        said = [any(r.is_refused for r in remarks(query)) for query in listed[which]]
        return sum(said) / len(said)

    assert refused("nonsense") == 1.0
    assert refused("other_languages") >= 0.8


PIECES = st.sampled_from(
    """no not without nobody neither nor except a the dog man hat then first times two 3 for at
    least 10 s sign says " ' ’ “ { } \\\\ ( ) , . who is isn't never # plate blorf Messi ein 猫
    """.split()
)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=60), st.lists(PIECES, max_size=14).map(" ".join)))
def test_any_query_is_judged_and_every_question_parses(query: str) -> None:
    for remark in remarks(query):
        assert remark.query == query
        if remark.question:
            assert parse(remark.question)
    assert all(notes_of(remarks(query)))


@pytest.mark.parametrize("piece", ["a ", "x", "no ", "and then a ", "two dogs ", "the sound "])
def test_a_long_query_takes_no_longer(piece: str) -> None:
    start = time.perf_counter()
    remarks(piece * 5000)
    assert time.perf_counter() - start < 2.0


def test_words_and_their_forms() -> None:
    common, rare = english_words()
    assert not common & rare
    for word in ("running", "skies", "geese", "pangolins", "axolotl", "lightswitch", "theremin"):
        assert is_english(word)
    assert not any(map(is_english, ("blorf", "femmick", "brantic", "wugging")))
    assert (near("gutiar"), near("footbal"), near("blorf")) == ("guitar", "football", None)
