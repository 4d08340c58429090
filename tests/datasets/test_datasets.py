"""Datasets from their official files: counts, variants, what is refused, what the linter finds."""

import json
from dataclasses import replace

import numpy as np
import pytest

from openmoment.datasets import DATASETS, load_dataset, load_retrieval
from openmoment.datasets.activitynet import tidy_id
from openmoment.datasets.base import prompt_name, read_records
from openmoment.datasets.lint import FATAL, KINDS, lint
from openmoment.errors import ConfigError, FormatError, UnknownNameError


def counts(dataset) -> dict[str, tuple[int, int]]:
    return {s: (len(v), sum(map(len, v.values()))) for s, v in dataset.subsets.items()}


# the official files ------------------------------------------------------------------------------


@pytest.mark.data
@pytest.mark.parametrize(
    ("file", "validation", "test"),
    [
        (None, (200, 3007), (213, 3358)),
        ("thumos14.json", (200, 3007), (212, 3358)),
        ("thumos_anno_action.json", (200, 3003), (213, 3332)),
        ("Thumos14_annotations.json", (200, 3007), (213, 3358)),
        ("thumos_gt.json", (200, 3007), (210, 3311)),
    ],
)
def test_thumos14_in_all_its_forms(data_root, file, validation, test) -> None:
    root = data_root / "annotations" / "thumos14"
    annotations = root / file if file else None
    dataset = load_dataset("thumos14", root, annotations=annotations, exclude="none")
    assert counts(dataset) == {"validation": validation, "test": test}
    assert len(dataset.class_names) == 20
    assert "Ambiguous" not in dataset.class_names
    durations = [v.duration_s for videos in dataset.subsets.values() for v in videos.values()]
    assert np.isfinite(durations).all()


@pytest.mark.data
def test_the_forms_of_thumos14_agree_where_they_overlap(data_root) -> None:
    root = data_root / "annotations" / "thumos14"
    table = load_dataset("thumos14", root, exclude="none").subset("validation+test")
    other = load_dataset("thumos14", root, annotations=root / "thumos14.json", exclude="none")
    for video, annotations in other.subset("validation+test").items():
        np.testing.assert_array_equal(
            np.sort(annotations.segments, axis=0), np.sort(table[video].segments, axis=0)
        )
        assert annotations.duration_s == pytest.approx(table[video].duration_s, abs=1.0)


@pytest.mark.data
def test_thumos14_leaves_three_videos_out_unless_told_otherwise(data_root) -> None:
    root = data_root / "annotations" / "thumos14"
    default = load_dataset("thumos14", root)
    assert counts(default)["test"] == (210, 3311)
    assert default.excluded == tuple(
        f"video_test_000{number}" for number in ("0270", "1292", "1496")
    )
    assert counts(load_dataset("thumos14", root, exclude="gap"))["test"][0] == 208
    with pytest.raises(ConfigError, match="no exclusion list 'mine'"):
        load_dataset("thumos14", root, exclude="mine")


@pytest.mark.data
@pytest.mark.parametrize(
    ("file", "training", "validation"),
    [
        (None, (10024, 15410), (4926, 7654)),
        ("anet1.3_i3d_filtered.json.gz", (9251, 14253), (4555, 7022)),
    ],
)
def test_activitynet_in_two_forms(data_root, file, training, validation) -> None:
    root = data_root / "annotations" / "activitynet"
    annotations = root / file if file else None
    found = counts(load_dataset("activitynet", root, annotations=annotations))
    assert (found["training"], found["validation"]) == (training, validation)


@pytest.mark.data
def test_bsn_and_tsp_forms_of_activitynet(data_root, tmp_path) -> None:
    root = data_root / "annotations" / "activitynet"
    for names, validation in (
        (("anet_anno_action.json", "video_info_new.csv"), 4728),
        (
            (
                "activitynet_v1-3_train_tsp_groundtruth.csv.gz",
                "activitynet_v1-3_valid_tsp_groundtruth.csv.gz",
            ),
            4926,
        ),
    ):
        folder = tmp_path / names[0]
        folder.mkdir()
        for name in names:
            (folder / name).symlink_to(root / name)
        dataset = load_dataset("activitynet", folder)
        assert len(dataset.subset("validation")) == validation
        assert not any(
            name.startswith("v_") and len(name) == 13 for name in dataset.subset("validation")
        )


def test_only_the_prefix_is_taken_off_an_id() -> None:
    assert tidy_id("v_GGSY1Qvo990") == "GGSY1Qvo990"
    assert tidy_id("v_Vg4a8igc0") == "v_Vg4a8igc0"  # an official id of eleven letters


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "folder", "expected"),
    [
        ("charades-sta", "charades_sta", {"train": (5338, 12408), "test": (1334, 3720)}),
        (
            "activitynet-captions",
            "activitynet_captions",
            {"train": (10009, 37417), "val_1": (4917, 17505), "val_2": (4885, 17031)},
        ),
        ("qvhighlights", "qvhighlights", {"train": (7100, 7218), "val": (1519, 1550)}),
    ],
)
def test_retrieval_datasets_have_their_sentences(data_root, name, folder, expected) -> None:
    dataset = load_retrieval(name, data_root / "annotations" / folder)
    found = {s: (len({m.video for m in v}), len(v)) for s, v in dataset.subsets.items()}
    assert found == expected
    moments = dataset.subset(dataset.test_subset)
    assert len({moment.query_id for moment in moments}) == len(moments)
    assert all(moment.query and len(moment.windows) for moment in moments)
    assert np.isfinite([moment.duration_s for moment in moments]).all()


def test_official_thumos14_text_files(tmp_path) -> None:
    (tmp_path / "BaseballPitch_val.txt").write_text("video_validation_0000266  72.8 76.4\n")
    (tmp_path / "Diving_test.txt").write_text("video_test_0000001  1.0 2.5\n\n")
    (tmp_path / "Ambiguous_test.txt").write_text("video_test_0000001  5.0 6.0\n")
    dataset = load_dataset("thumos14", tmp_path)
    assert counts(dataset) == {"validation": (1, 1), "test": (1, 1)}
    (tmp_path / "Diving_test.txt").write_text("video_test_0000001  1.0\n")
    with pytest.raises(FormatError, match=r"Diving_test.txt, line 1"):
        load_dataset("thumos14", tmp_path)


def test_coin_tells_steps_of_one_name_apart(tmp_path) -> None:
    def video(task: str, subset: str, *steps: tuple[str, str]) -> dict:
        annotation = [
            {"id": i, "segment": [0, 1 + k], "label": t} for k, (i, t) in enumerate(steps)
        ]
        return {"class": task, "subset": subset, "duration": 9.0, "annotation": annotation}

    database = {
        "a": video("ChangeTire", "training", ("1", "unscrew"), ("2", "lift the car")),
        "b": video("OpenClock", "testing", ("3", "unscrew")),
    }
    (tmp_path / "COIN.json").write_text(json.dumps({"database": database}))
    dataset = load_dataset("coin", tmp_path)
    assert dataset.class_names == ("lift the car", "unscrew (ChangeTire)", "unscrew (OpenClock)")
    assert counts(dataset) == {"training": (1, 2), "testing": (1, 1)}


# your own footage --------------------------------------------------------------------------------


def test_a_folder_with_csv_or_json(tmp_path) -> None:
    (tmp_path / "annotations.csv").write_text(
        "video,start_s,end_s,label\nday1.mp4,1,2.5,a dog\nday1.mp4,4,5,a cat\nday2.mp4,0,1,a dog\n"
    )
    dataset = load_dataset("folder", tmp_path)
    assert dataset.class_names == ("a cat", "a dog")
    assert counts(dataset) == {"test": (2, 3)}
    row = {"segment": ["1", "2.5"], "label": "a dog"}
    document = {"database": {"day1": {"duration": 10, "annotations": [row]}}}
    (tmp_path / "annotations.json").write_text(json.dumps(document))
    dataset = load_dataset("folder", tmp_path)  # JSON is looked for first
    assert dataset.subset("test")["day1"].segments.tolist() == [[1.0, 2.5]]
    assert dataset.subset("test")["day1"].duration_s == 10.0


def write_json(path, *names: str, label: str = "a dog"):
    row = {"segment": [1, 2.5], "label": label}
    database = {name: {"duration": 10, "annotations": [row]} for name in names}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"database": database}))
    return path


@pytest.mark.parametrize("ending", [".json", ".JSON", ".csv", ".tsv"])
def test_a_file_of_any_name_is_read_by_its_ending(tmp_path, ending) -> None:
    path = tmp_path / f"mine{ending}"
    if ending.lower() == ".json":
        write_json(path, "day1")
    else:
        rows = "video,start_s,end_s,label\nday1,1,2.5,a dog\n"
        path.write_text(rows.replace(",", "\t") if ending == ".tsv" else rows)
    dataset = load_dataset("folder", tmp_path, annotations=path)
    assert dataset.subset("test")["day1"].segments.tolist() == [[1.0, 2.5]]


def test_a_file_of_another_ending_is_refused(tmp_path) -> None:
    (tmp_path / "mine.txt").touch()
    with pytest.raises(FormatError, match="annotations of your folder ends in .json or .csv"):
        load_dataset("folder", tmp_path, annotations=tmp_path / "mine.txt")


def test_a_picked_file_without_any_subset_is_the_one_to_test_on(tmp_path) -> None:
    path = write_json(tmp_path / "mine.json", "day1", "day2", label="Archery")
    dataset = load_dataset("activitynet", tmp_path, annotations=path)
    assert counts(dataset) == {"validation": (2, 2)}
    path = path.rename(tmp_path / "activity_net.v1-3.min.json")
    found = load_dataset("activitynet", tmp_path)
    with pytest.raises(UnknownNameError, match="Unknown subset 'validation'. There are none."):
        found.subset("validation")


@pytest.mark.parametrize("name", ["annotations.json", "annotations.csv"])
def test_two_annotation_files_are_refused_by_name(tmp_path, name) -> None:
    for folder in "ab":
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text("{}")
    with pytest.raises(FormatError) as caught:
        load_dataset("folder", tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: holds both a/{name} and b/{name}. "
        "Keep one of them, or give the folder of one."
    )
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / name).touch()
    with pytest.raises(FormatError, match=r"and 1 more"):
        load_dataset("folder", tmp_path)


def test_the_file_in_the_folder_itself_comes_before_those_below(tmp_path) -> None:
    write_json(tmp_path / "annotations.json", "top")
    write_json(tmp_path / "a" / "annotations.json", "below")
    dataset = load_dataset("folder", tmp_path)
    assert set(dataset.subset("test")) == {"top"}
    assert dataset.sources == (tmp_path / "annotations.json",)


# what is refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"segment": [5, 2], "label": "Diving"}, "ends at 2 s, before its start at 5 s"),
        ({"segment": ["nan", 2], "label": "Diving"}, "not finite"),
        ({"segment": [None, 2], "label": "Diving"}, "not finite"),
        ({"segment": [1], "label": "Diving"}, "expected [start, end]"),
        ({"segment": [1, 2]}, "field 'label' is missing"),
        ({"label": "Diving"}, "field 'segment' is missing"),
        ({"segment": [1, 2], "label": "Sleeping"}, "'Sleeping' is not one of the 20 classes"),
    ],
)
def test_an_impossible_annotation_is_refused_by_its_place(tmp_path, row, says) -> None:
    path = tmp_path / "thumos14.json"
    good = {"segment": [0, 1], "label": "Diving"}
    video = {"subset": "Test", "duration": 9, "annotations": [good, row]}
    path.write_text(json.dumps({"database": {"video_test_0000001": video}}))
    with pytest.raises(FormatError) as caught:
        load_dataset("thumos14", tmp_path)
    message = str(caught.value)
    assert says in message and "video_test_0000001" in message and "annotations[1]" in message
    assert "\n" not in message


def test_what_is_not_there_is_said_with_where_to_get_it(tmp_path) -> None:
    with pytest.raises(FormatError, match="holds no annotations of THUMOS14.*crcv.ucf.edu"):
        load_dataset("thumos14", tmp_path)
    with pytest.raises(FormatError, match="no such folder"):
        load_dataset("thumos14", tmp_path / "none")
    with pytest.raises(UnknownNameError, match="Did you mean 'thumos14'"):
        load_dataset("thumos", tmp_path)
    with pytest.raises(ConfigError, match="moment retrieval"):
        load_dataset("qvhighlights", tmp_path)
    with pytest.raises(ConfigError, match="not for moment retrieval"):
        load_retrieval("thumos14", tmp_path)


# names -------------------------------------------------------------------------------------------


def test_class_names_become_words() -> None:
    assert prompt_name("CleanAndJerk") == "Clean And Jerk"
    assert prompt_name("horse_riding") == "horse riding"
    assert prompt_name("BMX") == "BMX"
    activitynet = DATASETS["activitynet"]
    assert prompt_name("Mooping floor", activitynet.prompt_overrides) == "Mopping floor"
    assert set(activitynet.prompt_overrides) <= set(activitynet.classes)
    assert all(ord(c) < 128 and prompt_name(name) for name in activitynet.classes for c in name)


# the linter --------------------------------------------------------------------------------------


@pytest.mark.data
def test_the_linter_finds_the_known_faults(data_root) -> None:
    root = data_root / "annotations" / "thumos14"
    records, sources = read_records(DATASETS["thumos14"], root)
    report = lint(DATASETS["thumos14"], records, sources=sources)
    assert report.counts["after the end"] == 30
    assert report.counts["two labels"] == 143 + 217 + 1
    assert report.counts["no instance"] == 1
    assert report.is_usable
    by_video = [f.video for f in report.findings if f.kind == "after the end"]
    assert by_video.count("video_test_0000270") == 22
    assert [row["instances"] for row in report.subsets] == [3007, 3358]

    captions = data_root / "annotations" / "activitynet_captions"
    records, _ = read_records(DATASETS["activitynet-captions"], captions)
    report = lint(DATASETS["activitynet-captions"], records)
    assert report.counts["inverted"] + report.counts["empty"] == 4


def test_every_kind_of_finding(tmp_path) -> None:
    rows = [
        {"segment": [0, 1], "label": "Diving"},
        {"segment": [0, 1], "label": "Diving"},
        {"segment": [0, 1], "label": "CliffDiving"},
        {"segment": [0, 99], "label": "Diving"},
        {"segment": [-1, 2], "label": "Diving"},
        {"segment": [3, 3], "label": "Diving"},
        {"segment": [4, 3], "label": "Diving"},
        {"segment": ["x", 3], "label": "Diving"},
        {"segment": [0, 1], "label": "Divin"},
        {"segment": [0, 1], "label": "Ambiguous"},
    ]
    database = {
        "video_test_0000270": {"duration": 10, "annotations": rows},
        "video_test_0000002": {"annotations": []},
    }
    (tmp_path / "thumos14.json").write_text(json.dumps({"database": database}))
    benchmark = DATASETS["thumos14"]
    records, _ = read_records(benchmark, tmp_path)
    report = lint(benchmark, [*records, records[1]], files={"video_test_0000270", "other"})
    assert set(report.counts) == set(KINDS)
    assert not report.is_usable
    (misspelt,) = [f for f in report.findings if f.kind == "unknown label"]
    assert "did you mean 'Diving'" in misspelt.detail
    found = [f.kind for f in report.findings]
    assert found == sorted(found, key=list(KINDS).index)
    assert set(FATAL) < set(KINDS)
    assert json.loads(json.dumps(report.to_dict()))["usable"] is False
    whole = [r for r in records if r.id == "video_test_0000002"]
    clean = lint(benchmark, [replace(r, duration_s=5.0, subset="train") for r in whole])
    assert clean.findings == ()
