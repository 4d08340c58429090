"""DenseCLIP with a detection head: each part against a literal form, each switch, and learning."""

import tomllib
from importlib import resources

import literal
import numpy as np
import pytest
import torch
from letters import LetterSpace
from literal import part
from spaces import DIM
from trained_world import WORDS, World, batch_of, overfit, score

from openmoment.config import from_table
from openmoment.errors import ConfigError
from openmoment.methods import presets
from openmoment.methods.dense_clip import DenseClip, DenseClipConfig
from openmoment.methods.trained import Widths

SMALL = {
    "length": 32,
    "temporal_net": "transformer",
    "temporal_layers": 1,
    "decoder_layers": 2,
    "decoder_width": 16,
    "min_score": 0.0,
}
OWN = {"features": "own", "clip_residual": 0.0}


def make(seed: int = 0, **settings) -> DenseClip:
    config = from_table(DenseClipConfig, SMALL | settings, where="test")
    torch.manual_seed(seed)
    return DenseClip(config, LetterSpace(), Widths(20 if config.features == "own" else DIM, DIM))


def random_input(b: int = 2, t: int = 11, k: int = 3, d: int = DIM, seed: int = 1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(b, t, d, generator=generator), torch.randn(k, DIM, generator=generator)


def outputs(method: DenseClip, features: torch.Tensor, texts: torch.Tensor):
    method.eval()
    with torch.no_grad():
        return method.predict(features, method.read_texts(WORDS[:1] * len(texts), texts))


def jolted(method: DenseClip) -> DenseClip:
    """With weights far from a fresh network's, so that every part is seen to count."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in method.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    return method


# equations -----------------------------------------------------------------------------------


def literal_decoder(text: np.ndarray, video: np.ndarray, w: literal.Weights) -> np.ndarray:
    """DenseCLIP's context decoder: pre-norm layers of 4 heads, between two linear ones."""

    def enter(rows: np.ndarray, name: str) -> np.ndarray:
        return literal.linear(literal.layer_norm(rows, part(w, f"{name}.0")), part(w, f"{name}.1"))

    x, memory = enter(text, "enter_text"), enter(video, "enter_video")
    for layer in (part(w, f"layers.layers.{i}") for i in range(2)):
        normed = literal.layer_norm(x, part(layer, "norm1"))
        x = x + literal.attention(normed, normed, part(layer, "self_attn"), 4)
        normed = literal.layer_norm(x, part(layer, "norm2"))
        x = x + literal.attention(normed, memory, part(layer, "multihead_attn"), 4)
        inner = literal.linear(literal.layer_norm(x, part(layer, "norm3")), part(layer, "linear1"))
        x = x + literal.linear(literal.gelu(inner), part(layer, "linear2"))
    return enter(x, "leave")


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_classes_are_what_the_papers_say(share: float) -> None:
    method = jolted(make(clip_residual=share))
    features, texts = random_input()
    out = outputs(method, features, texts)
    w = literal.weights_of(method)
    words = np.stack([literal.unit(row) for row in texts.double().numpy()])
    words = np.concatenate([words, w["background"]])
    for i in range(2):
        e = np.stack([literal.unit(row) for row in features[i].double().numpy()])
        found = literal.attention(e, e, part(w, "embed.0.attend.mix"), 4)
        x = literal.layer_norm(e + found, part(w, "embed.0.norm"))
        video = np.concatenate([x.mean(axis=0, keepdims=True), x])
        text = words + w["gamma"] * literal_decoder(words, video, part(w, "look"))
        for t in range(11):
            for c in range(4):
                own = literal.unit(text[c]) @ literal.unit(x[t]) / 0.07
                plain = 100 * literal.unit(words[c]) @ e[t]
                expected = (1 - share) * own + share * plain
                assert out.logits[i, c, t].item() == pytest.approx(expected, abs=1e-3)


def test_the_masks_see_how_sure_the_classes_are() -> None:
    method, (features, texts) = jolted(make()), random_input()
    out = outputs(method, features, texts)
    with torch.no_grad():
        x = method.embed(torch.nn.functional.normalize(features, dim=2))
        sure = out.probabilities[:, :-1].max(dim=1).values
        expected = method.mask(torch.cat([x, sure[..., None]], dim=2))
    torch.testing.assert_close(out.masks, expected)
    without = outputs(make(score_map=False), features, texts)
    assert without.masks.shape == (2, 11, 11)


# switches ------------------------------------------------------------------------------------

GRAPH = {
    "temporal_net": ({"temporal_net": "conformer"}, {"embed"}),
    "temporal_layers": ({"temporal_layers": 2}, {"embed"}),
    "context": ({"context_tokens": 8}, {"context"}),
    "post_model": ({"post_model": False}, {"look", "gamma"}),
    "decoder_layers": ({"decoder_layers": 3}, {"look"}),
    "decoder_width": ({"decoder_width": 32}, {"look"}),
    "score_map": ({"score_map": False}, {"mask"}),
    "own": (OWN, {"narrow"}),
}


@pytest.mark.parametrize("name", GRAPH)
def test_a_switch_changes_its_part_of_the_graph_and_nothing_else(name: str) -> None:
    settings, parts = GRAPH[name]
    usual, other = (
        {n: tuple(p.shape) for n, p in make(**s).named_parameters()} for s in ({}, settings)
    )
    changed = {n for n in usual.keys() | other.keys() if usual.get(n) != other.get(n)}
    assert changed
    assert all(any(n == p or n.startswith(f"{p}.") for p in parts) for n in changed), changed


@pytest.mark.parametrize(
    ("name", "value", "term"),
    [("class_weight", 2, "class"), ("mask_weight", 3, "mask"), ("dice_weight", 0, "dice")],
)
def test_a_loss_setting_changes_its_term_alone(name: str, value: float, term: str) -> None:
    batch = batch_of(World(num=3))
    usual, other = (make(**s).eval().loss(batch) for s in ({}, {name: value}))
    assert [n for n in usual if not torch.equal(usual[n], other[n])] == [term]


@pytest.mark.parametrize(
    "settings", [{}, {"context_tokens": 4}, {"post_model": False}, {"temporal_net": "conformer"}]
)
def test_every_parameter_gets_a_gradient(settings: dict) -> None:
    method = make(**settings)
    sum(method.loss(batch_of(World(num=4))).values()).backward()
    without = [n for n, p in method.named_parameters() if p.grad is None or not p.grad.any()]
    # a bias of keys shifts all logits of a softmax alike
    assert [n for n in without if "in_proj_bias" not in n] == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"clip_residual": 2}, "clip_residual must lie in"), ({"temperature": 0}, "temperature must"),
     ({"features": "own"}, "clip_residual must be 0"), ({"decoder_layers": 0}, "decoder_layers 1"),
     ({"decoder_width": 18}, "multiple of decoder_heads")],
)  # fmt: skip
def test_settings_that_make_no_sense(settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make(**settings)


# classes, learning ---------------------------------------------------------------------------


def test_no_parameter_knows_how_many_classes_there_are() -> None:
    method, (features, _) = make(), random_input()
    for k in (1, 2, 200):
        assert outputs(method, features, torch.randn(k, DIM)).probabilities.shape == (2, k + 1, 11)


def test_the_order_of_classes_is_the_order_of_the_answers() -> None:
    method, (features, texts) = jolted(make()), random_input(k=5)
    order = torch.tensor([3, 0, 4, 2, 1])
    a, b = outputs(method, features, texts), outputs(method, features, texts[order])
    torch.testing.assert_close(
        a.probabilities[:, order], b.probabilities[:, :-1], atol=1e-4, rtol=0
    )
    torch.testing.assert_close(a.masks, b.masks, atol=1e-5, rtol=0)


@pytest.mark.parametrize("t", [1, 7])
def test_short_pieces(t: int) -> None:
    out = outputs(make(), *random_input(t=t))
    assert out.masks.shape == (2, t, t)
    assert all(torch.isfinite(part).all() for part in out)


def test_a_piece_without_any_instance_can_be_learned_from() -> None:
    method = make()
    sum(method.loss(batch_of(World(num=2, empty=True))).values()).backward()
    assert all(torch.isfinite(p.grad).all() for p in method.parameters() if p.grad is not None)


@pytest.mark.parametrize("settings", [{}, OWN])
def test_a_batch_can_be_learned_by_heart_and_words_matter(settings: dict) -> None:
    world = World(num=6, width=20 if settings else DIM)
    method = overfit(make(**settings), world, steps=120)
    assert score(method, world) > 0.95
    assert score(method, world, words=(*WORDS[1:], WORDS[0])) < 0.1


# presets -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", presets("dense_clip"))
def test_every_preset_makes_a_method(name: str) -> None:
    text = (resources.files("openmoment") / "presets" / "dense_clip" / f"{name}.toml").read_text()
    assert text.startswith("# openmoment train dense_clip")
    table = tomllib.loads(text)
    assert {"lr", "epochs", "batch_size"} <= table.pop("training").keys()
    config, usual = from_table(DenseClipConfig, table, where=name), DenseClipConfig()
    DenseClip(config, LetterSpace(), Widths(DIM, DIM))
    assert [n for n in table if getattr(usual, n) == getattr(config, n)] == []
    assert (config.features == "own") == name.endswith("-i3d")  # B-III
