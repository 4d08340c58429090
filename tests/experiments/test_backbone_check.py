"""Whether a check of a backbone tells what works from what does not."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from commands import refusal, run
from fakes import FakeEncoder
from videos import make_video

from openmoment.cli.text.ready import list_backbones
from openmoment.encoders.embedded.backbone import Embedded
from openmoment.encoders.speeds import keep_speed, known_speed
from openmoment.encoders.weights.torchvision_ops import declare_missing
from openmoment.errors import MissingWeightsError
from openmoment.experiments import backbone_check
from openmoment.experiments.backbone_check import (
    ABSENT,
    SHOWN,
    Checked,
    _mismatch,
    _unfit,
    _unreadable,
    check_backbone,
    require_works,
    truth_of,
)
from openmoment.features.cache import Cache
from openmoment.methods import load_method
from openmoment.pipeline.answering import Pipeline
from openmoment.types import Snippets

declare_missing()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("check")


def pipeline_of(encoder: Embedded, folder: Path) -> Pipeline:
    method = load_method("similarity", encoder.space)
    return Pipeline(encoder, method, "similarity", 4.0, Cache(folder))


@pytest.fixture(scope="module")
def seen() -> dict[str, Snippets]:
    """What the default sees of the demo's video, once it was checked."""
    return {}


@pytest.fixture(scope="module")
def checked(folder: Path, seen: dict[str, Snippets]) -> Checked:
    """The default, and a short video beside the demo's."""
    encode = backbone_check._encode

    def keep(*args: object) -> tuple[Snippets, float]:
        seen["demo"], taken_s = encode(*args)  # type: ignore[arg-type]
        return seen["demo"], taken_s

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENMOMENT_CACHE", str(folder))
        patch.setattr(backbone_check, "_encode", keep)
        video = make_video(folder / "mine.mp4", seconds=3)
        return check_backbone(pipeline_of(Embedded(), folder), video)


def test_the_default_works(checked: Checked) -> None:
    require_works(checked)
    assert checked.problem is None
    assert checked.named >= 7
    assert checked.told_apart > 0.85
    assert list(checked.presence) == [*SHOWN, *ABSENT]
    assert checked.tiou["a cup of coffee"] > 0.8  # both of its scenes
    assert checked.frames_per_s > 0
    assert checked.num_frames == 64
    assert checked.cosine is None  # classes and words have none
    assert checked.seen is not None
    assert checked.seen.seconds == pytest.approx(3.0)


def test_what_is_shown_when() -> None:
    assert truth_of("a cup of coffee").tolist() == [[4, 8], [28, 32]]
    assert truth_of("a cat").tolist() == [[12, 16]]


def test_pictures_of_another_model_are_refused(
    checked: Checked, seen: dict[str, Snippets], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each class is taken for another: the pictures are not of the model of the words."""
    snippets = seen["demo"]
    turned = replace(snippets, features=np.roll(snippets.features, 333, axis=1))
    monkeypatch.setattr(backbone_check, "_encode", lambda *_: (turned, 1.0))
    found = check_backbone(pipeline_of(Embedded(), folder))
    assert found.named < 4 < checked.named
    with pytest.raises(MissingWeightsError, match="not of one model") as error:
        require_works(found)
    assert "\n" not in str(error.value)


def test_each_thing_that_can_be_wrong_is_named(checked: Checked) -> None:
    encoder, features = Embedded(), np.random.default_rng(0).random((4, 3), np.float32)
    assert _unreadable(encoder, features) is None
    assert "are no numbers" in str(_unreadable(encoder, features * np.nan))
    assert "all pictures look alike" in str(_unreadable(encoder, np.full_like(features, 3.0)))
    assert _mismatch(encoder, 6, 0.0) is None
    assert "of 8 scenes it names 5" in str(_mismatch(encoder, 5, None))
    encoder.unrelated_over = 0.1  # type: ignore[attr-defined]
    assert _mismatch(encoder, 8, 0.11) is _mismatch(encoder, 8, None) is None
    assert "the mean cosine of pictures and texts is 0.01" in str(_mismatch(encoder, 8, 0.01))
    assert _unfit(encoder, 0.8, 0.5) is None
    assert "in 50% of pairs" in str(_unfit(encoder, 0.5, 0.9))
    assert "its times fit by 0.20" in str(_unfit(encoder, 0.9, 0.2))
    with pytest.raises(MissingWeightsError, match="no use"):
        require_works(replace(checked, problem="no use"))


def test_the_verb_says_it(checked: Checked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backbone_check, "check_backbone", lambda *_, **__: checked)
    done = run("models", "check", "embedded")
    assert done.exit_code == 0, (done.output, done.exception)
    *lines, verdict = done.stdout.splitlines()
    assert verdict.startswith("embedded works here, after")
    told = "\n".join(lines)
    assert f"{checked.frames_per_s:.1f} frames a second (64 frames)" in told
    assert f"a cat {checked.presence['a cat']:.2f}" in told
    assert "mine.mp4, first 3 s" in told
    document = json.loads(run("models", "check", "embedded", "--json").stdout)
    assert document["works"] is True
    assert document["seen"]["presence"].keys() == document["presence"].keys()


def test_what_was_measured_is_listed(
    checked: Checked, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert known_speed("embedded", Embedded) is None
    monkeypatch.setenv("OPENMOMENT_CACHE", str(folder))
    speed = known_speed("embedded", Embedded)
    assert speed == pytest.approx(checked.frames_per_s, abs=0.01)
    (row,) = (row for row in list_backbones() if row["name"] == "embedded")
    assert row["frames_per_s"] == speed


def test_what_cannot_be_checked_is_said_in_a_line(tmp_path: Path) -> None:
    assert "no such" in refusal("models", "check", "embedded", "--video", tmp_path / "no.mp4")
    assert "made-up pictures" in refusal("models", "check", "synthetic")
    assert "Did you mean" in refusal("models", "check", "embeded")


def test_random_weights_are_refused(tmp_path: Path, own_cache: Path) -> None:
    pytest.importorskip("open_clip")
    from small_models import CLIP, save_model

    folder = save_model(tmp_path / "small", CLIP)
    done = run("models", "check", folder)
    assert done.exit_code == 2, done.output
    assert "does not work here" in done.stdout
    assert done.stderr.startswith("openmoment: small does not work here: ")
    assert len(done.stderr.splitlines()) == 1
    assert "cosine " in done.stdout
    assert not list(own_cache.glob("speeds.json"))


def test_speeds_are_of_weights_and_a_device(own_cache: Path) -> None:
    encoder = FakeEncoder()
    keep_speed(encoder, 3.0)
    assert known_speed("fake", FakeEncoder) == 3.0
    assert known_speed("other", FakeEncoder) is None
    encoder.device = "cuda"  # type: ignore[attr-defined]
    keep_speed(encoder, 300.0)
    assert known_speed("fake", FakeEncoder) == 3.0
    (file,) = own_cache.glob("*.json")
    kept = json.loads(file.read_text())
    file.write_text(json.dumps({key.replace("fake", "old"): row for key, row in kept.items()}))
    file.write_text("damaged")
    assert known_speed("fake", FakeEncoder) is None
    keep_speed(FakeEncoder(), 4.0)
    assert known_speed("fake", FakeEncoder) == 4.0
