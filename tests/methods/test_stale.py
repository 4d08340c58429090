"""STALE: each equation against a literal form, each switch, and whether it learns."""

import math
import tomllib
from dataclasses import replace
from importlib import resources

import literal
import numpy as np
import pytest
import torch
from letters import LetterSpace
from literal import part
from spaces import CosineSpace
from trained_world import DIM, WORDS, World, batch_of, overfit, score

from openmoment.blocks.temporal import WideRefine
from openmoment.config import from_table
from openmoment.errors import ConfigError
from openmoment.methods import presets
from openmoment.methods.stale import Stale, StaleConfig, to_foreground
from openmoment.methods.trained import Widths
from openmoment.types import Queries

SMALL = {
    "length": 32,
    "num_queries": 5,
    "min_score": 0.0,
    "temporal_net": "transformer",
    "temporal_layers": 1,
    "scale": 100.0,
}
NO_RESIDUAL = {"clip_residual": 0.0}
OWN = NO_RESIDUAL | {"features": "own"}
NO_TEXT = NO_RESIDUAL | {"text_encoder": "none", "classes": WORDS}


def make(seed: int = 0, **settings) -> Stale:
    config = from_table(StaleConfig, SMALL | settings, where="test")
    space = LetterSpace()
    torch.manual_seed(seed)
    return Stale(config, space, Widths(20 if config.features == "own" else DIM, DIM))


def outputs(method: Stale, features: torch.Tensor, texts: torch.Tensor, truth=None):
    method.eval()
    with torch.no_grad():
        return method.predict(features, method.read_texts(WORDS[:1] * len(texts), texts), truth)


def random_input(b: int = 2, t: int = 11, k: int = 3, d: int = DIM, seed: int = 1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(b, t, d, generator=generator), torch.randn(k, DIM, generator=generator)


def jolted(method: Stale) -> Stale:
    """With weights that are far from a fresh network's, so that every part is seen to count."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in method.parameters():
            parameter += 0.03 * torch.randn(parameter.shape, generator=generator)
    return method


# equations -----------------------------------------------------------------------------------


def units(rows: np.ndarray) -> np.ndarray:
    return np.stack([literal.unit(row) for row in rows])


def feed(x: np.ndarray, w: literal.Weights) -> np.ndarray:
    inner = np.maximum(literal.linear(x, part(w, "linear1")), 0)
    return literal.linear(inner, part(w, "linear2"))


def literal_mask(x: np.ndarray, w: literal.Weights, num_queries: int) -> np.ndarray:
    """Eq. 3 and 4: L_hat."""
    t, d = x.shape
    memory = literal.linear(x, part(w, "enter"))
    for i in range(t):
        for j in range(d):
            angle = i / 10_000 ** (2 * (j // 2) / d)
            memory[i, j] += math.sin(angle) if j % 2 == 0 else math.cos(angle)

    def attend(x, memory, w, name):
        return literal.attention(x, memory, part(w, name), heads=2)

    for layer in (part(w, f"encoder.layers.{i}") for i in range(2)):
        normed = literal.layer_norm(memory, part(layer, "norm1"))
        memory = memory + attend(normed, normed, layer, "self_attn")
        memory = memory + feed(literal.layer_norm(memory, part(layer, "norm2")), layer)
    memory = literal.layer_norm(memory, part(w, "encoder.norm"))
    z = w["queries"]
    for layer in (part(w, f"decoder.layers.{i}") for i in range(2)):
        normed = literal.layer_norm(z, part(layer, "norm1"))
        z = z + attend(normed, normed, layer, "self_attn")
        z = z + attend(literal.layer_norm(z, part(layer, "norm2")), memory, layer, "multihead_attn")
        z = z + feed(literal.layer_norm(z, part(layer, "norm3")), layer)
    z = literal.layer_norm(z, part(w, "decoder.norm"))
    for i in (0, 2, 4):
        z = literal.linear(z, part(w, f"embed.{i}"))
        z = z if i == 4 else np.maximum(z, 0)
    mask = np.zeros(t)
    for i in range(t):
        votes = [literal.sigmoid(z[q] @ x[i]) for q in range(num_queries)]
        together = sum(w["vote.weight"][0, q] * votes[q] for q in range(num_queries))
        mask[i] = literal.sigmoid(together + w["vote.bias"][0])
    return mask


def literal_output(method: Stale, features: np.ndarray, texts: np.ndarray):
    """Section 3.2 of the method, one piece, one snippet at a time."""
    w, share = literal.weights_of(method), method.config.clip_residual
    e = units(features)
    found = literal.attention(e, e, part(w, "embed.0.attend.mix"), heads=4)  # eq. 1
    x = literal.layer_norm(e + found, part(w, "embed.0.norm"))
    words = np.concatenate([units(texts), w["background"]])  # eq. 2
    mask = literal_mask(x, part(w, "masker"), method.config.num_queries)
    kept = [i for i in range(len(x)) if mask[i] > 0.5] or [int(mask.argmax())]

    a = part(w, "adapt")  # eq. 5
    text = words + literal.attention(words, words, part(a, "self_attn"), heads=4)
    text = literal.layer_norm(text, part(a, "norm1"))
    found = literal.attention(text, x[kept], part(a, "multihead_attn"), heads=4)
    text = literal.layer_norm(text + found, part(a, "norm2"))
    text = literal.layer_norm(text + feed(text, a), part(a, "norm3"))
    adapted = words + w["alpha"] * text  # eq. 6

    probabilities = np.zeros((len(words), len(x)))
    for i in range(len(x)):
        own, clip = (x[i], e[i]) if i in kept else (adapted[-1], words[-1])
        logits = [100 * literal.unit(row) @ literal.unit(own) for row in adapted]  # eq. 7
        plain = [100 * literal.unit(row) @ literal.unit(clip) for row in words]
        mixed = (1 - share) * np.array(logits) + share * np.array(plain)
        probabilities[:, i] = literal.softmax(mixed)
    return probabilities, mask, literal_masks(x, part(w, "mask"))


def literal_masks(x: np.ndarray, w: literal.Weights) -> np.ndarray:
    """Eq. 8: each snippet's own three convolutions, 9 to 8 to 8 to 1 channels."""
    t = len(x)
    seen = x @ w["describe.weight"][:, :, 0].T + w["describe.bias"]
    masks = np.zeros((t, t))
    for row, own in enumerate(literal.linear(x, part(w, "control"))):
        own = list(own)
        layers = []
        for inner, outer in ((9, 8), (8, 8), (8, 1)):
            weight = np.array([own.pop(0) for _ in range(inner * outer)]).reshape(outer, inner)
            layers.append((weight, np.array([own.pop(0) for _ in range(outer)])))
        assert not own
        for i in range(t):
            h = np.append(seen[i], (i - row) / t)
            for weight, bias in layers[:2]:
                h = np.maximum(weight @ h + bias, 0)
            masks[row, i] = literal.sigmoid((layers[2][0] @ h + layers[2][1])[0])
    return masks


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_the_network_is_what_the_equations_say(share: float) -> None:
    method = jolted(make(clip_residual=share))
    features, texts = random_input()
    out = outputs(method, features, texts)
    assert 0 < (out.foreground > 0.5).sum() < out.foreground.numel()
    for i in range(len(features)):
        found = literal_output(method, features[i].double().numpy(), texts.double().numpy())
        np.testing.assert_allclose(out.foreground[i], found[1], atol=1e-5)
        np.testing.assert_allclose(out.probabilities[i], found[0], atol=1e-4)
        np.testing.assert_allclose(out.masks[i], found[2], atol=1e-5)


def test_the_losses_are_what_the_equations_say() -> None:
    weights = NO_RESIDUAL | {"scale": 5.0}  # at 100 many probabilities are 1 and tie
    weights |= {"mask_weight": 0.5, "dice_weight": 0.7, "complete_weight": 3, "class_weight": 2}
    method, batch = jolted(make(**weights)).eval(), batch_of(World(num=3))
    terms = {name: value.item() for name, value in method.loss(batch).items()}
    out = outputs(method, batch.features, batch.texts)
    projection = method.project.weight.detach().double().numpy()
    expected = dict.fromkeys(terms, 0.0)
    for b, (masks, labels, _) in enumerate(batch.instances):
        n, t = masks.shape
        p, m, a = (v[b].double().numpy() for v in (out.probabilities, out.masks, out.foreground))
        inside = masks.numpy()
        g = [
            [any(inside[j, r] and inside[j, i] for j in range(n)) for i in range(t)]
            for r in range(t)
        ]
        on = [r for r in range(t) if g[r][r]]
        for i in range(t):
            true = sorted({int(labels[j]) for j in range(n) if inside[j, i]}) or [-1]
            expected["class"] -= 2 * sum(math.log(p[k, i]) for k in true) / len(true) / t
            chosen = a[i] if i in on else 1 - a[i]
            expected["complete"] -= 3 * math.log(chosen) / t
        for r in range(t):
            if r not in on:
                bce = -sum(math.log(1 - m[r, i]) for i in range(t)) / t
                expected["mask"] += 0.5 * bce / (t - len(on))
                continue
            ones = [i for i in range(t) if g[r][i]]
            rest = [i for i in range(t) if not g[r][i]]
            bce = -sum(math.log(m[r, i]) for i in ones) / len(ones)
            bce -= sum(math.log(1 - m[r, i]) for i in rest) / len(rest)
            shared = 2 * sum(m[r, i] for i in ones) + 1
            expected["mask"] += 0.5 * bce / len(on)
            expected["dice"] += 0.7 * (1 - shared / ((m[r] ** 2).sum() + len(ones) + 1)) / len(on)
        looks = []
        e = units(batch.features[b].double().numpy()) @ projection.T
        for weight in (p[:-1].max(axis=0), m.max(axis=1)):
            best = sorted(range(t), key=lambda i: -weight[i])[: t // 8]  # noqa: B023
            looks.append(sum(weight[i] * e[i] for i in best))
        expected["consistency"] += 1 - literal.unit(looks[0]) @ literal.unit(looks[1])
    assert terms == pytest.approx({k: v / len(batch) for k, v in expected.items()}, rel=1e-3)


def test_the_wide_transformer_has_heads_of_full_width() -> None:
    torch.manual_seed(0)
    net, x = WideRefine(6, 2).eval(), torch.randn(1, 5, 6)
    w, rows = literal.weights_of(net), x[0].double().numpy()
    ask, heads = (rows @ w["ask.weight"].T).reshape(5, 3, 2, 6), []
    for h in range(2):
        q, k, v = ask[:, 0, h], ask[:, 1, h], ask[:, 2, h]
        heads.append(np.stack([literal.softmax(k @ row / math.sqrt(6)) @ v for row in q]))
    mixed = literal.linear(np.concatenate(heads, axis=1), part(w, "mix"))
    expected = literal.layer_norm(rows + mixed, part(w, "norm"))
    np.testing.assert_allclose(net(x)[0].detach(), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("mask", "threshold", "expected"),
    [
        ([0.6, 0.2, 0.7, 0.5], "half", [True, False, True, False]),
        ([0.1, 0.4, 0.2, 0.3], "half", [False, True, False, False]),
        ([0.1, 0.4, 0.2, 0.3], "mean", [False, True, False, True]),
        ([0.3] * 15 + [0.31] * 2 + [0.1] * 15, "half", [False] * 15 + [True] * 2 + [False] * 15),
    ],
)
def test_foreground_is_never_empty(mask: list, threshold: str, expected: list) -> None:
    assert to_foreground(torch.tensor([mask]), threshold=threshold)[0].tolist() == expected


def test_a_share_of_the_gradient_passes_the_threshold() -> None:
    batch, found = batch_of(World(num=4)), {}
    for share in (0.0, 0.01, 1.0):
        method = make(straight_through=share, v2l_adaptation=False).eval()
        loss = method.loss(batch)["class"]
        loss.backward()
        found[share] = loss.item(), method.masker.vote.weight.grad
    assert found[0.0][0] == found[0.01][0] == found[1.0][0]
    assert not found[0.0][1].any() and found[1.0][1].abs().sum() > 0
    torch.testing.assert_close(100 * found[0.01][1], found[1.0][1], rtol=1e-3, atol=1e-6)


# switches ------------------------------------------------------------------------------------

GRAPH = {
    "temporal_net=conformer": ({"temporal_net": "conformer"}, {"embed"}),
    "temporal_net=cnn1d": ({"temporal_net": "cnn1d"}, {"embed"}),
    "temporal_net=mstcn": ({"temporal_net": "mstcn"}, {"embed"}),
    "wide": ({"temporal_net": "wide_transformer"}, {"embed"}),
    "context": ({"context_tokens": 10}, {"context"}),
    "more context": ({"context_tokens": 30}, {"context"}),
    "finetune": ({"text_encoder": "finetune"}, {"context"}),
    "mask_method=cnn1d": ({"mask_method": "cnn1d"}, {"masker"}),
    "mask_method=none": ({"mask_method": "none"}, {"masker"}),
    "mask_method=gt": ({"mask_method": "gt"}, {"masker"}),
    "num_queries": ({"num_queries": 20}, {"masker.queries", "masker.vote"}),
    "v2l": ({"v2l_adaptation": False}, {"adapt", "alpha"}),
    "mask_head": ({"mask_head": "static"}, {"mask"}),
    "consistency": ({"consistency_weight": 0}, {"project"}),
}
"""Settings, and the only parts whose parameters may change."""
OUTPUT = {"theta_bin": "mean", "clip_residual": 0.0, "context_tokens": 8, "class_position": "end"}


def shapes(method: Stale) -> dict[str, tuple]:
    return {name: tuple(value.shape) for name, value in method.named_parameters()}


@pytest.mark.parametrize("name", GRAPH)
def test_a_switch_changes_its_part_of_the_graph_and_nothing_else(name: str) -> None:
    settings, parts = GRAPH[name]
    usual, other = shapes(make()), shapes(make(**settings))
    changed = {n for n in usual.keys() | other.keys() if usual.get(n) != other.get(n)}
    assert changed
    assert all(any(n == p or n.startswith(f"{p}.") for p in parts) for n in changed), changed


@pytest.mark.parametrize("name", OUTPUT)
def test_a_switch_without_weights_changes_the_classes_alone(name: str) -> None:
    features, texts = random_input()
    before = {"context_tokens": 4} if name == "class_position" else {}
    usual, other = jolted(make(**before)), make(**before, **{name: OUTPUT[name]})
    same = {n: v for n, v in usual.state_dict().items() if not n.startswith("context")}
    other.load_state_dict(same, strict=False)
    a, b = outputs(usual, features, texts), outputs(other, features, texts)
    assert (a.logits - b.logits).abs().max() > 0.05
    torch.testing.assert_close(a.masks, b.masks)
    torch.testing.assert_close(a.foreground, b.foreground)


@pytest.mark.parametrize(
    ("name", "value", "term"),
    [("class_weight", 2, "class"), ("mask_weight", 3, "mask"), ("dice_weight", 0, "dice"),
     ("complete_weight", 2, "complete"), ("consistency_weight", 2, "consistency")],
)  # fmt: skip
def test_a_loss_setting_changes_its_term_alone(name: str, value: float, term: str) -> None:
    batch = batch_of(World(num=3))
    usual, other = (make(**s).eval().loss(batch) for s in ({}, {name: value}))
    assert [n for n in usual if not torch.equal(usual[n], other[n])] == [term]


def test_terms_that_are_not_wanted_are_not_there() -> None:
    batch = batch_of(World(num=2))
    assert set(make(consistency_weight=0).loss(batch)) == {"class", "mask", "dice", "complete"}
    assert "complete" not in make(mask_method="none").loss(batch)


@pytest.mark.parametrize(
    "settings",
    [{}, {"temporal_net": "conformer"}, {"temporal_net": "cnn1d", "mask_method": "cnn1d"},
     {"mask_head": "static"} | NO_TEXT,
     {"temporal_net": "wide_transformer", "mask_method": "none"},
     {"temporal_net": "mstcn", "mask_method": "gt"}, {"text_encoder": "finetune"},
     {"context_tokens": 6}, {"text_encoder": "finetune", "context_tokens": 6}],
)  # fmt: skip
def test_every_parameter_gets_a_gradient(settings: dict) -> None:
    method = make(**settings)
    sum(method.loss(batch_of(World(num=4))).values()).backward()
    learns = {n: p for n, p in method.named_parameters() if p.numel()}
    without = [n for n, p in learns.items() if p.grad is None or not p.grad.abs().sum()]
    assert all(p.requires_grad for p in learns.values())
    # a bias of keys shifts all logits of a softmax alike
    assert [n for n in without if "in_proj_bias" not in n] == []
    tower = method.space.text_tower()
    assert not any(p.requires_grad or p.grad is not None for p in tower.parameters())


def test_the_text_tower_has_its_own_rate() -> None:
    plain = make(text_encoder="frozen", context_tokens=4).parameter_groups()
    assert [group.lr_scale for group in plain] == [1.0]
    method = make(text_encoder="finetune", context_tokens=4, text_lr_scale=0.3)
    rest, tower = method.parameter_groups()
    assert (rest.lr_scale, tower.lr_scale) == (1.0, 0.3)
    assert {id(p) for p in tower.parameters} == {id(p) for p in method.context.tower.parameters()}
    everything = [*rest.parameters, *tower.parameters]
    assert sorted(map(id, everything)) == sorted(map(id, method.parameters()))


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"clip_residual": 2}, "clip_residual must lie in"), ({"num_queries": 0}, "num_queries and"),
     ({"straight_through": -1}, "straight_through must lie in"),
     ({"features": "own"}, "clip_residual must be 0"),
     ({"temporal_layers": 0}, "temporal_layers 1 or more"),
     ({"classes": "a"}, "classes are for text_encoder none"),
     ({"context_tokens": 5} | NO_TEXT, "context_tokens must"),
     ({"mask_method": "maskrcnn"}, "'maskformer'")],
)  # fmt: skip
def test_settings_that_make_no_sense(settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make(**settings)


@pytest.mark.parametrize("settings", [{"context_tokens": 50}, {"text_encoder": "finetune"}])
def test_a_backbone_without_a_text_tower_is_told_what_to_set(settings: dict) -> None:
    config = from_table(StaleConfig, settings, where="test")
    with pytest.raises(ConfigError, match="Use text_encoder=frozen and context_tokens=0"):
        Stale(config, CosineSpace(), Widths(DIM, DIM))


def test_vectors_are_learned_for_names_and_for_no_others() -> None:
    method, world = make(**NO_TEXT), World(num=1)
    embeddings = torch.zeros(2, DIM)
    a, b = (method.read_texts(names, embeddings) for names in (WORDS[:2], WORDS[1::-1]))
    torch.testing.assert_close(a[:2], b[:2].flip(0))
    other = Queries(("chess",), world.queries.embeddings[:1], world.queries.background)
    with pytest.raises(ConfigError, match="'chess' is none of them. Use text_encoder=frozen"):
        method.localize(world.snippets(0), other)


def test_static_masks_are_for_one_length() -> None:
    method = make(mask_head="static")
    features, texts = random_input(t=32)
    assert outputs(method, features, texts).masks.shape == (2, 32, 32)
    with pytest.raises(ConfigError, match="made for 32 snippets, got 11"):
        outputs(method, *random_input())


# oracles -------------------------------------------------------------------------------------


def test_oracles_ask_for_the_truth() -> None:
    world = World(num=2)
    snippets, true = world.snippets(0), world.truth(0)
    for settings in ({"mask_method": "gt"}, {"gt_masks": True}):
        method = make(**settings)
        with pytest.raises(ConfigError, match="told the truth"):
            method.localize(snippets, world.queries)
        told = method.answer(snippets, world.queries, truth=true).detections
        none = method.answer(
            snippets,
            world.queries,
            truth=replace(true, segments=true.segments[:0], labels=true.labels[:0]),
        )
        assert len(told)
        assert not np.array_equal(told.segments, none.detections.segments)
        with pytest.raises(ConfigError, match="told the truth"):  # and it is forgotten
            method.localize(snippets, world.queries)


@pytest.mark.parametrize(
    "axis", [{}, {"time_axis": "window", "length": 16}, {"time_axis": "window", "length": 10}]
)
def test_true_masks_are_cut_exactly(axis: dict) -> None:
    """Also where they come in several windows, whose ends cut them."""
    world, method = World(num=1), make(gt_masks=True, mask_method="gt", **axis)
    true = world.truth(0).segments
    found = method.answer(world.snippets(0), world.queries, truth=world.truth(0)).detections
    assert {tuple(s) for s in true} <= {tuple(s) for s in found.segments.round(6)}
    for start_s, end_s in found.segments:
        inside = (true[:, 0] <= start_s + 1e-6) & (end_s <= true[:, 1] + 1e-6)
        assert inside.any()
        assert axis or (true == [start_s, end_s]).all(axis=1).any()


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
        a.probabilities[:, order], b.probabilities[:, :-1], atol=1e-4, rtol=0
    )
    torch.testing.assert_close(a.masks, b.masks)


@pytest.mark.parametrize(
    "temporal_net", ["transformer", "wide_transformer", "conformer", "cnn1d", "mstcn"]
)
@pytest.mark.parametrize("t", [1, 7])
def test_short_pieces(temporal_net: str, t: int) -> None:
    out = outputs(make(temporal_net=temporal_net), *random_input(t=t))
    assert out.masks.shape == (2, t, t)
    assert all(torch.isfinite(part).all() for part in out)


def test_a_piece_without_any_instance_can_be_learned_from() -> None:
    method = make()
    terms = method.loss(batch_of(World(num=2, empty=True)))
    sum(terms.values()).backward()
    assert all(torch.isfinite(p.grad).all() for p in method.parameters() if p.grad is not None)


def test_a_seed_decides_everything() -> None:
    world = World(num=1)
    a, b = (make(seed=3).localize(world.snippets(0), world.queries) for _ in range(2))
    assert len(a)
    np.testing.assert_array_equal(a.segments, b.segments)
    np.testing.assert_array_equal(a.scores, b.scores)


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        ({}, 100),
        (OWN | {"mask_head": "static", "mask_method": "cnn1d"}, 150),
        (NO_TEXT, 100),
    ],
)
def test_a_batch_can_be_learned_by_heart(settings: dict, steps: int) -> None:
    world = World(num=6, width=20 if "features" in settings else DIM)
    method = overfit(make(**settings), world, steps=steps)
    assert score(method, world) > 0.95


def test_instance_masks_take_little_memory() -> None:
    """What is kept for the gradient of four pieces of 256 snippets, all attention included."""
    method, kept = make(length=256), {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    features, texts = random_input(b=4, t=256)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        masks = method.mask(method.embed(features))
    assert masks.shape == (4, 256, 256) and texts is not None
    assert sum(kept.values()) < 200e6


# presets -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", presets("stale"))
def test_every_preset_makes_a_method(name: str) -> None:
    text = (resources.files("openmoment") / "presets" / "stale" / f"{name}.toml").read_text()
    assert text.startswith("# openmoment train stale")
    table = tomllib.loads(text)
    training = table.pop("training")
    assert {"lr", "epochs", "batch_size"} <= training.keys()
    config = from_table(StaleConfig, table, where=name)
    Stale(config, LetterSpace(), Widths(DIM, DIM))
    usual = StaleConfig()
    assert [n for n in table if getattr(usual, n) == getattr(config, n)] in (
        [],
        ["consistency_weight"],
    )


def test_presets_say_what_the_paper_and_its_code_say() -> None:
    def read(name: str) -> dict:
        path = resources.files("openmoment") / "presets" / "stale" / f"{name}.toml"
        return tomllib.loads(path.read_text())

    paper, code = read("activitynet-paper"), read("activitynet-code_compat")
    assert (paper["length"], paper["context_tokens"], paper["text_encoder"]) == (
        100,
        50,
        "finetune",
    )
    assert (paper["training"]["lr"], paper["training"]["epochs"]) == (1e-4, 15)
    assert read("thumos14-paper")["training"]["lr"] == 1e-5
    assert code["mask_thresholds"] == [0.0, 0.2, 0.4, 0.6, 0.8]
    assert (code["num_snippets"], code["num_queries"], code["training"]["lr"]) == (10, 1, 4e-5)
    assert read("thumos14-recommended")["time_axis"] == "window"
    assert "context_tokens" not in read("thumos14-recommended")  # works on every backbone


def test_vectors_are_learned_for_the_classes_trained_on() -> None:
    config = from_table(StaleConfig, SMALL | NO_RESIDUAL | {"text_encoder": "none"}, where="test")
    known = Stale.prepare(config, ("a", "b"))
    assert (known.classes, Stale.prepare(known, ("c",)).classes) == (("a", "b"), ("a", "b"))
    assert Stale.prepare(StaleConfig(), ("a", "b")).classes == ()
