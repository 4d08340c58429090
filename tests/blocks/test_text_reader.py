"""Texts as tokens: what towers say of them, what is remembered, and what learns."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from openmoment.encoders.weights.torchvision_ops import declare_missing

declare_missing()
torch = pytest.importorskip("torch")
pytest.importorskip("open_clip")
transformers = pytest.importorskip("transformers")
from small_models import CLIP, COCA, SIGLIP, save_model  # noqa: E402
from spaces import DIM, CosineSpace  # noqa: E402
from tokenizers import Tokenizer, models, pre_tokenizers, processors  # noqa: E402
from trained_world import SETTINGS, World, batch_of  # noqa: E402

from openmoment.blocks import text_reader  # noqa: E402
from openmoment.blocks.text_reader import TextReader  # noqa: E402
from openmoment.config import from_table  # noqa: E402
from openmoment.encoders import load_encoder  # noqa: E402
from openmoment.encoders.towers.t5 import REPOS, find_t5, load_t5  # noqa: E402
from openmoment.errors import ConfigError, MissingWeightsError  # noqa: E402
from openmoment.methods.trained import Widths  # noqa: E402
from openmoment.methods.unloc import UnLoc, UnLocConfig  # noqa: E402

CONFIGS = {"clip": CLIP, "coca": COCA, "siglip": SIGLIP}
BACKBONES = ("embedded", *CONFIGS)
LONG = "a man walks to the fridge and opens it " * 4
TEXTS = ("pole vault", LONG, "x", "pole vault")
DONE = ("opens the fridge", "pours milk")
LETTERS = "abcdefghijklmnopqrstuvwxyz"


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory, embedded) -> dict[str, Any]:
    root = tmp_path_factory.mktemp("models")
    small = {name: load_encoder(str(save_model(root / name, c))) for name, c in CONFIGS.items()}
    return small | {"embedded": embedded}


@pytest.fixture(scope="module")
def t5_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small T5 with random weights, as the hub has them: encoder, decoder and tokenizer."""
    folder = tmp_path_factory.mktemp("hf") / "small-t5"
    torch.manual_seed(0)
    shape = {"d_model": 24, "d_kv": 6, "d_ff": 32, "num_layers": 2, "num_heads": 4}
    config = transformers.T5Config(vocab_size=40, decoder_start_token_id=0, **shape)
    transformers.T5ForConditionalGeneration(config).save_pretrained(folder)
    vocabulary = {"<pad>": 0, "</s>": 1, "<unk>": 2} | {c: i + 3 for i, c in enumerate(LETTERS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.Split("", "isolated")]
    )
    tokenizer.post_processor = processors.TemplateProcessing("$A </s>", None, [("</s>", 1)])
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def all_tokens(tower, text: str) -> np.ndarray:
    """Those of one text alone, as the tower gives them, without padding."""
    ids = tower.tokenize([text])
    length = max(1, int((ids[0] != tower.tokenize(["", "a"])[0, -1]).nonzero().max()) + 1)
    with torch.no_grad():
        return tower.encode(tower.embed(ids), ids)[1][0, :length].numpy()


# what is read --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BACKBONES)
def test_one_token_is_the_text_in_the_joint_space(encoders: dict, name: str) -> None:
    encoder = encoders[name]
    reader = TextReader(encoder.space)
    tokens, mask = reader(TEXTS)
    expected = encoder.space.project_text(encoder.encode_text(TEXTS, templates=("{}",)))
    np.testing.assert_allclose(tokens[:, 0].numpy(), expected, atol=1e-5)
    assert tokens.shape == (len(TEXTS), 1, reader.width)
    assert mask.all()


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("max_tokens", [1, 16, 500])
def test_all_tokens_are_the_towers_and_the_last_stays(
    encoders: dict, name: str, max_tokens: int
) -> None:
    tower = encoders[name].space.text_tower()
    reader = TextReader(encoders[name].space, tokens="all", max_tokens=max_tokens)
    tokens, mask = reader(TEXTS)
    assert tokens.shape[2] == reader.width == tower.width
    for text, row, is_text in zip(TEXTS, tokens, mask, strict=True):
        expected = all_tokens(tower, text)
        if len(expected) > max_tokens:
            expected = np.concatenate([expected[: max_tokens - 1], expected[-1:]])
        assert is_text.tolist() == [i < len(expected) for i in range(len(is_text))]
        np.testing.assert_allclose(row[is_text].numpy(), expected, atol=2e-5)
        assert not row[~is_text].any()


@pytest.mark.parametrize("name", BACKBONES)
def test_a_turn_is_what_later_words_say_less_what_earlier_ones_do(
    encoders: dict, name: str
) -> None:
    space = encoders[name].space
    reader = TextReader(space, tokens="all")
    tokens, mask = reader(TEXTS)
    for row, is_text, turn in zip(tokens, mask, reader.turns(tokens, mask), strict=True):
        points = space.tower_to_joint(row[is_text])
        expected = sum((2 * i / (len(points) - 1) - 1) * point for i, point in enumerate(points))
        torch.testing.assert_close(turn, expected / expected.norm(), atol=1e-5, rtol=1e-4)


def test_a_turn_leads_from_what_is_said_first_to_what_is_said_last(embedded) -> None:
    reader = TextReader(embedded.space, tokens="all", max_tokens=32)
    turns = reader.turns(*reader([f"a person {DONE[i]}, then {DONE[1 - i]}" for i in (0, 1)]))
    points = embedded.space.project_text(embedded.encode_text(DONE, templates=("{}",)))
    assert np.sign(turns.numpy() @ points.T).tolist() == [[-1, 1], [1, -1]]


@pytest.mark.parametrize("tokens", ["one", "all"])
def test_t5_reads_as_transformers_does(encoders: dict, t5_folder: Path, tokens: str) -> None:
    reader = TextReader(encoders["clip"].space, tokens=tokens, tower=str(t5_folder))
    model = transformers.T5EncoderModel.from_pretrained(t5_folder).eval()
    texts = ("pole vault", "x")
    found, mask = reader(texts)
    assert reader.width == 24
    for text, row, is_text in zip(texts, found, mask, strict=True):
        letters = [3 + LETTERS.index(c) for c in text.replace(" ", "")]
        with torch.no_grad():
            expected = model(torch.tensor([[*letters, 1]])).last_hidden_state[0]
        if tokens == "one":
            expected = expected.mean(dim=0, keepdim=True)
        torch.testing.assert_close(row[is_text], expected, atol=1e-5, rtol=1e-5)


def test_t5_is_found_in_the_hub_cache_or_asked_for(
    t5_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(MissingWeightsError, match=f"hf download {REPOS['t5-small']}"):
        find_t5("t5-small")
    repo = tmp_path / "models--google-t5--t5-small"
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text("abc")
    (repo / "snapshots").mkdir()
    (repo / "snapshots" / "abc").symlink_to(t5_folder)
    assert load_t5(find_t5("t5-small")).width == 24
    with pytest.raises(MissingWeightsError, match="no model.safetensors"):
        load_t5(tmp_path)
    broken = tmp_path / "broken"
    broken.mkdir()
    for name in ("model.safetensors", "tokenizer.json"):
        (broken / name).write_text("{}")
    with pytest.raises(MissingWeightsError, match="cannot be loaded as a T5"):
        load_t5(broken)


def test_unloc_reads_the_prompts_that_it_is_asked_with(
    t5_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openmoment.encoders.towers.t5.find_t5", lambda name: t5_folder)
    settings = {"text_tower": "t5-small", "text_tokens": "all", "tied_entry": False}
    settings |= {"length": 32, "prompts": "first", "tune_text": True} | SETTINGS["unloc"]
    method = UnLoc(from_table(UnLocConfig, settings, where="test"), CosineSpace(), Widths(DIM, DIM))
    batch = batch_of(World(4))
    texts = batch.texts[:, None].expand(-1, len(method.templates), -1)
    sum(method.loss(replace(batch, texts=texts)).values()).backward()
    assert method.reader.tower.stack.embed_tokens.weight.grad.abs().sum() > 0
    assert [group.lr_scale for group in method.parameter_groups()] == [1.0, 0.1]
    with torch.no_grad():
        first = method.eval().read_texts(batch.names, texts)
        every = method.told({"prompts": "ensemble"}).eval().read_texts(batch.names, texts)
    assert first.tokens.shape[1] == 1 and every.tokens.shape[1] == 28
    m = first.tokens.shape[2]
    torch.testing.assert_close(every.tokens[:, :1, :m], first.tokens)
    assert torch.equal(every.masks[:, :1, :m], first.masks)
    assert not every.masks[:, :1, m:].any()


def test_what_cannot_be_read_is_refused(encoders: dict) -> None:
    with pytest.raises(ConfigError, match="embedded or one of open_clip"):
        TextReader(CosineSpace())
    with pytest.raises(ConfigError, match="max_tokens"):
        TextReader(encoders["clip"].space, tokens="all", max_tokens=0)


# what learns, and what is remembered ---------------------------------------------------------


class Counted(TextReader):
    """Which texts a tower was made to read."""

    def _read(self, texts):
        self.seen = [*getattr(self, "seen", []), *texts]
        return super()._read(texts)


@pytest.mark.parametrize("tokens", ["one", "all"])
def test_a_frozen_tower_reads_each_text_once(encoders: dict, tokens: str) -> None:
    reader = Counted(encoders["clip"].space, tokens=tokens)
    assert not list(reader.parameters()) and not reader.state_dict()
    with torch.inference_mode():
        first, _ = reader(TEXTS)
    again, _ = reader(TEXTS)
    weight = torch.ones(first.shape[2], requires_grad=True)
    (again * weight).sum().backward()  # remembered in inference mode, and yet of use
    assert torch.equal(first, again) and not again.requires_grad
    assert sorted(reader.seen) == sorted(set(TEXTS))
    apart = copy.deepcopy(reader)
    apart.seen = []
    torch.testing.assert_close(apart(TEXTS)[0], first)
    assert apart.tower is None and len(apart.seen) == 3


def test_only_so_many_texts_are_remembered(encoders: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    space = encoders["clip"].space
    monkeypatch.setattr(text_reader, "MEMORY_BYTES", 2 * 4 * 16 * space.text_tower().width)
    reader = Counted(space, tokens="all")
    words = [f"word {letter}" for letter in LETTERS]
    assert len(reader(words)[0]) == len(words)
    reader(words[-2:])
    assert len(reader.seen) == len(words)
    reader(words[:1])
    assert len(reader.seen) == len(words) + 1


@pytest.mark.parametrize("tower", ["clip", "t5"])
@pytest.mark.parametrize("tokens", ["one", "all"])
def test_a_copy_learns_and_is_read_anew(
    encoders: dict, t5_folder: Path, tower: str, tokens: str
) -> None:
    space = encoders["clip"].space
    which = "clip" if tower == "clip" else str(t5_folder)
    own = space.text_tower() if tower == "clip" else load_t5(t5_folder)
    before = copy.deepcopy(own.state_dict())
    torch.manual_seed(0)
    reader = Counted(space, tokens=tokens, finetune=True, tower=which).eval()
    optimiser = torch.optim.SGD(reader.tower.parameters(), lr=0.1)
    with torch.no_grad():
        first, mask = reader(TEXTS)
        reader(TEXTS)
    assert len(reader.seen) == 3  # while it does not learn
    reader(TEXTS)[0][mask].square().sum().backward()
    assert any(p.grad.any() for p in reader.tower.parameters() if p.grad is not None)
    optimiser.step()
    with torch.no_grad():
        assert not torch.allclose(reader(TEXTS)[0], first, atol=1e-4)
    assert all(torch.equal(value, before[key]) for key, value in own.state_dict().items())
    assert not any(p.requires_grad for p in own.parameters())
    second = TextReader(space, tokens=tokens, finetune=True, tower=which).eval()
    second.load_state_dict(reader.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(second(TEXTS)[0], reader(TEXTS)[0])
    assert {key.split(".")[0] for key in reader.state_dict()} == {"tower"}
