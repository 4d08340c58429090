"""Training: what a run does is decided by its settings and seed, whatever stops it on its way."""

import csv
import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tiny_method
import torch
from fakes import FakeEncoder
from safetensors.torch import load_file, save_file
from spaces import DIM, CosineSpace
from tiny_method import CARD, Tiny, TinyConfig, make_data, make_tiny, register, train_tiny
from trained_world import WORDS, World

from openmoment.blocks.batch import Batch
from openmoment.blocks.time_axis import resample
from openmoment.checkpoints.card import check_backbone, read_card
from openmoment.checkpoints.weights import load_checkpoint
from openmoment.config import from_table
from openmoment.errors import (
    ConfigError,
    FeatureError,
    FormatError,
    MissingExtraError,
    RecipeError,
    TrainingError,
)
from openmoment.training.config import TrainConfig, divide_settings
from openmoment.training.data import Steps, ahead
from openmoment.training.processes import start_processes
from openmoment.training.state import STATE
from openmoment.types import Snippets

PROGRAM = Path(tiny_method.__file__)
TIMINGS = ("step_s", "loader_share")


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch)


def rows_of(folder: Path) -> list[dict]:
    """The log without what a clock decides."""
    lines = (folder / "log.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in TIMINGS} for line in lines]


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


# settings ----------------------------------------------------------------------------------------


def test_the_learning_rate_is_a_function_of_the_step() -> None:
    def rates(**settings) -> list[float]:
        config = TrainConfig(lr=1.0, **settings)
        return [config.rate(step, epoch_steps=2, num_steps=8) for step in range(8)]

    assert rates() == [1.0] * 8
    stepped = rates(schedule="step", step_epochs=2, step_factor=0.5)
    assert stepped == [1.0] * 4 + [0.5] * 4
    cosine = [(1 + math.cos(math.pi * step / 8)) / 2 for step in range(8)]
    assert rates(schedule="cosine") == pytest.approx(cosine)
    assert rates(warmup_steps=3) == [0.25, 0.5, 0.75, 1, 1, 1, 1, 1]
    assert (
        rates(warmup_share=0.375)
        == rates(warmup_steps=3)
        == rates(warmup_steps=3, warmup_share=0.2)
    )
    assert rates(warmup_steps=1, warmup_share=0.375) == rates(warmup_steps=3)  # the longer
    falling = [(8 - step) / 8 for step in range(8)]
    assert rates(schedule="linear") == pytest.approx(falling)
    warm = [1 / 3, 2 / 3, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]
    assert rates(schedule="linear", warmup_share=0.25) == pytest.approx(warm)


@pytest.mark.parametrize("name", ["lr", "epochs", "batch_size", "checkpoint_steps"])
def test_impossible_settings_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} must be positive, got 0"):
        from_table(TrainConfig, {name: 0}, where="training")


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_a_warmup_is_a_part_of_the_steps(share: float) -> None:
    with pytest.raises(ConfigError, match=r"warmup_share must lie in \[0, 1\)"):
        from_table(TrainConfig, {"warmup_share": share}, where="training")


def test_a_setting_is_the_methods_or_of_training() -> None:
    assert divide_settings(TinyConfig, {"dropout": "0", "lr": "1"}) == (
        {"dropout": "0"},
        {"lr": "1"},
    )
    with pytest.raises(ConfigError, match=r"'batchsize'. Did you mean 'batch_size'\?"):
        divide_settings(TinyConfig, {"batchsize": "2"})


# data --------------------------------------------------------------------------------------------


def videos_of(data, *, batch_size: int, num: int = 1) -> list[list[tuple[str, ...]]]:
    """Per step, each process's videos."""
    all_steps = [Steps(data, batch_size=batch_size, epochs=2, index=i, num=num) for i in range(num)]
    return [[steps.batch(step).videos for steps in all_steps] for step in range(len(all_steps[0]))]


@pytest.mark.parametrize(
    ("num_videos", "batch_size", "num", "sizes"),
    [
        (8, 4, 1, [4, 4]),
        (10, 4, 1, [4, 4, 2]),
        (9, 4, 1, [4, 4]),  # a single piece is left out
        (1, 4, 1, [1]),
        (3, 1, 1, [1, 1, 1]),
        (8, 4, 2, [4, 4]),
        (7, 4, 2, [4, 2]),  # three cannot be shared by two
        (6, 4, 4, [4]),
    ],
)
def test_processes_share_every_batch(
    num_videos: int, batch_size: int, num: int, sizes: list[int]
) -> None:
    data = make_data(make_tiny(), num=num_videos, seed=3)
    shared = videos_of(data, batch_size=batch_size, num=num)
    assert [sum(map(len, step)) for step in shared] == 2 * sizes
    assert all(len({len(part) for part in step}) == 1 for step in shared)
    whole = [sum(step, ()) for step in shared]
    for epoch in (whole[: len(sizes)], whole[len(sizes) :]):
        assert len(set(sum(epoch, ()))) == sum(sizes)
    if num == 1:
        order = [where.video for where in data.order(0)]
        assert list(sum(whole[: len(sizes)], ())) == order[: sum(sizes)]


def test_batches_that_cannot_be_shared_are_refused() -> None:
    data = make_data(make_tiny(), num=3)
    with pytest.raises(TrainingError, match="batch_size 3 cannot be shared equally by 2"):
        Steps(data, batch_size=3, epochs=1, num=2)
    with pytest.raises(TrainingError, match="3 pieces of video are too few for 4 processes"):
        Steps(data, batch_size=4, epochs=1, num=4)


def test_epochs_have_their_own_order_and_the_seed_decides_it() -> None:
    method = make_tiny()
    one, same, other = (make_data(method, seed=seed) for seed in (0, 0, 1))
    assert one.order(0) == same.order(0)
    assert one.order(0) != one.order(1)
    assert one.order(0) != other.order(0)


@pytest.mark.parametrize("kind", ["rescale", "window"])
def test_a_batch_holds_what_the_axis_shows(kind: str) -> None:
    """Against a literal reading, with and without room to keep anything."""
    method = make_tiny(time_axis=kind, length=10)
    world = World(4)
    data, forgetful = (make_data(method, num=4, memory_bytes=size) for size in (1 << 30, 0))
    assert len(data) == (4 if kind == "rescale" else 16)  # 32 snippets: four windows of ten
    for epoch in (0, 1):
        wheres = data.order(epoch)
        batch, again = data.batch(wheres, epoch), forgetful.batch(wheres, epoch)
        assert torch.equal(batch.features, again.features)
        for where, features, found, other in zip(
            wheres, batch.features, batch.instances, again.instances, strict=True
        ):
            assert all(torch.equal(a, b) for a, b in zip(found, other, strict=True))
            i = int(where.video.split()[1])
            true, snippets = world.truth(i), world.snippets(i)
            if kind == "rescale":
                (grid,) = method.config.axis.pieces(snippets.grid)
                rows = resample(snippets.features, snippets.grid, grid)
                np.testing.assert_array_equal(features.numpy(), rows.astype(np.float32))
                assert found.labels.tolist() == true.labels.tolist()
            else:
                assert len(found.labels) >= 1  # a window is around an instance
    assert batch.names == WORDS
    if kind == "window":
        first, second = (data.batch(sorted(wheres), epoch).features for epoch in (0, 1))
        assert not torch.equal(first, second)


def test_labels_are_those_of_the_seen_classes() -> None:
    world = World(4)
    names = ("unseen", *WORDS[::-1])
    videos = {
        f"video {i}": replace(
            world.truth(i), labels=len(WORDS) - world.truth(i).labels, names=names
        )
        for i in range(4)
    }
    data, plain = make_data(make_tiny(), num=4, videos=videos), make_data(make_tiny(), num=4)
    wheres = data.order(0)
    for a, b in zip(data.batch(wheres, 0).instances, plain.batch(wheres, 0).instances, strict=True):
        assert torch.equal(a.labels, b.labels)


def test_what_cannot_be_trained_on_is_named_first() -> None:
    world, method = World(4), make_tiny()
    with pytest.raises(TrainingError, match="No training video"):
        make_data(method, videos={})
    empty = World(4, empty=True)
    videos = {f"video {i}": empty.truth(i) for i in range(4)}
    with pytest.raises(TrainingError, match="'video 3' has no instance of a seen class"):
        make_data(method, videos=videos)
    late = {"video 0": replace(world.truth(0), segments=world.truth(0).segments + 100)}
    with pytest.raises(TrainingError, match="'video 0' shows no annotated instance.* 16 s"):
        make_data(method, videos=late)

    def load(video: str) -> Snippets:
        snippets = world.snippets(0)
        return replace(snippets, features=snippets.features[:, : DIM - int(video[-1])])

    with pytest.raises(FeatureError, match="'video 0' and 'video 1' are 64 and 63 wide"):
        make_data(method, num=2, load=load)


def test_batches_are_made_ahead_and_faults_come_through() -> None:
    made: list[int] = []

    def make(step: int) -> int:
        made.append(step)
        if step == 5:
            raise FeatureError("torn")
        return step

    batches = ahead(make, range(3, 9))
    assert next(batches)[0] == 3
    time.sleep(0.05)
    assert made == [3, 4, 5]
    assert next(batches)[0] == 4
    with pytest.raises(FeatureError, match="torn"):
        next(batches)


# a run -------------------------------------------------------------------------------------------


def test_a_run_learns_and_leaves_a_checkpoint(tmp_path: Path) -> None:
    heard = []
    card, method = train_tiny(tmp_path / "a", hear=heard.append)
    rows = rows_of(tmp_path / "a")
    assert [row["step"] for row in rows] == list(range(1, 19))  # 6 epochs of 3 steps
    assert [row["epoch"] for row in rows] == [1 + i // 3 for i in range(18)]
    assert rows[-1]["total"] < 0.7 * rows[0]["total"]
    assert rows[0]["total"] == pytest.approx(rows[0]["class"] + rows[0]["mask"])
    with (tmp_path / "a" / "log.csv").open() as file:
        table = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]
    assert table == [
        json.loads(line) for line in (tmp_path / "a/log.jsonl").read_text().splitlines()
    ]
    assert all(0 <= row["loader_share"] <= 1 and row["step_s"] > 0 for row in table)
    assert [h.step for h in heard] == list(range(1, 19))
    assert [h.step for h in heard if h.ends_epoch] == [3, 6, 9, 12, 15, 18]
    assert heard[-1].seconds_left == 0
    assert {path.name for path in (tmp_path / "a").iterdir()} == {
        "model.safetensors",
        "config.toml",
        "card.json",
        "log.jsonl",
        "log.csv",
    }
    assert read_card(tmp_path / "a") == card
    assert (card.steps, card.epochs, card.seed, card.loss) == (18, 6, 1, heard[-1].loss)
    loaded = load_checkpoint(tmp_path / "a", CosineSpace())
    assert loaded.config == method.config and not loaded.training
    world = World(1)
    a, b = (m.localize(world.snippets(0), world.queries) for m in (loaded, method))
    np.testing.assert_array_equal(a.scores, b.scores)


def test_the_seed_decides_a_run(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train_tiny(tmp_path / name, given={"seed": seed, "epochs": 1})
    assert weights(tmp_path / "a") == weights(tmp_path / "b")
    assert weights(tmp_path / "a") != weights(tmp_path / "c")
    assert rows_of(tmp_path / "a") == rows_of(tmp_path / "b")


def test_rates_of_groups_and_clipping_reach_the_optimizer(tmp_path: Path) -> None:
    """Plain SGD, literally: each group's step is its rate times the clipped gradient."""
    sgd = {"optimizer": "sgd", "momentum": 0, "lr": 0.1, "epochs": 1, "batch_size": 10}
    start = make_tiny().state_dict()
    (_, free), (_, clipped) = (
        train_tiny(tmp_path / name, given=sgd | {"dropout": 0, "clip": clip})
        for name, clip in (("a", 0), ("b", 0.1))
    )
    method = make_tiny(dropout=0)
    data = make_data(method, seed=1)
    sum(method.loss(data.batch(data.order(0), 0)).values()).backward()
    norm = math.sqrt(sum(float(p.grad.square().sum()) for p in method.parameters()))
    assert rows_of(tmp_path / "a")[0]["grad_norm"] == pytest.approx(norm)
    for trained, share in ((free, 1.0), (clipped, 0.1 / norm)):
        for name, parameter in method.named_parameters():
            rate = 0.05 if name.startswith("mask") else 0.1
            expected = start[name] - rate * share * parameter.grad
            torch.testing.assert_close(trained.state_dict()[name], expected)


def test_rows_can_be_of_every_few_steps(tmp_path: Path) -> None:
    train_tiny(tmp_path / "a", given={"log_steps": 4})
    assert [row["step"] for row in rows_of(tmp_path / "a")] == [4, 8, 12, 16]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_names_term_and_videos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    right = Tiny.loss
    losses = iter([1.0, 1.0, 1.0, value])

    def loss(self: Tiny, batch: Batch) -> dict[str, torch.Tensor]:
        terms = right(self, batch)
        return terms | {"mask": terms["mask"] * next(losses)}

    monkeypatch.setattr(Tiny, "loss", loss)
    first = make_data(make_tiny(), seed=1).order(1)[0].video  # of the second epoch
    with pytest.raises(TrainingError, match=f"Step 4: mask is {value}, in a batch of {first}, "):
        train_tiny(tmp_path / "a")
    assert not (tmp_path / "a" / "card.json").exists()


def test_a_gradient_that_is_no_number_is_told_before_it_is_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loss(self: Tiny, batch: Batch) -> dict[str, torch.Tensor]:
        return {"flat": (0 * self.mask.weight).sum().sqrt()}  # 0, with the slope of a wall

    monkeypatch.setattr(Tiny, "loss", loss)
    with pytest.raises(TrainingError, match="Step 1: gradient is nan, in a batch of video"):
        train_tiny(tmp_path / "a")


# stopping and going on ---------------------------------------------------------------------------


def stopped(folder: Path, *, after: int, **given: object) -> None:
    """A run that Ctrl-C stops."""

    def hear(heard) -> None:
        if heard.step == after - 1:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt, match=f"after step {after} of .*--resume"):
        train_tiny(folder, given=given, hear=hear)


@pytest.mark.parametrize(
    "given",
    [
        {"optimizer": "adam", "schedule": "step", "step_epochs": 2},
        {"optimizer": "adamw", "weight_decay": 0.1, "schedule": "cosine"},
        {"optimizer": "sgd", "warmup_steps": 5},
        {"time_axis": "window", "length": 10},
    ],
    ids=lambda given: str(next(iter(given.values()))),
)
def test_a_stopped_run_ends_as_if_it_had_not_been(tmp_path: Path, given: dict) -> None:
    train_tiny(tmp_path / "whole", given=given)
    stopped(tmp_path / "parts", after=5, **given)
    assert (tmp_path / "parts" / STATE).is_file()
    stopped(tmp_path / "parts", after=11, **given)
    train_tiny(tmp_path / "parts", given=given)
    assert weights(tmp_path / "whole") == weights(tmp_path / "parts")
    assert rows_of(tmp_path / "whole") == rows_of(tmp_path / "parts")
    assert not (tmp_path / "parts" / STATE).parent.exists()


def test_a_killed_run_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    """SIGKILL at a random moment, with dropout, until it is done."""
    given = ["pause_s=0.01", "dropout=0.3", "epochs=20"]
    subprocess.run([sys.executable, PROGRAM, tmp_path / "whole", *given], check=True)
    kills = 0
    log = tmp_path / "parts" / "log.jsonl"
    for target in (random.randrange(1, 20), random.randrange(25, 50)):
        process = subprocess.Popen([sys.executable, PROGRAM, tmp_path / "parts", *given])
        while not log.is_file() or log.read_text().count("\n") < target:
            assert process.poll() is None
            time.sleep(0.002)
        process.kill()
        process.wait()
        kills += not (tmp_path / "parts" / "card.json").exists()
    assert kills == 2
    with log.open("a") as file:
        file.write('{"step": 9')  # as if killed in the middle of a line
    subprocess.run([sys.executable, PROGRAM, tmp_path / "parts", *given], check=True)
    assert weights(tmp_path / "whole") == weights(tmp_path / "parts")
    assert rows_of(tmp_path / "whole") == rows_of(tmp_path / "parts")


def test_a_run_killed_before_its_card_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All steps are done and saved; only the checkpoint is missing."""
    train_tiny(tmp_path / "whole", given={"epochs": 2})

    def fail(*_: object) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="no space"):
        patch.setattr("openmoment.training.state.write_checkpoint", fail)
        train_tiny(tmp_path / "parts", given={"epochs": 2})
    card, _ = train_tiny(tmp_path / "parts", given={"epochs": 2})
    assert weights(tmp_path / "whole") == weights(tmp_path / "parts")
    assert card.loss == read_card(tmp_path / "whole").loss


def test_going_on_otherwise_is_refused_with_the_difference(tmp_path: Path) -> None:
    stopped(tmp_path / "a", after=4)
    for given, says in (
        ({"lr": 1e-3}, "lr was 0.01, now 0.001"),
        ({"dropout": 0.2}, "dropout was 0.1, now 0.2"),
        ({"word": "x"}, "word was None, now x"),
    ):
        with pytest.raises(TrainingError, match=says):
            train_tiny(tmp_path / "a", given=given)
    other = replace(CARD, fingerprint="1", seen=WORDS[:2])
    with pytest.raises(TrainingError, match="fingerprint was 0, now 1; seen was word 0, word 1, "):
        train_tiny(tmp_path / "a", card=other)


def test_a_damaged_state_is_named(tmp_path: Path) -> None:
    stopped(tmp_path / "a", after=4)
    (tmp_path / "a" / STATE).write_bytes(b"half a file")
    with pytest.raises(FormatError, match=r"state.safetensors: is damaged"):
        train_tiny(tmp_path / "a")


# checkpoints -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    train_tiny(folder, given={"epochs": 1})
    return folder


@pytest.fixture
def copy(checkpoint: Path, tmp_path: Path) -> Path:
    """Of a checkpoint, to be damaged."""
    for path in checkpoint.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def test_what_is_no_checkpoint_is_refused(copy: Path, tmp_path: Path) -> None:
    for name, says in (
        ("card.json", "not a checkpoint, or training is not finished"),
        ("config.toml", "config.toml: cannot be read"),
        ("model.safetensors", "model.safetensors: no such file"),
    ):
        content = (copy / name).read_bytes()
        (copy / name).unlink()
        with pytest.raises(FormatError, match=says):
            load_checkpoint(copy, CosineSpace())
        (copy / name).write_bytes(content)
    with pytest.raises(FormatError, match="no such folder"):
        load_checkpoint(copy / "nowhere", CosineSpace())


def test_damaged_checkpoints_are_refused_by_place(copy: Path) -> None:
    for name, old, new, says in (
        ("card.json", "checkpoint/1", "checkpoint/9", "schema: expected 'openmoment-checkpoint/1'"),
        ("card.json", '"seen"', '"sean"', "field 'sean' is not one"),
        ("config.toml", "dropout", "dropuot", "Did you mean 'dropout'"),
        ("config.toml", 'method = "tiny"', 'method = "stale"', "is of stale, card.json of tiny"),
        ("config.toml", "[settings]", "[settings", "is not TOML"),
    ):
        text = (copy / name).read_text()
        assert old in text
        (copy / name).write_text(text.replace(old, new))
        with pytest.raises((FormatError, ConfigError), match=says):
            load_checkpoint(copy, CosineSpace())
        (copy / name).write_text(text)
    model = copy / "model.safetensors"
    content = model.read_bytes()
    model.write_bytes(content[:-7])
    with pytest.raises(FormatError, match=r"model.safetensors: is damaged"):
        load_checkpoint(copy, CosineSpace())
    model.write_bytes(content)
    tensors = load_file(model)
    tensors["enter.bias"], tensors["other"] = tensors["enter.bias"][:3], tensors.pop("mask.bias")
    save_file(tensors, model)
    with pytest.raises(
        FormatError,
        match=r"enter.bias is \[3\], expected \[64\]; mask.bias is missing; other is not in",
    ):
        load_checkpoint(copy, CosineSpace())


def test_a_backbone_that_was_not_trained_with_is_refused_by_name(checkpoint: Path) -> None:
    card = read_card(checkpoint)
    check_backbone(card, FakeEncoder(fingerprint="0"))
    with pytest.raises(RecipeError, match=r"made up \(fingerprint 0\), got fake \(1\)"):
        check_backbone(card, FakeEncoder(fingerprint="1"))


# logs, devices, processes ------------------------------------------------------------------------


def test_tensorboard_hears_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[tuple] = []

    class SummaryWriter:
        def __init__(self, folder: str, purge_step: int) -> None:
            written.append((Path(folder).name, purge_step))

        def add_scalar(self, name: str, value: float, step: int) -> None:
            written.append((name, value, step))

        def close(self) -> None:
            written.append(("closed",))

    stub = SimpleNamespace(SummaryWriter=SummaryWriter)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", stub)
    train_tiny(tmp_path / "a", given={"epochs": 1}, tensorboard=True)
    assert written[0] == ("tensorboard", 1)
    assert written[-1] == ("closed",)
    totals = [(value, step) for name, value, step in written[1:-1] if name == "total"]
    assert totals == [(row["total"], row["step"]) for row in rows_of(tmp_path / "a")]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingExtraError, match=r"openmoment\[tensorboard\]"):
        train_tiny(tmp_path / "b", tensorboard=True)


def test_devices_and_precisions_that_are_not_there() -> None:
    with pytest.raises(ConfigError, match="--device warp: not a device"):
        start_processes("warp")
    with pytest.raises(ConfigError, match="fp16 needs a GPU"):
        start_processes("cpu", "fp16")


def launch(num: int, out: Path, *given: str) -> None:
    """As torchrun starts it."""
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(num)]
    subprocess.run(
        [sys.executable, *command, PROGRAM, out, *given],
        check=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stderr=subprocess.DEVNULL,
    )


def test_two_processes_learn_what_one_does(tmp_path: Path) -> None:
    train_tiny(tmp_path / "one", given={"dropout": 0})
    launch(2, tmp_path / "two", "dropout=0")
    one, two = (load_file(tmp_path / n / "model.safetensors") for n in ("one", "two"))
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, atol=1e-5, rtol=1e-4)
    for a, b in zip(rows_of(tmp_path / "one"), rows_of(tmp_path / "two"), strict=True):
        assert b == pytest.approx(a, rel=1e-4)
    assert read_card(tmp_path / "two").num_processes == 2


def test_half_precision_learns_too(tmp_path: Path) -> None:
    command = [sys.executable, PROGRAM, tmp_path / "a", "precision=bf16"]
    subprocess.run(command, check=True)
    rows = rows_of(tmp_path / "a")
    assert rows[-1]["total"] < 0.7 * rows[0]["total"]
    assert all(
        t.dtype == torch.float32 for t in load_file(tmp_path / "a/model.safetensors").values()
    )
