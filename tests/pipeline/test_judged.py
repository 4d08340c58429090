"""For people every method's presence is of the standing; for benchmarks it is the method's own."""

from dataclasses import replace

import numpy as np
import pytest
from fakes import FakeEncoder
from spaces import CosineSpace, film, words

from openmoment.calibration import Fitted, Source
from openmoment.calibration.fitted import ScoreMap
from openmoment.methods import METHODS, load_method
from openmoment.methods.standing import standing_of
from openmoment.pipeline.answering import Pipeline
from openmoment.postprocess import MIN_PRESENCE, SURE
from openmoment.reviews import MadeBy

SCENES = [(None, 24), (0, 16), (None, 24), (1, 16), (None, 24)]
OTHERS = ("frame_threshold", "whole_video")


def pipeline_of(name: str, **changes) -> Pipeline:
    encoder = FakeEncoder()
    encoder.space = CosineSpace()
    method = load_method(name, encoder.space, changes)
    return Pipeline(encoder, method, name, 4.0, None, is_judged=True)


@pytest.mark.parametrize("name", OTHERS)
def test_presence_is_of_the_standing_whatever_the_method_says(name: str) -> None:
    queries = words(3, seed=6)
    snippets = film(queries, SCENES)
    pipeline = pipeline_of(name)
    own = replace(pipeline, is_judged=False).localize(snippets, queries, video="a.mp4")
    found = pipeline.localize(snippets, queries, video="a.mp4")
    standing = standing_of(pipeline.encoder.space, snippets, queries)
    np.testing.assert_allclose(found.presence, standing.presence)
    assert found.answer_of("word 2") == "not found" and found.presence[2] < MIN_PRESENCE
    assert found.answer_of("word 0") == "found" or name == "whole_video"
    assert (found.scores <= found.presence[found.labels]).all()
    assert (np.diff(found.scores) <= 0).all()
    assert found.origin and own.origin and found.origin.occurs_at == SURE
    np.testing.assert_allclose(found.origin.curves, standing.shown, atol=1e-6)
    assert found.origin.settings["min_presence"] == MIN_PRESENCE
    assert "min_presence" not in own.origin.settings
    assert own.origin.occurs_at is None
    scores = {(*d[:2], d.name): d.score for d in own}
    for start_s, end_s, query, score in found:
        share = scores[start_s, end_s, query] * found.presence[found.names.index(query)]
        assert score == pytest.approx(share)


def test_what_is_not_calibrated_says_so() -> None:
    assert pipeline_of("similarity").notes == ()
    assert pipeline_of("t3al").notes == ()
    for pipeline in (
        pipeline_of("frame_threshold"),
        pipeline_of("t3al", labels="single"),
        replace(pipeline_of("frame_threshold"), is_judged=False),
    ):
        (note,) = pipeline.notes
        assert f"{pipeline.method_name}'s own scores, which are not calibrated" in note


def test_ranking_for_people_leaves_nothing_out() -> None:
    queries = words(3, seed=6)
    snippets = film(queries, SCENES)
    pipeline = pipeline_of("whole_video", top_labels=3)
    said = pipeline.localize(snippets, queries, video="a.mp4")
    ranked = pipeline.ranking().localize(snippets, queries, video="a.mp4")
    assert (len(ranked), len(said)) == (3, 2)
    np.testing.assert_array_equal(ranked.presence, said.presence)


@pytest.mark.parametrize("name", METHODS)
def test_what_decides_as_shipped_is_known_from_a_pipeline_that_ranks(name: str) -> None:
    method = METHODS[name]
    shipped = method.traits_of(method.Config()).decision
    made = object.__new__(method)
    object.__setattr__(made, "config", replace(method.Config(), **method.RANKING))
    pipeline = Pipeline(FakeEncoder(), made, name, 4.0, None)
    assert pipeline.shipped_decision == shipped


@pytest.mark.parametrize("name", OTHERS)
def test_a_calibration_of_what_the_page_ranked_fits_the_pipeline_that_is_asked(name: str) -> None:
    pipeline = pipeline_of(name)
    made_by = MadeBy("fake", pipeline.encoder.fingerprint, name, pipeline.settings)  # as the page
    fitted = Fitted(Source.of(made_by), ScoreMap(1.0, 0.0, {}), 0.5)
    assert pipeline.calibrated(fitted).calibration == fitted
