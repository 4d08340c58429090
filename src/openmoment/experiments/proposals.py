"""Proposals that others made, for methods that classify them: by video id, from one file.

The file is the ActivityNet proposal task's (``results`` by video, each a list of ``segment`` and
``score``; a ``label`` is passed over), or any file of detections that `openmoment evaluate` takes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from openmoment.errors import FormatError
from openmoment.experiments.kept import read_predictions
from openmoment.storage.reading import check_order, get, get_number, read_json, to_number
from openmoment.types import Proposals


@dataclass(frozen=True)
class ProposalFile:
    """Proposals by video id, with and without ``v_``, of whatever class."""

    path: Path
    videos: Mapping[str, Proposals]

    def of(self, video: str) -> Proposals:
        """Raises FormatError for a video that is not there: one without any has an empty list."""
        found = self.videos.get(video.removeprefix("v_"))
        if found is None:
            raise FormatError(
                f"{self.path}: holds no video {video!r}. Compare the ids; one without any has "
                "an empty list."
            )
        return found


def read_proposals(path: Path) -> ProposalFile:
    """The proposals of all videos of a file. Raises FormatError."""
    content = None if path.suffix == ".csv" else read_json(path)
    if isinstance(content, dict) and "results" in content:
        videos = get(content, "results", dict, str(path))
        made = {video: _read(videos, video, path) for video in videos}
    else:
        found = read_predictions(path)
        made = {video: _made(one.segments, one.scores, video, path) for video, one in found.items()}
    videos = {video.removeprefix("v_"): proposals for video, proposals in made.items()}
    return ProposalFile(path, videos)


def _read(videos: dict[str, Any], video: str, path: Path) -> Proposals:
    rows = get(videos, video, list, f"{path}: results")
    segments, scores = np.zeros((len(rows), 2)), np.zeros(len(rows))
    for i, row in enumerate(rows):
        where = f"{path}: results[{video!r}][{i}]"
        ends = get(row, "segment", list, where)
        if len(ends) != 2:
            raise FormatError(f"{where}: segment: expected [start, end] in seconds, got {ends!r}.")
        start_s, end_s = (to_number(time, f"{where}: segment") for time in ends)
        check_order(start_s, end_s, f"{where}: segment")
        segments[i] = start_s, end_s
        scores[i] = get_number(row, "score", where)
    return _made(segments, scores, video, path)


def _made(segments: Any, scores: Any, video: str, path: Path) -> Proposals:
    """Without what has no length, nothing before the start of the video."""
    if len(scores) and not (scores.min() >= 0 and scores.max() <= 1):
        raise FormatError(
            f"{path}: video {video!r} has scores from {scores.min():g} to {scores.max():g}. They "
            "are multiplied by probabilities of classes: scale them to [0, 1]."
        )
    segments = np.maximum(segments, 0.0)
    kept = segments[:, 1] > segments[:, 0]
    return Proposals(segments[kept], scores[kept])
