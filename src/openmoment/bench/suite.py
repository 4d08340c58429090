"""What a bench runs, as a TOML file says: methods times datasets, settings, splits and backbones.

Suites that ship with the package are found by name, others by path. Nothing here reads data.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from openmoment.config import from_table
from openmoment.datasets import DATASETS
from openmoment.datasets.names import published_splits
from openmoment.datasets.splits import NUM_SPLITS
from openmoment.errors import ConfigError, FormatError, UnknownNameError
from openmoment.evaluation.protocol import ALL_CLASSES
from openmoment.methods import METHODS, presets
from openmoment.storage.reading import read_text

P = TypeVar("P")


@dataclass(frozen=True)
class Synthesize:
    """A made-up world, as `openmoment datasets synthesize` makes it."""

    world: str
    train: int | None = None
    test: int | None = None
    seed: int = 0
    flow: bool = False
    priors: bool = False
    set: dict = field(default_factory=dict)  # type: ignore[type-arg]


@dataclass(frozen=True)
class ComposeFrom:
    """Composed videos, as `openmoment datasets compose` makes them."""

    clips: str
    """A folder or a CSV file; ``$NAME`` is taken from the environment."""
    labels: tuple[str, ...] = ()
    background: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    train: int = 24
    test: int = 12
    seed: int = 0


@dataclass(frozen=True)
class CollectFrom:
    """Annotated videos that lie scattered, all to test on (`datasets.collect`)."""

    annotations: str
    """ActivityNet's form, with paths for keys; ``$NAME`` is taken from the environment."""
    labels: tuple[str, ...] = ()
    include: tuple[str, ...] = ()


@dataclass(frozen=True)
class DatasetPart:
    """A dataset of a suite: where it comes from, and how it is divided."""

    name: str
    dataset: str
    """`openmoment datasets list`; by default the name."""
    group: str
    """What its runs are reported under: those of one group are averaged. By default the name."""
    settings: tuple[str, ...]
    splits: tuple[int, ...]
    backbones: tuple[str, ...]
    unseen: tuple[str, ...] = ()
    """Classes named one by one, instead of published splits."""
    subset: str | None = None
    exclude: str = "default"
    synthesize: Synthesize | None = None
    compose: ComposeFrom | None = None
    collect: CollectFrom | None = None
    obtain: str = ""
    """The commands that get and prepare it, for those who have to bring it."""

    @property
    def is_made(self) -> bool:
        """Whether the bench makes it, so that nobody has to bring it."""
        return self.how_made is not None

    @property
    def how_made(self) -> Synthesize | ComposeFrom | CollectFrom | None:
        return self.synthesize or self.compose or self.collect


@dataclass(frozen=True)
class MethodPart:
    """A method of a suite, as it is set; several may be one method in several ways."""

    name: str
    method: str
    """`openmoment models`; by default the name."""
    preset: str | None = None
    set: dict = field(default_factory=dict)  # type: ignore[type-arg]
    """Settings of the method and of its training, over the preset's."""
    datasets: tuple[str, ...] = ()
    """Of the suite those that it runs on; none: all."""
    settings: tuple[str, ...] = ()
    backbones: tuple[str, ...] = ()
    features: str = ""
    """A kind of features that another encoder made, such as i3d, to be brought by that name."""
    captions: bool = False
    """Whether it takes captions, where these are brought."""
    priors: bool = False
    """Whether it takes descriptions and pictures, where these are brought."""
    published: tuple[str, ...] = ()
    """What papers call it; by default as its card says."""


@dataclass(frozen=True)
class Suite:
    """A suite file."""

    name: str
    title: str
    datasets: tuple[DatasetPart, ...]
    methods: tuple[MethodPart, ...]
    description: str = ""
    threads: int = 0
    """Of each run, so that numbers do not depend on the machine; 0: as many as there are."""
    text_check: bool = True


@dataclass(frozen=True)
class _Head:
    """The fields of a suite besides its tables; lists are what its datasets share."""

    title: str
    description: str = ""
    threads: int = 0
    text_check: bool = True
    settings: tuple[str, ...] = (ALL_CLASSES,)
    splits: tuple[int, ...] = ()
    backbones: tuple[str, ...] = ("auto",)


def shipped_suites() -> dict[str, Path]:
    """The suites of the package by name."""
    folder = Path(str(resources.files("openmoment") / "suites"))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def read_suite(name: str) -> Suite:
    """The suite of that name, or in that file. Raises UnknownNameError, FormatError, ConfigError.

    Every mistake is one line that names the file and the field.
    """
    path = Path(name)
    if path.suffix != ".toml":
        known = shipped_suites()
        if name not in known:
            raise UnknownNameError("suite", name, list(known))
        path = known[name]
    try:
        document = tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise FormatError(f"{path}: is not TOML: {error}.") from error
    return to_suite(document, path.stem, where=str(path))


def to_suite(document: Mapping[str, Any], name: str, *, where: str) -> Suite:
    """The suite that a document holds. Raises ConfigError starting with ``where``."""
    tables = {kind: _tables(document, kind, where) for kind in ("datasets", "methods")}
    rest = {key: value for key, value in document.items() if key not in tables}
    if "title" not in rest:
        raise ConfigError(f"{where}: title is missing.")
    head = from_table(_Head, rest, where=where)
    datasets = tuple(
        _dataset(key, table, head, f"{where}: datasets.{key}")
        for key, table in tables["datasets"].items()
    )
    methods = tuple(
        _method(key, table, f"{where}: methods.{key}") for key, table in tables["methods"].items()
    )
    for method in methods:
        for wanted in method.datasets:
            if wanted not in tables["datasets"]:
                error = UnknownNameError("dataset of the suite", wanted, list(tables["datasets"]))
                raise ConfigError(f"{where}: methods.{method.name}: datasets: {error}")
    if head.threads < 0:
        raise ConfigError(f"{where}: threads: expected 0 or more, got {head.threads}.")
    return Suite(
        name, head.title, datasets, methods, head.description, head.threads, head.text_check
    )


def _tables(document: Mapping[str, Any], kind: str, where: str) -> dict[str, dict[str, Any]]:
    found = document.get(kind)
    if not isinstance(found, dict) or not found:
        raise ConfigError(f"{where}: expected at least one table [{kind}.NAME].")
    for key, table in found.items():
        if not isinstance(table, dict):
            raise ConfigError(f"{where}: {kind}.{key}: expected a table, got {table!r}.")
        if set("/\\") & set(key) or key.startswith("."):
            raise ConfigError(f"{where}: {kind}.{key}: the name becomes a folder's.")
    return found


def _dataset(key: str, table: dict[str, Any], head: _Head, where: str) -> DatasetPart:
    kinds = {"synthesize": Synthesize, "compose": ComposeFrom, "collect": CollectFrom}
    made = {
        kind: _made(config, table[kind], f"{where}.{kind}")
        for kind, config in kinds.items()
        if kind in table
    }
    shared = {"settings": head.settings, "splits": head.splits, "backbones": head.backbones}
    named = {"name": key, "dataset": key, "group": key}
    plain = {name: value for name, value in table.items() if name not in kinds}
    part = replace(from_table(DatasetPart, named | shared | plain, where=where), **made)
    if len(made) > 1:
        raise ConfigError(f"{where}: {' or '.join(made)}, not both.")
    if part.dataset not in DATASETS:
        error = UnknownNameError("dataset", part.dataset, list(DATASETS))
        raise ConfigError(f"{where}: dataset: {error}")
    _check_settings(part, where)
    return part


def _made(config: type[P], table: Any, where: str) -> P:
    if not isinstance(table, dict):
        raise ConfigError(f"{where}: expected a table, got {table!r}.")
    needed = next(field.name for field in fields(config))  # type: ignore[arg-type]
    if needed not in table:
        raise ConfigError(f"{where}: {needed} is missing.")
    return from_table(config, table, where=where)


def _check_settings(part: DatasetPart, where: str) -> None:
    """Raises ConfigError for a setting or a split that the dataset does not have."""
    known = published_splits().get(part.dataset, {}).get("unseen", {})
    for setting in part.settings:
        if setting != ALL_CLASSES and setting not in known:
            error = UnknownNameError("setting", setting, [ALL_CLASSES, *known])
            raise ConfigError(f"{where}: settings: {error}")
    for split in part.splits:
        if not 0 <= split < NUM_SPLITS:
            raise ConfigError(f"{where}: splits: expected 0 to {NUM_SPLITS - 1}, got {split}.")
    if part.unseen and part.settings != (ALL_CLASSES,):
        raise ConfigError(f"{where}: unseen is a split of its own: leave settings out.")


def _method(key: str, table: dict[str, Any], where: str) -> MethodPart:
    part = from_table(MethodPart, {"name": key, "method": key} | table, where=where)
    if part.method not in METHODS:
        raise ConfigError(
            f"{where}: method: {UnknownNameError('method', part.method, list(METHODS))}"
        )
    known = presets(part.method)
    if part.preset and not any(
        preset == part.preset or preset.endswith(f"-{part.preset}") for preset in known
    ):
        error = UnknownNameError(f"preset of {part.method}", part.preset, list(known))
        raise ConfigError(f"{where}: preset: {error}")
    return part
