"""The state of a run that was stopped, to go on from: ``state/state.safetensors``.

Weights, optimizer and step are in one file, which is replaced as a whole. Random numbers are a
function of the step and need no state.
"""

import json
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.optim import Optimizer

from openmoment.checkpoints.card import MADE_AT_THE_END, TrainingCard, to_card
from openmoment.checkpoints.weights import (
    CONFIG,
    KEY,
    fill,
    plain,
    read_config,
    read_tensors,
    tensors_of,
    write_checkpoint,
)
from openmoment.config import from_table
from openmoment.errors import FormatError, TrainingError
from openmoment.methods.trained import Trained
from openmoment.storage.atomic import atomic_write, leftovers
from openmoment.training.config import TrainConfig, differences

STATE = Path("state") / "state.safetensors"
_METHOD, _OPTIMIZER = "method.", "optimizer."


def finish(method: Trained, card: TrainingCard, folder: Path) -> None:
    """Write the checkpoint; the state of the run is not needed any more."""
    write_checkpoint(method, card, folder)
    shutil.rmtree(folder / STATE.parent, ignore_errors=True)


@dataclass(frozen=True)
class Progressed:
    """How far a run has come."""

    step: int = 0
    """The first one that is still to do."""
    seconds: float = 0.0
    loss: dict[str, float] = field(default_factory=dict[str, float])
    """The terms of the last step done."""
    scaler: dict[str, Any] | None = None
    """Of fp16's losses."""


def save_state(
    method: Trained, optimizer: Optimizer, done: Progressed, card: TrainingCard, folder: Path
) -> None:
    """Write all that the run needs to go on after ``done.step`` steps, as one file."""
    (folder / STATE.parent).mkdir(exist_ok=True)
    tensors = {_METHOD + name: tensor for name, tensor in tensors_of(method).items()}
    for index, values in optimizer.state_dict()["state"].items():
        for name, value in values.items():
            if value is not None:
                tensors[f"{_OPTIMIZER}{index}.{name}"] = plain(torch.as_tensor(value))
    header = json.dumps({"done": asdict(done), "card": asdict(card)})
    with atomic_write(folder / STATE) as temporary:
        save_file(tensors, temporary, metadata={KEY: header})


def restore_state(
    method: Trained, optimizer: Optimizer, card: TrainingCard, folder: Path
) -> Progressed:
    """Bring a fresh method and optimizer to the saved state, if there is one.

    Raises TrainingError when the run was about something else, and says about what; FormatError
    for a damaged file.
    """
    path = folder / STATE
    if not path.is_file():
        return Progressed()
    for unfinished in leftovers(path):
        unfinished.unlink(missing_ok=True)
    tensors, text = read_tensors(path)
    try:
        header = json.loads(text)
        done = Progressed(**header["done"])
        before = to_card(header["card"], str(path))
    except (ValueError, TypeError, KeyError) as error:
        raise FormatError(f"{path}: not the state of a run ({error}).") from error
    _refuse_other_card(card, before, folder)
    weights = {n.removeprefix(_METHOD): t for n, t in tensors.items() if n.startswith(_METHOD)}
    fill(method, weights, path)
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith(_OPTIMIZER):
            index, _, key = name.removeprefix(_OPTIMIZER).partition(".")
            state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    return done


def require_same_config(name: str, own: object, config: TrainConfig, folder: Path) -> None:
    """Refuse to go on with other settings, the method's ``own`` or training's.

    Raises TrainingError, which names the difference.
    """
    if not (folder / CONFIG).is_file():
        return
    before, settings, training = read_config(folder)
    where = str(folder / CONFIG)
    found = [f"method was {before}, now {name}"] if before != name else []
    if not found:
        found += differences(own, from_table(type(own), settings, where=where))
        found += differences(config, from_table(TrainConfig, training, where=where))
    _refuse(found, folder)


def _refuse_other_card(now: TrainingCard, then: TrainingCard, folder: Path) -> None:
    found = [line for line in differences(now, then) if line.split()[0] not in MADE_AT_THE_END]
    _refuse(found, folder)


def _refuse(found: list[str], folder: Path) -> None:
    if found:
        raise TrainingError(
            f"{folder}: cannot go on otherwise than begun: {'; '.join(found)}. Ask as before, or "
            "train into another folder."
        )
