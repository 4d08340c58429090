"""T3AL: each equation against a literal reference, every switch, and nothing left behind."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import spaces
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spaces import CosineSpace, film, words

from openmoment.config import from_table
from openmoment.encoders.base import Towers
from openmoment.errors import UnknownNameError
from openmoment.methods import load_method, preset_settings, presets
from openmoment.methods.oracles import Oracle
from openmoment.methods.t3al import (
    Adapter,
    Region,
    T3al,
    T3alConfig,
    moving_average,
    pool_size,
)
from openmoment.types import Annotations, Captioned, Queries, SnippetGrid, Snippets

D_IN, D_TXT, D = 12, 10, 8


class TwoTowers:
    """Random projections on both sides, as a trained model has them."""

    def __init__(self, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.video = rng.normal(size=(D_IN, D)).astype(np.float32)
        self.text = rng.normal(size=(D_TXT, D)).astype(np.float32)

    def logits(self, features, embeddings):
        z, e = features @ self.video, embeddings @ self.text
        z = z / np.linalg.norm(z, axis=1, keepdims=True)
        e = e / np.linalg.norm(e, axis=1, keepdims=True)
        return 10.0 * e @ z.T

    def evidence(self, features, embeddings, bank):
        return self.logits(features, embeddings)

    def project_video(self, features):
        return features @ self.video

    def project_text(self, embeddings):
        return embeddings @ self.text

    def towers(self, features, embeddings) -> Towers:
        return Towers(features, self.video, embeddings, self.text, 10.0)


def material(num: int = 120, *, seed: int = 0, fps: float = 30.0) -> tuple[Snippets, Queries]:
    """Features and texts before their projections."""
    from openmoment.types import Recipe

    rng = np.random.default_rng(seed)
    features = rng.normal(size=(num, D_IN)).astype(np.float32)
    features += np.linspace(-2, 2, num)[:, None].astype(np.float32) * rng.normal(size=D_IN)
    texts = rng.normal(size=(5, D_TXT)).astype(np.float32)
    grid = SnippetGrid.uniform(num, end_s=num / fps)
    snippets = Snippets(features.astype(np.float32), grid, Recipe("m", "0", fps, ""), num / fps)
    return snippets, Queries(("a", "b", "c"), texts[:3], texts[3:])


def adapter(config: T3alConfig | None = None, *, num: int = 120, seed: int = 0) -> Adapter:
    snippets, queries = material(num, seed=seed)
    towers = TwoTowers().towers(snippets.features, queries.embeddings)
    return Adapter(config or T3alConfig(), towers, snippets.grid, 1, None)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


# equations ---------------------------------------------------------------------------------------


def test_the_pseudo_label_is_the_text_nearest_to_the_mean() -> None:
    """Eq. 1 and 2."""
    snippets, queries = material()
    space = TwoTowers()
    method = T3al(T3alConfig(labels="single", steps=0), space)
    z = np.stack([space.video.T @ h for h in snippets.features.astype(np.float64)])
    mean = sum(z) / len(z)
    expected = [cosine(space.text.T @ e, mean) for e in queries.embeddings]
    explanation = method.explain(snippets, queries)
    np.testing.assert_allclose(explanation.likeness, expected, atol=1e-6)
    assert [a.label for a in explanation.adaptations] == [int(np.argmax(expected))]


@pytest.mark.parametrize("remove", [True, False])
def test_scores_are_cosines_with_the_label(remove: bool) -> None:
    """Eq. 4, with and without the background; the quick form gives what the plain one does."""
    a = adapter(T3alConfig(remove_background=remove))
    z = (a.frames @ a.video).detach().numpy().astype(np.float64)
    background = z.mean(axis=0) if remove else np.zeros(D)
    t = (a.texts[1] @ a.text).detach().numpy()
    expected = [cosine(row - background, t) for row in z]
    np.testing.assert_allclose(a.scores(), expected, atol=1e-5)


def test_positives_are_pulled_together() -> None:
    """Eq. 6, over pairs drawn at random: here all pairs there can be."""
    a = adapter(T3alConfig(loss="lz", num_samples=2))
    positives, negatives = np.array([3, 7]), np.array([50, 60])
    z = (a.frames @ a.video).detach().numpy().astype(np.float64)
    a.random = np.random.default_rng(5)
    loss = a.loss(positives, negatives).item()
    pairs = np.random.default_rng(5).integers(2, size=(2, 2))
    literal = np.mean([2 - 2 * cosine(z[positives[i]], z[positives[j]]) for i, j in pairs.T])
    assert loss == pytest.approx(literal, abs=1e-5)


def test_positives_are_pulled_to_the_text_as_the_code_has_it() -> None:
    a = adapter(T3alConfig(loss="lz", lz="text"))
    z = (a.frames @ a.video).detach().numpy().astype(np.float64)
    t = (a.texts[1] @ a.text).detach().numpy()
    literal = np.mean([2 - 2 * cosine(z[i], t) for i in (3, 7)])
    assert a.loss(np.array([3, 7]), np.array([50, 60])).item() == pytest.approx(literal, abs=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_scores_are_turned_to_ones_and_zeros(smoothing: float) -> None:
    """Eq. 7."""
    a = adapter(T3alConfig(loss="ls", ls_smoothing=smoothing))
    picked = np.array([3, 7, 50, 60])
    s = a.scores()[picked]
    b = np.array([1.0, 1.0, 0.0, 0.0])
    target = (1 - smoothing) * b / np.linalg.norm(b) + smoothing / 4
    literal = 2 - 2 * float(s @ target) / np.linalg.norm(s)
    assert a.loss(picked[:2], picked[2:]).item() == pytest.approx(literal, abs=1e-5)


def test_both_losses_add_up() -> None:
    """Eq. 8."""
    picked = np.array([3, 7]), np.array([50, 60])
    values = []
    for loss in ("lz", "ls", "lz+ls"):
        a = adapter(T3alConfig(loss=loss, lz="text"))
        values.append(a.loss(*picked).item())
    assert values[2] == pytest.approx(values[0] + values[1], abs=1e-6)


def test_cross_entropy_is_on_the_scaled_scores() -> None:
    a = adapter(T3alConfig(loss="bce"))
    picked = np.array([3, 7, 50, 60])
    p = 1 / (1 + np.exp(-10.0 * a.scores()[picked]))
    literal = -np.mean(np.log([p[0], p[1], 1 - p[2], 1 - p[3]]))
    assert a.loss(picked[:2], picked[2:]).item() == pytest.approx(literal, rel=1e-4)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), lz=st.sampled_from(["pairs", "text"]))
def test_the_temperature_gets_no_gradient_but_from_cross_entropy(seed: int, lz: str) -> None:
    picked = np.array([3, 7]), np.array([50, 60])
    for loss, expected in (("lz+ls", False), ("lz", False), ("ls", False), ("bce", True)):
        a = adapter(T3alConfig(loss=loss, lz=lz), seed=seed)
        a.loss(*picked).backward()
        gradient = a.log_scale.grad
        assert bool(gradient is not None and gradient.abs() > 0) == expected


def test_gradients_are_those_of_finite_differences() -> None:
    a = adapter(T3alConfig())
    a.video.data, a.text.data = a.video.data.double(), a.text.data.double()
    a.frames, a.texts = a.frames.double(), a.texts.double()
    a.background = a.background.double()
    picked = np.array([3, 7]), np.array([50, 60])

    def loss() -> torch.Tensor:
        a.random = np.random.default_rng(1)
        return a.loss(*picked)

    loss().backward()
    for parameter in (a.video, a.text):
        with torch.no_grad():
            parameter[2, 3] += 1e-6
            up = loss().item()
            parameter[2, 3] -= 2e-6
            down = loss().item()
            parameter[2, 3] += 1e-6
        assert parameter.grad[2, 3].item() == pytest.approx((up - down) / 2e-6, abs=1e-5)


# selection ---------------------------------------------------------------------------------------


def test_samples_come_from_the_ends_of_the_ranking() -> None:
    a = adapter(T3alConfig(jitter_frames=0, smooth_in_loop=False, pool_factor=5))
    scores = a.scores()
    a._select(scores)
    size = pool_size(len(scores), a.config)
    ranked = np.argsort(-scores)
    assert set(a.positives) <= set(ranked[:size])
    assert set(a.negatives) <= set(ranked[-size:])
    assert (np.diff(a.positives) > 0).all()


@pytest.mark.parametrize(
    ("num", "disjoint", "code"), [(1, 1, 1), (3, 1, 3), (400, 100, 400), (6000, 400, 400)]
)
def test_pools(num: int, disjoint: int, code: int) -> None:
    """Ours never overlap; the code's are 100 K modulo N, or everything."""
    assert pool_size(num, T3alConfig()) == disjoint
    assert pool_size(num, T3alConfig(pools="code")) == code


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=1, max_size=30), st.integers(0, 9))
def test_the_moving_average(values: list[float], window: int) -> None:
    found = moving_average(np.array(values), window)
    assert len(found) == len(values)
    for i in range(len(values)):
        around = [
            values[min(max(j, 0), len(values) - 1)]
            for j in range(i - window // 2, i - window // 2 + max(window, 1))
        ]
        assert found[i] == pytest.approx(np.mean(around), abs=1e-9)


def test_windows_follow_the_rate() -> None:
    """Lengths in frames are meant at 30 a second: half a second is half a second."""
    at_30 = T3al(T3alConfig(), TwoTowers())
    fast, slow = SnippetGrid.uniform(300, end_s=10.0), SnippetGrid.uniform(40, end_s=10.0)
    flat = np.zeros(300)
    flat[150] = 1.0
    assert (at_30._normalized(flat, fast) > 0).sum() == 20
    flat = np.zeros(40)
    flat[20] = 1.0
    assert (at_30._normalized(flat, slow) > 0).sum() == 3  # 20 frames of 30 are 2.7 of 4


# adaptation --------------------------------------------------------------------------------------


def test_adaptation_lowers_the_loss_and_moves_what_it_may() -> None:
    for vision, text in ((True, True), (True, False), (False, True)):
        config = T3alConfig(
            adapt_vision=vision, adapt_text=text, steps=30, lr=1e-3, patience=0, jitter_frames=0
        )
        a = adapter(config)
        before = a.video.detach().clone(), a.text.detach().clone()
        losses = a.run()
        assert len(losses) == 30
        assert np.mean(losses[-5:]) < np.mean(losses[:5])
        assert bool((a.video.detach() != before[0]).any()) == vision
        assert bool((a.text.detach() != before[1]).any()) == text


def test_the_switches_of_the_optimiser() -> None:
    moved = {}
    for name, changes in {
        "plain": {},
        "slow vision": {"vision_lr_scale": 1e-3},
        "decay": {"weight_decay": 10.0},
    }.items():
        a = adapter(T3alConfig(steps=5, patience=0, **changes))
        before = a.video.detach().clone()
        a.run()
        moved[name] = float((a.video.detach() - before).abs().max())
    assert moved["slow vision"] < moved["plain"] / 100
    assert moved["decay"] > 0


def test_patience_stops_early() -> None:
    assert len(adapter(T3alConfig(steps=200, lr=1.0, patience=3)).run()) < 200
    assert len(adapter(T3alConfig(steps=20, lr=1.0, patience=0)).run()) == 20


def test_lengths_that_lag_change_nothing_that_is_seen() -> None:
    """Refreshing |h W| at every tenth step gives the segments of refreshing at every step."""
    snippets, queries = material(900, fps=30.0)
    found = [
        T3al(T3alConfig(labels="single", norms_every=every), TwoTowers()).localize(
            snippets, queries
        )
        for every in (1, 10)
    ]
    np.testing.assert_array_equal(found[0].segments, found[1].segments)
    np.testing.assert_allclose(found[0].scores, found[1].scores, atol=1e-4)


# one video after the other -----------------------------------------------------------------------


def test_nothing_is_left_behind() -> None:
    """Weights are bit-identical afterwards, and the order of videos does not matter."""
    space = TwoTowers()
    before = space.video.copy(), space.text.copy()
    method = T3al(T3alConfig(min_presence=0.0), space)
    films = [material(90, seed=seed) for seed in range(3)]
    originals = [snippets.features.copy() for snippets, _ in films]
    forwards = [method.localize(*film) for film in films]
    backwards = [method.localize(*film) for film in films[::-1]][::-1]
    alone = [T3al(T3alConfig(min_presence=0.0), TwoTowers()).localize(*film) for film in films]
    for a, b, c in zip(forwards, backwards, alone, strict=True):
        for other in (b, c):
            np.testing.assert_array_equal(a.segments, other.segments)
            np.testing.assert_array_equal(a.scores, other.scores)
    np.testing.assert_array_equal(space.video, before[0])
    np.testing.assert_array_equal(space.text, before[1])
    for (snippets, _), original in zip(films, originals, strict=True):
        np.testing.assert_array_equal(snippets.features, original)


@pytest.mark.parametrize("num", [1, 2, 3])
@pytest.mark.parametrize("labels", ["single", "multi"])
def test_very_short_videos(num: int, labels: str) -> None:
    snippets, queries = material(num)
    found = T3al(T3alConfig(labels=labels, min_presence=0.0), TwoTowers()).localize(
        snippets, queries
    )
    assert len(found) >= 1
    assert np.isfinite(found.scores).all()
    assert found.segments.max() <= snippets.duration_s + 1e-9


def test_it_finds_what_is_shown_and_not_what_is_not() -> None:
    queries = words(4)
    snippets = film(queries, [(None, 24), (0, 16), (None, 24), (2, 16), (None, 24)], noise=0.05)
    space = CosineSpace()
    found = T3al(T3alConfig(num_samples=4), space).localize(snippets, queries)
    assert set(found.names) - set(found.not_found) >= {"word 0", "word 2"}
    for label, start_s in ((0, 6.0), (2, 16.0)):
        best = found[found.labels == label][0]
        np.testing.assert_allclose(best.segments[0], [start_s, start_s + 4.0], atol=1.1)
    single = T3al(T3alConfig(labels="single"), space).localize(snippets, queries)
    assert len(set(single.labels.tolist())) == 1


# labels, suppression, oracles ---------------------------------------------------------------------


def test_regions_may_have_their_own_label() -> None:
    queries = words(3, num_background=0)
    snippets = film(queries, [(0, 30), (None, 40), (1, 12), (None, 40)], noise=0.02)
    space, base = CosineSpace(), {"labels": "single", "gamma": "fixed", "gamma_value": 0.05}
    base |= {"max_gap_frames": 0, "steps": 0, "remove_background": False, "smooth_frames": 1}
    pseudo = T3al(T3alConfig(**base), space).localize(snippets, queries)
    region = T3al(T3alConfig(**base, region_label="region"), space).localize(snippets, queries)
    assert set(pseudo.labels.tolist()) == {0}
    np.testing.assert_array_equal(
        np.sort(pseudo.segments, axis=0), np.sort(region.segments, axis=0)
    )
    assert 0 in region.labels


def a_region(start_s: float, score: float) -> Region:
    return Region((start_s, start_s + 1.0), 0, score, 1.0, True)


def captioned(vectors: list[list[float]]) -> Snippets:
    snippets, _ = material(30)
    times = np.arange(len(vectors)) + 0.5
    captions = Captioned(times, np.array(vectors, dtype=float))
    return dataclasses.replace(snippets, captions=captions)


def test_regions_that_are_told_differently_go() -> None:
    """Eq. 11, with the sum as a share."""
    method = T3al(T3alConfig(), TwoTowers())
    regions = [a_region(float(i), 0.1 * i) for i in range(4)]
    like, other = [1.0, 0.0], [0.0, 1.0]
    kept = method._suppress(regions, np.zeros((4, 2), int), captioned([like, like, like, other]))
    assert [region.is_kept for region in kept] == [True, True, True, False]
    assert [region.support for region in kept] == [0.75, 0.75, 0.75, 0.25]
    off = T3al(T3alConfig(suppression=False), TwoTowers())
    untouched = off._suppress(regions, np.zeros((4, 2), int), captioned([like, like, like, other]))
    assert all(region.is_kept for region in untouched)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.floats(-1, 1), min_size=3, max_size=3), min_size=1, max_size=6),
    st.floats(0, 1),
    st.floats(-1, 1),
)
def test_suppression_never_empties(vectors: list, alpha: float, beta: float) -> None:
    method = T3al(T3alConfig(alpha=alpha, beta=beta), TwoTowers())
    vectors = [v if np.linalg.norm(v) > 1e-3 else [1.0, 0.0, 0.0] for v in vectors]
    regions = [a_region(float(i), 0.1 * i) for i in range(len(vectors) + 1)]  # the last has none
    kept = method._suppress(regions, np.zeros((len(regions), 2), int), captioned(vectors))
    assert any(region.is_kept for region in kept)
    assert kept[-1].is_kept
    assert kept == method._suppress(regions, np.zeros((len(regions), 2), int), captioned(vectors))


def test_oracles_know_what_they_are_told() -> None:
    queries = words(3)
    snippets = film(queries, [(None, 20), (1, 12), (None, 20), (1, 12), (None, 20)], noise=0.3)
    truth = Annotations(np.array([[5.0, 8.0], [13.0, 16.0]]), np.array([1, 1]), queries.names, 21.0)
    method = T3al(T3alConfig(labels="single", max_gap_frames=0), CosineSpace())
    by_class = method.localize(snippets, queries, oracle=Oracle(truth, knows_class=True))
    assert set(by_class.labels.tolist()) == {1}
    by_count = method.localize(snippets, queries, oracle=Oracle(truth, knows_count=True))
    assert len(by_count) <= 2
    explained = method.explain(snippets, queries, oracle=Oracle(truth, knows_selection=True))
    centres = snippets.grid.centres_s
    for a in explained.adaptations:
        inside = [any(s <= centres[i] < e for s, e in truth.segments) for i in a.positives]
        outside = [any(s <= centres[i] < e for s, e in truth.segments) for i in a.negatives]
        assert all(inside) and not any(outside)


# presets -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", presets("t3al"))
def test_every_preset_can_be_used(name: str) -> None:
    config = from_table(T3alConfig, preset_settings("t3al", name), where=name)
    assert config.labels == "single"
    snippets, queries = material(60)
    method = load_method("t3al", TwoTowers(), preset_settings("t3al", name))
    assert len(method.localize(snippets, queries))


def test_presets_say_what_the_paper_says() -> None:
    thumos = preset_settings("t3al", "thumos14-paper")
    activitynet = preset_settings("t3al", "activitynet-paper")
    assert (thumos["steps"], activitynet["steps"]) == (50, 25)
    assert activitynet["num_samples"] == 20
    assert T3alConfig().num_samples == 4
    assert preset_settings("t3al", "thumos14-t0")["steps"] == 0
    with pytest.raises(UnknownNameError, match="Did you mean 'thumos14-paper'"):
        preset_settings("t3al", "thumos14-papr")
    assert presets("similarity") == ()


@pytest.mark.parametrize(
    ("name", "value"), [("steps", -1), ("num_samples", 0), ("norms_every", 0), ("loss", "l2")]
)
def test_settings_that_make_no_sense(name: str, value: object) -> None:
    from openmoment.errors import ConfigError

    with pytest.raises(ConfigError, match=name):
        load_method("t3al", TwoTowers(), {name: value})


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_never_more_than_two_copies_of_the_features() -> None:
    """The one that came in, and one that may be changed: measured in a process of its own."""
    code = """
import numpy as np, re, sys
sys.path[:0] = TESTS
from pathlib import Path
from test_t3al import TwoTowers, D_IN
from openmoment.methods.t3al import T3al, T3alConfig
from openmoment.types import Queries, Recipe, SnippetGrid, Snippets

class Wide(TwoTowers):
    def __init__(self):
        super().__init__()
        self.video = np.random.default_rng(0).normal(size=(512, 512)).astype(np.float32)
        self.text = np.random.default_rng(1).normal(size=(512, 512)).astype(np.float32)

def peak():
    return int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

def ask(num):
    rng = np.random.default_rng(2)
    features = rng.standard_normal((num, 512), dtype=np.float32)
    grid = SnippetGrid.uniform(num, end_s=num / 30)
    snippets = Snippets(features, grid, Recipe("m", "0", 30.0, ""), num / 30)
    text = rng.standard_normal((1, 512), dtype=np.float32)
    queries = Queries(("a",), text, np.zeros((0, 512), np.float32))
    T3al(T3alConfig(labels="single", steps=5), Wide()).localize(snippets, queries)

ask(4000)
before = peak()
ask(80000)
print((peak() - before) / (80000 * 512 * 4 / 2**20))
"""
    here = [str(Path(file).parent) for file in (__file__, spaces.__file__)]
    code = code.replace("TESTS", repr(here))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 2.3
