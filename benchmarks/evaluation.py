"""How fast is detection mAP? Synthetic predictions of ActivityNet's size, ten tIoUs.

    python benchmarks/evaluation.py [--largest 5000000]

Half of a video's predictions have its true class, half of them one of four wrong ones, as the
best labels of a classifier give them. Prints the time for growing numbers of predictions, and the
throughput of the literal rules (tests/slow_detection.py) on a part of the same data, whose result
must be equal. One thread: NumPy sorts and indexes with one.
"""

import argparse
import resource
import sys
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np

from openmoment.evaluation.detection import PROFILES, evaluate_columns
from openmoment.evaluation.matching import Columns

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from slow_detection import slow_detection

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
    ours = len(data.scores) / seconds(data.evaluate)[0]
    part = data.of_videos(250)
    truth, predictions = part.rows()
    slow_s, expected = seconds(lambda: slow_detection(truth, predictions, TIOUS))
    difference = np.abs(part.evaluate().ap - np.array(list(expected.values()))).max()
    theirs = len(predictions) / slow_s
    print(
        f"\nLiteral rules, {len(predictions):,} of 500,000 predictions: {theirs:,.0f} per second; "
        f"ours {ours:,.0f}, {ours / theirs:.0f} times as many. Largest difference of an AP: "
        f"{difference:.1e}."
    )


if __name__ == "__main__":
    main()
