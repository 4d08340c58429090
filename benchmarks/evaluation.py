"""How fast is detection mAP? Synthetic predictions of ActivityNet's size, ten tIoUs.

    python benchmarks/evaluation.py [--largest 5000000]

Half of a video's predictions have its true class, half of them one of four wrong ones, as the
best labels of a classifier give them. Prints the time for growing numbers of predictions, and on a
part of the same data the throughput of the literal rules: as the tests have them, and over data
frames, row by row, as the official evaluator has them. All results must be equal. One thread:
NumPy sorts and indexes with one.
"""

import argparse
import resource
import sys
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
import pandas as pd

from openmoment.evaluation.detection import PROFILES, evaluate_columns
from openmoment.evaluation.matching import Columns

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from slow_detection import interpolated_precision, slow_detection, slow_tious

NUM_VIDEOS, NUM_CLASSES, NUM_INSTANCES = 4728, 200, 7300
TIOUS = PROFILES["activitynet"]
CLASSES = [f"class {i:03}" for i in range(NUM_CLASSES)]
SIZES = (10_000, 100_000, 500_000, 1_000_000, 5_000_000)


@dataclass(frozen=True)
class Data:
    truth: Columns
    predictions: Columns
    scores: np.ndarray

    def evaluate(self):
        return evaluate_columns(
            self.predictions, self.scores, self.truth, classes=CLASSES, tious=TIOUS
        )

    def of_videos(self, num_videos: int) -> "Data":
        true, predicted = self.truth.videos < num_videos, self.predictions.videos < num_videos
        return Data(self.truth[true], self.predictions[predicted], self.scores[predicted])

    def rows(self):
        truth = [(v, CLASSES[c], *s) for v, c, s in columns_of(self.truth)]
        predictions = [
            (v, CLASSES[c], *s, score)
            for (v, c, s), score in zip(
                columns_of(self.predictions), self.scores.tolist(), strict=True
            )
        ]
        return truth, predictions


def columns_of(columns: Columns):
    return zip(
        columns.videos.tolist(), columns.labels.tolist(), columns.segments.tolist(), strict=True
    )


def make_data(num_predictions: int) -> Data:
    random = np.random.default_rng(0)
    classes = random.integers(NUM_CLASSES, size=NUM_VIDEOS)
    extra = random.integers(NUM_VIDEOS, size=NUM_INSTANCES - NUM_VIDEOS)
    videos = np.concatenate([np.arange(NUM_VIDEOS), extra])
    truth = Columns(videos, classes[videos], make_segments(random, len(videos)))

    near = random.integers(len(truth), size=num_predictions)
    noise = random.normal(0, 12, (num_predictions, 2))
    segments = np.sort(np.clip(truth.segments[near] + noise, 0, 120), axis=1)
    right = truth.labels[near]
    is_wrong = random.random(num_predictions) < 0.5
    wrong = (right + random.integers(1, 5, num_predictions)) % NUM_CLASSES
    predictions = Columns(truth.videos[near], np.where(is_wrong, wrong, right), segments)
    return Data(truth, predictions, random.random(num_predictions))


def make_segments(random: np.random.Generator, n: int) -> np.ndarray:
    start, length = random.uniform(0, 80, n), random.gamma(2, 15, n)
    return np.stack([start, np.minimum(start + length, 120)], axis=1)


def with_frames(truth, predictions, tious):
    """The literal rules over data frames: rows are iterated, and looked up by video."""
    names = ["video", "name", "start_s", "end_s"]
    true = pd.DataFrame(truth, columns=names)
    predicted = pd.DataFrame(predictions, columns=[*names, "score"])
    predicted = predicted.sort_values("score", ascending=False, kind="stable")
    return {
        name: average_precision_with_frames(
            of_class.reset_index(drop=True), predicted[predicted["name"] == name], tious
        )
        for name, of_class in true.groupby("name")
    }


def average_precision_with_frames(truth, predicted, tious):
    by_video = truth.groupby("video")
    locked = np.zeros((len(tious), len(truth)), dtype=bool)
    hits = np.zeros((len(tious), len(predicted)))
    for rank, (_, row) in enumerate(predicted.iterrows()):
        try:
            instances = by_video.get_group(row["video"])
        except KeyError:
            continue
        segments = instances[["start_s", "end_s"]].to_numpy()
        overlaps = slow_tious((row["start_s"], row["end_s"]), segments)
        preferred = np.argsort(overlaps, kind="stable")[::-1]
        for t, threshold in enumerate(tious):
            for i in preferred:
                if overlaps[i] < threshold:
                    break
                if not locked[t, instances.index[i]]:
                    locked[t, instances.index[i]] = hits[t, rank] = True
                    break
    return [interpolated_precision(row, len(truth)) for row in hits]


def seconds(job) -> tuple[float, object]:
    start = perf_counter()
    result = job()
    return perf_counter() - start, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--largest", type=int, default=SIZES[-1])
    largest = parser.parse_args().largest
    print(f"{NUM_VIDEOS} videos, {NUM_CLASSES} classes, {NUM_INSTANCES} instances, 10 tIoUs")
    print("| predictions | best of 3, s | per second | peak memory, MB |\n|---|---|---|---|")
    for size in (size for size in SIZES if size <= largest):
        data = make_data(size)
        best = min(seconds(data.evaluate)[0] for _ in range(3))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"| {size:,} | {best:.3f} | {size / best:,.0f} | {peak:,.0f} |")

    data = make_data(500_000)
    ours = len(data.scores) / min(seconds(data.evaluate)[0] for _ in range(3))
    part = data.of_videos(250)
    truth, predictions = part.rows()
    ap = part.evaluate().ap
    print(
        f"\nOf 500,000 predictions {len(predictions):,} by the literal rules; ours {ours:,.0f}/s."
    )
    print("| rules | per second | ours is faster by | largest difference of an AP |")
    print("|---|---|---|---|")
    for name, rules in (("as tested", slow_detection), ("data frames", with_frames)):
        time_s, expected = seconds(lambda rules=rules: rules(truth, predictions, TIOUS))
        theirs = len(predictions) / time_s
        difference = np.abs(ap - np.array(list(expected.values()))).max()
        print(f"| {name} | {theirs:,.0f} | {ours / theirs:.0f} | {difference:.1e} |")


if __name__ == "__main__":
    main()
