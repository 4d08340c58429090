"""Action segmentation: frame accuracy and frame mAP as on COIN; MoF, Edit and F1 as in MS-TCN.

All results are fractions. Axes: t frames, c classes.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray as Array

from openmoment.errors import FormatError
from openmoment.postprocess import temporal_iou

_CLASSES_AT_ONCE = 32

Labels = Int[Array, " _"]
"""One video's label for each frame."""


# scored frames -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Frames:
    """One video's class logits and true classes for each frame; a frame may have none or several.

    The logits may be mapped from a file. Raises FormatError when the arrays do not fit together
    or a logit is NaN.
    """

    video: str
    logits: Float[Array, "t c"]
    truth: Bool[Array, "t c"]

    def __post_init__(self) -> None:
        if self.logits.ndim != 2 or self.logits.shape != self.truth.shape:
            raise FormatError(
                f"Video {self.video!r}: expected logits and truth as frames x classes, got "
                f"{self.logits.shape} and {self.truth.shape}."
            )
        if self.logits.shape[1] == 0:
            raise FormatError(f"Video {self.video!r}: expected at least one class.")
        if np.isnan(self.logits).any():
            frame, label = np.argwhere(np.isnan(self.logits))[0]
            raise FormatError(
                f"Video {self.video!r}: the logit of frame {frame}, class {label} is NaN."
            )


@dataclass(frozen=True)
class FrameResult:
    """Frame accuracy, and the average precision of each class that some frame has."""

    accuracy: float
    labels: Int[Array, " c"]
    ap: Float[Array, " c"]
    num_frames: int

    @property
    def mean_ap(self) -> float:
        """The frame mAP; NaN when all frames are background."""
        return float(self.ap.mean()) if len(self.ap) else float("nan")


def evaluate_frames(videos: Iterable[Frames]) -> FrameResult:
    """Frame accuracy and frame mAP over the frames of all videos together, as on COIN.

    A frame is taken for background when none of its logits is above 0, and else for its best
    class, of equal ones the first; of several true classes either is right. AP is not interpolated
    and background is no class: the mean over a class's true frames of the precision among all
    frames with at least their logit, so that ties have no order (scikit-learn's
    ``average_precision_score``). Videos are read once, and of them only the logits are kept.
    Raises FormatError when there is no frame, or videos differ in their number of classes.
    Source: UnLoc, 4.1.1 and its code.
    """
    logits: list[Float[Array, "_ c"]] = []
    true_frames, true_labels = [], []
    num_right = num_frames = 0
    for frames in videos:
        if logits and frames.logits.shape[1] != logits[0].shape[1]:
            raise FormatError(
                f"Video {frames.video!r} has {frames.logits.shape[1]} classes, those before it "
                f"{logits[0].shape[1]}."
            )
        num_right += _count_right(frames)
        at, label = np.nonzero(frames.truth)
        true_frames.append(at + num_frames)
        true_labels.append(label)
        logits.append(frames.logits)
        num_frames += len(frames.logits)
    if num_frames == 0:
        raise FormatError("There is no frame to evaluate. Check the subset.")
    frames_of = _by_label(np.concatenate(true_frames), np.concatenate(true_labels))
    ap = [
        average_precision(column, frames_of[label])
        for label, column in _columns(logits, list(frames_of))
    ]
    return FrameResult(
        num_right / num_frames,
        np.array(list(frames_of), dtype=np.int64),
        np.array(ap, dtype=np.float64),
        num_frames,
    )


def average_precision(scores: Float[Array, " t"], positives: Int[Array, " n"]) -> float:
    """Non-interpolated AP of the rows ``positives``, at least one; ties count together."""
    found = np.sort(scores[positives])
    num_found = len(found) - np.searchsorted(found, found)
    num_ranked = len(scores) - np.searchsorted(np.sort(scores), found)
    return float((num_found / num_ranked).mean())


def _count_right(frames: Frames) -> int:
    best = frames.logits.argmax(axis=1)
    rows = np.arange(len(best))
    is_background = frames.logits[rows, best] <= 0
    is_right = np.where(is_background, ~frames.truth.any(axis=1), frames.truth[rows, best])
    return int(is_right.sum())


def _by_label(frames: Int[Array, " n"], labels: Int[Array, " n"]) -> dict[int, Int[Array, " _"]]:
    order = np.argsort(labels, kind="stable")
    present, first = np.unique(labels[order], return_index=True)
    parts = np.split(frames[order], first)[1:]
    return dict(zip(present.tolist(), parts, strict=True))


def _columns(
    logits: Sequence[Float[Array, "_ c"]], labels: Sequence[int]
) -> Iterator[tuple[int, Float[Array, " t"]]]:
    """Each class's logits over all videos, gathered some classes at a time."""
    for start in range(0, len(labels), _CLASSES_AT_ONCE):
        chosen = labels[start : start + _CLASSES_AT_ONCE]
        columns = np.concatenate([part[:, chosen] for part in logits]).T
        yield from zip(chosen, columns, strict=True)


# labelled frames ---------------------------------------------------------------------------


@dataclass(frozen=True)
class SegmentationResult:
    """MoF, Edit score and F1 at each tIoU."""

    mof: float
    edit: float
    tious: tuple[float, ...]
    f1: Float[Array, " tious"]


def evaluate_segmentation(
    predicted: Mapping[str, Labels],
    truth: Mapping[str, Labels],
    *,
    tious: Sequence[float] = (0.1, 0.25, 0.5),
    background: Collection[int] = (),
) -> SegmentationResult:
    """MoF, Edit and F1 of one label per frame, by video id, as MS-TCN's evaluator has them.

    MoF is the share of right frames, all videos together. Edit is 1 minus the Levenshtein
    distance of the two orders of segments, as a share of the longer one, averaged over videos. F1
    counts over all videos: a predicted segment, taken in order of time, is right when the true
    one of its label with the best tIoU, the first of equals, is not taken and the tIoU reaches
    the threshold. Segments of ``background`` labels count in MoF alone. Where there is nothing to
    find and nothing was found, Edit and F1 are 1. Raises FormatError when a video is missing on
    one side, differs in length, or there is no frame.
    """
    _check_videos(predicted, truth)
    num_right = sum(int((predicted[video] == truth[video]).sum()) for video in truth)
    edits: list[float] = []
    num_hits = np.zeros(len(tious), dtype=np.int64)
    num_segments = 0
    for video in truth:
        found, found_labels = _segments(predicted[video], background)
        true, true_labels = _segments(truth[video], background)
        edits.append(_edit_score(found_labels, true_labels))
        overlap = temporal_iou(found, true) * (found_labels[:, None] == true_labels)
        num_hits += _count_hits(overlap, tious)
        num_segments += len(found) + len(true)
    f1 = 2 * num_hits / num_segments if num_segments else np.ones(len(tious))
    num_frames = sum(len(labels) for labels in truth.values())
    return SegmentationResult(num_right / num_frames, float(np.mean(edits)), tuple(tious), f1)


def _check_videos(predicted: Mapping[str, Labels], truth: Mapping[str, Labels]) -> None:
    if not any(len(labels) for labels in truth.values()):
        raise FormatError("The ground truth holds no frame. Check the subset.")
    for video in {**truth, **predicted}:
        if video not in truth or video not in predicted:
            side = "predictions" if video in truth else "ground truth"
            raise FormatError(f"Video {video!r} is missing in the {side}.")
        if len(predicted[video]) != len(truth[video]):
            raise FormatError(
                f"Video {video!r}: {len(predicted[video])} predicted frames, "
                f"{len(truth[video])} annotated ones. Sample both at the same times."
            )


def _segments(
    labels: Labels, background: Collection[int]
) -> tuple[Float[Array, "n 2"], Int[Array, " n"]]:
    """The runs of one label, in frames, without background, and their labels."""
    first = np.flatnonzero(np.append(True, labels[1:] != labels[:-1])[: len(labels)])
    ends = np.append(first[1:], len(labels))[: len(first)]
    keep = ~np.isin(labels[first], list(background))
    return np.stack([first, ends], axis=1)[keep].astype(np.float64), labels[first][keep]


def _count_hits(overlap: Float[Array, "n m"], tious: Sequence[float]) -> Int[Array, " tious"]:
    """How many true segments are taken: each by the first of those that like it best."""
    if overlap.size == 0:
        return np.zeros(len(tious), dtype=np.int64)
    liked, tiou = overlap.argmax(axis=1), overlap.max(axis=1)
    return np.array([len(np.unique(liked[tiou >= threshold])) for threshold in tious])


def _edit_score(a: Labels, b: Labels) -> float:
    """1 minus the Levenshtein distance over the longer length; two empty orders are equal."""
    steps = np.arange(len(b) + 1)
    distance = steps
    for i, label in enumerate(a, start=1):
        replaced_or_deleted = np.minimum(distance[:-1] + (b != label), distance[1:] + 1)
        row = np.append(i, replaced_or_deleted)
        distance = np.minimum.accumulate(row - steps) + steps  # then what is cheaper to insert
    longer = max(len(a), len(b))
    return 1.0 - int(distance[-1]) / longer if longer else 1.0
