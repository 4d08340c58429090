"""The training loop, for every method.

A step's pieces, learning rate and random numbers are functions of the seed and the step, so that
the state of a run is its weights, its optimizer and a number.
"""

import math
import platform
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer

from openmoment.blocks.batch import Batch
from openmoment.checkpoints.card import TrainingCard
from openmoment.checkpoints.weights import write_config
from openmoment.errors import TrainingError
from openmoment.methods.trained import Trained
from openmoment.training.config import TrainConfig
from openmoment.training.data import Pieces, Steps, ahead, to_device
from openmoment.training.log import FileLog, Log, RunLog, TensorBoardLog
from openmoment.training.processes import Processes
from openmoment.training.state import (
    Progressed,
    finish,
    require_same_config,
    restore_state,
    save_state,
)


class Heard(NamedTuple):
    """What is told of each step."""

    step: int
    """Steps done."""
    num_steps: int
    epoch: int
    """That the step belongs to, from 1."""
    ends_epoch: bool
    loss: dict[str, float]
    """Its terms."""
    seconds_left: float

    @classmethod
    def of(cls, done: Progressed, steps: Steps, clock: "Clock") -> "Heard":
        """Of the last step done."""
        epoch, index = divmod(done.step - 1, steps.an_epoch)
        ends = index + 1 == steps.an_epoch
        left_s = clock.seconds_left(done.step)
        return cls(done.step, len(steps), epoch + 1, ends, done.loss, left_s)


Hear = Callable[[Heard], None]


def train(
    method: Trained,
    data: Pieces,
    config: TrainConfig,
    card: TrainingCard,
    out: Path,
    *,
    processes: Processes,
    tensorboard: bool = False,
    hear: Hear | None = None,
) -> TrainingCard:
    """Train ``method`` and leave a checkpoint in ``out``; go on where a stopped run was.

    Raises TrainingError for a loss that is no number and for a run that was begun otherwise;
    KeyboardInterrupt, with the state saved, when a signal asks it to stop.
    """
    index, num = processes.process_index, processes.num_processes
    is_main = processes.is_main_process
    steps = Steps(data, batch_size=config.batch_size, epochs=config.epochs, index=index, num=num)
    card = replace(card, epochs=config.epochs, seed=config.seed, num_processes=num)
    method.to(processes.device).train()
    optimizer = make_optimizer(method, config)
    require_same_config(card.method, method.config, config, out)
    done = restore_state(method, optimizer, card, out)
    network, optimizer = processes.prepare(method, optimizer)
    scaler = restored_scaler(processes, done)
    processes.wait_for_everyone()  # nothing is written that another has yet to look at
    if is_main:
        write_config(card.method, method, config, out)
    logs = open_logs(out, done.step, tensorboard=tensorboard) if is_main else []

    def prepare(step: int) -> Batch:
        return to_device(steps.batch(step), processes.device)

    with (
        deterministic(processes.device),
        stop_signals() as stop,
        RunLog(logs, every=config.log_steps) as log,
        closing(ahead(prepare, range(done.step, len(steps)))) as batches,
    ):
        clock = Clock(done, len(steps))
        for step, (batch, waited_s) in enumerate(batches, start=done.step):
            torch.manual_seed(random_seed(config.seed, step, index))
            rate = config.rate(step, epoch_steps=steps.an_epoch, num_steps=len(steps))
            set_rate(optimizer, rate)

            terms = network(batch)
            loss, stops = over_processes(terms, stop, processes)
            require_finite(loss, step, steps)

            optimizer.zero_grad()
            processes.backward(torch.stack(list(terms.values())).sum())
            parameters = list(method.parameters())
            norm = float(processes.clip_grad_norm_(parameters, config.clip or math.inf))
            if not scaler:  # which skips such steps by itself
                require_finite({"gradient": norm}, step, steps)
            optimizer.step()

            done = Progressed(step + 1, clock.seconds, loss, scaler and scaler.state_dict())
            heard = Heard.of(done, steps, clock)
            row = {"step": done.step, "epoch": heard.epoch, "lr": rate, **loss}
            log.write(row | {"total": sum(loss.values()), "grad_norm": norm}, waited_s=waited_s)
            if hear and is_main:
                hear(heard)
            if is_main and (stops or done.step % config.checkpoint_steps == 0):
                save_state(method, optimizer, done, card, out)
            if stops:
                processes.wait_for_everyone()
                raise KeyboardInterrupt(
                    f"stopped after step {done.step} of {len(steps)}. The state is saved: go on "
                    "with --resume."
                )

    card = finished(card, done, processes.device)
    if is_main:
        finish(method, card, out)
    processes.wait_for_everyone()
    return card


# ---------------------------------------------------------------------------------------------
# Before a run, and after it
# ---------------------------------------------------------------------------------------------


def make_optimizer(method: Trained, config: TrainConfig) -> Optimizer:
    """Over the method's groups, each with its ``lr_scale``."""
    groups: list[dict[str, Any]] = [
        {"params": group.parameters, "lr": config.lr * group.lr_scale, "lr_scale": group.lr_scale}
        for group in method.parameter_groups()
    ]
    match config.optimizer:
        case "adam":
            return Adam(groups, lr=config.lr, weight_decay=config.weight_decay)
        case "adamw":
            return AdamW(groups, lr=config.lr, weight_decay=config.weight_decay)
        case "sgd":
            return SGD(
                groups, lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay
            )


def restored_scaler(processes: Processes, done: Progressed) -> Any:
    """What scales the losses of fp16, where it was; None for other precisions."""
    scaler = getattr(processes, "scaler", None)
    if scaler and done.scaler:
        scaler.load_state_dict(done.scaler)
    return scaler


def open_logs(out: Path, steps_done: int, *, tensorboard: bool) -> list[Log]:
    """Raises MissingExtraError."""
    more = [TensorBoardLog(out / "tensorboard", steps_done=steps_done)] if tensorboard else []
    return [FileLog(out, steps_done=steps_done), *more]


def finished(card: TrainingCard, done: Progressed, device: torch.device) -> TrainingCard:
    """The card with what is known at the end."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return replace(
        card,
        steps=done.step,
        version=version("openmoment"),
        hardware=f"{name}, {platform.system()}, Python {platform.python_version()}, "
        f"torch {torch.__version__}",
        date=datetime.now(UTC).strftime("%Y-%m-%d"),
        seconds=round(done.seconds, 1),
        loss=done.loss,
    )


# ---------------------------------------------------------------------------------------------
# In a step
# ---------------------------------------------------------------------------------------------


def set_rate(optimizer: Optimizer, rate: float) -> None:
    """Of each group, by how fast it learns."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["lr_scale"]


def random_seed(seed: int, step: int, index: int) -> int:
    """Of the random numbers of a step, in one process."""
    return int(np.random.SeedSequence([seed, step, index]).generate_state(1, np.uint64)[0])


def over_processes(
    terms: dict[str, Tensor], stop: list[int], processes: Processes
) -> tuple[dict[str, float], bool]:
    """The terms' means over all processes, and whether any is asked to stop: all agree on both."""
    told = [term.detach().float() for term in terms.values()]
    asked = torch.tensor(float(bool(stop)), device=processes.device)
    *means, stops = processes.reduce(torch.stack([*told, asked]), reduction="mean").tolist()
    return dict(zip(terms, means, strict=True)), stops > 0


def require_finite(values: dict[str, float], step: int, steps: Steps) -> None:
    """Raises TrainingError, which names the first value that is no number."""
    for name, value in values.items():
        if not math.isfinite(value):
            raise TrainingError(
                f"Step {step + 1}: {name} is {value}, in a batch of {', '.join(steps.videos(step))}"
                ". Look at these features, or try a lower lr, or clip=1."
            )


class Clock:
    """The time that a run took, however often it was stopped, and what is left of it."""

    def __init__(self, done: Progressed, num_steps: int) -> None:
        self._before, self._num_steps = done, num_steps
        self._start = time.perf_counter()

    @property
    def seconds(self) -> float:
        return self._before.seconds + time.perf_counter() - self._start

    def seconds_left(self, steps_done: int) -> float:
        """As fast as since the run went on."""
        a_step = (time.perf_counter() - self._start) / (steps_done - self._before.step)
        return a_step * (self._num_steps - steps_done)


@contextmanager
def deterministic(device: torch.device) -> Iterator[None]:
    """On the processor, only operations that give the same result each time."""
    if device.type != "cpu":
        yield
        return
    before = torch.are_deterministic_algorithms_enabled()
    fills = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        torch.utils.deterministic.fill_uninitialized_memory = fills  # type: ignore[attr-defined]


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Ctrl-C, and what ends a job, are noted; the same a second time interrupts at once."""
    heard: list[int] = []

    def note(number: int, _: object) -> None:
        if number in heard:
            raise KeyboardInterrupt
        heard.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield heard
        return
    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield heard
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
