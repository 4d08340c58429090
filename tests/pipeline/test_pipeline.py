"""The main job in Python: what is cached, what is refused, what an answer carries."""

from pathlib import Path

import numpy as np
import pytest
from fakes import FakeEncoder

import openmoment
from openmoment.encoders.bank import everyday_names
from openmoment.errors import ConfigError, QueryError, UnknownNameError, VideoError
from openmoment.features.cache import Cache
from openmoment.methods import load_method
from openmoment.pipeline import load_pipeline
from openmoment.pipeline.answering import Pipeline
from openmoment.pipeline.queries import bank_of


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "match.mp4"
    path.write_bytes(bytes(range(256)) * 40)  # ten seconds, as FakeEncoder counts
    return path


def pipeline(encoder: FakeEncoder, *, cache: Cache | None = None, **settings: float) -> Pipeline:
    return Pipeline(
        encoder, load_method("similarity", encoder.space, settings), "similarity", 4.0, cache
    )


def test_an_answer_says_where_it_comes_from(video: Path) -> None:
    found = pipeline(FakeEncoder(), min_presence=0).find(video, ["a dog", "a cat"])
    assert len(found) > 0
    assert found.origin is not None
    assert found.origin.video == str(video)
    assert found.origin.duration_s == 10.0
    assert (found.origin.backbone, found.origin.method) == ("fake", "similarity")
    assert found.origin.settings["min_presence"] == 0
    assert found.origin.settings["fps"] == 4.0
    assert found.origin.curves is not None
    assert found.origin.curves.shape == (2, len(found.origin.grid or ()))
    assert found.segments.max() <= 10.0


def test_nothing_is_computed_twice(video: Path, tmp_path: Path) -> None:
    first, second = FakeEncoder(), FakeEncoder()
    cache = Cache(tmp_path / "cache")
    a = pipeline(first, cache=cache, min_presence=0).find(video, ["a dog", "a cat"])
    b = pipeline(second, cache=cache, min_presence=0).find(video, ["a cat", "a cow"])
    assert len(first.encoded) == 1
    assert second.encoded == []
    assert second.texts == ["a cow"]
    assert a.origin is not None
    assert b.origin is not None
    np.testing.assert_array_equal(a.origin.grid.edges_s, b.origin.grid.edges_s)


def test_cached_and_fresh_answers_agree(video: Path, tmp_path: Path) -> None:
    fresh = pipeline(FakeEncoder(), min_presence=0).find(video, ["a dog"])
    cached = pipeline(FakeEncoder(), cache=Cache(tmp_path / "c"), min_presence=0)
    cached.find(video, ["a dog"])
    again = cached.find(video, ["a dog"])
    np.testing.assert_allclose(fresh.segments, again.segments)
    np.testing.assert_allclose(fresh.scores, again.scores, atol=1e-6)


def test_a_changed_video_is_encoded_again(video: Path, tmp_path: Path) -> None:
    encoder = FakeEncoder()
    asked = pipeline(encoder, cache=Cache(tmp_path / "cache"))
    asked.find(video, ["a dog"])
    video.write_bytes(video.read_bytes() + b"more")
    asked.find(video, ["a dog"])
    assert len(encoder.encoded) == 2


def test_one_query_may_be_a_plain_string_and_space_does_not_count(video: Path) -> None:
    asked = pipeline(FakeEncoder())
    assert asked.find(video, "a dog").names == ("a dog",)
    assert asked.queries(["  a \n dog ", "a dog", "a cat"]).names == ("a dog", "a cat")


@pytest.mark.parametrize("names", [[], [""], ["a dog", "  "]])
def test_empty_queries_are_refused(names: list[str]) -> None:
    with pytest.raises(QueryError, match="[Qq]uery"):
        pipeline(FakeEncoder()).queries(names)


def test_names_and_rates_are_checked(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'embedded'"):
        load_pipeline("embeded")
    with pytest.raises(UnknownNameError, match="Unknown method 'magic'"):
        load_pipeline(method="magic")
    for fps in (0.0, -1.0, 1e6, float("nan")):
        with pytest.raises(ConfigError, match="fps"):
            load_pipeline(fps=fps)
    with pytest.raises(VideoError, match=r"missing\.mp4"):
        openmoment.find(tmp_path / "missing.mp4", ["a dog"])
    assert load_pipeline(use_cache=False).cache is None


def test_the_bank_is_embedded_once_and_tells_how_far_it_is(tmp_path: Path) -> None:
    class Counting(FakeEncoder):
        read = 0

        def encode_text(self, names, *, templates=None):
            self.read += len(names)
            return super().encode_text(names, templates=templates)

    encoder, cache = Counting(), Cache(tmp_path / "cache")
    heard: list[tuple[float, float]] = []
    first = bank_of(encoder, cache, progress=lambda *done: heard.append(done))
    num = len(everyday_names())
    assert encoder.read == num == len(first)
    assert heard[-1] == (num, num) and len(heard) > 5
    again = bank_of(encoder, cache)
    assert encoder.read == num
    np.testing.assert_array_equal(first, again)
