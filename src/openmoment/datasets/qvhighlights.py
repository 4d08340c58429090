"""QVHighlights (Lei et al., NeurIPS 2021): news and vlogs of 150 s, one or more windows a query.

The test subset has no windows: it is scored by the authors' server.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from openmoment.datasets.base import Benchmark, Layout
from openmoment.datasets.records import Instance, Record, Records, as_pair, loose_number
from openmoment.storage.reading import get, read_json_lines

_SUBSETS = ("train", "val", "test")


def _read(files: Sequence[Path]) -> Records:
    records = []
    for path in files:
        subset = next((name for name in _SUBSETS if name in path.stem.split("_")), "")
        videos: dict[str, tuple[float, list[Instance]]] = {}
        for row, where in read_json_lines(path):
            name, duration_s, instances = _read_query(row, where)
            videos.setdefault(name, (duration_s, []))[1].extend(instances)
        records += [
            Record(name, subset, duration_s, tuple(instances))
            for name, (duration_s, instances) in videos.items()
        ]
    return records


def _read_query(row: Any, where: str) -> tuple[str, float, list[Instance]]:
    query, video = get(row, "query", str, where), get(row, "vid", str, where)
    query_id = str(get(row, "qid", object, where))
    instances = []
    for i, window in enumerate(row.get("relevant_windows", ())):
        place = f"{where}: relevant_windows[{i}]"
        instances.append(Instance.of(*as_pair(window, place), query, place, query_id))
    return video, loose_number(row.get("duration")), instances


QVHIGHLIGHTS = Benchmark(
    name="qvhighlights",
    title="QVHighlights",
    task="retrieval",
    layouts=(
        Layout(("highlight_train_release.jsonl", "highlight_val_release.jsonl"), _read),
        Layout(("highlight_val_release.jsonl",), _read),
    ),
    train_subset="train",
    test_subset="val",
    profile="qvhighlights",
    published_counts={"train": (7218, 7218), "val": (1550, 1550)},
    where_to_get="https://github.com/jayleicn/moment_detr/tree/main/data",
)
