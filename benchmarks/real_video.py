"""How good are the answers on real video? Backbones times methods, on three sets.

    python benchmarks/real_video.py [--backbone embedded]

clips       short labelled clips: is the true name the best of 20 or 101 names, or among five?
composed    untrimmed videos with exact ground truth, clips between other clips: mAP, presence.
            Boundaries are hard cuts, so this is recognition over time more than localization.
continuous  footage without cuts, few videos: does the curve rise during the action (AUC)?

Settings and probabilities were chosen on half a of the source groups; half b is the report.
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from sets import (
    Video,
    composed,
    continuous,
    data_root,
    half_of,
    prompt_name,
    read_clips,
    thumos_names,
)
from sklearn.metrics import roc_auc_score

from openmoment.evaluation.detection import PROFILES, evaluate_detection
from openmoment.methods import Explains, HasCurves
from openmoment.methods.oracles import Oracle
from openmoment.methods.similarity import Similarity
from openmoment.methods.t3al import T3al
from openmoment.pipeline import load_pipeline
from openmoment.pipeline.answering import Pipeline
from openmoment.types import Detections, Queries

TIOUS = PROFILES["fine"]
UCF101_NAMES = Path(__file__).parent / "ucf101_names.txt"
NONSENSE = ("blorf", "wugging", "trimbly", "snarp", "quolt", "femmick", "dax", "plirtz")
METHODS = {
    "similarity": {**Similarity.RANKING},
    "frame_threshold": {},
    "frame_threshold, 0.5": {"threshold": 0.5},
    "whole_video": {"top_labels": 100},
    "t3al, T=0": {**T3al.RANKING, "steps": 0},
    "t3al": {**T3al.RANKING},
    "t3al, L_z alone": {**T3al.RANKING, "loss": "lz"},
    "t3al, L_s alone": {**T3al.RANKING, "loss": "ls"},
    "t3al, cross-entropy": {**T3al.RANKING, "loss": "bce"},
    "t3al, one label": {"labels": "single"},
}
ORACLES = {
    "class": {"knows_class": True},
    "count": {"knows_count": True},
    "selection": {"knows_selection": True},
    "all": {"knows_class": True, "knows_count": True, "knows_selection": True},
}
"""Of T3AL's Figure 4, in the setting of one label a video."""


def clips_table(pipeline: Pipeline, part: str) -> list[list[str]]:
    """Top-1 micro, top-1 macro, top-5 micro, in percent, by the mean of a clip's logits."""
    root = data_root()
    rows = [r for r in read_clips(root) if half_of(r["label"] + (r["group"] or r["path"])) == part]
    thumos = thumos_names(root)
    ucf = UCF101_NAMES.read_text().split()
    of_ucf = [(r["path"], r["label"]) for r in rows if r["dataset"] == "UCF101"]
    of_thumos = [(r["path"], r["thumos14_class"]) for r in rows if r["thumos14_class"]]
    table = []
    for title, names, clips in (
        ("20 THUMOS14 names", thumos, of_thumos),
        (f"{len(ucf)} UCF101 names", ucf, of_ucf),
    ):
        queries = pipeline.queries([prompt_name(name) for name in names])
        clips = [(path, label) for path, label in clips if label in names]
        ranks = np.array([_rank(pipeline, root / p, queries, names.index(n)) for p, n in clips])
        labels = np.array([name for _, name in clips])
        macro = np.mean([np.mean(ranks[labels == name] == 0) for name in set(labels)])
        figures = [np.mean(ranks == 0), macro, np.mean(ranks < 5)]
        table.append([title, str(len(clips)), *(f"{100 * figure:.0f}" for figure in figures)])
    return table


def _rank(pipeline: Pipeline, path: Path, queries: Queries, true: int) -> int:
    snippets = pipeline.snippets(path)
    logits = pipeline.encoder.space.logits(snippets.features, queries.embeddings).mean(axis=1)
    return int((logits > logits[true]).sum())


def composed_table(pipeline: Pipeline, part: str) -> list[list[str]]:
    """mAP at 0.1:0.1:0.7 (mean of three rotations), presence AUC, frame AUC."""
    rotations = composed(data_root(), part)
    table = []
    for title, settings in METHODS.items():
        chosen = _with(pipeline, title, settings)
        table.append([title, *_composed_row(chosen, rotations, lambda names: names)])
    chosen = _with(pipeline, "similarity", METHODS["similarity"])
    shuffled = _composed_row(chosen, rotations, lambda names: (*names[1:], names[0]))
    table.append(["similarity, names exchanged", *shuffled])
    nonsense = _composed_row(chosen, rotations, lambda names: NONSENSE[: len(names)])
    table.append(["similarity, nonsense words", *nonsense])
    return table


def oracle_table(pipeline: Pipeline, part: str) -> list[list[str]]:
    """mAP of T3AL with one label a video when it is told part of the truth."""
    chosen = _with(pipeline, "t3al", {"labels": "single"})
    return [
        [name, *_oracle_row(chosen, composed(data_root(), part), knows)]
        for name, knows in {"none": {}, **ORACLES}.items()
    ]


def _oracle_row(
    pipeline: Pipeline, rotations: list[list[Video]], knows: dict[str, bool]
) -> list[str]:
    maps = []
    for videos in rotations:
        found = {}
        for video in videos:
            snippets, queries = pipeline.snippets(video.path), pipeline.queries(video.names)
            oracle = Oracle(video.truth, **knows)
            found[video.key] = pipeline.method.localize(snippets, queries, oracle=oracle)
        truth = {video.key: video.truth for video in videos}
        maps.append(evaluate_detection(found, truth, tious=TIOUS).mean_ap)
    mean_ap = 100 * np.mean(maps, axis=0)
    figures = [f"{mean_ap[TIOUS.index(tiou)]:.1f}" for tiou in (0.1, 0.3, 0.5, 0.7)]
    return [*figures, f"{mean_ap.mean():.1f}"]


def _with(pipeline: Pipeline, title: str, settings: dict) -> Pipeline:
    name = title.partition(",")[0]
    other = load_pipeline(pipeline.encoder.name, name, settings=settings, is_judged=False)
    return replace(other, encoder=pipeline.encoder)


def _composed_row(
    pipeline: Pipeline, rotations: list[list[Video]], rename: Callable[[tuple], tuple]
) -> list[str]:
    maps, occurs, presence, aucs = [], [], [], []
    for videos in rotations:
        found: dict[str, Detections] = {}
        for video in videos:
            queries = pipeline.queries(rename(video.names))  # nonsense too
            answer = pipeline.find(video.path, queries)
            found[video.key] = replace(answer, names=video.names)  # scored as what it stands for
            occurs += [k in video.truth.labels for k in range(len(video.names))]
            presence += answer.presence.tolist()
            aucs += frame_aucs(answer, video)
        truth = {video.key: video.truth for video in videos}
        maps.append(evaluate_detection(found, truth, tious=TIOUS).mean_ap)
    mean_ap = 100 * np.mean(maps, axis=0)
    figures = [f"{mean_ap[TIOUS.index(tiou)]:.1f}" for tiou in (0.1, 0.3, 0.5, 0.7)]
    auc = f"{np.mean(aucs):.2f}" if aucs else "-"
    return [*figures, f"{mean_ap.mean():.1f}", f"{roc_auc_score(occurs, presence):.2f}", auc]


def frame_aucs(answer: Detections, video: Video) -> list[float]:
    """For each true class: how well its curve ranks its own snippets before the others."""
    origin = answer.origin
    if origin is None or origin.curves is None or origin.grid is None:
        return []
    aucs = []
    for label in set(video.truth.labels.tolist()):
        inside = np.zeros(len(origin.grid), dtype=bool)
        for start_s, end_s in video.truth.segments[video.truth.labels == label]:
            inside |= (origin.grid.centres_s >= start_s) & (origin.grid.centres_s < end_s)
        if 0 < inside.sum() < len(inside):
            aucs.append(roc_auc_score(inside, origin.curves[label]))
    return aucs


def continuous_table(pipeline: Pipeline) -> list[list[str]]:
    """Per set and method: videos, mean AUC of the true class, mAP at 0.3 and 0.5."""
    table = []
    for title, videos in continuous(data_root()).items():
        for method, settings in METHODS.items():
            chosen = _with(pipeline, method, settings)
            answers = {video.key: chosen.find(video.path, video.names) for video in videos}
            truth = {video.key: video.truth for video in videos}
            aucs = [auc for video in videos for auc in frame_aucs(answers[video.key], video)]
            mean_ap = 100 * evaluate_detection(answers, truth, tious=(0.3, 0.5)).mean_ap
            auc = (
                f"{np.mean(aucs):.2f}" if isinstance(chosen.method, (HasCurves, Explains)) else "-"
            )
            row = [title, str(len(videos)), method, auc, *(f"{figure:.1f}" for figure in mean_ap)]
            table.append(row)
    return table


def print_table(title: str, header: list[str], rows: list[list[str]]) -> None:
    """A Markdown table, which reads well on a terminal too."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = [header, ["-" * width for width in widths], *rows]
    print(f"\n**{title}**\n")
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        print("| " + " | ".join(cells) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--backbone", default="embedded")
    name = parser.parse_args().backbone
    pipeline = load_pipeline(name)
    for part, role in (("a", "chosen on"), ("b", "reported")):
        print_table(
            f"clips, {name}, half {part} ({role})",
            ["names", "clips", "top-1 %", "per class %", "top-5 %"],
            clips_table(pipeline, part),
        )
        print_table(
            f"composed, {name}, half {part} ({role}), 36 videos",
            ["method", "mAP@.1", "@.3", "@.5", "@.7", ".1:.7", "presence AUC", "frame AUC"],
            composed_table(pipeline, part),
        )
    print_table(
        f"oracles of T3AL on composed, {name}, half b (reported)",
        ["knows", "mAP@.1", "@.3", "@.5", "@.7", ".1:.7"],
        oracle_table(pipeline, "b"),
    )
    print_table(
        f"continuous, {name}",
        ["set", "videos", "method", "frame AUC", "mAP@.3", "@.5"],
        continuous_table(pipeline),
    )


if __name__ == "__main__":
    main()
