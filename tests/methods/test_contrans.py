"""ConTrans: each equation against a literal form, each switch, and whether it learns."""

import math

import literal
import numpy as np
import pytest
import torch
from literal import part
from spaces import CosineSpace
from trained_world import DIM, WORDS, World, batch_of, overfit, score

from openmoment.blocks.batch import Batch
from openmoment.config import from_table
from openmoment.errors import ConfigError, FeatureError
from openmoment.methods.contrans import ConTrans, ConTransConfig
from openmoment.methods.trained import Widths

SMALL = {"length": 32, "heads": 4, "num_layers": 3, "min_score": 0.0}


def make(seed: int = 0, **settings) -> ConTrans:
    torch.manual_seed(seed)
    config = from_table(ConTransConfig, SMALL | settings, where="test")
    widths = Widths(20 if settings.get("features") == "own" else DIM, DIM)
    return ConTrans(config, CosineSpace(), widths)


def outputs(method: ConTrans, features: torch.Tensor, texts: torch.Tensor):
    method.eval()
    with torch.no_grad():
        return method.predict(features, method.read_texts(("x",) * len(texts), texts))


def random_input(b: int = 2, t: int = 11, k: int = 3, d: int = DIM, seed: int = 1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(b, t, d, generator=generator), torch.randn(k, DIM, generator=generator)


# equations -----------------------------------------------------------------------------------


def literal_output(method: ConTrans, features: np.ndarray, texts: np.ndarray):
    """Section 2.2 of the method, one piece, one head, one snippet at a time."""
    w, c = literal.weights_of(method), method.config

    def refine(x, name):
        found = literal.attention(x, x, part(w, f"{name}.attend.mix"), c.heads)
        return literal.layer_norm(x + found, part(w, f"{name}.norm"))

    def feed(x, name):
        return literal.linear(
            literal.gelu(literal.linear(x, part(w, f"{name}.0"))), part(w, f"{name}.3")
        )

    f = np.stack([literal.unit(row) for row in features])
    plain = np.concatenate([[literal.unit(row) for row in texts], w["background"]])
    x, text = refine(f, "refine_video"), refine(plain, "refine_text")
    levels = []
    for e in range(c.num_layers):
        if e:
            x = literal.conv(levels[-1], part(w, f"halve.{e - 1}"), stride=2, groups=DIM)
        p = f"layers.{e}"
        memory = literal.layer_norm(x, part(w, f"{p}.norm_video"))
        asking = literal.layer_norm(text, part(w, f"{p}.norm_text"))
        together = text + literal.attention(asking, memory, part(w, f"{p}.attend.mix"), c.heads)
        found = literal.layer_norm(
            together + feed(together, f"{p}.feed"), part(w, f"{p}.norm_found")
        )
        query = literal.layer_norm(x, part(w, f"{p}.norm_query"))
        x = x + literal.attention(query, found, part(w, f"{p}.project.mix"), c.heads)
        inner = literal.conv(x, part(w, f"{p}.convolve.widen"))
        inner = inner[:, :DIM] * literal.sigmoid(inner[:, DIM:])
        inner = literal.conv(inner, part(w, f"{p}.convolve.depthwise"), groups=DIM)
        n = part(w, f"{p}.convolve.norm")
        inner = (inner - n["running_mean"]) / np.sqrt(n["running_var"] + 1e-5) * n["weight"] + n[
            "bias"
        ]
        inner = inner * literal.sigmoid(inner)
        x = x + literal.conv(inner, part(w, f"{p}.convolve.mix"))
        levels.append(literal.layer_norm(x, part(w, f"{p}.norm")))
    side_by_side = np.concatenate([literal.stretch(level, len(f)) for level in levels], axis=1)
    fused = literal.layer_norm(literal.linear(side_by_side, part(w, "fuse")), part(w, "norm"))
    scale, share = min(math.exp(w["log_scale"]), 100), c.clip_residual
    probabilities = np.zeros((len(text), len(f)))
    for t in range(len(f)):
        learned = [scale * literal.unit(row) @ literal.unit(fused[t]) for row in text]
        own = [100 * literal.unit(row) @ f[t] for row in plain]
        probabilities[:, t] = literal.softmax(
            (1 - share) * np.array(learned) + share * np.array(own)
        )

    def head(name):
        x = np.maximum(literal.conv(fused, part(w, f"{name}.0")), 0)
        x = np.maximum(literal.conv(x, part(w, f"{name}.2")), 0)
        return literal.conv(x, part(w, f"{name}.4"))[:, 0]

    return probabilities, literal.sigmoid(head("mask")), np.maximum(head("confide"), 0)


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_the_network_is_what_the_equations_say(share: float) -> None:
    method = make(clip_residual=share)
    for layer in method.layers:  # statistics that are not those of a fresh norm
        layer.convolve.norm.running_mean.uniform_(-1, 1)
        layer.convolve.norm.running_var.uniform_(0.5, 2)
    features, texts = random_input()
    out = outputs(method, features, texts)
    for i in range(len(features)):
        found = literal_output(method, features[i].double().numpy(), texts.double().numpy())
        np.testing.assert_allclose(out.probabilities[i], found[0], atol=2e-5)
        np.testing.assert_allclose(out.masks[i, 0], found[1], atol=1e-5)
        np.testing.assert_allclose(out.confidence[i], found[2], atol=1e-5)


def test_the_losses_are_what_the_equations_say() -> None:
    method, batch = make(dice_weight=0.7, conf_weight=3.0).eval(), batch_of(World(num=3))
    terms = {name: value.item() for name, value in method.loss(batch).items()}
    out = outputs(method, batch.features, batch.texts)
    expected = dict.fromkeys(terms, 0.0)
    for b, (masks, labels, _) in enumerate(batch.instances):
        t = masks.shape[1]
        p = out.logits[b].double().softmax(dim=0).numpy()
        a, conf = (x[b].double().numpy() for x in (out.masks, out.confidence))
        a = a[0]
        g = masks.any(dim=0).numpy().astype(float)
        for i in range(t):
            true = sorted({int(labels[n]) for n in range(len(masks)) if masks[n, i]}) or [-1]
            expected["class"] -= sum(math.log(p[k, i]) for k in true) / len(true) / t
        on, off = [i for i in range(t) if g[i]], [i for i in range(t) if not g[i]]
        expected["mask"] -= sum(math.log(a[i]) for i in on) / max(len(on), 1)
        expected["mask"] -= sum(math.log(1 - a[i]) for i in off) / max(len(off), 1)
        expected["dice"] += 0.7 * (1 - (2 * (a * g).sum() + 1) / ((a * a).sum() + g.sum() + 1))
        expected["confidence"] += 3.0 * ((conf - g) ** 2).mean()
    assert terms == pytest.approx({k: v / len(batch) for k, v in expected.items()}, rel=1e-4)


def test_a_piece_without_any_instance_has_a_finite_loss() -> None:
    batch = batch_of(World(num=2, empty=True))
    terms = make().loss(batch)
    assert all(torch.isfinite(value) for value in terms.values())


# switches ------------------------------------------------------------------------------------

GRAPH = {
    "num_layers": (4, {"layers.3", "halve.2", "fuse"}),
    "use_local": (False, {"layers.*.convolve"}),
    "use_global": (
        False,
        {f"layers.*.{n}" for n in ("norm_video", "norm_text", "attend", "feed", "norm_found")}
        | {"layers.*.norm_query", "layers.*.project"},
    ),
    "video_encoder": (False, {"refine_video"}),
    "text_encoder": (False, {"refine_text"}),
    "downsampler": ("max", {"halve"}),
    "layer_attention": ("self", {"layers.*.norm_text", "layers.*.norm_query", "layers.*.project"}),
    "temporal_project": ("attn_transpose", {"layers.*.norm_query", "layers.*.project"}),
    "similarity": ("dot", {"log_scale"}),
    "kernel": (5, {"layers.*.convolve.depthwise"}),
    "features": ("own", {"narrow"}),
    "mask_head": ("instance", {"mask"}),
}
"""A switch, another value, and the only parts whose parameters that may change."""
OUTPUT = {
    "downsampler": "avg",
    "positional_encoding": True,
    "layer_residual": False,
    "clip_residual": 0.0,
    "similarity": "dot",
}


@pytest.mark.parametrize("name", GRAPH)
def test_a_switch_changes_its_part_of_the_graph_and_nothing_else(name: str) -> None:
    value, parts = GRAPH[name]
    more = {"clip_residual": 0.0} if name == "features" else {}
    usual, other = shapes(make(**more)), shapes(make(**{name: value}, **more))
    changed = {n for n in usual.keys() | other.keys() if usual.get(n) != other.get(n)}
    assert changed
    for n in changed:
        generic = ".".join("*" if p.isdigit() and i == 1 else p for i, p in enumerate(n.split(".")))
        assert any(
            f"{n}.".startswith(f"{p}.") or f"{generic}.".startswith(f"{p}.") for p in parts
        ), n


def shapes(method: ConTrans) -> dict[str, tuple]:
    return {name: tuple(value.shape) for name, value in method.named_parameters()}


@pytest.mark.parametrize("name", OUTPUT)
def test_a_switch_without_weights_changes_the_answer(name: str) -> None:
    features, texts = random_input()
    usual, other = make(), make(**{name: OUTPUT[name]})
    other.load_state_dict(usual.state_dict(), strict=False)
    a, b = outputs(usual, features, texts), outputs(other, features, texts)
    assert (a.probabilities - b.probabilities).abs().max() > 1e-3
    if name in ("clip_residual", "similarity"):  # the classifier's alone
        torch.testing.assert_close(a.masks, b.masks)


@pytest.mark.parametrize(
    ("name", "value", "term"),
    [("class_weight", 2, "class"), ("mask_weight", 3, "mask"), ("dice_weight", 0, "dice"),
     ("conf_weight", 1, "confidence"), ("dice_factor", 1, "dice"),
     ("conf_target", "centerness", "confidence"), ("conf_target", "iou", "confidence")],
)  # fmt: skip
def test_a_loss_setting_changes_its_term_alone(name: str, value: object, term: str) -> None:
    batch = batch_of(World(num=3))
    usual, other = (make(**s).eval().loss(batch) for s in ({}, {name: value}))
    assert [n for n in usual if not torch.equal(usual[n], other[n])] == [term]


def test_confidence_counts_only_when_asked_for() -> None:
    world = World(num=1)
    snippets, queries = world.snippets(0), world.queries
    plain, weighed = (make(use_conf=use).localize(snippets, queries) for use in (False, True))
    assert plain.scores.max() > weighed.scores.max()


@pytest.mark.parametrize("settings", [{}, {"layer_attention": "self"}, {"mask_head": "instance"},
                                      {"temporal_project": "attn_transpose"}, {"similarity": "dot"},
                                      {"downsampler": "avg"}])  # fmt: skip
def test_every_parameter_gets_a_gradient(settings: dict) -> None:
    method = make(**settings)
    sum(method.loss(batch_of(World(num=4))).values()).backward()
    without = [n for n, p in method.named_parameters() if p.grad is None or not p.grad.abs().sum()]
    # a bias of keys shifts all logits of a softmax alike
    assert [n for n in without if "in_proj_bias" not in n] == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"clip_residual": 2}, "clip_residual must lie in"), ({"kernel": 4}, "kernel odd"),
     ({"features": "own"}, "clip_residual must be 0"), ({"mask_thresholds": "1.5"}, "must lie in")],
)  # fmt: skip
def test_settings_that_make_no_sense(settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make(**settings)


# classes, lengths, learning ------------------------------------------------------------------


def test_no_parameter_knows_how_many_classes_there_are() -> None:
    method = make()
    features, _ = random_input()
    for k in (1, 2, 200):
        texts = torch.randn(k, DIM)
        assert outputs(method, features, texts).probabilities.shape == (2, k + 1, 11)


def test_the_order_of_classes_is_the_order_of_the_answers() -> None:
    method, (features, texts) = make(), random_input(k=5)
    order = torch.tensor([3, 0, 4, 2, 1])
    a, b = outputs(method, features, texts), outputs(method, features, texts[order])
    torch.testing.assert_close(
        a.probabilities[:, order], b.probabilities[:, :-1], atol=1e-5, rtol=0
    )
    torch.testing.assert_close(a.masks, b.masks, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "settings", [{}, {"mask_head": "instance"}, {"features": "own", "clip_residual": 0}]
)
def test_a_batch_can_be_learned_by_heart(settings: dict) -> None:
    world = World(num=6, width=20 if "features" in settings else DIM)
    method = overfit(make(**settings), world, steps=150)
    assert score(method, world) > 0.95
    assert score(method, world, words=WORDS[::-1]) < 0.5  # and it does read the words


def test_features_of_another_width_are_refused() -> None:
    world = World(num=1, width=20)
    with pytest.raises(FeatureError, match="20 wide, this model takes 64"):
        make().localize(world.snippets(0), world.queries)


def test_a_batch_says_how_many_pieces_it_has() -> None:
    assert isinstance(batch_of(World(num=3)), Batch) and len(batch_of(World(num=3))) == 3
