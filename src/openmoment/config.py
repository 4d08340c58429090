"""Settings: a plain table to a frozen dataclass, strict about names and kinds."""

import dataclasses
import types
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from openmoment.errors import ConfigError, UnknownNameError

C = TypeVar("C")


def from_table(config: type[C], table: Mapping[str, object], *, where: str) -> C:
    """Build the dataclass ``config`` from ``table``; what is absent keeps its default.

    Text is converted to the field's kind, so that ``key=value`` from a command line works.
    ``where`` names the source of the table in errors. Raises `ConfigError`.
    """
    hints = get_type_hints(config)
    known = [field.name for field in dataclasses.fields(config) if field.init]  # type: ignore[arg-type]
    values: dict[str, object] = {}
    for name, value in table.items():
        if name not in known:
            raise ConfigError(f"{where}: {UnknownNameError('setting', name, known)}")
        try:
            values[name] = _convert(value, hints[name])
        except ValueError as error:
            raise ConfigError(f"{where}: setting {name!r}: {error}") from None
    try:
        return config(**values)
    except ValueError as error:  # a check in __post_init__
        raise ConfigError(f"{where}: {error}") from None


def parse_assignments(assignments: list[str]) -> dict[str, str]:
    """``["a=1", "b=x"]`` as a table. Raises `ConfigError` for anything else."""
    table: dict[str, str] = {}
    for assignment in assignments:
        name, sign, value = assignment.partition("=")
        if not sign or not name.strip():
            raise ConfigError(f"Expected NAME=VALUE, got {assignment!r}.")
        table[name.strip()] = value.strip()
    return table


def to_table(config: object) -> dict[str, Any]:
    """The resolved settings of a dataclass, as plain values that JSON can hold."""
    return dataclasses.asdict(config)  # type: ignore[arg-type]


def _convert(value: object, hint: Any) -> object:
    """``value`` as the kind that ``hint`` names. Raises ValueError, for the caller to place."""
    origin = get_origin(hint)
    if origin is Literal:
        if value in get_args(hint):
            return value
        raise ValueError(f"{value!r} is not one of {', '.join(map(repr, get_args(hint)))}")
    if origin in (Union, types.UnionType):
        if value is None or value == "none":
            return None
        (inner,) = [option for option in get_args(hint) if option is not type(None)]
        return _convert(value, inner)
    if origin is tuple:
        items = value.split(",") if isinstance(value, str) else value
        if not isinstance(items, list | tuple):
            raise ValueError(f"expected a list, got {value!r}")
        item_hint = get_args(hint)[0]
        return tuple(_convert(item, item_hint) for item in items)  # pyright: ignore
    if hint is bool:
        return _convert_bool(value)
    if hint in (int, float):
        return _convert_number(value, hint)
    if isinstance(value, hint):
        return value
    raise ValueError(f"expected {hint.__name__}, got {value!r}")


def _convert_bool(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise ValueError(f"expected true or false, got {value!r}")


def _convert_number(value: object, hint: type[int] | type[float]) -> int | float:
    is_cut = hint is int and isinstance(value, float) and not value.is_integer()
    if isinstance(value, str | int | float) and not isinstance(value, bool) and not is_cut:
        try:
            return hint(value)
        except ValueError:
            pass
    raise ValueError(f"expected {hint.__name__}, got {value!r}")
