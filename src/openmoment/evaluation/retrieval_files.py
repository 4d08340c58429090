"""Sentences and what was found for them on disk, one a line, as QVHighlights has them."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from openmoment.datasets.base import Moment
from openmoment.evaluation.retrieval import Retrieved
from openmoment.storage.atomic import write_text


def write_queries(moments: Sequence[Moment], path: Path) -> None:
    """Write sentences with their windows; `evaluation.retrieval.read_truth` reads them."""
    _write_lines(
        (
            {
                **_head(moment),
                "duration": None if math.isnan(moment.duration_s) else moment.duration_s,
                "relevant_windows": moment.windows.tolist(),
            }
            for moment in moments
        ),
        path,
    )


def write_predictions(
    found: Mapping[str, Retrieved], moments: Sequence[Moment], path: Path
) -> None:
    """Write what was found; `evaluation.retrieval.read_predictions` reads it, best first."""
    _write_lines(
        (
            {**_head(moment), "pred_relevant_windows": _windows(found[moment.query_id])}
            for moment in moments
        ),
        path,
    )


def _windows(found: Retrieved) -> list[list[float]]:
    order = sorted(range(len(found.scores)), key=lambda i: -found.scores[i])
    return [[*found.segments[i].tolist(), float(found.scores[i])] for i in order]


def _head(moment: Moment) -> dict[str, object]:
    return {"qid": moment.query_id, "query": moment.query, "vid": moment.video}


def _write_lines(rows: Iterable[Mapping[str, object]], path: Path) -> None:
    write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), path)
