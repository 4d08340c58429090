"""A calibration as a file: what decides, and beside it what it was made of."""

import json
from pathlib import Path
from typing import Any

from openmoment.calibration.estimate import Estimate
from openmoment.calibration.fitted import Fitted, ScoreMap, Source
from openmoment.errors import FormatError
from openmoment.reviews.files import read_made_by
from openmoment.storage.atomic import write_text
from openmoment.storage.reading import check_score, get, get_number, read_json

SCHEMA = "openmoment-calibration/1"


def write_calibration(fitted: Fitted, report: Estimate, path: Path) -> None:
    """Write a calibration, whole or not at all. Raises OpenMomentError."""
    document = {"schema": SCHEMA, **fitted.to_dict(), "marks": report.to_dict()}
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    write_text(text + "\n", path)


def read_calibration(path: Path) -> Fitted:
    """The calibration that a file holds. Raises FormatError."""
    where = str(path)
    document = read_json(path)
    schema = get(document, "schema", str, where)
    if schema != SCHEMA:
        raise FormatError(f"{where}: schema: expected {SCHEMA!r}, got {schema!r}.")
    made_by = read_made_by(get(document, "made_by", dict, where), f"{where}: made_by")
    presence = get(document, "presence", object, where)
    return Fitted(
        source=Source.of(made_by),
        score=_read_map(document, "score", where),
        threshold=_read_share(document, "threshold", where),
        presence=None if presence is None else _read_map(document, "presence", where),
    )


def _read_map(document: Any, name: str, where: str) -> ScoreMap:
    entry, place = get(document, name, dict, where), f"{where}: {name}"
    slope = get_number(entry, "slope", place)
    if slope <= 0:
        raise FormatError(f"{place}: slope: expected over 0, got {slope:g}.")
    middles = get(entry, "middles", dict, place)
    return ScoreMap(
        slope,
        get_number(entry, "middle", place),
        {query: get_number(middles, query, f"{place}: middles") for query in middles},
    )


def _read_share(table: Any, name: str, where: str) -> float:
    share = get_number(table, name, where)
    check_score(share, f"{where}: {name}")
    return share
