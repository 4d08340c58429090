"""The ground truth of an evaluation: a dataset's own files, a file of anybody's, or reviews."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from openmoment.datasets import DATASETS, load_dataset
from openmoment.datasets.base import Dataset, build_dataset, read_records
from openmoment.datasets.folder import FOLDER, reviewed_records
from openmoment.errors import ConfigError, FormatError, UnknownNameError
from openmoment.evaluation.detection import PROFILES
from openmoment.reviews import is_review, read_reviews, truth

_OWN = "folder"


class Truth(NamedTuple):
    """A dataset, and what its reviews leave open."""

    data: Dataset
    unchecked: tuple[tuple[str, str], ...] = ()
    """Queries that nobody checked, each with its video: they are left out."""


def load_truth(
    gt: Path | None = None,
    name: str | None = None,
    root: Path | None = None,
    *,
    profile: str | None = None,
    exclude: str = "default",
) -> Truth:
    """The dataset of that name below ``root``, or what ``gt`` holds: annotations, or reviews.

    ``profile`` names the tIoUs, by default the dataset's. Raises UnknownNameError, ConfigError,
    FormatError.
    """
    if profile is not None and profile not in PROFILES:
        raise UnknownNameError("profile", profile, list(PROFILES))
    require_place(gt, root)
    if gt and name in (None, _OWN) and _holds_reviews(gt):
        found = load_reviews(gt)
        return found._replace(data=replace(found.data, profile=profile or found.data.profile))
    if name is None:
        name = profile if profile and gt and _has_classes_of(profile, gt) else _OWN
    folder = root or (gt.parent if gt else Path())
    data = load_dataset(name, folder, annotations=gt, exclude=exclude)
    if name == _OWN and len(data.subsets) == 1:
        data = replace(data, test_subset=next(iter(data.subsets)))
    return Truth(replace(data, profile=profile or data.profile))


def load_reviews(gt: Path) -> Truth:
    """What people checked, as a dataset: a review, or a folder of them. Raises FormatError."""
    reviews = read_reviews([gt])
    data = build_dataset(FOLDER, reviewed_records(reviews), sources=tuple(reviews))
    unchecked: list[tuple[str, str]] = []
    for review in reviews.values():
        known = set(truth(review).names)
        unchecked += [(q.query, review.video) for q in review.queries if q.query not in known]
    return Truth(data, tuple(unchecked))


def require_place(gt: Path | None, root: Path | None) -> None:
    """Raises ConfigError where nothing says where the ground truth is."""
    if gt is None and root is None:
        raise ConfigError("Say where the ground truth is: --gt FILE, or --dataset NAME --root DIR.")


def has_task(name: str, task: str) -> bool:
    """Whether a dataset, or a profile of a dataset's name, is of that task."""
    return name in DATASETS and DATASETS[name].task == task


def _holds_reviews(gt: Path) -> bool:
    """Whether the ground truth is a review, or a folder, which can be nothing else."""
    return gt.is_dir() or (gt.is_file() and is_review(gt))


def _has_classes_of(name: str, gt: Path) -> bool:
    """Whether annotations are of a known dataset, by their labels."""
    if name not in DATASETS:
        return False
    try:
        records, _ = read_records(DATASETS[name], gt.parent, gt)
    except FormatError:
        return False
    classes = DATASETS[name].classes
    return any(i.label in classes for record in records for i in record.instances)
