"""ActivityNet Captions (Krishna et al., ICCV 2017): sentences that together tell a video.

val_1 and val_2 describe mostly the same videos by other people; papers validate on the first and
test on the second. Four training sentences do not end after they start; every published count
leaves them out.
"""

from collections.abc import Sequence
from pathlib import Path

from openmoment.datasets.activitynet import tidy_id
from openmoment.datasets.base import Benchmark, Layout
from openmoment.datasets.records import (
    Instance,
    Record,
    Records,
    as_pair,
    loose_number,
    read_videos,
)
from openmoment.errors import FormatError
from openmoment.storage.reading import get


def _read(files: Sequence[Path]) -> Records:
    return [record for path in files for record in _read_file(path)]


def _read_file(path: Path) -> Records:
    records = []
    for name, video, where in read_videos(path):
        times, sentences = (
            get(video, "timestamps", list, where),
            get(video, "sentences", list, where),
        )
        if len(times) != len(sentences):
            raise FormatError(f"{where}: {len(times)} timestamps for {len(sentences)} sentences.")
        instances = []
        for i, (segment, sentence) in enumerate(zip(times, sentences, strict=True)):
            place = f"{where}.timestamps[{i}]"
            times_s, query_id = as_pair(segment, place), f"{path.stem}:{name}:{i}"
            instances.append(Instance.of(*times_s, str(sentence).strip(), place, query_id))
        duration_s = loose_number(video.get("duration"))
        records.append(Record(name, path.stem, duration_s, tuple(instances)))
    return records


ACTIVITYNET_CAPTIONS = Benchmark(
    name="activitynet-captions",
    title="ActivityNet Captions",
    task="retrieval",
    layouts=(
        Layout(("train.json", "val_1.json", "val_2.json"), _read),
        Layout(("val_1.json", "val_2.json"), _read),
        Layout(("val_2.json",), _read),
    ),
    train_subset="train",
    test_subset="val_2",
    profile="activitynet-captions",
    published_counts={"train": (10009, 37417), "val_1": (4917, 17505), "val_2": (4885, 17031)},
    drops_empty=True,
    tidy_id=tidy_id,
    where_to_get="https://cs.stanford.edu/people/ranjaykrishna/densevid/",
)
