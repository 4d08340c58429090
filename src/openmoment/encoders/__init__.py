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
