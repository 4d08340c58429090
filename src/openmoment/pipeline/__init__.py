"""The main job: a backbone and a method as one thing that can be asked about videos."""

from openmoment.pipeline.answering import Pipeline
from openmoment.pipeline.loading import find, load_pipeline

__all__ = ["Pipeline", "find", "load_pipeline"]
