"""The field's datasets: official files in, annotated videos out. No features here."""

from pathlib import Path

from openmoment.datasets.base import (
    Benchmark,
    Dataset,
    RetrievalDataset,
    build_dataset,
    build_retrieval,
    read_records,
)
from openmoment.errors import ConfigError
from openmoment.registry import LazyTable

DATASETS: LazyTable[Benchmark] = LazyTable(
    "dataset",
    {
        "thumos14": "openmoment.datasets.thumos14:THUMOS14",
        "activitynet": "openmoment.datasets.activitynet:ACTIVITYNET",
        "charades-sta": "openmoment.datasets.charades_sta:CHARADES_STA",
        "activitynet-captions": "openmoment.datasets.activitynet_captions:ACTIVITYNET_CAPTIONS",
        "qvhighlights": "openmoment.datasets.qvhighlights:QVHIGHLIGHTS",
        "coin": "openmoment.datasets.coin:COIN",
        "folder": "openmoment.datasets.folder:FOLDER",
        "synthetic-thumos14": "openmoment.datasets.made_up.files:SYNTHETIC_THUMOS14",
        "synthetic-activitynet": "openmoment.datasets.made_up.files:SYNTHETIC_ACTIVITYNET",
        "synthetic-coin": "openmoment.datasets.made_up.files:SYNTHETIC_COIN",
        "synthetic-charades-sta": "openmoment.datasets.made_up.files:SYNTHETIC_CHARADES_STA",
        "synthetic-activitynet-captions": (
            "openmoment.datasets.made_up.files:SYNTHETIC_ACTIVITYNET_CAPTIONS"
        ),
    },
)


def load_dataset(
    name: str, root: Path, *, annotations: Path | None = None, exclude: str = "default"
) -> Dataset:
    """The detection or segmentation dataset ``name`` from its official files below ``root``.

    ``annotations`` picks one file where several are known; ``exclude`` names a list of videos to
    leave out. Raises UnknownNameError, FormatError, ConfigError.
    """
    benchmark = DATASETS[name]
    if benchmark.task == "retrieval":
        raise ConfigError(f"{benchmark.title} is for moment retrieval: it has no classes.")
    records, sources = read_records(benchmark, root, annotations)
    return build_dataset(benchmark, records, exclude=exclude, sources=sources)


def load_either(
    name: str, root: Path, *, annotations: Path | None = None, exclude: str = "default"
) -> Dataset | RetrievalDataset:
    """The dataset ``name``, of classes or of sentences. Raises as `load_dataset`."""
    if DATASETS[name].task == "retrieval":
        return load_retrieval(name, root, annotations=annotations)
    return load_dataset(name, root, annotations=annotations, exclude=exclude)


def load_retrieval(name: str, root: Path, *, annotations: Path | None = None) -> RetrievalDataset:
    """The moment retrieval dataset ``name``. Raises as `load_dataset`."""
    benchmark = DATASETS[name]
    if benchmark.task != "retrieval":
        raise ConfigError(f"{benchmark.title} is not for moment retrieval: it has classes.")
    records, sources = read_records(benchmark, root, annotations)
    return build_retrieval(benchmark, records, sources=sources)
