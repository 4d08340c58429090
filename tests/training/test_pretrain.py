"""openmoment pretrain: whole clips told apart by their names, and what begins from that."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import refusal, run
from fakes import FakeEncoder
from spaces import CosineSpace
from trained_world import DIM, World, batch_of

from openmoment import encoders
from openmoment.blocks.batch import Batch, Instances
from openmoment.checkpoints.card import read_card
from openmoment.checkpoints.weights import load_checkpoint
from openmoment.config import from_table
from openmoment.datasets.names import class_names
from openmoment.encoders.weights.torchvision_ops import declare_missing
from openmoment.errors import ConfigError, FeatureError, FormatError, UnknownNameError, VideoError
from openmoment.features.file import write_features
from openmoment.methods.trained import Widths
from openmoment.methods.unloc import UnLoc, UnLocConfig
from openmoment.pipeline import loading as pipeline
from openmoment.pipeline.queries import encode_queries
from openmoment.training.clips import ClipData, find_clips
from openmoment.training.initial import begin_from
from openmoment.types import Recipe, SnippetGrid, Snippets

CLASSES = ("brushing_teeth", "pole vault", "LongJump", "washing dishes", "juggling balls", "yoga")
SAID = tuple(name.replace("_", " ").replace("gJ", "g J") for name in CLASSES)
SMALL = ("width=32", "heads=4", "inner=64", "layers=2", "length=8")
QUICK = (*SMALL, "epochs=1", "batch_size=8")


@pytest.fixture
def backbone(monkeypatch: pytest.MonkeyPatch) -> FakeEncoder:
    encoder = FakeEncoder(dim_in=12)
    for module in (encoders, pipeline):
        monkeypatch.setattr(module, "load_encoder", lambda *_, **__: encoder)
    return encoder


def clip(said: str, *, seed: int, frames: int = 20) -> Snippets:
    """Frames between something else and what the words say."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((frames, 12)).astype(np.float32)
    rows[:, :8] = 0.2 * rows[:, :8] + rng.random() * 0.3 + FakeEncoder().encode_text([said])[0]
    grid = SnippetGrid.uniform(frames, end_s=frames / 2)
    return Snippets(rows, grid, Recipe("fake", "fake-1", 2.0, ""), frames / 2)


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Six clips of each class, of several lengths, as feature files."""
    folder = tmp_path / "clips"
    for k, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for i in range(6):
            made = clip(SAID[k], seed=10 * k + i, frames=6 + 3 * i)
            write_features(made, folder / name / f"{i}.safetensors")
    return folder


def make(seed: int = 0, **settings: object) -> UnLoc:
    torch.manual_seed(seed)
    table = {"task": "clips", "width": 32, "heads": 4, "inner": 64, "layers": 2} | settings
    return UnLoc(from_table(UnLocConfig, table, where="test"), CosineSpace(), Widths(DIM, DIM))


def relevance(method: UnLoc, shown: Snippets, texts: torch.Tensor) -> np.ndarray:
    """How much a clip is of each text."""
    rows = torch.from_numpy(method.to_features(shown.features))[None]
    with torch.inference_mode():
        words = method.read_texts(SAID[: len(texts)], texts)
        return method.predict(method.read_frames(rows), words).logits[0].flatten().numpy()


# the network ---------------------------------------------------------------------------------


def test_the_loss_is_of_what_is_said_of_the_mean_token() -> None:
    method, batch = make().eval(), batch_of(World(num=3))
    with torch.inference_mode():
        frames = method.read_frames(batch.features)
        words = method.read_texts(batch.names, batch.texts).prompted(0)
        fused = method.fusion(*method._pairs(frames, words))[0].x.unflatten(0, (3, 4))
    head = method.video_head.last
    expected = 0.0
    for i, (_, labels, _) in enumerate(batch.instances):
        for k in range(4):
            logit = float(fused[i, k].mean(dim=0) @ head.weight[0].detach() + head.bias.detach())
            p = 1 / (1 + np.exp(-logit))
            expected -= np.log(p if k in labels else 1 - p)
    assert method.loss(batch)["classes"].item() == pytest.approx(expected / 3, rel=1e-4)


def test_all_of_it_learns() -> None:
    method = make()
    method.loss(batch_of(World(num=3)))["classes"].backward()
    still = [n for n, p in method.named_parameters() if p.grad is None or not p.grad.abs().sum()]
    assert [name for name in still if "in_proj_bias" not in name] == []


def test_padding_has_no_say() -> None:
    method, batch = make().eval(), batch_of(World(num=1))
    mean = method.loss(batch)["classes"]
    longer = torch.cat([batch.features, torch.full((1, 5, DIM), 9.0)], dim=1)
    masks = torch.nn.functional.pad(batch.instances[0].masks, (0, 5))
    instances = (Instances(masks, *batch.instances[0][1:]),)
    valid = torch.arange(37)[None] < 32
    padded = Batch(longer, batch.texts, batch.names, instances, batch.videos, valid)
    torch.testing.assert_close(method.loss(padded)["classes"], mean, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("settings", [{"fusion": "late"}, {"time_axis": "window"}])
def test_settings_of_moments_are_refused(settings: dict) -> None:
    with pytest.raises(ConfigError, match="whole clips"):
        make(**settings)


def test_it_answers_nothing() -> None:
    method, world = make(), World(num=1)
    with pytest.raises(ConfigError, match="openmoment train unloc ... --init DIR"):
        method.answer(world.snippets(0), world.queries)
    with pytest.raises(ConfigError, match="finds no moments yet"):
        method.told({})


# the clips -----------------------------------------------------------------------------------


def test_a_folder_of_folders(clips: Path) -> None:
    (clips / ".hidden").mkdir()
    (clips / "readme.txt").touch()
    found = find_clips(clips, are_features=True, left_out=["yoga"])
    assert found.classes == tuple(sorted(set(CLASSES) - {"yoga"}))
    assert (len(found.paths), found.left_out) == (30, ("yoga",))
    assert found.labels["pole vault/3.safetensors"] == "pole vault"
    assert found.paths["LongJump/0.safetensors"] == clips / "LongJump" / "0.safetensors"


def test_a_folder_that_is_none_of_that(clips: Path, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no such folder"):
        find_clips(tmp_path / "nowhere", are_features=True)
    with pytest.raises(FormatError, match="Expected one for each class"):
        find_clips(clips / "yoga", are_features=True)
    with pytest.raises(VideoError, match="LongJump: no video"):
        find_clips(clips, are_features=False)
    with pytest.raises(UnknownNameError, match="Did you mean 'yoga'"):
        find_clips(clips, are_features=True, left_out=["yogaa"])
    (clips / "pole_vault").mkdir()
    with pytest.raises(FormatError, match="'pole vault' and 'pole_vault' are both"):
        find_clips(clips, are_features=True)
    (clips / "pole_vault").rename(clips / "empty")
    with pytest.raises(FeatureError, match="empty: no feature file"):
        find_clips(clips, are_features=True)


def test_a_clip_is_one_piece_that_shows_its_class_throughout(clips: Path) -> None:
    encoder = FakeEncoder(dim_in=12)
    method = UnLoc(UnLocConfig(task="clips", length=8), encoder.space, Widths(8, 8))
    shown = {"short": clip("yoga", seed=0, frames=5), "long": clip("yoga", seed=1, frames=90)}
    queries = encode_queries(SAID, encoder, None)
    data = ClipData({"short": 5, "long": 1}, shown.__getitem__, method, queries=queries)
    order = data.order(0)
    batch = data.batch(order, 0)
    assert len(data) == 2 and batch.features.shape == (2, 8, 8) and batch.valid is None
    for where, (masks, labels, positions) in zip(order, batch.instances, strict=True):
        assert masks.all() and masks.shape == (1, 8)
        assert labels.tolist() == [{"short": 5, "long": 1}[where.video]]
        assert positions.tolist() == [[0.0, 8.0]]


# learning ------------------------------------------------------------------------------------


def test_clips_are_told_apart_by_their_names(clips: Path, backbone: FakeEncoder) -> None:
    out = clips.parent / "out"
    asked = ["pretrain", "unloc", "--features", clips, "--out", out, *SMALL]
    done = run(*asked, "--unseen", "yoga", "epochs=25", "batch_size=6", "lr=2e-3")
    assert done.exit_code == 0, (done.output, done.exception)
    assert done.stdout == f"openmoment train unloc --init {out} ...\n"
    card = read_card(out)
    assert (card.dataset, card.num_videos, card.steps) == ("clips", 30, 125)
    assert set(card.seen) == set(CLASSES) - {"yoga"} and card.unseen == ("yoga",)
    assert "Long Jump" in backbone.texts and "brushing teeth" in backbone.texts
    rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    first, last = (np.mean([row["classes"] for row in part]) for part in (rows[:5], rows[-5:]))
    assert last < first / 5

    method = load_checkpoint(out, backbone.space)
    assert isinstance(method, UnLoc)
    texts = torch.from_numpy(backbone.encode_text(SAID))
    moved = texts.roll(1, dims=0)
    right = wrong = 0
    for k, said in enumerate(SAID):  # the last of which it never met
        for i in range(4):
            shown = clip(said, seed=1000 + 10 * k + i)
            right += relevance(method, shown, texts).argmax() == k
            wrong += relevance(method, shown, moved).argmax() == k
    assert right >= 22 and wrong <= 2


def test_a_stopped_run_goes_on_and_a_finished_one_is_left(
    clips: Path, backbone: FakeEncoder
) -> None:
    out = clips.parent / "out"
    asked = ["pretrain", "unloc", "--features", clips, "--out", out, *QUICK]
    assert run(*asked).exit_code == 0
    assert "is not empty" in refusal(*asked)
    assert "finished already" in run(*asked, "--resume").stderr
    assert "epochs was 1, now 2" in refusal(*asked, "--resume", "epochs=2")
    (out / "card.json").unlink()
    assert "layers was 2, now 3" in refusal(*asked, "--resume", "layers=3")
    assert run(*asked, "--resume").exit_code == 0


# to begin with -------------------------------------------------------------------------------


@pytest.fixture
def pretrained(clips: Path, backbone: FakeEncoder) -> Path:
    out = clips.parent / "pretrained"
    done = run("pretrain", "unloc", "--features", clips, "--out", out, *QUICK)
    assert done.exit_code == 0, (done.output, done.exception)
    return out


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A video of each class of THUMOS14 to train on, one more to test on, and features."""
    (tmp_path / "features").mkdir()
    database = {}
    names = class_names("thumos14")
    for i, name in enumerate(names):
        video = f"video_validation_{i:07}"
        moment = {"segment": [2.0, 6.0], "label": name}
        database[video] = {"subset": "Validation", "duration": 10.0, "annotations": [moment]}
    one = f"video_validation_{names.index('PoleVault'):07}"
    database["video_test_0000001"] = database[one] | {"subset": "Test"}
    for i, video in enumerate(database):
        write_features(clip("a film", seed=i), tmp_path / "features" / f"{video}.safetensors")
    (tmp_path / "thumos14.json").write_text(json.dumps({"database": database}))
    return tmp_path


def training(root: Path, *more: object, method: str = "unloc") -> list[object]:
    places = ["--root", root, "--features", root / "features", "--out", root / "out"]
    return ["train", method, "--dataset", "thumos14", *places, *QUICK, "levels=2", *more]


def test_weights_are_taken_wherever_they_fit(pretrained: Path, backbone: FakeEncoder) -> None:
    card = read_card(pretrained)
    config = UnLocConfig(width=32, heads=4, inner=64, layers=3, length=8)
    torch.manual_seed(5)
    method = UnLoc(config, backbone.space, Widths(8, 8))
    before = {name: tensor.clone() for name, tensor in method.state_dict().items()}
    given = load_checkpoint(pretrained, backbone.space).state_dict()
    told: list[str] = []
    begun = begin_from(pretrained, method, card, told.append)
    after = method.state_dict()
    for name, tensor in after.items():
        expected = given if name in given else before
        assert torch.equal(tensor, expected[name]), name
    taken = {name for name in after if name in given}
    assert {name.split(".")[0] for name in taken} == {"fusion", "enter_video", "enter_text", "cue"}
    assert not any(name.startswith("fusion.layers.2") for name in taken)
    num, of = (sum(after[n].numel() for n in names) for names in (taken, after))
    assert told == [f"unloc: {num:,} of {of:,} parameters are from {pretrained}."]
    assert (begun.init, begun.met) == (str(pretrained), card.seen)


def test_a_training_begins_with_it_and_says_so(pretrained: Path, root: Path) -> None:
    done = run(*training(root, "--init", pretrained))
    assert done.exit_code == 0, (done.output, done.exception)
    assert f"parameters are from {pretrained}." in done.stderr
    card = read_card(root / "out")
    assert card.init == str(pretrained) and set(card.met) == set(CLASSES)
    assert "finished already" in run(*training(root, "--init", pretrained, "--resume")).stderr
    assert f"began with {pretrained}. Ask as before" in refusal(*training(root, "--resume"))


def test_classes_that_it_met_are_not_unseen(pretrained: Path, root: Path) -> None:
    line = refusal(*training(root, "--init", pretrained, "--unseen", "LongJump,Diving"))
    assert f"{pretrained}: was trained on 'LongJump', which is to be unseen here" in line
    line = refusal(*training(root, "--init", pretrained, "--unseen", "PoleVault"))
    assert "'PoleVault'" in line  # there it is called pole vault
    done = run(*training(root, "--init", pretrained, "--unseen", "Diving"))
    assert done.exit_code == 0, done.output
    places = ["--root", root, "--features", root / "features", "--dataset", "thumos14"]
    asked = ["evaluate", "--checkpoint", root / "out", *places]
    line = refusal(*asked, "--unseen", "PoleVault", "--allow-missing")
    assert "was trained on 'PoleVault', which is to be unseen here" in line


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["width=64"], "has width=32, asked for width=64"),
        (["heads=2"], "has heads=4, asked for heads=2"),
        (["features=own", "tied_entry=false", "similarity_cue=false"], "8 wide, got fake, 12 wide"),
        (["task=clips"], "task=clips is for whole clips: openmoment pretrain unloc"),
    ],
)
def test_other_networks_do_not_begin_with_it(
    pretrained: Path, root: Path, more: list[str], says: str
) -> None:
    assert says in refusal(*training(root, "--init", pretrained, *more))


def test_other_methods_and_backbones_do_not_begin_with_it(
    pretrained: Path, root: Path, backbone: FakeEncoder
) -> None:
    settings = ["heads=4", "length=8", "epochs=1"]
    asked = training(root, "--init", pretrained, method="contrans")
    line = refusal(*[a for a in asked if a not in (*QUICK, "levels=2")], *settings)
    assert "is a checkpoint of unloc, not of contrans" in line
    assert "no such folder" in refusal(*training(root, "--init", root / "nowhere"))
    backbone.fingerprint = "fake-2"
    for path in (root / "features").iterdir():
        made = clip("a film", seed=0)
        recipe = Recipe("fake", "fake-2", 2.0, "")
        write_features(Snippets(made.features, made.grid, recipe, made.duration_s), path)
    line = refusal(*training(root, "--init", pretrained))
    assert "was trained with the backbone fake (fingerprint fake-1), got fake (fake-2)" in line


def test_what_cannot_be_asked_is_refused(clips: Path, pretrained: Path) -> None:
    asked = ["pretrain", "unloc", "--out", clips.parent / "b", *QUICK]
    assert "Say where the clips are" in refusal(*asked)
    assert "Say where the clips are" in refusal(*asked, "--clips", clips, "--features", clips)
    assert "LongJump: no video" in refusal(*asked, "--clips", clips)
    assert "give videos, --clips" in refusal(*asked, "--features", clips, "tune_image=true")
    assert "task=mr is trained on a dataset" in refusal(*asked, "--features", clips, "task=mr")
    line = refusal("pretrain", "contrans", "--features", clips, "--out", clips.parent / "b")
    assert "contrans cannot learn from whole clips. Methods that can: unloc." in line
    video = clips.parent / "video.mp4"
    video.write_bytes(b"x")
    line = refusal("find", video, "a dog", "--checkpoint", pretrained)
    assert "finds no moments yet" in line


def test_videos_are_encoded_once(clips: Path, backbone: FakeEncoder) -> None:
    folder = clips.parent / "videos"
    for name in CLASSES[:3]:
        (folder / name).mkdir(parents=True)
        for i in range(2):
            (folder / name / f"{i}.mp4").write_bytes(f"{name} {i}".encode())
    (folder / "ignored.mp4").touch()
    asked = ["pretrain", "unloc", "--clips", folder, *QUICK]
    for out in ("a", "b"):
        assert run(*asked, "--out", clips.parent / out).exit_code == 0
    assert len(backbone.encoded) == 6
    assert read_card(clips.parent / "a").num_videos == 6
    (folder / "LongJump" / "2.mp4").write_bytes(b"broken")
    assert "2.mp4: damaged" in refusal(*asked, "--out", clips.parent / "c")


@pytest.mark.data
def test_real_clips(data_root: Path, tmp_path: Path) -> None:
    with (data_root / "clips.csv").open() as file:
        rows = [r for r in csv.DictReader(file) if r["path"].startswith("clips/ucf101/")]
    names = ("Archery", "BalanceBeam", "BaseballPitch")
    for name in names:
        (tmp_path / "clips" / name).mkdir(parents=True)
        mine = sorted((float(r["duration_s"]), r["path"]) for r in rows if r["label"] == name)
        for _, path in mine[:2]:
            source = data_root / path
            (tmp_path / "clips" / name / source.name).symlink_to(source)
    out = tmp_path / "out"
    asked = ["pretrain", "unloc", "--clips", tmp_path / "clips", "--out", out, *SMALL]
    done = run(*asked, "--backbone", "embedded", "epochs=10", "batch_size=6", "lr=1e-3")
    assert done.exit_code == 0, (done.output, done.exception)
    card = read_card(out)
    assert (card.seen, card.num_videos, card.backbone) == (names, 6, "embedded")
    lines = (out / "log.jsonl").read_text().splitlines()
    losses = [json.loads(line)["classes"] for line in lines]
    assert losses[-1] < losses[0] / 2


def test_a_tuned_image_tower_is_only_begun_with_where_it_is_seen_through(tmp_path: Path) -> None:
    declare_missing()
    pytest.importorskip("open_clip")
    from small_models import CLIP, save_model
    from videos import make_video

    model = save_model(tmp_path / "small", CLIP)
    for name in ("waving", "bowing"):
        (tmp_path / "clips" / name).mkdir(parents=True)
        make_video(tmp_path / "clips" / name / "clip.mp4", seconds=2.0, fps=8, width=64, height=48)
    out = tmp_path / "out"
    asked = ["pretrain", "unloc", "--clips", tmp_path / "clips", "--out", out, *QUICK]
    done = run(*asked, "--backbone", model, "tune_image=true")
    assert done.exit_code == 0, (done.output, done.exception)
    card = read_card(out)
    assert (card.num_videos, card.seen) == (2, ("bowing", "waving"))
    encoder = encoders.load_encoder(str(model))
    given = load_checkpoint(out, encoder.space)
    own = {f"image.{name}": value for name, value in encoder.image_tower.named_parameters()}
    tuned = dict(given.named_parameters())
    assert not torch.equal(tuned["image.visual.conv1.weight"], own["image.visual.conv1.weight"])
    with pytest.raises(ConfigError, match="an image tower that it tuned itself"):
        begin_from(out, make_beside(given, tune_image=False), card)
    begun = make_beside(given, tune_image=True)
    begin_from(out, begun, card)
    mine = dict(begun.named_parameters())
    assert all(torch.equal(mine[name], tuned[name]) for name in own if name in mine)


def make_beside(given: UnLoc, **settings: object) -> UnLoc:
    """Fresh, for moments, as wide as another."""
    config = replace(given.config, task="tal", **settings)
    return UnLoc(config, given.space, given.widths)
