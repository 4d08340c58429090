"""The smallest method that can be trained, and a run of it, also as a program.

python tests/given/tiny_method.py OUT [KEY=VALUE]...
"""

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from spaces import DIM, CosineSpace
from torch import nn
from trained_world import WORDS, World

from openmoment.blocks.batch import Batch
from openmoment.blocks.losses import bce, class_cross_entropy
from openmoment.blocks.mask_decoder import Candidates, decode
from openmoment.checkpoints.card import TrainingCard
from openmoment.config import from_table, parse_assignments
from openmoment.methods import METHODS
from openmoment.methods.trained import MaskedConfig, ParameterGroup, Trained, Widths
from openmoment.training.config import TrainConfig, divide_settings
from openmoment.training.data import TrainingData
from openmoment.training.loop import train
from openmoment.training.processes import start_processes

TRAINING = {"lr": 1e-2, "epochs": 6, "checkpoint_steps": 3, "seed": 1}


@dataclass(frozen=True)
class TinyConfig(MaskedConfig):
    length: int = 16
    dropout: float = 0.1
    pause_s: float = 0.0  # of a step
    word: str | None = None


class Tiny(Trained):
    """One layer for all."""

    Config = TinyConfig

    def __init__(self, config: TinyConfig, space, widths: Widths) -> None:
        super().__init__(config, space, widths)
        self.enter = nn.Linear(widths.video, widths.text)
        self.drop = nn.Dropout(config.dropout)
        self.mask = nn.Linear(widths.text, 1)

    def predict(self, features, texts):
        x = self.drop(self.enter(features).tanh())
        logits = torch.einsum("btd,kd->bkt", x, texts)
        return torch.cat([logits, 0 * logits[:, :1]], 1), self.mask(x).squeeze(2).sigmoid()

    def loss(self, batch: Batch):
        time.sleep(self.config.pause_s)
        logits, mask = self.predict(batch.features, batch.texts)
        return {
            "class": class_cross_entropy(logits, batch.class_targets),
            "mask": bce(mask, batch.foreground).mean(),
        }

    def parameter_groups(self) -> list[ParameterGroup]:
        slow = list(self.mask.parameters())
        return [ParameterGroup(list(self.enter.parameters()), 1.0), ParameterGroup(slow, 0.5)]

    def candidates(self, features, texts) -> Iterator[tuple[np.ndarray, Candidates]]:
        logits, masks = self.predict(features, texts)
        for one, mask in zip(logits.softmax(1)[:, :-1].numpy(), masks.numpy(), strict=True):
            yield one, decode(one, mask[None], self.config)


def register(patch: pytest.MonkeyPatch) -> None:
    """Make it a method like any other, for a test."""
    patch.setitem(METHODS._targets, "tiny", "tiny_method:Tiny")


def make_tiny(**settings: object) -> Tiny:
    torch.manual_seed(0)
    config = from_table(TinyConfig, settings, where="test")
    return Tiny(config, CosineSpace(), Widths(DIM, DIM))


def make_data(method: Trained, *, num: int = 10, **given) -> TrainingData:
    """All videos of a small world."""
    world = World(num)
    videos = {f"video {i}": world.truth(i) for i in range(num)}
    given.setdefault("load", lambda video: world.snippets(int(video.split()[1])))
    given.setdefault("videos", videos)
    given.setdefault("queries", world.queries)
    return TrainingData(method=method, seen=WORDS, **given)


CARD = TrainingCard(
    method="tiny",
    widths=(DIM, DIM),
    backbone="made up",
    fingerprint="0",
    features_encoder="made up",
    features_fingerprint="0",
    fps=2.0,
    dataset="none",
    subset="train",
    setting="all",
    split="all",
    seen=WORDS,
    unseen=(),
    num_videos=10,
)


def train_tiny(out: Path, *, num: int = 10, card: TrainingCard = CARD, given=None, **loop):
    """The card, and the method, of a run with these settings of both kinds."""
    own, training = divide_settings(TinyConfig, dict(given or {}))
    config = from_table(TrainConfig, TRAINING | training, where="test")
    processes = start_processes("cpu", config.precision)
    out.mkdir(exist_ok=True)
    method = make_tiny(**own)
    data = make_data(method, num=num, seed=config.seed)
    return train(method, data, config, card, out, processes=processes, **loop), method


if __name__ == "__main__":
    torch.set_num_threads(1)
    train_tiny(Path(sys.argv[1]), given=parse_assignments(sys.argv[2:]))
