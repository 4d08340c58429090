"""Action segmentation over a dataset: frames and their truth, scores, and what it is printed as."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from commands import refusal, run
from detections import make_detections
from fakes import FakeEncoder
from hypothesis import given, settings
from hypothesis import strategies as st
from spaces import DIM
from tiny_method import TinyConfig, make_tiny
from trained_world import WORDS, World

from openmoment.blocks.time_axis import TimeAxis
from openmoment.cli.text.segmentation import show
from openmoment.datasets import load_dataset
from openmoment.datasets.base import Dataset
from openmoment.datasets.made_up.steps import STEPS
from openmoment.errors import ConfigError, FeatureError
from openmoment.evaluation.protocol import Protocol
from openmoment.experiments.detection import SnippetSource, text_checks
from openmoment.experiments.segmentation import (
    BACKGROUND,
    apart,
    curves_at,
    frame_labels,
    frame_middles,
    one_hot,
    run_segmentation,
    to_logits,
)
from openmoment.features.file import write_features
from openmoment.methods.base import Answer
from openmoment.methods.traits import Traits
from openmoment.pipeline.answering import Pipeline
from openmoment.postprocess import Decision
from openmoment.training.data import TrainingData
from openmoment.types import Annotations, Queries, Recipe, SnippetGrid, Snippets

NAMES = ("wash", "cut", "fry")
PLACE = {name: i for i, name in enumerate(NAMES)}


def annotated(*steps: tuple[float, float, int], duration_s: float = 8.0) -> Annotations:
    segments = np.array([step[:2] for step in steps], dtype=np.float64).reshape(-1, 2)
    labels = np.array([step[2] for step in steps], dtype=np.int64)
    return Annotations(segments, labels, NAMES, duration_s)


# frames ------------------------------------------------------------------------------------------


def test_frames_are_two_a_second_and_show_what_is_annotated_at_their_middle() -> None:
    times_s = frame_middles(4.0)
    np.testing.assert_array_equal(times_s, [0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3.25, 3.75])
    true = annotated((0.25, 0.75, 1), (2.5, 3.5, 2), (1.0, 3.0, 0))
    labels = frame_labels(true, times_s, PLACE)
    np.testing.assert_array_equal(labels, [1, -1, 0, 0, 0, 2, 2, -1])  # the later step overwrites
    np.testing.assert_array_equal(one_hot(labels, 3).sum(axis=1), labels != BACKGROUND)
    assert len(frame_middles(0.1)) == 1


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 14), st.integers(1, 8), st.integers(0, 2)), min_size=1, max_size=6
    )
)
def test_of_several_steps_a_frame_has_the_one_that_began_last(rows) -> None:
    true = annotated(*((a / 2, (a + n) / 2, label) for a, n, label in rows), duration_s=12.0)
    times_s = frame_middles(12.0)
    for time_s, label in zip(times_s, frame_labels(true, times_s, PLACE), strict=True):
        there = [(a, i) for i, (a, n, _) in enumerate(rows) if a / 2 <= time_s < (a + n) / 2]
        assert label == (rows[max(there)[1]][2] if there else -1)


@given(st.floats(0, 1))
def test_a_logit_is_above_zero_where_a_probability_is_above_one_half(p: float) -> None:
    (logit,) = to_logits(np.array([p]))
    assert np.isfinite(logit)
    assert (logit > 0) == (p > 0.5)
    if 1e-6 < p < 1 - 1e-6:
        assert 1 / (1 + np.exp(-logit)) == pytest.approx(p)


# runs --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PlainConfig:
    min_score: float = 0.0


class Oracle:
    """Knows what is annotated; and may have no curves."""

    Config = PlainConfig
    RANKING: ClassVar = {}

    def __init__(self, truth: dict[str, Annotations], *, names=NAMES, has_curves=True) -> None:
        self.config = PlainConfig()
        self.truth, self.names, self.has_curves = truth, names, has_curves

    @classmethod
    def traits_of(cls, config: PlainConfig) -> Traits:
        return Traits(decision=Decision(min_score=config.min_score))

    def localize(self, snippets, queries):
        return self.answer(snippets, queries).detections

    def answer(self, snippets: Snippets, queries: Queries) -> Answer:
        true = self.truth[snippets.recipe.source_sha256]
        labels = frame_labels(true, snippets.grid.centres_s, PLACE)
        curves = np.full((len(queries), len(snippets)), 0.01)
        for k, name in enumerate(queries.names):
            curves[k, labels == PLACE.get(name, -2)] = 0.99
        return Answer(make_detections([], queries.names), curves if self.has_curves else None)


TRUTH = {
    "v1": annotated((1.0, 3.0, 0), (4.0, 5.0, 1)),
    "v2": annotated((0.0, 6.0, 2), (6.0, 7.0, 0)),
    "empty": annotated(),
}


@pytest.fixture
def kitchen(tmp_path: Path) -> tuple[Protocol, SnippetSource]:
    """Three videos of eight seconds at four snippets a second, and an oracle."""
    encoder = FakeEncoder(dim_in=8)
    for video in TRUTH:
        rows = np.random.default_rng(0).standard_normal((32, 8)).astype(np.float32)
        recipe = Recipe(encoder.name, encoder.fingerprint, 4.0, video)
        snippets = Snippets(rows, SnippetGrid.uniform(32, end_s=8.0), recipe, 8.0)
        write_features(snippets, tmp_path / f"{video}.safetensors")
    data = Dataset("coin", {"testing": TRUTH}, NAMES, "training", "testing", "coin")
    pipeline = Pipeline(encoder, Oracle(TRUTH), "oracle", 4.0, None)
    return Protocol(data), SnippetSource(pipeline, tmp_path)


def test_who_knows_everything_is_right_everywhere(kitchen) -> None:
    heard: list[tuple[float, float]] = []
    done = run_segmentation(*kitchen, advance=lambda *x: heard.append(x))
    assert done.metrics == {
        "frame_accuracy": 1.0,
        "mAP": 1.0,
        "edit": 1.0,
        "F1@0.1": 1.0,
        "F1@0.25": 1.0,
        "F1@0.5": 1.0,
    }
    assert (done.num_videos, done.frames.num_frames) == (3, 48)
    assert heard == [(1, 3), (2, 3), (3, 3)]
    # 4 + 2 frames of the first video, 14 of the second; videos without a step count
    assert done.all_background.accuracy == pytest.approx(28 / 48)
    shares = np.array([4 + 2, 2, 12]) / 48  # all tie: precision is each class's share
    assert done.all_background.mean_ap == pytest.approx(shares.mean())
    assert done.card.dataset == "coin" and done.card.tious == ()
    assert done.to_dict()["classes"] == dict.fromkeys(NAMES, 1.0)


def test_words_that_say_something_else_are_answered_and_count_for_the_true_ones(kitchen) -> None:
    for rename in text_checks().values():
        checked = run_segmentation(*kitchen, rename=rename)
        assert checked.frames.mean_ap < 0.5
    assert checked.frames.accuracy == pytest.approx(28 / 48)  # nonsense is seen nowhere


def test_what_was_trained_on_is_told(kitchen, capsys: pytest.CaptureFixture[str]) -> None:
    done = run_segmentation(*kitchen, trained_on=("wash",))
    show(done, {}, "text", with_classes=False)
    assert "3 classes; trained on 1 of 3 classes. In percent:" in capsys.readouterr().out
    assert done.to_dict()["card"]["trained_on"] == ("wash",)


def test_videos_without_features_are_declared(kitchen) -> None:
    protocol, source = kitchen
    (source.features / "v1.safetensors").unlink()
    with pytest.raises(FeatureError, match="1 test videos have no file, the first is 'v1'"):
        run_segmentation(protocol, source)
    done = run_segmentation(protocol, source, allow_missing=True)
    assert done.card.missing == ("v1",)
    assert done.frames.num_frames == 32


def test_unseen_steps_alone_count_where_they_are_named(kitchen) -> None:
    protocol, source = kitchen
    done = run_segmentation(Protocol(protocol.dataset, unseen=("wash",)), source)
    assert (done.classes, done.num_videos) == (("wash",), 2)
    assert done.all_background.accuracy == pytest.approx(26 / 32)
    assert done.frames.accuracy == 1.0


def test_a_method_without_curves_cannot_label_frames(kitchen) -> None:
    protocol, source = kitchen
    mute = Pipeline(source.pipeline.encoder, Oracle(TRUTH, has_curves=False), "mute", 4.0, None)
    with pytest.raises(ConfigError, match="mute has no score for every class"):
        run_segmentation(protocol, SnippetSource(mute, source.features))


def test_curves_are_read_between_the_middles_of_snippets(kitchen) -> None:
    _, source = kitchen
    snippets = source.load(source.features / "v1.safetensors")
    found = source.pipeline.localize(snippets, source.pipeline.queries(NAMES), video="v1")
    shown = curves_at(found, np.array([1.0, 1.125, 0.0, 9.0]))
    np.testing.assert_allclose(shown[0], [0.5, 0.99, 0.01, 0.01], atol=1e-6)


# windows -----------------------------------------------------------------------------------------


def test_windows_of_a_trained_method_do_not_overlap_when_asked() -> None:
    tiny = make_tiny(time_axis="window", length=8, overlap=0.5)
    kept = apart(Pipeline(FakeEncoder(), tiny, "tiny", 4.0, None)).method
    assert (kept.config.overlap, tiny.config.overlap) == (0.0, 0.5)
    starts = [grid.start_s for grid in kept.config.axis.pieces(SnippetGrid.uniform(24, end_s=6.0))]
    assert starts == [0.0, 2.0, 4.0]
    plain = Pipeline(FakeEncoder(), Oracle(TRUTH), "oracle", 4.0, None)
    assert apart(plain) is plain


class PaddedConfig(TinyConfig):
    """Videos that are shorter than a window keep their length."""

    @property
    def axis(self) -> TimeAxis:
        return TimeAxis("window", 20, 2.0, 0.0, stretch=False)


def test_steps_are_trained_on_in_padded_windows_of_two_snippets_a_second() -> None:
    world, tiny = World(2), make_tiny()
    tiny.config = PaddedConfig()
    grids = {"short": SnippetGrid.uniform(28, end_s=7.0), "long": world.grid}

    def load(video: str) -> Snippets:
        grid = grids[video]
        rows = np.random.default_rng(1).standard_normal((len(grid), DIM)).astype(np.float32)
        return Snippets(rows, grid, Recipe("made up", "0", 4.0, ""), grid.end_s)

    short = Annotations(np.array([[1.0, 3.0]]), np.array([2]), WORDS, 7.0)
    truth = {"short": short, "long": world.truth(0)}
    data = TrainingData(truth, load, tiny, seen=WORDS, queries=world.queries)
    wheres = data.order(0)
    assert sorted(where.video for where in wheres) == ["long", "long", "short"]
    batch = data.batch(sorted(wheres), 0)
    assert batch.features.shape[:2] == (3, 20)
    assert batch.valid is not None
    assert batch.valid.sum(dim=1).tolist() == [20, 20, 14]
    assert torch.equal(batch.features[2, 14:], torch.zeros(6, DIM))
    (mask,) = batch.instances[2].masks
    assert mask.nonzero().squeeze(1).tolist() == [2, 3, 4, 5]
    assert batch.instances[2].labels.tolist() == [2]


# the command -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> tuple[object, ...]:
    """A small made-up COIN, as options."""
    out = tmp_path_factory.mktemp("world") / "coin"
    made = run(
        *("datasets", "synthesize", "coin", "--out", out, "--train", 2, "--test", 3),
        *("--set", "noise=1", "--set", "context=0.1"),
    )
    assert made.exit_code == 0, made.output
    assert "--setting" not in made.stderr
    where = ("--dataset", "synthetic-coin", "--root", out, "--features", out / "features")
    return (*where, "--backbone", "synthetic")


def test_a_method_is_scored_on_made_up_steps(steps, tmp_path: Path) -> None:
    ask = ("evaluate", "--method", "similarity", *steps)
    done = run(*ask, "--text-check", "--classes", "--out", tmp_path / "result")
    assert done.exit_code == 0, done.output
    table = done.stdout.splitlines()
    assert table[0].startswith("similarity on synthetic-coin testing, synthetic; 3 videos;")
    assert table[2].split()[:3] == ["result", "frame_accuracy", "mAP"]
    assert [line.split("  ")[0] for line in table[3:7]] == [
        "this result",
        "names exchanged",
        "nonsense words",
        "all background",
    ]
    assert table[-3].startswith("names exchanged: frame mAP")
    assert table[-1] == "Verdict: it reads its text."
    kept = json.loads((tmp_path / "result" / "segmentation.json").read_text())
    assert kept["metrics"]["mAP"] > 5 * kept["all_background"]["mAP"]
    assert 0.39 < kept["all_background"]["frame_accuracy"] < 0.61
    assert kept["text_check"]["names exchanged"]["mAP"] < 0.5 * kept["metrics"]["mAP"]
    assert set(kept["classes"]) <= set(STEPS)
    assert kept["published_percent"] == []  # never beside made-up numbers


def test_the_result_is_one_json_object(steps) -> None:
    unseen = "heat oil in the pan,turn the egg over"
    done = run("evaluate", "--method", "similarity", *steps, "--unseen", unseen, "--json")
    table = json.loads(done.stdout)
    assert table["card"]["setting"] == f"unseen: {unseen.replace(',', ', ')}"
    assert set(table["classes"]) <= set(unseen.split(","))
    assert table["num_videos"] == 1  # of three tasks one has these steps
    assert "text_check" not in table


def test_a_prediction_file_is_refused(steps, tmp_path: Path) -> None:
    path = tmp_path / "pred.json"
    path.write_text("{}")
    assert "action segmentation" in refusal("evaluate", path, *steps[:4])
    assert "no published class splits" in refusal(
        "evaluate", "--method", "similarity", *steps, "--setting", "75-25"
    )


def test_published_rows_of_the_real_dataset_stand_beside(tmp_path: Path, kitchen) -> None:
    from openmoment.experiments.segmentation import to_document as to_dict

    rows = to_dict(run_segmentation(*kitchen), {})["published_percent"]
    assert {"predict all background", "UnLoc-B 1st prompt"} <= {row["method"] for row in rows}


def test_a_made_up_world_is_read_as_the_real_files_are(steps) -> None:
    data = load_dataset("synthetic-coin", Path(str(steps[3])))
    assert data.class_names == STEPS
    assert (data.profile, data.train_subset, data.test_subset) == ("coin", "training", "testing")
