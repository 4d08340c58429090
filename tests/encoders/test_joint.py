"""Pictures and sentences as one sequence of tokens: order, widths, cuts, and who can do it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from fakes import FakeEncoder
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy import ndarray as Array
from small_models import CLIP, COCA, SIGLIP, save_model

from openmoment.encoders import load_encoder
from openmoment.encoders.base import Encoder
from openmoment.encoders.joint import JointEncoder, cut, load_joint, pad_pairs
from openmoment.encoders.two_tower.open_clip import OpenClip
from openmoment.errors import ConfigError, UnknownNameError

CONFIGS = {"clip": CLIP, "coca": COCA, "siglip": SIGLIP}
SENTENCE = "a person jumps over a bar"
LONG = " ".join(["a person jumps over a bar and lands on a mat"] * 9)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {name: save_model(root / name, config) for name, config in CONFIGS.items()}


@pytest.fixture(scope="module")
def clip(folders: dict[str, Path]) -> OpenClip:
    encoder = load_encoder(str(folders["clip"]))
    assert isinstance(encoder, OpenClip)
    return encoder


def picture(height: int = 40, width: int = 56) -> Array:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_a_pair_is_the_picture_first_then_its_patches_then_the_words(clip: OpenClip) -> None:
    joint = load_joint(encoder=clip)
    assert isinstance(joint, JointEncoder)
    tokens = joint.encode_pair(picture(), SENTENCE)
    assert tokens.shape == (1 + 16 + 8, 32) and tokens.dtype == np.float32
    assert joint.width == 32
    projections = clip.read_projections()
    feature = clip.encode_pictures([picture()]) @ projections.video
    np.testing.assert_allclose(tokens[:1], feature, atol=1e-5)
    patches = clip.image_tokens([picture()])[0].numpy() @ projections.video
    np.testing.assert_allclose(tokens[1:17], patches, atol=1e-5)
    words = clip.tokens([SENTENCE])[0, :8].numpy() @ projections.text
    np.testing.assert_allclose(tokens[17:], words, atol=1e-5)
    pooled = clip.space.project_text(clip.encode_text([SENTENCE], templates=("{}",)))
    np.testing.assert_allclose(tokens[-1:], pooled, atol=1e-5)  # CLIP reads a text at its end mark


@pytest.mark.parametrize("name", CONFIGS)
def test_every_kind_of_model_gives_a_pair(folders: dict[str, Path], name: str) -> None:
    encoder = load_encoder(str(folders[name]))
    tokens = load_joint(encoder=encoder).encode_pair(picture(), SENTENCE)
    patches = {"clip": 16, "coca": 255, "siglip": 0}[name]
    assert tokens.shape == (1 + patches + 8, CONFIGS[name]["embed_dim"])
    assert np.isfinite(tokens).all()


def test_the_embedded_backbone_sees_a_picture_as_one_token() -> None:
    encoder = load_encoder("embedded")
    tokens = load_joint(encoder=encoder).encode_pair(picture(100, 80), SENTENCE)
    assert tokens.shape == (1 + 8, 384)
    np.testing.assert_allclose(np.linalg.norm(tokens, axis=1), 1, atol=1e-4)


@pytest.mark.parametrize("name", ["clip", "text", "image"])
def test_parts_alone_are_parts_of_the_pair(clip: OpenClip, name: str) -> None:
    both = load_joint(encoder=clip).encode_pair(picture(), SENTENCE)
    joint = load_joint(name, encoder=clip)
    of_image = 0 if name == "text" else 17
    of_text = 0 if name == "image" else 8
    seen = joint.encode_pair(picture(), None)
    read = joint.encode_pair(None, SENTENCE)
    assert (seen.shape, read.shape) == ((of_image, 32), (of_text, 32))
    np.testing.assert_allclose(seen, both[:of_image], atol=1e-5)
    np.testing.assert_allclose(read, both[len(both) - of_text :], atol=1e-5)
    assert joint.encode_pair(None, None).shape == (0, 32)
    together = joint.encode_pair(picture(), SENTENCE)
    np.testing.assert_allclose(together, np.concatenate([seen, read]), atol=1e-5)


@pytest.mark.parametrize("backbone", ["clip", "embedded"])
@pytest.mark.parametrize("limit", [3, 10, 30])
def test_long_sentences_are_cut(clip: OpenClip, backbone: str, limit: int) -> None:
    encoder = clip if backbone == "clip" else load_encoder("embedded")
    joint = load_joint("text", encoder=encoder, text_tokens=limit)
    assert len(joint.encode_pair(None, LONG)) == limit
    short = joint.encode_pair(None, "jump")
    np.testing.assert_array_equal(
        short, load_joint("text", encoder=encoder).encode_pair(None, "jump")
    )


def test_a_cut_sentence_is_the_shorter_sentence(clip: OpenClip) -> None:
    """Four words and two marks of the long one: what those four words alone would give."""
    cut_short = load_joint("text", encoder=clip, text_tokens=6).encode_pair(None, LONG)
    alone = load_joint("text", encoder=clip).encode_pair(None, "a person jumps over")
    np.testing.assert_allclose(cut_short, alone, atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(words=st.integers(0, 12), padding=st.integers(0, 5), limit=st.integers(3, 16))
def test_a_cut_keeps_both_marks_and_the_length(words: int, padding: int, limit: int) -> None:
    ids = torch.tensor([[98, *range(1, words + 1), 99, *[0] * padding]])
    shorter, length = cut(ids, limit, 0)
    assert shorter.shape == ids.shape
    assert length == min(words + 2, limit)
    read = shorter[0, :length].tolist()
    assert (read[0], read[-1]) == (98, 99) and read[1:-1] == list(range(1, length - 1))
    assert (shorter[0, length:] == 0).all()


def test_pairs_are_padded_to_the_longest(clip: OpenClip) -> None:
    joint = load_joint(encoder=clip)
    pairs = [
        joint.encode_pair(picture(), SENTENCE),
        joint.encode_pair(None, "x"),
        joint.encode_pair(None, None),
    ]
    tokens, valid = pad_pairs(pairs)
    assert tokens.shape == (3, 25, 32) and valid.sum(axis=1).tolist() == [25, 3, 0]
    for row, mask, pair in zip(tokens, valid, pairs, strict=True):
        np.testing.assert_array_equal(row[mask], pair)
        assert (row[~mask] == 0).all()


def test_fingerprints_tell_joint_encoders_apart(clip: OpenClip) -> None:
    joints = [load_joint(name, encoder=clip) for name in ("clip", "text", "image")]
    joints.append(load_joint(encoder=clip, text_tokens=20))
    joints.append(load_joint(encoder=load_encoder("embedded")))
    assert len({joint.fingerprint for joint in joints}) == len(joints)


def test_a_backbone_without_towers_gives_one_token_for_each() -> None:
    assert load_joint("text", encoder=FakeEncoder()).encode_pair(None, SENTENCE).shape == (1, 8)


@pytest.mark.parametrize("name", ["vilbert", "tcl", "bart"])
def test_declared_ones_say_what_is_missing(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} is not built in: it needs") as told:
        load_joint(name, encoder=FakeEncoder())
    assert "\n" not in str(told.value) and "clip, text, image" in str(told.value)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"fake sees no pictures\. Use text"):
        load_joint("image", encoder=FakeEncoder())
    synthetic: Encoder = load_encoder("synthetic")
    assert load_joint("text", encoder=synthetic).encode_pair(None, SENTENCE).shape == (8, 384)
    with pytest.raises(UnknownNameError, match="Did you mean 'clip'"):
        load_joint("clipp", encoder=synthetic)
    with pytest.raises(ConfigError, match="text_tokens: expected 3 or more"):
        load_joint("text", encoder=synthetic, text_tokens=2)
