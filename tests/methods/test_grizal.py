"""GRIZAL: each part against a literal form, each switch, and whether it learns."""

import math
import tomllib
from collections.abc import Sequence
from dataclasses import replace
from importlib import resources

import literal
import numpy as np
import pytest
import torch
from literal import part
from spaces import DIM, CosineSpace, words
from torch import nn
from trained_world import WORDS, World, batch_of, overfit

from openmoment.blocks.batch import Batch, instances_on
from openmoment.config import from_table
from openmoment.datasets.made_up.world import FOOTAGE, SyntheticWorld, list_videos
from openmoment.datasets.made_up.world import World as Hardness
from openmoment.encoders.joint import Pairing
from openmoment.errors import ConfigError, FeatureError
from openmoment.methods import presets
from openmoment.methods.grizal import (
    Asked,
    FrequencyMlp,
    FTransformer,
    Grizal,
    GrizalConfig,
    RegionDecoding,
    VleBlock,
    contrast,
    decode_regions,
    pairs_of,
    soft_tiou_loss,
)
from openmoment.methods.trained import Widths
from openmoment.types import Pairs, Queries, Recipe, SnippetGrid, Snippets

K, TOKENS, JOINT = 3, 4, Widths(DIM, DIM)
SMALL = {
    "k": K,
    "width": 16,
    "heads": 2,
    "inner": 24,
    "vle_layers": 2,
    "ofe_layers": 1,
    "f_layers": 1,
    "length": 32,
    "dropout": 0.0,
    "min_score": 0.0,
}
NO_FLOW, NO_FOURIER = {"use_flow": False}, {"use_fourier": False}
OWN = {"features": "own", "similarity_cue": False}


def make(seed: int = 0, *, widths: Widths = JOINT, **settings) -> Grizal:
    config = from_table(GrizalConfig, SMALL | settings, where="test")
    torch.manual_seed(seed)
    return Grizal(config, CosineSpace(), widths)


def jolted(module: nn.Module, size: float = 0.1) -> nn.Module:
    """With weights that are far from a fresh network's, so that every part is seen to count."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += size * torch.randn(parameter.shape, generator=generator)
    return module.eval()


def noise(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def with_pairs(queries: Queries, *, k: int = K, lengths: Sequence[int] = (4, 2, 3)) -> Queries:
    """With pairs of unlike lengths that show what the words mean; the second has no picture."""
    rng = np.random.default_rng(9)
    tokens = np.zeros((len(queries), k, max(lengths), DIM), np.float32)
    points = np.zeros((len(queries), 2, DIM), np.float32)
    for i, word in enumerate(queries.embeddings):
        for pair in range(k):
            num = lengths[pair % len(lengths)]
            tokens[i, pair, :num] = word + rng.normal(size=(num, DIM)) / 30
        points[i, 0] = word
        points[i, 1] = 0 if i == 1 else unit(word + rng.normal(size=DIM) / 30)
    return replace(queries, pairs=Pairs(tokens, points))


class Moving(World):
    """Also with a motion stream, and pairs for its words."""

    def __init__(self, num: int = 4, **options) -> None:
        super().__init__(num, **options)
        self.queries = with_pairs(self.queries)

    def snippets(self, i: int) -> Snippets:
        seen = super().snippets(i)
        rng = np.random.default_rng([self.seed, i, 2])
        rows = rng.normal(size=(len(seen), self.width)).astype(np.float32)
        return replace(seen, flow=Snippets(rows, seen.grid, seen.recipe, seen.duration_s))


# the VLE block -------------------------------------------------------------------------------


def mlp(x: np.ndarray, w: literal.Weights) -> np.ndarray:
    return literal.linear(literal.gelu(literal.linear(x, part(w, "0"))), part(w, "3"))


def as_ones(row: np.ndarray) -> np.ndarray:
    """Of the length of a vector of ones."""
    return row / np.linalg.norm(row) * math.sqrt(len(row))


def transformer(x: np.ndarray, w: literal.Weights, *, heads: int) -> np.ndarray:
    """Blocks that normalise first, and a last normalisation."""
    num = len({name.split(".")[1] for name in w if name.startswith("layers.")})
    for layer in (part(w, f"layers.{i}") for i in range(num)):
        normed = literal.layer_norm(x, part(layer, "norm1"))
        x = x + literal.attention(normed, normed, part(layer, "self_attn"), heads=heads)
        inner = literal.linear(literal.layer_norm(x, part(layer, "norm2")), part(layer, "linear1"))
        x = x + literal.linear(literal.gelu(inner), part(layer, "linear2"))
    return literal.layer_norm(x, part(w, "norm"))


def literal_vle(pairs: Sequence[np.ndarray], w: literal.Weights, take: str) -> np.ndarray:
    """Z_CLS of one label: its pairs one behind the other, and no padding at all."""
    rows = [
        as_ones(token) + w["places"][j] + w["pairs"][i, 0]
        for i, pair in enumerate(pairs)
        for j, token in enumerate(pair)
    ]
    x = mlp(np.stack(rows), part(w, "enter"))
    if take == "learned":
        x = np.concatenate([w["cls"][0], x])
    z = transformer(x, part(w, "blocks"), heads=2)
    z = z.mean(axis=0) if take == "mean" else z[0]
    return z @ w["leave.weight"].T + w["leave.bias"] if "leave.weight" in w else z


def padded(pairs: Sequence[torch.Tensor], s: int) -> torch.Tensor:
    return torch.stack([nn.functional.pad(pair, (0, 0, 0, s - len(pair))) for pair in pairs])


@pytest.mark.parametrize("take", ["learned", "first_pair", "mean"])
@pytest.mark.parametrize("more", [{}, {"vle_hidden": 12}])
def test_the_vle_block_reads_all_pairs_and_no_padding(take: str, more: dict) -> None:
    method = make(widths=Widths(10, 10), similarity_cue=False, cls=take, **more)
    block = jolted(method.vle)
    lengths = [(4, 2, 3), (1, 1, 1), (3, 3, 2)]
    labels = [
        [3 * noise(n, 10, seed=10 * i + j) for j, n in enumerate(row)]
        for i, row in enumerate(lengths)
    ]
    tokens = torch.stack([padded(pairs, 6) for pairs in labels])
    with torch.no_grad():
        found = block(tokens)
    for z, pairs in zip(found, labels, strict=True):
        expected = literal_vle([p.double().numpy() for p in pairs], literal.weights_of(block), take)
        np.testing.assert_allclose(z, expected, atol=1e-4)


@pytest.mark.parametrize("take", ["learned", "first_pair", "mean"])
def test_padding_and_other_labels_change_nothing(take: str) -> None:
    """A label without pictures has fewer tokens than its neighbours."""
    block = jolted(make(cls=take).vle)
    assert isinstance(block, VleBlock)
    words_alone = [noise(2, DIM, seed=i) for i in range(K)]
    shown = noise(K, 7, DIM, seed=9)
    with torch.no_grad():
        alone = block(padded(words_alone, 2)[None])[0]
        among = block(torch.stack([shown, padded(words_alone, 7)]))
    torch.testing.assert_close(among[1], alone, atol=1e-5, rtol=0)
    assert (among[0] - alone).abs().max() > 1e-2


def test_the_place_in_a_pair_and_the_pair_count() -> None:
    block, tokens = jolted(make(cls="mean").vle), noise(1, K, TOKENS, DIM)
    with torch.no_grad():
        usual = block(tokens)
        for moved in (tokens[:, [1, 0, 2]], tokens[:, :, [1, 0, 2, 3]]):
            assert (block(moved) - usual).abs().max() > 1e-3
        torch.testing.assert_close(block(7 * tokens), usual)  # but not how long a token is


# the F-Transformer -----------------------------------------------------------------------------


def literal_fft(x: np.ndarray, w: literal.Weights, axes: str) -> np.ndarray:
    """iFFT(MLP(FFT(x))) by matrices of roots of one, orthonormal."""
    t, d = x.shape
    to = np.exp(-2j * np.pi * np.outer(np.arange(t // 2 + 1), np.arange(t)) / t) / math.sqrt(t)
    across = np.exp(-2j * np.pi * np.outer(np.arange(d), np.arange(d)) / d) / math.sqrt(d)
    found = to @ x
    if axes == "time+channel":
        found = found @ across
    parts = mlp(np.concatenate([found.real, found.imag], axis=1), part(w, "mlp"))
    half = parts[:, :d] + 1j * parts[:, d:]
    if axes == "time+channel":
        half = half @ across.conj()
    full = np.zeros((t, d), complex)
    for f in range(t // 2 + 1):
        if f in (0, t - f):
            full[f] = half[f].real  # what is its own mirror image
        else:
            full[f], full[t - f] = half[f], half[f].conj()
    back = np.exp(2j * np.pi * np.outer(np.arange(t), np.arange(t)) / t) / math.sqrt(t) @ full
    assert np.abs(back.imag).max() < 1e-9
    return back.real


@pytest.mark.parametrize("axes", ["time", "time+channel"])
@pytest.mark.parametrize("t", [1, 2, 7, 8])
def test_the_frequency_branch_is_a_fourier_transform_by_matrices(axes: str, t: int) -> None:
    torch.manual_seed(0)
    branch, x = jolted(FrequencyMlp(6, axes)), noise(2, t, 6)
    with torch.no_grad():
        found = branch(x)
    assert found.dtype == torch.float32 and found.shape == x.shape
    for row, expected in zip(found, x.double().numpy(), strict=True):
        expected = literal_fft(expected, literal.weights_of(branch), axes)
        np.testing.assert_allclose(row, expected, atol=1e-5)


@pytest.mark.parametrize("axes", ["time", "time+channel"])
@pytest.mark.parametrize("t", [1, 7, 8])
def test_without_an_mlp_the_frequencies_are_put_together_again(axes: str, t: int) -> None:
    branch, x = FrequencyMlp(6, axes), noise(2, t, 6)
    branch.mlp = nn.Identity()
    torch.testing.assert_close(branch(x), x, atol=1e-5, rtol=0)


def test_a_branch_of_zeros_leaves_the_normalised_frames() -> None:
    block, b = jolted(make().f_transformers[0]), noise(2, 7, 16)
    assert isinstance(block, FTransformer)
    with torch.no_grad():
        for parameter in block.fourier.parameters():
            parameter.zero_()
        seen: list[torch.Tensor] = []
        block.flow.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        block(b, noise(2, 7, 16))
        torch.testing.assert_close(seen[0], block.norms[1](b))


def literal_f_transformer(
    rgb: np.ndarray, z: np.ndarray, optical: np.ndarray | None, w: literal.Weights, axes: str
) -> np.ndarray:
    """Appendix S.1, line by line; ``z`` is all that is added to a."""

    def attend(queries: np.ndarray, memory: np.ndarray, name: str) -> np.ndarray:
        return literal.attention(queries, memory, part(w, f"{name}.mix"), heads=2)

    def norm(x: np.ndarray, i: int) -> np.ndarray:
        return literal.layer_norm(x, part(w, f"norms.{i}"))

    a = norm(rgb + attend(rgb, rgb, "frames"), 0)
    b = a + z
    has_fourier = any(name.startswith("fourier") for name in w)
    c = norm(b + literal_fft(b, part(w, "fourier"), axes), 1) if has_fourier else b
    d = norm(c if optical is None else c + attend(c, optical, "flow"), 2)
    e = norm(d + attend(d, d, "again"), 3)
    return norm(e + mlp(e, part(w, "mlp")), 4)


PARTS = {
    "all": {},
    "no flow": NO_FLOW,
    "no fourier": NO_FOURIER,
    "neither": NO_FLOW | NO_FOURIER,
    "both axes": {"fft_axes": "time+channel"},
}


@pytest.mark.parametrize("name", PARTS)
def test_the_f_transformer_is_what_the_appendix_says(name: str) -> None:
    method = make(**PARTS[name])
    block, config = jolted(method.f_transformers[0]), method.config
    rgb, z, optical = noise(2, 7, 16), noise(2, 1, 16, seed=2), noise(2, 7, 16, seed=3)
    with torch.no_grad():
        found = block(block.look(rgb) + z, optical if config.use_flow else None)
    rows = (x.double().numpy() for x in (found, rgb, z, optical))
    for got, frames, label, flow in zip(*rows, strict=True):
        flow = flow if config.use_flow else None
        w = literal.weights_of(block)
        expected = literal_f_transformer(frames, label, flow, w, config.fft_axes)
        np.testing.assert_allclose(got, expected, atol=1e-4)


# the whole network -------------------------------------------------------------------------------


def positions(t: int, d: int) -> np.ndarray:
    found = np.zeros((t, d))
    for i in range(t):
        for j in range(d):
            angle = i / 10_000 ** (2 * (j // 2) / d)
            found[i, j] = math.sin(angle) if j % 2 == 0 else math.cos(angle)
    return found


def literal_output(method: Grizal, features: np.ndarray, pairs: np.ndarray, points: np.ndarray):
    """Z_ft, the logit of every frame, and Z_CLS, of one piece and one label."""
    w, config = literal.weights_of(method), method.config
    rgb, flow = features[:, :DIM], features[:, DIM:]
    places = positions(len(features), config.width) if config.positions else 0.0
    real = [pair[(pair != 0).any(axis=1)] for pair in pairs]
    z = literal_vle(real, part(w, "vle"), config.cls)
    optical = None
    if config.use_flow:
        rows = np.stack([as_ones(row) for row in flow])
        optical = transformer(mlp(rows, part(w, "enter_flow")) + places, part(w, "ofe"), heads=2)
    x = mlp(np.stack([as_ones(row) for row in rgb]), part(w, "enter_rgb")) + places
    told = z
    if config.similarity_cue:
        alike = 10 * unit(rgb) @ points.T
        alike = np.concatenate([alike, alike - alike.mean(axis=0)], axis=1)
        told = z + alike @ w["cue.weight"].T
    for i in range(config.f_layers):
        own = part(w, f"f_transformers.{i}")
        x = literal_f_transformer(x, told, optical, own, config.fft_axes)
    if config.losses == "self_supervised":
        return x, np.array([10 * unit(row) @ unit(z) for row in x]), z
    return x, mlp(x, part(w, "head"))[:, 0], z


NETWORKS = {
    **PARTS,
    "paper": {"similarity_cue": False},
    "no positions": {"positions": False},
    "two blocks": {"f_layers": 2},
    "no head": {"losses": "self_supervised"},
}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_network_is_what_the_sections_say(name: str) -> None:
    method, world = jolted(make(**NETWORKS[name])), Moving(num=1)
    features = method.piece(world.snippets(0), world.grid)[:9]
    assert features.shape == (9, DIM * (1 + method.config.use_flow))
    texts = method.to_texts(world.queries)
    with torch.no_grad():
        known = method.read_texts(world.queries.names, torch.from_numpy(texts))
        frames = method.read_frames(torch.from_numpy(features)[None])
        out = method.score(frames.some(torch.zeros(len(WORDS), dtype=torch.long)), known)
    tokens, points = world.queries.pairs
    for i in range(len(WORDS)):
        z_ft, logits, z = literal_output(
            method, features.astype(float), tokens[i].astype(float), points[i].astype(float)
        )
        np.testing.assert_allclose(known.z[i], z, atol=1e-4)
        np.testing.assert_allclose(out.z_ft[i], z_ft, atol=3e-4)
        np.testing.assert_allclose(out.logits[i], logits, atol=1e-3)


# what it is trained on, and the losses -----------------------------------------------------------


def batch_with(labels: Sequence[Sequence[int]], *, k: int = 5, t: int = 8) -> Batch:
    """A piece for each list of labels, with an instance of each of them."""
    grid, rng = SnippetGrid.uniform(t, end_s=float(t)), np.random.default_rng(3)
    instances = []
    for own in labels:
        starts = rng.integers(0, t - 3, len(own))
        segments = np.stack([starts, starts + rng.integers(1, 4, len(own))], axis=1).astype(float)
        instances.append(instances_on(grid, segments, np.array(own, dtype=np.int64)))
    names = tuple(f"label {i}" for i in range(k))
    videos = ("v",) * len(labels)
    return Batch(noise(len(labels), t, DIM), noise(k, DIM), names, tuple(instances), videos)


@pytest.mark.parametrize(("ratio", "num"), [(0.0, [0, 0, 0]), (1.0, [2, 1, 1]), (3.0, [3, 3, 3])])
def test_pairs_are_every_piece_with_each_of_its_labels_and_absent_ones(
    ratio: float, num: list[int]
) -> None:
    batch = batch_with([[3, 1, 3], [], [0]])
    torch.manual_seed(0)
    asked = pairs_of(batch, ratio)
    found: dict[tuple[int, int], torch.Tensor] = {}
    for piece, label, truth in zip(*rows_of(asked), strict=True):
        assert (piece, label) not in found
        found[piece, label] = truth
    for piece, own in enumerate([{1, 3}, set(), {0}]):
        assert own <= {label for i, label in found if i == piece}
        absent = [label for i, label in found if i == piece and label not in own]
        assert len(absent) == min(num[piece], 5 - len(own))
        for label in range(5):
            if (piece, label) in found:
                masks, labels, _ = batch.instances[piece]
                union = [
                    any(m[t] for m, x in zip(masks, labels, strict=True) if x == label)
                    for t in range(8)
                ]
                assert found[piece, label].tolist() == [float(shown) for shown in union]
    assert asked.is_present.tolist() == [bool(row.sum() > 0) for row in asked.truth]


def test_absent_labels_are_drawn_anew() -> None:
    batch = batch_with([[0]])
    drawn = {int(pairs_of(batch, 1.0).labels[1]) for _ in range(60)}
    assert drawn == {1, 2, 3, 4}


def rows_of(asked: Asked) -> tuple[list[int], list[int], torch.Tensor]:
    """Each pair's piece, label and truth."""
    return asked.pieces.tolist(), asked.labels.tolist(), asked.truth


def test_soft_overlap_over_union() -> None:
    p, truth = noise(4, 6).sigmoid(), (noise(4, 6, seed=2) > 0).float()
    for row in range(4):
        both = sum(p[row, t] * truth[row, t] for t in range(6))
        either = sum(p[row, t] + truth[row, t] - p[row, t] * truth[row, t] for t in range(6))
        torch.testing.assert_close(soft_tiou_loss(p, truth)[row], 1 - both / either)
    assert soft_tiou_loss(truth, truth).abs().max() < 1e-6


def test_pairs_of_the_same_label_do_not_push_each_other_away() -> None:
    z, v, labels = noise(5, 6), noise(5, 6, seed=2), [0, 1, 0, 2, 1]

    def e(i: int, j: int) -> float:
        return math.exp(float(unit(z[i].numpy()) @ unit(v[j].numpy())) / 0.07)

    total = 0.0
    for i in range(5):
        others = [j for j in range(5) if labels[j] != labels[i]]
        total -= math.log(e(i, i) / (e(i, i) + sum(e(i, j) for j in others)))
        total -= math.log(e(i, i) / (e(i, i) + sum(e(j, i) for j in others)))
    found = contrast(z, v, torch.tensor(labels))
    assert found.item() == pytest.approx(total / 10, rel=1e-4)
    swapped = contrast(v, z, torch.tensor(labels))
    torch.testing.assert_close(found, swapped)
    assert contrast(z[:1], v[:1], torch.tensor([0])).item() == pytest.approx(0, abs=1e-6)
    assert contrast(z[:0], v[:0], torch.tensor([], dtype=torch.long)).item() == 0


@pytest.mark.parametrize("empty", [False, True])
def test_the_losses_are_what_the_section_says(empty: bool) -> None:
    method, world = jolted(make(self_supervised_weight=0.3)), Moving(num=5, empty=empty)
    batch = batch_of(world, method)
    torch.manual_seed(1)
    terms = {name: value.item() for name, value in method.loss(batch).items()}
    torch.manual_seed(1)
    asked = pairs_of(batch, 1.0)
    bce, tiou, cos, shown = [], [], [], []
    tokens, points = world.queries.pairs
    for piece, label, truth in zip(*rows_of(asked), strict=True):
        f = truth.double().numpy()
        z_ft, logits, z = literal_output(
            method, batch.features[piece].double().numpy(), tokens[label].astype(float),
            points[label].astype(float),
        )  # fmt: skip
        p = literal.sigmoid(logits)
        bce.append(-np.mean([math.log(a if on else 1 - a) for a, on in zip(p, f, strict=True)]))
        if not f.any():
            continue  # an absent label counts in L_BCE alone
        v = np.mean([z_ft[t] for t in range(len(f)) if f[t]], axis=0)
        tiou.append(1 - sum(p * f) / sum(p + f - p * f))
        cos.append(1 - unit(z) @ unit(v))
        shown.append((z, v, label))
    z, v, labels = (torch.tensor(np.array(x)) for x in zip(*shown, strict=True))
    expected = {"bce": np.mean(bce), "tiou": np.mean(tiou), "cos": 0.3 * np.mean(cos)}
    expected["nce"] = 0.3 * contrast(z, v, labels).item()
    assert len(bce) > len(tiou) and terms == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("ratio", [0.0, 1.0])
def test_where_nothing_is_annotated_there_are_absent_labels(ratio: float) -> None:
    """Even where they are not asked for: a step has to learn from something."""
    world, method = Moving(num=1, empty=True), make(negative_ratio=ratio)
    terms = method.loss(batch_of(world, method))
    sum(terms.values()).backward()
    assert terms["bce"] > 0 and terms["tiou"] == terms["cos"] == terms["nce"] == 0
    assert all(torch.isfinite(p.grad).all() for p in method.parameters() if p.grad is not None)


# decoding ----------------------------------------------------------------------------------------


def literal_regions(p: np.ndarray, prior: np.ndarray, how: RegionDecoding) -> dict:
    found = {}
    for label, curve in enumerate(p):
        for theta in how.thresholds:
            first = None
            for i, value in enumerate([*curve, -1.0]):
                if value > theta and first is None:
                    first = i
                elif value <= theta and first is not None:
                    flank = math.ceil(how.flank * (i - first))
                    sides = [*curve[max(0, first - flank) : first], *curve[i : i + flank]]
                    score = np.mean(curve[first:i]) - (np.mean(sides) if sides else 0)
                    found[label, first, i] = max(0, score * prior[label])
                    first = None
    return found


@pytest.mark.parametrize("flank", [0.0, 0.25, 1.0])
@pytest.mark.parametrize("t", [1, 9, 40])
def test_regions_stand_out_from_their_flanks(flank: float, t: int) -> None:
    rng = np.random.default_rng(t)
    p, prior = literal.sigmoid(2 * rng.normal(size=(3, t))), np.array([0.2, 0.0, 0.8])
    p[0, :2] = p[2] = 0.95  # that touch the ends, and one that has no flanks
    how = RegionDecoding(flank=flank)
    found = decode_regions(p, prior, how)
    expected = literal_regions(p, prior, how)
    keys = [
        (label, *run) for label, run in zip(found.labels.tolist(), found.runs.tolist(), strict=True)
    ]
    assert len(set(keys)) == len(keys) and set(keys) == set(expected)
    np.testing.assert_allclose(found.scores, [expected[key] for key in keys], atol=1e-12)


def test_a_label_that_is_nowhere_has_no_region() -> None:
    found = decode_regions(np.full((2, 5), 0.05), np.ones(2), RegionDecoding())
    assert (found.runs.shape, found.labels.shape, found.scores.shape) == ((0, 2), (0,), (0,))


@pytest.mark.parametrize("kind", ["clip", "shown", "none"])
def test_scores_are_weighted_by_the_prior_of_their_label(kind: str) -> None:
    method, world = jolted(make(label_prior=kind, prior_scale=7.0)), Moving(num=1)
    features = method.piece(world.snippets(0), world.grid)
    texts = torch.from_numpy(method.to_texts(world.queries))
    with torch.no_grad():
        known = method.read_texts(WORDS, texts)
        p, found = next(method.candidates(torch.from_numpy(features)[None], known))
    points = world.queries.pairs.points.astype(float)
    mean = unit(unit(features[:, :DIM].astype(float)).mean(axis=0))
    shown = {"clip": points[:, 0], "shown": points.sum(axis=1), "none": points[:, 0]}[kind]
    prior = literal.softmax(7 * unit(shown) @ mean) if kind != "none" else np.ones(len(WORDS))
    expected = decode_regions(p, prior, method.config)
    np.testing.assert_array_equal(found.runs, expected.runs)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)


@pytest.mark.parametrize("settings", [{"task": "mr"}, OWN])
def test_there_is_no_prior_of_sentences_nor_without_a_joint_space(settings: dict) -> None:
    """Sentences do not exclude each other; other features cannot be compared with words."""
    world, found = Moving(num=1), []
    for prior in ("none", "clip"):
        method = jolted(make(label_prior=prior, **settings))
        found.append(method.localize(world.snippets(0), world.queries).scores)
    np.testing.assert_array_equal(*found)


# what goes in ------------------------------------------------------------------------------------


def test_queries_without_pairs_are_their_own_only_token() -> None:
    method, queries = make(), words(2)
    texts = method.to_texts(queries)
    assert texts.shape == (2, 1 + K, 2, DIM)
    np.testing.assert_allclose(texts[:, 0, 0], queries.embeddings, atol=1e-6)
    np.testing.assert_array_equal(texts[:, 0, 1], 0)
    for pair in range(1, 1 + K):
        np.testing.assert_allclose(unit(texts[:, pair, 0]), queries.embeddings, atol=1e-6)
        np.testing.assert_array_equal(texts[:, pair, 1], 0)
    longer = replace(queries, embeddings=3 * queries.embeddings)
    np.testing.assert_allclose(method.to_texts(longer)[:, 0], texts[:, 0], atol=1e-6)


def test_what_is_missing_is_one_line() -> None:
    world, method = Moving(num=1), make(joint_encoder="image")
    with pytest.raises(FeatureError, match=r"sees optical flow.*--flow dis.*use_flow=false"):
        method.localize(replace(world.snippets(0), flow=None), world.queries)
    tokens, points = world.queries.pairs
    bare = replace(
        world.queries, pairs=Pairs(tokens * [[[[1]]], [[[0]]], [[[1]]], [[[1]]]], points)
    )
    with pytest.raises(FeatureError, match="image has nothing to read of 'word 1'.*--priors"):
        method.localize(world.snippets(0), bare)
    for pairs in (np.ones((4, K, 513, DIM)), np.ones((4, K, 2, 7))):
        strange = replace(world.queries, pairs=Pairs(pairs.astype(np.float32), points))
        told = f"{pairs.shape[2]} tokens of width {pairs.shape[3]}, this model reads 512 of 64"
        with pytest.raises(FeatureError, match=told):
            method.localize(world.snippets(0), strange)
    narrow = replace(world.snippets(0), flow=World(1, width=20).snippets(0))
    with pytest.raises(FeatureError, match="20 wide, this model takes 64"):
        method.localize(narrow, world.queries)


def test_flow_of_another_rate_is_brought_to_the_frames() -> None:
    world, method = Moving(num=1), make()
    seen = world.snippets(0)
    slow = SnippetGrid.uniform(8, end_s=seen.duration_s)
    ramp = np.outer(slow.centres_s, np.ones(DIM)).astype(np.float32)
    flow = Snippets(ramp, slow, seen.recipe, seen.duration_s)
    moving = method.piece(replace(seen, flow=flow), world.grid)[:, DIM:]
    inside = np.clip(world.grid.centres_s, slow.centres_s[0], slow.centres_s[-1])
    np.testing.assert_allclose(moving, np.outer(inside, np.ones(DIM)), atol=1e-5)


def test_features_of_another_encoder() -> None:
    method = make(widths=Widths(20, DIM), **OWN)
    world = Moving(num=2, width=20)
    sum(method.loss(batch_of(world, method)).values()).backward()
    assert len(method.localize(world.snippets(0), world.queries))


# switches ----------------------------------------------------------------------------------------

F = "f_transformers.0"
GRAPH: dict[str, tuple[dict, set[str]]] = {
    "no flow": (NO_FLOW, {"enter_flow", "ofe", f"{F}.flow"}),
    "no fourier": (NO_FOURIER, {f"{F}.fourier", f"{F}.norms.1"}),
    "k": ({"k": 8}, {"vle.pairs"}),
    "cls": ({"cls": "first_pair"}, {"vle.cls"}),
    "vle_layers": ({"vle_layers": 3}, {"vle.blocks"}),
    "vle_hidden": ({"vle_hidden": 32}, {"vle"}),
    "ofe_layers": ({"ofe_layers": 2}, {"ofe"}),
    "f_layers": ({"f_layers": 2}, {"f_transformers.1"}),
    "similarity_cue": ({"similarity_cue": False}, {"cue"}),
}
"""Settings, and the only parts whose parameters may change."""
NO_GRAPH = {
    "joint_encoder": "text",
    "text_tokens": 10,
    "images": "none",
    "texts": "none",
    "fft_axes": "time+channel",
    "losses": "self_supervised",
    "negative_ratio": 0.0,
    "positions": False,
    "at_once": 1,
    "label_prior": "clip",
    "task": "mr",
}
"""Settings without parameters of their own."""


def shapes(method: Grizal) -> dict[str, tuple]:
    return {name: tuple(value.shape) for name, value in method.named_parameters()}


@pytest.mark.parametrize("name", GRAPH)
def test_a_switch_changes_its_part_of_the_graph_and_nothing_else(name: str) -> None:
    settings, parts = GRAPH[name]
    usual, other = shapes(make()), shapes(make(**settings))
    changed = {n for n in usual.keys() | other.keys() if usual.get(n) != other.get(n)}
    assert {p for p in parts if any(n == p or n.startswith(f"{p}.") for n in changed)} == parts
    assert all(any(n == p or n.startswith(f"{p}.") for p in parts) for n in changed), changed


@pytest.mark.parametrize("name", NO_GRAPH)
def test_other_switches_leave_the_weights_as_they_are(name: str) -> None:
    usual, other = make(), make(**{name: NO_GRAPH[name]})
    assert shapes(usual) == shapes(other)
    of_data = {"joint_encoder", "text_tokens", "images", "texts"}
    assert (usual.pairing != other.pairing) == (name in of_data)
    assert (usual.templates != other.templates) == (name == "task")
    world = Moving(num=1)
    a, b = (jolted(m).curves(world.snippets(0), world.queries) for m in (usual, other))
    changes = {"fft_axes", "losses", "positions"}
    assert (np.abs(a - b).max() > 1e-4) == (name in changes)


def test_the_pairing_says_what_is_read() -> None:
    assert make().pairing == Pairing("clip", K, 30, has_images=True, has_texts=True)
    switched = make(joint_encoder="text", k=2, text_tokens=10, images="none", texts="none")
    assert switched.pairing == Pairing("text", 2, 10, has_images=False, has_texts=False)


def test_a_checkpoint_may_be_asked_without_pictures_and_not_with_more_pairs() -> None:
    told = make().told({"images": "none", "label_prior": "clip", "at_once": 2, "flank": 0.5})
    assert told.pairing == make(images="none").pairing
    for setting in ({"k": 8}, {"use_flow": False}, {"text_tokens": 10}):
        with pytest.raises(ConfigError, match="was decided in training"):
            make().told(setting)


def test_which_losses() -> None:
    batch = batch_of(Moving(num=3), make())
    every = make().loss(batch)
    assert set(every) == {"bce", "tiou", "cos", "nce"}
    assert set(make(losses="supervised").loss(batch)) == {"bce", "tiou"}
    alone = make(losses="self_supervised").loss(batch)  # at their full weight
    assert set(alone) == {"cos", "nce"}
    torch.testing.assert_close(0.1 * alone["nce"], every["nce"])


@pytest.mark.parametrize(
    "settings",
    [{}, NO_FLOW, NO_FOURIER, {"cls": "mean", "vle_hidden": 8}, {"cls": "first_pair"},
     {"losses": "supervised"}, {"losses": "self_supervised"}, {"f_layers": 2},
     {"fft_axes": "time+channel", "similarity_cue": False, "negative_ratio": 0}],
)  # fmt: skip
def test_every_parameter_gets_a_gradient(settings: dict) -> None:
    method = make(**settings)
    sum(method.loss(batch_of(Moving(num=4), method)).values()).backward()
    without = {n for n, p in method.named_parameters() if p.grad is None or not p.grad.any()}
    is_headless = settings.get("losses") == "self_supervised"
    assert {n.split(".")[0] for n in without} == ({"head"} if is_headless else set()), without


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"width": 15}, "width must be a multiple of heads 2"),
     ({"vle_hidden": 9}, "vle_hidden must be a multiple of heads"),
     ({"k": 0}, "k, layers and at_once must be 1 or more"),
     ({"vle_layers": 0}, "layers"), ({"ofe_layers": 0}, "layers"), ({"f_layers": 0}, "layers"),
     ({"at_once": 0}, "at_once"), ({"negative_ratio": -1}, "negative_ratio and"),
     ({"self_supervised_weight": -1}, "self_supervised_weight 0 or more"),
     ({"thresholds": [0.5, 1.0]}, r"thresholds must lie in \[0, 1\)"),
     ({"thresholds": []}, "thresholds"), ({"flank": -1}, "flank 0 or more"),
     ({"nms_sigma": 0}, "nms_sigma and max_out must be positive"),
     ({"features": "own"}, "similarity_cue=false"),
     ({"losses": "all"}, "self_supervised"), ({"joint_encoder": "vilbert"}, "'clip'"),
     ({"task": "as"}, "'tal'")],
)  # fmt: skip
def test_settings_that_make_no_sense(settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make(**settings)


# labels, lengths, learning -----------------------------------------------------------------------


def asked(queries: Queries, order: Sequence[int]) -> Queries:
    """Some of the queries, in another order."""
    which, pairs = list(order), queries.pairs
    names, rows = tuple(queries.names[i] for i in which), queries.embeddings[which]
    chosen = Pairs(pairs.tokens[which], pairs.points[which]) if pairs else None
    return Queries(names, rows, queries.background, pairs=chosen)


def test_the_order_of_labels_is_the_order_of_the_answers() -> None:
    method, world = jolted(make(label_prior="shown")), Moving(num=1)
    order = [2, 0, 3, 1]
    a = method.answer(world.snippets(0), world.queries)
    b = method.answer(world.snippets(0), asked(world.queries, order))
    np.testing.assert_allclose(a.curves[order], b.curves, atol=1e-6)
    np.testing.assert_allclose(a.detections.presence[order], b.detections.presence, atol=1e-6)
    np.testing.assert_allclose(a.detections.scores, b.detections.scores, atol=1e-6)


def test_any_number_of_labels_and_of_them_at_once() -> None:
    world, names = Moving(num=1), words(200, num_background=0)
    for num in (1, 2, 200):
        queries = with_pairs(asked(names, range(num)))
        found = [
            jolted(make(at_once=at_once)).curves(world.snippets(0), queries)
            for at_once in (1, 64)
        ]  # fmt: skip
        assert found[0].shape == (num, 32)
        np.testing.assert_allclose(*found, atol=1e-6)


def test_an_answer_does_not_depend_on_what_else_is_asked() -> None:
    method, world = jolted(make()), Moving(num=1)
    assert method.config.label_prior == "none" and method.RANKING["label_prior"] == "shown"
    together = method.answer(world.snippets(0), world.queries)
    for i in range(len(WORDS)):
        alone = method.answer(world.snippets(0), asked(world.queries, [i]))
        own = together.detections[together.detections.labels == i]
        np.testing.assert_allclose(alone.curves[0], together.curves[i], atol=1e-6)
        np.testing.assert_allclose(alone.detections.segments, own.segments)
        np.testing.assert_allclose(alone.detections.scores, own.scores, atol=1e-6)


@pytest.mark.parametrize("t", [1, 2, 5])
def test_short_pieces(t: int) -> None:
    method, world = make(length=t), Moving(num=1)
    answer = method.answer(world.snippets(0), world.queries)
    assert np.isfinite(answer.curves).all() and answer.curves.shape == (4, 32)


def test_a_seed_decides_everything() -> None:
    world = Moving(num=1)
    a, b = (make(seed=3).localize(world.snippets(0), world.queries) for _ in range(2))
    assert len(a)
    np.testing.assert_array_equal(a.segments, b.segments)
    np.testing.assert_array_equal(a.scores, b.scores)
    terms = []
    for _ in range(2):
        method = make(seed=3, dropout=0.1)
        terms.append({n: v.item() for n, v in method.loss(batch_of(Moving(3), method)).items()})
    assert terms[0] == terms[1]


def mean_iou(method: Grizal, films: Sequence[tuple[Snippets, dict[int, np.ndarray]]], queries):
    """With the label given, counted in snippets."""
    found = []
    for snippets, true in films:
        curves = method.curves(snippets, queries)
        for label, mask in true.items():
            region = curves[label] > 0.5
            found.append((region & mask).sum() / (region | mask).sum())
    return float(np.mean(found))


def masks_of(truth, grid: SnippetGrid) -> dict[int, np.ndarray]:
    masks, labels, _ = instances_on(grid, truth.segments, truth.labels)
    return {i: masks[labels == i].any(dim=0).numpy() for i in labels.unique().tolist()}


@pytest.mark.parametrize(
    "settings", [{}, NO_FLOW | NO_FOURIER | {"similarity_cue": False, "losses": "supervised"}]
)
def test_a_batch_can_be_learned_by_heart(settings: dict) -> None:
    world = Moving(num=4)
    method = overfit(make(**settings), world, steps=80, lr=3e-3)
    films = [(world.snippets(i), masks_of(world.truth(i), world.grid)) for i in range(4)]
    assert mean_iou(method, films, world.queries) > 0.85


def test_without_a_head_frames_that_show_a_label_turn_towards_it() -> None:
    world, gaps = Moving(num=4), []
    method = overfit(make(losses="self_supervised"), world, steps=40, lr=3e-3)
    for i in range(4):
        curves = method.curves(world.snippets(i), world.queries)
        for label, mask in masks_of(world.truth(i), world.grid).items():
            gaps.append(curves[label, mask].mean() - curves[label, ~mask].mean())
    assert min(gaps) > 0 and np.mean(gaps) > 0.04


# labels that it has never met --------------------------------------------------------------------


HARDNESS = Hardness(noise=1.0, context=0.0, scene=1.0)


class Studio:
    """Short made-up films with a motion stream; of each class a sentence and pictures."""

    def __init__(self, num_classes: int = 15, *, unseen: int = 3, width: int = 32) -> None:
        rng = np.random.default_rng(0)
        names = tuple(f"class {i}" for i in range(num_classes))
        texts = unit(rng.normal(size=(num_classes, width)))
        footage = replace(FOOTAGE["thumos14"], duration_s=(15.0, 25.0), num_instances=(1, 3))
        self.made = SyntheticWorld(names, texts, footage, settings=HARDNESS)
        self.seen = list(range(num_classes - unseen))
        self.unseen = list(range(num_classes - unseen, num_classes))
        views = np.stack([self.made.draw_views(i, 2) for i in range(num_classes)])
        words_twice = np.repeat(texts[:, None], 2, axis=1)
        tokens = np.stack([views, words_twice], axis=2).astype(np.float32)
        points = np.stack([texts, unit(views.mean(axis=1))], axis=1).astype(np.float32)
        self.queries = Queries(names, texts, texts[:0], pairs=Pairs(tokens, points))

    def films(self, subset: str, number: int, labels: Sequence[int]):
        found = []
        for video in list_videos(subset, number, len(self.made.names)):
            film = self.made.make(video)
            true, recipe = film.annotations, Recipe("made up", "0", 4.0, "")
            if not set(true.labels.tolist()) <= set(labels):
                continue
            flow = Snippets(self.made.make_flow(film, video), film.grid, recipe, true.duration_s)
            seen = Snippets(film.features, film.grid, recipe, true.duration_s, flow=flow)
            found.append((seen, true))
        return found

    def batch(self, method: Grizal, films) -> Batch:
        grids = [method.config.axis.pieces(snippets.grid)[0] for snippets, _ in films]
        rows = [method.piece(film, grid) for (film, _), grid in zip(films, grids, strict=True)]
        seen = asked(self.queries, self.seen)
        truth = tuple(
            instances_on(grid, true.segments, true.labels)
            for (_, true), grid in zip(films, grids, strict=True)
        )
        texts = torch.from_numpy(method.to_texts(seen))
        return Batch(
            torch.from_numpy(np.stack(rows)), texts, seen.names, truth, ("film",) * len(films)
        )

    def score(self, method: Grizal, queries: Queries) -> float:
        films = self.films("test", 60, self.unseen)
        return mean_iou(method, [(f, masks_of(true, f.grid)) for f, true in films], queries)


def test_labels_that_it_has_never_met_are_found() -> None:
    studio = Studio()
    settings = {"k": 2, "length": 64, "width": 32, "heads": 4, "inner": 64, "vle_layers": 1}
    fresh = [
        studio.score(make(seed, widths=Widths(32, 32), **settings).eval(), studio.queries)
        for seed in range(4)
    ]
    method = make(widths=Widths(32, 32), **settings)
    films = studio.films("train", 90, studio.seen)
    batches = [studio.batch(method, films[i : i + 12]) for i in range(0, len(films) - 11, 12)]
    optimizer = torch.optim.Adam(method.parameters(), lr=3e-3)
    for step in range(54):
        optimizer.zero_grad()
        sum(method.loss(batches[step % len(batches)]).values()).backward()
        optimizer.step()
    method.eval()
    learned = studio.score(method, studio.queries)
    turned = [*studio.seen, *studio.unseen[1:], studio.unseen[0]]
    exchanged = studio.score(method, asked(studio.queries, turned))
    assert learned > 0.5
    assert np.mean(fresh) < 0.6 * learned and exchanged < 0.6 * learned


# presets -----------------------------------------------------------------------------------------


def read(name: str) -> dict:
    text = (resources.files("openmoment") / "presets" / "grizal" / f"{name}.toml").read_text()
    assert text.startswith("# openmoment train grizal")
    return tomllib.loads(text)


@pytest.mark.parametrize("name", presets("grizal"))
def test_every_preset_makes_a_method(name: str) -> None:
    table = read(name)
    training = table.pop("training")
    assert {"lr", "epochs", "batch_size"} <= training.keys()
    config, usual = from_table(GrizalConfig, table, where=name), GrizalConfig()
    same = [n for n in table if getattr(usual, n) == getattr(config, n)]
    assert set(same) <= {"length"}  # said where it is the dataset's
    with torch.device("meta"):
        assert len(Grizal(config, CosineSpace()).vle.blocks.layers) == 7


@pytest.mark.parametrize("dataset", ["thumos14", "activitynet"])
def test_presets_say_what_the_paper_says(dataset: str) -> None:
    paper, ours = read(f"{dataset}-paper"), read(f"{dataset}-recommended")
    config = from_table(
        GrizalConfig, {k: v for k, v in paper.items() if k != "training"}, where="paper"
    )
    assert config.length == {"thumos14": 256, "activitynet": 100}[dataset]
    assert (config.k, config.text_tokens, config.vle_layers, config.width) == (4, 30, 7, 512)
    assert (config.negative_ratio, config.similarity_cue) == (0.0, False)
    assert (config.f_layers, config.self_supervised_weight) == (1, 1.0)
    shared = {"optimizer": "adam", "schedule": "linear", "warmup_share": 0.1}
    assert paper["training"] == shared | {"lr": 5e-7, "epochs": 3, "batch_size": 384}
    assert ours["training"] == shared | {"lr": 1e-4, "epochs": 30, "batch_size": 32}
