"""Sentences and labels of frames in real video: UnLoc on classes that it never met.

    python benchmarks/real_tasks.py [--task mr,as] [--rotations 0,1,2]

The videos and rotations of `benchmarks/zero_shot.py real`: composed of real clips, six classes
trained on, three tested, no source recording on both sides. ``mr``: the sentences are "a person
does NAME", and the moments of each are to be ranked. ``as``: every half second gets a label, or
none. Trained networks are kept in the cache folder.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from statistics import mean

import torch
from sets import compose_split, data_root
from zero_shot import ROOT, SMALL

from openmoment.checkpoints.card import is_finished
from openmoment.datasets import load_dataset
from openmoment.datasets.base import Dataset, Moment, RetrievalDataset, prompt_name
from openmoment.encoders import load_encoder
from openmoment.evaluation.protocol import Protocol
from openmoment.experiments.detection import SnippetSource, text_checks
from openmoment.experiments.retrieval import run_retrieval, sentence_checks
from openmoment.experiments.segmentation import apart, run_segmentation
from openmoment.features.cache import Cache
from openmoment.pipeline import load_pipeline
from openmoment.pipeline.answering import Pipeline
from openmoment.training.processes import start_processes
from openmoment.training.run import class_splits, make_plan, train_split

BACKBONE = "embedded"
SETTINGS = {
    "mr": {"task": "mr", "length": 128, "batch_size": 8},
    "as": {"task": "as", "length": 128, "time_axis": "window", "window_fps": 2.0, "overlap": 0.0,
           "stretch": False, "batch_size": 4},
}  # fmt: skip
TRAINING = {"epochs": 30, "optimizer": "adamw", "schedule": "cosine", "weight_decay": 0.05,
            "clip": 1.0}  # fmt: skip
METRICS = {
    "mr": ("R@1,IoU=0.5", "R@1,IoU=0.7", "R@5,IoU=0.5", "mIoU"),
    "as": ("frame_accuracy", "mAP", "edit", "F1@0.5"),
}
Scores = dict[tuple[str, str], Mapping[str, float]]


def sentences(data: Dataset, seen: set[str]) -> RetrievalDataset:
    """A sentence for each class of a video: of seen ones to train on, of the others to test."""
    subsets: dict[str, tuple[Moment, ...]] = {}
    for subset, videos in data.subsets.items():
        subsets[subset] = tuple(
            Moment(
                f"{video}/{label}",
                video,
                f"a person does {prompt_name(true.names[label]).lower()}",
                true.segments[true.labels == label],
                true.duration_s,
            )
            for video, true in videos.items()
            for label in sorted(set(true.labels.tolist()))
            if (true.names[label] in seen) == (subset == data.train_subset)
        )
    return RetrievalDataset(data.name, subsets, data.train_subset, data.test_subset, "charades-sta")


def trained(
    task: str, data: Dataset | RetrievalDataset, root: Path, unseen: tuple[str, ...]
) -> Pipeline:
    """UnLoc as it is after training on a rotation, which is not done again."""
    checkpoint = root / f"unloc-{task}"
    if not is_finished(checkpoint):
        checkpoint.mkdir(exist_ok=True)
        given = {**SMALL["unloc"], **SETTINGS[task], **TRAINING}
        encoder = load_encoder(BACKBONE)
        plan = make_plan("unloc", data, root / "features", encoder, given=given, cache=Cache())
        (split,) = class_splits(data, unseen=unseen)
        train_split(plan, split, checkpoint, processes=start_processes("cpu", "fp32"))
    return load_pipeline(BACKBONE, checkpoint=checkpoint)


def retrieve(root: Path, unseen: tuple[str, ...]) -> Scores:
    data = load_dataset("folder", root)
    told = sentences(data, set(data.class_names) - set(unseen))
    pipelines = {"similarity": load_pipeline(BACKBONE), "unloc": trained("mr", told, root, ())}
    checks = {"the true sentences": tuple, **sentence_checks()}
    return {
        (name, kind): run_retrieval(
            told, SnippetSource(pipeline, root / "features"), rename=rename
        ).metrics
        for name, pipeline in pipelines.items()
        for kind, rename in checks.items()
    }


def label_frames(root: Path, unseen: tuple[str, ...]) -> Scores:
    data = load_dataset("folder", root)
    protocol = Protocol(data, unseen=unseen)
    pipelines = {"similarity": load_pipeline(BACKBONE), "unloc": trained("as", data, root, unseen)}
    checks = {"the true names": tuple, **text_checks()}
    found: Scores = {}
    for name, pipeline in pipelines.items():
        source = SnippetSource(apart(pipeline), root / "features")
        for kind, rename in checks.items():
            run = run_segmentation(protocol, source, rename=rename)
            found[name, kind] = run.metrics
            nothing = run.all_background
            found["all background", ""] = {
                "frame_accuracy": nothing.accuracy,
                "mAP": nothing.mean_ap,
            }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--task", default="mr,as")
    parser.add_argument("--rotations", default="0,1,2")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rotations = [int(number) for number in options.rotations.split(",")]
    for task in options.task.split(","):
        answer = {"mr": retrieve, "as": label_frames}[task]
        runs = [answer(*compose_split(data_root(), ROOT, number)) for number in rotations]
        print(f"\n{task}, {len(runs)} rotations\n")
        print(f"| method | asked with | {' | '.join(METRICS[task])} |")
        print(f"|---|---|{'---|' * len(METRICS[task])}")
        for name, kind in runs[0]:
            rows = [run[name, kind] for run in runs]
            cells = [
                f"{100 * mean(row[metric] for row in rows):.1f}" if metric in rows[0] else ""
                for metric in METRICS[task]
            ]
            print(f"| {name} | {kind} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
