"""When each annotation of an ELAN document is, whether it says so itself or refers to another."""

from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple
from xml.etree.ElementTree import Element

import numpy as np

from openmoment.errors import FormatError
from openmoment.storage.reading import check_order, to_number


class Span(NamedTuple):
    """An annotation with its time, its tier and its text."""

    start_s: float
    end_s: float
    tier: str
    value: str


class _Note(NamedTuple):
    """An annotation that refers to another instead of to times."""

    id: str
    tier: str
    value: str
    place: str


def spans_of(root: Element, where: str) -> list[Span]:
    """All annotations, in order of tier. Raises FormatError starting with ``where``.

    Those that refer to one annotation from the same tier share its time evenly, in their order,
    as ELAN shows them.
    """
    times = _read_times(root, where)
    spans: dict[str, Span] = {}
    notes: dict[str, list[_Note]] = defaultdict(list)
    for tier, annotation, place in _annotations(root, where):
        own, value = _attribute(annotation, "ANNOTATION_ID", place), _value(annotation)
        if own in spans:
            raise FormatError(f"{place}: ANNOTATION_ID {own!r} is there twice.")
        if annotation.tag == "REF_ANNOTATION":
            parent = _attribute(annotation, "ANNOTATION_REF", place)
            notes[parent].append(_Note(own, tier, value, place))
            continue
        ends = [_time(annotation, f"TIME_SLOT_REF{i}", times, place) for i in (1, 2)]
        check_order(ends[0], ends[1], place)
        spans[own] = Span(ends[0], ends[1], tier, value)
    _place_notes(spans, notes)
    return list(spans.values())


def _place_notes(spans: dict[str, Span], notes: dict[str, list[_Note]]) -> None:
    """Add the annotations that refer to others, which may be referred to in turn."""
    waiting = list(spans)
    while waiting:
        parent = waiting.pop()
        by_tier: dict[str, list[_Note]] = defaultdict(list)
        for note in notes.pop(parent, []):
            by_tier[note.tier].append(note)
        for group in by_tier.values():
            edges = np.linspace(spans[parent].start_s, spans[parent].end_s, len(group) + 1).tolist()
            for note, start_s, end_s in zip(group, edges[:-1], edges[1:], strict=True):
                if note.id in spans:
                    raise FormatError(f"{note.place}: ANNOTATION_ID {note.id!r} is there twice.")
                spans[note.id] = Span(start_s, end_s, note.tier, note.value)
                waiting.append(note.id)
    for parent, lost in notes.items():
        raise FormatError(f"{lost[0].place}: ANNOTATION_REF: there is no annotation {parent!r}.")


def _annotations(root: Element, where: str) -> Iterator[tuple[str, Element, str]]:
    for tier in root.iterfind("TIER"):
        name = _attribute(tier, "TIER_ID", f"{where}: TIER")
        for number, annotation in enumerate(tier.iterfind("ANNOTATION/*"), start=1):
            yield name, annotation, f"{where}: tier {name!r}, annotation {number}"


def _read_times(root: Element, where: str) -> dict[str, float]:
    """The slots in seconds; those without a time lie evenly between those around them."""
    slots = [
        (_attribute(slot, "TIME_SLOT_ID", f"{where}: TIME_ORDER"), slot.get("TIME_VALUE"))
        for slot in root.iterfind("TIME_ORDER/TIME_SLOT")
    ]
    known = {
        i: to_number(value, f"{where}: TIME_SLOT {name}: TIME_VALUE") / 1000
        for i, (name, value) in enumerate(slots)
        if value is not None
    }
    if not known:
        return {}
    times = np.interp(np.arange(len(slots)), list(known), list(known.values())).tolist()
    return {name: time for (name, _), time in zip(slots, times, strict=True)}


def _time(annotation: Element, name: str, times: dict[str, float], where: str) -> float:
    slot = _attribute(annotation, name, where)
    if slot not in times:
        raise FormatError(f"{where}: {name}: there is no time slot {slot!r} with a time.")
    return times[slot]


def _attribute(element: Element, name: str, where: str) -> str:
    value = element.get(name)
    if value is None:
        raise FormatError(f"{where}: {name} is missing.")
    return value


def _value(annotation: Element) -> str:
    return (annotation.findtext("ANNOTATION_VALUE") or "").strip()
