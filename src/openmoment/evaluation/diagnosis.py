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
from jaxtyping import Bool, Float, Int
from numpy import ndarray as Array

from openmoment.errors import ConfigError
from openmoment.evaluation.detection import (
    Matching,
    evaluate_detection,
    match_columns,
    to_columns,
)
from openmoment.evaluation.matching import Columns, overlapping
from openmoment.evaluation.tables import percent
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
    "length": (3.0, 6.0, 12.0, 30.0, 60.0, 120.0),
    "coverage": (0.02, 0.04, 0.08, 0.2, 0.4, 0.6, 0.8),
    "instances": (1.0, 4.0, 8.0, 40.0, 80.0),
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
        tious = ", ".join(f"{tiou:g}" for tiou in self.tious)
        parts = [_to_text(name, group, self.top_ns) for name, group in self.groups.items()]
        return "\n\n".join([f"In percent, mean over tIoU {tious}.", *parts])


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

    tious: tuple[float, ...]
    matching: Matching
    predicted: Columns
    scores: Float[Array, " n"]
    true: Columns
    classes: tuple[str, ...]
    durations_s: Float[Array, " annotated"]
    """Of the annotated videos, whose numbers come first."""


def line_up(
    predictions: Mapping[str, Detections],
    truth: Mapping[str, Annotations],
    tious: Sequence[float],
) -> LinedUp:
    """The columns behind `match`. Raises FormatError as `evaluate_detection`."""
    predicted, scores, true, classes, _ = to_columns(predictions, truth)
    matching = match_columns(predicted, scores, true, len(classes), tious)
    durations_s = np.array([annotations.duration_s for annotations in truth.values()])
    true = true[matching.order]
    return LinedUp(tuple(tious), matching, predicted, scores, true, classes, durations_s)


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
    best, is_own = _best_overlaps(lined)
    matching = lined.matching
    known = np.flatnonzero(matching.prediction_labels >= 0)
    order = known[np.lexsort((matching.ranks[known], matching.prediction_labels[known]))]
    labels, best, is_own = matching.prediction_labels[order], best[order], is_own[order]
    first = np.searchsorted(labels, matching.instance_labels)
    far = np.where(best >= MIN_TIOU, np.where(is_own, _LOCALIZATION, _CONFUSION), _BACKGROUND)
    near = np.where(is_own, _DOUBLE, _WRONG_LABEL)
    is_near = best[:, None] >= np.array(lined.tious)
    kinds = np.where(is_near, near[:, None].astype(np.int8), far[:, None].astype(np.int8))
    for j, holders in enumerate(matching.holders.T):
        is_found = holders < matching.nobody
        kinds[(first + holders - 1)[is_found], j] = 0
    return Ranked(labels, matching.ranks[order], kinds)


def _best_overlaps(lined: LinedUp) -> tuple[Float[Array, " n"], Bool[Array, " n"]]:
    """Of each prediction the highest tIoU, and whether one of its own class has it."""
    order = np.argsort(lined.true.videos, kind="stable")
    true, predicted = lined.true[order], lined.predicted
    pairs = overlapping(
        predicted.segments,
        predicted.videos,
        true.segments,
        true.videos,
        min_tiou=min(MIN_TIOU, *lined.tious),
    )
    best = np.zeros(len(predicted))
    np.maximum.at(best, pairs.prediction, pairs.tiou)
    is_best = pairs.tiou == best[pairs.prediction]
    is_own = np.zeros(len(predicted), dtype=bool)
    mine = predicted.labels[pairs.prediction] == true.labels[pairs.instance]
    is_own[pairs.prediction[is_best & mine]] = True
    return best, is_own


def _count(ranked: Ranked, lined: LinedUp) -> Int[Array, "c tious bands kinds"]:
    num_instances = np.bincount(lined.true.labels)
    band = (ranked.ranks - 1) // num_instances[ranked.labels]
    rows = np.flatnonzero(band < NUM_BANDS)
    shape = (len(lined.classes), len(lined.tious), NUM_BANDS, len(KINDS))
    at = ranked.labels[rows, None], np.arange(shape[1])[None], band[rows, None], ranked.kinds[rows]
    flat = np.ravel_multi_index(np.broadcast_arrays(*at), shape)
    return np.bincount(flat.ravel(), minlength=int(np.prod(shape))).reshape(shape)


def _average_precisions(ranked: Ranked, lined: LinedUp) -> Float[Array, "c tious one_plus_errors"]:
    """With all predictions, and without those of each kind of error.

    A false prediction takes no instance away from another, so that without it the ranks of the
    later ones fall by one and the matching stays.
    """
    num_instances = np.bincount(lined.true.labels)
    ap = np.zeros((len(lined.classes), len(lined.tious), len(KINDS)))
    ends = np.searchsorted(ranked.labels, np.arange(1, len(lined.classes)))
    for c, kinds in enumerate(np.split(ranked.kinds, ends)):
        for j, kind in enumerate(kinds.T):
            hits = np.flatnonzero(kind == 0)
            gone = (kind[:, None] == np.arange(len(KINDS))).cumsum(axis=0)[hits]
            gone[:, 0] = 0  # the first column keeps all
            precision = np.arange(1, len(hits) + 1)[:, None] / (hits[:, None] + 1 - gone)
            best_after = np.maximum.accumulate(precision[::-1], axis=0)
            ap[c, j] = best_after.sum(axis=0) / num_instances[c]
    return ap


# missed instances --------------------------------------------------------------------------


def _is_missed(matching: Matching) -> Bool[Array, "m tious"]:
    num_instances = np.bincount(matching.instance_labels)[matching.instance_labels]
    return matching.holders > np.minimum(NUM_BANDS * num_instances, matching.nobody - 1)[:, None]


def _measure(kind: str, lined: LinedUp) -> Float[Array, " m"]:
    """A property of each instance; NaN where it is not known."""
    true = lined.true
    if kind == "instances":
        pairs = np.stack([true.videos, true.labels], axis=1)
        _, of, counts = np.unique(pairs, axis=0, return_inverse=True, return_counts=True)
        return counts[of.reshape(-1)].astype(np.float64)
    length_s = true.segments[:, 1] - true.segments[:, 0]
    if kind == "length":
        return length_s
    if kind != "coverage":
        raise ConfigError(f"Buckets are by {', '.join(EDGES)}, got {kind!r}.")
    return _divide(length_s, lined.durations_s[true.videos])


def _fill(
    kind: str,
    ends: Sequence[float],
    lined: LinedUp,
    missed: Float[Array, " m"],
    chosen: Bool[Array, " m"],
) -> Missed:
    values = _measure(kind, lined)[chosen]
    # NaN is sorted to the end, where it has a bucket of its own.
    bucket = np.searchsorted([*ends, np.inf], values, side="left")
    names = (*_bucket_names(kind, ends), "unknown")
    return Missed(
        names,
        np.bincount(bucket, minlength=len(names)),
        np.bincount(bucket, weights=missed[chosen], minlength=len(names)),
    )


def _bucket_names(kind: str, ends: Sequence[float]) -> list[str]:
    """From each end, which belongs to the bucket below it, to the next."""
    if kind == "instances":
        starts = [1, *(int(end) + 1 for end in ends[:-1])]
        spans = [f"{a:g}" if a == b else f"{a:g}–{b:g}" for a, b in zip(starts, ends, strict=True)]
        return [*spans, f"over {ends[-1]:g}"]
    factor, unit = (1, "s") if kind == "length" else (100, "%")
    marks = [f"{factor * end:g}" for end in (0, *ends)]
    spans = [f"{a}–{b} {unit}" for a, b in zip(marks[:-1], marks[1:], strict=True)]
    return [*spans, f"over {marks[-1]} {unit}"]


# words and numbers -------------------------------------------------------------------------


def _divide(a: Float[Array, "*n"] | Int[Array, "*n"], b: Array) -> Float[Array, "*n"]:
    """NaN where the divisor is 0."""
    return np.divide(a, b, out=np.full(a.shape, np.nan), where=b != 0)


def _to_dict(group: GroupDiagnosis, top_ns: Sequence[int]) -> dict[str, Any]:
    return {
        "classes": list(group.classes),
        "num_instances": group.num_instances,
        "average_map": group.average_map,
        "shares": {
            kind: [None if np.isnan(share) else share for share in band.tolist()]
            for kind, band in zip(KINDS, group.shares.T, strict=True)
        },
        "gain": dict(zip(ERRORS, group.gain.tolist(), strict=True)),
        "missed": {
            kind: {
                name: {"num_instances": num, "num_missed": num_missed}
                for name, num, num_missed in zip(
                    found.buckets,
                    found.num_instances.tolist(),
                    found.num_missed.tolist(),
                    strict=True,
                )
            }
            for kind, found in group.missed.items()
        },
        "top_n_map": dict(zip(map(str, top_ns), group.top_n_map.tolist(), strict=True)),
    }


def _to_text(name: str, group: GroupDiagnosis, top_ns: Sequence[int]) -> str:
    from tabulate import tabulate

    def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
        align = ["left"] + ["right"] * (len(header) - 1)
        return tabulate(rows, header, tablefmt="plain", colalign=align, disable_numparse=True)

    bands = [*(f"{band}G" for band in range(1, NUM_BANDS + 1)), "1–10G"]
    shares = np.vstack([group.shares, group.share_of_all]).T
    gains = ["", *(f"{100 * gain:+.2f}" for gain in group.gain)]
    kinds = [
        [kind, *("" if np.isnan(share) else percent(share) for share in row), gain]
        for kind, row, gain in zip(KINDS, shares.tolist(), gains, strict=True)
    ]
    title = (
        f"{name} classes: {len(group.classes)}, instances: {group.num_instances}, "
        f"average mAP: {percent(group.average_map)}"
    )
    limited = [*map(percent, group.top_n_map.tolist()), percent(group.average_map)]
    parts = [
        table(["share of the best predictions", *bands, "mAP without"], kinds),
        *(
            table([f"missed, by {kind}", "instances", "missed", "share"], _rows(found))
            for kind, found in group.missed.items()
        ),
        table(["predictions per video", *map(str, top_ns), "all"], [["average mAP", *limited]]),
    ]
    return "\n\n".join([title, *parts])


def _rows(found: Missed) -> list[list[str]]:
    columns = found.buckets, found.num_instances, found.num_missed, found.share
    return [
        [name, str(num), f"{num_missed:.1f}", percent(share)]
        for name, num, num_missed, share in zip(*columns, strict=True)
        if num
    ]
