"""Write the published results as package data, from a JSON file of facts read out of the papers.

    python scripts/build_published.py FILE

FILE holds ``records`` of paper, table, dataset, setting, method, metric and value. What is no
result on one of the datasets in a known setting (latencies, say) is left out.
"""

import json
import sys
from pathlib import Path

TARGET = Path(__file__).parents[1] / "src" / "openmoment" / "data" / "published.json"
DATASETS = {
    "THUMOS14": "thumos14",
    "ActivityNet-1.3": "activitynet",
    "Charades-STA": "charades-sta",
    "ActivityNet Captions": "activitynet-captions",
    "QVHighlights": "qvhighlights",
    "COIN": "coin",
}
SETTINGS = {
    "zero-shot 75:25": "75-25",
    "zero-shot 50:50": "50-50",
    "closed-set": "closed",
    "closed-set ablation (UnLoc-B)": "closed",
}


def main(source: Path) -> None:
    rows: dict[tuple[str, ...], dict[str, float]] = {}
    for record in json.loads(source.read_text())["records"]:
        setting = SETTINGS.get(record["setting"].split(",")[0])
        dataset = DATASETS.get(record["dataset"])
        if dataset is None or setting is None:
            continue
        table = record["table"].removesuffix(" / text")
        key = (dataset, setting, record["paper"], table, record["method"])
        rows.setdefault(key, {})[record["metric"]] = record["value"]
    document = [
        {
            "dataset": dataset,
            "setting": setting,
            "paper": paper,
            "table": table,
            "method": method,
            "percent": metrics,
        }
        for (dataset, setting, paper, table, method), metrics in rows.items()
    ]
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in document)
    TARGET.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
