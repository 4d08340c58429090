"""COIN (Tang et al., CVPR 2019): 11,827 instructional videos, 180 tasks, 778 steps.

Step ids are the classes: where two steps of different tasks share a text, the task's name is put
behind it in brackets. UnLoc evaluates step labels of every frame at 2 frames per second.
"""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from openmoment.datasets.base import Benchmark, Layout
from openmoment.datasets.records import Instance, Record, Records, loose_number, read_real_json
from openmoment.storage.reading import get

_SUBSETS = {"training": "training", "train": "training", "testing": "testing", "test": "testing"}


def _read(files: Sequence[Path]) -> Records:
    (path,) = files
    return parse_coin(read_real_json(path), path)


def parse_coin(content: Any, path: Path) -> Records:
    """The records in a file of the official layout, once it is read. Raises FormatError."""
    database = get(content, "database", dict, str(path))
    texts: dict[str, str] = {}
    task_of: dict[str, str] = {}
    found = []
    for name in database:
        where = f"{path}: database[{name!r}]"
        video = get(database, name, dict, f"{path}: database")
        subset = str(get(video, "subset", str, where))
        steps = []
        for i, step in enumerate(get(video, "annotation", list, where)):
            place = f"{where}.annotation[{i}]"
            segment = get(step, "segment", list, place)
            step_id = str(get(step, "id", object, place))
            texts[step_id] = get(step, "label", str, place).strip()
            task_of.setdefault(step_id, str(video.get("class", "")))
            start, end = (segment + [None, None])[:2]
            steps.append(Instance.of(start, end, step_id, place))
        record = Record(
            name, _SUBSETS.get(subset, subset), loose_number(video.get("duration")), tuple(steps)
        )
        found.append(record)
    names = _step_names(texts, task_of)
    return [
        Record(
            r.id,
            r.subset,
            r.duration_s,
            tuple(i._replace(label=names[i.label]) for i in r.instances),
        )
        for r in found
    ]


def _step_names(texts: dict[str, str], task_of: dict[str, str]) -> dict[str, str]:
    """Each step's text, with its task where several steps have it."""
    sharing: dict[str, list[str]] = defaultdict(list)
    for step_id, text in texts.items():
        sharing[text].append(step_id)
    return {
        step_id: text if len(sharing[text]) == 1 else f"{text} ({task_of[step_id]})"
        for step_id, text in texts.items()
    }


COIN = Benchmark(
    name="coin",
    title="COIN",
    task="segmentation",
    layouts=(Layout(("COIN.json",), _read),),
    train_subset="training",
    test_subset="testing",
    profile="coin",
    published_counts={"training": (9030, 0), "testing": (2797, 0)},
    where_to_get="https://coin-dataset.github.io",
)
