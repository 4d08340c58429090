"""Optional dependencies: imported where they are used, refused with the cure."""

from importlib import import_module
from types import ModuleType
from typing import Any

from openmoment.errors import MissingExtraError


def require(module: str, *, extra: str) -> Any:
    """The imported module, or `MissingExtraError` that says what to install."""
    try:
        imported: ModuleType = import_module(module)
    except ModuleNotFoundError as error:
        raise MissingExtraError(module, extra) from error
    return imported
