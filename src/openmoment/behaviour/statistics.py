"""Counts, durations, time budget and transitions of behaviours, of a video or of many together.

What nothing tells, such as the mean length of no bout, is None. Axes: n bouts, k queries.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray as Array

from openmoment.behaviour.bouts import Bouts, transitions_of

SCHEMA = "openmoment-statistics/1"


@dataclass(frozen=True)
class QueryStatistics:
    """One behaviour; lengths and times in seconds."""

    query: str
    count: int
    total_s: float
    mean_s: float | None
    median_s: float | None
    sd_s: float | None
    """Of a sample, so that it needs two bouts."""
    min_s: float | None
    max_s: float | None
    per_hour: float | None
    share: float | None
    """Of the video's length."""
    latency_s: float | None
    """From the start of the video to the first bout; the mean over the videos that have one."""
    interval_mean_s: float | None
    """From the end of a bout to the start of the next one of the same query."""
    interval_median_s: float | None


@dataclass(frozen=True)
class Statistics:
    """All behaviours of one video, or of many as if they were one."""

    duration_s: float
    queries: tuple[QueryStatistics, ...]
    share_none: float | None
    """Of the length, without any of the queries."""
    transitions: Int[Array, "k k"]
    """How often the query of a row was followed by that of a column."""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(query.query for query in self.queries)

    @property
    def transition_shares(self) -> Float[Array, "k k"]:
        """The transitions as shares of their row; 0 in a row that nothing follows."""
        totals = self.transitions.sum(axis=1, keepdims=True)
        return self.transitions / np.maximum(totals, 1)

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold; times to a millisecond."""
        return {
            "duration_s": round(self.duration_s, 3),
            "share_none": _rounded(self.share_none),
            "queries": [
                {name: _rounded(value) for name, value in asdict(query).items()}
                for query in self.queries
            ],
            "transitions": {
                "names": list(self.names),
                "counts": self.transitions.tolist(),
                "shares": self.transition_shares.round(4).tolist(),
            },
        }


def statistics_of(videos: Sequence[Bouts], names: Sequence[str] = ()) -> Statistics:
    """The statistics of one video, or of several taken together.

    ``names`` say which queries, in which order; by default all that some video has. A query that a
    video does not have did not occur in it.
    """
    own = tuple(names) or tuple(dict.fromkeys(name for video in videos for name in video.names))
    duration_s = sum((video.duration_s for video in videos), start=0.0)
    some_s = sum(float(_lengths(video.any_of_them()).sum()) for video in videos)
    transitions = np.zeros((len(own), len(own)), dtype=np.int64)
    return Statistics(
        duration_s=duration_s,
        queries=tuple(_of_query(name, videos, duration_s) for name in own),
        share_none=max(1 - some_s / duration_s, 0.0) if duration_s else None,
        transitions=sum((transitions_of(video, own) for video in videos), start=transitions),
    )


def to_document(
    together: Statistics, videos: Mapping[str, Statistics], told_by: Mapping[str, str]
) -> dict[str, Any]:
    """Plain values of all videos and of each; ``told_by`` says what tells a video's length."""
    return {
        "schema": SCHEMA,
        "together": together.to_dict(),
        "videos": [
            {"video": video, "duration_from": told_by.get(video, ""), **own.to_dict()}
            for video, own in videos.items()
        ],
    }


def _of_query(name: str, videos: Sequence[Bouts], duration_s: float) -> QueryStatistics:
    parts = [video.of(name) for video in videos]
    lengths = np.concatenate([np.zeros(0), *(_lengths(part) for part in parts)])
    intervals = np.concatenate([np.zeros(0), *(part[1:, 0] - part[:-1, 1] for part in parts)])
    first = np.array([part[0, 0] for part in parts if len(part)])
    total_s = float(lengths.sum())
    return QueryStatistics(
        query=name,
        count=len(lengths),
        total_s=total_s,
        mean_s=_mean(lengths),
        median_s=_median(lengths),
        sd_s=float(lengths.std(ddof=1)) if len(lengths) > 1 else None,
        min_s=float(lengths.min()) if len(lengths) else None,
        max_s=float(lengths.max()) if len(lengths) else None,
        per_hour=3600 * len(lengths) / duration_s if duration_s else None,
        share=total_s / duration_s if duration_s else None,
        latency_s=_mean(first),
        interval_mean_s=_mean(intervals),
        interval_median_s=_median(intervals),
    )


def _lengths(segments: Float[Array, "n 2"]) -> Float[Array, " n"]:
    return segments[:, 1] - segments[:, 0]


def _mean(values: Float[Array, " n"]) -> float | None:
    return float(values.mean()) if len(values) else None


def _median(values: Float[Array, " n"]) -> float | None:
    return float(np.median(values)) if len(values) else None


def _rounded(value: Any) -> Any:
    return round(value, 6) if isinstance(value, float) else value
