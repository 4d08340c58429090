"""How quick backbones are on this machine: measured by `openmoment models check`, and kept.

One small file in the cache folder, by fingerprint, so that other weights are measured anew.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from openmoment.encoders.base import VideoEncoder
from openmoment.features.cache import Cache
from openmoment.storage.atomic import write_text


def keep_speed(encoder: VideoEncoder, frames_per_s: float) -> None:
    """Remember what was measured, on the device that it was measured on."""
    path = _path()
    path.parent.mkdir(parents=True, exist_ok=True)
    row = {"name": encoder.name, "device": _device(encoder), "frames_per_s": frames_per_s}
    kept = _read(path) | {_key(encoder): row}
    write_text(json.dumps(kept, indent=1), path)


def known_speed(name: str, make: Callable[[], VideoEncoder]) -> float | None:
    """Frames a second of a backbone that is ready, on the processor; None: never measured."""
    kept = _read(_path())
    if not any(row.get("name") == name for row in kept.values()):
        return None  # and no weights are hashed to find that out
    row = kept.get(_key(make()))
    return None if row is None else float(row["frames_per_s"])


def _key(encoder: VideoEncoder) -> str:
    return f"{encoder.fingerprint} {_device(encoder)}"


def _device(encoder: VideoEncoder) -> str:
    return str(getattr(encoder, "device", "cpu"))


def _path() -> Path:
    return Cache().root / "speeds.json"


def _read(path: Path) -> dict[str, dict[str, Any]]:
    """What is kept; a file that is damaged holds nothing."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}
