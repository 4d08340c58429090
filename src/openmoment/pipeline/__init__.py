"""The main job: a backbone and a method as one thing that can be asked about videos.

What is small, such as `pipeline.tasks`, can be imported without all that answers.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openmoment.pipeline.answering import Pipeline
    from openmoment.pipeline.loading import find, load_pipeline

__all__ = ["Pipeline", "find", "load_pipeline"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from openmoment.pipeline import loading

        return getattr(loading, name)
    raise AttributeError(f"module 'openmoment.pipeline' has no attribute {name!r}")
