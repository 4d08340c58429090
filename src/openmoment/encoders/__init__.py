"""Backbones by name. Listing them, and making one, loads no weights and imports no torch."""

from openmoment.encoders.base import Encoder
from openmoment.registry import LazyTable

ENCODERS: LazyTable[type[Encoder]] = LazyTable(
    "backbone",
    {
        "embedded": "openmoment.encoders.embedded:Embedded",
    },
)
AUTO = "auto"
"""The best backbone that is ready on this machine; it never downloads."""


def load_encoder(name: str = AUTO) -> Encoder:
    """The encoder of that name. Raises UnknownNameError."""
    return ENCODERS["embedded" if name == AUTO else name]()


def describe_backbone(name: str) -> str:
    """One honest line about what answers from that backbone rest on."""
    return f"{name}, {ENCODERS[name].note}" if name in ENCODERS else f"{name}."
