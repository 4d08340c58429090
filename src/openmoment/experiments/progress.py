"""How a run shows what it does: bars that its caller opens, by default none."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

Advance = Callable[[float, float], None]
"""Hears (videos done, videos in all)."""
Bar = Callable[[str], AbstractContextManager[Advance | None]]
"""Opens a bar of that label for as long as the work takes."""
Tell = Callable[[str], None]
"""Hears what a person should know of a run, a line each."""


def no_bar(label: str) -> AbstractContextManager[None]:
    """Shows nothing."""
    return nullcontext()
