"""THUMOS14 (Idrees et al., CVIU 2017): 20 sports, 200 "validation" videos to train on, 213 to test.

Known forms: the official text files, one for each class; the CSV pair of G-TAD; and the JSON
files of ActionFormer, of STALE, T3AL and GRIZAL, of GAP, and of G-TAD and AFSD. They differ in a
few videos: docs/datasets.md. What stands in every form: Ambiguous is no class; every CliffDiving
is annotated as Diving too.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from openmoment.datasets.base import Benchmark, Layout
from openmoment.datasets.names import class_names
from openmoment.datasets.records import (
    Instance,
    Record,
    Records,
    from_rows,
    loose_number,
    read_any_json,
    read_durations,
    read_rows,
    with_subsets,
)
from openmoment.errors import FormatError
from openmoment.storage.reading import read_text

_WRONG = "video_test_0000270"  # 22 annotations after its end
_AMBIGUOUS_ONLY = "video_test_0001292"
_SAID_TO_BE_WRONG = "video_test_0001496"  # 18 CricketShot, by several repositories

EXCLUSIONS = {
    "default": (_WRONG, _AMBIGUOUS_ONLY, _SAID_TO_BE_WRONG),
    "actionformer": (_AMBIGUOUS_ONLY,),
    "two": (_WRONG, _SAID_TO_BE_WRONG),
    "afsd": (_WRONG, _AMBIGUOUS_ONLY, _SAID_TO_BE_WRONG),
    "gap": (
        _WRONG,
        _AMBIGUOUS_ONLY,
        _SAID_TO_BE_WRONG,
        "video_test_0000814",
        "video_test_0000504",
    ),
}


def _subset_of(record: Record) -> str:
    """Ids say it in every form: ``video_validation_0000051``."""
    match = re.match(r"video_(validation|test)_", record.id)
    return match.group(1) if match else record.subset


def _read_json(files: Sequence[Path]) -> Records:
    return with_subsets(read_any_json(files[0]), _subset_of)


def _read_csv_pair(files: Sequence[Path]) -> Records:
    columns = ("video", "type", "start", "end")
    rows = [
        (row["video"], Instance.of(row["start"], row["end"], row["type"], where))
        for path in files
        for where, row in read_rows(path, columns)
    ]
    return with_subsets(from_rows(rows), _subset_of)


def _read_official(files: Sequence[Path]) -> Records:
    """``BaseballPitch_val.txt``: lines of video, start and end; the class is the file's name."""
    rows = []
    for path in files:
        label = re.sub(r"_(val|test)$", "", path.stem)
        for number, line in enumerate(read_text(path).splitlines(), start=1):
            cells = line.split()
            if not cells:
                continue
            where = f"{path}, line {number}"
            if len(cells) != 3:
                raise FormatError(f"{where}: expected video, start and end, got {line!r}.")
            video, start, end = cells
            rows.append((video, Instance.of(start, end, label, where)))
    return with_subsets(from_rows(rows), _subset_of)


def _durations(root: Path) -> Mapping[str, float]:
    """From the tables of TSP (seconds) or of AFSD (frames and frames per second)."""
    found: dict[str, float] = {}
    for path in sorted(root.rglob("*_video_info.csv")):
        for _, row in read_rows(path, ("video", "fps", "count")):
            found[row["video"]] = loose_number(row["count"]) / loose_number(row["fps"])
    return found | read_durations(root, "thumos14_*_metadata.csv")


THUMOS14 = Benchmark(
    name="thumos14",
    title="THUMOS14",
    task="detection",
    layouts=(
        Layout(("*_val.txt", "*_test.txt"), _read_official, many=True),
        Layout(("val_Annotation.csv", "test_Annotation.csv"), _read_csv_pair),
        Layout(("thumos14.json",), _read_json),
        Layout(("thumos_anno_action.json",), _read_json),
        Layout(("Thumos14_annotations.json",), _read_json),
        Layout(("thumos_gt.json",), _read_json),
    ),
    train_subset="validation",
    test_subset="test",
    profile="thumos14",
    classes=class_names("thumos14"),
    ignored_labels=("Ambiguous",),
    exclusions=EXCLUSIONS,
    published_counts={"validation": (200, 3007), "test": (212, 3358)},
    durations=_durations,
    where_to_get="Videos and annotations: https://www.crcv.ucf.edu/THUMOS14/download.html",
)
