"""Towers tuned from the frames of real videos and from words, and what is left of it on disk."""

import copy
import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from openmoment.encoders.weights.torchvision_ops import declare_missing

declare_missing()
torch = pytest.importorskip("torch")
pytest.importorskip("open_clip")
from commands import refusal, run  # noqa: E402
from small_models import CLIP, save_model  # noqa: E402
from videos import make_video  # noqa: E402

from openmoment.blocks.borrowed import learning_image_tower  # noqa: E402
from openmoment.checkpoints.card import read_card  # noqa: E402
from openmoment.checkpoints.weights import load_checkpoint  # noqa: E402
from openmoment.config import from_table  # noqa: E402
from openmoment.datasets.base import Moment  # noqa: E402
from openmoment.encoders import load_encoder  # noqa: E402
from openmoment.encoders.base import Encoder, HasImageTower, TakesImageTower  # noqa: E402
from openmoment.errors import ConfigError  # noqa: E402
from openmoment.methods.trained import Widths  # noqa: E402
from openmoment.methods.unloc import UnLoc, UnLocConfig  # noqa: E402
from openmoment.pipeline import load_pipeline  # noqa: E402
from openmoment.pipeline.extraction import extract  # noqa: E402
from openmoment.storage.listing import find_videos  # noqa: E402
from openmoment.training.augment import augmented, rand_augment, short_side  # noqa: E402
from openmoment.training.data import TrainingData  # noqa: E402
from openmoment.training.frames import VideoFiles  # noqa: E402
from openmoment.training.sentences import SentenceData  # noqa: E402
from openmoment.types import Annotations, Queries, SnippetGrid  # noqa: E402

SMALL = {"length": 8, "width": 32, "heads": 4, "inner": 48, "layers": 1, "levels": 2}
WORDS = ("Basketball", "BasketballDunk")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("models") / "small", CLIP)


@pytest.fixture
def encoder(folder: Path) -> Any:
    return load_encoder(str(folder))


def frames_of(num: int = 6, *, seed: int = 0) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.integers(0, 255, (2, num, 3, 32, 32), dtype=np.uint8))


# the image tower -----------------------------------------------------------------------------


def test_a_tower_sees_what_its_encoder_sees(encoder) -> None:
    assert isinstance(encoder.space, HasImageTower) and isinstance(encoder, TakesImageTower)
    frames = frames_of()
    tower = learning_image_tower(encoder.space)
    pictures = [frame.permute(1, 2, 0).numpy() for frame in frames.flatten(0, 1)]
    expected = encoder.encode_pictures(pictures)
    found = tower(frames).detach()
    np.testing.assert_allclose(found.flatten(0, 1).numpy(), expected, atol=1e-5)
    joint = encoder.space.image_to_joint(found).flatten(0, 1).numpy()
    np.testing.assert_allclose(joint, encoder.space.project_video(expected), atol=1e-5)


def test_a_copy_learns_and_the_encoders_own_does_not(encoder) -> None:
    own = encoder.image_tower
    before = copy.deepcopy(own.state_dict())
    tower = learning_image_tower(encoder.space).train()
    assert not tower.training  # its norms keep their statistics
    optimiser = torch.optim.SGD(tower.parameters(), lr=0.1)
    tower(frames_of()).square().mean().backward()
    optimiser.step()
    assert all(torch.equal(value, before[key]) for key, value in own.state_dict().items())
    assert not any(p.requires_grad or p.grad is not None for p in own.parameters())
    matrices = {name: value for name, value in tower.named_parameters() if value.ndim > 1}
    assert not any(torch.equal(value, before[name]) for name, value in matrices.items())


def test_checkpointing_gives_the_same_gradients(encoder) -> None:
    gradients = []
    for checkpointing in (False, True):
        tower = learning_image_tower(encoder.space, checkpointing=checkpointing)
        tower(frames_of(num=20)).square().mean().backward()  # more than are seen at once
        gradients.append([p.grad for p in tower.parameters()])
    for plain, checkpointed in zip(*gradients, strict=True):
        torch.testing.assert_close(checkpointed, plain, atol=1e-6, rtol=1e-4)


def test_a_tuned_encoder_is_another_one(encoder) -> None:
    tower = learning_image_tower(encoder.space)
    same, again = encoder.with_image_tower(tower), encoder.with_image_tower(tower)
    with torch.no_grad():
        tower.visual.conv1.weight += 0.1
    other = encoder.with_image_tower(tower)
    assert isinstance(other, Encoder)
    picture = [frames_of()[0, 0].permute(1, 2, 0).numpy()]
    np.testing.assert_array_equal(same.encode_pictures(picture), encoder.encode_pictures(picture))
    assert not np.allclose(other.encode_pictures(picture), encoder.encode_pictures(picture))
    np.testing.assert_array_equal(other.encode_text(WORDS), encoder.encode_text(WORDS))
    assert len({encoder.fingerprint, same.fingerprint, other.fingerprint}) == 3
    assert (same.fingerprint, same.name) == (again.fingerprint, again.name)
    assert same.name.startswith("small+") and other.name != same.name
    assert encoder.name == "small" and not encoder.is_tuned


def test_only_open_clip_can_be_tuned(embedded, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="one of open_clip"):
        learning_image_tower(embedded.space)
    with pytest.raises(ConfigError, match="embedded: its image tower cannot be tuned"):
        VideoFiles(tmp_path, embedded, "none")


# frames --------------------------------------------------------------------------------------


@pytest.fixture
def told(tmp_path: Path, encoder) -> VideoFiles:
    """A video whose pictures tell the time."""
    make_video(tmp_path / "v_clock.mp4", seconds=4.0, fps=10, width=96, height=64)
    return VideoFiles(tmp_path, encoder, "none")


def test_frames_are_those_of_the_snippets_middles(told: VideoFiles, encoder) -> None:
    assert "clock" in told and "v_clock" in told and "other" not in told
    film = told.load("clock")
    assert film.grid.end_s == pytest.approx(4.0)
    assert len(film) == 16  # at the encoder's rate
    assert film.features.shape[1] == encoder.dim_in
    piece = SnippetGrid.uniform(5, start_s=1.0, end_s=3.0)
    frames = film.frames(piece, np.random.default_rng(0))
    assert frames.shape == (5, 3, 32, 32) and frames.dtype == np.uint8


@pytest.mark.parametrize("kind", ["none", "crop-flip", "full"])
def test_augmentation_depends_on_its_numbers_alone_and_treats_all_frames_alike(kind: str) -> None:
    size = (32, 32)
    side = short_side(size, kind)
    rng = np.random.default_rng(0)
    picture = torch.from_numpy(rng.integers(0, 255, (1, 3, side, side + 20), dtype=np.uint8))
    clip = picture.expand(4, -1, -1, -1)
    state = torch.get_rng_state()
    found = [augmented(clip, size, kind, np.random.default_rng(seed)) for seed in (1, 1, 2, 3)]
    assert torch.equal(torch.get_rng_state(), state)
    assert all(one.shape == (4, 3, 32, 32) and one.dtype == torch.uint8 for one in found)
    assert all(torch.equal(one, one[:1].expand_as(one)) for one in found)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[3]) == (kind == "none")


def test_crops_and_flips_are_parts_of_the_picture() -> None:
    clip = torch.arange(37 * 50, dtype=torch.int64).remainder(251).to(torch.uint8)
    clip = clip.view(1, 1, 37, 50).expand(2, 3, -1, -1)
    windows = clip[0, 0].unfold(0, 32, 1).unfold(1, 32, 1).flatten(0, 1)
    for seed in range(8):
        crop = augmented(clip, (32, 32), "crop-flip", np.random.default_rng(seed))[0, 0]
        either = torch.cat([windows, windows.flip(2)])
        assert (either == crop).flatten(1).all(dim=1).any()


def test_rand_augment_is_torchvisions() -> None:
    from torchvision.transforms import v2

    drawn = v2.RandAugment(1, 10)
    names = list(drawn._AUGMENTATION_SPACE)
    clip = frames_of(num=2)[0]
    operations = rand_augment(v2.functional)
    assert len(operations) == len(names)
    for name, operation in zip(names, operations, strict=True):
        magnitudes, signed = drawn._AUGMENTATION_SPACE[name]
        values = magnitudes(31, 32, 32)
        for sign in (1, -1) if signed else (1,):
            magnitude = 0.0 if values is None else sign * float(values[10])
            expected = drawn._apply_image_or_video_transform(
                clip, name, magnitude, interpolation=v2.InterpolationMode.NEAREST, fill={}
            )
            found = operation(clip, sign * 10 / 30)
            assert (found.int() - expected.int()).abs().float().mean() < 1, name


# training from frames ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def root(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight short videos of basketball with their instances, two of them to be tested on."""
    known = json.loads((data_root / "clips_temporal.json").read_text())["database"]
    folder = tmp_path_factory.mktemp("basketball")
    (folder / "videos").mkdir()
    database = {}
    for word in WORDS:
        names = [name for name in known if f"/{word}/" in name and name.endswith(".avi")]
        for i, name in enumerate(names[:4]):
            path = data_root / name
            (folder / "videos" / path.name).symlink_to(path)
            parts = {key: known[name][key] for key in ("duration", "annotations")}
            database[path.stem] = {"subset": "train" if i < 3 else "test", **parts}
    (folder / "annotations.json").write_text(json.dumps({"database": database}))
    return folder


def training(
    root: Path, folder: Path, out: Path, *given: str, videos: bool = True
) -> tuple[Any, ...]:
    place = ("--videos", root / "videos") if videos else ("--features", out.parent / "features")
    settings = [f"{name}={value}" for name, value in SMALL.items()]
    settings += ["epochs=8", "batch_size=3", "optimizer=adamw", "lr=0.003"]
    return (
        *("train", "unloc", "--dataset", "folder", "--root", root, *place),
        *("--backbone", folder, "--out", out, *settings, *given),
    )


def losses(out: Path) -> list[float]:
    return [json.loads(line)["total"] for line in (out / "log.jsonl").read_text().splitlines()]


@pytest.mark.data
@pytest.mark.parametrize(
    ("tunes_image", "tunes_text", "tokens"),
    [(True, False, "one"), (True, True, "all"), (False, True, "all"), (False, False, "all")],
)
def test_only_what_is_meant_to_learns_and_the_loss_falls(
    root: Path, folder: Path, tmp_path: Path, tunes_image: bool, tunes_text: bool, tokens: str
) -> None:
    encoder = load_encoder(str(folder))
    features = list(extract(find_videos(root / "videos"), tmp_path / "features", encoder, fps=4.0))
    assert len(features) == 8
    given = (
        f"tune_image={tunes_image}",
        f"tune_text={tunes_text}",
        f"text_tokens={tokens}",
        f"tied_entry={tokens == 'one'}",
        "grad_checkpointing=true",
    )
    out = tmp_path / "out"
    done = run(*training(root, folder, out, *given, videos=tunes_image))
    assert done.exit_code == 0, (done.output, done.exception)
    total = losses(out)
    assert np.mean(total[-4:]) < 0.7 * np.mean(total[:4]), total
    method = load_checkpoint(out, encoder.space)
    state = method.state_dict()
    for prefix, own, learns in (
        ("image.", encoder.image_tower, tunes_image),
        ("reader.tower.", encoder.text_tower, tunes_text),
    ):
        mine = {n.removeprefix(prefix): v for n, v in state.items() if n.startswith(prefix)}
        matrices = {n: v for n, v in own.named_parameters() if v.ndim > 1}
        moved = [n for n, v in matrices.items() if n in mine and not torch.equal(mine[n], v)]
        assert len(mine) == (len(own.state_dict()) if learns else 0)
        assert len(moved) == (len(matrices) if learns else 0)
    card = read_card(out)
    assert (card.backbone, card.fingerprint) == ("small", encoder.fingerprint)
    assert (card.num_videos, card.fps) == (6, 4.0)


@pytest.mark.data
def test_a_tuned_checkpoint_answers_of_videos_and_refuses_other_features(
    root: Path, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = run(*training(root, folder, out, "tune_image=true", "epochs=1", "augment=full"))
    assert done.exit_code == 0, (done.output, done.exception)
    asked = ("--checkpoint", out, "--backbone", folder)
    pipeline = load_pipeline(str(folder), checkpoint=out)
    plain = load_encoder(str(folder))
    assert pipeline.encoder.fingerprint != plain.fingerprint
    assert pipeline.encoder.name.startswith("small+")
    again = load_pipeline(str(folder), checkpoint=out)
    assert again.encoder.fingerprint == pipeline.encoder.fingerprint

    video = next((root / "videos").iterdir())
    snippets = pipeline.snippets(video)
    assert snippets.recipe.encoder == pipeline.encoder.name
    assert not np.allclose(
        snippets.features, load_pipeline(str(folder)).snippets(video).features, atol=1e-3
    )
    kept = ("--set", "min_score=0", "--save-predictions", tmp_path / "all.json")
    found = json.loads(run("find", video, *WORDS, *asked, *kept, "--json").stdout)
    assert found["backbone"]["name"] == pipeline.encoder.name
    (ranked,) = json.loads((tmp_path / "all.json").read_text())["results"].values()
    assert ranked

    dataset = ("--dataset", "folder", "--root", root)
    scored = run("evaluate", *asked, *dataset, "--videos", root / "videos", "--json")
    assert scored.exit_code == 0, (scored.output, scored.exception)
    assert shlex.join(["--videos", str(root / "videos")]) in done.stdout
    features = tmp_path / "features"
    list(extract(find_videos(root / "videos"), features, plain, fps=4.0))
    line = refusal("evaluate", *asked, *dataset, "--features", features)
    assert "made by small (fingerprint" in line and line.endswith("give videos, --videos DIR.")


def data_of(told: VideoFiles, encoder, *, seed: int = 0, **settings: Any):
    """Two windows of one video, to be cropped and mirrored; for sentences, those of two videos."""
    shown = SMALL | {"tune_image": True, "time_axis": "window", "window_fps": 4.0} | settings
    method = UnLoc(from_table(UnLocConfig, shown, where="test"), encoder.space, Widths(32, 32))
    crops = VideoFiles(told.folder, encoder, "crop-flip")
    names = ("jump", "a man jumps") if shown.get("task") == "mr" else ("jump",)
    queries = Queries(names, encoder.encode_text(names), np.zeros((0, 48), np.float32))
    if len(names) == 1:
        true = Annotations(np.array([[1.0, 3.0]]), np.array([0]), names, 4.0)
        videos: Any = {"clock": true}
        if not method.config.stretch:
            make_video(told.folder / "short.mp4", seconds=2.0, width=96, height=64)
            videos["short"] = Annotations(np.array([[0.5, 1.5]]), np.array([0]), names, 2.0)
            crops = VideoFiles(told.folder, encoder, "none")
        return method, TrainingData(
            videos, crops.load, method, seen=names, queries=queries, seed=seed
        )
    rows = zip(("clock", "v_clock"), names, strict=True)
    moments = {v: [Moment("q", v, name, np.array([[1.0, 3.0]]), 4.0)] for v, name in rows}
    return method, SentenceData(moments, crops.load, method, queries=queries, seed=seed)


def test_frames_are_functions_of_seed_epoch_and_video(told: VideoFiles, encoder) -> None:
    """So that a run can go on at any step."""

    def frames(seed: int, epoch: int) -> torch.Tensor:
        _, data = data_of(told, encoder, seed=seed)
        assert len(data) == 2
        return data.batch(data.order(epoch), epoch).features

    assert frames(0, 1).shape == (2, 8, 3, 32, 32) and frames(0, 1).dtype == torch.uint8
    assert torch.equal(frames(0, 1), frames(0, 1))
    assert not torch.equal(frames(0, 1), frames(0, 2))
    assert not torch.equal(frames(0, 1), frames(1, 1))


@pytest.mark.parametrize("settings", [{"task": "mr"}, {"stretch": False, "length": 20}], ids=str)
def test_sentences_and_short_videos_learn_from_frames_too(
    told: VideoFiles, encoder, settings: dict
) -> None:
    method, data = data_of(told, encoder, **settings)
    batch = data.batch(data.order(0), 0)
    assert batch.features.ndim == 5
    assert (batch.valid is None) == method.config.stretch
    sum(method.loss(batch).values()).backward()
    assert method.image.visual.conv1.weight.grad.abs().sum() > 0


def test_what_is_missing_is_said(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    make_video(tmp_path / "videos" / "a.mp4", seconds=2.0)
    segment = {"segment": [0.5, 1.5], "label": "jump"}
    database = {n: {"subset": "train", "duration": 2.0, "annotations": [segment]} for n in "ab"}
    (tmp_path / "annotations.json").write_text(json.dumps({"database": database}))
    out = tmp_path / "out"
    line = refusal(*training(tmp_path, folder, out, "tune_image=true"))
    assert "1 of 2 training videos have no video file, the first is 'b'" in line
    (tmp_path / "features").mkdir()
    line = refusal(*training(tmp_path, folder, out, "tune_image=true", "--resume", videos=False))
    assert line.endswith("This unloc learns from frames: give videos, --videos DIR.")
    line = refusal(*training(tmp_path, folder, out, "tune_image=false", "--resume"))
    assert line.endswith("This unloc learns from features: give these, --features DIR.")
