"""ELAN's annotation format (EAF 3.0): a tier for each query, an annotation for each moment.

An annotation's value is its score, ``0.8734``, so that it can be seen and edited there. ELAN
allows no overlap on a tier: a moment that overlaps goes to a second tier, ``tennis serve (2)``.
The head of our JSON, and which tier belongs to which query, stand in a property of the document,
which ELAN keeps; so overlapping moments come back under their one query, and queries that were not
found come back at all. Times are whole milliseconds, and one is the least that an annotation lasts.
"""

import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from mimetypes import guess_type
from pathlib import Path, PurePath
from typing import NamedTuple
from urllib.parse import unquote
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from openmoment.detections import Row
from openmoment.errors import FormatError
from openmoment.export.base import Format, Found, Read, only_video, parse_score
from openmoment.export.elan_times import Span, spans_of
from openmoment.export.json import NO_HEAD, Head, read_head, to_head
from openmoment.export.rate import find_video
from openmoment.export.xml import read_xml
from openmoment.storage.atomic import write_text
from openmoment.storage.reading import get
from openmoment.types import Detections

PROPERTY = "openmoment"
_KIND = "moments"
_SCHEMA = "http://www.mpi.nl/tools/elan/EAFv3.0.xsd"
_NOT_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Tier(NamedTuple):
    """A lane of annotations, none over another."""

    name: str
    query: str
    moments: list[tuple[int, int, float]]
    """Start and end in milliseconds, and score."""


def write(found: Found, path: Path) -> None:
    """Write tiers in the order asked. Raises FormatError for several videos."""
    video, detections = only_video(found, path)
    tiers = to_tiers(detections)
    head = to_head(video, detections) | {"tiers": {tier.name: tier.query for tier in tiers}}
    root = Element(
        "ANNOTATION_DOCUMENT",
        {
            "AUTHOR": "",
            "DATE": datetime.now(UTC).isoformat(timespec="seconds"),
            "FORMAT": "3.0",
            "VERSION": "3.0",
            "xmlns:xsi": "http://www.w3.org/2001/XMLSchema-instance",
            "xsi:noNamespaceSchemaLocation": _SCHEMA,
        },
    )
    header = SubElement(root, "HEADER", MEDIA_FILE="", TIME_UNITS="milliseconds")
    if video:
        SubElement(header, "MEDIA_DESCRIPTOR", _describe_media(video, path))
    SubElement(header, "PROPERTY", NAME="lastUsedAnnotationId").text = str(len(detections))
    SubElement(header, "PROPERTY", NAME=PROPERTY).text = json.dumps(head)
    _add_tiers(root, tiers)
    kind = {"LINGUISTIC_TYPE_ID": _KIND, "TIME_ALIGNABLE": "true", "GRAPHIC_REFERENCES": "false"}
    SubElement(root, "LINGUISTIC_TYPE", kind)
    indent(root)
    text = tostring(root, encoding="unicode")
    write_text(f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n', path)


def read(path: Path) -> Read:
    """The video and its detections, also from files made in ELAN.

    A value from 0 to 1 is a score, and the query is the tier's; of any other the value is the
    query, and the score 1. Annotations that refer to others, on symbolic tiers, take their time.
    Raises FormatError.
    """
    root = read_xml(path)
    if root.tag != "ANNOTATION_DOCUMENT":
        raise FormatError(f"{path}: expected an ANNOTATION_DOCUMENT, got {root.tag[:50]!r}.")
    head, tiers = _read_head(root, str(path))
    rows = [_to_row(span, tiers) for span in spans_of(root, str(path))]
    return {_name_video(root, head) or path.stem: head.with_rows(rows)}


ELAN = Format(
    write,
    read,
    extension=".eaf",
    about="the tiers of ELAN, for those who annotate speech, signs and behaviour",
)


def to_tiers(found: Detections) -> list[Tier]:
    """A tier for each query, and more where its moments overlap, under names that ELAN takes."""
    tiers: list[Tier] = []
    taken: set[str] = set()
    for label, query in enumerate(found.names):
        for lane in _lanes(found[found.labels == label].by_time()):
            name = _free_name(query, taken)
            taken.add(name)
            tiers.append(Tier(name, query, lane))
    return tiers


def _lanes(moments: Detections) -> list[list[tuple[int, int, float]]]:
    """Moments in order of time on as few lanes as hold them without overlap, one at least."""
    lanes: list[list[tuple[int, int, float]]] = [[]]
    for start_s, end_s, _, score in moments:
        start_ms = max(0, round(round(start_s, 3) * 1000))
        end_ms = max(start_ms + 1, round(round(end_s, 3) * 1000))
        free = next((lane for lane in lanes if not lane or lane[-1][1] <= start_ms), None)
        if free is None:
            lanes.append(free := [])
        free.append((start_ms, end_ms, score))
    return lanes


def _free_name(query: str, taken: set[str]) -> str:
    """The query on one line and without what XML cannot hold, numbered if that is taken."""
    tidy = " ".join(_NOT_XML.sub("\ufffd", query).split()) or "(no words)"
    number = 1
    name = tidy
    while name in taken:
        number += 1
        name = f"{tidy} ({number})"
    return name


def _add_tiers(root: Element, tiers: list[Tier]) -> None:
    """The time slots, in order and two for each annotation, and the tiers that refer to them."""
    moments = enumerate((moment for tier in tiers for moment in tier.moments), start=1)
    ends = sorted((moment[side], number, side) for number, moment in moments for side in (0, 1))
    order = SubElement(root, "TIME_ORDER")
    slots: dict[tuple[int, int], str] = {}
    for count, (time, number, side) in enumerate(ends, start=1):
        slots[number, side] = f"ts{count}"
        SubElement(order, "TIME_SLOT", TIME_SLOT_ID=f"ts{count}", TIME_VALUE=str(time))
    number = 0
    for name, _, lane in tiers:
        tier = SubElement(root, "TIER", LINGUISTIC_TYPE_REF=_KIND, TIER_ID=name)
        for *_, score in lane:
            number += 1
            place = {
                "ANNOTATION_ID": f"a{number}",
                "TIME_SLOT_REF1": slots[number, 0],
                "TIME_SLOT_REF2": slots[number, 1],
            }
            annotation = SubElement(SubElement(tier, "ANNOTATION"), "ALIGNABLE_ANNOTATION", place)
            SubElement(annotation, "ANNOTATION_VALUE").text = f"{score:.4f}"


def _describe_media(video: str, path: Path) -> dict[str, str]:
    """Where ELAN finds the video: by path if it is there, else beside the file.

    ELAN's own addresses are not percent-encoded.
    """
    beside, here = PurePath(video).name, find_video(video, path)
    place = f"./{beside}"
    if here is not None:
        place = f"file:///{here.absolute().as_posix().lstrip('/')}"
        with suppress(ValueError):  # another drive of Windows
            beside = Path(os.path.relpath(here, path.parent)).as_posix()
    media = {
        "MEDIA_URL": place,
        "MIME_TYPE": guess_type(beside)[0] or "unknown",
        "RELATIVE_MEDIA_URL": f"./{beside}",
    }
    return {name: _NOT_XML.sub("\ufffd", value) for name, value in media.items()}


def _read_head(root: Element, where: str) -> tuple[Head, Mapping[str, str]]:
    """Our head, and the query of each tier, where the document has them."""
    for entry in root.iterfind("HEADER/PROPERTY"):
        if entry.get("NAME") != PROPERTY:
            continue
        where = f"{where}: PROPERTY {PROPERTY}"
        try:
            document = json.loads(entry.text or "")
        except (ValueError, RecursionError) as error:
            raise FormatError(f"{where}: is not JSON: {error}.") from error
        tiers = get(document, "tiers", dict, where)
        return read_head(document, where), {name: get(tiers, name, str, where) for name in tiers}
    return NO_HEAD, {}


def _name_video(root: Element, head: Head) -> str | None:
    """The video's path: from our head, else of the first medium."""
    media = root.find("HEADER/MEDIA_DESCRIPTOR")
    if head.video is not None or media is None:
        return head.video
    url = media.get("MEDIA_URL") or media.get("RELATIVE_MEDIA_URL") or ""
    path = unquote(re.sub("^file:(//)?", "", url))
    return re.sub("^/([A-Za-z]:)", r"\1", path)  # /C:/videos on Windows


def _to_row(span: Span, tiers: Mapping[str, str]) -> Row:
    score = parse_score(span.value)
    query = tiers.get(span.tier)
    if query is None:
        query = span.tier if score is not None or not span.value else span.value
    return Row(span.start_s, span.end_s, query, 1.0 if score is None else score)
