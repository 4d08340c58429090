"""How well the snippets that show a given label are found: GRIZAL's metrics, of any method.

A method that gives each class and snippet a score says of a label where it is above one half; the
region is compared with the union of what is annotated. The label is given: nothing asks whether it
occurs. Such numbers stand beside no mAP.
"""

from collections.abc import Mapping, Sequence

from openmoment.evaluation.retrieval import Retrieved, region_recall
from openmoment.postprocess import runs
from openmoment.types import Annotations, Detections

MEAN_IOU = "mIoU"
_SHOWN = 0.5


def label_given(
    predictions: Mapping[str, Detections],
    truth: Mapping[str, Annotations],
    tious: Sequence[float],
) -> dict[str, float]:
    """R@tIoU and mIoU over all pairs of a video and a class that it shows, as fractions.

    Empty where a class has no score for each snippet, and where nothing is annotated.
    Source: GRIZAL, appendix S.2.2.
    """
    predicted: dict[tuple[str, str], Retrieved] = {}
    durations_s: dict[str, float] = {}
    true = {
        (video, known.names[label]): known.segments[known.labels == label]
        for video, known in truth.items()
        for label in sorted(set(known.labels.tolist()))
    }
    for video, name in true:
        found = predictions.get(video)
        origin = None if found is None else found.origin
        if found is None or origin is None or origin.curves is None or origin.grid is None:
            return {}
        if name not in found.names:
            return {}
        curve = origin.curves[found.names.index(name)]
        segments = origin.grid.runs_to_seconds(runs(curve > _SHOWN))
        predicted[video, name] = Retrieved(segments, segments[:, 1] - segments[:, 0])
        told_s = truth[video].duration_s  # NaN where annotations do not say
        durations_s[video] = told_s if told_s > 0 else origin.duration_s
    if not true:
        return {}
    scores = region_recall(predicted, true, durations_s, tious=tious)
    recalls = {f"R@IoU{tiou:g}": float(scores.at(1, tiou)) for tiou in tious}
    return recalls | {MEAN_IOU: float(scores.mean_iou)}
