"""Do trained detectors find classes that they never met? In the made-up world, and in real video.

    python benchmarks/zero_shot.py synthetic [--method contrans] [--setting 75-25] [--splits 0,1]
    python benchmarks/zero_shot.py real
    python benchmarks/zero_shot.py table
    python benchmarks/zero_shot.py proposals

``synthetic``: features of the made-up world (`openmoment datasets synthesize thumos14`), the
published class splits. ``real``: videos composed of real clips, ``embedded`` features, three
rotations of nine classes: trained on six, tested on three, no source recording on both sides, and
no clip of an unseen class in training, not as background either. Each split is trained and
evaluated on its own unseen classes, before and after training, with exchanged and with nonsense
names; `similarity` answers on the same features. `grizal` also has optical flow (made up, or DIS),
and in the made-up world pictures of the classes; `similarity+priors` has these too. Results are
kept in the cache folder, and what is there is not done again; ``table`` prints them.
``proposals``: how much of what happens, of whatever class, the checkpoints of split 0 propose.
"""

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from sets import add_flow, compose_split, data_root

from openmoment.checkpoints.card import is_finished
from openmoment.cli.synthesize import synthesize_verb
from openmoment.datasets import load_dataset
from openmoment.encoders import load_encoder
from openmoment.evaluation.detection import PROFILES, average_recall
from openmoment.evaluation.protocol import Protocol
from openmoment.experiments.detection import SnippetSource, run, text_checks
from openmoment.features.cache import Cache
from openmoment.methods import METHODS
from openmoment.pipeline import load_pipeline
from openmoment.pipeline.answering import Pipeline
from openmoment.priors import read_priors
from openmoment.storage.atomic import write_text
from openmoment.training.processes import start_processes
from openmoment.training.run import class_splits, make_plan, train_split
from openmoment.types import Detections

ROOT = Cache().root / "benchmarks" / "zero-shot"
METHOD_NAMES = (
    "similarity",
    "similarity+priors",
    "contrans",
    "stale",
    "unloc",
    "grizal",
    "two_stage",
    "dense_clip",
    "effprompt",
)
SHORT = {"length": 128}
"""What makes a run short enough for two cores; all else is the preset's."""
EPOCHS = {
    "contrans": 5,
    "stale": 5,
    "unloc": 5,
    "grizal": 6,
    "two_stage": 5,
    "dense_clip": 5,
    "effprompt": 5,
}
BMN = {"batch_size": 4, "width": 128, "sample_width": 64, "map_width": 32}
SMALL = {
    "two_stage": BMN,
    "effprompt": BMN,
    "unloc": {
        "width": 128,
        "heads": 4,
        "inner": 512,
        "layers": 2,
        "num_negative_classes": 3,
        "lr": 5e-4,
    },
    "grizal": {
        "width": 128,
        "heads": 4,
        "inner": 512,
        "vle_layers": 2,
        "ofe_layers": 1,
        "f_layers": 2,
        "dropout": 0.0,
        "time_axis": "window",
        "batch_size": 2,
        "lr": 1e-3,
    },
}
"""A network that two cores train in minutes, where the preset's is made for a GPU."""
PAPER = {
    "contrans": {"epochs": 13},
    "stale": {"epochs": 13, "context_tokens": 0, "text_encoder": "frozen"},
    "two_stage": BMN,
    "dense_clip": {"epochs": 13, "context_tokens": 0},
    "effprompt": BMN,
}
"""The presets of the papers, but for about as many steps as above, with a small BMN, and without
the learned words of STALE and DenseCLIP, which a text tower would read in every step."""
TOLD = {"found": "the true names", "untrained": "the true names, before training"}
KINDS = ("found", "untrained", "names exchanged", "nonsense words")
BUDGETS = (1, 2, 5, 10, 20, 50, 100)
"""Proposals a video, on average."""


@dataclass(frozen=True)
class Job:
    """One method on one split of one world."""

    world: str
    setting: str
    split: str
    method: str
    preset: str
    dataset: str
    root: Path
    unseen: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        return ROOT / self.world / self.setting / self.split / f"{self.method}-{self.preset}"

    @property
    def given(self) -> dict[str, object]:
        if self.preset == "paper":
            return PAPER[self.method]
        epochs = EPOCHS[self.method] * (1 if self.world == "synthetic" else 4)
        return SHORT | SMALL.get(self.method, {}) | {"epochs": epochs}


def do(job: Job, backbone: str) -> None:
    """Train, evaluate, keep."""
    kept = job.folder / "scores.json"
    if kept.is_file():
        return
    job.folder.mkdir(parents=True, exist_ok=True)
    data = load_dataset(job.dataset, job.root)
    splits = () if job.unseen else (int(job.split),)
    setting = "all" if job.unseen else job.setting
    protocol = Protocol(data, setting, splits, unseen=job.unseen)
    features, encoder = job.root / "features", load_encoder(backbone)
    name, *more = job.method.split("+")
    ranking = {**METHODS[name].RANKING}
    folder = job.root / "priors"
    has_priors = folder.is_dir() and ("priors" in more or name == "grizal")
    pipelines: dict[str, Pipeline] = {}
    if name == "similarity":
        pipelines["found"] = load_pipeline(backbone, settings=ranking)
    else:
        plan = make_plan(
            job.method,
            data,
            features,
            encoder,
            preset=f"thumos14-{job.preset}",
            given=job.given,
            cache=Cache(),
            priors=folder if has_priors else None,
        )
        checkpoint = job.folder / "checkpoint"
        (split,) = class_splits(data, setting, job.split if splits else None, job.unseen)
        if not is_finished(checkpoint):
            checkpoint.mkdir(exist_ok=True)
            train_split(plan, split, checkpoint, processes=start_processes("cpu", "fp32"))
        pipelines["found"] = load_pipeline(backbone, checkpoint=checkpoint, settings=ranking)
        pipelines["untrained"] = fresh(pipelines["found"])
    scores = {}
    for kind in KINDS:
        pipeline = pipelines.get(kind, pipelines["found"])
        pipeline = replace(pipeline, priors=read_priors(folder) if has_priors else None)
        if kind == "untrained" and kind not in pipelines:
            continue
        rename = text_checks().get(kind, tuple)
        found = run(protocol, SnippetSource(pipeline, features), rename=rename)
        scores[kind] = found.result.mean | found.result.label_given
    write_text(json.dumps(scores, indent=1), kept)
    print(
        job.folder.relative_to(ROOT), {k: round(100 * v["mAP_avg"], 1) for k, v in scores.items()}
    )


def fresh(pipeline: Pipeline) -> Pipeline:
    """The same method as it was before training."""
    torch.manual_seed(0)
    method = pipeline.method
    made = type(method)(method.config, method.space, method.widths)
    return replace(pipeline, method=made.eval())


def synthetic(options: argparse.Namespace) -> None:
    root = ROOT / "synthetic-thumos14"
    if not (root / "priors").is_dir():
        synthesize_verb("thumos14", root, flow=True, priors=True)
    for setting in options.setting.split(","):
        for split in options.splits.split(","):
            for method in options.method.split(","):
                job = Job(
                    "synthetic", setting, split, method, options.preset, "synthetic-thumos14", root
                )
                do(job, "synthetic")


def real(options: argparse.Namespace) -> None:
    for rotation in range(3):
        root, unseen = compose_split(data_root(), ROOT, rotation)
        if "grizal" in options.method:
            add_flow(root)
        for method in options.method.split(","):
            if "+" in method:
                continue  # there are no pictures of real classes
            job = Job(
                "real", "six-three", str(rotation), method, options.preset, "folder", root, unseen
            )
            do(job, "embedded")


def table(_: argparse.Namespace) -> None:
    """All that is there, as docs/benchmarks.md has it."""
    found: dict[tuple[str, ...], dict[str, list[dict]]] = {}
    for path in sorted(ROOT.glob("*/*/*/*/scores.json")):
        world, setting, _, method = path.parent.relative_to(ROOT).parts
        name, _, preset = method.rpartition("-")
        group = found.setdefault((world, setting, preset), {})
        group.setdefault(name, []).append(json.loads(path.read_text()))
    for (world, setting, preset), methods in found.items():
        tious = [n for n in next(iter(methods.values()))[0]["found"] if n.startswith("mAP@")]
        print(f"\n{world}, {setting}, {preset}\n")
        heads = ["method", "asked with", "splits", *(n[4:] for n in tious), "average"]
        print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
        for name, scores in methods.items():
            for kind in scores[0]:
                print(row(name, kind, [score[kind] for score in scores], tious))
        regions = {n: [s for s in scores if "mIoU" in s["found"]] for n, scores in methods.items()}
        if given := {name: scores for name, scores in regions.items() if scores}:
            print(f"\n{world}, {setting}, {preset}, label given\n")
            names = [name for name in next(iter(given.values()))[0]["found"] if name[0] != "m"]
            heads = ["method", "asked with", "splits", *(name[5:] for name in names), "mIoU"]
            print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
            for name, scores in given.items():
                for kind in scores[0]:
                    print(row(name, kind, [score[kind] for score in scores], names, "mIoU"))


def row(
    method: str, kind: str, scores: list[dict], tious: list[str], average: str = "mAP_avg"
) -> str:
    """The mean over the splits at each tIoU, and of the average its deviation too."""
    values = 100 * torch.tensor([[s[n] for n in [*tious, average]] for s in scores])
    mean, spread = values.mean(dim=0), values[:, -1].std() if len(scores) > 1 else None
    whole = f"{mean[-1]:.1f}" + ("" if spread is None else f" ± {spread:.1f}")
    cells = [f"`{method}`", TOLD.get(kind, kind), len(scores), *(f"{m:.1f}" for m in mean[:-1])]
    return f"| {' | '.join(map(str, cells))} | {whole} |"


def proposals(_: argparse.Namespace) -> None:
    """AR@AN on unseen classes, labels aside, of what is there of split 0 of 75-25."""
    root = ROOT / "synthetic-thumos14"
    protocol = Protocol(load_dataset("synthetic-thumos14", root), "75-25", (0,))
    print(f"| method | {' | '.join(f'AR@{n}' for n in BUDGETS)} | AUC |")
    print("|---" * (len(BUDGETS) + 2) + "|")
    for name in METHOD_NAMES:
        checkpoint = ROOT / "synthetic" / "75-25" / "0" / f"{name}-recommended" / "checkpoint"
        if name == "similarity":
            ranking = {**METHODS[name].RANKING}
            show_recall(name, load_pipeline("synthetic", settings=ranking), protocol, root)
        elif name != "grizal" and is_finished(checkpoint):  # which asks for flow and pictures
            trained = load_pipeline("synthetic", checkpoint=checkpoint).ranking()
            show_recall(name, trained, protocol, root)
            show_recall(f"{name}, before training", fresh(trained), protocol, root)
    print("\nmAP_avg with the true segments as proposals:")
    for name in ("two_stage", "effprompt"):
        checkpoint = ROOT / "synthetic" / "75-25" / "0" / f"{name}-recommended" / "checkpoint"
        oracle = load_pipeline("synthetic", checkpoint=checkpoint, settings={"proposals": "gt"})
        source = SnippetSource(oracle.ranking(), root / "features")
        mean = run(protocol, source, tells_truth=True).result.mean["mAP_avg"]
        print(f"{name}: {100 * mean:.1f}")


def show_recall(name: str, pipeline: Pipeline, protocol: Protocol, root: Path) -> None:
    """A row of the table of proposals."""
    told = run(protocol, SnippetSource(pipeline, root / "features"))
    found = {video: without_labels(each) for video, each in told.predictions["0"].items()}
    result = average_recall(found, told.truth["0"], tious=PROFILES["activitynet"])
    cells = [f"{100 * value:.1f}" for value in (*map(result.at, BUDGETS), result.auc)]
    print(f"| {name} | {' | '.join(cells)} |", flush=True)


def without_labels(found: Detections) -> Detections:
    """Each segment once, under its best score."""
    _, best = np.unique(found.segments, axis=0, return_index=True)
    return found[np.sort(best)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=("synthetic", "real", "table", "proposals"))
    parser.add_argument("--method", default=",".join(METHOD_NAMES))
    parser.add_argument("--setting", default="75-25,50-50")
    parser.add_argument("--splits", default=",".join(map(str, range(10))))
    parser.add_argument("--preset", default="recommended")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    verbs = {"synthetic": synthetic, "real": real, "table": table, "proposals": proposals}
    verbs[options.what](options)


if __name__ == "__main__":
    main()
