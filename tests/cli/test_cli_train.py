"""openmoment train as a person meets it."""

import json
import signal
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from commands import refusal, run
from fakes import FakeEncoder
from tiny_method import Tiny, register

from openmoment import encoders
from openmoment.checkpoints.card import read_card
from openmoment.checkpoints.weights import load_checkpoint, read_config
from openmoment.datasets import load_dataset
from openmoment.datasets.names import class_names
from openmoment.datasets.splits import Split
from openmoment.errors import ConfigError
from openmoment.features.file import write_features
from openmoment.training.run import class_splits, find_preset
from openmoment.types import Recipe, SnippetGrid, Snippets

CLASSES = class_names("thumos14")
QUICK = ("epochs=2", "length=8", "batch_size=8")


@pytest.fixture(autouse=True)
def backbone(monkeypatch: pytest.MonkeyPatch) -> FakeEncoder:
    register(monkeypatch)
    encoder = FakeEncoder(dim_in=12)
    monkeypatch.setattr(encoders, "load_encoder", lambda *_, **__: encoder)
    return encoder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A video of each class of THUMOS14 to train on, and features; one more to test on."""
    folder = tmp_path / "data"
    (folder / "features").mkdir(parents=True)
    database = {}
    for i, name in enumerate(CLASSES):
        video = f"video_validation_{i:07}"
        segment = {"segment": [2.0, 6.0], "label": name}
        database[video] = {"subset": "Validation", "duration": 10.0, "annotations": [segment]}
        write(folder / "features", video, seed=i)
    database["video_test_0000001"] = database[video] | {"subset": "Test"}
    (folder / "thumos14.json").write_text(json.dumps({"database": database}))
    return folder


def write(folder: Path, video: str, *, seed: int = 0, width: int = 12, encoder: str = "fake"):
    rows = np.random.default_rng(seed).standard_normal((20, width)).astype(np.float32)
    recipe = Recipe(encoder, f"{encoder}-1", 2.0, "")
    grid = SnippetGrid.uniform(20, end_s=10.0)
    write_features(Snippets(rows, grid, recipe, 10.0), folder / f"{video}.safetensors")


def command(root: Path, *more: object, method: str = "tiny") -> list[object]:
    places = ["--root", root, "--features", root / "features"]
    return ["train", method, "--dataset", "thumos14", *places, "--out", root / "out", *more]


def test_one_split_is_trained_on_its_seen_classes(root: Path, backbone: FakeEncoder) -> None:
    done = run(*command(root, "--setting", "75-25", "--split", "3", *QUICK, "lr=0.01"))
    assert done.exit_code == 0, (done.output, done.exception)
    card = read_card(root / "out")
    split = Split("thumos14", "75-25", 3)
    assert (card.seen, card.unseen) == (split.seen, split.unseen)
    assert (card.dataset, card.subset, card.setting, card.split) == (
        "thumos14",
        "validation",
        "75-25",
        "3",
    )
    assert (card.num_videos, card.steps, card.epochs, card.widths) == (15, 4, 2, (8, 8))
    assert (card.backbone, card.features_encoder, card.fps) == ("fake", "fake", 2.0)
    assert "Cliff Diving" in backbone.texts and "CliffDiving" not in backbone.texts
    name, settings, training = read_config(root / "out")
    assert (name, settings["length"], training["lr"], training["batch_size"]) == (
        "tiny",
        8,
        0.01,
        8,
    )
    assert isinstance(load_checkpoint(root / "out", backbone.space), Tiny)
    lines = done.stderr.splitlines()
    assert lines[0].startswith("tiny: epoch 1/2, loss ") and "mask 0." in lines[0]
    assert lines[0].endswith(" left") and len(lines) == 3
    assert done.stdout == (
        f"openmoment evaluate --checkpoint {root / 'out'} --dataset thumos14 --root {root} "
        f"--features {root / 'features'} --backbone fake --exclude default --setting 75-25 "
        "--splits 3\n"
    )


def test_all_splits_are_trained_and_finished_ones_skipped(root: Path) -> None:
    asked = command(root, "--setting", "50-50", "--split", "all", *QUICK)
    assert run(*asked).exit_code == 0
    cards = [read_card(root / "out" / f"split_{i}") for i in range(10)]
    assert [card.unseen for card in cards] == [
        Split("thumos14", "50-50", i).unseen for i in range(10)
    ]
    (root / "out" / "split_4" / "card.json").unlink()
    again = run(*asked, "--resume")
    assert again.exit_code == 0
    assert again.stderr.count("finished already") == 9
    assert read_card(root / "out" / "split_4").loss == cards[4].loss
    assert again.stdout.endswith("--setting 50-50 --splits all\n")


def test_all_classes_or_a_split_of_ones_own(root: Path) -> None:
    assert run(*command(root, *QUICK)).exit_code == 0
    card = read_card(root / "out")
    assert (card.setting, card.split, card.seen, card.unseen) == ("all", "all", CLASSES, ())
    own = command(root, *QUICK, "--out", root / "own", "--unseen", "Diving, CliffDiving")
    done = run(*own)
    assert done.exit_code == 0
    card = read_card(root / "own")
    assert (card.setting, card.split, card.unseen) == ("own", "own", ("CliffDiving", "Diving"))
    assert card.num_videos == 18
    assert done.stdout.endswith("--unseen 'Diving, CliffDiving'\n")


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--setting", "75-25"], "Say which class split: --split 0 to 9, or all."),
        (["--setting", "75-25", "--split", "ten"], "expected 0 to 9, or all, got 'ten'"),
        (["--setting", "75-25", "--split", "10"], "numbered 0 to 9, got 10"),
        (["--setting", "60-40", "--split", "1"], "Unknown setting '60-40'"),
        (["--split", "1"], "--split is one of a setting"),
        (["--setting", "75-25", "--unseen", "Diving"], "leave --setting out"),
        (["--unseen", "Divingg"], "Unknown class 'Divingg'. Did you mean 'Diving'?"),
        (["dropuot=1"], "Unknown setting 'dropuot'. Did you mean 'dropout'?"),
        (["epochs=many"], "setting 'epochs': expected int, got 'many'"),
        (["epochs=0"], "training: epochs must be positive, got 0"),
        (["length"], "Expected NAME=VALUE, got 'length'"),
        (["--preset", "thumos14-papr"], "Unknown preset of tiny 'thumos14-papr'"),
        (["--device", "warp"], "--device warp: not a device"),
        (["--features", "/nowhere"], "/nowhere: no such folder"),
        (["--resume", "--out", "/proc"], "/proc: holds no training to go on with"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, list) else "",
)
def test_what_cannot_be_asked_is_refused(root: Path, more: list[str], says: str) -> None:
    assert says in refusal(*command(root, *more))


def test_methods_without_weights_are_refused(root: Path) -> None:
    line = refusal(*command(root, method="similarity"))
    assert "similarity needs no training. Methods that do: contrans" in line


def test_a_filled_folder_is_refused_and_a_run_cannot_be_changed(root: Path) -> None:
    assert run(*command(root, *QUICK)).exit_code == 0
    assert "is not empty. Go on with --resume" in refusal(*command(root, *QUICK))
    (root / "out" / "card.json").unlink()
    line = refusal(*command(root, *QUICK, "--resume", "lr=1"))
    assert "lr was 0.0001, now 1.0" in line


def test_missing_and_foreign_features_are_named(root: Path) -> None:
    features = root / "features"
    (features / "video_validation_0000007.safetensors").unlink()
    line = refusal(*command(root, *QUICK))
    assert "1 of 20 training videos have no feature file" in line
    assert "'video_validation_0000007'" in line
    done = run(*command(root, *QUICK, "--allow-missing"))
    assert done.exit_code == 0
    assert read_card(root / "out").missing == ("video_validation_0000007",)
    write(features, "video_validation_0000007", encoder="i3d")
    line = refusal(*command(root, *QUICK, "--out", root / "b"))
    assert "0000007.safetensors: made by i3d" in line and "asked for fake" in line


def test_features_of_another_encoder_need_a_method_that_takes_them(
    root: Path, backbone: FakeEncoder
) -> None:
    features = root / "features"
    for i in range(20):
        write(features, f"video_validation_{i:07}", seed=i, width=10, encoder="i3d")
    assert run(*command(root, *QUICK, "features=own")).exit_code == 0
    card = read_card(root / "out")
    assert (card.features_encoder, card.backbone, card.widths) == ("i3d", "fake", (10, 8))
    write(features, "video_validation_0000011", width=10, encoder="slowfast")
    line = refusal(*command(root, *QUICK, "features=own", "--out", root / "b"))
    assert "0000000.safetensors and " in line and "of i3d (i3d-1) and of slowfast" in line
    write(features, "video_validation_0000011", width=9, encoder="i3d")
    line = refusal(*command(root, *QUICK, "features=own", "--out", root / "c"))
    assert "'video_validation_0000011' are 10 and 9 wide" in line


def test_presets_are_found_by_dataset() -> None:
    assert find_preset("contrans", "thumos14", None) == "thumos14-recommended"
    assert find_preset("contrans", "synthetic-thumos14", "paper") == "thumos14-paper"
    assert find_preset("contrans", "folder", "thumos14-paper") == "thumos14-paper"
    assert find_preset("contrans", "folder", None) is None


def test_a_dataset_without_training_videos_says_what_it_has(root: Path) -> None:
    path = root / "annotations.csv"
    path.write_text("video,start_s,end_s,label,subset\nday1,1,2,a dog,test\n")
    data = load_dataset("folder", root)
    assert [split.seen for split in class_splits(data)] == [("a dog",)]
    with pytest.raises(ConfigError, match="Say which"):
        class_splits(data, "75-25")
    line = refusal(*command(root, "--dataset", "folder", *QUICK))
    assert "folder has no training video" in line and "there are: test" in line


def test_ctrl_c_says_how_to_go_on(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = nullcontext([signal.SIGINT])  # from the start
    monkeypatch.setattr("openmoment.training.loop.stop_signals", lambda: asked)
    done = run(*command(root, *QUICK))
    assert done.exit_code == 130
    assert done.stderr.splitlines()[-1] == (
        "openmoment: stopped after step 1 of 6. The state is saved: go on with --resume."
    )


def test_help_loads_no_torch() -> None:
    code = (
        "import sys\nfrom openmoment.cli.main import app\n"
        "sys.argv = ['openmoment', 'train', '-h']\n"
        "try:\n    app()\nexcept SystemExit:\n    print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
