"""Moment retrieval: what is trained on, what is asked, and what is made up to try both."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import refusal, run
from fakes import FakeEncoder
from spaces import DIM, CosineSpace
from tiny_method import Tiny, TinyConfig, make_tiny, register
from trained_world import NUM_SNIPPETS, SNIPPET_S, World

from openmoment.checkpoints.card import read_card
from openmoment.datasets.base import Moment, RetrievalDataset
from openmoment.errors import ConfigError, FeatureError, TrainingError
from openmoment.evaluation.retrieval import Retrieved
from openmoment.evaluation.retrieval_files import (
    read_predictions,
    read_truth,
    write_predictions,
    write_queries,
)
from openmoment.experiments.detection import SnippetSource
from openmoment.experiments.retrieval import nonsense_sentences, run_retrieval, sentence_checks
from openmoment.features.file import write_features
from openmoment.methods import METHODS, load_method
from openmoment.methods.trained import Widths
from openmoment.methods.traits import Traits
from openmoment.pipeline.answering import Pipeline
from openmoment.training.config import TrainConfig
from openmoment.training.data import Steps
from openmoment.training.loop import train
from openmoment.training.processes import start_processes
from openmoment.training.sentences import SentenceData
from openmoment.types import Recipe, SnippetGrid, Snippets, Task


@dataclass(frozen=True)
class TellingConfig(TinyConfig):
    task: Task = "tal"


class Telling(Tiny):
    """A tiny method that can be made for sentences."""

    Config = TellingConfig

    @classmethod
    def templates_of(cls, config: TellingConfig) -> tuple[str, ...]:
        return ("{}",) if config.task == "mr" else ()

    @classmethod
    def traits_of(cls, config: TellingConfig) -> Traits:
        return replace(super().traits_of(config), task=config.task)

    def loss(self, batch):
        if batch.texts.ndim == 3:
            batch = replace(batch, texts=batch.texts[:, 0])
        return super().loss(batch)

    def candidates(self, features, texts):
        return super().candidates(features, texts[:, 0] if texts.ndim == 3 else texts)


@pytest.fixture(autouse=True)
def methods(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch)
    monkeypatch.setitem(METHODS._targets, "telling", "test_sentences:Telling")


# data --------------------------------------------------------------------------------------------

WORLD = World(4)
TOLD = {
    "video 0": ("word 0", "word 1", "word 2"),
    "video 1": ("word 1",),
    "video 2": ("word 2", " word   3 "),
    "video 3": ("word 3",),
}


def told(video: str) -> list[Moment]:
    """A window for each sentence, of the first one two."""
    moments = []
    for i, query in enumerate(TOLD[video]):
        windows = np.array([[1.0 + 2 * i, 3.0 + 2 * i], [12.0, 15.0]])[: 2 if i == 0 else 1]
        moments.append(Moment(f"{video}:{i}", video, query, windows, 16.0))
    return moments


def make_sentences(method=None, **given) -> SentenceData:
    given.setdefault("load", lambda video: WORLD.snippets(int(video.split()[1])))
    given.setdefault("videos", {video: told(video) for video in TOLD})
    return SentenceData(method=method or make_tiny(), queries=WORLD.queries, **given)


def test_a_batch_has_one_sentence_of_each_video_and_all_its_windows() -> None:
    data = make_sentences(seed=3)
    drawn = set()
    for epoch in range(12):
        wheres = data.order(epoch)
        batch = data.batch(wheres, epoch)
        assert len(set(batch.names)) == len(batch.names) == len(batch.texts)
        for where, instances, features in zip(wheres, batch.instances, batch.features, strict=True):
            labels = instances.labels.tolist()
            assert len(set(labels)) == 1
            sentence = batch.names[labels[0]]
            moment = next(m for m in told(where.video) if m.query.split() == sentence.split())
            drawn.add((where.video, sentence))
            assert len(labels) == len(moment.windows)
            expected = moment.windows / SNIPPET_S * len(features) / NUM_SNIPPETS
            np.testing.assert_allclose(instances.positions, expected, atol=1e-5)
        for name, text in zip(batch.names, batch.texts, strict=True):
            known = WORLD.queries.embeddings[int(name.split()[1])]
            np.testing.assert_allclose(text, known, atol=1e-6)
    assert drawn == {(v, " ".join(q.split())) for v, queries in TOLD.items() for q in queries}


def test_videos_that_are_told_of_in_the_same_words_share_a_text() -> None:
    same = [Moment("a", "video 0", "word 1", np.array([[1.0, 4.0]]), 16.0)]
    videos = {"video 0": same, "video 1": told("video 1")}
    batch = (data := make_sentences(videos=videos)).batch(data.order(0), 0)
    assert batch.names == ("word 1",)
    assert [i.labels.tolist() for i in batch.instances] in ([[0], [0, 0]], [[0, 0], [0]])


@pytest.mark.parametrize("kind", ["rescale", "window"])
def test_seed_epoch_and_video_decide_the_sentence(kind: str) -> None:
    method = make_tiny(time_axis=kind, length=10)
    data, same, forgetful = (
        make_sentences(method, seed=1, memory_bytes=size) for size in (1 << 30, 1 << 30, 0)
    )
    other = make_sentences(method, seed=2)
    assert len(data) == (4 if kind == "rescale" else 16)
    names = []
    for epoch in range(6):
        wheres = sorted(data.order(epoch))
        batch = data.batch(wheres, epoch)
        for again in (same.batch(wheres, epoch), forgetful.batch(wheres, epoch)):
            assert again.names == batch.names
            assert torch.equal(again.features, batch.features)
        alone = data.batch(wheres[:1], epoch)
        assert alone.names == batch.names[: len(alone.names)]  # whoever is beside it
        assert all(len(i.labels) >= 1 for i in alone.instances)
        names.append(batch.names)
    assert len(set(names)) > 1
    assert names != [other.batch(sorted(other.order(e)), e).names for e in range(6)]


def test_what_cannot_be_trained_on_names_video_and_sentence() -> None:
    with pytest.raises(TrainingError, match="No training video has a sentence"):
        make_sentences(videos={})
    late = Moment("q7", "video 1", "word 1", np.array([[20.0, 30.0]]), 40.0)
    says = r"'video 1' does not show 'word 1' \(query q7\): its features end at 16 s"
    with pytest.raises(TrainingError, match=says):
        make_sentences(videos={"video 1": [*told("video 1"), late]})

    def load(video: str) -> Snippets:
        snippets = WORLD.snippets(0)
        return replace(snippets, features=snippets.features[:, : DIM - int(video[-1])])

    with pytest.raises(FeatureError, match="'video 0' and 'video 1' are 64 and 63 wide"):
        make_sentences(load=load)


def test_a_stopped_run_on_sentences_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    from tiny_method import CARD

    config = TrainConfig(lr=1e-2, epochs=5, batch_size=2, checkpoint_steps=1, seed=1)

    def go(folder: Path, stop: int | None = None) -> bytes:
        folder.mkdir(exist_ok=True)
        method = make_tiny(dropout=0.2)
        data = make_sentences(method, seed=1)
        assert len(Steps(data, batch_size=2, epochs=5)) == 10

        def hear(heard) -> None:
            if heard.step == stop:
                raise KeyboardInterrupt

        processes = start_processes("cpu", "fp32")
        train(method, data, config, CARD, folder, processes=processes, hear=hear)
        return (folder / "model.safetensors").read_bytes()

    whole = go(tmp_path / "whole")
    for stop in (3, 8):
        with pytest.raises(KeyboardInterrupt):
            go(tmp_path / "parts", stop)
    assert go(tmp_path / "parts") == whole


# evaluation --------------------------------------------------------------------------------------


class Words(FakeEncoder):
    """Sentences are directions, and videos are made of them and of others."""

    fingerprint = "fake-1"

    def __init__(self) -> None:
        super().__init__(dim_in=DIM)
        self.space = CosineSpace()

    def encode_text(self, names, *, templates=None):
        assert templates == ("{}",)
        rows = [np.random.default_rng(list(name.encode())).normal(size=DIM) for name in names]
        rows = np.stack(rows)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


SHOWN = {  # 20 s each, four snippets a second
    "a": {"opens a door": (2, 8), "pours milk": (10, 16)},
    "b": {"sits down": (0, 5), "laughs": (9, 17)},
    "c": {"reads a book": (6, 14)},
}


@pytest.fixture
def features(tmp_path: Path) -> Path:
    folder = tmp_path / "features"
    folder.mkdir()
    encoder = Words()
    for number, (video, shown) in enumerate(SHOWN.items()):
        scenes = np.random.default_rng(number).normal(size=(10, DIM)) / np.sqrt(DIM)
        rows = np.repeat(scenes, 8, axis=0)  # of two seconds each
        for sentence, (start, end) in shown.items():
            rows[start * 4 : end * 4] = encoder.encode_text([sentence], templates=("{}",))
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        recipe = Recipe("fake", "fake-1", 4.0, "")
        snippets = Snippets(
            rows.astype(np.float32), SnippetGrid.uniform(80, end_s=20.0), recipe, 20.0
        )
        write_features(snippets, folder / f"{video}.safetensors")
    return folder


@pytest.fixture
def source(features: Path) -> SnippetSource:
    encoder = Words()
    method = load_method("similarity", encoder.space)
    return SnippetSource(Pipeline(encoder, method, "similarity", 4.0, None), features)


def asked_of(*, late_s: float = 0.0) -> RetrievalDataset:
    """Every sentence, the first ones annotated too late by some seconds."""
    moments = tuple(
        Moment(f"{video}:{i}", video, f" {sentence} ", np.array([[s + late, e + late]]), 20.0)
        for video, shown in SHOWN.items()
        for i, (sentence, (s, e)) in enumerate(shown.items())
        for late in [late_s if i == 0 else 0.0]
    )
    return RetrievalDataset("charades-sta", {"test": moments}, "train", "test", "charades-sta")


def test_every_sentence_is_asked_and_ranked_by_itself(source: SnippetSource) -> None:
    heard: list[tuple[float, float]] = []
    made = run_retrieval(asked_of(), source, advance=lambda *x: heard.append(x))
    assert heard == [(1, 3), (2, 3), (3, 3)]
    assert made.metrics["R@1,IoU=0.7"] == 1.0 and made.metrics["mIoU"] > 0.9
    best = made.found["a:1"].segments[made.found["a:1"].scores.argmax()]
    np.testing.assert_allclose(best, [10, 16], atol=0.6)
    # 4 s late of 6 s: tIoU 0.2; of 5 s: 0.11; of 8 s: 0.33. Two of five sentences stay.
    late = run_retrieval(asked_of(late_s=4.0), source).metrics
    assert late["R@1,IoU=0.5"] == pytest.approx(2 / 5)
    assert late["R@1,IoU=0.3"] == pytest.approx(3 / 5)
    card = made.card
    assert (card.method, card.dataset, card.subset) == ("similarity", "charades-sta", "test")
    assert card.missing == () and card.version and card.date


def test_exchanged_sentences_and_nonsense_wreck_it(source: SnippetSource) -> None:
    for rename in sentence_checks().values():
        again = run_retrieval(asked_of(), source, rename=rename)
        assert set(again.found) == {moment.query_id for moment in again.moments}
        assert again.metrics["R@1,IoU=0.5"] <= 0.4


def test_sentences_of_one_video_exchanged_find_each_others_moments(source: SnippetSource) -> None:
    def swap(sentences):
        order = [1, 0, 3, 2, 4]  # those of a, those of b, that of c
        return tuple(sentences[i] for i in order)

    made = run_retrieval(asked_of(), source, rename=swap)
    assert made.metrics["R@1,IoU=0.3"] == pytest.approx(1 / 5)
    best = made.found["a:0"].segments[made.found["a:0"].scores.argmax()]
    np.testing.assert_allclose(best, [10, 16], atol=0.6)


def test_nonsense_is_as_long_as_sense() -> None:
    made = nonsense_sentences(["opens a door", "laughs"], 0)
    assert [len(sentence.split()) for sentence in made] == [3, 1]
    assert made == nonsense_sentences(["opens a door", "laughs"], 0)


def test_videos_without_features_are_missing(source: SnippetSource, features: Path) -> None:
    (features / "b.safetensors").unlink()
    with pytest.raises(FeatureError, match="1 test videos have no file, the first is 'b'"):
        run_retrieval(asked_of(), source)
    made = run_retrieval(asked_of(), source, allow_missing=True)
    assert made.card.missing == ("b",) and len(made.found) == 3
    for file in features.iterdir():
        file.unlink()
    with pytest.raises(FeatureError, match="no sentence's video has features"):
        run_retrieval(asked_of(), source, allow_missing=True)


def test_a_method_trained_for_classes_is_not_asked_for_sentences(source: SnippetSource) -> None:
    method = Telling(TellingConfig(task="tal"), CosineSpace(), Widths(DIM, DIM))
    pipeline = replace(source.pipeline, method=method)
    with pytest.raises(ConfigError, match="trained for the task tal, not for mr"):
        run_retrieval(asked_of(), replace(source, pipeline=pipeline))


def test_files_are_read_as_they_were_written(tmp_path: Path) -> None:
    moments = asked_of().subset("test")[:2]
    found = {
        m.query_id: Retrieved(np.array([[0.0, 1.0], m.windows[0]]), np.array([0.25, 0.5]))
        for m in moments
    }
    write_predictions(found, moments, tmp_path / "found.jsonl")
    write_queries(moments, tmp_path / "truth.jsonl")
    read, truth = read_predictions(tmp_path / "found.jsonl"), read_truth(tmp_path / "truth.jsonl")
    for moment in moments:
        np.testing.assert_array_equal(truth[moment.query_id], moment.windows)
        np.testing.assert_array_equal(read[moment.query_id].segments[0], moment.windows[0])
        assert read[moment.query_id].scores.tolist() == [0.5, 0.25]
    first = json.loads((tmp_path / "found.jsonl").read_text().splitlines()[0])
    assert set(first) == {"qid", "query", "vid", "pred_relevant_windows"}


# the command line --------------------------------------------------------------------------------


@pytest.fixture
def root(tmp_path: Path, features: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The videos as Charades-STA, to train on and to test on."""
    encoder = Words()
    for place in ("openmoment.encoders", "openmoment.pipeline.loading"):
        monkeypatch.setattr(f"{place}.load_encoder", lambda *_, **__: encoder)
    lines = "".join(
        f"{video} {start} {end}##{sentence}\n"
        for video, shown in SHOWN.items()
        for sentence, (start, end) in shown.items()
    )
    for subset in ("train", "test"):
        (tmp_path / f"charades_sta_{subset}.txt").write_text(lines)
    return tmp_path


def where(root: Path) -> tuple[object, ...]:
    return ("--dataset", "charades-sta", "--root", root, "--features", root / "features")


def test_sentences_are_trained_on_and_the_printed_command_scores_them(root: Path) -> None:
    quick = ("epochs=20", "length=32", "batch_size=3", "lr=0.02")
    done = run("train", "telling", *where(root), "--out", root / "out", *quick)
    assert done.exit_code == 0, (done.output, done.exception)
    card = read_card(root / "out")
    assert (card.num_sentences, card.num_videos, card.setting) == (5, 3, "all")
    assert (card.seen, card.unseen, card.subset) == ((), (), "train")
    assert 'task = "mr"' in (root / "out" / "config.toml").read_text()
    command = done.stdout.split()
    assert "--setting" not in command and "--exclude" not in command
    kept = root / "result"
    scored = run(*command[1:], "--text-check", "--out", kept)
    assert scored.exit_code == 0, (scored.output, scored.exception)
    assert "telling on charades-sta test, fake; 5 sentences; 3 videos" in scored.stdout
    assert "nonsense sentences: R@1,IoU=0.5" in scored.stdout
    assert "too little to tell (instances or sentences: 5, it takes 10)" in scored.stdout
    assert {path.name for path in kept.iterdir()} == {
        "predictions.jsonl",
        "result.json",
        "truth.jsonl",
    }
    document = json.loads((kept / "result.json").read_text())
    assert document["card"]["settings"]["task"] == "mr" and document["num_queries"] == 5
    files = (kept / "predictions.jsonl", "--gt", kept / "truth.jsonl", "--profile", "charades-sta")
    again = json.loads(run("evaluate", *files, "--json").stdout)
    assert again["metrics"] == pytest.approx(document["metrics"])
    done = run("train", "telling", *where(root), "--out", root / "out", *quick, "--resume")
    assert "finished already" in done.stderr


def test_similarity_is_asked_for_sentences(root: Path) -> None:
    asked = ("evaluate", "--method", "similarity", *where(root))
    table = json.loads(run(*asked, "--text-check", "--json").stdout)
    assert table["metrics"]["R@1,IoU=0.7"] == 1.0
    assert max(check["R@1,IoU=0.5"] for check in table["text_check"].values()) <= 0.4
    assert table["published_percent"][0]["dataset"] == "charades-sta"
    line = refusal(*asked, "--setting", "75-25")
    assert "charades-sta has sentences and no classes: leave out --setting" in line


def test_methods_and_datasets_that_do_not_fit_are_refused(root: Path) -> None:
    command = (*where(root), "--out", root / "out", "length=8")
    line = refusal("train", "tiny", *command)
    assert "tiny is made for classes, charades-sta has sentences" in line and "unloc" in line
    line = refusal("train", "telling", *command, "task=tal")
    assert "telling with task=tal is made for classes" in line and "task=mr" in line
    for option in (("--setting", "75-25"), ("--unseen", "x"), ("--split", "0")):
        assert "charades-sta has sentences and no classes" in refusal(
            "train", "telling", *command, *option
        )
    (root / "annotations.csv").write_text("video,start_s,end_s,label,subset\na,1,2,laughs,train\n")
    line = refusal("train", "telling", *command, "--dataset", "folder", "task=mr")
    assert "telling with task=mr is made for sentences, folder has classes" in line


def test_a_dataset_without_training_sentences_says_so(root: Path) -> None:
    (root / "charades_sta_train.txt").unlink()
    line = refusal("train", "telling", *where(root), "--out", root / "out", "length=8")
    assert "charades-sta has no training video with a sentence" in line
    (root / "features" / "a.safetensors").unlink()
    assert "the first is 'a'" in refusal("evaluate", "--method", "similarity", *where(root))
