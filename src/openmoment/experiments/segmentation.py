"""A method over a dataset of action segmentation: what it says of every frame, scored.

Frames are two a second, as on COIN, each standing for its half second; a frame shows what is
annotated at its middle, of several steps the one that began last, or background. A method's
curves are probabilities: a frame has the class with the highest one where that is above one half.
"""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray as Array

from openmoment.datasets.base import prompt_name
from openmoment.datasets.splits import ZeroShot
from openmoment.errors import ConfigError
from openmoment.evaluation.protocol import ALL_CLASSES, Protocol
from openmoment.evaluation.result import Card
from openmoment.evaluation.segmentation import (
    FrameResult,
    Frames,
    SegmentationResult,
    evaluate_frames,
    evaluate_segmentation,
)
from openmoment.experiments.contender import Contender, Rename, SnippetSource
from openmoment.experiments.detection import find_missing, made_by, text_checks
from openmoment.experiments.kept import plain_published
from openmoment.experiments.progress import Advance
from openmoment.methods.base import Learns
from openmoment.pipeline.answering import Pipeline
from openmoment.postprocess import label_by_curves
from openmoment.storage.atomic import write_text
from openmoment.types import Annotations, Detections

FPS = 2.0
"""Frames a second, as COIN is evaluated."""
BACKGROUND = -1
"""The label of a frame without a step."""
RESULT = "segmentation.json"
_CLOSEST = 1e-7  # of a probability to 0 and to 1, so that its logit is finite


@dataclass(frozen=True)
class SegmentationRun:
    """How good a method is at labelling the frames of a subset, and who says so."""

    card: Card
    frames: FrameResult
    stretches: SegmentationResult
    """MoF, Edit and F1 of the same labels."""
    all_background: FrameResult
    """Of who says nothing of any frame."""
    classes: tuple[str, ...]
    num_videos: int

    @property
    def metrics(self) -> dict[str, float]:
        """By the names that papers use, as fractions."""
        f1 = zip(self.stretches.tious, self.stretches.f1.tolist(), strict=True)
        return {
            **frame_metrics(self.frames),
            "edit": self.stretches.edit,
            **{f"F1@{tiou:g}": value for tiou, value in f1},
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, with each class's AP."""
        ap = zip(self.frames.labels.tolist(), self.frames.ap.tolist(), strict=True)
        return {
            "card": vars(self.card),
            "num_videos": self.num_videos,
            "num_frames": self.frames.num_frames,
            "frames_per_second": FPS,
            "metrics": self.metrics,
            "all_background": frame_metrics(self.all_background),
            "classes": {self.classes[label]: value for label, value in ap},
        }


def frame_metrics(result: FrameResult) -> dict[str, float]:
    """Frame accuracy, which is MoF, and frame mAP by the names that papers use."""
    return {"frame_accuracy": result.accuracy, "mAP": result.mean_ap}


def segment_with_checks(
    protocol: Protocol, contender: Contender, *, keeps_overlap: bool = False
) -> tuple[SegmentationRun, dict[str, SegmentationRun]]:
    """Run a method over the frames of a dataset, and again for each text check.

    Windows of a trained method do not overlap, unless ``keeps_overlap``. Raises OpenMomentError.
    """
    trained = contender.trained(protocol)
    pipeline = trained.first() if trained else contender.load(None)
    source = contender.source(pipeline if keeps_overlap else apart(pipeline))
    with contender.bar(pipeline.method_name) as advance:
        run = run_segmentation(
            protocol,
            source,
            trained_on=trained.trained_on if trained else (),
            allow_missing=contender.allow_missing,
            advance=advance,
        )

    def again(rename: Rename, advance: Advance | None) -> SegmentationRun:
        return run_segmentation(
            protocol, source, allow_missing=True, rename=rename, advance=advance
        )

    return run, contender.ask_again(text_checks(), again)


def run_segmentation(
    protocol: Protocol,
    source: SnippetSource,
    *,
    trained_on: tuple[str, ...] = (),
    allow_missing: bool = False,
    rename: Rename = tuple,
    advance: Advance | None = None,
) -> SegmentationRun:
    """Label the frames of every test video of the protocol's one split, and score them.

    The videos are read one by one, and of each only what scores need is kept. ``trained_on`` are
    classes for the card. Raises ConfigError for a method without a score for every class and
    snippet, FeatureError for videos without features, unless ``allow_missing``: then they are left
    out, and the card lists them.
    """
    start = time.perf_counter()
    (part,) = protocol.parts.values()
    paths, test = source.paths(), part.test
    if protocol.setting == ALL_CLASSES:  # also those in which nothing is done
        test = protocol.dataset.subset(protocol.evaluated)
    missing = find_missing(test, paths, allow_missing=allow_missing)
    present = {video: true for video, true in test.items() if video in paths}
    labels = _Labels()
    scored = _scored(replace(part, test=present), source, rename, labels, advance)
    frames = evaluate_frames(scored)
    card = protocol.card(
        **made_by(source.pipeline),
        missing=missing,
        trained_on=trained_on,
        seconds=round(time.perf_counter() - start, 1),
    )
    return SegmentationRun(
        card,
        frames,
        evaluate_segmentation(labels.predicted, labels.true, background={BACKGROUND}),
        evaluate_frames(_silent(labels.true, len(part.candidates))),
        part.candidates,
        len(present),
    )


def apart(pipeline: Pipeline) -> Pipeline:
    """The pipeline with windows that do not overlap, where a trained method looks at windows.

    The last one ends with the video all the same, and may overlap the one before.
    """
    method = pipeline.method
    if not pipeline.traits.has_windows:
        return pipeline
    assert isinstance(method, Learns)
    return replace(pipeline, method=method.told({"overlap": 0.0}))


def to_document(run: SegmentationRun, checks: Mapping[str, SegmentationRun]) -> dict[str, Any]:
    """The result as JSON has it, with what papers report of the dataset."""
    document = run.to_dict()
    if checks:
        document["text_check"] = {name: check.metrics for name, check in checks.items()}
    document["published_percent"] = plain_published(run.card.dataset, "closed")
    return document


def keep_document(document: Mapping[str, Any], folder: Path) -> Path:
    """Write a result as `to_document` tells it into a folder, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / RESULT
    write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", path)
    return path


class _Labels:
    """Of every frame, by video."""

    def __init__(self) -> None:
        self.predicted: dict[str, Int[Array, " t"]] = {}
        self.true: dict[str, Int[Array, " t"]] = {}


def _scored(
    part: ZeroShot,
    source: SnippetSource,
    rename: Rename,
    labels: _Labels,
    advance: Advance | None,
) -> Iterator[Frames]:
    """The frames of one video after the other; their labels are noted on the way."""
    pipeline, paths = source.pipeline, source.paths()
    queries = pipeline.queries(rename([prompt_name(name) for name in part.candidates]))
    place = {name: i for i, name in enumerate(part.candidates)}
    for done, (video, true) in enumerate(part.test.items(), start=1):
        snippets = source.load(paths[video])
        found = pipeline.localize(snippets, queries, video=video)
        ends_s = true.duration_s if np.isfinite(true.duration_s) else snippets.duration_s
        times_s = frame_middles(ends_s)
        curves = curves_at(found, times_s)
        labels.predicted[video], _ = label_by_curves(curves)
        labels.true[video] = frame_labels(true, times_s, place)
        truth = one_hot(labels.true[video], len(place))
        yield Frames(video, to_logits(curves).T.astype(np.float32), truth)
        if advance:
            advance(done, len(part.test))


def _silent(true: Mapping[str, Int[Array, " t"]], num_classes: int) -> Iterator[Frames]:
    for video, labels in true.items():
        nothing = np.broadcast_to(np.float32(0), (len(labels), num_classes))
        yield Frames(video, nothing, one_hot(labels, num_classes))


# frames --------------------------------------------------------------------------------------


def frame_middles(duration_s: float, fps: float = FPS) -> Float[Array, " t"]:
    """The middles of a video's frames, in seconds; at least one."""
    return (np.arange(max(1, round(duration_s * fps))) + 0.5) / fps


def frame_labels(
    true: Annotations, times_s: Float[Array, " t"], place: Mapping[str, int]
) -> Int[Array, " t"]:
    """What is annotated at each time: of several steps the one that began last, else background.

    ``place`` numbers the classes by name. Source: UnLoc's code, where later segments overwrite
    earlier ones.
    """
    labels = np.full(len(times_s), BACKGROUND)
    for i in np.argsort(true.segments[:, 0], kind="stable"):
        start_s, end_s = true.segments[i]
        labels[(times_s >= start_s) & (times_s < end_s)] = place[true.names[true.labels[i]]]
    return labels


def curves_at(found: Detections, times_s: Float[Array, " t"]) -> Float[Array, "k t"]:
    """Each query's curve at these times, linear between the middles of its snippets.

    Raises ConfigError for a method that has none.
    """
    origin = found.origin
    assert origin
    if origin.curves is None or origin.grid is None:
        raise ConfigError(
            f"{origin.method} has no score for every class and moment: it cannot label frames."
        )
    middles_s = origin.grid.centres_s
    return np.stack([np.interp(times_s, middles_s, curve) for curve in origin.curves])


def to_logits(p: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Probabilities as logits, above 0 where a probability is above one half; all finite."""
    p = np.clip(p, _CLOSEST, 1 - _CLOSEST)
    return np.log(p) - np.log1p(-p)


def one_hot(labels: Int[Array, " t"], num_classes: int) -> Bool[Array, "t c"]:
    """True at each frame's class; nowhere for background."""
    return labels[:, None] == np.arange(num_classes)
