"""What a server is told when it starts."""

from dataclasses import dataclass
from pathlib import Path

from openmoment.encoders import AUTO

LOOPBACK = "127.0.0.1"
GIB = 2**30


@dataclass(frozen=True)
class Settings:
    """Defaults of the page, and who may ask for what."""

    backbone: str = AUTO
    method: str | None = None
    checkpoint: Path | None = None
    """A trained method, which then is the default."""
    calibration: Path | None = None
    """A file of `openmoment calibrate`, whose cut is the first threshold of what it is for."""
    name: str = ""
    """Who reviews, where the page does not say."""
    host: str = LOOPBACK
    """What the server is bound to; requests have to name it, or loopback."""
    token: str | None = None
    """What every request has to know; None where loopback is guard enough."""
    max_upload_bytes: int = 20 * GIB
