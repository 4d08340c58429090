"""QVHighlights' lines of JSON, which moment retrieval reads: a query of a video on each.

``{"qid": "0", "query": "a man waves", "vid": "day/match.mp4", "pred_relevant_windows":
[[12.25, 15.0, 0.8734]]}``, best first, unrounded. Ground truth, with ``relevant_windows``, is read
as well; its scores are 1.
"""

import math
from pathlib import Path

import numpy as np

from openmoment.datasets.base import Moment
from openmoment.detections import Row, from_rows
from openmoment.errors import FormatError
from openmoment.evaluation.retrieval import Retrieved
from openmoment.evaluation.retrieval_files import read_rows, read_windows, write_predictions
from openmoment.export.base import Format, Found, Read, by_video
from openmoment.storage.reading import get


def write(found: Found, path: Path) -> None:
    """Write a line for each video and query, also for those that were not found."""
    moments: list[Moment] = []
    answers: dict[str, Retrieved] = {}
    for video, detections in by_video(found).items():
        for label, query in enumerate(detections.names):
            mine = detections[np.flatnonzero(detections.labels == label)]
            key = str(len(moments))
            moments.append(Moment(key, video, query, np.zeros((0, 2)), math.nan))
            answers[key] = Retrieved(mine.segments, mine.scores)
    write_predictions(answers, moments, path)


def read(path: Path) -> Read:
    """Detections by video. Scores may be any finite numbers, as other tools write them.

    A query's best score stands for its presence, 0 where it has no window. Raises FormatError.
    """
    rows: dict[str, list[Row]] = {}
    asked: dict[str, dict[str, float]] = {}
    for _, row, where in read_rows(path):
        video, query = get(row, "vid", str, where), get(row, "query", str, where)
        new = _read_moments(row, query, where)
        best = max((moment.score for moment in new), default=0.0)
        presence = asked.setdefault(video, {})
        presence[query] = max(best, presence.get(query, 0.0))
        rows.setdefault(video, []).extend(new)
    return {video: from_rows(rows[video], asked[video]) for video in rows}


QVHIGHLIGHTS = Format(
    write,
    read,
    extension=".jsonl",
    about="the predictions of moment retrieval, which QVHighlights' evaluators read",
    loses="how likely each query occurs at all, and where it all comes from",
    holds_several=True,
)


def _read_moments(row: dict[str, object], query: str, where: str) -> list[Row]:
    if "pred_relevant_windows" in row:
        windows = read_windows(row, "pred_relevant_windows", where, width=3)
        return [Row(start_s, end_s, query, score) for start_s, end_s, score in windows.tolist()]
    if "relevant_windows" not in row:
        raise FormatError(f"{where}: expected pred_relevant_windows or relevant_windows.")
    windows = read_windows(row, "relevant_windows", where, width=2)
    return [Row(start_s, end_s, query, 1.0) for start_s, end_s in windows.tolist()]
