"""Methods by name. A new one is a file here and a line in this table."""

from collections.abc import Mapping

from openmoment.config import from_table
from openmoment.encoders.base import Space
from openmoment.methods.base import HasCurves, Method
from openmoment.registry import LazyTable

METHODS: LazyTable[type[Method]] = LazyTable(
    "method",
    {
        "similarity": "openmoment.methods.similarity:Similarity",
        "frame_threshold": "openmoment.methods.frame_threshold:FrameThreshold",
        "whole_video": "openmoment.methods.whole_video:WholeVideo",
    },
)
DEFAULT = "similarity"

__all__ = ["DEFAULT", "METHODS", "HasCurves", "Method", "load_method"]


def load_method(name: str, space: Space, settings: Mapping[str, object] | None = None) -> Method:
    """The method of that name, with ``settings`` over its defaults.

    Raises UnknownNameError for the name, ConfigError for a setting.
    """
    method = METHODS[name]
    return method(from_table(method.Config, settings or {}, where=f"method {name}"), space)
