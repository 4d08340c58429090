"""What trained methods share, against literal forms: time, targets, losses, masks to segments."""

import math
import subprocess
import sys
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import interpolate

from openmoment.blocks.batch import Batch, instances_on
from openmoment.blocks.convolution import SharedBatchNorm
from openmoment.blocks.instance_masks import DynamicMasks, instance_mask_losses
from openmoment.blocks.losses import balanced_bce, bce, class_cross_entropy, dice
from openmoment.blocks.mask_decoder import MaskDecoding, decode, to_detections
from openmoment.blocks.targets import centreness, run_overlap
from openmoment.blocks.time_axis import TimeAxis, positions, resample
from openmoment.types import SnippetGrid

seeds = st.integers(0, 10_000)


# time ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("num", "onto"), [(7, 16), (16, 7), (100, 100), (1, 5)])
def test_rescaling_is_interpolation_without_corner_alignment(num: int, onto: int) -> None:
    rows = np.random.default_rng(0).normal(size=(num, 3)).astype(np.float32)
    grids = [SnippetGrid.uniform(n, end_s=12.0) for n in (num, onto)]
    expected = interpolate(torch.from_numpy(rows.T[None]), size=onto, mode="linear")[0].T
    np.testing.assert_allclose(resample(rows, *grids), expected, atol=1e-5)


def test_a_window_of_the_features_own_snippets_is_a_slice() -> None:
    rows = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    grid = SnippetGrid.uniform(50, start_s=2.0, end_s=27.0)
    *_, last = TimeAxis("window", 16).pieces(grid)
    np.testing.assert_allclose(resample(rows, grid, last), rows[-16:], atol=1e-5)


@pytest.mark.parametrize("fps", [0.0, 2.0, 5.0])
@pytest.mark.parametrize("num", [1, 15, 16, 17, 40, 333])
def test_windows_cover_the_video_and_overlap(num: int, fps: float) -> None:
    grid = SnippetGrid.uniform(num, start_s=1.0, end_s=1.0 + num / 2.5)
    pieces = TimeAxis("window", 16, fps).pieces(grid)
    assert pieces[0].start_s == grid.start_s
    assert pieces[-1].end_s == pytest.approx(grid.end_s)
    assert all(len(piece) == 16 for piece in pieces)
    for a, b in zip(pieces, pieces[1:], strict=False):
        assert a.start_s < b.start_s <= (a.start_s + a.end_s) / 2 + 1e-9
    if len(pieces) > 1 and fps:
        assert pieces[0].snippet_s == pytest.approx(1 / fps, rel=0.05)


def test_rescale_is_one_piece_whatever_the_length() -> None:
    (piece,) = TimeAxis("rescale", 8).pieces(SnippetGrid.uniform(1000, end_s=250.0))
    assert (len(piece), piece.end_s) == (8, 250.0)


@settings(max_examples=30, deadline=None)
@given(seed=seeds, num=st.integers(1, 200))
def test_windows_to_train_on_show_an_instance_each(seed: int, num: int) -> None:
    rng = np.random.default_rng(seed)
    grid = SnippetGrid.uniform(num, end_s=num * 0.5)
    starts = rng.uniform(0, grid.end_s, 3)
    segments = np.stack([starts, np.minimum(starts + 2, grid.end_s)], axis=1)
    pieces = list(TimeAxis("window", 16).sampled(grid, segments, rng))
    assert len(pieces) == math.ceil(num / 16)
    for piece in pieces:
        assert grid.start_s <= piece.start_s and piece.end_s <= grid.end_s + 1e-9
        assert len(instances_on(piece, segments, np.arange(3)).labels)


def test_without_instances_windows_are_drawn_all_the_same() -> None:
    grid = SnippetGrid.uniform(40, end_s=40.0)
    pieces = TimeAxis("window", 16).sampled(grid, np.zeros((0, 2)), np.random.default_rng(0))
    assert len(list(pieces)) == 3


# targets -------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(seed=seeds)
def test_no_instance_is_lost_and_centres_decide(seed: int) -> None:
    rng = np.random.default_rng(seed)
    grid = SnippetGrid.uniform(20, start_s=3.0, end_s=23.0 + rng.uniform(0, 10))
    starts = rng.uniform(grid.start_s, grid.end_s - 0.1, 6)
    lengths = rng.choice([0.0, 0.05, 0.5, 3.0], 6)
    segments = np.stack([starts, np.minimum(starts + lengths, grid.end_s)], axis=1)
    found = instances_on(grid, segments, np.arange(6))
    assert found.labels.tolist() == list(range(6))
    for mask, (start_s, end_s) in zip(found.masks, segments, strict=True):
        expected = [i for i, c in enumerate(grid.centres_s) if start_s <= c < end_s]
        if not expected:
            middle_s = (start_s + end_s) / 2
            expected = [i for i in range(20) if grid.edges_s[i] <= middle_s < grid.edges_s[i + 1]]
        assert np.flatnonzero(mask).tolist() == expected


def test_a_piece_shows_what_lies_in_it() -> None:
    grid = SnippetGrid.uniform(10, start_s=10.0, end_s=20.0)
    segments = np.array([[0.0, 9.9], [5.0, 12.0], [19.8, 30.0], [25.0, 26.0], [12.0, 14.0]])
    found = instances_on(grid, segments, np.arange(5))
    assert found.labels.tolist() == [1, 4]
    assert found.positions.tolist() == [[0.0, 2.0], [2.0, 4.0]]
    np.testing.assert_allclose(positions(segments[:1], grid), [[-10.0, -0.1]])


def batch(*videos: list[tuple[float, float, int]], t: int = 10) -> Batch:
    grid = SnippetGrid.uniform(t, end_s=float(t))
    instances = tuple(
        instances_on(
            grid,
            np.array([v[:2] for v in video], float).reshape(-1, 2),
            np.array([v[2] for v in video], int),
        )
        for video in videos
    )
    names = tuple("abc")
    return Batch(
        torch.zeros(len(videos), t, 4), torch.zeros(3, 4), names, instances, names[: len(videos)]
    )


def test_class_targets_share_what_overlaps() -> None:
    target = batch([(2, 5, 0), (4, 7, 2), (4, 7, 2)]).class_targets[0]
    assert target[:, 3].tolist() == [1, 0, 0, 0]
    assert target[:, 4].tolist() == [0.5, 0, 0.5, 0]
    assert target[:, 6].tolist() == [0, 0, 1, 0]
    assert target[:, 0].tolist() == [0, 0, 0, 1]


def test_foreground_and_same_instance() -> None:
    found = batch([(2, 5, 0), (6, 8, 1)], [])
    assert found.foreground[0].tolist() == [0, 0, 1, 1, 1, 0, 1, 1, 0, 0]
    assert found.foreground[1].sum() == 0
    same = found.same_instance
    assert same[0, 2].tolist() == [0, 0, 1, 1, 1, 0, 0, 0, 0, 0]
    assert torch.equal(same, same.transpose(1, 2))
    assert same[1].sum() == 0


def test_centreness_is_one_in_the_middle() -> None:
    near = centreness(batch([(2, 5, 0)], []))
    assert near[0].tolist() == pytest.approx(
        [0, 0, math.sqrt(0.5 / 2.5), 1, math.sqrt(0.5 / 2.5)] + [0] * 5
    )
    assert near[1].sum() == 0


def test_run_overlap_is_the_tiou_of_the_run_around() -> None:
    masks = torch.tensor([[[0, 0.6, 0.7, 0.9, 0.2, 0, 0, 0.8, 0, 0]]])
    found = run_overlap(batch([(2, 5, 0), (8, 9, 1)]), masks)
    assert found[0].tolist() == pytest.approx([0, 0, 0.5, 0.5] + [0] * 6)  # [1, 4) with [2, 5)
    own = masks.expand(1, 10, 10).clone()
    own[0, 2] = 0
    assert run_overlap(batch([(2, 5, 0)]), own)[0].tolist() == pytest.approx(
        [0, 0, 0, 0.5] + [0] * 6
    )


# losses --------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(seed=seeds, share=st.sampled_from([0.0, 0.3, 1.0]))
def test_mask_losses_term_by_term(seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    m, g = rng.uniform(0.01, 0.99, 9), (rng.uniform(size=9) < share).astype(float)
    mask, target = torch.tensor(m)[None].float(), torch.tensor(g)[None].float()
    on, off = np.log(m[g == 1]), np.log(1 - m[g == 0])
    balanced = -(on.mean() if len(on) else 0) - (off.mean() if len(off) else 0)
    assert balanced_bce(mask, target).item() == pytest.approx(balanced, rel=1e-4, abs=1e-5)
    assert bce(mask, target).item() == pytest.approx(-(on.sum() + off.sum()) / 9, rel=1e-4)
    expected = 1 - (2 * (m * g).sum() + 1) / ((m * m).sum() + (g * g).sum() + 1)
    assert dice(mask, target).item() == pytest.approx(expected, abs=1e-5)


def test_class_loss_is_the_mean_over_snippets_and_has_a_gradient_when_wrong() -> None:
    logits = torch.randn(2, 4, 5)
    logits[0, 0] += 60  # sure
    logits.requires_grad_()
    targets = torch.rand(2, 4, 5)
    targets = targets / targets.sum(dim=1, keepdim=True)
    loss = class_cross_entropy(logits, targets)
    p = logits.detach().double().softmax(dim=1)
    expected = -sum(
        float((targets[b, :, t] * p[b, :, t].log()).sum()) for b in range(2) for t in range(5)
    )
    assert loss.item() == pytest.approx(expected / 10, rel=1e-5)
    loss.backward()
    assert logits.grad is not None and logits.grad[0].abs().sum() > 0.1


def test_instance_mask_losses_row_by_row() -> None:
    same = batch([(2, 5, 0), (6, 8, 1)], []).same_instance
    masks = torch.rand(2, 10, 10)
    entropy, overlap = instance_mask_losses(masks, same)
    total, total_dice = 0.0, 0.0
    for b in range(2):
        on = [t for t in range(10) if same[b, t, t]]
        off = [t for t in range(10) if not same[b, t, t]]
        total += sum(float(balanced_bce(masks[b, t], same[b, t])) for t in on) / max(len(on), 1)
        total += sum(float(bce(masks[b, t], same[b, t])) for t in off) / max(len(off), 1)
        total_dice += sum(float(dice(masks[b, t], same[b, t])) for t in on) / max(len(on), 1)
    assert entropy.item() == pytest.approx(total / 2, rel=1e-5)
    assert overlap.item() == pytest.approx(total_dice / 2, rel=1e-5)


# parts of networks ---------------------------------------------------------------------------


def test_each_snippet_makes_its_own_mask() -> None:
    head, x = DynamicMasks(6), torch.randn(2, 5, 6)
    masks = head(x)
    for b in range(2):
        g = head.describe(x[b : b + 1].transpose(1, 2))[0]  # 8 channels, 5 snippets
        for t in range(5):
            theta = head.control(x[b, t])
            w1, b1, w2, b2, w3, b3 = theta.split([72, 8, 64, 8, 8, 1])
            for i in range(5):
                seen = torch.cat([g[:, i], torch.tensor([(i - t) / 5])])
                inner = (w1.view(8, 9) @ seen + b1).relu()
                inner = (w2.view(8, 8) @ inner + b2).relu()
                expected = torch.sigmoid(w3 @ inner + b3)
                torch.testing.assert_close(masks[b, t, i], expected[0], atol=1e-5, rtol=1e-4)


def test_one_process_normalises_as_torch_does() -> None:
    ours, theirs = SharedBatchNorm(3), torch.nn.BatchNorm1d(3)
    x = torch.randn(4, 3, 5)
    torch.testing.assert_close(ours(x), theirs(x))
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict())


# masks to segments ---------------------------------------------------------------------------


def literal_curves(p: np.ndarray, own: list[float], how: MaskDecoding) -> dict[tuple, float]:
    """Every stretch of every class above every threshold that cannot be made longer."""
    t, found = p.shape[1], {}
    for k, threshold in product(range(len(p)), how.mask_thresholds):
        above = [False, *(p[k] > threshold), False]
        for first, last in combinations(range(t + 1), 2):
            is_whole = all(above[first + 1 : last + 1]) and not (above[first] or above[last + 1])
            if is_whole and last - first >= min(how.min_length, t):
                found[first, last, k] = p[k][first:last].max() * max(own[first:last])
    return found


def literal_candidates(p: np.ndarray, masks: np.ndarray, how: MaskDecoding) -> dict[tuple, float]:
    """Section 3.5, one snippet and one threshold at a time: run and class to score."""
    t = p.shape[1]
    passing = [i for i in range(t) if p[:, i].max() > how.class_threshold]
    label = {i: int(p[:, i].argmax()) for i in passing}
    if how.label_mode == "video" and passing:
        means = [np.mean([p[k, i] for i in passing]) for k in range(len(p))]
        label = dict.fromkeys(passing, int(np.argmax(means)))
    worth = {i: float(p[label[i], i]) for i in passing}
    passing = sorted(passing, key=lambda i: (-worth[i], i))[: how.num_snippets or None]
    found: dict[tuple, float] = {}
    for i in passing:
        mask = masks[0] if len(masks) == 1 else masks[i]
        runs = []
        for threshold in how.mask_thresholds:
            above = [j for j in range(t) if mask[j] > threshold]
            if how.candidate == "span" and above:
                runs.append((above[0], above[-1] + 1))
            if how.candidate == "run" and i in above:
                first = last = i
                while first - 1 in above:
                    first -= 1
                while last + 1 in above:
                    last += 1
                runs.append((first, last + 1))
        runs += [(0, t)] * how.include_whole_video
        for first, last in runs:
            if last - first >= max(1, min(how.min_length, t)):
                key = (first, last, label[i])
                found[key] = max(found.get(key, 0), worth[i] * mask[first:last].max())
    if how.cas_candidates:
        own = [masks[0][i] if len(masks) == 1 else masks[i][i] for i in range(t)]
        for key, score in literal_curves(p, own, how).items():
            found[key] = max(found.get(key, 0), score)
    return found


@settings(max_examples=150, deadline=None)
@given(
    seed=seeds, t=st.integers(1, 12), k=st.integers(1, 3), is_global=st.booleans(),
    span=st.booleans(), whole=st.booleans(), of_video=st.booleans(), num=st.sampled_from([0, 1, 4]),
    min_length=st.sampled_from([1.0, 3.0]), cas=st.booleans(),
)  # fmt: skip
def test_candidates_are_those_of_a_literal_search(
    seed: int, t: int, k: int, is_global: bool, span: bool, whole: bool, of_video: bool, num: int,
    min_length: float, cas: bool,
) -> None:  # fmt: skip
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(k + 1), t).T[:-1]
    masks = rng.uniform(size=(1 if is_global else t, t))
    how = MaskDecoding(
        class_threshold=0.3, num_snippets=num, mask_thresholds=(0.2, 0.5, 0.8),
        min_length=min_length, candidate="span" if span else "run", include_whole_video=whole,
        label_mode="video" if of_video else "snippet", cas_candidates=cas,
    )  # fmt: skip
    found = decode(p, masks, how)
    keys = [
        (*run, label) for run, label in zip(found.runs.tolist(), found.labels.tolist(), strict=True)
    ]
    expected = literal_candidates(p, masks, how)
    assert len(set(keys)) == len(keys)
    assert dict(zip(keys, found.scores.tolist(), strict=True)) == pytest.approx(expected)


def test_confidence_is_the_mean_inside() -> None:
    how = MaskDecoding(mask_thresholds=(0.5,))
    masks, p = np.array([[0.1, 0.9, 0.8, 0.1]]), np.array([[0.0, 0.5, 0.4, 0.0]])
    found = decode(p, masks, how, confidence=np.array([9.0, 0.2, 0.6, 9.0]))
    assert found.runs.tolist() == [[1, 3]]
    assert found.scores.tolist() == pytest.approx([0.5 * 0.9 * 0.4])


def test_pieces_become_one_ranking_in_seconds() -> None:
    how = MaskDecoding(mask_thresholds=(0.5,), min_score=0.0)
    p, masks = np.array([[0.9, 0.9, 0.0, 0.0]]), np.array([[1.0, 1.0, 0.0, 0.0]])
    grids = [SnippetGrid.uniform(4, start_s=s, end_s=s + 8.0) for s in (0.0, 4.0)]
    found = to_detections([(g, decode(p, masks, how)) for g in grids], ("jump",), how)
    assert [d[:3] for d in found] == [(0.0, 4.0, "jump"), (4.0, 8.0, "jump")]
    assert found.presence.tolist() == [0.9]
    nothing = to_detections([], ("jump",), how)
    assert (len(nothing), nothing.names) == (0, ("jump",))


TWO_PROCESSES = """
import torch
import torch.distributed as dist
from openmoment.blocks.convolution import SharedBatchNorm

dist.init_process_group("gloo")
rank = dist.get_rank()
torch.manual_seed(0)
x, weight = torch.randn(4, 3, 5, requires_grad=True), torch.randn(4, 3, 5)
alone = torch.nn.BatchNorm1d(3)
expected = alone(x)
(gradient,) = torch.autograd.grad((expected * weight).mean(), x)
mine, shared = slice(2 * rank, 2 * rank + 2), SharedBatchNorm(3)
found = shared(x[mine])
(part,) = torch.autograd.grad((found * weight[mine]).mean(), x)
torch.testing.assert_close(found, expected[mine])
torch.testing.assert_close(part[mine] / 2, gradient[mine])
torch.testing.assert_close(shared.state_dict(), alone.state_dict())
"""


def test_two_processes_normalise_as_one_would(tmp_path: Path) -> None:
    script = tmp_path / "two.py"
    script.write_text(TWO_PROCESSES)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
