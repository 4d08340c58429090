"""What goes wrong in detection results, and what each kind of error costs.

After Alwassel et al., Diagnosing Error in Temporal Action Detectors (DETAD), ECCV 2018. G is the
number of instances of a prediction's class; the best 10G predictions of each class are looked at,
in ten bands of G. Everything is a mean over the tIoU thresholds, as the average mAP is.

- Whether a prediction is true is decided as in `openmoment.evaluation.detection`.
- The kind of a false one is decided by the instance of any class that it overlaps most; of
  equal ones by that of its own class (DETAD: by the first), so that two names of one action do
  not count against each other.
- An instance is missed when none of the best 10G predictions of its class matches it. (DETAD
  sets a limit on precision in place of 10G.)
- The gain is that of the average mAP, without DETAD's normalization, when all predictions of a
  kind are taken away, so that it starts at the mAP that papers report.

Axes: n predictions, m instances, c classes, kinds as in `KINDS`.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray as Array

from openmoment.evaluation.detection import Matching, evaluate_detection, match
from openmoment.evaluation.matching import Columns
from openmoment.postprocess import top
from openmoment.types import Annotations, Detections

ERRORS = ("double detection", "wrong label", "localization", "confusion", "background")
"""What a false prediction is: of its best instance the tIoU is high enough, but that is taken
or of another class; the tIoU is too low, with its own or another class; or it is below 0.1."""

KINDS = ("true positive", *ERRORS)

MIN_TIOU = 0.1
"""Below it a prediction has nothing to do with an instance."""

NUM_BANDS = 10

TOP_NS = (1, 2, 5, 10, 20, 50, 100)

EDGES: dict[str, tuple[float, ...]] = {
    "length": (3, 6, 12, 30, 60, 120),
    "coverage": (0.02, 0.04, 0.08, 0.2, 0.4, 0.6, 0.8),
    "instances": (1, 4, 8, 40, 80),
}
"""Upper ends of the buckets, the last of which is open. In seconds, in shares of the video, in
instances of the class in the video. DETAD's for THUMOS14 and for ActivityNet, joined and thinned,
so that results on both can be laid side by side."""

_DOUBLE, _WRONG_LABEL, _LOCALIZATION, _CONFUSION, _BACKGROUND = range(1, len(KINDS))


@dataclass(frozen=True)
class Missed:
    """Instances by bucket, and how many of each are missed, on average over the tIoUs."""

    buckets: tuple[str, ...]
    num_instances: Int[Array, " buckets"]
    num_missed: Float[Array, " buckets"]

    @property
    def share(self) -> Float[Array, " buckets"]:
        """NaN where there is no instance."""
        return _divide(self.num_missed, self.num_instances)


@dataclass(frozen=True)
class GroupDiagnosis:
    """The diagnosis of some classes; labels and overlaps are judged among all."""

    classes: tuple[str, ...]
    num_instances: int
    average_map: float
    counts: Int[Array, "tious bands kinds"]
    """Predictions of each kind, in bands of G predictions."""
    gain: Float[Array, " errors"]
    """By how much the average mAP rises without the predictions of each of `ERRORS`."""
    missed: Mapping[str, Missed]
    """By each property in `EDGES`."""
    top_n_map: Float[Array, " points"]
    """The average mAP of the top n predictions of each video, all classes together."""

    @property
    def shares(self) -> Float[Array, "bands kinds"]:
        """The share of each kind in each band; NaN where no prediction is left."""
        counts = self.counts.sum(axis=0)
        return _divide(counts, counts.sum(axis=1, keepdims=True))

    @property
    def share_of_all(self) -> Float[Array, " kinds"]:
        """The share of each kind in the bands together."""
        counts = self.counts.sum(axis=(0, 1))
        return _divide(counts, counts.sum(keepdims=True))


@dataclass(frozen=True)
class Diagnosis:
    """The diagnosis of all classes, under "all", and of each group, by its name."""

    tious: tuple[float, ...]
    top_ns: tuple[int, ...]
    groups: Mapping[str, GroupDiagnosis]

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold; what is not a number is None."""
        groups = {name: _to_dict(group, self.top_ns) for name, group in self.groups.items()}
        return {"tious": list(self.tious), "groups": groups}

    def to_text(self) -> str:
        """Tables to read, in percent."""
        from openmoment.evaluation.diagnosis_text import to_text

        return to_text(self)


def diagnose(
    predictions: Mapping[str, Detections],
    truth: Mapping[str, Annotations],
    *,
    tious: Sequence[float],
    groups: Mapping[str, Collection[str]] | None = None,
    top_ns: Sequence[int] = TOP_NS,
    edges: Mapping[str, Sequence[float]] = EDGES,
) -> Diagnosis:
    """What the predictions are, what they miss, and what that costs.

    ``groups`` are class names, such as the seen and the unseen ones; a group without instances is
    left out. ``edges`` are upper ends of buckets for any of "length", "coverage" and
    "instances". Raises FormatError as `evaluate_detection`.
    """
    lined = line_up(predictions, truth, tious)
    ranked = _rank(lined)
    counts, ap = _count(ranked, lined), _average_precisions(ranked, lined)
    top_n_ap = [evaluate_detection(_limited(predictions, n), truth, tious=tious).ap for n in top_ns]
    missed = _is_missed(lined.matching).mean(axis=1)
    found: dict[str, GroupDiagnosis] = {}
    for name, members in {"all": lined.classes, **(groups or {})}.items():
        chosen = np.array([each in members for each in lined.classes])
        if not chosen.any():
            continue
        mean_ap = ap[chosen].mean(axis=(0, 1))
        is_mine = chosen[lined.true.labels]
        found[name] = GroupDiagnosis(
            tuple(each for each in lined.classes if each in members),
            int(is_mine.sum()),
            float(mean_ap[0]),
            counts[chosen].sum(axis=0),
            mean_ap[1:] - mean_ap[0],
            {kind: _fill(kind, ends, lined, missed, is_mine) for kind, ends in edges.items()},
            np.array([each[chosen].mean() for each in top_n_ap]),
        )
    return Diagnosis(tuple(tious), tuple(top_ns), found)


# columns -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class LinedUp:
    """Predictions and instances as columns, in the order of their matching."""

    matching: Matching
    predicted: Columns
    scores: Float[Array, " n"]
    true: Columns
    classes: tuple[str, ...]
    videos: tuple[str, ...]
    """Annotated ones first."""
    durations_s: Float[Array, " annotated"]


def line_up(
    predictions: Mapping[str, Detections],
    truth: Mapping[str, Annotations],
    tious: Sequence[float],
) -> LinedUp:
    """The columns behind `match`. Raises FormatError as `evaluate_detection`."""
    matching, classes, videos = match(predictions, truth, tious=tious)
    index = {name: i for i, name in enumerate(classes)}
    true_labels = [index[true.names[i]] for true in truth.values() for i in true.labels]
    true_videos = np.repeat(np.arange(len(truth)), [len(true) for true in truth.values()])
    order = np.lexsort((true_videos, true_labels))
    assert (true_videos[order] == matching.instance_videos).all()
    found = list(predictions.values())
    return LinedUp(
        matching,
        Columns(
            matching.prediction_videos,
            matching.prediction_labels,
            np.concatenate([np.zeros((0, 2)), *(each.segments for each in found)]),
        ),
        np.concatenate([np.zeros(0), *(each.scores for each in found)]),
        Columns(
            matching.instance_videos,
            matching.instance_labels,
            np.concatenate([true.segments for true in truth.values()])[order],
        ),
        classes,
        videos,
        np.array([true.duration_s for true in truth.values()]),
    )


def _limited(predictions: Mapping[str, Detections], n: int) -> dict[str, Detections]:
    return {video: top(found, n) for video, found in predictions.items()}


# kinds of predictions ----------------------------------------------------------------------


@dataclass(frozen=True)
class Ranked:
    """The kinds of the predictions of known classes, by class, best first."""

    labels: Int[Array, " n"]
    ranks: Int[Array, " n"]
    kinds: Int[Array, "n tious"]


def _rank(lined: LinedUp) -> Ranked:
    matching = lined.matching
    overlaps_any, is_own = _best_overlaps(lined)
    known = np.flatnonzero(matching.prediction_labels >= 0)
    keys = matching.ranks[known], matching.prediction_labels[known]
    order = known[np.lexsort(keys)]
    labels = matching.prediction_labels[order]
    first = np.searchsorted(labels, np.arange(len(lined.classes)))
    best, own = overlaps_any[order], is_own[order]
    kinds = np.zeros((len(order), matching.holders.shape[1]), dtype=np.int64)
    for j, tiou in enumerate(matching.tious):
        near = np.where(own, _LOCALIZATION, _CONFUSION)
        false = np.where(best >= MIN_TIOU, near, _BACKGROUND)
        kinds[:, j] = np.where(best >= tiou, np.where(own, _DOUBLE, _WRONG_LABEL), false)
    return Ranked(labels, matching.ranks[order], kinds)
