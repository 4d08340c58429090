"""Find when things happen in video, from words alone.

    import openmoment
    found = openmoment.find("match.mp4", ["tennis serve", "players shaking hands"])

Importing this package imports no torch; what is heavy loads when it is used.
"""

from typing import TYPE_CHECKING, Any

from openmoment.detections import Detections
from openmoment.errors import OpenMomentError
from openmoment.types import Annotations, Queries, SnippetGrid, Snippets
from openmoment.version import __version__ as __version__

if TYPE_CHECKING:
    from openmoment.pipeline import Pipeline, find, load_pipeline

__all__ = [
    "Annotations",
    "Detections",
    "OpenMomentError",
    "Pipeline",
    "Queries",
    "SnippetGrid",
    "Snippets",
    "find",
    "load_pipeline",
]


def __getattr__(name: str) -> Any:
    if name in ("Pipeline", "find", "load_pipeline"):
        from openmoment import pipeline

        return getattr(pipeline, name)
    raise AttributeError(f"module 'openmoment' has no attribute {name!r}")
