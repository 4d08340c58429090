"""Learned contexts through both kinds of text tower, against embeddings put together by hand."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from openmoment.encoders.weights.torchvision_ops import declare_missing

declare_missing()
torch = pytest.importorskip("torch")
pytest.importorskip("open_clip")
from small_models import CLIP, COCA, SIGLIP, TEXT, save_model  # noqa: E402
from spaces import CosineSpace  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn.functional import normalize  # noqa: E402

from openmoment.blocks.context import LearnedContext, read_marks  # noqa: E402
from openmoment.encoders import load_encoder  # noqa: E402
from openmoment.encoders.base import HasTextTower  # noqa: E402
from openmoment.encoders.towers.text_tower import OpenClipTower  # noqa: E402
from openmoment.encoders.two_tower.open_clip_names import import_open_clip  # noqa: E402
from openmoment.errors import ConfigError  # noqa: E402
from openmoment.methods import load_method  # noqa: E402
from openmoment.types import Queries, Recipe, SnippetGrid, Snippets  # noqa: E402

CONFIGS = {"clip": CLIP, "coca": COCA, "siglip": SIGLIP}
BACKBONES = ("embedded", *CONFIGS)
NAMES = ("pole vault", "a man opens the fridge, then pours milk", "x")
LEARNING = {"num_tokens": 6, "finetune": True}


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory, embedded) -> dict[str, Any]:
    root = tmp_path_factory.mktemp("models")
    small = {name: load_encoder(str(save_model(root / name, c))) for name, c in CONFIGS.items()}
    return small | {"embedded": embedded}


def in_joint_space(encoder, names: Sequence[str]) -> np.ndarray:
    return encoder.space.project_text(encoder.encode_text(names, templates=("{}",)))


# towers ------------------------------------------------------------------------------------------


def test_the_torch_sentence_encoder_gives_the_numbers_of_the_other(embedded) -> None:
    tower = embedded.space.text_tower()
    texts = ["pole vault", "", "Über-long " * 200]
    tokens = tower.tokenize(texts)
    assert tokens.shape == (3, tower.context_length)
    embeddings = tower.embed(tokens).requires_grad_()
    pooled, every = tower.encode(embeddings, tokens)
    expected = embedded._text_net.encode(texts)
    np.testing.assert_allclose(normalize(pooled).detach().numpy(), expected, atol=1e-5)
    assert every.shape == embeddings.shape
    pooled.square().sum().backward()
    is_read = embeddings.grad.abs().sum(dim=-1) > 0
    assert torch.equal(is_read, tokens != 0)  # padding tells nothing
    assert not any(p.requires_grad for p in tower.parameters())


@pytest.mark.parametrize(
    "layout",
    [
        {"no_causal_mask": True, "use_pad_mask": True, "pool_type": "eos", "eos_id": 49407},
        {"no_causal_mask": True, "pool_type": "last"},
        {"pool_type": "eos", "eos_id": 49407},
        {"embed_cls": True},
        {"embed_cls": True, "correct_cls_mask": True},
    ],
    ids=str,
)
def test_masks_and_pooling_are_those_of_open_clip(layout: dict) -> None:
    """Layouts that no preset has, also where texts end before the context does."""
    torch.manual_seed(0)
    options = {"width": 48, "heads": 4, "layers": 2, "output_dim": None} | layout
    text = import_open_clip().transformer.TextTransformer(**options).eval()
    for parameter in text.parameters():
        nn.init.normal_(parameter, std=0.2)
    model = nn.Module()
    model.text = text
    tower = OpenClipTower(model, import_open_clip().tokenize)
    tokens = tower.tokenize(NAMES)
    expected = text(tokens)
    pooled, _ = tower.encode(tower.embed(tokens), tokens)
    torch.testing.assert_close(pooled, expected, atol=1e-5, rtol=1e-5)
    short = tokens[:, :20]
    pooled, _ = tower.encode(tower.embed(short), short)
    assert torch.allclose(pooled, expected, atol=1e-4) != tower.needs_padding


@pytest.mark.parametrize("name", BACKBONES)
def test_a_prompt_is_what_the_encoder_makes_of_the_name(encoders: dict, name: str) -> None:
    encoder = encoders[name]
    assert isinstance(encoder.space, HasTextTower)
    prompt = copy.deepcopy(encoder.space.prompt("pole vault"))
    np.testing.assert_allclose(
        prompt().detach().numpy(), encoder.encode_text(["pole vault"])[0], atol=1e-5
    )


def test_a_tower_holds_the_text_side_alone(encoders: dict) -> None:
    model, tower = encoders["clip"].model, encoders["clip"].text_tower
    shared = {id(p) for p in model.parameters()} & {id(p) for p in tower.parameters()}
    assert len(shared) == len(list(tower.parameters()))
    assert not {id(p) for p in model.visual.parameters()} & shared
    with pytest.raises(ConfigError, match="not open_clip's own"):
        OpenClipTower(nn.Linear(2, 2), lambda texts: torch.zeros(len(texts), 4))
    tokens_only = import_open_clip().CLIP(32, CLIP["vision_cfg"], TEXT | {"pool_type": "none"})
    with pytest.raises(ConfigError, match="tokens alone"):
        OpenClipTower(tokens_only, lambda texts: torch.zeros(len(texts), 4))


def test_t3al_may_adapt_the_sentence_encoder(embedded) -> None:
    """From the same text as without, and the tower of everyone else stays as it is."""
    texts = embedded.encode_text(NAMES)
    queries = Queries(NAMES, texts, np.zeros((0, 384), np.float32))
    features = np.random.default_rng(0).dirichlet(np.full(1000, 0.05), size=60)
    grid = SnippetGrid.uniform(60, end_s=60.0)
    snippets = Snippets(features.astype(np.float32), grid, Recipe("embedded", "0", 1.0, ""), 60.0)
    tower = embedded.space.text_tower()
    before = copy.deepcopy(tower.state_dict())
    losses = {}
    for adapts in (False, True):
        settings = {"labels": "single", "steps": 2, "lr": 1e-4, "adapt_text_encoder": adapts}
        method = load_method("t3al", embedded.space, settings)
        losses[adapts] = method.explain(snippets, queries).adaptations[0].losses
    assert losses[True][0] == pytest.approx(losses[False][0], abs=1e-5)
    assert losses[True][1] != pytest.approx(losses[False][1], abs=1e-7)
    assert all(torch.equal(value, before[key]) for key, value in tower.state_dict().items())


# contexts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BACKBONES)
def test_without_learned_tokens_names_are_plain_texts(encoders: dict, name: str) -> None:
    context = LearnedContext(encoders[name].space, num_tokens=0)
    points = context(NAMES).detach().numpy()
    np.testing.assert_allclose(points, in_joint_space(encoders[name], NAMES), atol=1e-5)


def by_hand(encoder, context: LearnedContext, name: str, position: str) -> torch.Tensor:
    """One name at the tower's full length: every embedding looked up and put in its place."""
    tower = encoder.space.text_tower()
    if encoder.name == "embedded":
        ids = encoder._text_net._tokenizer.encode(name, add_special_tokens=False).ids
        start, end, padding, length = 101, 102, 0, len(ids) + 2 + len(context.context)
    else:
        tokenizer = encoder._tokenizer
        ids = tokenizer.encode(name)
        start, end, padding = tokenizer.sot_token_id, tokenizer.eot_token_id, 0
        length = tower.context_length

    def looked_up(tokens: list[int]) -> torch.Tensor:
        return tower.embed(torch.tensor([tokens], dtype=torch.int64))[0]

    learned = context.context.detach()
    num_before = len(learned) if position == "end" else len(learned) // 2
    num_padding = length - 2 - len(ids) - len(learned)
    parts = [
        looked_up([start]),
        learned[:num_before],
        looked_up(ids),
        learned[num_before:],
        looked_up([end]),
        looked_up([padding] * num_padding),
    ]
    tokens = [start] + [320] * num_before + ids + [320] * (len(learned) - num_before) + [end]
    tokens = torch.tensor([tokens + [padding] * num_padding])
    with torch.no_grad():
        pooled, _ = tower.encode(torch.cat(parts)[None], tokens)
        return encoder.space.tower_to_joint(pooled)[0]


@pytest.mark.parametrize("position", ["middle", "end"])
@pytest.mark.parametrize("name", BACKBONES)
def test_a_context_stands_where_it_is_said_to(encoders: dict, name: str, position: str) -> None:
    encoder = encoders[name]
    context = LearnedContext(encoder.space, num_tokens=10, class_position=position)
    nn.init.normal_(context.context)  # loud, so that an exchange of places would be heard
    points = context(NAMES)
    for i, words in enumerate(NAMES):
        torch.testing.assert_close(
            points[i].detach(), by_hand(encoder, context, words, position), atol=1e-4, rtol=1e-4
        )


def learning_places(context: LearnedContext, name: str) -> list[int]:
    context.context.grad = None
    context([name]).square().sum().backward()
    return context.context.grad.abs().sum(dim=-1).nonzero()[:, 0].tolist()


def test_long_names_take_places_of_the_context(encoders: dict) -> None:
    encoder = encoders["clip"]  # 77 tokens, 75 between its marks
    context = LearnedContext(encoder.space, num_tokens=70)
    assert learning_places(context, "run " * 5) == list(range(70))
    assert learning_places(context, "run " * 20) == list(range(8, 63))
    assert learning_places(context, "run " * 75) == learning_places(context, "run " * 99) == []
    np.testing.assert_allclose(
        context(["run " * 99]).detach(), in_joint_space(encoder, ["run " * 99]), atol=1e-5
    )
    at_end = LearnedContext(encoder.space, num_tokens=70, class_position="end")
    assert learning_places(at_end, "run " * 20) == list(range(15, 70))
    sentences = LearnedContext(encoders["embedded"].space, num_tokens=50)
    assert learning_places(sentences, "run " * 244) == list(range(20, 30))


@pytest.mark.parametrize("name", BACKBONES)
def test_any_number_of_names_in_any_order(encoders: dict, name: str) -> None:
    context = LearnedContext(encoders[name].space, num_tokens=6)
    points = context(NAMES)
    torch.testing.assert_close(context(NAMES[::-1]), points.flip(0), atol=1e-5, rtol=1e-5)
    for i, words in enumerate(NAMES):
        torch.testing.assert_close(context([words])[0], points[i], atol=1e-5, rtol=1e-5)
    assert context(NAMES * 7).shape == (21, points.shape[1])


# what learns and what is kept --------------------------------------------------------------------


@pytest.mark.parametrize("name", ["embedded", "clip", "siglip"])
def test_a_copy_of_the_tower_learns_and_the_encoders_own_does_not(
    encoders: dict, name: str
) -> None:
    own = encoders[name].space.text_tower()
    before = copy.deepcopy(own.state_dict())
    context = LearnedContext(encoders[name].space, **LEARNING)
    optimiser = torch.optim.Adam(context.parameters(), lr=1e-2)
    first = context(NAMES)
    first.square().mean().backward()
    assert all(p.grad is not None for p in context.parameters())
    optimiser.step()
    assert not torch.allclose(context(NAMES), first, atol=1e-4)
    assert context.tower is not None
    assert not torch.equal(context.tower.token_embedding.weight, own.token_embedding.weight)
    assert all(p.grad is None and not p.requires_grad for p in own.parameters())
    assert all(torch.equal(value, before[key]) for key, value in own.state_dict().items())


@pytest.mark.parametrize("name", ["embedded", "coca"])
def test_a_frozen_tower_is_not_kept(encoders: dict, name: str) -> None:
    context = LearnedContext(encoders[name].space, num_tokens=6)
    assert list(context.state_dict()) == ["context"]
    assert [p.shape for p in context.parameters()] == [(6, context.context.shape[1])]
    assert context.tower is None
    copied = copy.deepcopy(context)
    assert copied._reader() is context._reader() is encoders[name].space.text_tower()
    nn.init.zeros_(copied.context)
    assert context.context.abs().sum() > 0


@pytest.mark.parametrize("finetune", [False, True])
def test_a_saved_state_gives_the_same_points(encoders: dict, finetune: bool) -> None:
    space = encoders["clip"].space
    first, second = (LearnedContext(space, num_tokens=6, finetune=finetune) for _ in range(2))
    with torch.no_grad():
        for parameter in first.parameters():
            parameter += 0.1
    assert not torch.allclose(first(NAMES), second(NAMES), atol=1e-3)
    second.load_state_dict(first.state_dict())
    for mode in (True, False):
        assert torch.equal(first.train(mode)(NAMES), second.eval()(NAMES))
    prefixes = {key.split(".")[0] for key in first.state_dict()}
    assert prefixes == ({"context", "tower"} if finetune else {"context"})
    assert not any("visual" in key for key in first.state_dict())


def test_asking_first_does_not_keep_it_from_learning(encoders: dict) -> None:
    for name in ("embedded", "clip"):
        context = LearnedContext(encoders[name].space, **LEARNING)
        with torch.inference_mode():
            context(NAMES)
        context(NAMES).sum().backward()
        assert context.context.grad is not None


def test_the_seed_alone_decides_the_first_context(tmp_path: Path) -> None:
    """Whether or not the tower had to be loaded for it."""
    folder = save_model(tmp_path / "clip", CLIP)
    encoder = load_encoder(str(folder))
    contexts = []
    for _ in range(2):
        torch.manual_seed(3)
        contexts.append(LearnedContext(encoder.space, num_tokens=500).context)
    assert torch.equal(*contexts)
    assert float(contexts[0].detach().std()) == pytest.approx(0.02, rel=0.05)


def test_half_precision_is_for_reading_alone(tmp_path: Path) -> None:
    encoder = load_encoder(str(save_model(tmp_path / "clip", CLIP)), precision="bf16")
    context = LearnedContext(encoder.space, num_tokens=6)
    points = context(NAMES)
    assert points.dtype == context.context.dtype == torch.float32
    points.sum().backward()
    learning = LearnedContext(encoder.space, **LEARNING)
    assert {p.dtype for p in learning.parameters()} == {torch.float32}
    assert encoder.text_tower.token_embedding.weight.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("blank", "letter", "start", "end"),
    [
        ([1, 1, 1, 1], [40, 1, 1, 1], (), ()),  # SigLIP: the end mark is the padding
        ([1, 0, 0, 0], [40, 1, 0, 0], (), (1,)),  # SigLIP 2
        ([101, 0, 0, 0], [101, 40, 0, 0], (101,), ()),  # CLIPA takes the end mark away
        ([101, 102, 0], [101, 40, 102], (101,), (102,)),  # BERT, padded to the longest
    ],
)
def test_marks_of_other_tokenizers(
    encoders: dict, monkeypatch: pytest.MonkeyPatch, blank, letter, start, end
) -> None:
    tower = encoders["clip"].text_tower
    monkeypatch.setattr(tower, "tokenize", lambda texts: torch.tensor([blank, letter]))
    assert read_marks(tower) == (start, end, 40, blank[-1])


# refusals ----------------------------------------------------------------------------------------


def test_what_takes_no_context_says_so(encoders: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="needs a backbone with a text tower"):
        LearnedContext(CosineSpace())
    with pytest.raises(ConfigError, match="expected 0 or more, got -1"):
        LearnedContext(encoders["clip"].space, num_tokens=-1)
    tower = encoders["clip"].text_tower
    plain = tower.tokenize
    assert read_marks(tower) == ((49406,), (49407,), 320, 0)

    def with_last_mark(texts: Sequence[str]) -> torch.Tensor:
        return torch.cat([plain(texts)[:, :-1], torch.full((len(texts), 1), 7)], dim=1)

    monkeypatch.setattr(tower, "tokenize", with_last_mark)
    with pytest.raises(ConfigError, match="marks behind the padding"):
        LearnedContext(encoders["clip"].space)
