"""Sentences and what was found for them on disk, one a line, as QVHighlights has them."""

import json
import math
import reprlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray as Array

from openmoment.datasets.base import Moment
from openmoment.errors import FormatError
from openmoment.evaluation.retrieval import Retrieved, Segments
from openmoment.storage.atomic import write_text
from openmoment.storage.reading import check_order, get, get_number, read_json_lines, to_number

CLIP_S = 2
"""The length of the clips that QVHighlights' raters saw."""

NUM_RATERS = 3

# reading -----------------------------------------------------------------------------------


def read_truth(path: Path) -> dict[str, Segments]:
    """The annotated segments of each query. Raises FormatError naming file, line and field.

    The published test subset has none, and is refused.
    """
    truth = {}
    for query, row, where in read_rows(path):
        windows = read_windows(row, "relevant_windows", where, width=2)
        if len(windows) == 0:
            raise FormatError(f"{where}: relevant_windows: expected at least one window, got none.")
        truth[query] = windows
    return truth


def read_predictions(path: Path) -> dict[str, Retrieved]:
    """The segments found for each query. Raises FormatError naming file, line and field."""
    found = {}
    for query, row, where in read_rows(path):
        windows = read_windows(row, "pred_relevant_windows", where, width=3)
        found[query] = Retrieved(windows[:, :2], windows[:, 2])
    return found


def read_ratings(path: Path) -> dict[str, Float[Array, "_ raters"]]:
    """The raters' opinion of each clip, 0 where they saw none, as `highlights` takes it.

    Raises FormatError naming file, line and field.
    """
    ratings = {}
    for query, row, where in read_rows(path):
        given = _read_lists(row, "saliency_scores", where, width=NUM_RATERS)
        clips = get(row, "relevant_clip_ids", list, where)
        num_clips = int(get_number(row, "duration", where) / CLIP_S)
        if not all(type(clip) is int and 0 <= clip < num_clips for clip in clips):
            raise FormatError(
                f"{where}: relevant_clip_ids: expected whole numbers from 0 to {num_clips - 1}."
            )
        if len(clips) != len(given):
            raise FormatError(
                f"{where}: saliency_scores: expected one entry for each of the {len(clips)} "
                f"relevant_clip_ids, got {len(given)}."
            )
        ratings[query] = np.zeros((num_clips, NUM_RATERS))
        ratings[query][clips] = given
    return ratings


def read_saliency(path: Path) -> dict[str, Float[Array, " _"]]:
    """The predicted score of each clip. Raises FormatError naming file, line and field."""
    scores = {}
    for query, row, where in read_rows(path):
        values = enumerate(get(row, "pred_saliency_scores", list, where))
        place = f"{where}: pred_saliency_scores"
        scores[query] = np.array([to_number(v, f"{place}[{i}]") for i, v in values], dtype=float)
    return scores


def read_rows(path: Path) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Query id, row and place of each line; ids are numbers in the published files.

    Raises FormatError.
    """
    seen = set()
    for row, where in read_json_lines(path):
        query = get(row, "qid", object, where)
        if not isinstance(query, int | str):
            raise FormatError(
                f"{where}: qid: expected a number or text, got {reprlib.repr(query)}."
            )
        if str(query) in seen:
            raise FormatError(f"{where}: qid: {query} is there twice.")
        seen.add(str(query))
        yield str(query), row, where


def read_windows(
    row: dict[str, Any], name: str, where: str, *, width: int
) -> Float[Array, "n width"]:
    """The windows in ``row[name]``: a start, an end, and whatever else `width` leaves room for.

    Raises FormatError starting with ``where``.
    """
    windows = _read_lists(row, name, where, width=width)
    for i, (start_s, end_s) in enumerate(windows[:, :2]):
        check_order(start_s, end_s, f"{where}: {name}[{i}]")
    return windows


def _read_lists(
    row: dict[str, Any], name: str, where: str, *, width: int
) -> Float[Array, "n width"]:
    lists = []
    for i, values in enumerate(get(row, name, list, where)):
        place = f"{where}: {name}[{i}]"
        if not isinstance(values, list) or len(values) != width:
            shown = reprlib.repr(values)
            raise FormatError(f"{place}: expected a list of {width} numbers, got {shown}.")
        lists.append([to_number(value, place) for value in values])
    return np.array(lists, dtype=float).reshape(-1, width)


# writing -----------------------------------------------------------------------------------


def write_queries(moments: Sequence[Moment], path: Path) -> None:
    """Write sentences with their windows; `read_truth` reads them."""
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
    """Write what was found; `read_predictions` reads it, best first."""
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
