"""Your own footage: a folder with videos and one file of annotations.

``annotations.json`` in ActivityNet's form, or ``annotations.csv`` with the columns video,
start_s, end_s and label (or query, as ``openmoment find --out`` writes it), and subset if you
want several; or the reviews that people made with ``openmoment serve``. Ids are the names of the
video files without ending. Durations that the annotations lack are read from the videos.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from openmoment.datasets.base import Benchmark, Layout
from openmoment.datasets.records import (
    Instance,
    Record,
    Records,
    read_any_json,
    read_rows,
    with_subsets,
)
from openmoment.errors import FormatError, VideoError
from openmoment.reviews import Review, read_reviews, truth
from openmoment.storage.listing import find_videos

TEST = "test"


def _read_json(files: Sequence[Path]) -> Records:
    (path,) = files
    return with_subsets(read_any_json(path), lambda record: record.subset or TEST)


def _read_csv(files: Sequence[Path]) -> Records:
    (path,) = files
    videos: dict[tuple[str, str], list[Instance]] = {}
    for where, row in read_rows(path, ("video", "start_s", "end_s", "label or query")):
        label = row.get("label") or row.get("query")
        if not label:
            raise FormatError(f"{where}: label is missing.")
        key = (Path(row["video"]).stem, row.get("subset") or TEST)
        instance = Instance.of(row["start_s"], row["end_s"], label, where)
        videos.setdefault(key, []).append(instance)
    return [
        Record(name, subset, float("nan"), tuple(instances))
        for (name, subset), instances in videos.items()
    ]


def _read_reviews(files: Sequence[Path]) -> Records:
    return reviewed_records(read_reviews(files))


def reviewed_records(reviews: Mapping[Path, Review]) -> Records:
    """The records of reviews: each video is known for the queries that somebody checked.

    Raises FormatError when nobody checked any.
    """
    records = []
    for path, review in reviews.items():
        known = truth(review)
        instances = [
            Instance(float(start_s), float(end_s), known.names[label], str(path))
            for (start_s, end_s), label in zip(known.segments, known.labels, strict=True)
        ]
        name = PurePosixPath(review.video).stem
        asked = frozenset(known.names)
        records.append(Record(name, TEST, review.duration_s, tuple(instances), asked))
    if not any(record.known for record in records):
        raise FormatError(
            f"{next(iter(reviews))}: no query is checked. Say of which somebody looked through the "
            "whole video: only those are ground truth."
        )
    return records


def _durations(root: Path) -> Mapping[str, float]:
    """Of the videos in the folder; one that cannot be read has none."""
    try:
        paths = find_videos(root)
    except VideoError:
        return {}
    from openmoment.video import probe

    found = {}
    for path in paths:
        try:
            found[path.stem] = probe(path).duration_s
        except VideoError:
            continue
    return found


FOLDER = Benchmark(
    name="folder",
    title="your folder",
    task="detection",
    layouts=(
        Layout(("annotations.json",), _read_json),
        Layout(("openmoment/reviews/*.json",), _read_reviews, many=True),
        Layout(("annotations.csv",), _read_csv),
    ),
    train_subset="train",
    test_subset=TEST,
    profile="fine",
    durations=_durations,
    where_to_get="See docs/evaluate_your_own.md.",
)
