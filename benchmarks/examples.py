"""Do pictures and sentences beside the words of a query help? On composed real video.

    python benchmarks/examples.py [--half a]

The videos of a half of the recordings (`benchmarks/real_video.py`), three rotations of six
classes; the pictures are middle frames of clips of the other half. Method `similarity`, backbone
`embedded`, its own thresholds.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image
from sets import COMPOSED_CLASSES, Video, composed, data_root, half_of, prompt_name, read_clips
from sklearn.metrics import roc_auc_score

from openmoment.encoders.prompts import KINETICS_PROMPTS
from openmoment.evaluation.detection import evaluate_detection
from openmoment.pipeline import load_pipeline
from openmoment.pipeline.answering import Pipeline
from openmoment.priors import Example
from openmoment.video import probe, read_pictures

TIOUS = (0.3, 0.5)
Examples = Callable[[str], Example | None]


def take_pictures(root: Path, half: str, out: Path, *, num: int = 3) -> dict[str, tuple[Path, ...]]:
    """The middle frames of the first clips of each class in a half."""
    found: dict[str, tuple[Path, ...]] = {}
    for name in COMPOSED_CLASSES:
        rows = [
            row
            for row in read_clips(root)
            if row["label"] == name
            and row["dataset"] == "UCF101"
            and half_of(name + row["group"]) == half
        ]
        paths = []
        for i, row in enumerate(rows[:num]):
            clip = root / row["path"]
            (picture,) = read_pictures(clip, [probe(clip).duration_s / 2], short_side=240)
            paths.append(out / f"{name}-{i}.png")
            Image.fromarray(picture).save(paths[-1])
        found[prompt_name(name)] = tuple(paths)
    return found


def row(told: str, pipeline: Pipeline, rotations: list[list[Video]], examples: Examples) -> str:
    """What queries made in one way reach."""
    maps, presence, occurs = [], [], []
    for videos in rotations:
        given = {name: example for name in videos[0].names if (example := examples(name))}
        queries = pipeline.queries(videos[0].names, examples=given)
        found = {video.key: pipeline.find(video.path, queries) for video in videos}
        truth = {video.key: video.truth for video in videos}
        maps.append(evaluate_detection(found, truth, tious=TIOUS).mean_ap)
        for video in videos:
            presence += found[video.key].presence.tolist()
            occurs += [label in video.truth.labels for label in range(len(video.names))]
    is_there, says_yes = np.array(occurs), np.array(presence) >= 0.5
    cells = [f"{100 * mean(values):.1f}" for values in zip(*maps, strict=True)]
    cells.append(f"{roc_auc_score(is_there, presence):.2f}")
    cells += [f"{100 * says_yes[part].mean():.0f} %" for part in (is_there, ~is_there)]
    return f"| {told} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--half", default="b", choices=("a", "b"))
    half = parser.parse_args().half
    root, pipeline = data_root(), load_pipeline("embedded")
    rotations = composed(root, half)
    print("| a query is | mAP@0.3 | mAP@0.5 | presence: AUC | yes, occurs | yes, does not |")
    print("|---|---|---|---|---|---|")
    with TemporaryDirectory() as folder:
        pictures = take_pictures(root, "b" if half == "a" else "a", Path(folder))
        ways: dict[str, Examples] = {
            "words": lambda name: None,
            "words and 4 template sentences": lambda name: Example(
                texts=tuple(prompt.format(name) for prompt in KINETICS_PROMPTS[::7])
            ),
            "1 picture": lambda name: Example(images=pictures[name][:1], has_words=False),
            "3 pictures": lambda name: Example(images=pictures[name], has_words=False),
            "words and 3 pictures": lambda name: Example(images=pictures[name]),
        }
        for told, examples in ways.items():
            print(row(told, pipeline, rotations, examples), flush=True)


if __name__ == "__main__":
    main()
