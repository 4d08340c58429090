"""What all trained detectors share: windows over long videos, curves, settings after training."""

import numpy as np
import pytest
import torch
from spaces import CosineSpace, film, words
from tiny_method import make_tiny
from trained_world import trained_on_films

from openmoment.blocks.time_axis import resample
from openmoment.errors import ConfigError, FeatureError
from openmoment.methods import METHODS
from openmoment.methods.base import Answers, Learns
from openmoment.postprocess import temporal_iou
from openmoment.types import Snippets

NAMES = [name for name in METHODS if issubclass(METHODS[name], Learns)]


def long_film():
    queries = words(3)
    scenes = [(None, 70), (0, 40), (None, 60), (1, 30), (None, 50), (0, 50), (None, 10)]
    snippets = film(queries, scenes)
    rows = snippets.features.astype(np.float32)
    return Snippets(rows, snippets.grid, snippets.recipe, snippets.duration_s), queries


def test_there_are_trained_methods() -> None:
    assert {"contrans", "stale", "unloc"} <= set(NAMES)
    assert all(issubclass(METHODS[name], Answers) for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_windows_of_a_long_video_are_answered_one_by_one_and_ranked_together(name: str) -> None:
    (snippets, queries), method = long_film(), trained_on_films(name)
    method = method.told({"time_axis": "window"})
    pieces = method.config.axis.pieces(snippets.grid)
    assert len(pieces) > 8  # more than go through the network at once
    texts = torch.from_numpy(method.to_texts(queries))
    found = []
    with torch.inference_mode():
        for piece in pieces:
            rows = resample(snippets.features, snippets.grid, piece)
            answers = method.candidates(
                torch.from_numpy(rows)[None], method.read_texts(queries.names, texts)
            )
            found.append((piece, next(answers)[1]))
    expected = method.to_detections(found, queries.names)
    answer = method.answer(snippets, queries)
    np.testing.assert_allclose(answer.detections.segments, expected.segments)
    np.testing.assert_allclose(answer.detections.scores, expected.scores, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_what_happens_late_in_a_long_video_is_found_there(name: str) -> None:
    (snippets, queries), method = long_film(), trained_on_films(name)
    answer = method.told({"time_axis": "window", "window_fps": 2.0}).answer(snippets, queries)
    found = answer.detections[answer.detections.labels == 0]
    true = np.array([[17.5, 27.5], [62.5, 75.0]])  # both times that word 0 is shown
    assert (temporal_iou(true, found.segments[:10]).max(axis=1) > 0.5).all()
    assert answer.curves is not None
    shown = answer.curves[0, [*range(75, 105), *range(255, 295)]].mean()
    assert shown > 2 * answer.curves[0, 110:250].mean()


def test_a_checkpoint_keeps_what_training_decided() -> None:
    method = make_tiny()
    told = method.told({"min_score": 0.7, "mask_thresholds": [0.5]})
    assert (told.config.min_score, told.config.mask_thresholds) == (0.7, (0.5,))
    assert method.config.min_score != 0.7
    assert all(a is b for a, b in zip(told.parameters(), method.parameters(), strict=True))
    with pytest.raises(ConfigError, match="length was decided in training"):
        method.told({"length": 8})
    with pytest.raises(ConfigError, match="Unknown setting 'min_skore'.*'min_score'"):
        method.told({"min_skore": 8})


def test_asking_keeps_a_method_in_training_if_it_was() -> None:
    snippets, queries = long_film()
    method = make_tiny().train()
    method.localize(snippets, queries)
    assert method.training


def test_features_that_are_too_wide_are_refused() -> None:
    snippets, queries = long_film()
    wide = np.tile(snippets.features, 2)
    wider = Snippets(wide, snippets.grid, snippets.recipe, snippets.duration_s)
    with pytest.raises(FeatureError, match="128 wide, this model takes 64"):
        make_tiny().localize(wider, queries)
    assert CosineSpace().project_video(wide).shape[1] == 128
