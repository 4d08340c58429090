"""What training leaves: a checkpoint folder, and beside it the state to go on from.

- ``model.safetensors``: the method's state, by its own names;
- ``config.toml``: the method's name, its resolved settings, and those of training;
- ``card.json``: what it was trained on; written last, so that a folder with a card is whole;
- ``state/state.safetensors``, until then: weights, optimizer and step in one file, which is
  replaced as a whole. Random numbers are a function of the step and need no state.
"""

import hashlib
import json
import shutil
import tomllib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save, save_file
from torch import Tensor
from torch.optim import Optimizer

from openmoment.checkpoints.card import (
    CARD,
    MADE_AT_THE_END,
    TrainingCard,
    read_card,
    to_card,
    write_card,
)
from openmoment.config import from_table, to_table
from openmoment.encoders.base import Space
from openmoment.errors import FormatError, TrainingError
from openmoment.extras import require
from openmoment.methods import METHODS
from openmoment.methods.trained import Trained, Widths
from openmoment.storage.atomic import atomic_write, leftovers, write_text
from openmoment.storage.reading import get, read_text
from openmoment.training.config import TrainConfig, differences

MODEL, CONFIG = "model.safetensors", "config.toml"
STATE = Path("state") / "state.safetensors"
_KEY = "openmoment"
_METHOD, _OPTIMIZER = "method.", "optimizer."


# ---------------------------------------------------------------------------------------------
# The finished checkpoint
# ---------------------------------------------------------------------------------------------


def write_checkpoint(method: Trained, card: TrainingCard, folder: Path) -> None:
    """Write weights, then the card; then the state of the run is not needed any more."""
    with atomic_write(folder / MODEL) as temporary:  # save_file would let the owner alone read it
        temporary.write_bytes(save(_tensors_of(method)))
    write_card(card, folder)
    shutil.rmtree(folder / STATE.parent, ignore_errors=True)


def load_checkpoint(folder: Path, space: Space) -> Trained:
    """The trained method, for the space of the backbone that it was trained with.

    Raises FormatError for files that are missing, damaged, or do not fit together.
    """
    card = read_card(folder)
    name, settings, _ = read_config(folder)
    if name != card.method:
        raise FormatError(f"{folder}: {CONFIG} is of {name}, {CARD} of {card.method}.")
    cls: Any = METHODS[name]
    config = from_table(cls.Config, settings, where=str(folder / CONFIG))
    method = cls(config, space, Widths(*card.widths))
    _fill(method, _read_tensors(folder / MODEL)[0], folder / MODEL)
    return method.eval()


def checkpoint_fingerprint(card: TrainingCard, folder: Path) -> str:
    """Tells the weights of a checkpoint from those of any other: the method, and eight digits.

    Raises FormatError.
    """
    path = folder / MODEL
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror}).") from error
    return f"{card.method}-{digest[:8]}"


def fill_partly(method: Trained, folder: Path) -> tuple[int, int]:
    """Take a checkpoint's weights wherever names and shapes agree: how many numbers, of how many.

    Raises FormatError.
    """
    own = method.state_dict()
    given = _read_tensors(folder / MODEL)[0]
    fit = {n: t for n, t in given.items() if n in own and own[n].shape == t.shape}
    method.load_state_dict(fit, strict=False)
    return sum(t.numel() for t in fit.values()), sum(t.numel() for t in own.values())


def write_config(name: str, method: Trained, config: TrainConfig, folder: Path) -> None:
    """Write ``config.toml``. Raises MissingExtraError."""
    document = {
        "method": name,
        "settings": _toml_values(to_table(method.config)),
        "training": _toml_values(to_table(config)),
    }
    write_text(require("tomli_w", extra="train").dumps(document), folder / CONFIG)


def read_config(folder: Path) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """The method's name, its settings, and those of training. Raises FormatError."""
    path = folder / CONFIG
    try:
        table = tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise FormatError(f"{path}: is not TOML: {error}.") from error
    where = str(path)
    return (
        get(table, "method", str, where),
        get(table, "settings", dict, where),
        get(table, "training", dict, where),
    )


def _toml_values(table: dict[str, Any]) -> dict[str, Any]:
    return {name: "none" if value is None else value for name, value in table.items()}


# ---------------------------------------------------------------------------------------------
# The state of a run
# ---------------------------------------------------------------------------------------------


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
    tensors = {_METHOD + name: tensor for name, tensor in _tensors_of(method).items()}
    for index, values in optimizer.state_dict()["state"].items():
        for name, value in values.items():
            if value is not None:
                tensors[f"{_OPTIMIZER}{index}.{name}"] = _plain(torch.as_tensor(value))
    header = json.dumps({"done": asdict(done), "card": asdict(card)})
    with atomic_write(folder / STATE) as temporary:
        save_file(tensors, temporary, metadata={_KEY: header})


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
    tensors, text = _read_tensors(path)
    try:
        header = json.loads(text)
        done = Progressed(**header["done"])
        before = to_card(header["card"], str(path))
    except (ValueError, TypeError, KeyError) as error:
        raise FormatError(f"{path}: not the state of a run ({error}).") from error
    _refuse_other_card(card, before, folder)
    weights = {n.removeprefix(_METHOD): t for n, t in tensors.items() if n.startswith(_METHOD)}
    _fill(method, weights, path)
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


# ---------------------------------------------------------------------------------------------
# Tensors
# ---------------------------------------------------------------------------------------------


def _tensors_of(method: Trained) -> dict[str, Tensor]:
    return {name: _plain(tensor) for name, tensor in method.state_dict().items()}


def _plain(tensor: Tensor) -> Tensor:
    """A copy of its own, which a file can hold."""
    return tensor.detach().to("cpu", copy=True).contiguous()


def _read_tensors(path: Path) -> tuple[dict[str, Tensor], str]:
    """The tensors of a file, and what its header says. Raises FormatError."""
    if not path.is_file():
        raise FormatError(f"{path}: no such file. The checkpoint is not whole: train again.")
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return tensors, (file.metadata() or {}).get(_KEY, "")
    except (OSError, SafetensorError) as error:
        reason = " ".join(str(error).split())
        raise FormatError(f"{path}: is damaged ({reason}). Train again.") from error


def _fill(method: Trained, tensors: dict[str, Tensor], path: Path) -> None:
    """Load the weights strictly. Raises FormatError, which names those that do not fit."""
    expected = {name: tuple(tensor.shape) for name, tensor in method.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    wrong = [f"{name} is missing" for name in expected.keys() - found.keys()]
    wrong += [f"{name} is not in the method" for name in found.keys() - expected.keys()]
    wrong += [
        f"{name} is {list(found[name])}, expected {list(shape)}"
        for name, shape in expected.items()
        if name in found and found[name] != shape
    ]
    if wrong:
        more = f", and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise FormatError(f"{path}: does not fit: {'; '.join(sorted(wrong)[:3])}{more}.")
    method.load_state_dict(tensors)
