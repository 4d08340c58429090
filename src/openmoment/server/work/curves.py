"""Score curves: kept beside the features, one file per video and query, drawn with few points."""

import hashlib
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray as Array

from openmoment.errors import OpenMomentError
from openmoment.features.cache import Cache
from openmoment.figures.timeline import downsample
from openmoment.storage.atomic import atomic_write
from openmoment.types import Detections


class Curve(NamedTuple):
    """A score in [0, 1] at each of these times."""

    times_s: Float[Array, " t"]
    scores: Float[Array, " t"]
    occurs_at: float | None = None
    """From which height on its query seems to occur, where it tells."""

    def within(self, start_s: float, end_s: float) -> "Curve":
        """The part from one time to another, and one point beyond at each side."""
        first = max(int(np.searchsorted(self.times_s, start_s)) - 1, 0)
        last = int(np.searchsorted(self.times_s, end_s, side="right")) + 1
        return Curve(self.times_s[first:last], self.scores[first:last], self.occurs_at)

    def thinned(self, points: int) -> "Curve":
        """At most so many points: of each stretch the lowest and the highest, so no peak goes."""
        times_s, scores = downsample(self.times_s, self.scores, at_most=points)
        return Curve(times_s, scores, self.occurs_at)


def write_curves(found: Detections, cache: Cache) -> None:
    """Keep the curves of an answer, where it has some and the cache can be written to."""
    origin = found.origin
    if origin is None or origin.curves is None or origin.grid is None:
        return
    from safetensors.numpy import save_file

    for name, scores in zip(found.names, origin.curves, strict=True):
        tensors = {
            "times_s": origin.grid.centres_s,
            "scores": np.ascontiguousarray(scores, dtype=np.float32),
        }
        if origin.occurs_at is not None:
            tensors["occurs_at"] = np.array([origin.occurs_at])
        path = _path(cache, origin.source_sha256, name)
        with suppress(OSError, OpenMomentError):
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as temporary:
                save_file(tensors, temporary)


def read_curve(cache: Cache, sha256: str, query: str) -> Curve | None:
    """The curve of a query, or None where it was lost or there is none."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    path = _path(cache, sha256, query)
    try:
        tensors = load_file(path)
        occurs_at = float(tensors["occurs_at"][0]) if "occurs_at" in tensors else None
        return Curve(tensors["times_s"], tensors["scores"], occurs_at)
    except (OSError, SafetensorError, KeyError):
        return None


def _path(cache: Cache, sha256: str, query: str) -> Path:
    name = hashlib.sha256(query.encode(errors="surrogatepass")).hexdigest()
    return cache.kept_path({"curve": 1, "video": sha256, "query": name}, ".curve")
