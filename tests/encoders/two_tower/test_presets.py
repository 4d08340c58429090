"""Presets against open_clip: small models of each architecture, found in the hub's cache.

Each architecture is shrunk under its own name in open_clip's table, so that what is tested is what
a person gets: the preset's name, its weights in the cache, its pictures, tokens and numbers.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from openmoment.encoders.weights.torchvision_ops import declare_missing

declare_missing()
torch = pytest.importorskip("torch")
pytest.importorskip("open_clip")
import timm  # noqa: E402
from PIL import Image  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors  # noqa: E402

from openmoment.encoders import BEST_FIRST, ENCODERS, load_encoder  # noqa: E402
from openmoment.encoders.two_tower import open_clip_names  # noqa: E402
from openmoment.encoders.two_tower.open_clip import OpenClip  # noqa: E402
from openmoment.encoders.two_tower.open_clip_names import (  # noqa: E402
    OPENAI,
    Pixels,
    Weights,
    import_open_clip,
    pixels_of,
)
from openmoment.encoders.weights.hub import offline  # noqa: E402
from openmoment.errors import MissingExtraError, MissingWeightsError  # noqa: E402

PRESETS = [name for name in ENCODERS if issubclass(ENCODERS[name], OpenClip)]
FAMILIES = ("clip-vit-b-32-datacomp", "siglip2-b-32-256", "pe-core-s-16-384", "mobileclip2-s0")
NAMES = ("pole vault", "a man opens the fridge", "Katze, schlafend!")
MOBILE = "mobileclip2-s0"
SIDE = 64


THIN = {"embed_dim": 32, "depth": 2, "num_heads": 2, "img_size": SIDE}
THIN_TRUNKS = {
    "vit_pe_core": THIN | {"attn_pool_num_heads": 2},
    "siglip": THIN,
    "fastvit": {"layers": (1, 1, 1, 1), "embed_dims": (32, 32, 64, 64)},
}
"""Settings of timm with which the real image towers become small."""


@pytest.fixture(autouse=True)
def thin_trunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """timm makes the image towers of open_clip's names a few layers thin."""
    made = timm.create_model

    def create(name: str, **settings: object):
        thin = next(thin for part, thin in THIN_TRUNKS.items() if part in name)
        return made(name, **settings | thin)

    monkeypatch.setattr(timm, "create_model", create)


def shrunk(name: str) -> dict:
    """open_clip's own table of a preset's architecture, a few layers thin."""
    config = import_open_clip().get_model_config(ENCODERS[name].weights.architecture)
    assert config is not None
    config["embed_dim"] = 48
    config["text_cfg"] |= {"width": 32, "heads": 2, "layers": 2}
    config["vision_cfg"]["image_size"] = SIDE
    if "timm_model_name" not in config["vision_cfg"]:
        config["vision_cfg"] |= {"width": 64, "layers": 2}
    elif config["vision_cfg"]["timm_proj"] == "none":
        config["embed_dim"] = 32  # the width of the image tower itself
    return config


@pytest.fixture
def preset(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A preset's name, whose small weights are in the hub's cache."""
    name = request.param
    open_clip, weights = import_open_clip(), ENCODERS[name].weights
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, weights.architecture, shrunk(name))
    snapshot = in_hub_cache(tmp_path, weights.repo)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = open_clip.create_model(weights.architecture, load_weights=False)
        for key, value in model.state_dict().items():  # spread out, statistics of norms too
            if value.is_floating_point() and "logit" not in key:
                value.normal_(std=max(value.shape[-1:] or (1,)) ** -0.5).abs_()
                value.mul_(torch.randint(0, 2, value.shape) * 2 - 1 if value.ndim > 1 else 1)
                value.add_(0.5 if key.endswith("running_var") else 0)
    state = {key: value.contiguous() for key, value in model.state_dict().items()}
    save_file(state, snapshot / "open_clip_model.safetensors")
    told = {"model_cfg": shrunk(name)}
    (snapshot / "open_clip_config.json").write_text(json.dumps(told))
    if ENCODERS[name].has_hub_tokenizer:
        save_tokenizer(snapshot)
    return name


def in_hub_cache(root: Path, repo: str) -> Path:
    """An empty snapshot as huggingface_hub lays it out."""
    place = root / f"models--{repo.replace('/', '--')}"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text("0" * 40)
    snapshot = place / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    return snapshot


def save_tokenizer(folder: Path) -> None:
    """A tokenizer of letters, in the files that the hub has of a real one."""
    letters = "abcdefghijklmnopqrstuvwxyz "
    vocabulary = {"<pad>": 0, "<eos>": 1, "<unk>": 2} | {c: i + 3 for i, c in enumerate(letters)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A <eos>", special_tokens=[("<eos>", 1)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    told = {"tokenizer_class": "PreTrainedTokenizerFast"}
    told |= {"pad_token": "<pad>", "eos_token": "<eos>", "unk_token": "<unk>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(told))


def reference(name: str, cache: Path):
    """open_clip's own model, transform and tokenizer of the preset's architecture and tag."""
    open_clip, weights = import_open_clip(), ENCODERS[name].weights
    with offline():
        model, transform = open_clip.create_model_from_pretrained(
            weights.architecture, pretrained=weights.tag, cache_dir=str(cache)
        )
        (snapshot,) = cache.rglob("open_clip_config.json")
        tokenizer = open_clip.get_tokenizer(f"local-dir:{snapshot.parent}")
    return model.eval().requires_grad_(False), transform, tokenizer


def pictures() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 255, (60, 90, 3), dtype=np.uint8) for _ in range(3)]


@pytest.fixture
def whole(preset: str, tmp_path: Path) -> Iterator[tuple]:
    yield load_encoder(preset), *reference(preset, tmp_path)


@pytest.mark.parametrize("preset", FAMILIES, indirect=True)
def test_a_preset_is_open_clip_to_the_bit(whole: tuple) -> None:
    encoder, model, transform, tokenizer = whole
    batch = torch.stack([transform(Image.fromarray(picture)) for picture in pictures()])
    assert torch.equal(encoder.preprocess(pictures()), batch)
    (template,) = encoder.templates
    tokens = tokenizer([template.format(name) for name in NAMES])
    with torch.inference_mode():
        seen, words = model.encode_image(batch), model.encode_text(tokens)
    space = encoder.space
    features, texts = encoder.encode_pictures(pictures()), encoder.encode_text(NAMES)
    assert encoder.dim_in == features.shape[1]

    def projected(rows: np.ndarray, by: np.ndarray | None):
        return torch.from_numpy(rows) if by is None else torch.from_numpy(rows) @ torch.tensor(by)

    joint = projected(features, space.projections.video)
    if encoder.name == MOBILE:  # its branches are folded, which rounds differently
        np.testing.assert_allclose(joint, seen, atol=1e-4 * float(seen.abs().max()))
        assert any("conv_kxk" in part for part, _ in model.visual.named_parameters())
        assert not any("conv_kxk" in part for part, _ in encoder.image_tower.named_parameters())
    else:
        assert torch.equal(joint, seen)
    assert torch.equal(projected(texts, space.projections.text), words)
    assert seen.std() > 0
    assert len(torch.unique(words, dim=0)) == len(NAMES)
    with torch.inference_mode():
        image, text, *rest = model(batch, tokens)
        scale, bias = rest[0], rest[1] if len(rest) > 1 else 0.0
        expected = (scale * text @ image.T + bias).numpy()
    np.testing.assert_allclose(space.logits(features, texts), expected, atol=1e-4)


@pytest.mark.parametrize("preset", ["siglip2-b-32-256"], indirect=True)
def test_siglip_brings_its_bias_and_its_own_tokens(whole: tuple) -> None:
    encoder, model, _, _ = whole
    assert encoder.space.projections.logit_bias == float(model.logit_bias) == -10
    features, texts = encoder.encode_pictures(pictures()), encoder.encode_text(NAMES)
    cosines = (encoder.space.logits(features, texts) + 10) / encoder.space.logit_scale
    assert np.abs(cosines).max() <= 1 + 1e-5
    tokens = encoder.text_tower.tokenize(["A cat!", "a cat"])
    assert tokens.shape == (2, 64)
    assert torch.equal(tokens[0], tokens[1])  # lower case, without punctuation
    assert tokens[0, 5:7].tolist() == [1, 0]  # its end, then padding


@pytest.mark.parametrize("preset", ["siglip2-b-32-256"], indirect=True)
def test_a_tokenizer_of_the_hub_needs_its_library_and_its_files(
    preset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in tmp_path.rglob("tokenizer*.json"):
        file.unlink()
    with pytest.raises(MissingWeightsError, match="models pull siglip2-b-32-256"):
        load_encoder(preset).encode_text(["x"])

    def without(*_: object, **__: object):
        raise ImportError("No module named 'transformers'")

    monkeypatch.setattr(import_open_clip(), "get_tokenizer", without)
    monkeypatch.setattr(import_open_clip(), "get_model_config", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"openmoment\[hf\]"):
        load_encoder(preset).encode_text(["x"])
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "openmoment[clip,hf]" in (ENCODERS[preset].missing() or "")
    assert "openmoment[clip]'" in (ENCODERS["pe-core-b-16"].missing() or "")


@pytest.mark.parametrize("name", PRESETS)
def test_what_a_preset_states_is_what_open_clip_knows(name: str) -> None:
    preset, open_clip = ENCODERS[name], import_open_clip()
    architecture, tag, _, repo = preset.weights
    table = open_clip.get_pretrained_cfg(architecture, tag)
    assert repo == table["hf_hub"].rstrip("/")
    assert preset.pixels == pixels_of(Weights(architecture, tag))
    config = open_clip.get_model_config(architecture)
    assert config.get("quick_gelu", False) == table.get("quick_gelu", False)
    assert preset.has_hub_tokenizer == ("hf_tokenizer_name" in config["text_cfg"])
    assert config["text_cfg"].get("hf_tokenizer_name", repo) == repo  # pulled with the weights
    assert all("{}" in template for template in preset.templates)
    assert preset.facts.megabytes > 100
    assert preset.name == name


def test_the_best_come_first_and_apples_licence_last() -> None:
    assert {*BEST_FIRST} == {*ENCODERS} - {"synthetic"}
    assert BEST_FIRST[-1] == "embedded"
    is_free = [ENCODERS[name].facts.licence in ("MIT", "Apache-2.0") for name in BEST_FIRST[:-1]]
    assert is_free == sorted(is_free, reverse=True)


def test_auto_takes_the_best_that_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    for name in ("mobileclip2-s0", "clip-vit-b-32", "siglip2-b-32-256", "pe-core-b-16"):
        snapshot = in_hub_cache(tmp_path, ENCODERS[name].weights.repo)
        save_file({"visual.proj": torch.zeros(2, 2)}, snapshot / "open_clip_model.safetensors")
        assert load_encoder("auto").name == name


def test_openais_models_have_the_fingerprints_that_they_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Features that lie in caches stay good. The literals are those of before other presets."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    found = {}
    for name in ("clip-vit-b-16", "coca-vit-l-14", "siglip2-b-16", "mobileclip2-s0"):
        snapshot = in_hub_cache(tmp_path, ENCODERS[name].weights.repo)
        (snapshot / "open_clip_model.safetensors").write_bytes(b"weights")
        found[name] = ENCODERS[name]().fingerprint
    assert found["clip-vit-b-16"] == "61ecd3043a3f1928"
    assert found["coca-vit-l-14"] == "8d114801ec3d5706"
    one = ENCODERS["siglip2-b-16"]()
    one.pixels = OPENAI
    assert one.fingerprint != found["siglip2-b-16"]
    assert len(set(found.values())) == 4


def test_pictures_are_prepared_as_the_weights_want_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = Pixels((0.5,) * 3, (0.5,) * 3, "bilinear", "squash")
    assert pixels_of(Weights("PE-Core-B-16", "meta")) == half
    file = tmp_path / "model.safetensors"
    assert pixels_of(Weights("PE-Core-B-16", path=file)) == half
    assert pixels_of(Weights("ViT-B-32", path=file)) == OPENAI
    assert pixels_of(Weights("no-such-model", path=file)) == OPENAI
    beside = {"preprocess_cfg": {"mean": [0, 0, 0], "std": [1, 1, 1], "size": 32}}
    (tmp_path / open_clip_names.CONFIG).write_text(json.dumps(beside))
    assert pixels_of(Weights("ViT-B-32", path=file)) == Pixels((0, 0, 0), (1, 1, 1))
    (tmp_path / open_clip_names.CONFIG).write_text("no table")
    assert pixels_of(Weights("ViT-B-32", path=file)) == OPENAI
