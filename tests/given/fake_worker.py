"""A worker that only pretends: what it does is told by the first query.

"slow" takes long and hears a cancel, "deaf" does not, "broken" and "bug" fail, and anything else
is found from 0.5 to 1 s with the score 0.9, from 1.2 to 1.5 s with 0.1.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from openmoment.errors import VideoError
from openmoment.server.work.worker import Tell, serve


def work(task: Mapping[str, Any], tell: Tell) -> dict[str, Any]:
    first = task.get("queries", ["slow"])[0]
    print("what a library prints disturbs nobody")
    match first:
        case "slow":
            for step in range(3000):
                tell(step / 3000, "being slow")
                time.sleep(0.01)
        case "deaf":
            tell(0.5, "being deaf")
            time.sleep(30)
        case "broken":
            raise VideoError(f"{task['path']}: damaged\nin many ways.")
        case "bug":
            raise ValueError("ours")
    return find(task)


def find(task: Mapping[str, Any]) -> dict[str, Any]:
    from openmoment.features.cache import Cache
    from openmoment.server.work.curves import write_curves
    from openmoment.server.work.finding import keep_predictions
    from openmoment.types import Detections, Origin, SnippetGrid

    names, num = tuple(task["queries"]), len(task["queries"])
    origin = Origin(
        video=task["name"],
        duration_s=2.0,
        backbone="fake",
        fingerprint="fake-1",
        method="similarity",
        settings={"min_score": 0.0},
        source_sha256="ab" * 32,
        grid=SnippetGrid.uniform(8, end_s=2.0),
        curves=np.tile(np.linspace(0, 1, 8, dtype=np.float32), (num, 1)),
    )
    found = Detections(
        segments=np.array([(0.5, 1.0)] * num + [(1.2, 1.5)] * num),
        scores=np.array([0.9] * num + [0.1] * num),
        labels=np.arange(2 * num) % num,
        names=names,
        presence=np.full(num, 0.8),
        origin=origin,
    )
    write_curves(found, Cache())
    keep_predictions(found, Path(task["predictions"]))
    return {
        "names": list(names),
        "thresholds": dict.fromkeys(names, 0.4),
        "settings": {"min_score": 0.4},
    }


if __name__ == "__main__":
    serve(work)
