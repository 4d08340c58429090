"""Charades-STA (Gao et al., ICCV 2017): indoor videos of half a minute, 16,128 sentences.

Lines are ``VIDEO start end##sentence``. Durations come from Charades' own tables (column
``length``) or from the JSON file of VSLNet.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from openmoment.datasets.base import Benchmark, Layout
from openmoment.datasets.records import Instance, Records, from_rows, loose_number, read_rows
from openmoment.errors import FormatError
from openmoment.storage.reading import read_json, read_text


def _read(files: Sequence[Path]) -> Records:
    records: Records = []
    for path in files:
        subset = "train" if "train" in path.stem else "test"
        lines = read_text(path).splitlines()
        rows = [_read_line(line, path, n) for n, line in enumerate(lines, start=1) if line.strip()]
        records += from_rows(rows, subset=subset)
    return records


def _read_line(line: str, path: Path, number: int) -> tuple[str, Instance]:
    where = f"{path}, line {number}"
    head, mark, sentence = line.partition("##")
    cells = head.split()
    if not mark or len(cells) != 3:
        raise FormatError(f"{where}: expected 'VIDEO start end##sentence', got {line[:60]!r}.")
    video, start, end = cells
    return video, Instance.of(start, end, sentence.strip(), where, f"{path.stem}:{number}")


def _durations(root: Path) -> Mapping[str, float]:
    found: dict[str, float] = {}
    for path in sorted(root.rglob("charades_durations*.json")):
        content = read_json(path)
        if isinstance(content, dict):
            found |= {name: loose_number(video.get("duration")) for name, video in content.items()}
    for path in sorted(root.rglob("Charades_v1_*.csv")):
        for _, row in read_rows(path, ("id", "length")):
            found[row["id"]] = loose_number(row["length"])
    return found


CHARADES_STA = Benchmark(
    name="charades-sta",
    title="Charades-STA",
    task="retrieval",
    layouts=(
        Layout(("charades_sta_train.txt", "charades_sta_test.txt"), _read),
        Layout(("charades_sta_test.txt",), _read),
    ),
    train_subset="train",
    test_subset="test",
    profile="charades-sta",
    published_counts={"train": (5338, 12408), "test": (1334, 3720)},
    durations=_durations,
    where_to_get=(
        "Sentences: https://github.com/jiyanggao/TALL; videos: "
        "https://prior.allenai.org/projects/charades"
    ),
)
