"""Methods by name. A new one is a file here and a line in this table."""

import tomllib
from collections.abc import Mapping
from importlib import resources
from typing import Any

from openmoment.config import from_table
from openmoment.encoders.base import Space
from openmoment.errors import UnknownNameError
from openmoment.methods.base import Explains, HasCurves, Method
from openmoment.registry import LazyTable

METHODS: LazyTable[type[Method]] = LazyTable(
    "method",
    {
        "similarity": "openmoment.methods.similarity:Similarity",
        "t3al": "openmoment.methods.t3al:T3al",
        "contrans": "openmoment.methods.contrans:ConTrans",
        "stale": "openmoment.methods.stale:Stale",
        "grizal": "openmoment.methods.grizal:Grizal",
        "unloc": "openmoment.methods.unloc:UnLoc",
        "two_stage": "openmoment.methods.two_stage:TwoStage",
        "dense_clip": "openmoment.methods.dense_clip:DenseClip",
        "effprompt": "openmoment.methods.effprompt:EffPrompt",
        "frame_threshold": "openmoment.methods.frame_threshold:FrameThreshold",
        "whole_video": "openmoment.methods.whole_video:WholeVideo",
    },
)
DEFAULT = "similarity"
_TRAINING = "training"

__all__ = [
    "DEFAULT",
    "METHODS",
    "Explains",
    "HasCurves",
    "Method",
    "load_method",
    "preset_settings",
    "presets",
    "training_settings",
]


def presets(name: str) -> tuple[str, ...]:
    """The presets of a method, such as ``thumos14-paper``."""
    folder = resources.files("openmoment") / "presets" / name
    if not folder.is_dir():
        return ()
    return tuple(sorted(f.name.removesuffix(".toml") for f in folder.iterdir()))


def preset_settings(name: str, preset: str) -> dict[str, object]:
    """The settings that a method's preset holds. Raises UnknownNameError."""
    return {key: value for key, value in _read_preset(name, preset).items() if key != _TRAINING}


def training_settings(name: str, preset: str) -> dict[str, object]:
    """How a preset trains the method. Raises UnknownNameError."""
    return _read_preset(name, preset).get(_TRAINING, {})


def _read_preset(name: str, preset: str) -> dict[str, Any]:
    known = presets(name)
    if preset not in known:
        raise UnknownNameError(f"preset of {name}", preset, list(known))
    path = resources.files("openmoment") / "presets" / name / f"{preset}.toml"
    return tomllib.loads(path.read_text(encoding="utf-8"))


def load_method(name: str, space: Space, settings: Mapping[str, object] | None = None) -> Method:
    """The method of that name, with ``settings`` over its defaults.

    Raises UnknownNameError for the name, ConfigError for a setting.
    """
    method = METHODS[name]
    return method(from_table(method.Config, settings or {}, where=f"method {name}"), space)
