"""The published class splits, and what each rule keeps of a dataset."""

from pathlib import Path

import numpy as np
import pytest

from openmoment.datasets.base import Dataset
from openmoment.datasets.splits import (
    NUM_SPLITS,
    SETTINGS,
    Split,
    parse_split,
    read_split_folder,
    zero_shot,
)
from openmoment.errors import ConfigError, FormatError, UnknownNameError
from openmoment.types import Annotations

NAMES = ("run", "jump", "swim")


def video(duration_s: float, *rows: tuple[float, float, str]) -> Annotations:
    return Annotations(
        np.array([row[:2] for row in rows], dtype=float).reshape(-1, 2),
        np.array([NAMES.index(row[2]) for row in rows], dtype=np.int64),
        NAMES,
        duration_s,
    )


@pytest.fixture
def dataset() -> Dataset:
    return Dataset(
        "activitynet",
        {
            "training": {
                "both": video(100.0, (0, 10, "run"), (20, 30, "swim")),
                "unseen only": video(100.0, (0, 10, "swim")),
            },
            "validation": {
                "mixed": video(100.0, (0, 10, "run"), (20, 30, "swim"), (40, 40.5, "swim")),
                "seen only": video(100.0, (0, 10, "jump")),
            },
        },
        NAMES,
        "training",
        "validation",
        "activitynet",
    )


# the lists ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dataset", "num_classes"), [("thumos14", 20), ("activitynet", 200)])
@pytest.mark.parametrize("setting", SETTINGS)
def test_splits_are_disjoint_and_whole(dataset: str, num_classes: int, setting: str) -> None:
    lists = set()
    for index in range(NUM_SPLITS):
        split = Split(dataset, setting, index)
        assert len(split.unseen) == num_classes * int(setting[3:]) // 100
        assert not set(split.seen) & set(split.unseen)
        assert len(set(split.seen) | set(split.unseen)) == num_classes
        lists.add(split.unseen)
    assert len(lists) == NUM_SPLITS


@pytest.mark.data
@pytest.mark.parametrize("dataset", ["thumos14", "activitynet"])
@pytest.mark.parametrize("setting", SETTINGS)
def test_package_data_are_the_published_lists(data_root: Path, dataset: str, setting: str) -> None:
    for index in range(NUM_SPLITS):
        seen, unseen = read_split_folder(data_root / "splits", dataset, setting, index)
        split = Split(dataset, setting, index)
        assert (set(seen), set(unseen)) == (set(split.seen), set(split.unseen))


def test_splits_by_text() -> None:
    assert parse_split("thumos14/50-50/3") == Split("thumos14", "50-50", 3)
    assert str(Split("thumos14", "50-50", 3)) == "thumos14/50-50/3"
    for text in ("thumos14/50-50", "thumos14/50-50/x", ""):
        with pytest.raises(ConfigError, match="like thumos14/50-50/3"):
            parse_split(text)
    with pytest.raises(ConfigError, match="numbered 0 to 9"):
        Split("thumos14", "50-50", 10)
    with pytest.raises(UnknownNameError):
        Split("thumos14", "60-40", 0)
    with pytest.raises(UnknownNameError):
        Split("coin", "50-50", 0)


def test_folders_of_lists_are_read_whole(tmp_path: Path) -> None:
    """The last name counts also where the file does not end its line."""
    folder = tmp_path / "train_50_test_50" / "THUMOS14"
    for part, text in (("train", "Diving\nBilliards"), ("test", " LongJump \n\nShotput\n")):
        (folder / part).mkdir(parents=True)
        (folder / part / "split_0.list").write_text(text)
    seen, unseen = read_split_folder(tmp_path, "thumos14", "50-50", 0)
    assert (seen, unseen) == (("Diving", "Billiards"), ("LongJump", "Shotput"))
    (folder / "test" / "split_0.list").write_text("Diving\n")
    with pytest.raises(FormatError, match="seen and unseen at once: 'Diving'"):
        read_split_folder(tmp_path, "thumos14", "50-50", 0)
    (folder / "test" / "split_0.list").write_text("\n")
    with pytest.raises(FormatError, match="names no class"):
        read_split_folder(tmp_path, "thumos14", "50-50", 0)
    with pytest.raises(FormatError, match="cannot be read"):
        read_split_folder(tmp_path, "thumos14", "75-25", 0)


# the rules ---------------------------------------------------------------------------------------


def kept(videos: dict) -> dict[str, list[tuple[float, str]]]:
    return {
        name: [
            (float(segment[0]), true.names[label])
            for segment, label in zip(true.segments, true.labels, strict=True)
        ]
        for name, true in videos.items()
    }


def test_no_instance_of_an_unseen_class_leaks_into_training(dataset: Dataset) -> None:
    part = zero_shot(dataset, ["swim"])
    assert kept(part.train) == {"both": [(0.0, "run")]}
    assert kept(part.test) == {"mixed": [(20.0, "swim"), (40.0, "swim")]}
    assert part.candidates == part.unseen == ("swim",)
    assert part.seen == ("run", "jump")


def test_generalized_lets_all_classes_compete(dataset: Dataset) -> None:
    part = zero_shot(dataset, ["swim"], generalized=True)
    assert part.candidates == NAMES
    assert set(part.test) == {"mixed", "seen only"}
    assert kept(part.train) == {"both": [(0.0, "run")]}


def test_the_reference_codes_keep_other_videos(dataset: Dataset) -> None:
    gap = zero_shot(dataset, ["swim"], rule="gap-code")
    assert kept(gap.test) == {"mixed": [(20.0, "swim")]}  # half a second is too short
    t3al = zero_shot(dataset, ["swim"], rule="t3al-code", eval_subset="training+validation")
    assert set(t3al.test) == {"both", "unseen only", "mixed"}
    stale = zero_shot(dataset, ["run", "jump"], rule="stale-code")
    assert set(stale.test) == {"seen only"}  # the last instance of "mixed" is too short
    assert kept(stale.train) == {"both": [(20.0, "swim")], "unseen only": [(0.0, "swim")]}


def test_a_class_that_is_none_and_a_split_without_videos(dataset: Dataset) -> None:
    with pytest.raises(UnknownNameError, match="class 'fly'"):
        zero_shot(dataset, ["fly"])
    with pytest.raises(FormatError, match="no video of the subset"):
        zero_shot(dataset, ["swim"], eval_subset="validation", rule="stale-code")
