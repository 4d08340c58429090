"""What is generated about a label, as a joint encoder reads it: which pairs, which points, once."""

import json
from pathlib import Path

import numpy as np
import pytest
from fakes import FakeEncoder, FakeSpace
from numpy import ndarray as Array
from PIL import Image

from openmoment.encoders.joint import Pairing
from openmoment.errors import ConfigError, FormatError
from openmoment.features.cache import Cache
from openmoment.methods import load_method
from openmoment.methods.traits import Traits
from openmoment.pipeline.answering import Pipeline
from openmoment.priors import Example, read_priors
from openmoment.priors.pairs import encode_pairs
from openmoment.priors.plain import TemplateTexts

WIDTH = 8


class SeeingSpace(FakeSpace):
    """In which a picture stands where its features do."""

    def picture_queries(self, features: Array) -> Array:
        return features[:, :WIDTH]


class Seeing(FakeEncoder):
    """A fake backbone that sees pictures too, and counts what it is asked."""

    picture_side, picture_batch = None, 1

    def __init__(self) -> None:
        super().__init__(dim_in=WIDTH, dim=WIDTH)
        self.space = SeeingSpace()
        self.pictures = 0

    def encode_pictures(self, pictures: list[Array]) -> Array:
        self.pictures += len(pictures)
        seeds = [int(picture.sum()) for picture in pictures]
        return np.stack([np.random.default_rng(s).normal(size=WIDTH) for s in seeds]).astype("f4")


@pytest.fixture
def encoder() -> Seeing:
    return Seeing()


@pytest.fixture
def images(tmp_path: Path) -> tuple[Path, ...]:
    paths = tuple(tmp_path / f"img_{i}.png" for i in range(6))
    for i, path in enumerate(paths):
        Image.new("RGB", (4, 4), (30 * i, 9, 200)).save(path)
    return paths


def unit(row: Array) -> Array:
    return row / np.linalg.norm(row)


def read(encoder: Seeing, text: str) -> Array:
    """A sentence's only token."""
    return encoder.encode_text([text], templates=("{}",))[0]


def see(encoder: Seeing, path: Path) -> Array:
    """A picture's only token."""
    with Image.open(path) as image:
        return encoder.encode_pictures([np.asarray(image.convert("RGB"))])[0]


def encode(encoder: Seeing, example: Example | None = None, *, cache: Cache | None = None, **told):
    """The pairs of one label, "a cat"."""
    pairing = Pairing(**{"k": 3} | told)
    word = encoder.encode_text(["a cat"])
    examples = None if example is None else {"a cat": example}
    pairs = encode_pairs(["a cat"], word, pairing, encoder, cache, examples=examples)
    assert pairs.tokens.shape[:2] == (1, pairing.k)
    assert (pairs.tokens.dtype, pairs.points.dtype) == (np.float32, np.float32)
    return pairs.tokens[0], pairs.points[0]


# which pairs -------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 3, 4, 5])
def test_a_pair_is_a_picture_and_a_sentence_and_fewer_come_again(
    encoder: Seeing, images: tuple[Path, ...], k: int
) -> None:
    texts = ("whiskers", "it purrs", "a pet")
    tokens, _ = encode(encoder, Example(texts, images[:2]), k=k)
    for i in range(k):
        expected = [see(encoder, images[i % min(2, k)]), read(encoder, texts[i % min(3, k)])]
        np.testing.assert_allclose(tokens[i], expected, atol=1e-6)


def test_what_is_beyond_k_is_left_out_of_pairs_and_points(
    encoder: Seeing, images: tuple[Path, ...]
) -> None:
    texts = tuple(f"sentence {i}" for i in range(6))
    few, many = (encode(encoder, Example(texts[:n], images[:n])) for n in (3, 6))
    np.testing.assert_array_equal(few[0], many[0])
    np.testing.assert_array_equal(few[1], many[1])


def test_a_label_without_priors_has_sentences_all_the_same(encoder: Seeing) -> None:
    tokens, _ = encode(encoder)
    texts = TemplateTexts().write("a cat", 3, seed=0)
    assert tokens.shape == (3, 1, WIDTH)  # and no picture
    np.testing.assert_allclose(tokens[:, 0], [read(encoder, text) for text in texts], atol=1e-6)


def test_pictures_alone_go_with_prompts(encoder: Seeing, images: tuple[Path, ...]) -> None:
    tokens, _ = encode(encoder, Example((), images[:1]), k=2)
    texts = TemplateTexts().write("a cat", 2, seed=0)
    for row, text in zip(tokens, texts, strict=True):
        expected = [see(encoder, images[0]), read(encoder, text)]
        np.testing.assert_allclose(row, expected, atol=1e-6)


def test_pictures_and_sentences_can_be_left_out(encoder: Seeing, images: tuple[Path, ...]) -> None:
    example = Example(("whiskers", "it purrs"), images[:2])
    tokens, points = encode(encoder, example, k=2, has_images=False)
    assert encoder.pictures == 0 and not points[1].any()
    expected = [[read(encoder, text)] for text in example.texts]
    np.testing.assert_allclose(tokens, expected, atol=1e-6)
    tokens, points = encode(encoder, example, k=2, has_texts=False)
    bare = read(encoder, "a cat")
    expected = [[see(encoder, image), bare] for image in images[:2]]
    np.testing.assert_allclose(tokens, expected, atol=1e-6)
    tokens, _ = encode(encoder, example, k=2, has_texts=False, has_images=False)
    np.testing.assert_allclose(tokens, [[bare], [bare]], atol=1e-6)


def test_the_name_of_a_picture_says_nothing(encoder: Seeing, images: tuple[Path, ...]) -> None:
    """Unless pictures are left out: then it is all there is."""
    example = Example((), images[:1], has_words=False)
    tokens, points = encode(encoder, example, k=2)
    seen = see(encoder, images[0])
    np.testing.assert_allclose(tokens, [[seen], [seen]], atol=1e-6)
    np.testing.assert_allclose(points, [unit(seen), unit(seen)], atol=1e-6)
    for told in ({"has_images": False}, {"has_images": False, "has_texts": False}):
        tokens, points = encode(encoder, example, k=2, **told)
        assert tokens.any(axis=(1, 2)).all() and points[0].any() and not points[1].any()


def test_parts_of_a_pair_by_the_joint_encoder(encoder: Seeing, images: tuple[Path, ...]) -> None:
    example = Example(("whiskers",), images[:1])
    seen, word = see(encoder, images[0]), read(encoder, "whiskers")
    np.testing.assert_allclose(encode(encoder, example, joint="text")[0][0], [word], atol=1e-6)
    np.testing.assert_allclose(encode(encoder, example, joint="image")[0][0], [seen], atol=1e-6)
    assert encode(encoder, joint="image")[0].shape == (3, 0, WIDTH)  # nothing to read


def test_labels_of_unlike_lengths_share_an_array(encoder: Seeing, images: tuple[Path, ...]) -> None:
    names = ["a dog", "a cat"]
    words = encoder.encode_text(names)
    examples = {"a cat": Example(("whiskers",), images[:1])}
    both = encode_pairs(names, words, Pairing(k=2), encoder, None, examples=examples)
    dog = encode_pairs(names[:1], words[:1], Pairing(k=2), encoder, None)
    assert both.tokens.shape == (2, 2, 2, WIDTH)
    np.testing.assert_array_equal(both.tokens[0, :, :1], dog.tokens[0])
    assert not both.tokens[0, :, 1].any() and both.tokens[1].any(axis=2).all()
    np.testing.assert_array_equal(both.points[0], dog.points[0])
    assert not both.points[0, 1].any()


# points ------------------------------------------------------------------------------------------


def test_points_are_the_name_with_its_sentences_and_the_pictures(
    encoder: Seeing, images: tuple[Path, ...]
) -> None:
    example = Example(("whiskers", "it purrs"), images[:3])
    _, points = encode(encoder, example)
    word, texts = encoder.encode_text(["a cat"])[0], [read(encoder, t) for t in example.texts]
    told = unit(unit(word) + np.mean([unit(text) for text in texts], axis=0))
    shown = unit(np.mean([unit(see(encoder, image)) for image in images[:3]], axis=0))
    np.testing.assert_allclose(points, [told, shown], atol=1e-6)


# once --------------------------------------------------------------------------------------------


def test_a_pair_is_encoded_once(
    encoder: Seeing, images: tuple[Path, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, example = Cache(tmp_path / "cache"), Example(("whiskers", "it purrs"), images[:2])
    plain, first = encode(encoder, example), encode(encoder, example, cache=cache)
    encoder.pictures, encoder.texts = 0, []
    monkeypatch.setattr("openmoment.priors.pairs.read_picture", None)
    again = encode(encoder, example, cache=cache)
    assert encoder.pictures == 0 and set(encoder.texts) <= {"a cat", "x"}  # the word is given
    for others in (plain, again):
        np.testing.assert_array_equal(first[0], others[0])
        np.testing.assert_allclose(first[1], others[1], atol=1e-6)


def test_another_picture_sentence_or_joint_encoder_is_another_pair(
    encoder: Seeing, images: tuple[Path, ...], tmp_path: Path
) -> None:
    cache, kept = Cache(tmp_path / "cache"), tmp_path / "seen.png"
    kept.write_bytes(images[0].read_bytes())
    found = [encode(encoder, Example(("whiskers",), (kept,)), cache=cache)[0]]
    kept.write_bytes(images[1].read_bytes())  # of the same name
    found.append(encode(encoder, Example(("whiskers",), (kept,)), cache=cache)[0])
    found.append(encode(encoder, Example(("it purrs",), (kept,)), cache=cache)[0])
    assert all(np.abs(a - b).max() > 0.1 for a, b in zip(found, found[1:], strict=False))
    example = Example(("whiskers",), (kept,))
    assert encode(encoder, example, cache=cache, joint="text")[0].shape == (3, 1, WIDTH)
    encoder.fingerprint = "fake-2"
    encoder.pictures = 0
    encode(encoder, example, cache=cache)
    assert encoder.pictures


@pytest.mark.parametrize("content", [b"", b"no tensors at all", b"\x02\0\0\0\0\0\0\0{}"])
def test_a_damaged_cache_costs_time_alone(
    encoder: Seeing, images: tuple[Path, ...], tmp_path: Path, content: bytes
) -> None:
    cache, example = Cache(tmp_path / "cache"), Example(("whiskers",), images[:1])
    first = encode(encoder, example, cache=cache)
    of_texts = {p for p in (tmp_path / "cache").rglob("*") if p.is_file()}
    damaged = [path for path in of_texts if "generated" in str(path)]
    assert damaged
    for path in damaged:
        path.write_bytes(content)
    np.testing.assert_array_equal(first[0], encode(encoder, example, cache=cache)[0])


# what cannot be ----------------------------------------------------------------------------------


def test_what_cannot_be_encoded_is_one_line(encoder: Seeing, tmp_path: Path) -> None:
    blind = FakeEncoder(dim_in=WIDTH, dim=WIDTH)
    word = blind.encode_text(["a cat"])
    with pytest.raises(ConfigError, match=r"clip: fake sees no pictures\. Use text"):
        encode_pairs(["a cat"], word, Pairing(), blind, None)
    found = encode_pairs(["a cat"], word, Pairing("text", 2), blind, None)
    assert found.tokens.shape == (1, 2, 1, WIDTH)
    with pytest.raises(ConfigError, match="text_tokens: expected 3 or more"):
        encode(encoder, text_tokens=2)
    with pytest.raises(ConfigError, match="vilbert is not built in"):
        encode(encoder, joint="vilbert")
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.raises(FormatError, match="bad.png"):
        encode(encoder, Example((), (tmp_path / "bad.png",)))


# in a pipeline -----------------------------------------------------------------------------------


def test_queries_come_with_what_is_generated_about_them(
    encoder: Seeing, images: tuple[Path, ...], tmp_path: Path
) -> None:
    folder = tmp_path / "priors" / "a cat"
    folder.mkdir(parents=True)
    (folder / "texts.json").write_text(json.dumps({"label": "a cat", "texts": ["whiskers"]}))
    (folder / "img_0.png").write_bytes(images[0].read_bytes())
    priors, cache = read_priors(tmp_path / "priors"), Cache(tmp_path / "cache")
    method = load_method("similarity", encoder.space)
    asked = Pipeline(encoder, method, "similarity", 4.0, cache, priors=priors)
    joined, bare = asked.queries(["a cat", "a dog"]), asked.queries(["a dog"])
    assert joined.pairs is None  # it does not read them apart: they join the words
    assert joined.examples == {"a cat": {"words": True, "texts": 1, "images": ["img_0.png"]}}
    np.testing.assert_array_equal(joined.embeddings[1], bare.embeddings[0])
    assert np.abs(joined.embeddings[0] - encoder.encode_text(["a cat"])[0]).max() > 0.1
    assert bare.examples is None  # nothing is known of any

    method.traits_of = lambda config: Traits(pairing=Pairing(k=2))
    apart = asked.queries(["a cat", "a dog"])
    shown = {"a cat": Example(("whiskers",), (folder / "img_0.png",))}
    words = encoder.encode_text(["a cat", "a dog"])
    expected = encode_pairs(apart.names, words, Pairing(k=2), encoder, None, examples=shown)
    assert apart.pairs is not None and apart.examples == joined.examples
    np.testing.assert_array_equal(apart.embeddings, words)  # which stay what they were
    np.testing.assert_allclose(apart.pairs.tokens, expected.tokens, atol=1e-6)
    np.testing.assert_allclose(apart.pairs.points, expected.points, atol=1e-6)
