"""ActivityNet-1.3 (Heilbron et al., CVPR 2015): 200 activities; test labels are withheld.

What papers call the test set is the validation subset. Ids are those of YouTube; the ``v_`` that
feature files and the form of BSN put before them is taken off.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from openmoment.datasets.base import Benchmark, Layout
from openmoment.datasets.names import class_names
from openmoment.datasets.records import (
    Instance,
    Records,
    from_rows,
    read_activitynet_json,
    read_durations,
    read_flat_json,
    read_rows,
    with_subsets,
)

_YOUTUBE_ID = 11  # letters; an id may itself begin with v_

PROMPT_OVERRIDES = {
    "Plataform diving": "Platform diving",
    "Mooping floor": "Mopping floor",
    "Polishing forniture": "Polishing furniture",
    "Playing guitarra": "Playing guitar",
    "Playing flauta": "Playing flute",
}


def tidy_id(name: str) -> str:
    """The official id: ``v_GGSY1Qvo990`` is ``GGSY1Qvo990``."""
    is_prefixed = name.startswith("v_") and len(name) == _YOUTUBE_ID + 2
    return name[2:] if is_prefixed else name


def _read_official(files: Sequence[Path]) -> Records:
    return read_activitynet_json(files[0])


def _read_bsn(files: Sequence[Path]) -> Records:
    annotations, info = files
    subsets = {row["video"]: row["subset"] for _, row in read_rows(info, ("video", "subset"))}
    records = read_flat_json(annotations)
    return with_subsets(records, lambda record: subsets.get(record.id, record.subset))


def _read_tsp(files: Sequence[Path]) -> Records:
    """TSP's tables list the regions without any action too."""
    columns = ("video-name", "t-start", "t-end", "action-label", "temporal-region-label")
    records: Records = []
    for path, subset in zip(files, ("training", "validation"), strict=True):
        rows = [
            (
                row["video-name"],
                Instance.of(row["t-start"], row["t-end"], row["action-label"], where),
            )
            for where, row in read_rows(path, columns)
            if row["temporal-region-label"] == "Action"
        ]
        records += from_rows(rows, subset=subset)
    return records


def _durations(root: Path) -> Mapping[str, float]:
    return read_durations(root, "activitynet_v1-3_*_metadata.csv")


ACTIVITYNET = Benchmark(
    name="activitynet",
    title="ActivityNet-1.3",
    task="detection",
    layouts=(
        Layout(("activity_net.v1-3.min.json",), _read_official),
        Layout(("activity_net.v1-3*.json",), _read_official),
        Layout(("anet1.3*.json*",), _read_official),
        Layout(("anet_anno_action.json", "video_info_new.csv"), _read_bsn),
        Layout(("*train_tsp_groundtruth.csv*", "*valid_tsp_groundtruth.csv*"), _read_tsp),
    ),
    train_subset="training",
    test_subset="validation",
    profile="activitynet",
    classes=class_names("activitynet"),
    prompt_overrides=PROMPT_OVERRIDES,
    published_counts={"training": (10024, 15410), "validation": (4926, 7654)},
    tidy_id=tidy_id,
    durations=_durations,
    where_to_get="Annotations and a form for the videos: http://activity-net.org/download.html",
)
