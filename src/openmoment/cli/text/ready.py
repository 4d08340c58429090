"""What backbones and methods there are, what each is, and what it lacks to run here."""

import inspect
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from openmoment.encoders import VideoEncoder
    from openmoment.encoders.base import Facts

DEFAULT = "embedded"
RECOMMENDED = "siglip2-b-32-256"
"""To whoever has the default alone: of the better ones quick enough for a laptop, under a licence
that allows all, and it reads many languages."""
PULL = "openmoment models pull"


def list_backbones() -> list[dict[str, Any]]:
    """The best first: name, summary, what is missing (None when it is ready), and its facts.

    ``frames_per_s`` is this machine's, where `openmoment models check` measured it.
    """
    from openmoment.encoders import BEST_FIRST, ENCODERS

    return [_about(name) for name in (*BEST_FIRST, *(n for n in ENCODERS if n not in BEST_FIRST))]


def _about(name: str) -> dict[str, Any]:
    from openmoment.encoders import ENCODERS
    from openmoment.encoders.speeds import known_speed

    encoder = ENCODERS[name]
    row: dict[str, Any] = _row(name, encoder)
    facts: Facts = encoder.facts  # pyright: ignore[reportAttributeAccessIssue]
    speed = known_speed(name, encoder) if row["missing"] is None else None
    return row | facts._asdict() | {"frames_per_s": speed}


def advise(backbones: "Sequence[Mapping[str, Any]]") -> str:
    """Which backbone to take, in one line: the best that is ready, or how to get a better one."""
    from openmoment.encoders import BEST_FIRST

    ready = (row["name"] for row in backbones if row["missing"] is None)
    best = next((name for name in ready if name in BEST_FIRST), DEFAULT)
    if best != DEFAULT:
        return f"{best} is ready, and the best here: auto takes it."
    row = next(row for row in backbones if row["name"] == RECOMMENDED)
    needs = "" if PULL in row["missing"] else row["missing"].partition("Run: ")[2] + " && "
    size = f"{row['megabytes']} MB, {row['licence']}, reads {row['languages']} languages"
    return f"{needs}{PULL} {RECOMMENDED} ({size})."


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
