"""UnLoc: the network and its losses against literal forms, each switch, tasks, and learning."""

import math

import literal
import numpy as np
import pytest
import torch
from literal import part
from spaces import CosineSpace
from trained_world import DIM, WORDS, World, batch_of, overfit, score

from openmoment.blocks.batch import Batch, Instances
from openmoment.blocks.losses import focal
from openmoment.blocks.points import displacement_loss, level_ranges
from openmoment.config import from_table
from openmoment.errors import ConfigError
from openmoment.methods.trained import Widths
from openmoment.methods.unloc import (
    KINETICS_PROMPTS,
    UnLoc,
    UnLocConfig,
)
from openmoment.types import Queries

SMALL = {
    "length": 32,
    "width": 32,
    "heads": 4,
    "inner": 64,
    "layers": 2,
    "levels": 2,
    "min_score": 0.001,
}
PLAIN = {"tied_entry": False, "similarity_cue": False}


def make(seed: int = 0, **settings) -> UnLoc:
    torch.manual_seed(seed)
    if settings.get("pyramid") == "none":
        settings["levels"] = 1
    config = from_table(UnLocConfig, SMALL | settings, where="test")
    if config.fusion == "none":
        config = UnLoc.prepare(config, WORDS)
    widths = Widths(20 if settings.get("features") == "own" else DIM, DIM)
    return UnLoc(config, CosineSpace(), widths)


def names_of(texts) -> tuple[str, ...]:
    return WORDS if len(texts) == len(WORDS) else tuple(f"text {i}" for i in range(len(texts)))


def outputs(method: UnLoc, features: torch.Tensor, texts: torch.Tensor, valid=None, prompt=0):
    method.eval()
    with torch.no_grad():
        words = method.read_texts(names_of(texts), texts)
        return method.predict(method.read_frames(features, valid), words, prompt)


def random_input(b: int = 2, t: int = 11, k: int = 4, seed: int = 1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(b, t, DIM, generator=generator), torch.randn(k, DIM, generator=generator)


# equations -----------------------------------------------------------------------------------


def positions(length: int, d: int) -> np.ndarray:
    found = np.zeros((length, d))
    for p in range(length):
        for i in range(0, d, 2):
            rate = 10_000 ** (-i / d)
            found[p, i], found[p, i + 1] = math.sin(p * rate), math.cos(p * rate)
    return found


def literal_output(method: UnLoc, features: np.ndarray, text: np.ndarray):
    """Section 6.2 of the method for one piece and one text: logits and displacements by level."""
    w, c = literal.weights_of(method), method.config
    size = math.sqrt(DIM)
    v = np.stack([literal.unit(row) * size for row in features]) @ w["enter_video.weight"].T
    if c.similarity_cue:
        alike = np.array([likeness(row, text, w, c.learned_cues) for row in features])
        v = v + np.concatenate([alike, alike - alike.mean(axis=0)], axis=1) @ w["cue.weight"].T
    token = literal.unit(text) * size @ w["enter_text.weight"].T
    x = np.concatenate([v, token[None]]) + positions(len(v) + 1, c.width)
    for i in range(c.layers):
        p = part(w, f"fusion.layers.{i}")
        normed = literal.layer_norm(x, part(p, "norm1"))
        x = x + literal.attention(normed, normed, part(p, "self_attn"), c.heads)
        inner = literal.linear(literal.layer_norm(x, part(p, "norm2")), part(p, "linear1"))
        x = x + literal.linear(literal.gelu(inner), part(p, "linear2"))
    x = x[: len(v)]  # the text's token is dropped
    logits, reaches = [], []
    for level in range(c.levels):
        p = part(w, f"pyramid.levels.{level}")
        x = literal.conv(x, part(p, "convolve"), stride=2 if level else 1, groups=c.width)
        x = literal.layer_norm(x, part(p, "norm"))
        logits.append(head(x, part(w, "relevance"), c)[:, 0])
        scaled = w["level_scales"][level] * head(x, part(w, "displacement"), c)
        reaches.append(np.maximum(scaled + w["level_shifts"][level], 0))
    return logits, reaches


def likeness(row: np.ndarray, text: np.ndarray, w, ways: int) -> list[float]:
    """As the joint space says, and in each way that was learned."""
    row, text = literal.unit(row), literal.unit(text)
    found = [10 * row @ text]
    for way in range(ways):
        some = slice(64 * way, 64 * (way + 1))
        seen, read = (
            literal.unit(literal.linear(x[None], part(w, f"likeness.{side}"))[0, some])
            for x, side in ((row, "of_frames"), (text, "of_texts"))
        )
        found.append(10 * seen @ read)
    return found


def head(x: np.ndarray, w, config) -> np.ndarray:
    for i in range(config.head_convs):
        x = np.maximum(
            literal.conv(literal.layer_norm(x, part(w, f"norms.{i}")), part(w, f"convs.{i}")), 0
        )
    return literal.linear(x, part(w, "last"))


@pytest.mark.parametrize("settings", [{}, PLAIN, {"learned_cues": 2}])
def test_the_network_is_what_the_equations_say(settings: dict) -> None:
    method = make(levels=3, **settings)
    torch.nn.init.uniform_(method.level_scales, 0.5, 2)
    torch.nn.init.uniform_(method.level_shifts, -1, 1)
    features, texts = random_input(t=11, k=2)
    out = outputs(method, features, texts)
    assert [x.shape[2] for x in out.logits] == [11, 6, 3]  # odd lengths are rounded up
    for b in range(2):
        for k in range(2):
            logits, reaches = literal_output(
                method, features[b].double().numpy(), texts[k].double().numpy()
            )
            for level in range(3):
                np.testing.assert_allclose(out.logits[level][b, k], logits[level], atol=2e-4)
                np.testing.assert_allclose(
                    out.displacements[level][b, k], reaches[level], atol=2e-4
                )


@pytest.mark.parametrize("kind", ["l1", "iou", "diou", "l1+iou"])
def test_regression_losses_are_those_of_segments(kind: str) -> None:
    found, true = torch.rand(20, 2) * 5, torch.rand(20, 2) * 5
    for loss, (a, b), (c, d) in zip(
        displacement_loss(found, true, kind), found.tolist(), true.tolist(), strict=True
    ):
        union = max(a, c) + max(b, d)
        l1 = (abs(a - c) + abs(b - d)) / union
        iou = 1 - (min(a, c) + min(b, d)) / union
        centre = ((b - a) / 2 - (d - c) / 2) / union
        expected = {"l1": l1, "iou": iou, "diou": iou + centre**2, "l1+iou": l1 + iou}[kind]
        assert float(loss) == pytest.approx(expected, abs=1e-4)
    scaled = displacement_loss(7 * found, 7 * true, kind)
    torch.testing.assert_close(scaled, displacement_loss(found, true, kind), atol=1e-4, rtol=1e-4)


def test_the_losses_are_what_the_equations_say() -> None:
    method, batch = make(relevance_weight=7.0, levels=3).eval(), batch_of(World(num=3))
    terms = {name: value.item() for name, value in method.loss(batch).items()}
    out = outputs(method, batch.features, batch.texts)
    relevance, displacement, num_frames, num_positive = 0.0, 0.0, 0, 0
    for level, (low, high) in enumerate(level_ranges(3)):
        for b, (_, labels, ends) in enumerate(batch.instances):
            for column, u in enumerate(range(0, 32, 2**level)):
                num_frames += 1
                for k in range(len(batch.names)):
                    mine = []
                    for label, (start, end) in zip(labels.tolist(), ends.tolist(), strict=True):
                        left, right = u - (start - 0.5), (end - 0.5) - u
                        is_near = abs(u - (start + end - 1) / 2) <= 3 * 2**level
                        inside = left >= 0 and right >= 0 and low <= max(left, right) < high
                        if label == k and inside and is_near:
                            mine.append((end - start, left, right))
                    p = literal.sigmoid(float(out.logits[level][b, k, column]))
                    if not mine:
                        relevance -= 0.75 * p**2 * math.log(1 - p)
                        continue
                    relevance -= 0.25 * (1 - p) ** 2 * math.log(p)
                    num_positive += 1
                    _, left, right = min(mine)
                    a, c = out.displacements[level][b, k, column].double().numpy() * 2**level
                    union = max(a, left) + max(c, right)
                    displacement += (abs(a - left) + abs(c - right)) / union
    assert num_positive > 5
    assert terms["relevance"] == pytest.approx(7 * relevance / num_frames, rel=1e-3)
    assert terms["displacement"] == pytest.approx(displacement / num_positive, rel=1e-3)


def test_focal_loss_of_what_is_sure_and_right_is_nothing() -> None:
    assert focal(torch.tensor([20.0, -20.0]), torch.tensor([1.0, 0.0])).max() < 1e-6
    wrong = focal(torch.tensor([-20.0, 20.0]), torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(wrong, torch.tensor([5.0, 15.0]))


def test_frames_of_segmentation_have_the_step_that_began_last() -> None:
    method = make(task="as").eval()
    masks = torch.zeros(3, 32, dtype=torch.bool)
    masks[0, 2:10], masks[1, 8:20], masks[2, 8:12] = True, True, True
    ends = torch.tensor([[2.0, 10.0], [8.0, 20.0], [9.0, 12.0]])
    instances = Instances(masks, torch.tensor([0, 1, 2]), ends)
    features, texts = random_input(b=1, t=32, k=4)
    batch = Batch(features, texts, WORDS, (instances,), ("v",))
    out = outputs(method, features, texts).logits[0][0].double().numpy()
    expected = 0.0
    for t in range(32):
        true = 2 if 8 <= t < 12 else 1 if 12 <= t < 20 else 0 if 2 <= t < 8 else None
        for k in range(4):
            p = literal.sigmoid(out[k, t])
            expected -= math.log(p if k == true else 1 - p)
    assert method.loss(batch)["relevance"].item() == pytest.approx(expected / 32, rel=1e-4)


def test_prompts_are_the_28_of_clips_release() -> None:
    assert len(set(KINETICS_PROMPTS)) == 28
    assert KINETICS_PROMPTS[0].format("X") == "a photo of X."
    assert "a example of a person practicing {}." in KINETICS_PROMPTS
    assert UnLoc.templates_of(UnLocConfig(prompts="first")) == KINETICS_PROMPTS
    assert UnLoc.templates_of(UnLocConfig(task="mr")) == ("{}",)
    assert UnLoc.templates_of(UnLocConfig()) == ()


# invariants ----------------------------------------------------------------------------------

KINDS = [{}, {"learned_cues": 2}, {"pyramid": "fpn"}, {"pyramid": "none"}, {"fusion": "late"},
         {"task": "as"}, {"per_class_displacement": False}, {"task": "as", "fusion": "late"},
         {"fusion": "none"}, {"pyramid": "fpn", "fusion": "late"}]  # fmt: skip


@pytest.mark.parametrize("settings", KINDS)
def test_a_padded_batch_answers_as_unpadded_runs(settings: dict) -> None:
    method = make(**settings)
    features, texts = random_input(b=2, t=13)
    valid = torch.arange(13) < torch.tensor([[13], [7]])
    features[1, 7:] = 100.0  # what is padded has no say, whatever it is
    together = outputs(method, features, texts, valid)
    for i, t in enumerate((13, 7)):
        alone = outputs(method, features[i : i + 1, :t], texts)
        for level, (a, b) in enumerate(zip(together.logits, alone.logits, strict=True)):
            m = b.shape[2]
            torch.testing.assert_close(a[i, :, :m], b[0], atol=1e-4, rtol=1e-4)
            if method.config.task != "as":
                a, b = together.displacements[level], alone.displacements[level]
                torch.testing.assert_close(a[i, :, :m], b[0], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("settings", KINDS[:-2])
def test_texts_are_answered_one_by_one_whatever_their_order_and_number(settings: dict) -> None:
    method, (features, texts) = make(**settings), random_input(k=4)
    order = torch.tensor([3, 0, 2, 1])
    a, b = outputs(method, features, texts), outputs(method, features, texts[order])
    one = outputs(method, features, texts[2:3])
    for x, y, z in zip(a.logits, b.logits, one.logits, strict=True):
        torch.testing.assert_close(x[:, order], y, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(x[:, 2:3], z, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("settings", [{}, {"task": "as"}, {"prompts": "ensemble"}])
def test_how_many_texts_go_together_changes_nothing(settings: dict) -> None:
    world, method = World(num=1), make(**settings)
    queries, answers = world.queries, []
    if settings.get("prompts"):
        spread = np.random.default_rng(0).normal(size=(4, 28, DIM)).astype(np.float32)
        queries = Queries(queries.names, queries.embeddings, queries.background, spread)
    for at_once in (1, 3, 64):
        answers.append(method.told({"at_once": at_once}).answer(world.snippets(0), queries))
    for other in answers[1:]:
        np.testing.assert_allclose(answers[0].curves, other.curves, atol=1e-6)
        np.testing.assert_allclose(
            answers[0].detections.segments, other.detections.segments, atol=1e-4
        )


def test_no_parameter_knows_how_many_classes_there_are() -> None:
    features, _ = random_input()
    for k in (1, 3, 50):
        assert outputs(make(), features, torch.randn(k, DIM)).logits[0].shape == (2, k, 11)


def test_only_classes_with_a_weight_are_known_without_texts() -> None:
    method, (features, texts) = make(fusion="none"), random_input()
    every = outputs(method, features, texts).logits[0]
    assert every.shape == (2, 4, 11)
    with torch.no_grad():
        some = method.read_texts(WORDS[1:3], texts[1:3])
        found = method.predict(method.read_frames(features), some).logits[0]
    torch.testing.assert_close(found, every[:, 1:3])
    with pytest.raises(ConfigError, match="not 'pole vault'"):
        method.read_texts(("pole vault",), texts[:1])


def test_classes_that_occur_are_always_among_those_drawn() -> None:
    method, batch = make(num_negative_classes=1), batch_of(World(num=1))
    true = set(batch.instances[0].labels.tolist())
    seen = set()
    for seed in range(20):
        torch.manual_seed(seed)
        chosen = method._choose_classes(batch).tolist()
        assert chosen == sorted(chosen) and true <= set(chosen) and len(chosen) == len(true) + 1
        seen |= set(chosen)
    assert seen == {0, 1, 2, 3}
    assert make(num_negative_classes=0)._choose_classes(batch).tolist() == [0, 1, 2, 3]
    assert make(task="mr")._choose_classes(batch).tolist() == [0, 1, 2, 3]


def test_training_draws_prompts_and_asking_reads_the_first_or_all() -> None:
    method, (features, _) = make(prompts="first"), random_input()
    texts = torch.randn(2, 3, DIM)
    words = method.read_texts(("a", "b"), texts)
    frames = method.read_frames(features)
    first = method.predict(frames, words, 0)
    drawn = method.predict(frames, words, torch.tensor([0, 2]))
    torch.testing.assert_close(first.logits[0][:, 0], drawn.logits[0][:, 0])
    assert (first.logits[0][:, 1] - drawn.logits[0][:, 1]).abs().max() > 1e-4
    mean = torch.stack([method.predict(frames, words, p).logits[0] for p in range(3)]).mean(dim=0)
    torch.testing.assert_close(
        method.told({"prompts": "ensemble"})._ask(frames, words).logits[0], mean
    )
    torch.testing.assert_close(method._ask(frames, words).logits[0], first.logits[0])


# switches ------------------------------------------------------------------------------------

GRAPH = {
    "pyramid": ("none", {"pyramid", "level_scales", "level_shifts"}),
    "levels": (3, {"pyramid", "level_scales", "level_shifts"}),
    "head_convs": (1, {"relevance.norms", "relevance.convs", "displacement.norms",
                       "displacement.convs"}),
    "fusion": ("late", {"log_scale", "late_bias"}),
    "layers": (3, {"fusion.layers.2"}),
    "inner": (32, {"fusion"}),
    "similarity_cue": (False, {"cue"}),
    "learned_cues": (2, {"cue", "likeness"}),
    "features": ("own", {"enter_video"}),
    "task": ("as", {"pyramid", "displacement", "norm", "level_scales", "level_shifts",
                    "relevance"}),
}  # fmt: skip
"""A switch, another value, and the only parts whose parameters may change."""


@pytest.mark.parametrize("name", GRAPH)
def test_a_switch_changes_its_part_of_the_graph_and_nothing_else(name: str) -> None:
    value, parts = GRAPH[name]
    more = PLAIN if name == "features" else {}
    usual, other = shapes(make(**more)), shapes(make(**{name: value}, **more))
    changed = {n for n in usual.keys() | other.keys() if usual.get(n) != other.get(n)}
    assert changed
    assert not [n for n in changed if not any(f"{n}.".startswith(f"{p}.") for p in parts)]


def shapes(method: UnLoc) -> dict[str, tuple]:
    return {name: tuple(value.shape) for name, value in method.named_parameters()}


@pytest.mark.parametrize(
    ("name", "value", "changes"),
    [("pyramid", "fpn", {"logits", "displacements"}),
     ("fusion", "late", {"logits", "displacements"}),
     ("similarity_cue", False, {"logits", "displacements"}),
     ("per_class_displacement", False, {"displacements"})],
)  # fmt: skip
def test_a_switch_changes_the_answer(name: str, value: object, changes: set[str]) -> None:
    features, texts = random_input()
    usual, other = make(), make(**{name: value})
    other.load_state_dict(usual.state_dict(), strict=False)
    a, b = outputs(usual, features, texts), outputs(other, features, texts)
    differing = {
        part
        for part in ("logits", "displacements")
        if (getattr(a, part)[1] - getattr(b, part)[1]).abs().max() > 1e-4
    }
    assert differing == changes


def test_displacements_without_a_class_are_the_same_for_all() -> None:
    features, texts = random_input()
    for settings in ({"per_class_displacement": False}, {"fusion": "late"}):
        for reach in outputs(make(**settings), features, texts).displacements:
            torch.testing.assert_close(reach[:, 0], reach[:, 1])
    usual = outputs(make(), features, texts).displacements[0]
    assert (usual[:, 0] - usual[:, 1]).abs().max() > 1e-4


@pytest.mark.parametrize(
    ("name", "value", "term"),
    [("relevance_weight", 3.0, "relevance"), ("reg_loss", "iou", "displacement"),
     ("reg_loss", "diou", "displacement"), ("reg_loss", "l1+iou", "displacement")],
)  # fmt: skip
def test_a_loss_setting_changes_its_term_alone(name: str, value: object, term: str) -> None:
    batch = batch_of(World(num=3))
    usual, other = (make(**s).eval().loss(batch) for s in ({}, {name: value}))
    assert [n for n in usual if not torch.equal(usual[n], other[n])] == [term]


@pytest.mark.parametrize("name", ["range_bounds", "radius"])
def test_which_points_are_positive_is_a_setting(name: str) -> None:
    batch = batch_of(World(num=3))
    value = {"range_bounds": (2.0,), "radius": 0.5}[name]
    usual, other = (make(**s).eval().loss(batch) for s in ({}, {name: value}))
    assert all(not torch.equal(usual[n], other[n]) for n in usual)


@pytest.mark.parametrize("settings", KINDS)
def test_every_parameter_gets_a_gradient(settings: dict) -> None:
    method = make(**settings)
    sum(method.loss(batch_of(World(num=4))).values()).backward()
    without = [n for n, p in method.named_parameters() if p.grad is None or not p.grad.abs().sum()]
    free = ["in_proj_bias"]  # a bias of keys shifts all logits of a softmax alike
    if settings.get("fusion") == "none":
        free += ["enter_text", "cue"]  # no text is read
    if settings.get("fusion") == "late":
        free += ["cue", "relevance.last"]
    assert [n for n in without if not any(name in n for name in free)] == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"heads": 5}, "multiple of heads"), ({"layers": 0}, "1 or more"),
     ({"pyramid": "fpn", "levels": 4}, "last layers"), ({"fusion": "none", "task": "mr"}, "tal"),
     ({"features": "own"}, "similarity_cue=false"),
     ({"learned_cues": 1, "similarity_cue": False}, "need similarity_cue"),
     ({"range_bounds": "3,4"}, "growing")],
)  # fmt: skip
def test_settings_that_make_no_sense(settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make(**settings)


def test_a_pyramid_of_none_has_one_level() -> None:
    with pytest.raises(ConfigError, match="levels=1"):
        from_table(UnLocConfig, SMALL | {"pyramid": "none"}, where="test")


# learning ------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, PLAIN, {"pyramid": "fpn"}, {"fusion": "late"}])
def test_a_batch_can_be_learned_by_heart(settings: dict) -> None:
    world = World(num=4)
    method = overfit(make(**settings), world, steps=120, lr=2e-3)
    assert score(method, world) > 0.95
    assert score(method, world, words=WORDS[1:] + WORDS[:1]) < 0.5  # and it does read the words


def test_frames_can_be_learned_by_heart_and_become_segments() -> None:
    world = World(num=4)
    method = overfit(make(task="as"), world, steps=150, lr=2e-3)
    for i in range(4):
        answer, true = method.answer(world.snippets(i), world.queries), world.truth(i)
        found = answer.detections.by_time()
        np.testing.assert_allclose(found.segments, true.segments, atol=0.01)
        assert found.labels.tolist() == true.labels.tolist()
