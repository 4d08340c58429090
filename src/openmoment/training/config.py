"""How a method is trained; what it is, its own settings say."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal

from openmoment.config import to_table
from openmoment.errors import ConfigError, UnknownNameError


@dataclass(frozen=True)
class TrainConfig:
    """Of every method. Raises ValueError."""

    lr: float = 1e-4
    epochs: int = 60
    batch_size: int = 4  # pieces of a step, over all processes
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    weight_decay: float = 0.0
    momentum: float = 0.9  # of sgd
    clip: float = 0.0  # the gradient's largest norm; 0: any
    schedule: Literal["constant", "step", "cosine", "linear"] = "constant"
    step_epochs: int = 10  # of schedule=step: after so many epochs …
    step_factor: float = 0.3  # … the learning rate is multiplied by this
    warmup_steps: int = 0  # over which the learning rate rises from 0 …
    warmup_share: float = 0.0  # … and, as a share of all steps, the longer of the two
    augment: Literal["none", "crop-flip", "full"] = "crop-flip"  # of frames; features have none
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    seed: int = 0
    checkpoint_steps: int = 200  # from one saved state to the next
    log_steps: int = 1  # from one row of the log to the next

    def __post_init__(self) -> None:
        for name in ("lr", "epochs", "batch_size", "step_epochs", "checkpoint_steps", "log_steps"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        for name in ("weight_decay", "momentum", "clip", "step_factor", "warmup_steps", "seed"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be 0 or more, got {getattr(self, name)}")
        if not 0 <= self.warmup_share < 1:
            raise ValueError(f"warmup_share must lie in [0, 1), got {self.warmup_share}")

    def rate(self, step: int, *, epoch_steps: int, num_steps: int) -> float:
        """The learning rate of a step, counted from 0; it depends on nothing that went before."""
        warmup_steps = max(self.warmup_steps, int(self.warmup_share * num_steps))
        warm = min(1.0, (step + 1) / (warmup_steps + 1))
        match self.schedule:
            case "step":
                share = self.step_factor ** (step // epoch_steps // self.step_epochs)
            case "linear":  # falls to 0 from the end of the warm-up on
                left = num_steps - step
                share = left / (num_steps - warmup_steps) if step > warmup_steps else 1.0
            case "cosine":
                share = 0.5 + 0.5 * math.cos(math.pi * step / num_steps)
            case _:
                share = 1.0
        return self.lr * warm * share


def divide_settings(
    method: type, given: dict[str, Any]
) -> tuple[dict[str, object], dict[str, object]]:
    """Settings given by name as those of the method (its Config) and those of training.

    Raises ConfigError for a name that neither has, with the nearest that one of them has.
    """
    training = {field.name for field in dataclasses.fields(TrainConfig)}
    own = [field.name for field in dataclasses.fields(method) if field.init]
    for name in given:
        if name not in training and name not in own:
            raise ConfigError(str(UnknownNameError("setting", name, [*own, *sorted(training)])))
    return (
        {name: value for name, value in given.items() if name not in training},
        {name: value for name, value in given.items() if name in training},
    )


def differences(now: object, then: object) -> list[str]:
    """One line for each field in which two configs of a kind differ."""
    new, old = to_table(now), to_table(then)
    return [
        f"{name} was {_short(old[name])}, now {_short(new[name])}"
        for name in new
        if new[name] != old[name]
    ]


def _short(value: object) -> str:
    shown = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."
