"""Caption files: what is written is read, other people's are understood, a loss costs time."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openmoment.errors import FormatError, OpenMomentError, RecipeError
from openmoment.features.cache import Cache
from openmoment.features.captions import (
    Captions,
    captions_for,
    import_captions,
    read_captions,
    write_captions,
)
from openmoment.features.file import IMPORTED

CAPTIONS = Captions(
    times_s=np.array([0.5, 1.5, 2.25]),
    texts=("a man", 'a "red" ball, 球', ""),
    captioner="tags",
    fingerprint="f-1",
    fps=1.0,
    source_sha256="ab" * 32,
)


def same(one: Captions, other: Captions) -> bool:
    return one.times_s.tolist() == other.times_s.tolist() and (one.texts, one.recipe) == (
        other.texts,
        other.recipe,
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.captions.json"


# our own files -------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(items=st.lists(st.tuples(st.floats(0, 1e6), st.text(st.characters(codec="utf-8")))))
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, items: list[tuple[float, str]]
) -> None:
    items.sort(key=lambda item: item[0])
    times_s, texts = np.array([time for time, _ in items]), tuple(text for _, text in items)
    captions = replace(CAPTIONS, times_s=times_s, texts=texts)
    path = tmp_path_factory.mktemp("captions") / "a.captions.json"
    write_captions(captions, path)
    assert same(read_captions(path, expected=captions.recipe), captions)


def test_the_file_says_how_it_was_made(path: Path) -> None:
    write_captions(CAPTIONS, path)
    table = json.loads(path.read_text())
    assert table["captions"][0] == {"time_s": 0.5, "text": "a man"}
    assert (table["format"], table["captioner"]) == ("openmoment-captions/1", "tags")
    assert [other.name for other in path.parent.iterdir()] == [path.name]


def test_captions_of_another_recipe_are_refused(path: Path) -> None:
    write_captions(CAPTIONS, path)
    with pytest.raises(RecipeError, match=r"a\.captions\.json.*fps: 1\.0 here, 2\.0 asked for"):
        read_captions(path, expected=replace(CAPTIONS, fps=2.0).recipe)


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("format", "openmoment-captions/0", "format: expected 'openmoment-captions/1'"),
        ("captioner", None, "captioner: expected text"),
        ("fps", "often", "fps: expected a number"),
        ("captions", {}, "captions: expected a list"),
        ("captions", [{"time_s": 1}], "caption 1: field 'text' is missing"),
        ("captions", [{"time_s": 1, "text": ""}, 3], "caption 2: expected an object"),
        ("captions", [{"time_s": "x", "text": ""}], "caption 1: time_s: expected a number"),
        ("captions", [{"time_s": t, "text": ""} for t in (2, 1)], "must be finite and in order"),
    ],
)
def test_a_bad_file_is_one_line_with_its_place(
    path: Path, field: str, value: object, says: str
) -> None:
    write_captions(CAPTIONS, path)
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
    with pytest.raises(FormatError) as raised:
        read_captions(path)
    message = str(raised.value)
    assert message.startswith(str(path)) and message.count(str(path)) == 1
    assert says in message and "\n" not in message


def test_captions_that_do_not_fit_their_times_are_refused() -> None:
    for times_s in (np.zeros(2), np.array([0.0, np.nan, 1.0]), np.array([1.0, 0.0, 2.0])):
        with pytest.raises(FormatError):
            replace(CAPTIONS, times_s=times_s)


def test_a_missing_folder_or_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(OpenMomentError, match="does not exist"):
        write_captions(CAPTIONS, tmp_path / "none" / "a.json")
    with pytest.raises(FormatError, match="cannot be read"):
        read_captions(tmp_path / "none.json")


# other people's ------------------------------------------------------------------------------


def test_a_list_in_json_is_put_in_order(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    items = [{"time_s": time, "text": text, "score": 1} for time, text in ((4, "b"), (2, "a"))]
    path.write_text(json.dumps(items))
    captions = import_captions(path)
    assert (captions.times_s.tolist(), captions.texts, captions.fps) == ([2, 4], ("a", "b"), 0.5)
    assert (captions.captioner, captions.fingerprint, captions.source_sha256) == (
        IMPORTED,
        IMPORTED,
        "",
    )


def test_csv_needs_two_columns(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b'\xef\xbb\xbftext,frame,time_s\r\n"a, b",0,0.5\r\n"two\nlines",1,1.5\r\n')
    captions = import_captions(path)
    assert captions.texts == ("a, b", "two\nlines") and captions.times_s.tolist() == [0.5, 1.5]
    path.write_text("time,text\n0.5,a\n")
    with pytest.raises(FormatError, match=r"a\.csv: the header has no column 'time_s'"):
        import_captions(path)
    path.write_text("time_s,text\n0.5,a\nsoon,b\n")
    with pytest.raises(FormatError, match=r"line 3: time_s: expected a number, got 'soon'"):
        import_captions(path)


def test_lines_of_text_need_their_rate(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("a man\n\n a ball \n")
    captions = import_captions(path, fps=10.0)
    assert captions.texts == ("a man", "a ball")
    np.testing.assert_allclose(captions.times_s, [0.05, 0.25])
    assert captions.fps == 10
    for fps in (None, 0.0, np.inf):
        with pytest.raises(FormatError, match="per second"):
            import_captions(path, fps=fps)


def test_our_own_file_is_imported_as_it_is(path: Path) -> None:
    write_captions(CAPTIONS, path)
    assert same(import_captions(path), CAPTIONS)


@pytest.mark.parametrize(
    ("name", "content", "fps", "says"),
    [
        ("a.srt", "", None, "expected a .json, .csv or .txt file"),
        ("a.json", "[]", None, "holds no caption"),
        ("a.json", "3", None, "expected a list of captions"),
        ("a.json", "{}", None, "field 'format' is missing"),
        ("a.json", '[{"time_s": 1, "text": "a"}]', 2.0, "states its times"),
        ("a.csv", "time_s,text\n", None, "holds no caption"),
        ("a.csv", "", None, "no column 'time_s'"),
        ("a.txt", "\n\n", 1.0, "holds no caption"),
    ],
)
def test_what_cannot_be_imported_is_one_line(
    tmp_path: Path, name: str, content: str, fps: float | None, says: str
) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(FormatError) as raised:
        import_captions(path, fps=fps)
    assert str(raised.value).startswith(str(path)) and says in str(raised.value)


# the cache -----------------------------------------------------------------------------------


def test_the_cache_keeps_captions_by_recipe(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    assert cache.load_captions(CAPTIONS.recipe) is None
    assert cache.store_captions(CAPTIONS)
    found = cache.load_captions(CAPTIONS.recipe)
    assert found is not None and same(found, CAPTIONS)
    assert cache.load_captions(replace(CAPTIONS, fingerprint="f-2").recipe) is None
    assert cache.size_bytes() == cache.captions_path(CAPTIONS.recipe).stat().st_size
    cache.clear()
    assert cache.load_captions(CAPTIONS.recipe) is None


@pytest.mark.parametrize("content", ["", "{}", "[" * 9999, '{"format": "openmoment-captions/9"}'])
def test_a_damaged_entry_costs_time_only(tmp_path: Path, content: str) -> None:
    cache = Cache(tmp_path)
    cache.store_captions(CAPTIONS)
    path = cache.captions_path(CAPTIONS.recipe)
    path.write_text(content)
    assert cache.load_captions(CAPTIONS.recipe) is None
    assert not path.exists() and cache.store_captions(CAPTIONS)


def test_a_cache_that_cannot_be_written_to_costs_time_only(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = Cache(tmp_path / "file")
    assert not cache.store_captions(CAPTIONS)
    assert cache.load_captions(CAPTIONS.recipe) is None
    with pytest.raises(ValueError, match="hash of their video"):
        cache.captions_path(replace(CAPTIONS, source_sha256="").recipe)


def test_captions_are_found_by_the_name_of_a_video(tmp_path: Path) -> None:
    table = "time_s,text\n0.5,a dog\n"
    (tmp_path / "v.csv").write_text(table)
    found = captions_for("v", tmp_path)
    assert found is not None and found.texts == ("a dog",)
    assert captions_for("w", tmp_path) is None
    ours = Captions(np.array([0.5]), ("a cat",), "mine", "1", 1.0, "")
    write_captions(ours, tmp_path / "v.captions.json")
    found = captions_for("v", tmp_path)
    assert found is not None and found.texts == ("a cat",)
    by_file = captions_for("anything", tmp_path / "v.csv")
    assert by_file is not None and by_file.texts == ("a dog",)
    with pytest.raises(FormatError, match="no such file or folder"):
        captions_for("v", tmp_path / "none")
