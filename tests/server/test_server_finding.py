"""What a worker does for a question, and how it talks to the server."""

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import FakeEncoder

from openmoment.calibration import Fitted, Source
from openmoment.calibration.fitted import ScoreMap
from openmoment.export.json import read
from openmoment.features.cache import Cache
from openmoment.methods.similarity import Similarity, SimilarityConfig
from openmoment.pipeline.answering import Pipeline
from openmoment.postprocess import NOTHING
from openmoment.server.work import finding, worker
from openmoment.server.work.curves import read_curve
from openmoment.server.work.finding import Finder, keep_predictions, worth_a_look
from openmoment.server.work.worker import CancelledError, Channel
from openmoment.types import Detections, Origin

NOTHING_SHOWN = {"walk": NOTHING, "run": NOTHING}  # no noise scores 0.9


def told(done: float | None, message: str, /) -> None:
    """Nobody listens."""


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A question to a pipeline without weights."""
    encoder = FakeEncoder()
    loaded: list[tuple[object, ...]] = []

    def load(backbone: str, method: str | None, *, checkpoint: Path | None) -> Pipeline:
        loaded.append((backbone, method, checkpoint))
        method_ = Similarity(SimilarityConfig(min_score=0.9), encoder.space)
        return Pipeline(encoder, method_, "similarity", 4.0, None)

    monkeypatch.setattr(finding, "load_pipeline", load)
    video = tmp_path / "one.mp4"
    video.write_bytes(bytes(range(256)) * 120)  # half a minute
    return {
        "id": "0",
        "path": str(video),
        "name": "day/one.mp4",
        "queries": ["walk", "run"],
        "backbone": "fake",
        "method": None,
        "checkpoint": None,
        "predictions": str(tmp_path / "kept" / "day" / "one.mp4.json"),
        "loaded": loaded,
    }


def test_all_that_is_worth_a_look_is_kept(asked: dict[str, Any]) -> None:
    heard: list[tuple[float | None, str]] = []
    result = Finder()(asked, lambda done, message, /: heard.append((done, message)))
    assert (result["names"], result["thresholds"]) == (["walk", "run"], NOTHING_SHOWN)
    assert (result["settings"]["min_score"], result["settings"]["fps"]) == (0.9, 4.0)
    ((name, ranked),) = read(Path(asked["predictions"])).items()
    assert (name, ranked.names) == ("day/one.mp4", ("walk", "run"))
    assert ranked.origin is not None and ranked.origin.settings["min_score"] == 0.0
    assert len(ranked) and ranked.scores.min() >= finding.LOWEST
    assert ranked.scores.min() < 0.9  # what the method itself would not have said
    curve = read_curve(Cache(), ranked.origin.source_sha256, "run")
    assert curve is not None and len(curve.times_s) == 120
    assert heard[0] == (None, "loading the backbone")
    done = [share for share, _ in heard[1:]]
    assert done == sorted(done) and done[-1] == 0.95


def test_what_is_not_understood_is_kept_with_its_reason(asked: dict[str, Any]) -> None:
    result = Finder()(asked | {"queries": ["no baby", "two dogs"]}, told)
    assert result["names"] == ["no baby", "two dogs"]
    assert result["thresholds"].keys() == {"no baby", "two dogs"}
    (kept,) = read(Path(asked["predictions"])).values()
    assert list(kept.not_understood) == ["no baby"]
    assert "how many" in kept.notes[0]
    result = Finder()(asked | {"queries": ["asdfgh"]}, told)
    assert result["names"] == ["asdfgh"]
    (kept,) = read(Path(asked["predictions"])).values()
    assert list(kept.not_understood) == ["no baby", "asdfgh"]
    assert set(kept.names) == {"no baby", "two dogs", "asdfgh"}


def test_a_calibration_says_from_which_score_on_each_query_is_shown(
    asked: dict[str, Any], tmp_path: Path
) -> None:
    made_by = Finder()(asked, told)["settings"]
    source = Source("fake", FakeEncoder().fingerprint, "similarity", "{}")
    kept = {n: v for n, v in made_by.items() if n not in Similarity.RANKING}
    source = replace(source, settings=json.dumps(kept, sort_keys=True))
    fitted = Fitted(source, ScoreMap(1.0, 0.0, {"run": 2.0}), 0.5)
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps({"schema": "openmoment-calibration/1", **fitted.to_dict()}))
    result = Finder()(asked | {"calibration": str(path)}, told)
    assert result["thresholds"] == pytest.approx({"walk": 0.5, "run": 1 / (1 + np.exp(-2.0))})
    assert result["settings"]["calibration"] == fitted.fingerprint
    other = replace(fitted, source=replace(source, fingerprint="another"))
    path.write_text(json.dumps({"schema": "openmoment-calibration/1", **other.to_dict()}))
    result = Finder()(asked | {"calibration": str(path)}, told)
    assert result["thresholds"] == NOTHING_SHOWN
    assert "calibration" not in result["settings"]


def test_a_pipeline_is_loaded_once(asked: dict[str, Any]) -> None:
    find = Finder()
    for queries in (["walk"], ["run"]):
        find(asked | {"queries": queries}, told)
    find(asked | {"backbone": "other"}, told)
    assert [backbone for backbone, *_ in asked["loaded"]] == ["fake", "other"]


def test_a_cancelled_question_leaves_nothing(asked: dict[str, Any]) -> None:
    def cancel(done: float | None, message: str, /) -> None:
        if message == "reading the video" and done:
            raise CancelledError

    with pytest.raises(CancelledError):
        Finder()(asked, cancel)
    assert not Path(asked["predictions"]).exists()


def found(names: tuple[str, ...], num: int, **origin: Any) -> Detections:
    made = Origin("one.mp4", 9.0, "fake", "fake-1", "similarity", {"a": 1}, "ab" * 32)
    scores = np.linspace(1, 0, num)
    return Detections(
        segments=np.stack([np.arange(num) / num, np.arange(num) / num + 0.5], axis=1),
        scores=scores,
        labels=np.arange(num) % len(names),
        names=names,
        presence=np.linspace(0.2, 0.8, len(names)),
        origin=replace(made, **origin),
    )


def test_the_best_of_each_query_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finding, "MOST", 5)
    ranked = found(("a", "b"), 40)
    all_shown = {"a": 0.0, "b": finding.LOWEST}
    kept = worth_a_look(ranked, all_shown)
    assert np.bincount(kept.labels).tolist() == [5, 5]
    np.testing.assert_array_equal(kept.scores, ranked.scores[:10])
    low = replace(ranked, scores=np.full(40, 0.01))
    assert set(worth_a_look(low, all_shown).labels.tolist()) == {0}  # little, but shown
    nothing = worth_a_look(low, dict.fromkeys("ab", 1.0))
    assert (len(nothing), nothing.names) == (0, ("a", "b"))


def test_predictions_of_other_queries_stay_if_made_alike(tmp_path: Path) -> None:
    path = tmp_path / "one.json"
    keep_predictions(found(("a", "b"), 6), path)
    keep_predictions(found(("b", "c"), 4), path)
    (both,) = read(path).values()
    assert both.names == ("a", "b", "c")
    assert np.bincount(both.labels).tolist() == [3, 2, 2]
    assert (np.diff(both.scores) <= 0).all()
    np.testing.assert_allclose(both.presence, [0.2, 0.2, 0.8])
    keep_predictions(found(("d",), 1, fingerprint="fake-2"), path)
    assert next(iter(read(path).values())).names == ("d",)
    path.write_text("damaged")
    keep_predictions(found(("e",), 1), path)
    assert next(iter(read(path).values())).names == ("e",)


def test_progress_is_told_some_times_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(worker.time, "monotonic", lambda: now[0])
    out = io.StringIO()
    tell = Channel(io.StringIO(), out).teller("0")
    for step in range(100):
        now[0] += 0.01
        tell(step / 100, "reading")
    tell(None, "writing")  # another message is told at once
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert 4 <= len(lines) <= 6
    assert lines[0] == {"progress": 0.0, "message": "reading"}
    assert lines[-1] == {"progress": None, "message": "writing"}
