"""What a checkpoint says of itself: what it was trained on, by what, and for how long."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from openmoment.datasets.base import prompt_name
from openmoment.encoders.base import Encoder
from openmoment.errors import FormatError, RecipeError
from openmoment.storage.atomic import write_text
from openmoment.storage.reading import get, read_json

SCHEMA = "openmoment-checkpoint/1"
CARD = "card.json"

MADE_AT_THE_END = ("steps", "version", "hardware", "date", "seconds", "loss")
"""Fields that a run that goes on need not share with the one that was stopped."""


@dataclass(frozen=True)
class TrainingCard:
    """How a checkpoint was made. Names of classes are the dataset's."""

    method: str
    widths: tuple[int, int]
    """Of the features and of the texts that the network takes."""
    backbone: str
    fingerprint: str
    """Of the backbone: its texts, and the space that features and texts share."""
    features_encoder: str
    """What made the features; another than the backbone for `features` own."""
    features_fingerprint: str
    fps: float | None
    """Snippets a second of the feature files; None where they differ."""
    dataset: str
    subset: str
    setting: str
    split: str
    """A number; "all" without unseen classes, "own" for classes named one by one."""
    seen: tuple[str, ...]
    unseen: tuple[str, ...]
    num_videos: int
    excluded: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    """Training videos without features, left out."""
    flow_encoder: str = ""
    """What made the features of optical flow, where the method sees them."""
    flow_fingerprint: str = ""
    priors: str = ""
    """The folder of generated sentences and pictures that it read."""
    num_sentences: int = 0
    """Of moment retrieval, which has no classes."""
    init: str = ""
    """The checkpoint whose weights it began with."""
    met: tuple[str, ...] = ()
    """Classes that those weights were trained on."""
    epochs: int = 0
    seed: int = 0
    num_processes: int = 1
    steps: int = 0
    version: str = ""
    hardware: str = ""
    date: str = ""
    seconds: float = 0.0
    """Of training, however often it was stopped; without reading the features."""
    loss: dict[str, float] = field(default_factory=dict[str, float])
    """The terms in the last step."""
    schema: str = SCHEMA


def split_folder(out: Path, split: str) -> Path:
    """Where one of several splits is trained, below the folder of all."""
    return out / f"split_{split}"


def is_finished(folder: Path) -> bool:
    """Whether training came to its end there."""
    return (folder / CARD).is_file()


def write_card(card: TrainingCard, folder: Path) -> None:
    """Write ``card.json``, which makes the checkpoint a finished one."""
    write_text(json.dumps(asdict(card), indent=1, ensure_ascii=False) + "\n", folder / CARD)


def read_card(folder: Path) -> TrainingCard:
    """The card of a checkpoint. Raises FormatError."""
    path = folder / CARD
    if not folder.is_dir():
        raise FormatError(f"{folder}: no such folder. A checkpoint is what openmoment train wrote.")
    if not path.is_file():
        raise FormatError(
            f"{folder}: holds no {CARD}: not a checkpoint, or training is not finished. "
            "Go on with openmoment train --resume."
        )
    table = read_json(path)
    if get(table, "schema", str, str(path)) != SCHEMA:
        raise FormatError(f"{path}: schema: expected {SCHEMA!r}, got {table['schema']!r}.")
    return to_card(table, str(path))


def to_card(table: dict[str, Any], where: str) -> TrainingCard:
    """The card that a table of plain values holds. Raises FormatError starting with ``where``."""
    known = {f.name for f in fields(TrainingCard)}
    if unknown := set(table) - known:
        raise FormatError(f"{where}: field {min(unknown)!r} is not one that this version knows.")
    values: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in table.items()}
    try:
        return TrainingCard(**values)
    except TypeError as error:
        raise FormatError(f"{where}: no card that this version can read ({error}).") from error


def classes_met(card: TrainingCard, names: Sequence[str]) -> list[str]:
    """Those of the names that the weights were trained on, now or before, however written."""
    known = {_plain(name) for name in (*card.seen, *card.met)}
    return sorted(name for name in names if _plain(name) in known)


def _plain(name: str) -> str:
    return " ".join(prompt_name(name).casefold().split())


def check_backbone(card: TrainingCard, encoder: Encoder) -> None:
    """Refuse a backbone whose texts the method has not learned to read. Raises RecipeError."""
    if card.fingerprint != encoder.fingerprint:
        raise RecipeError(
            f"The checkpoint was trained with the backbone {card.backbone} (fingerprint "
            f"{card.fingerprint}), got {encoder.name} ({encoder.fingerprint}). "
            f"Choose --backbone {card.backbone}, or train again."
        )
