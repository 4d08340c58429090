"""What marks on some videos do for decisions on others.

    python benchmarks/calibrate_from_reviews.py --backbone embedded

The composed videos of half a of the source groups are marked, those of half b decided, and the
other way round. **The annotator is simulated** from the true annotations. *Checks all*: accepts
what covers a true moment by a tIoU of 0.5, rejects the rest, adds what was missed and says that
every query was checked. *Marks what is shown*: accepts or rejects only what the method itself
would show, and checks nothing. *Shuffled*: as the first, with the marks of each video dealt out at
random. Rows of fewer videos are the mean of three sets without a common video.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from sets import Video, composed, data_root
from tabulate import tabulate

from openmoment.calibration import Fitted, estimate, fit, marks_of
from openmoment.errors import ConfigError
from openmoment.pipeline import load_pipeline
from openmoment.pipeline.answering import Pipeline
from openmoment.postprocess import temporal_iou, top
from openmoment.reviews import (
    MadeBy,
    Review,
    ReviewedSegment,
    add_predictions,
    revise,
)
from openmoment.types import Detections

WHEN = "2026-01-01T00:00:00Z"
TIOU = 0.5
NUM_VIDEOS = (3, 6, 12, 36)
AT_MOST, AT_LEAST = 300, 0.05  # what `openmoment serve` keeps of a ranking


@dataclass(frozen=True)
class Asked:
    """One video, what the method ranks and what it says by itself."""

    video: Video
    ranked: Detections
    found: Detections


def ask(pipeline: Pipeline, videos: list[Video]) -> list[Asked]:
    ranking = pipeline.ranking()
    asked = []
    for video in videos:
        ranked = ranking.find(video.path, video.names)
        ranked = top(ranked[ranked.scores >= AT_LEAST], AT_MOST * len(video.names))
        asked.append(Asked(video, ranked, pipeline.find(video.path, video.names)))
    return asked


def right_ones(found: Detections, video: Video) -> tuple[np.ndarray, np.ndarray]:
    """Which detections cover a true moment that no better one does, and which moments those are."""
    truth = video.truth
    is_right, is_found = np.zeros(len(found), bool), np.zeros(len(truth), bool)
    overlap = temporal_iou(found.segments, truth.segments)
    for row in np.argsort(-found.scores, kind="stable"):
        free = (truth.labels == found.labels[row]) & ~is_found
        fits = np.where(free, overlap[row], 0.0)
        if len(fits) and fits.max() >= TIOU:
            is_right[row] = is_found[fits.argmax()] = True
    return is_right, is_found


def review_of(asked: Asked) -> Review:
    """The review before anybody marked it, its segments in the order of the ranking."""
    origin = asked.ranked.origin
    assert origin is not None
    empty = Review(asked.video.key, origin.duration_s)
    return add_predictions(empty, asked.ranked, threshold=0.4, made_by=MadeBy.of(origin), when=WHEN)


def check_all(asked: Asked, rng: np.random.Generator | None = None) -> Review:
    """Everything marked; at random, but as many of each kind, where ``rng`` is given."""
    review, truth = review_of(asked), asked.video.truth
    is_right, is_found = right_ones(asked.ranked, asked.video)
    if rng is not None:
        is_right = rng.permutation(is_right)
    now = [
        replace(s, status="accepted" if right else "rejected")
        for s, right in zip(review.segments, is_right, strict=True)
    ]
    now += [
        ReviewedSegment(
            f"missed {i}", *map(float, truth.segments[i]), truth.names[label], None, "accepted"
        )
        for i, label in enumerate(truth.labels)
        if not is_found[i]
    ]
    queries = [replace(q, checked=True) for q in review.queries]
    return revise(review, queries, now, who="simulated", when=WHEN)


def mark_shown(asked: Asked) -> Review:
    review = review_of(asked)
    is_right, _ = right_ones(asked.ranked, asked.video)
    shown = {(d.start_s, d.end_s, d.name) for d in asked.found}
    now = [
        replace(s, status="accepted" if right else "rejected") if tuple(d[:3]) in shown else s
        for s, d, right in zip(review.segments, asked.ranked, is_right, strict=True)
    ]
    return revise(review, review.queries, now, who="simulated", when=WHEN)


def score(decided: list[tuple[Detections, np.ndarray, Video]]) -> list[float]:
    """Precision, recall and F1 of moments, and how often "does it occur" is right, in percent."""
    kept = right = true = 0
    answers = []
    for found, occurs, video in decided:
        kept += len(found)
        right += int(right_ones(found, video)[0].sum())
        true += len(video.truth)
        real = np.isin(np.arange(len(video.names)), video.truth.labels)
        answers += (occurs == real).tolist()
    return [
        100 * right / max(kept, 1),
        100 * right / true,
        200 * right / (kept + true),
        100 * float(np.mean(answers)),
    ]


def by_method(asked: list[Asked]) -> list[float]:
    return score([(a.found, a.found.presence >= 0.5, a.video) for a in asked])


def by_marks(fitted: Fitted, asked: list[Asked]) -> list[float]:
    decided = []
    for each in asked:
        found = fitted.apply(each.ranked)
        decided.append((found, found.presence >= 0.5, each.video))
    return score(decided)


def choices(reviews: list[Review], number: int) -> list[list[Review]]:
    """Up to three sets of reviews without a common one, spread over the rotations of queries."""
    step = len(reviews) // number
    return [reviews[first::step][:number] for first in range(min(step, 3))]


def compare(marked: list[Asked], others: list[Asked], *, precision: float | None) -> list[list]:
    rng = np.random.default_rng(0)
    annotators: dict[str, Callable[[Asked], Review]] = {
        "checks all": check_all,
        "marks what is shown": mark_shown,
        "shuffled": lambda asked: check_all(asked, rng),
    }
    rows = [["nobody", "", "", *by_method(others)]]
    for name, annotate in annotators.items():
        reviews = [annotate(each) for each in marked]
        for number in NUM_VIDEOS:
            found = []
            for chosen in choices(reviews, number):
                gathered = marks_of(chosen)
                try:
                    fitted = fit(gathered.source, gathered.marks, precision=precision)
                except ConfigError as error:
                    print(f"{name}, {number} videos: {error}")
                    continue
                found.append([len(gathered.marks), *by_marks(fitted, others)])
            if found:
                marks, *scores = np.mean(found, axis=0)
                rows.append([name, number, round(marks), *scores])
        gathered = marks_of(reviews)
        said = estimate(gathered.source, gathered.marks, precision=precision)
        before, after = said.before, said.after
        print(
            f"{name}: leaving one video out promises F1 {100 * after.f1:.1f} % after "
            f"{100 * before.f1:.1f} %, Brier {after.brier:.3f} after {before.brier:.3f}."
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--backbone", default="embedded")
    parser.add_argument("--method", default="similarity")
    parser.add_argument("--precision", type=float)
    given = parser.parse_args()
    pipeline = load_pipeline(given.backbone, given.method)
    halves = {}
    for part in "ab":
        videos = [video for rotation in composed(data_root(), part) for video in rotation]
        halves[part] = ask(pipeline, videos)
    header = ["who marks", "videos", "marks", "precision %", "recall %", "F1 %", "occurs right %"]
    for marked, others in ("ab", "ba"):
        print(f"\nMarks on half {marked}, decisions on half {others}:\n")
        rows = compare(halves[marked], halves[others], precision=given.precision)
        print(tabulate(rows, header, tablefmt="github", floatfmt=".1f"))


if __name__ == "__main__":
    main()
