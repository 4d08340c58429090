"""Which backbones and methods there are, and which are ready on this machine."""

import json
import subprocess
import sys
from pathlib import Path
from threading import Lock
from typing import Any

from openmoment.encoders import AUTO, BEST_FIRST, ENCODERS
from openmoment.errors import ConfigError, UnknownNameError
from openmoment.methods import DEFAULT, METHODS
from openmoment.server.service.settings import Settings

_LISTING_S = 120.0


class Catalogue:
    """What a page may choose from.

    Raises UnknownNameError, ConfigError, FormatError for defaults that are none, or do not fit.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._trained: str | None = None
        if settings.checkpoint is not None:
            from openmoment.checkpoints.card import read_card

            self._trained = read_card(settings.checkpoint).method
        if settings.calibration is not None:
            self._check_calibration(settings.calibration)
        if settings.method is not None and settings.method not in METHODS:
            raise UnknownNameError("method", settings.method, list(METHODS))
        if self._trained is not None and settings.method not in (None, self._trained):
            raise ConfigError(f"--checkpoint: is of {self._trained}, not of {settings.method}.")
        if not _may_be_backbone(settings.backbone):
            raise UnknownNameError("backbone", settings.backbone, list(ENCODERS))
        self._lock = Lock()
        self._listed: list[dict[str, Any]] | None = None

    def _check_calibration(self, path: Path) -> None:
        """Raises FormatError, and ConfigError for one of another method than the default."""
        from openmoment.calibration import read_calibration

        meant = self._trained or self.settings.method or DEFAULT
        made_for = read_calibration(path).source.method
        if made_for != meant:
            raise ConfigError(f"{path}: is for {made_for}, not for {meant}.")

    def backbones(self) -> list[dict[str, Any]]:
        """Name, what it is, whether its weights are here, whether it is the default."""
        rows = {name: (_about(encoder), encoder.missing()) for name, encoder in ENCODERS.items()}
        chosen = self.settings.backbone
        if chosen == AUTO:
            chosen = next(name for name in BEST_FIRST if rows[name][1] is None)
        elif chosen not in rows:
            rows[chosen] = ("As the server was started with it.", None)
        return [
            {
                "name": name,
                "about": about,
                "ready": missing is None,
                "default": name == chosen,
            }
            for name, (about, missing) in rows.items()
        ]

    def methods(self) -> list[dict[str, Any]]:
        """The same of methods; one that has to be trained is ready with its checkpoint."""
        chosen = self._trained or self.settings.method or DEFAULT
        return [
            {
                "name": row["name"],
                "about": row["summary"],
                "ready": row["missing"] is None or row["name"] == self._trained,
                "default": row["name"] == chosen,
            }
            for row in self._rows()
        ]

    def check_backbone(self, name: str | None) -> None:
        """Raises UnknownNameError: names alone are taken from a page, no paths."""
        if name not in (None, AUTO, self.settings.backbone) and name not in ENCODERS:
            raise UnknownNameError("backbone", str(name), list(ENCODERS))

    def is_of_checkpoint(self, method: str | None) -> bool:
        """Whether the trained method that the server was given is meant."""
        return self._trained is not None and method in (None, self._trained)

    def is_unready(self, method: str | None) -> bool:
        """Whether a method is known to need training; where that was not asked yet, it is not."""
        return any(row["name"] == method and row["missing"] for row in self._listed or ())

    def _rows(self) -> list[dict[str, Any]]:
        """What `openmoment models` lists, asked once, of another process: methods load torch."""
        with self._lock:
            if self._listed is None:
                self._listed = _list_methods() or []  # what failed once is not tried at each page
            return self._listed or [_row(name) for name in METHODS]


def _list_methods() -> list[dict[str, Any]] | None:
    command = [sys.executable, "-P", "-m", "openmoment", "models", "--json"]
    try:
        told = subprocess.run(command, capture_output=True, check=True, timeout=_LISTING_S)
        return json.loads(told.stdout)["methods"]
    except (OSError, subprocess.SubprocessError, ValueError, KeyError):
        return None


def _row(name: str) -> dict[str, Any]:
    return {"name": name, "summary": "", "missing": None}


def _may_be_backbone(name: str) -> bool:
    """Whether a name is in the table, or leads to weights elsewhere."""
    return name == AUTO or name in ENCODERS or "@" in name or Path(name).expanduser().is_dir()


def _about(thing: type) -> str:
    return (thing.__doc__ or "").strip().partition("\n")[0]
