"""What was trained, asked: find and evaluate with --checkpoint, and ablate."""

import json
from pathlib import Path

import numpy as np
import pytest
from commands import refusal, run
from fakes import FakeEncoder
from tiny_method import register

from openmoment.checkpoints.card import read_card, write_card
from openmoment.cli.ablate import TABLES
from openmoment.config import from_table
from openmoment.datasets.base import prompt_name
from openmoment.datasets.names import class_names
from openmoment.datasets.splits import Split
from openmoment.errors import ConfigError, UnknownNameError
from openmoment.evaluation.published import published_results
from openmoment.evaluation.result import read_result
from openmoment.experiments import ablation
from openmoment.experiments.ablation import Row, ablation_rows, published_row
from openmoment.features.cache import sha256
from openmoment.features.file import write_features
from openmoment.methods import METHODS
from openmoment.pipeline import load_pipeline
from openmoment.types import Recipe, SnippetGrid, Snippets

CLASSES = class_names("thumos14")
QUICK = ("epochs=3", "length=16", "batch_size=8", "lr=0.01")


@pytest.fixture(autouse=True)
def backbone(monkeypatch: pytest.MonkeyPatch) -> FakeEncoder:
    register(monkeypatch)
    encoder = FakeEncoder(dim_in=12)
    for place in ("openmoment.encoders", "openmoment.pipeline.loading"):
        monkeypatch.setattr(f"{place}.load_encoder", lambda *_, **__: encoder)
    return encoder


@pytest.fixture
def root(tmp_path: Path, backbone: FakeEncoder) -> Path:
    """For each class of THUMOS14 a video to train on and one to test on, which show its word."""
    folder = tmp_path / "data"
    (folder / "features").mkdir(parents=True)
    database = {}
    words = backbone.encode_text([prompt_name(name) for name in CLASSES])
    for subset in ("Validation", "Test"):
        for i, name in enumerate(CLASSES):
            video = f"video_{subset.lower()}_{i:07}"
            segment = {"segment": [2.0, 6.0], "label": name}
            database[video] = {"subset": subset, "duration": 10.0, "annotations": [segment]}
            rows = np.random.default_rng([i, len(subset)]).standard_normal((20, 12)) * 0.2
            rows[4:12, :8] += words[i]
            grid, recipe = SnippetGrid.uniform(20, end_s=10.0), Recipe("fake", "fake-1", 2.0, "")
            snippets = Snippets(rows.astype(np.float32), grid, recipe, 10.0)
            write_features(snippets, folder / "features" / f"{video}.safetensors")
    (folder / "thumos14.json").write_text(json.dumps({"database": database}))
    return folder


def where(root: Path) -> tuple[object, ...]:
    return ("--dataset", "thumos14", "--root", root, "--features", root / "features")


@pytest.fixture
def checkpoint(root: Path, tmp_path: Path) -> Path:
    """Trained on the seen classes of split 0."""
    out = tmp_path / "run"
    split = ("--setting", "75-25", "--split", 0)
    done = run("train", "tiny", *where(root), "--out", out, *split, *QUICK)
    assert done.exit_code == 0, done.output
    return out


def test_the_command_that_training_ends_with_scores_it(root: Path, checkpoint: Path) -> None:
    done = run("evaluate", "--checkpoint", checkpoint, *where(root), "--setting", "75-25",
               "--splits", 0, "--text-check", "--json", "--out", checkpoint / "result")  # fmt: skip
    assert done.exit_code == 0, done.output
    card = json.loads(done.stdout)["card"]
    assert (card["method"], card["setting"], card["splits"]) == ("tiny", "75-25", [0])
    assert card["settings"]["min_score"] == 0  # ranks all
    assert read_result(checkpoint / "result").splits[0].num_predictions > 5


def test_a_checkpoint_that_has_met_an_unseen_class_is_refused(root: Path, checkpoint: Path) -> None:
    asked = ("evaluate", "--checkpoint", checkpoint, *where(root), "--setting", "75-25")
    line = refusal(*asked, "--splits", 1)
    met = set(Split("thumos14", "75-25", 0).seen) & set(Split("thumos14", "75-25", 1).unseen)
    assert f"was trained on {min(met)!r}, which is to be unseen in split 1" in line


def test_a_number_over_seen_and_unseen_classes_says_so(root: Path, checkpoint: Path) -> None:
    asked = ("evaluate", "--checkpoint", checkpoint, *where(root))
    done = run(*asked, "--out", checkpoint / "all")
    assert done.exit_code == 0, done.output
    assert (
        "15 of these 20 classes were trained on. For unseen ones alone: --setting 75-25 --splits 0."
    ) in done.stderr
    assert "trained on 15 of 20 classes" in done.stdout.splitlines()[0]
    card = read_result(checkpoint / "all").card
    assert set(card.trained_on) == set(Split("thumos14", "75-25", 0).seen)
    done = run(*asked, "--setting", "75-25", "--splits", 0, "--json")
    assert "were trained on" not in done.stderr
    assert json.loads(done.stdout)["card"]["trained_on"] == []


def test_a_split_of_your_own_is_told_apart_by_names(root: Path, tmp_path: Path) -> None:
    own = ("--unseen", "Diving, CliffDiving")
    done = run("train", "tiny", *where(root), "--out", tmp_path / "own", *own, *QUICK)
    assert done.exit_code == 0, done.output
    done = run("evaluate", "--checkpoint", tmp_path / "own", *where(root))
    assert (
        "18 of these 20 classes were trained on. For unseen ones alone: --unseen with their names."
    ) in done.stderr


def test_your_own_split(root: Path, tmp_path: Path) -> None:
    own = ("--unseen", "Diving, CliffDiving")
    done = run("train", "tiny", *where(root), "--out", tmp_path / "own", *own, *QUICK)
    assert done.exit_code == 0, done.output
    done = run("evaluate", "--checkpoint", tmp_path / "own", *where(root), *own, "--json")
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert result["card"]["setting"] == "unseen: CliffDiving, Diving"
    assert list(result["splits"][0]["classes"]) == ["CliffDiving", "Diving"]
    line = refusal(
        "evaluate", "--checkpoint", tmp_path / "own", *where(root), "--unseen", "Shotput"
    )
    assert "was trained on 'Shotput'" in line
    line = refusal("evaluate", "--method", "similarity", *where(root), *own, "--setting", "75-25")
    assert "not both" in line


def test_find_with_a_checkpoint(checkpoint: Path, tmp_path: Path) -> None:
    video = tmp_path / "a.mp4"
    video.write_bytes(b"x" * 9000)
    asked = ("find", video, "a dog", "a cat", "--checkpoint", checkpoint, "--json")
    done = run(*asked, "--set", "min_score=0", "--save-predictions", tmp_path / "all.json")
    assert done.exit_code == 0, done.output
    answer = json.loads(done.stdout)
    assert answer["method"]["name"] == "tiny"
    assert answer["method"]["settings"]["length"] == 16
    assert answer["method"]["settings"]["fps"] == 2.0  # as it was trained, not the backbone's 4
    assert answer["method"]["settings"]["min_presence"] == 0.4  # held against the bank
    assert not answer["moments"]  # of noise
    assert "tiny's own scores, which are not calibrated" in answer["notes"][0]
    made = answer["method"]["settings"]["checkpoint"]
    assert made == f"tiny-{sha256(checkpoint / 'model.safetensors')[:8]}"
    ranked = json.loads((tmp_path / "all.json").read_text())["results"]["a"]
    assert len(ranked) > 1
    assert min(row["score"] for row in ranked) > 0.0  # its own


def test_a_checkpoint_is_asked_for_by_its_own_names(
    checkpoint: Path, tmp_path: Path, backbone: FakeEncoder
) -> None:
    video = tmp_path / "a.mp4"
    video.write_bytes(b"x" * 9000)
    ask = ("find", video, "a dog")
    assert "has to be trained first" in refusal(*ask, "--method", "tiny")
    with_it = (*ask, "--checkpoint", checkpoint)
    assert "is a checkpoint of tiny, not of t3al" in refusal(*with_it, "--method", "t3al")
    assert "dropout was decided in training" in refusal(*with_it, "--set", "dropout=0.5")
    assert "Unknown setting 'colour'" in refusal(*with_it, "--set", "colour=red")
    assert "no such folder" in refusal(*ask, "--checkpoint", tmp_path / "nothing")
    backbone.fingerprint = "fake-2"
    line = refusal(*with_it)
    assert "trained with the backbone fake (fingerprint fake-1), got fake (fake-2)" in line


def test_features_of_another_encoder_are_not_made_from_video(
    checkpoint: Path, tmp_path: Path
) -> None:
    config = (checkpoint / "config.toml").read_text()
    (checkpoint / "config.toml").write_text(config.replace('"joint"', '"own"'))
    card = read_card(checkpoint)
    write_card(card, checkpoint)
    video = tmp_path / "a.mp4"
    video.write_bytes(b"x" * 9000)
    line = refusal("find", video, "a dog", "--checkpoint", checkpoint)
    assert "reads features of another encoder" in line
    with pytest.raises(ConfigError, match="decided in training"):
        load_pipeline(checkpoint=checkpoint, settings={"features": "joint"})


# ablations -----------------------------------------------------------------------------------


def test_a_table_is_run_row_by_row_and_kept(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = (
        Row("much dropout", {"dropout": 0.9}),
        Row("as it is"),
        Row("few thresholds", asked={"mask_thresholds": [0.5]}),
        Row("another's", other="another method's row"),
    )
    monkeypatch.setattr(ablation, "_tables", lambda: {"tiny": {"9": rows}})
    command = ("ablate", "tiny", "--table", 9, *where(root), "--splits", "0,1",
               "--out", tmp_path / "runs", *QUICK)  # fmt: skip
    done = run(*command)
    assert done.exit_code == 0, done.output
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    assert [line.split("  ")[0] for line in lines[1:5]] == [row.row for row in rows]
    assert "2 of 10 splits, fake" in lines[5]
    folders = sorted(path.name for path in (tmp_path / "runs").iterdir())
    assert folders == ["dropout=0.9", "preset"]  # rows that are trained alike share it
    before = (tmp_path / "runs" / "preset" / "split_0" / "card.json").stat().st_mtime_ns
    again = run(*command, "--json")
    ours = [row["ours"] for row in json.loads(again.stdout)["rows"]]
    assert ours[3] == {} and ours[1] != ours[2]
    assert (tmp_path / "runs" / "preset" / "split_0" / "card.json").stat().st_mtime_ns == before
    other = refusal(*command, "overlap=0.2")
    assert "cannot go on otherwise than begun: overlap was 0.5, now 0.2" in other
    assert "needs unseen classes" in refusal(*command, "--setting", "all")
    assert "Known: 9" in refusal(*[4 if word == 9 else word for word in command])


def test_the_help_lists_the_tables_of_each_method() -> None:
    every = ablation._tables().items()
    assert TABLES == "; ".join(f"{method} {' '.join(tables)}" for method, tables in every)
    assert "4a" in run("ablate", "--help").stdout


MAIN_TABLES = {
    "contrans": ("Table 1", "Table 2", "Table 3"),
    "stale": ("Table 1", "Table 2", "Table 3"),
    "unloc": ("Table 5", "Table 6", "Table 7"),
}
ILLEGIBLE = ("FPN", "1 conv layer", "2 conv layers")
"""Rows of UnLoc's Table 1 whose numbers cannot be read."""


@pytest.mark.parametrize("method", ["contrans", "stale", "unloc"])
def test_every_row_of_the_papers_is_one_that_they_print_and_that_can_be_set(method: str) -> None:
    printed = {
        (row.table.removeprefix("Table "), row.method)
        for row in published_results()
        if row.paper.lower() == method and row.table not in MAIN_TABLES[method]
    }
    tables = ablation._tables()[method]
    rows = {(table, row.row) for table in tables for row in ablation_rows(method, table)}
    assert printed <= rows
    for table in tables:
        for row in ablation_rows(method, table):
            assert (published_row(method, table, row) is None) == (row.row in ILLEGIBLE)
            from_table(METHODS[method].Config, {**row.settings, **row.asked}, where=row.row)
    with pytest.raises(UnknownNameError, match="Known: contrans, stale, unloc"):
        ablation_rows("t3al", "4")
