"""GRIZAL from the command line: a made-up world with flow and priors, trained in and asked."""

import json
from pathlib import Path

import numpy as np
import pytest
from commands import refusal, run
from fakes import FakeEncoder

from openmoment.checkpoints.card import read_card
from openmoment.errors import FeatureError
from openmoment.features.file import FLOW_SUFFIX, write_features
from openmoment.pipeline import load_pipeline
from openmoment.pipeline.snippets import FeatureFolder
from openmoment.training.files import AlikeFiles
from openmoment.types import Recipe, SnippetGrid, Snippets

SPLIT = ("--setting", "75-25")
QUICK = ("width=16", "heads=2", "inner=16", "vle_layers=1", "ofe_layers=1", "k=2", "length=24",
         "epochs=1", "batch_size=8", "lr=0.003", "precision=fp32")  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("world")
    size = ("--train", 20, "--test", 20)
    done = run("datasets", "synthesize", "thumos14", "--out", out, *size, "--flow", "--priors")
    assert done.exit_code == 0, done.output
    return out


def where(world: Path, features: Path | None = None) -> tuple[object, ...]:
    features = features or world / "features"
    return ("--dataset", "synthetic-thumos14", "--root", world, "--features", features,
            "--backbone", "synthetic")  # fmt: skip


@pytest.fixture(scope="module")
def checkpoint(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "grizal"
    told = (*SPLIT, "--split", 0, "--priors", world / "priors")
    done = run("train", "grizal", *where(world), "--out", out, *told, *QUICK)
    assert done.exit_code == 0, (done.output, done.exception)
    assert f"--priors {world / 'priors'}" in done.stdout  # of the command that scores it
    return out


def test_a_checkpoint_says_what_it_saw_besides_frames(world: Path, checkpoint: Path) -> None:
    card = read_card(checkpoint)
    assert card.priors == str(world / "priors")
    assert card.flow_encoder.startswith("synthetic+flow-") and card.flow_fingerprint
    assert (card.method, card.split) == ("grizal", "0")
    asked = load_pipeline("synthetic", checkpoint=checkpoint)
    assert asked.flow is not None
    assert (asked.flow.name, asked.flow.fingerprint) == (card.flow_encoder, card.flow_fingerprint)


def test_it_is_scored_with_the_label_given(world: Path, checkpoint: Path, tmp_path: Path) -> None:
    priors = ("--priors", world / "priors")
    asked = ("evaluate", "--checkpoint", checkpoint, *where(world), *SPLIT, "--splits", 0)
    done = run(*asked, *priors, "--label-given", "--out", tmp_path / "result")
    assert done.exit_code == 0, (done.output, done.exception)
    assert "With the label given" in done.stdout and "mIoU" in done.stdout
    kept = json.loads((tmp_path / "result" / "result.json").read_text())
    given = kept["splits"][0]["label_given"]
    assert list(given) == [f"R@IoU{t:g}" for t in kept["card"]["tious"]] + ["mIoU"]
    assert all(0 <= value <= 1 for value in given.values())
    recalls = list(given.values())[:-1]
    assert recalls == sorted(recalls, reverse=True)
    again = json.loads(run(*asked, *priors, "--json").stdout)  # counted whether asked for or not
    assert again["splits"][0]["label_given"] == given
    without = json.loads(run(*asked, "--json").stdout)
    assert without["mean"] != again["mean"]  # it reads other pairs


def test_other_methods_take_priors_and_label_given_too(world: Path) -> None:
    asked = ("evaluate", "--method", "similarity", *where(world), *SPLIT, "--splits", 0, "--json")
    plain = json.loads(run(*asked).stdout)
    shown = run(*asked, "--priors", world / "priors", "--label-given")
    assert shown.exit_code == 0, (shown.output, shown.exception)
    result = json.loads(shown.stdout)
    assert result["mean"] != plain["mean"]
    assert result["splits"][0]["label_given"]["mIoU"] > 0
    whole = ("--method", "whole_video", *where(world), *SPLIT, "--splits", 0, "--label-given")
    assert "--label-given needs a score for every class and snippet" in refusal("evaluate", *whole)


def test_what_grizal_lacks_is_one_line(world: Path, checkpoint: Path, tmp_path: Path) -> None:
    still = tmp_path / "still"
    still.mkdir()
    for path in (world / "features").iterdir():
        if not path.name.endswith(FLOW_SUFFIX):
            (still / path.name).symlink_to(path)
    train = ("train", "grizal", *where(world, still), "--out", tmp_path / "out", *SPLIT)
    line = refusal(*train, "--split", 0, *QUICK)
    assert f"{FLOW_SUFFIX}: no such file" in line and "use_flow=false" in line
    asked = ("evaluate", "--checkpoint", checkpoint, *where(world, still), *SPLIT, "--splits", 0)
    assert f"{FLOW_SUFFIX}: no such file" in refusal(*asked)
    train = ("train", "grizal", *where(world), "--out", tmp_path / "out", *SPLIT, "--split", 0)
    line = refusal(*train, *QUICK, "joint_encoder=image")
    assert "image has nothing to read of" in line and "--priors" in line
    assert "no such folder of priors" in refusal(*train, *QUICK, "--priors", tmp_path / "none")
    others = ("train", "contrans", *where(world), "--out", tmp_path / "out", *SPLIT)
    line = refusal(*others, "--split", 0, "--priors", world / "priors")
    assert "contrans reads no priors: leave --priors out" in line


# the flow beside features ------------------------------------------------------------------------


def write(folder: Path, name: str, encoder: str, fingerprint: str) -> Path:
    rows = np.random.default_rng(0).standard_normal((6, 16)).astype(np.float32)
    recipe = Recipe(encoder, fingerprint, 2.0, "")
    path = folder / name
    write_features(Snippets(rows, SnippetGrid.uniform(6, end_s=3.0), recipe, 3.0), path)
    return path


def test_flow_lies_beside_the_features_it_belongs_to(tmp_path: Path) -> None:
    encoder, flow = FakeEncoder(), FakeEncoder(fingerprint="flow-1")
    flow.name = "fake+flow-dis"
    path = write(tmp_path, "a.safetensors", "fake", "fake-1")
    plain, any_flow = (
        FeatureFolder(tmp_path, encoder),
        FeatureFolder(tmp_path, encoder, has_flow=True),
    )
    known = FeatureFolder(tmp_path, encoder, has_flow=True, flow=flow)
    assert plain.read(path).flow is None
    for folder in (any_flow, known):
        with pytest.raises(FeatureError, match=r"a\.flow\.safetensors: no such file.*--flow dis"):
            folder.read(path)

    def refused(made_by: str, fingerprint: str) -> list[bool]:
        write(tmp_path, f"a{FLOW_SUFFIX}", made_by, fingerprint)
        found = []
        for folder in (any_flow, known, FeatureFolder(tmp_path, encoder, True, has_flow=True)):
            try:
                read = folder.read(path)
                assert read.flow is not None and read.flow.recipe.encoder == made_by
                found.append(False)
            except FeatureError as error:
                assert "asked for the flow of fake" in str(error) and "\n" not in str(error)
                found.append(True)
        return found

    assert refused("fake+flow-dis", "flow-1") == [False, False, False]
    assert refused("fake+flow-dis", "imported") == [False, False, False]
    assert refused("fake+flow-dis", "flow-2") == [False, True, False]
    assert refused("fake+flow-raft", "flow-1") == [False, True, False]
    assert refused("fake", "fake-1") == [True, True, False]  # frames in place of flow
    assert refused("other+flow-dis", "flow-1") == [True, True, False]


def test_all_flow_that_is_learned_from_is_of_one_kind(tmp_path: Path) -> None:
    for name, kind in (("a", "dis"), ("b", "dis"), ("c", "raft")):
        write(tmp_path, f"{name}.safetensors", "fake", "fake-1")
        write(tmp_path, f"{name}{FLOW_SUFFIX}", f"fake+flow-{kind}", f"{kind}-1")
    files = AlikeFiles(FeatureFolder(tmp_path, FakeEncoder(), has_flow=True))
    assert files.load("a").flow is not None and files.load("b").flow is not None
    assert files.recipe.encoder == "fake"
    assert files.flow_recipe is not None and files.flow_recipe.fingerprint == "dis-1"
    with pytest.raises(
        FeatureError, match=r"fake\+flow-dis.*fake\+flow-raft.*Extract all with one"
    ):
        files.load("c")
    plain = AlikeFiles(FeatureFolder(tmp_path, FakeEncoder()))
    assert plain.load("c").flow is None and plain.flow_recipe is None


def test_sentences_are_learned_and_asked_with_their_pairs(tmp_path: Path) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    size = ("--train", 6, "--test", 3)
    assert run("datasets", "synthesize", "charades-sta", "--out", data, *size).exit_code == 0
    places = ("--dataset", "synthetic-charades-sta", "--root", data, "--features",
              data / "features", "--backbone", "synthetic")  # fmt: skip
    done = run("train", "grizal", *places, "--out", out, *QUICK, "use_flow=false")
    assert done.exit_code == 0, (done.output, done.exception)
    assert read_card(out).flow_encoder == ""
    done = run("evaluate", "--checkpoint", out, *places, "--json")
    assert done.exit_code == 0, (done.output, done.exception)
    assert json.loads(done.stdout)["card"]["settings"]["task"] == "mr"
