"""What backbones and methods there are, what each is, and what it lacks to run here."""

import inspect
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from openmoment.encoders import VideoEncoder


def list_backbones() -> list[dict[str, str | None]]:
    """Name, summary, and what is missing (None when it is ready)."""
    from openmoment.encoders import ENCODERS

    return [_row(name, encoder) for name, encoder in ENCODERS.items()]


def list_video_models() -> list[dict[str, str | None]]:
    """The same of those that read no words."""
    from openmoment.encoders import FEATURE_ENCODERS

    return [_row(name, encoder) for name, encoder in FEATURE_ENCODERS.items()]


def _row(name: str, encoder: "type[VideoEncoder]") -> dict[str, str | None]:
    return {"name": name, "summary": _first_line(encoder), "missing": encoder.missing()}


def list_methods() -> list[dict[str, str | None]]:
    """As for backbones; those that learn have to be trained first."""
    from openmoment.methods import METHODS
    from openmoment.methods.base import Learns

    def missing(name: str, method: type) -> str | None:
        return f"train it: openmoment train {name} --help" if issubclass(method, Learns) else None

    return [
        {"name": name, "summary": _first_line(method), "missing": missing(name, method)}
        for name, method in METHODS.items()
    ]


def _first_line(thing: object) -> str:
    """What a class says of itself."""
    return (inspect.getdoc(thing) or "").partition("\n")[0]
