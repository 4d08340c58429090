"""Can the answers of the default backbone be trusted? Presence, scores and moments on real video.

    python benchmarks/answers.py [--parts b]

Composed videos with exact ground truth, single clips, and four videos joined into one, asked for
what they show, for what they do not, for nonsense and for words of other languages
(query_words.json in the data folder). Constants were chosen on half a of the source groups; half b
is the report. "Yes" is what `find` would call found.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from sets import COMPOSED_CLASSES, Video, composed, data_root, half_of, prompt_name, read_clips
from sklearn.metrics import roc_auc_score

from openmoment.evaluation.detection import evaluate_detection
from openmoment.evaluation.grounding import among, calibration_error, evaluate_grounding
from openmoment.methods.standing import Standing, standing_of
from openmoment.pipeline import load_pipeline
from openmoment.pipeline.answering import Pipeline
from openmoment.postprocess import MIN_PRESENCE, SURE
from openmoment.types import Detections, Queries, SnippetGrid, Snippets

UCF101_NAMES = Path(__file__).parent / "ucf101_names.txt"
NINE = tuple(prompt_name(name) for name in COMPOSED_CLASSES)


def asked_words() -> dict[str, list[str]]:
    """What is asked of every video, by kind."""
    words = json.loads((data_root() / "query_words.json").read_text())
    ucf = [prompt_name(name) for name in UCF101_NAMES.read_text().split()]
    absent = [name for name in ucf if name not in NINE][::2]
    return {
        "nine": list(NINE),
        "absent": [*absent, *words["everyday_absent"], *words["rare_absent"]],
        "nonsense": words["nonsense"],
        "other languages": words["other_languages"],
    }


def rates(presence: np.ndarray, occurs: np.ndarray) -> str:
    """How presence tells what occurs."""
    yes, unsure = presence >= SURE, (presence >= MIN_PRESENCE) & (presence < SURE)
    return (
        f"AUC {roc_auc_score(occurs, presence):.3f}, yes {yes[occurs].mean():.2f} of the present "
        f"and {yes[~occurs].mean():.2f} of the absent (unsure {unsure[occurs].mean():.2f}, "
        f"{unsure[~occurs].mean():.2f}), "
        f"calibration error {calibration_error(presence, occurs):.3f}"
    )


NOT_SHOWN = ("absent", "nonsense", "other languages")


def yes_to(told: dict[str, list[np.ndarray]], *kinds: str) -> str:
    """The share of each kind of words that is found, by the presence in every video."""
    return ", ".join(f"{k} {(np.concatenate(told[k]) >= SURE).mean():.3f}" for k in kinds)


def composed_lines(pipeline: Pipeline, part: str) -> Iterator[str]:
    """Names among words that no video shows; moments; boundaries."""
    queries = {kind: pipeline.queries(names) for kind, names in asked_words().items()}
    told: dict[str, list[np.ndarray]] = {kind: [] for kind in queries}
    asked: list[tuple[float, bool]] = []
    maps, frames, said, truths = [], [], {}, {}
    for rotation in composed(data_root(), part):
        found, truth = {}, {}
        for video in rotation:
            snippets = pipeline.snippets(video.path)
            for kind, words in queries.items():
                told[kind].append(standing(pipeline, snippets, words).presence)
            true = {video.truth.names[label] for label in video.truth.labels}
            by_name = dict(zip(NINE, told["nine"][-1].tolist(), strict=True))
            asked += [(by_name[name], name in true) for name in video.names]
            answer = pipeline.ranking().localize(
                snippets, pipeline.queries(video.names), video=video.key
            )
            found[video.key], truth[video.key] = answer, video.truth
            frames += list(frame_aucs(answer, video))
            key = f"{len(maps)}/{video.key}"
            both = pipeline.queries([*video.names, *queries["absent"].names])
            said[key] = pipeline.localize(snippets, both, video=video.key)
            truths[key] = video.truth
        maps.append(evaluate_detection(found, truth, tious=(0.3, 0.5, 0.7)).mean_ap)
    presence, occurs = (np.array(column) for column in zip(*asked, strict=True))
    absent = np.concatenate(told["absent"])
    yield (
        f"composed, half {part}, mAP@.3 .5 .7: "
        + " ".join(f"{100 * value:.1f}" for value in np.mean(maps, axis=0))
        + f"; frame AUC {np.mean(frames):.3f}"
    )
    yield "  the six names that may occur: " + rates(presence, occurs)
    truth_of_all = np.concatenate([occurs, np.zeros(len(absent), dtype=bool)])
    yield "  beside names that do not: " + rates(np.concatenate([presence, absent]), truth_of_all)
    yield f"  yes to {yes_to(told, *NOT_SHOWN[1:])}"
    everyday = json.loads((data_root() / "query_words.json").read_text())["everyday_absent"]
    for title, others in (
        ("the six names", []),
        (f"beside {len(everyday)} everyday names that do not occur", everyday),
        (f"beside {len(queries['absent'])} names that do not occur", queries["absent"].names),
    ):
        about = {key: among(found, [*truths[key].names, *others]) for key, found in said.items()}
        told_of = evaluate_grounding(about, truths).to_text().splitlines()[0]
        yield f"  {title}: {told_of}"


def frame_aucs(found: Detections, video: Video) -> Iterator[float]:
    """How well each shown query's curve tells its own snippets from the rest."""
    assert found.origin and found.origin.curves is not None and found.origin.grid
    centres_s = found.origin.grid.centres_s
    for name, curve in zip(found.names, found.origin.curves, strict=True):
        own = video.truth.segments[video.truth.labels == video.truth.names.index(name)]
        inside = np.array([((t >= own[:, 0]) & (t < own[:, 1])).any() for t in centres_s])
        if inside.any() and not inside.all():
            yield roc_auc_score(inside, curve)


def clip_lines(pipeline: Pipeline, part: str) -> Iterator[str]:
    """Each clip by itself: its own name, and everything that it does not show."""
    queries = {kind: pipeline.queries(names) for kind, names in asked_words().items()}
    own: list[float] = []
    told: dict[str, list[np.ndarray]] = {kind: [] for kind in queries}
    for row in read_clips(data_root()):
        is_part = half_of(row["label"] + (row["group"] or row["path"])) == part
        if row["dataset"] != "UCF101" or row["label"] not in COMPOSED_CLASSES or not is_part:
            continue
        snippets = pipeline.snippets(data_root() / row["path"])
        for kind, words in queries.items():
            presence = standing(pipeline, snippets, words).presence
            if kind == "nine":
                label = COMPOSED_CLASSES.index(row["label"])
                own.append(presence[label])
                presence = np.delete(presence, label)
            told[kind].append(presence)
    yield (
        f"single clips, half {part}: {len(own)} clips; yes to the own name "
        f"{(np.array(own) >= SURE).mean():.2f}, {yes_to(told, *NOT_SHOWN)}"
    )


def joined_lines(pipeline: Pipeline, part: str) -> Iterator[str]:
    """Four composed videos as one: varied, and minutes long."""
    queries = {kind: pipeline.queries(names) for kind, names in asked_words().items()}
    videos = [video for rotation in composed(data_root(), part) for video in rotation]
    told: dict[str, list[np.ndarray]] = {kind: [] for kind in queries}
    asked: list[tuple[float, bool]] = []
    for first in range(0, len(videos) - 3, 4):
        four = videos[first : first + 4]
        snippets = join([pipeline.snippets(video.path) for video in four])
        for kind, words in queries.items():
            told[kind].append(standing(pipeline, snippets, words).presence)
        true = {v.truth.names[label] for v in four for label in v.truth.labels}
        known = set(four[0].names)  # of one rotation: the same in all four
        of_nine = zip(NINE, told["nine"][-1].tolist(), strict=True)
        asked += [(value, name in true) for name, value in of_nine if name in known]
    present = np.array([value for value, occurs in asked if occurs])
    yield (
        f"four joined, half {part}: {len(told['nine'])} videos; yes to what they show "
        f"{(present >= SURE).mean():.2f}, {yes_to(told, *NOT_SHOWN)}"
    )


def change_lines(pipeline: Pipeline, part: str) -> Iterator[str]:
    """How many decisions change with half of the bank, and with a snippet a second."""
    kinds = asked_words()
    queries = pipeline.queries([*kinds["nine"], *kinds["absent"]])
    usual, thinner = [], []
    halves: list[list[np.ndarray]] = [[] for _ in range(5)]
    num = len(queries.background) // 2
    chosen = [
        np.random.default_rng(seed).permutation(len(queries.background))[:num] for seed in range(5)
    ]
    for video in [video for rotation in composed(data_root(), part) for video in rotation]:
        snippets = pipeline.snippets(video.path)
        usual.append(standing(pipeline, snippets, queries).presence)
        thinner.append(standing(pipeline, every_fourth(snippets), queries).presence)
        for half, rows in zip(halves, chosen, strict=True):
            fewer = replace(queries, background=queries.background[rows])
            half.append(standing(pipeline, snippets, fewer).presence)

    def changed(others: list[np.ndarray]) -> float:
        return float(((np.array(usual) >= SURE) != (np.array(others) >= SURE)).mean())

    shares = [changed(half) for half in halves]
    yield (
        f"decisions that change, half {part}: {num} of the bank's texts {np.mean(shares):.3f} "
        f"(at most {max(shares):.3f} of five draws), "
        f"1 snippet a second for 4 {changed(thinner):.3f}"
    )


def standing(pipeline: Pipeline, snippets: Snippets, queries: Queries) -> Standing:
    return standing_of(pipeline.encoder.space, snippets, queries)


def join(parts: list[Snippets]) -> Snippets:
    """One video after the other."""
    edges, end_s = [np.zeros(1)], 0.0
    for part in parts:
        edges.append(part.grid.edges_s[1:] - part.grid.start_s + end_s)
        end_s = float(edges[-1][-1])
    features = np.concatenate([np.asarray(part.features) for part in parts])
    return Snippets(features, SnippetGrid(np.concatenate(edges)), parts[0].recipe, end_s)


def every_fourth(snippets: Snippets) -> Snippets:
    """As if a quarter of the snippets had been taken: their own pictures, four times as long."""
    features = np.asarray(snippets.features)[::4]
    edges_s = np.append(snippets.grid.edges_s[:-1][::4], snippets.grid.end_s)
    return replace(snippets, features=features, grid=SnippetGrid(edges_s))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", default="ab", help="halves of the source groups")
    pipeline = load_pipeline("embedded")
    for part in parser.parse_args().parts:
        for lines in (composed_lines, clip_lines, joined_lines, change_lines):
            for line in lines(pipeline, part):
                print(line, flush=True)


if __name__ == "__main__":
    main()
