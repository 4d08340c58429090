"""Fit the probabilities of a backbone: how likely a query occurs, how likely a segment is right.

    python benchmarks/calibrate.py --backbone embedded

Logistic regression on the composed videos of half a of the source groups; prints the two
`Calibration`s to put into the backbone's space, and how they do on half b. Hard cuts and nine
classes: the probabilities are a guide, not a promise.
"""

import argparse
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
from sets import Video, composed, data_root
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from openmoment.encoders.base import Calibration
from openmoment.methods import load_method
from openmoment.methods.similarity import exceeded_for
from openmoment.pipeline import load_pipeline
from openmoment.pipeline.answering import Pipeline
from openmoment.postprocess import temporal_iou


def uncalibrated(pipeline: Pipeline) -> Pipeline:
    """The same pipeline, whose scores are the plain logistic function of the evidence."""
    space, plain = pipeline.encoder.space, Calibration(1.0, 0.0)
    bare = SimpleNamespace(
        logits=space.logits, evidence=space.evidence, presence=plain, match=plain
    )
    return replace(pipeline, method=load_method("similarity", bare, {"min_presence": 0}))


def collect(pipeline: Pipeline, videos: list[Video]) -> tuple[np.ndarray, ...]:
    """Presence evidence and truth per query; match evidence and truth per candidate."""
    levels, occurs, evidence, matches = [], [], [], []
    for video in videos:
        snippets = pipeline.snippets(video.path)
        queries = pipeline.queries(video.names)
        margins = pipeline.method.margins(snippets, queries)
        levels += exceeded_for(margins, snippets.grid, 2.0).tolist()
        true = set(video.truth.labels.tolist())
        occurs += [k in true for k in range(len(queries))]
        found = pipeline.method.localize(snippets, queries)
        for label in true:
            mine = found[found.labels == label]
            same = video.truth.segments[video.truth.labels == label]
            evidence += np.log(mine.scores / (1 - mine.scores)).tolist()
            matches += (temporal_iou(mine.segments, same).max(axis=1) >= 0.5).tolist()
    return tuple(map(np.array, (levels, occurs, evidence, matches)))


def fit(evidence: np.ndarray, truth: np.ndarray, *, balanced: bool) -> Calibration:
    model = LogisticRegression(C=100.0, class_weight="balanced" if balanced else None)
    model.fit(evidence[:, None], truth)
    slope = float(model.coef_[0, 0])
    return Calibration(round(slope, 3), round(-float(model.intercept_[0]) / slope, 3))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--backbone", default="embedded")
    pipeline = uncalibrated(load_pipeline(parser.parse_args().backbone))
    halves = {}
    for part in "ab":
        videos = [video for rotation in composed(data_root(), part) for video in rotation]
        halves[part] = collect(pipeline, videos)
    levels, occurs, evidence, matches = halves["a"]
    presence, match = fit(levels, occurs, balanced=True), fit(evidence, matches, balanced=False)
    print(f"presence = {presence}\nmatch = {match}")
    for part, (levels, occurs, evidence, matches) in halves.items():
        said = levels > presence.middle
        print(
            f"half {part}: presence AUC {roc_auc_score(occurs, levels):.3f}, says yes to "
            f"{said[occurs].mean():.0%} of the present and {said[~occurs].mean():.0%} of the "
            f"absent; match AUC {roc_auc_score(matches, evidence):.3f}"
        )


if __name__ == "__main__":
    main()
