"""The page and the command line decide alike, whatever was filmed and asked."""

import random
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeEncoder
from spaces import CosineSpace, film, words

from openmoment.export.json import read
from openmoment.methods.similarity import Similarity, SimilarityConfig
from openmoment.pipeline.answering import Pipeline
from openmoment.reviews import MadeBy, Review, add_predictions, to_detections
from openmoment.server.work import finding
from openmoment.server.work.finding import Finder
from openmoment.types import Detections

NUM_CASES = 100


def case(seed: int) -> tuple[Any, Any]:
    """A random film, and what is asked of it: some of it shown, some hardly, some not."""
    chance = random.Random(seed)
    queries = words(5, seed=seed)
    scenes = [
        (chance.choice([None, None, 0, 1, 2]), chance.randrange(2, 20))
        for _ in range(chance.randrange(3, 12))
    ]
    return film(queries, scenes, noise=chance.uniform(0.1, 0.6), seed=seed), queries


def on_the_page(pipeline: Pipeline, task: dict[str, Any]) -> tuple[Review, dict[str, Any]]:
    """The review that a page shows after a question."""
    result = Finder()(task, lambda done, message, /: None)
    ((_, ranked),) = read(Path(task["predictions"])).items()
    assert ranked.origin
    made_by = MadeBy(
        *(getattr(ranked.origin, n) for n in ("backbone", "fingerprint", "method")), {}
    )
    empty = Review("one.mp4", ranked.origin.duration_s)
    review = add_predictions(
        empty, ranked, threshold=result["thresholds"], made_by=made_by, when="2026-01-01T00:00:00Z"
    )
    return review, result["settings"]


def answer_of(presence: float, has_moments: bool, settings: dict[str, Any]) -> str:
    """As lanes.js says it."""
    if presence < settings["min_presence"] or not has_moments:
        return "not found"
    return "unsure" if presence < settings["sure"] else "found"


def rows(found: Detections) -> list[tuple[str, float, float, float]]:
    return sorted(
        (d.name, round(d.start_s, 3), round(d.end_s, 3), round(d.score, 4)) for d in found
    )


def test_page_and_command_line_agree_on_every_decision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = Similarity(SimilarityConfig(), CosineSpace())
    pipeline = Pipeline(FakeEncoder(), method, "similarity", 4.0, None, is_judged=True)
    monkeypatch.setattr(finding, "load_pipeline", lambda *_, **__: pipeline)
    answers: dict[str, int] = {}
    for seed in range(NUM_CASES):
        snippets, queries = case(seed)
        monkeypatch.setattr(Pipeline, "snippets", lambda *_, snippets=snippets, **__: snippets)
        monkeypatch.setattr(Pipeline, "queries", lambda *_, queries=queries, **__: queries)
        said = pipeline.localize(snippets, queries, video="one.mp4")
        task = {
            "backbone": "fake",
            "method": None,
            "checkpoint": None,
            "name": "one.mp4",
            "path": "one.mp4",
            "queries": list(queries.names),
            "predictions": str(tmp_path / f"{seed}.json"),
        }
        review, settings = on_the_page(pipeline, task)
        shown = to_detections(review, shown_only=True)
        assert rows(shown) == rows(said)
        for query in review.queries:
            assert query.presence is not None
            has_moments = any(segment.query == query.query for segment in review.segments)
            answer = answer_of(query.presence, has_moments, settings)
            assert answer == said.answer_of(query.query)
            answers[answer] = answers.get(answer, 0) + 1
    assert min(answers[answer] for answer in ("found", "unsure", "not found")) >= 10, answers
