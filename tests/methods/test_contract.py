"""What every method and every backbone owes, tested over the tables: new ones included."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
from spaces import CosineSpace, film, words
from trained_world import trained_on_films

from openmoment.config import from_table
from openmoment.encoders import ENCODERS, Encoder, load_encoder
from openmoment.encoders.base import Space
from openmoment.errors import ConfigError, MissingWeightsError, UnknownNameError
from openmoment.evaluation.detection import evaluate_detection
from openmoment.methods import METHODS, HasCurves, load_method, preset_settings, presets
from openmoment.methods.trained import Trained
from openmoment.methods.traits import Traits
from openmoment.types import Annotations, Detections, Queries

EVERY = {
    "min_presence": 0,
    "sure": 0,
    "min_fit": 0,
    "min_score": 0,
}  # settings that some methods have


def make(name: str, settings: dict | None = None):
    return load_method(name, CosineSpace(), settings)


def ranking(name: str):
    """The method with its decisions switched off, where it has any; a trained one has learned."""
    if issubclass(METHODS[name], Trained):
        return trained_on_films(name)
    fields = {field.name for field in dataclasses.fields(METHODS[name].Config)}
    return make(name, {key: value for key, value in EVERY.items() if key in fields})


@pytest.mark.parametrize("num_queries", [1, 3])
@pytest.mark.parametrize("length", [1, 2, 7, 64])
@pytest.mark.parametrize("name", METHODS)
def test_detections_are_sound(name: str, length: int, num_queries: int) -> None:
    queries = words(num_queries)
    snippets = film(queries, [(0, length)])
    found = ranking(name).localize(snippets, queries)
    assert found.names == queries.names
    assert np.isfinite(found.segments).all()
    assert (found.segments[:, 0] < found.segments[:, 1]).all()
    assert found.segments.min(initial=0.0) >= 0
    assert found.segments.max(initial=0.0) <= snippets.duration_s + 1e-9
    assert ((found.scores >= 0) & (found.scores <= 1)).all()
    assert (np.diff(found.scores) <= 0).all()
    assert ((found.presence >= 0) & (found.presence <= 1)).all()


@pytest.mark.parametrize("name", METHODS)
def test_the_order_of_queries_does_not_matter(name: str) -> None:
    queries = words(4)
    snippets = film(queries, [(None, 20), (0, 16), (None, 20), (2, 16), (None, 12)])
    order = np.array([2, 0, 3, 1])
    shuffled = Queries(
        tuple(queries.names[i] for i in order), queries.embeddings[order], queries.background
    )
    method = ranking(name)
    a, b = method.localize(snippets, queries), method.localize(snippets, shuffled)
    assert len(a) > 0
    rows, others = (
        sorted((d.name, d.start_s, d.end_s, d.score) for d in found) for found in (a, b)
    )
    assert [row[0] for row in rows] == [row[0] for row in others]
    np.testing.assert_allclose([r[1:] for r in rows], [r[1:] for r in others], atol=1e-6)
    np.testing.assert_allclose(a.presence[order], b.presence, atol=1e-6)


def as_rows(found: Detections) -> list[tuple]:
    return [(round(d.start_s, 6), round(d.end_s, 6), d.name, round(d.score, 9)) for d in found]


@pytest.mark.parametrize("name", METHODS)
def test_asking_twice_gives_the_same_and_changes_nothing(name: str) -> None:
    queries = words(3)
    snippets = film(queries, [(None, 20), (1, 16), (None, 20)])
    before = snippets.features.copy(), queries.embeddings.copy()
    method = ranking(name)
    weights = copy.deepcopy(method.state_dict()) if isinstance(method, Trained) else {}
    first, second = (as_rows(method.localize(snippets, queries)) for _ in range(2))
    assert first == second
    np.testing.assert_array_equal(snippets.features, before[0])
    np.testing.assert_array_equal(queries.embeddings, before[1])
    if isinstance(method, Trained):
        assert method.state_dict().keys() == weights.keys()
        assert all(torch.equal(value, weights[n]) for n, value in method.state_dict().items())


@pytest.mark.parametrize("name", [n for n in METHODS if issubclass(METHODS[n], HasCurves)])
def test_curves_are_scores_of_each_snippet(name: str) -> None:
    queries = words(3)
    snippets = film(queries, [(None, 20), (1, 16), (None, 20)])
    curves = ranking(name).curves(snippets, queries)
    assert curves.shape == (3, 56)
    assert ((curves >= 0) & (curves <= 1)).all()
    assert curves[1, 20:36].min() > curves[1, :18].max()


def configs_of(name: str) -> list:
    """The defaults of a method, and its presets."""
    given = [{}, *(preset_settings(name, preset) for preset in presets(name))]
    return [from_table(METHODS[name].Config, settings, where=name) for settings in given]


@pytest.mark.parametrize("name", METHODS)
def test_what_a_method_says_of_itself_is_what_its_settings_say(name: str) -> None:
    method = METHODS[name]
    for config in configs_of(name):
        traits = method.traits_of(config)
        assert isinstance(traits, Traits)
        assert traits == method.traits_of(copy.deepcopy(config))
        own = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
        assert traits.takes_other_features == (own.get("features") == "own")
        assert traits.has_windows == ("overlap" in own)
        decides = traits.tells_presence or not hasattr(method.Config, "sure")
        for setting, value in traits.decision._asdict().items():
            assert value == (own.get(setting, 0.0) if decides else 0.0)
        assert traits.task == own.get("task")
        assert all(template.count("{}") == 1 for template in traits.templates)
        assert not traits.is_told_truth  # no preset is an oracle
        ranking = method.traits_of(dataclasses.replace(config, **method.RANKING)).decision
        assert ranking.min_score <= 0.001 and max(ranking[:3]) == 0.0


@pytest.mark.parametrize("name", METHODS)
def test_a_method_that_reads_embeddings_alone_does_not_mind_other_words(name: str) -> None:
    method = ranking(name)
    if method.traits_of(method.config).reads_words:
        assert isinstance(method, Trained)
        return
    queries = words(3)
    snippets = film(queries, [(None, 20), (1, 16), (None, 20)])
    renamed = dataclasses.replace(queries, names=("x", "y", "z"))
    rows, others = (as_rows(method.localize(snippets, asked)) for asked in (queries, renamed))
    name_of = dict(zip(queries.names, renamed.names, strict=True))
    assert [(s, e, name_of[n], score) for s, e, n, score in rows] == others and rows


@pytest.mark.parametrize("name", METHODS)
def test_nonsense_words_wreck_the_score(name: str) -> None:
    """A method that survives this does not read its text."""
    queries = words(8)
    nonsense = Queries(queries.names, words(8, seed=99).embeddings, queries.background)
    truth, meant, meaningless = {}, {}, {}
    for i in range(16):
        # the action fills most of the film, so that one segment for all of it can be right
        snippets = film(queries, [(None, 6), (i % 8, 60), (None, 6)], seed=i)
        segment = np.array([[6 * 0.25, 66 * 0.25]])
        truth[str(i)] = Annotations(segment, np.array([i % 8]), queries.names, 18.0)
        meant[str(i)] = ranking(name).localize(snippets, queries)
        meaningless[str(i)] = ranking(name).localize(snippets, nonsense)
    good, bad = (
        evaluate_detection(found, truth, tious=(0.5,)).average for found in (meant, meaningless)
    )
    assert good > 0.9
    assert bad < good / 2


@pytest.mark.parametrize("name", METHODS)
def test_settings_are_flat_frozen_and_strict(name: str) -> None:
    config = METHODS[name].Config()
    assert dataclasses.is_dataclass(config)
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.anything = 1
    with pytest.raises(ConfigError, match="Unknown setting 'colour'"):
        make(name, {"colour": "red"})


def test_an_unknown_method_is_told_its_neighbour() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'similarity'"):
        make("similarty")


@pytest.mark.parametrize("name", ENCODERS)
def test_backbones_encode_words(name: str) -> None:
    if problem := ENCODERS[name].missing():
        with pytest.raises(MissingWeightsError, match=name):
            load_encoder(name)
        pytest.skip(problem)
    encoder = load_encoder(name)
    assert isinstance(encoder, Encoder)
    assert isinstance(encoder.space, Space)
    together = encoder.encode_text(["pole vault", "a man opens the fridge", "x"])
    assert together.shape[0] == 3
    assert np.isfinite(together).all()
    alone = [encoder.encode_text([n])[0] for n in ("pole vault", "a man opens the fridge", "x")]
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert encoder.fingerprint == load_encoder(name).fingerprint
    plain = encoder.encode_text(["pole vault"], templates=("{}",))[0]
    assert not np.allclose(plain, together[0])
