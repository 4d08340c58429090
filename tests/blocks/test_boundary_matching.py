"""BMN's layer, targets, losses and decoding, each against a literal form."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import mse_loss

from openmoment.blocks.batch import Instances
from openmoment.blocks.boundary_matching import (
    Bmn,
    BmnOutput,
    BoundaryMatching,
    in_map,
    sampling_weights,
)
from openmoment.blocks.boundary_targets import bmn_losses, bmn_targets, boundary_overlap
from openmoment.blocks.proposals import (
    ProposalDecoding,
    actionness,
    best_given,
    peaks,
    propose,
    share_out,
    suppress,
    to_labelled,
)
from openmoment.postprocess import temporal_iou
from openmoment.types import Detections, Proposals, SnippetGrid

# sampling ------------------------------------------------------------------------------------


def literal_mask(t: int, num_durations: int, num: int, per_bin: int, ratio: float, floor):
    """The released `_get_interp1d_mask`, point by point: snippet, sample, duration, start."""
    mask = np.zeros((t, num, num_durations, t))
    for start in range(t):
        for duration in range(num_durations):
            if start + duration >= t:
                continue
            length = duration + 1
            first, last = start - length * ratio, start + duration + length * ratio
            step = (last - first) / (num * per_bin - 1)
            for point in range(num * per_bin):
                at = first + step * point
                below, above = floor(at), math.ceil(at)
                share = at - below
                if 0 <= below < t:
                    mask[below, point // per_bin, duration, start] += (1 - share) / per_bin
                if 0 <= above < t:
                    mask[above, point // per_bin, duration, start] += share / per_bin
    return mask


def mask_of(t: int, num_durations: int, num: int, per_bin: int, ratio: float) -> np.ndarray:
    found = sampling_weights(
        t, num_durations, num_samples=num, samples_per_bin=per_bin, boundary_ratio=ratio
    )
    dense = np.zeros((num_durations * t, num * t))
    for row, (a, b) in enumerate(zip(found.starts, found.starts[1:], strict=False)):
        assert len(set(found.columns[a:b])) == b - a
        dense[row, found.columns[a:b]] = found.values[a:b]
    return dense.reshape(num_durations, t, num, t).transpose(3, 2, 0, 1)


@pytest.mark.parametrize(
    ("t", "num_durations", "num", "per_bin", "ratio"),
    [(9, 9, 32, 3, 0.5), (12, 5, 32, 3, 0.5), (1, 1, 32, 3, 0.5), (6, 6, 4, 2, 0.0)],
)
def test_the_sampling_mask_is_the_released_one(t, num_durations, num, per_bin, ratio) -> None:
    mine = mask_of(t, num_durations, num, per_bin, ratio)
    linear = literal_mask(t, num_durations, num, per_bin, ratio, math.floor)
    np.testing.assert_allclose(mine, linear, atol=1e-12)
    released = literal_mask(t, num_durations, num, per_bin, ratio, math.trunc)
    np.testing.assert_allclose(mine[1:], released[1:], atol=1e-12)  # it truncates below zero


def test_the_mask_is_sparse_and_small() -> None:
    found = sampling_weights(128, 64)
    assert sum(part.nbytes for part in found) < 12e6  # dense: 134 MB
    assert found.starts[-1] == len(found.values) and (found.values > 0).all()


@pytest.mark.parametrize("num_durations", [1, 4, 7])
def test_the_layer_is_sampling_and_then_a_convolution_over_the_samples(num_durations: int) -> None:
    torch.manual_seed(0)
    layer, x = BoundaryMatching(6, 5, num_samples=8), torch.randn(2, 6, 7, requires_grad=True)
    found = layer(x, num_durations)
    mask = torch.from_numpy(mask_of(7, num_durations, 8, 3, 0.5)).float()
    sampled = torch.einsum("bcs,sndi->bcndi", x, mask)
    expected = layer.convolve(sampled).squeeze(2)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    weights = torch.randn_like(found)
    grads = [
        torch.autograd.grad((out * weights).sum(), (x, *layer.parameters()), retain_graph=True)
        for out in (found, expected)
    ]
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


def test_the_layer_can_be_asked_first_and_learn_later() -> None:
    layer, x = BoundaryMatching(4, 3, num_samples=4), torch.randn(1, 4, 5)
    with torch.inference_mode():
        asked = layer(x, 3)
    layer(x, 3).sum().backward()
    torch.testing.assert_close(asked, layer(x, 3).detach())
    assert set(layer.state_dict()) == {"convolve.weight", "convolve.bias"}


def test_the_network_is_the_papers() -> None:
    """Table 1: 256 channels along time, 512 of samples, 128 on the map."""
    shapes = {name: tuple(p.shape) for name, p in Bmn(400).named_parameters()}
    assert shapes["base.0.weight"] == (256, 100, 3)  # 4 groups
    assert shapes["start.0.weight"] == shapes["end.0.weight"] == (256, 64, 3)
    assert shapes["match.convolve.weight"] == (512, 256, 32, 1, 1)
    assert shapes["evaluate.3.weight"] == (128, 128, 3, 3)
    assert shapes["evaluate.7.weight"] == (2, 128, 1, 1)


def test_a_piece_shorter_than_the_longest_duration() -> None:
    out = Bmn(8, width=8, sample_width=4, map_width=4, max_duration=10)(torch.randn(2, 3, 8))
    assert [tuple(part.shape) for part in out] == [(2, 3), (2, 3), (2, 3, 3), (2, 3, 3)]


# targets -------------------------------------------------------------------------------------


def instances(segments: list[tuple[float, float]], t: int) -> Instances:
    return Instances(
        torch.ones(len(segments), t, dtype=torch.bool),
        torch.zeros(len(segments), dtype=torch.int64),
        torch.tensor(segments, dtype=torch.float32).reshape(-1, 2),
    )


def literal_targets(segments, t: int, num_durations: int, cells: float):
    def near(at: list[float]) -> list[float]:
        return [
            max([0.0, *(min(i + 1, b + cells / 2) - max(i, b - cells / 2) for b in at)])
            for i in range(t)
        ]

    overlap = np.zeros((num_durations, t))
    for d in range(num_durations):
        for i in range(t - d):
            for a, b in segments:
                shared = max(0.0, min(b, i + d + 1) - max(a, i))
                overlap[d, i] = max(overlap[d, i], shared / (d + 1 + b - a - shared))
    return near([a for a, _ in segments]), near([b for _, b in segments]), overlap


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 9), st.floats(0.25, 6)), max_size=3),
    st.integers(1, 10),
    st.sampled_from([1.0, 3.0]),
)
def test_targets_are_what_the_paper_says(rows, num_durations: int, cells: float) -> None:
    segments = [(a, min(10.0, a + length)) for a, length in rows]
    found = bmn_targets([instances(segments, 10)], 10, num_durations, cells=cells)
    for part, expected in zip(
        found, literal_targets(segments, 10, num_durations, cells), strict=True
    ):
        np.testing.assert_allclose(part[0], expected, atol=1e-5)


def test_where_a_window_was_cut_is_no_boundary() -> None:
    cut = instances([(0, 4), (6, 10), (4.5, 5.5)], 10)
    known, ignored = (bmn_targets([cut], 10, 10, is_cut=is_cut) for is_cut in (False, True))
    assert known.start[0, 0] == 1 and known.end[0, 9] == 1
    assert ignored.start[0, 0] == 0 and ignored.end[0, 9] == 0
    assert ignored.end[0, 3] == 1 and ignored.start[0, 6] == 1  # the ends that are seen
    assert known.overlap[0, 3, 0] == 1 and ignored.overlap[0, 3, 0] < 0.3
    assert boundary_overlap(torch.tensor([5.0]), 10).tolist() == [0, 0, 0, 0.5, 1, 1, 0.5, 0, 0, 0]


# losses --------------------------------------------------------------------------------------


def random_output(b: int, t: int, num_durations: int) -> BmnOutput:
    generator = torch.Generator().manual_seed(3)
    shapes = [(b, t)] * 2 + [(b, num_durations, t)] * 2
    return BmnOutput(*(torch.randn(shape, generator=generator) for shape in shapes))


def released_bce(p: torch.Tensor, positive: torch.Tensor, valid: torch.Tensor) -> float:
    """`bi_loss` and `pem_cls_loss_func` of the released code."""
    pmask = positive.double()
    nmask = (1 - pmask) * valid
    num_entries = pmask.sum() + nmask.sum()
    ratio = num_entries / pmask.sum()
    coef_0, coef_1 = 0.5 * ratio / (ratio - 1), 0.5 * ratio
    terms = coef_1 * pmask * torch.log(p + 1e-6) + coef_0 * nmask * torch.log(1 - p + 1e-6)
    return float(-terms.sum() / num_entries)


def test_losses_are_the_released_ones() -> None:
    t, num_durations = 16, 12
    shown = [instances([(2, 7.2), (9, 13)], t), instances([(3.1, 14.9)], t)]
    out, targets = random_output(2, t, num_durations), bmn_targets(shown, t, num_durations)
    torch.manual_seed(5)
    found = bmn_losses(out, targets)
    p = [part.double().sigmoid() for part in out]
    ones = torch.ones(2, t)
    boundary = released_bce(p[0], targets.start > 0.5, ones)
    boundary += released_bce(p[1], targets.end > 0.5, ones)
    assert found.boundary.item() == pytest.approx(boundary, rel=1e-4)
    valid = torch.tensor([[float(i + d < t) for i in range(t)] for d in range(num_durations)])
    assert torch.equal(valid.bool(), in_map(t, num_durations))
    classification = released_bce(p[2], targets.overlap > 0.9, valid)
    assert found.classification.item() == pytest.approx(classification, rel=1e-4)

    torch.manual_seed(5)
    overlap = targets.overlap
    high = (overlap > 0.7).float()
    weights = high.clone()
    for group in ((overlap <= 0.7) & (overlap > 0.3), (overlap <= 0.3) & (overlap > 0)):
        share = high.sum() / group.sum()
        weights += group * (torch.rand_like(overlap) < share)
    loss = mse_loss(p[3].float() * weights, overlap * weights)
    regression = 0.5 * torch.sum(loss * torch.ones_like(weights)) / weights.sum()
    assert found.regression.item() == pytest.approx(regression.item(), rel=1e-4)
    drawn = weights.sum() - high.sum()
    assert 0.5 * high.sum() < drawn < 3.5 * high.sum()


@pytest.mark.parametrize("segments", [[], [(0.2, 0.4)], [(0, 8)]])
def test_losses_of_pieces_that_show_nothing_or_everything(segments: list) -> None:
    targets = bmn_targets([instances(segments, 8)], 8, 8)
    out = BmnOutput(*(part.requires_grad_() for part in random_output(1, 8, 8)))
    found = bmn_losses(out, targets)
    sum(found).backward()
    assert all(torch.isfinite(loss) for loss in found)
    assert all(torch.isfinite(part.grad).all() for part in out)


# decoding ------------------------------------------------------------------------------------

ALL = ProposalDecoding(boundaries="all", pre_nms=10_000)


def test_peaks() -> None:
    scores = np.array([0.9, 0.1, 0.3, 0.2, 0.1, 0.2, 0.6, 0.7])
    assert peaks(scores).tolist() == [True, False, True, False, False, False, True, True]
    assert [peaks(np.ones(t)).all() for t in (1, 2)] == [True, True]


@pytest.mark.parametrize("boundaries", ["peaks", "all"])
@pytest.mark.parametrize(("t", "num_durations"), [(1, 1), (2, 2), (9, 4), (9, 9)])
def test_proposals_are_pairs_of_boundaries(boundaries: str, t: int, num_durations: int) -> None:
    rng = np.random.default_rng(t)
    start, end, quality = rng.random(t), rng.random(t), rng.random((num_durations, t))
    found = propose(start, end, quality, ProposalDecoding(boundaries=boundaries))
    starts = range(t) if boundaries == "all" else {0, *np.flatnonzero(peaks(start)).tolist()}
    ends = range(t) if boundaries == "all" else {t - 1, *np.flatnonzero(peaks(end)).tolist()}
    expected = {
        (i, j + 1): start[i] * end[j] * quality[j - i, i]
        for i in starts
        for j in ends
        if 0 <= j - i < num_durations
    }
    assert expected == {
        tuple(s): pytest.approx(score)
        for s, score in zip(found.segments.tolist(), found.scores, strict=True)
    }
    assert (np.diff(found.scores) <= 0).all()
    few = propose(start, end, quality, ProposalDecoding(boundaries=boundaries, pre_nms=1))
    assert few.segments.tolist() == found.segments[:1].tolist()


def test_perfect_maps_give_the_true_segments() -> None:
    segments = [(3, 7), (10, 19)]
    start, end, overlap = (
        part[0].numpy() for part in bmn_targets([instances(segments, 20)], 20, 20)
    )
    found = propose(start, end, overlap**2, ALL)
    assert {tuple(s) for s in found.segments[:2].astype(int).tolist()} == set(segments)


def as_detections(segments: list, scores: list[float]) -> Detections:
    n = len(scores)
    return Detections(
        np.array(segments, dtype=float).reshape(-1, 2),
        np.array(scores),
        np.zeros(n, dtype=np.int64),
        ("",),
        np.zeros(1),
    )


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 20), st.integers(1, 20), st.floats(0.01, 1)),
        min_size=1,
        max_size=9,
    ),
    st.sampled_from(["bmn", "gaussian"]),
)
def test_both_forms_of_soft_nms(rows, form: str) -> None:
    """Against the released loop: take the best, let the others decay, repeat."""
    boxes = [(float(a), float(a + length)) for a, length, _ in rows]
    scores = [score for *_, score in rows]
    how = ProposalDecoding(proposal_nms=form, nms_sigma=0.4, max_proposals=5)
    found = suppress(as_detections(boxes, scores), how, piece_s=40.0)
    left, expected = dict(enumerate(scores)), []
    while left and len(expected) < 5:
        best = max(left, key=lambda i: left[i])
        expected.append(left.pop(best))
        width = (boxes[best][1] - boxes[best][0]) / 40
        for i in left:
            iou = temporal_iou(np.array([boxes[best]]), np.array([boxes[i]]))[0, 0]
            if form == "gaussian" or iou > 0.5 + (0.9 - 0.5) * width:
                left[i] *= math.exp(-(iou**2) / 0.4)
    np.testing.assert_allclose(found.scores, sorted(expected, reverse=True), rtol=1e-9)


def test_without_nms_the_best_stay_as_they_are() -> None:
    found = suppress(
        as_detections([(0, 4), (0, 4), (1, 4)], [0.2, 0.5, 0.9]),
        ProposalDecoding(proposal_nms="none", max_proposals=2),
        piece_s=9.0,
    )
    assert found.scores.tolist() == [0.9, 0.5]


# given proposals, labels ---------------------------------------------------------------------


def test_given_proposals_count_once_and_lie_in_one_piece() -> None:
    segments = np.array([[0, 4], [0, 4], [9, 12], [5, 8.0]])
    given = best_given(Proposals(segments, np.array([0.1, 0.4, 0.3, 0.2])), 2)
    assert given.segments.tolist() == [[0, 4], [9, 12]] and given.scores.tolist() == [0.4, 0.3]
    grids = [
        SnippetGrid.uniform(10, end_s=5.0),
        SnippetGrid.uniform(10, start_s=4.0, end_s=9.0),
        SnippetGrid.uniform(10, start_s=8.0, end_s=13.0),
    ]
    first, second, third = share_out(Proposals(segments, np.ones(4)), grids)
    assert first.segments.tolist() == [[0, 8], [0, 8]]
    assert second.segments.tolist() == [[2, 8]] and third.segments.tolist() == [[2, 8]]


def test_labels_are_the_best_classes() -> None:
    found = as_detections([(0, 1), (2, 3)], [0.5, 0.8])
    probabilities = np.array([[0.7, 0.1, 0.2], [0.5, 0.4, 0.1]])
    one = to_labelled(found, probabilities, "abc", ProposalDecoding(min_score=0.0))
    assert one.labels.tolist() == [0, 0] and one.scores == pytest.approx([0.4, 0.35])
    assert one.presence == pytest.approx([0.4, 0.32, 0.1])
    two = to_labelled(found, probabilities, "abc", ProposalDecoding(min_score=0.2, topk_classes=2))
    assert [(d.name, d.start_s) for d in two] == [("a", 2), ("a", 0), ("b", 2)]
    every = to_labelled(
        found, probabilities, "abc", ProposalDecoding(min_score=0.0, topk_classes=9)
    )
    assert len(every) == 6
    none = to_labelled(found[found.scores > 1], probabilities[:0], "abc", ProposalDecoding())
    assert len(none) == 0 and none.presence.tolist() == [0, 0, 0]


def test_actionness_is_the_best_proposal_around() -> None:
    given = Proposals(np.array([[0, 2], [1, 4.0]]), np.array([0.3, 0.9]))
    assert actionness(given, 5).tolist() == [0.3, 0.9, 0.9, 0.9, 0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"pre_nms": 0}, "pre_nms must be"), ({"nms_sigma": 0.0}, "must be positive"),
     ({"nms_low": 0.9, "nms_high": 0.5}, "nms_low <= nms_high")],
)  # fmt: skip
def test_settings_that_make_no_sense(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ProposalDecoding(**settings)
