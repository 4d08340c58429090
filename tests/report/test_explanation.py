"""The page that explains test-time adaptation, and captions on their way to it."""

from pathlib import Path

import numpy as np
import pytest
from fakes import FakeEncoder
from spaces import CosineSpace, film, words

from openmoment.errors import ConfigError, VideoError
from openmoment.features.captions import Captions
from openmoment.methods import load_method
from openmoment.methods.t3al import T3al, T3alConfig
from openmoment.pipeline.answering import Pipeline
from openmoment.report.explanation import write_explanation
from openmoment.types import Captioned


def blank(path: Path, times_s: list[float], *, short_side: int) -> list[np.ndarray]:
    return [np.zeros((short_side, 2 * short_side, 3), np.uint8) for _ in times_s]


def unreadable(path: Path, times_s: list[float], *, short_side: int) -> list[np.ndarray]:
    raise VideoError(f"{path}: gone.")


@pytest.fixture
def explained():
    queries = words(3)
    snippets = film(queries, [(None, 20), (0, 16), (None, 24), (0, 16), (None, 20)], noise=0.05)
    times = snippets.grid.centres_s
    like, other = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    vectors = np.array([like if t < 12 else other for t in times])
    vectors[times > 16] = like
    snippets = type(snippets)(
        snippets.features,
        snippets.grid,
        snippets.recipe,
        snippets.duration_s,
        Captioned(times, vectors),
    )
    method = T3al(T3alConfig(alpha=0.6), CosineSpace())
    return method.explain(snippets, queries), snippets.grid


def test_the_page_shows_every_step(explained, tmp_path: Path) -> None:
    write_explanation({"films/a <b>.mp4": explained}, tmp_path / "e.html", pictures=blank)
    page = (tmp_path / "e.html").read_text()
    assert "a &lt;b&gt;.mp4" in page
    assert "word 0" in page and "steps; the loss went from" in page
    assert page.count("<figure") == page.count("data:image/jpeg") > 0
    assert 'class="before"' in page and 'class="after"' in page
    assert "http" not in page.replace("http-equiv", "")
    explanation, _ = explained
    gone = [r for a in explanation.adaptations for r in a.regions if not r.is_kept]
    assert page.count("suppressed: told like") == len(gone)


def test_a_video_that_is_gone_is_explained_without_pictures(explained, tmp_path: Path) -> None:
    write_explanation({"a.mp4": explained}, tmp_path / "e.html", pictures=unreadable)
    assert "data:image" not in (tmp_path / "e.html").read_text()


def test_captions_are_embedded_as_they_are_and_once(tmp_path: Path) -> None:
    video = tmp_path / "v.mp4"
    video.write_bytes(b"x" * 20480)
    encoder = FakeEncoder()
    pipeline = Pipeline(encoder, load_method("t3al", encoder.space), "t3al", 4.0, None)
    snippets = pipeline.snippets(video)
    captions = Captions(np.array([1.0, 2.0]), ("a dog", "a cat"), "mine", "0", 1.0, "")
    found = pipeline.captioned(snippets, captions)
    assert found.captions is not None
    np.testing.assert_array_equal(found.captions.times_s, [1.0, 2.0])
    expected = encoder.encode_text(["a dog", "a cat"])
    np.testing.assert_allclose(found.captions.embeddings, expected, atol=1e-6)
    nothing = Captions(np.zeros(0), (), "mine", "0", 1.0, "")
    assert pipeline.captioned(snippets, nothing).captions is None


def test_only_methods_with_reasons_explain() -> None:
    encoder = FakeEncoder()
    pipeline = Pipeline(encoder, load_method("similarity", encoder.space), "similarity", 4.0, None)
    with pytest.raises(ConfigError, match="nothing to explain"):
        pipeline.explain(film(words(2), [(0, 8)]), words(2))
