"""Write the published class splits as package data, from the published folder layout.

    python scripts/build_class_splits.py FOLDER

FOLDER holds ``train_75_test_25/THUMOS14/test/split_0.list`` and so on.
"""

import json
import sys
from pathlib import Path

from openmoment.datasets.splits import read_split_folder

TARGET = Path(__file__).parents[1] / "src" / "openmoment" / "data" / "class_splits.json"
SETTINGS = ("75-25", "50-50")


def main(root: Path) -> None:
    document = {}
    for dataset in ("thumos14", "activitynet"):
        splits = {s: [read_split_folder(root, dataset, s, i) for i in range(10)] for s in SETTINGS}
        seen, unseen = splits["75-25"][0]
        document[dataset] = {
            "classes": sorted((*seen, *unseen)),
            "unseen": {s: [sorted(lists[1]) for lists in splits[s]] for s in SETTINGS},
        }
    TARGET.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
