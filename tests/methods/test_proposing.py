"""Two-stage detectors: where proposals come from, what is in them, each switch, and learning."""

import math
import tomllib
from dataclasses import replace
from functools import cache
from importlib import resources

import literal
import numpy as np
import pytest
import torch
from letters import LetterSpace
from literal import part
from spaces import DIM, CosineSpace
from trained_world import WORDS, World, batch_of, overfit, score

from openmoment.config import from_table
from openmoment.errors import ConfigError
from openmoment.methods import METHODS, presets
from openmoment.methods.effprompt import EffPrompt, sample_clips
from openmoment.methods.proposing import Proposing
from openmoment.methods.trained import Widths
from openmoment.methods.two_stage import TwoStage, mean_inside
from openmoment.types import Proposals, Queries

NAMES = ("two_stage", "effprompt")
SMALL = {
    "length": 32,
    "max_duration": 16,
    "width": 32,
    "sample_width": 16,
    "map_width": 16,
    "num_samples": 8,
    "min_score": 0.0,
}
OWN = {
    "two_stage": {},
    "effprompt": {"context_tokens": 4, "temporal_layers": 1, "num_frames": 4, "heads": 4},
}
"""What makes each small."""


def make(name: str = "two_stage", seed: int = 0, **settings) -> Proposing:
    cls = METHODS[name]
    config = from_table(cls.Config, SMALL | OWN[name] | settings, where="test")
    space = LetterSpace()
    torch.manual_seed(seed)
    return cls(config, space, Widths(DIM, DIM))


def rows_and_words(t: int = 9, k: int = 3):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(t, DIM, generator=generator), torch.randn(k, DIM, generator=generator)


# what is in a proposal -----------------------------------------------------------------------

SEGMENTS = [(0.0, 9.0), (2.2, 4.6), (3.1, 3.3), (3.6, 3.7), (8.9, 12.0), (-3.0, 0.6), (9.5, 11.0)]


def test_the_mean_is_of_the_snippets_whose_centres_are_inside() -> None:
    rows, _ = rows_and_words()
    found = mean_inside(rows, torch.tensor(SEGMENTS))
    for (a, b), mean in zip(SEGMENTS, found, strict=True):
        inside = [i for i in range(9) if a <= i + 0.5 < b]
        inside = inside or [min(max(math.floor((a + b) / 2), 0), 8)]
        torch.testing.assert_close(mean, rows[inside].mean(dim=0), atol=1e-6, rtol=0)


def test_two_stages_classify_by_the_mean_frame() -> None:
    method, (rows, texts) = make(scale=7.0), rows_and_words()
    known = method.read_texts(WORDS[:3], texts)
    found = method.classify(rows, torch.tensor([[2.0, 5.0]]), known)[0]
    mean = np.mean([literal.unit(row) for row in rows[2:5].double().numpy()], axis=0)
    cosines = [literal.unit(mean) @ literal.unit(text) for text in texts.double().numpy()]
    np.testing.assert_allclose(found, literal.softmax(7 * np.array(cosines)), atol=1e-6)
    shown = method.classify_snippets(rows[None], known)[0, :, 4]
    alone = method.classify(rows, torch.tensor([[4.0, 5.0]]), known)[0]
    torch.testing.assert_close(shown, alone, atol=1e-6, rtol=1e-5)


def test_clips_are_sampled_at_the_middles_of_equal_parts() -> None:
    rows, _ = rows_and_words()
    found = sample_clips(rows, torch.tensor(SEGMENTS), 5)
    for (a, b), clip in zip(SEGMENTS, found, strict=True):
        for i, frame in enumerate(clip):
            at = min(max(a + (b - a) * (i + 0.5) / 5 - 0.5, 0), 8)
            low, share = math.floor(at), at - math.floor(at)
            expected = (1 - share) * rows[low] + share * rows[min(low + 1, 8)]
            torch.testing.assert_close(frame, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_effprompt_is_what_the_paper_says(share: float) -> None:
    method, (rows, texts) = make("effprompt", clip_residual=share), rows_and_words(t=4)
    w, heads = literal.weights_of(method), 4
    x = np.stack([literal.unit(row) * 8 for row in rows.double().numpy()])  # 8: the root of 64
    x = x + w["temporal.positions"]
    layer = part(w, "temporal.layers.0")
    normed = literal.layer_norm(x, part(layer, "norm1"))
    x = x + literal.attention(normed, normed, part(layer, "self_attn"), heads)
    inner = literal.linear(literal.layer_norm(x, part(layer, "norm2")), part(layer, "linear1"))
    x = x + literal.linear(inner * literal.sigmoid(1.702 * inner), part(layer, "linear2"))
    seen = literal.unit(x.mean(axis=0))
    with torch.no_grad():
        words = method.context(WORDS[:3]).double().numpy()
        known = method.read_texts(WORDS[:3], texts)
        found = method.logits(rows[None], known)[0]
    mean = literal.unit(np.mean([literal.unit(row) for row in rows.double().numpy()], axis=0))
    for k in range(3):
        learned = seen @ literal.unit(words[k]) / 0.07
        plain = 100 * mean @ literal.unit(texts[k].double().numpy())
        assert found[k].item() == pytest.approx((1 - share) * learned + share * plain, abs=1e-3)


def test_a_context_of_positions_depends_on_the_length_of_the_name() -> None:
    """EffPrompt's table has a row for each position of a sentence; elsewhere rows are shared."""
    shared, table = (make("effprompt", context_table=kind) for kind in ("shared", "positions"))
    assert shared.context.context.shape == (4, 16) and table.context.context.shape == (24, 16)
    tower = table.space.text_tower()
    ids, places = table.context._rows(tower, ["ab", "abcd"])
    assert places.tolist() == [
        [-1, 1, 2, -1, -1, 5, 6, -1, -1, -1],
        [-1, 1, 2, -1, -1, -1, -1, 7, 8, -1],
    ]
    assert shared.context._rows(tower, ["ab"])[1].tolist() == [[-1, 0, 1, -1, -1, 2, 3, -1]]
    assert ids[0, 3] == 3 + ord("a") % 120


# where proposals come from -------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("axis", [{}, {"time_axis": "window", "length": 16}])
def test_true_proposals_are_an_oracle(name: str, axis: dict) -> None:
    world, method = World(num=2), make(name, proposals="gt", **axis)
    snippets, true = world.snippets(0), world.truth(0)
    with pytest.raises(ConfigError, match="told the truth"):
        method.localize(snippets, world.queries)
    twice = replace(
        true, segments=np.repeat(true.segments, 2, axis=0), labels=np.repeat(true.labels, 2)
    )
    found = method.answer(snippets, world.queries, truth=twice).detections
    np.testing.assert_allclose(found.by_time().segments, true.segments, atol=1e-9)
    if name == "two_stage":
        assert found.by_time().labels.tolist() == true.labels.tolist()
    none = replace(true, segments=true.segments[:0], labels=true.labels[:0])
    assert len(method.answer(snippets, world.queries, truth=none).detections) == 0
    with pytest.raises(ConfigError, match="told the truth"):  # and it is forgotten
        method.localize(snippets, world.queries)


@pytest.mark.parametrize("axis", [{}, {"time_axis": "window", "length": 16}])
def test_proposals_of_others_are_classified(axis: dict) -> None:
    world, method = World(num=1), make(proposals="file", max_proposals=2, **axis)
    snippets, true = world.snippets(0), world.truth(0)
    with pytest.raises(ConfigError, match="needs proposals of this video"):
        method.localize(snippets, world.queries)
    given = Proposals(np.concatenate([[[0.0, 16.0]], true.segments]), np.array([0.1, 0.5, 0.9]))
    answer = method.answer(replace(snippets, proposals=given), world.queries)
    found = answer.detections
    np.testing.assert_allclose(found.segments, true.segments[::-1], atol=1e-9)
    assert found.labels.tolist() == true.labels[::-1].tolist()
    assert found.scores == pytest.approx([0.9, 0.5], rel=1e-3)
    first, last = np.searchsorted(world.grid.centres_s, true.segments[1])
    assert answer.curves[true.labels[1], first:last] == pytest.approx(0.9, abs=0.1)
    assert answer.curves[:, 0].max() == 0
    method.told({"proposals": "bmn"}).localize(snippets, world.queries)


def test_all_texts_of_a_photo_prompt_are_read() -> None:
    photo = make(prompts="photo")
    assert (photo.templates, make().templates) == (("a photo of {}",), ())
    _, texts = rows_and_words()
    both = torch.stack([texts, texts.roll(1, 0)], dim=1)
    expected = torch.nn.functional.normalize(both.mean(dim=1), dim=1)
    torch.testing.assert_close(photo.read_texts(WORDS[:3], both), expected)


# switches ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("setting", "value", "term"),
    [("boundary_weight", 2, "boundary"), ("classification_weight", 0, "proposal"),
     ("regression_weight", 1, "overlap")],
)  # fmt: skip
def test_a_loss_setting_changes_its_term_alone(name, setting, value, term) -> None:
    batch, found = batch_of(World(num=3)), []
    for settings in ({}, {setting: value}):
        method = make(name, **settings).eval()
        torch.manual_seed(0)
        found.append(method.loss(batch))
    assert [n for n in found[0] if not torch.equal(found[0][n], found[1][n])] == [term]


def test_cut_instances_matter_in_windows_alone() -> None:
    world = World(num=2)
    batch = batch_of(world)
    cut = [i._replace(positions=i.positions - i.positions[0, 0]) for i in batch.instances]
    found = {}
    for axis in ("rescale", "window"):
        for kept in ("drop", "keep"):
            torch.manual_seed(0)
            method = make(time_axis=axis, cut_instances=kept)
            found[axis, kept] = method.loss(replace(batch, instances=tuple(cut)))["boundary"]
    assert torch.equal(found["rescale", "drop"], found["rescale", "keep"])
    assert not torch.equal(found["window", "drop"], found["window", "keep"])


SHAPES = {
    "context_tokens": ({"context_tokens": 8}, {"context.context"}),
    "context_table": ({"context_table": "positions"}, {"context.context"}),
    "no context": ({"context_tokens": 0}, {"context"}),
    "temporal_layers": ({"temporal_layers": 2}, {"temporal.layers.1"}),
    "no layers": ({"temporal_layers": 0}, {"temporal"}),
    "num_frames": ({"num_frames": 6}, {"temporal.positions"}),
}


@pytest.mark.parametrize("name", SHAPES)
def test_a_switch_of_effprompt_changes_its_part_alone(name: str) -> None:
    settings, parts = SHAPES[name]
    usual, other = (
        {n: tuple(p.shape) for n, p in make("effprompt", **s).named_parameters()}
        for s in ({}, settings)
    )
    changed = {n for n in usual.keys() | other.keys() if usual.get(n) != other.get(n)}
    assert changed
    assert all(any(n == p or n.startswith(f"{p}.") for p in parts) for n in changed), changed


def test_a_step_reads_the_names_that_occur_and_some_others() -> None:
    method, batch = make("effprompt", num_names=1), batch_of(World(num=2))
    present = sorted({int(label) for i in batch.instances for label in i.labels})
    labels = torch.cat([i.labels for i in batch.instances])
    assert method._choose_names(labels, 4).tolist() == present
    many = make("effprompt", num_names=len(present) + 1)
    chosen = many._choose_names(labels, 4).tolist()
    assert set(present) < set(chosen) and len(chosen) == len(present) + 1


@pytest.mark.parametrize(
    ("name", "settings"),
    [("two_stage", {}), ("effprompt", {}), ("effprompt", {"context_table": "positions"}),
     ("effprompt", {"context_tokens": 0}), ("effprompt", {"temporal_layers": 0})],
)  # fmt: skip
def test_every_parameter_gets_a_gradient(name: str, settings: dict) -> None:
    method = make(name, **settings)
    sum(method.loss(batch_of(World(num=4))).values()).backward()
    without = [n for n, p in method.named_parameters() if p.grad is None or not p.grad.any()]
    # a bias of keys shifts all logits of a softmax alike
    assert [n for n in without if "in_proj_bias" not in n] == []
    tower = method.space.text_tower()
    assert not any(p.requires_grad or p.grad is not None for p in tower.parameters())


def test_bmn_has_its_own_rate() -> None:
    method = make("effprompt", bmn_lr_scale=5.0)
    rest, bmn = method.parameter_groups()
    assert (rest.lr_scale, bmn.lr_scale) == (1.0, 5.0)
    assert {id(p) for p in bmn.parameters} == {id(p) for p in method.bmn.parameters()}


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [("two_stage", {"features": "own"}, "features must be the backbone's own"),
     ("two_stage", {"max_duration": 0}, "max_duration must be 1 or more"),
     ("two_stage", {"num_samples": 1, "samples_per_bin": 1}, "two or more points"),
     ("two_stage", {"scale": 0}, "scale must be positive"),
     ("two_stage", {"topk_classes": 0}, "topk_classes must be"),
     ("effprompt", {"temperature": 0}, "must be positive"),
     ("effprompt", {"num_frames": 0}, "num_frames and num_names"),
     ("effprompt", {"temporal_layers": -1}, "must be 0 or more"),
     ("effprompt", {"clip_residual": 2}, "clip_residual must lie in"),
     ("effprompt", {"temporal_layers": 0, "context_tokens": 0}, "nothing to learn"),
     ("effprompt", {"proposals": "afsd"}, "'bmn', 'file', 'gt'")],
)  # fmt: skip
def test_settings_that_make_no_sense(name: str, settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make(name, **settings)


def test_a_backbone_without_a_text_tower_is_told() -> None:
    with pytest.raises(ConfigError, match="text tower"):
        EffPrompt(EffPrompt.Config(), CosineSpace(), Widths(DIM, DIM))


# classes, learning ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_any_number_of_classes_can_be_asked_for(name: str) -> None:
    method, (rows, _) = make(name).eval(), rows_and_words()
    for k in (1, 2, 200):
        known = method.read_texts(["word"] * k, torch.randn(k, DIM))
        assert method.classify(rows, torch.tensor([[1.0, 4.0]]), known).shape == (1, k)
        assert method.classify_snippets(rows[None], known).shape == (1, k, 9)


@pytest.mark.parametrize("name", NAMES)
def test_pieces_without_any_instance_can_be_learned_from(name: str) -> None:
    batch = batch_of(World(num=1, empty=True))
    terms = make(name).loss(batch)
    sum(terms.values()).backward()
    assert all(torch.isfinite(term) for term in terms.values())


@cache
def learned(name: str) -> Proposing:
    return overfit(make(name), World(num=6), steps=120, lr=3e-3)


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_can_be_learned_by_heart_and_words_matter(name: str) -> None:
    world, method = World(num=6), learned(name)
    exchanged = (*WORDS[1:], WORDS[0])
    if name == "effprompt":  # reads names through its tower
        queries = Queries(
            exchanged, world.queries.embeddings[[1, 2, 3, 0]], world.queries.background
        )
        found = method.localize(world.snippets(0), queries)
        assert exchanged[found.labels[0]] in {WORDS[i] for i in world.truth(0).labels}
    else:
        assert score(method, world, words=exchanged) < 0.1
    assert score(method, world) > 0.9


def test_learning_more_than_one_batch_does_not_forget_unseen_words() -> None:
    """B-I reads words with nothing that it learned: new ones are as good as old ones."""
    other, told = World(num=6, seed=5), learned("two_stage").told({"proposals": "gt"})
    for i in range(other.num):
        true = other.truth(i)
        found = told.answer(other.snippets(i), other.queries, truth=true).detections.by_time()
        assert found.labels.tolist() == true.labels.tolist()


# presets -------------------------------------------------------------------------------------


def read(name: str, preset: str) -> dict:
    path = resources.files("openmoment") / "presets" / name / f"{preset}.toml"
    return tomllib.loads(path.read_text())


@pytest.mark.parametrize(("name", "preset"), [(n, p) for n in NAMES for p in presets(n)])
def test_every_preset_makes_a_method(name: str, preset: str) -> None:
    path = resources.files("openmoment") / "presets" / name / f"{preset}.toml"
    assert path.read_text().startswith(f"# openmoment train {name}")
    table = read(name, preset)
    assert {"lr", "epochs", "batch_size"} <= table.pop("training").keys()
    cls = METHODS[name]
    config, usual = from_table(cls.Config, table, where=preset), cls.Config()
    assert [n for n in table if getattr(usual, n) == getattr(config, n)] == []


@pytest.mark.parametrize("name", NAMES)
def test_paper_presets_have_the_sizes_of_bmn(name: str) -> None:
    for preset, length, longest in (("activitynet-paper", 100, 100), ("thumos14-paper", 128, 64)):
        config = from_table(
            METHODS[name].Config,
            {k: v for k, v in read(name, preset).items() if k != "training"},
            where=preset,
        )
        sizes = (config.width, config.sample_width, config.map_width, config.num_samples)
        assert sizes == (256, 512, 128, 32)
        assert (config.length, config.max_duration) == (length, longest)
    training = read("two_stage", "activitynet-paper")["training"]
    assert (training["lr"], training["epochs"], training["step_epochs"]) == (1e-3, 9, 7)
    assert issubclass(TwoStage, Proposing)
