"""The cache: content-addressed, shared by processes, harmless when it cannot work."""

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fakes import FakeEncoder

from openmoment.errors import VideoError
from openmoment.features import cache as cache_module
from openmoment.features.cache import ENVIRONMENT_VARIABLE, Cache, sha256
from openmoment.types import Recipe, SnippetGrid, Snippets

RECIPE = Recipe("fake", "fingerprint-1", 4.0, "ab" * 32)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


@pytest.fixture
def unwritable(tmp_path: Path) -> Cache:
    """A cache whose folder cannot be made, even by root: its parent is a file."""
    (tmp_path / "file").write_text("in the way")
    return Cache(tmp_path / "file" / "cache")


def some_snippets(recipe: Recipe = RECIPE, *, num: int = 8, dim_in: int = 5) -> Snippets:
    features = np.arange(num * dim_in, dtype=np.float32).reshape(num, dim_in)
    return Snippets(features, SnippetGrid.uniform(num, end_s=2.0), recipe, 2.0)


def old_file(path: Path, content: bytes = b"video") -> Path:
    """A file that was last written an hour ago."""
    path.write_bytes(content)
    an_hour_ago = time.time() - 3600
    os.utime(path, (an_hour_ago, an_hour_ago))
    return path


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were read to be hashed."""
    seen: list[Path] = []

    def spy(path: Path) -> str:
        seen.append(path)
        return sha256(path)

    monkeypatch.setattr(cache_module, "sha256", spy)
    return seen


def test_the_folder_is_argument_then_variable_then_users(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, str(tmp_path / "b"))
    assert Cache(tmp_path / "a").root == tmp_path / "a"
    assert Cache().root == tmp_path / "b"
    monkeypatch.delenv(ENVIRONMENT_VARIABLE)
    assert "openmoment" in str(Cache().root)
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------------------------------------
# Hashes
# ---------------------------------------------------------------------------------------------


def test_a_file_is_hashed_once(cache: Cache, tmp_path: Path, hashed: list[Path]) -> None:
    video = old_file(tmp_path / "a.mp4")
    expected = hashlib.sha256(b"video").hexdigest()
    assert [cache.sha256(video), cache.sha256(video)] == [expected, expected]
    assert Cache(cache.root).sha256(tmp_path / "." / "a.mp4") == expected
    assert len(hashed) == 1


def test_a_changed_file_is_hashed_again(cache: Cache, tmp_path: Path, hashed: list[Path]) -> None:
    video = old_file(tmp_path / "a.mp4")
    cache.sha256(video)
    old_file(tmp_path / "b.mp4", b"other").replace(video)  # same size, other inode and time
    assert cache.sha256(video) == hashlib.sha256(b"other").hexdigest()
    video.write_bytes(b"longer content")
    assert cache.sha256(video) == hashlib.sha256(b"longer content").hexdigest()
    assert len(hashed) == 3


def test_a_file_written_a_moment_ago_is_not_remembered(
    cache: Cache, tmp_path: Path, hashed: list[Path]
) -> None:
    video = tmp_path / "a.mp4"
    video.write_bytes(b"video")
    cache.sha256(video)
    cache.sha256(video)
    assert len(hashed) == 2


def test_names_that_are_not_text_are_hashed(cache: Cache, tmp_path: Path) -> None:
    video = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.mp4"))
    try:
        old_file(video)
    except OSError:
        pytest.skip("this file system takes text names only")
    assert cache.sha256(video) == cache.sha256(video) == hashlib.sha256(b"video").hexdigest()


def test_a_video_that_cannot_be_read_is_refused(cache: Cache, tmp_path: Path) -> None:
    for path in (tmp_path / "none.mp4", tmp_path):
        with pytest.raises(VideoError, match=str(path)):
            cache.sha256(path)
        with pytest.raises(VideoError, match=str(path)):
            sha256(path)


# ---------------------------------------------------------------------------------------------
# Features
# ---------------------------------------------------------------------------------------------


def test_what_is_stored_is_loaded(cache: Cache) -> None:
    assert cache.load(RECIPE) is None
    assert cache.store(some_snippets())
    loaded = cache.load(RECIPE)
    assert loaded is not None
    np.testing.assert_array_equal(loaded.features, some_snippets().features)


def test_each_field_of_the_recipe_has_its_own_entry(cache: Cache) -> None:
    others = [
        replace(RECIPE, encoder="other"),
        replace(RECIPE, fingerprint="fingerprint-2"),
        replace(RECIPE, fps=4.5),
        replace(RECIPE, source_sha256="cd" * 32),
    ]
    cache.store(some_snippets())
    assert len({cache.features_path(recipe) for recipe in [RECIPE, *others]}) == 5
    assert all(cache.load(recipe) is None for recipe in others)


def test_features_without_a_source_are_not_cached(cache: Cache) -> None:
    with pytest.raises(ValueError, match="hash of their video"):
        cache.store(some_snippets(replace(RECIPE, source_sha256="")))


def test_a_damaged_feature_file_is_dropped(cache: Cache) -> None:
    cache.store(some_snippets())
    path = cache.features_path(RECIPE)
    path.write_bytes(path.read_bytes()[:-7])
    assert cache.load(RECIPE) is None
    assert not path.exists()
    assert cache.store(some_snippets()) and cache.load(RECIPE) is not None


# ---------------------------------------------------------------------------------------------
# Texts
# ---------------------------------------------------------------------------------------------


def test_only_unknown_texts_are_encoded_in_one_call(cache: Cache) -> None:
    encoder = FakeEncoder()
    calls: list[list[str]] = []

    def encode(names: Sequence[str]) -> np.ndarray:
        calls.append(list(names))
        return encoder.encode_text(names)

    cache.texts("f", ["jump", "run"], encode)
    names = ["swim", "run", "dive", "jump", "swim"]
    found = cache.texts("f", names, encode)
    np.testing.assert_array_equal(found, FakeEncoder().encode_text(names))
    assert found.dtype == np.float32 and found.flags.writeable
    cache.texts("f", names, encode)
    assert calls == [["jump", "run"], ["swim", "dive"]]
    cache.texts("g", ["run"], encode)  # another fingerprint shares nothing
    assert calls[2:] == [["run"]]


def test_odd_texts_are_cached_too(cache: Cache) -> None:
    names = ["", "naïve 日本語", "'; DROP TABLE texts; --", "lone \udcff surrogate", "a\0b"]
    encoded: list[str] = []

    def encode(unknown: Sequence[str]) -> np.ndarray:
        encoded.extend(unknown)
        return np.array([[hash(name) % 97, 1.0] for name in unknown], np.float32)

    first, second = cache.texts("f", names, encode), cache.texts("f", names, encode)
    np.testing.assert_array_equal(first, second)
    assert encoded == names


def test_no_texts_are_asked_of_the_encoder(cache: Cache) -> None:
    assert cache.texts("f", [], FakeEncoder(dim=8).encode_text).shape == (0, 8)


# ---------------------------------------------------------------------------------------------
# When it cannot work
# ---------------------------------------------------------------------------------------------


def test_an_unwritable_folder_costs_time_only(unwritable: Cache, tmp_path: Path) -> None:
    video, encoder = old_file(tmp_path / "a.mp4"), FakeEncoder()
    assert unwritable.sha256(video) == sha256(video)
    assert unwritable.store(some_snippets()) is False
    assert unwritable.load(RECIPE) is None
    found = unwritable.texts("f", ["jump"], encoder.encode_text)
    np.testing.assert_array_equal(found, FakeEncoder().encode_text(["jump"]))
    assert unwritable.size_bytes() == 0
    unwritable.clear()


@pytest.mark.parametrize("content", [b"this is no database at all, only text" * 99, b""])
def test_a_damaged_index_is_dropped(cache: Cache, tmp_path: Path, content: bytes) -> None:
    cache.root.mkdir()
    (cache.root / "index-1.sqlite").write_bytes(content)
    encoder = FakeEncoder()
    for _ in range(3):
        cache.texts("f", ["jump"], encoder.encode_text)
    assert len(encoder.texts) < 3  # lost at most once


def test_clear_deletes_what_the_cache_wrote_and_nothing_else(cache: Cache, tmp_path: Path) -> None:
    cache.store(some_snippets())
    cache.sha256(old_file(tmp_path / "a.mp4"))
    other = cache.root / "photos" / "a.jpg"
    other.parent.mkdir()
    other.write_text("of somebody else")
    on_disk = sum(path.stat().st_size for path in cache.root.rglob("*") if path.is_file())
    assert cache.size_bytes() == on_disk - other.stat().st_size > 0
    cache.clear()
    assert cache.size_bytes() == 0
    assert [path for path in cache.root.rglob("*") if path.is_file()] == [other]
    assert cache.load(RECIPE) is None


# ---------------------------------------------------------------------------------------------
# Several processes, and speed
# ---------------------------------------------------------------------------------------------

WORKER = """
import sys
from pathlib import Path
import numpy as np
from openmoment.features.cache import Cache

cache, worker = Cache(Path(sys.argv[1])), int(sys.argv[2])
for i in range(20):
    names = [f"shared {i}", f"own {worker} {i}"]
    found = cache.texts("f", names, lambda unknown: np.array([[len(n), i] for n in unknown]))
    assert found.tolist() == [[len(name), i] for name in names], found
"""


def test_several_processes_share_one_index(cache: Cache) -> None:
    workers = [
        subprocess.Popen([sys.executable, "-c", WORKER, cache.root, str(i)], stderr=subprocess.PIPE)
        for i in range(4)
    ]
    errors = [worker.communicate(timeout=60)[1] for worker in workers]
    assert errors == [b""] * 4
    names = [f"own {worker} {i}" for worker in range(4) for i in range(20)]
    kept = cache.texts("f", names, lambda unknown: pytest.fail(f"{unknown} were lost"))
    assert kept.shape == (80, 2)


def test_a_warm_question_takes_milliseconds(cache: Cache, tmp_path: Path) -> None:
    video, encoder = old_file(tmp_path / "a.mp4"), FakeEncoder()
    recipe = replace(RECIPE, source_sha256=cache.sha256(video))
    cache.store(some_snippets(recipe, num=240, dim_in=1000))
    names = ["jump", "run", "swim"]
    cache.texts("f", names, encoder.encode_text)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        warm = Cache(cache.root)
        assert warm.sha256(video) == recipe.source_sha256
        assert warm.load(recipe) is not None
        warm.texts("f", names, encoder.encode_text)
        times.append(time.perf_counter() - start)
    assert encoder.texts == names
    assert min(times) < 0.05  # about 2 ms; the limit is for busy machines
