"""A finished checkpoint: a folder that `openmoment train` leaves.

- ``model.safetensors``: the method's state, by its own names;
- ``config.toml``: the method's name, its resolved settings, and those of training;
- ``card.json``: what it was trained on; written last, so that a folder with a card is whole.
"""

import hashlib
import tomllib
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from openmoment.checkpoints.card import (
    CARD,
    TrainingCard,
    read_card,
    write_card,
)
from openmoment.config import from_table, to_table
from openmoment.encoders.base import Space
from openmoment.errors import FormatError
from openmoment.extras import require
from openmoment.methods import METHODS
from openmoment.methods.trained import Trained, Widths
from openmoment.storage.atomic import atomic_write, write_text
from openmoment.storage.reading import get, read_text

MODEL, CONFIG = "model.safetensors", "config.toml"
KEY = "openmoment"
"""Of what the header of a file of tensors says."""


# ---------------------------------------------------------------------------------------------
# The finished checkpoint
# ---------------------------------------------------------------------------------------------


def write_checkpoint(method: Trained, card: TrainingCard, folder: Path) -> None:
    """Write weights, then the card."""
    with atomic_write(folder / MODEL) as temporary:  # save_file would let the owner alone read it
        temporary.write_bytes(save(tensors_of(method)))
    write_card(card, folder)


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
    fill(method, read_tensors(folder / MODEL)[0], folder / MODEL)
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
    given = read_tensors(folder / MODEL)[0]
    fit = {n: t for n, t in given.items() if n in own and own[n].shape == t.shape}
    method.load_state_dict(fit, strict=False)
    return sum(t.numel() for t in fit.values()), sum(t.numel() for t in own.values())


def write_config(name: str, method: Trained, training: object, folder: Path) -> None:
    """Write ``config.toml``: both settings are dataclasses'. Raises MissingExtraError."""
    document = {
        "method": name,
        "settings": _toml_values(to_table(method.config)),
        "training": _toml_values(to_table(training)),
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
# Tensors
# ---------------------------------------------------------------------------------------------


def tensors_of(method: Trained) -> dict[str, Tensor]:
    """A method's state as a file can hold it."""
    return {name: plain(tensor) for name, tensor in method.state_dict().items()}


def plain(tensor: Tensor) -> Tensor:
    """A copy of its own, which a file can hold."""
    return tensor.detach().to("cpu", copy=True).contiguous()


def read_tensors(path: Path) -> tuple[dict[str, Tensor], str]:
    """The tensors of a file, and what its header says. Raises FormatError."""
    if not path.is_file():
        raise FormatError(f"{path}: no such file. The checkpoint is not whole: train again.")
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return tensors, (file.metadata() or {}).get(KEY, "")
    except (OSError, SafetensorError) as error:
        reason = " ".join(str(error).split())
        raise FormatError(f"{path}: is damaged ({reason}). Train again.") from error


def fill(method: Trained, tensors: dict[str, Tensor], path: Path) -> None:
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
