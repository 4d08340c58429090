"""find --task: sentences ranked, every snippet labelled; and what a method was trained for."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pytest
from detections import make_detections, make_origin
from fakes import FakeEncoder
from hypothesis import given, settings
from hypothesis import strategies as st

import openmoment
from openmoment.errors import ConfigError
from openmoment.methods import load_method
from openmoment.methods.base import Answer
from openmoment.methods.traits import Traits
from openmoment.pipeline.answering import Pipeline
from openmoment.pipeline.tasks import TOP, best_of_each, segment
from openmoment.postprocess import Decision, cover, label_by_curves
from openmoment.types import Detections, SnippetGrid

NAMES = ("a", "b", "c")


@dataclass(frozen=True)
class MadeConfig:
    task: Literal["tal", "mr", "as"] = "as"
    min_score: float = 0.5
    templates: tuple[str, ...] = ()


@dataclass(frozen=True)
class PlainConfig:
    """Of a method that answers any task."""

    min_score: float = 0.5
    templates: tuple[str, ...] = ()


class Made:
    """A method that a test tells what to answer."""

    Config = MadeConfig
    RANKING: ClassVar = {"min_score": 0.0}

    def __init__(self, config: MadeConfig | PlainConfig, curves: np.ndarray | None = None) -> None:
        self.config, self.shown = config, curves

    @classmethod
    def traits_of(cls, config: MadeConfig | PlainConfig) -> Traits:
        task = config.task if isinstance(config, MadeConfig) else None
        return Traits(
            templates=config.templates, task=task, decision=Decision(min_score=config.min_score)
        )

    def localize(self, snippets, queries) -> Detections:
        return self.answer(snippets, queries).detections

    def answer(self, snippets, queries) -> Answer:
        self.asked = queries
        moments = [(i, i + 2.0, name, 0.9 - 0.1 * i) for i in range(8) for name in queries.names]
        moments = [moment for moment in moments if moment[3] >= self.config.min_score]
        return Answer(make_detections(moments, queries.names), self.shown)


def pipeline_of(method, **given) -> Pipeline:
    return Pipeline(FakeEncoder(), method, "made", 4.0, None, **given)


def video_of(folder: Path, seconds: int = 10) -> Path:
    path = folder / "film.bin"
    path.write_bytes(np.random.default_rng(0).bytes(1024 * seconds))
    return path


moments = st.lists(
    st.tuples(st.integers(0, 20), st.integers(1, 8), st.sampled_from(NAMES), st.floats(0.01, 1)),
    max_size=12,
)


def drawn(rows) -> Detections:
    made = [(start / 2, (start + length) / 2, name, score) for start, length, name, score in rows]
    return make_detections(made, NAMES, origin=make_origin(num_queries=3, duration_s=15.0))


# the rules ---------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(moments)
def test_a_time_has_the_label_of_the_best_moment_that_covers_it(rows) -> None:
    found, times_s = drawn(rows), np.arange(0, 15, 0.25)
    labels, scores = cover(found, times_s)
    for time_s, label, score in zip(times_s, labels, scores, strict=True):
        there = [d for d in found if d.start_s <= time_s < d.end_s]
        assert score == max((d.score for d in there), default=0)
        assert label == -1 if not there else NAMES[label] in {d.name for d in there}


@settings(max_examples=40, deadline=None)
@given(moments, st.integers(1, 4))
def test_the_best_of_each_query_stay_in_order(rows, num: int) -> None:
    found = drawn(rows)
    kept = best_of_each(found, num)
    assert (np.diff(kept.scores) <= 0).all()
    for label in range(len(NAMES)):
        own = found.scores[found.labels == label]
        np.testing.assert_array_equal(kept.scores[kept.labels == label], own[:num])


def test_a_snippet_without_a_sure_class_is_background() -> None:
    curves = np.array([[0.5, 0.6, 0.7, 0.1], [0.2, 0.8, 0.7, 0.51]])
    labels, scores = label_by_curves(curves)
    np.testing.assert_array_equal(labels, [-1, 1, 0, 1])
    np.testing.assert_array_equal(scores, [0.5, 0.8, 0.7, 0.51])


def shown_by(found: Detections, grid: SnippetGrid) -> list[int]:
    """The label of each snippet, which at most one segment may cover."""
    labels = []
    for time_s in grid.centres_s:
        (at,) = np.nonzero((found.segments[:, 0] <= time_s) & (time_s < found.segments[:, 1]))
        assert len(at) <= 1
        labels.append(int(found.labels[at[0]]) if len(at) else -1)
    return labels


@settings(max_examples=40, deadline=None)
@given(moments, st.booleans())
def test_segments_say_of_every_snippet_what_the_rule_says(rows, by_curves: bool) -> None:
    found = drawn(rows)
    assert found.origin and found.origin.grid and found.origin.curves is not None
    grid, curves = found.origin.grid, found.origin.curves
    parts = segment(found, by_curves=by_curves)
    expected, scores = label_by_curves(curves) if by_curves else cover(found, grid.centres_s)
    assert shown_by(parts, grid) == expected.tolist()
    assert (np.diff(parts.scores) <= 0).all()
    timed = parts.by_time()
    for (_, end_s), (start_s, _), a, b in zip(
        timed.segments[:-1], timed.segments[1:], timed.labels[:-1], timed.labels[1:], strict=True
    ):
        assert start_s > end_s or (start_s == end_s and a != b)  # none could be longer
    for (start_s, end_s), score in zip(parts.segments, parts.scores, strict=True):
        inside = (grid.centres_s > start_s) & (grid.centres_s < end_s)
        assert score == pytest.approx(scores[inside].mean(), rel=1e-5)


# pipelines ---------------------------------------------------------------------------------------


def test_the_task_a_method_was_trained_for_decides(tmp_path: Path) -> None:
    curves = np.zeros((2, 40))
    curves[0, 4:8], curves[1, 6:20] = 0.9, 0.7
    pipeline = pipeline_of(Made(MadeConfig("as"), curves)).to_task()
    found = pipeline.find(video_of(tmp_path), ["x", "y"])
    assert found.origin and found.origin.task == "as"
    assert [d[:3] for d in found.by_time()] == [(1.0, 2.0, "x"), (2.0, 5.0, "y")]
    np.testing.assert_allclose(found.scores, [0.9, 0.7])
    with pytest.raises(ConfigError, match="trained for the task as, not for mr"):
        pipeline.to_task("mr")


def test_sentences_are_ranked_without_a_threshold_and_as_they_are(tmp_path: Path) -> None:
    method = Made(PlainConfig())
    pipeline = pipeline_of(method).to_task("mr", top=7)
    found = pipeline.find(video_of(tmp_path), ["a man sits", "he stands up"])
    assert [int((found.labels == label).sum()) for label in (0, 1)] == [7, 7]
    assert found.scores.min() == pytest.approx(0.3)  # below min_score
    assert method.config.min_score == 0.5
    assert pipeline.templates == ("{}",)
    assert pipeline.queries(["a man sits"]).variants is None
    assert found.origin and (found.origin.settings["task"], found.origin.settings["top"]) == (
        "mr",
        7,
    )
    some = replace(pipeline_of(method), asked_for=frozenset({"min_score"})).to_task("mr", top=7)
    assert some.find(video_of(tmp_path), ["a man sits"]).scores.min() >= 0.5
    plain = pipeline_of(method).to_task().find(video_of(tmp_path), ["a man sits"])
    assert plain.origin and plain.origin.task == "tal"
    assert plain.scores.min() >= 0.5
    with pytest.raises(ConfigError, match="1 or more"):
        pipeline_of(method).to_task("mr", top=0)


def test_a_method_of_sentences_keeps_its_own_templates() -> None:
    method = Made(MadeConfig("mr", templates=("{}",)))
    pipeline = pipeline_of(method).to_task()
    assert (pipeline.task, pipeline.top, pipeline.templates) == ("mr", TOP, ())
    variants = pipeline.queries(["a man sits"]).variants
    assert variants is not None and variants.shape[:2] == (1, 1)


def test_a_sentence_is_not_put_into_other_words() -> None:
    class Telling(FakeEncoder):
        def encode_text(self, names, *, templates=None):
            self.texts.append(str(templates))
            return super().encode_text(names)

    for task, told in (("mr", "('{}',)"), ("tal", "None"), ("as", "None")):
        encoder = Telling()
        pipeline = replace(pipeline_of(Made(PlainConfig())), encoder=encoder).to_task(task)
        pipeline.queries(["a man sits"])
        assert encoder.texts[0] == told


def test_the_training_free_method_answers_every_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = FakeEncoder()
    monkeypatch.setattr("openmoment.pipeline.loading.load_encoder", lambda name, **_: encoder)
    video, names = video_of(tmp_path, 30), ["a dog", "a cat", "a cow"]
    sparse = openmoment.find(video, names, settings={"min_presence": 0.99})
    assert len(sparse) == 0
    ranked = openmoment.find(video, names, task="mr", top=2)
    assert ranked.not_found == ()
    assert max(np.bincount(ranked.labels)) <= 2
    labelled = openmoment.find(video, names, task="as", settings={"min_presence": 0.0})
    assert labelled.origin and labelled.origin.grid
    shown_by(labelled, labelled.origin.grid)
    method = load_method("similarity", encoder.space, {"min_presence": 0.0})
    moments = pipeline_of(method).find(video, names)
    covered, _ = cover(moments, labelled.origin.grid.centres_s)
    assert shown_by(labelled, labelled.origin.grid) == covered.tolist()
