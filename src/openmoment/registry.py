"""Names to objects, imported only when asked for."""

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TypeVar

from openmoment.errors import UnknownNameError

T = TypeVar("T")


class LazyTable(Mapping[str, T]):
    """A read-only table whose values are ``"module:attribute"`` until they are looked up.

    Listing names imports nothing. A missing name raises `UnknownNameError`.
    """

    def __init__(self, kind: str, targets: dict[str, str]) -> None:
        self.kind = kind
        self._targets = targets

    def __getitem__(self, name: str) -> T:
        if name not in self._targets:
            raise UnknownNameError(self.kind, name, list(self._targets))
        module, attribute = self._targets[name].split(":")
        return getattr(import_module(module), attribute)

    def __contains__(self, name: object) -> bool:
        return name in self._targets

    def __iter__(self) -> Iterator[str]:
        return iter(self._targets)

    def __len__(self) -> int:
        return len(self._targets)
