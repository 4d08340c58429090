"""To begin with the weights of a checkpoint, wherever they fit."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from openmoment.checkpoints.card import TrainingCard, classes_met, read_card
from openmoment.checkpoints.weights import fill_partly, read_config
from openmoment.config import from_table, to_table
from openmoment.errors import ConfigError, RecipeError
from openmoment.methods.trained import Trained


def begin_from(
    folder: Path, method: Trained, card: TrainingCard, tell: Callable[[str], None] | None = None
) -> TrainingCard:
    """Give ``method`` a checkpoint's weights, and the run's card what these were trained on.

    ``tell`` hears how many of the parameters they are. Raises ConfigError for another kind of
    network, RecipeError for another backbone, and for a checkpoint that has met an unseen class.
    """
    then = read_card(folder)
    _require_alike(folder, then, method, card)
    if met := classes_met(then, card.unseen):
        raise RecipeError(
            f"{folder}: was trained on {met[0]!r}, which is to be unseen here. Train it without, "
            "--unseen, or begin with another."
        )
    taken, num = fill_partly(method, folder)
    if tell:
        tell(f"{card.method}: {taken:,} of {num:,} parameters are from {folder}.")
    names = dict.fromkeys((*then.seen, *then.met))
    return replace(card, init=str(folder), met=tuple(names))


def _require_alike(folder: Path, then: TrainingCard, method: Trained, card: TrainingCard) -> None:
    """Raises ConfigError, RecipeError for weights that would mean something else here."""
    if then.method != card.method:
        raise ConfigError(f"{folder}: is a checkpoint of {then.method}, not of {card.method}.")
    if then.fingerprint != card.fingerprint:
        raise RecipeError(
            f"{folder}: was trained with the backbone {then.backbone} (fingerprint "
            f"{then.fingerprint}), got {card.backbone} ({card.fingerprint})."
        )
    if (then.features_encoder, then.widths) != (card.features_encoder, card.widths):
        raise RecipeError(
            f"{folder}: was trained on features of {then.features_encoder}, {then.widths[0]} wide, "
            f"got {card.features_encoder}, {card.widths[0]} wide."
        )
    config: Any = method.config
    before = from_table(type(config), read_config(folder)[1], where=str(folder))
    old, new = to_table(before), to_table(config)
    for name in sorted(method.INHERITED):
        if old[name] != new[name]:
            raise ConfigError(f"{folder}: has {name}={old[name]}, asked for {name}={new[name]}.")
    if method.traits_of(before).sees_frames and not method.traits_of(config).sees_frames:
        raise ConfigError(
            f"{folder}: sees through an image tower that it tuned itself. Train from videos too, "
            "or begin with a checkpoint that was trained on features."
        )
