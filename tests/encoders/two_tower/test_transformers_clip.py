"""CLIP folders of transformers: equal to its own answers."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from openmoment.encoders.weights.torchvision_ops import declare_missing

declare_missing()
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from openmoment.encoders import load_encoder  # noqa: E402
from openmoment.encoders.base import Encoder, reads_english_alone  # noqa: E402
from openmoment.errors import ConfigError, MissingWeightsError, UnknownNameError  # noqa: E402

WORDS = ("a", "video", "of", "action", "pole", "vault", "cat")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small CLIP with random weights, saved as transformers saves it."""
    folder = tmp_path_factory.mktemp("hf") / "small-clip"
    folder.mkdir()
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    shape |= {"num_attention_heads": 4}
    marks = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    config = transformers.CLIPConfig(
        text_config=shape | marks | {"vocab_size": 64, "max_position_embeddings": 40},
        vision_config=shape | {"image_size": 32, "patch_size": 8},
        projection_dim=24,
    )
    model = transformers.CLIPModel(config)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=parameter.shape[-1] ** -0.5)
    model.save_pretrained(folder)
    letters = sorted({c for word in WORDS for c in word})
    tokens = ["<|startoftext|>", "<|endoftext|>"]
    tokens += [*letters, *(f"{c}</w>" for c in letters)]
    (folder / "vocab.json").write_text(json.dumps({t: i for i, t in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 40}
    tokenizer |= {"bos_token": tokens[0], "eos_token": tokens[1], "unk_token": tokens[1]}
    tokenizer |= {"pad_token": tokens[1]}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    pictures = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    pictures |= {"image_processor_type": "CLIPImageProcessor"}
    (folder / "preprocessor_config.json").write_text(
        json.dumps(pictures | {"processor_class": "CLIPProcessor"})
    )
    return folder


def test_answers_are_those_of_transformers(folder: Path) -> None:
    encoder = load_encoder(str(folder))
    assert isinstance(encoder, Encoder)
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 255, (40, 60, 3), dtype=np.uint8) for _ in range(3)]
    names = ["pole vault", "a cat"]
    model = transformers.CLIPModel.from_pretrained(folder).eval()
    processor = transformers.CLIPProcessor.from_pretrained(folder)
    prompts = [f"a video of action {name}" for name in names]
    batch = processor(text=prompts, images=pictures, return_tensors="pt", padding=True)
    with torch.no_grad():
        expected = model(**batch).logits_per_text.numpy()
    found = encoder.space.logits(encoder.encode_pictures(pictures), encoder.encode_text(names))
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert encoder.dim_in == 32
    assert encoder.name == "small-clip"
    assert encoder.encode_text([]).shape == (0, 32)


def test_folders_that_will_not_do(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(UnknownNameError):
        load_encoder(str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "clip"}')
    with pytest.raises(MissingWeightsError, match=r"holds no model\.safetensors"):
        load_encoder(str(tmp_path))
    with pytest.raises(ConfigError, match="precision"):
        load_encoder(str(folder), precision="int4")


def test_many_tokens_are_of_many_languages(folder: Path, tmp_path: Path) -> None:
    encoder = load_encoder(str(folder))
    assert reads_english_alone(encoder)
    copy = tmp_path / "small"
    shutil.copytree(folder, copy)
    config = json.loads((copy / "config.json").read_text())
    config["text_config"]["vocab_size"] = 256_000
    (copy / "config.json").write_text(json.dumps(config))
    assert not reads_english_alone(load_encoder(str(copy)))
