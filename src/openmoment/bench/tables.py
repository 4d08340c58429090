"""The tables of a report: results beside the papers', text checks, errors, and what it cost."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from openmoment.bench.record import Record
from openmoment.bench.summary import DECISIVE, Group, Row, group_records, spread
from openmoment.evaluation.diagnosis import ERRORS, KINDS
from openmoment.evaluation.published import Published
from openmoment.evaluation.tables import render
from openmoment.evaluation.text_check import LOWEST, text_verdict, worst_share

_MADE_UP = "A made-up world: no number from it says how good a method is on real video."
_REGIONS = ("R@IoU0.3", "R@IoU0.5", "R@IoU0.7", "R@IoU0.75", "R@IoU0.95", "mIoU")
_NONE_ABOVE_HALF = (
    "0.0 throughout: no snippet that shows its label has a score above one half. That says nothing "
    "of their order."
)
HOW, VERDICT = "how, and what differs", "verdict"


@dataclass(frozen=True)
class Table:
    """A titled table of text, with what has to be said of it."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""

    def to_markdown(self) -> str:
        """The rows below their header."""
        rows = [[cell.replace("|", r"\|") for cell in row] for row in self.rows]
        return render(self.header, rows, "markdown")


@dataclass(frozen=True)
class Section:
    """All tables of one group of runs."""

    title: str
    tables: tuple[Table, ...]
    note: str = ""


def sections(records: Sequence[Record]) -> list[Section]:
    """For every dataset and setting: results, text checks, errors, cost."""
    return [
        Section(
            group.title,
            tuple(
                table
                for make in (results, label_given, text_checks, errors, gains, costs)
                if (table := make(group)).rows
            ),
            _MADE_UP if group.is_made_up else "",
        )
        for group in group_records(records)
    ]


def results(group: Group) -> Table:
    """Methods by metrics: ours, the paper's number below it, and why the two may differ."""
    header = ("method", "whose", *group.metrics, HOW)
    rows: list[tuple[str, ...]] = []
    for row in group.rows:
        ours = (spread(row.values("metrics", metric)) for metric in group.metrics)
        rows.append((row.label, "ours", *ours, row.differences))
        if row.published and row.published.percent.keys() & set(group.metrics):
            rows.append(_paper(row.published, group.metrics))
    rows += [
        _paper(other, group.metrics)
        for other in group.others
        if other.percent.keys() & set(group.metrics)
    ]
    return Table(
        "Results",
        header,
        tuple(rows),
        "In percent; of several splits the mean ± the standard deviation of the sample. Under a "
        "method of ours stands what its paper reports for the same dataset and setting.",
    )


def _paper(row: Published, metrics: Sequence[str]) -> tuple[str, ...]:
    return (row.method, f"{row.paper}, {row.table}", *map(row.cell, metrics), row.note)


def label_given(group: Group) -> Table:
    """R@tIoU and mIoU with the label given, where a method has a score for every snippet."""
    known = {name for row in group.rows for name in row.first.label_given}
    metrics = [name for name in _REGIONS if name in known]
    rows: list[tuple[str, ...]] = []
    for row in group.rows if metrics else ():
        if row.first.label_given:
            cells = (spread(row.values("label_given", metric)) for metric in metrics)
            rows.append((row.label, "ours", *cells))
        if row.published and row.published.percent.keys() & set(metrics):
            rows.append(_paper(row.published, metrics)[:-1])
    has_zeros = any(
        row.first.label_given and not any(any(row.values("label_given", m)) for m in metrics)
        for row in group.rows
    )
    return Table(
        "With the label given",
        ("method", "whose", *metrics),
        tuple(rows),
        _NONE_ABOVE_HALF if has_zeros else "",
    )


def text_checks(group: Group) -> Table:
    """What is left of the decisive metric when the words say something else."""
    metric = DECISIVE[group.task]
    checks = list(dict.fromkeys(name for row in group.rows for name in row.first.text_check))
    rows = [
        (
            row.label,
            spread(row.values("metrics", metric)),
            *(spread(row.checked(check, metric)) for check in checks),
            _verdict(row, checks, metric),
        )
        for row in group.rows
        if row.first.text_check
    ]
    return Table(
        "Does it read its text?",
        ("method", metric, *checks, VERDICT),
        tuple(rows),
        "The answers to other words count as if they were to the true ones. What is left is that "
        "of the check that leaves the most.",
    )


def _verdict(row: Row, checks: Sequence[str], metric: str) -> str:
    own = float(np.mean(row.values("metrics", metric)))
    others = [float(np.mean(values)) for c in checks if (values := row.checked(c, metric))]
    if not others:
        return ""
    verdict = text_verdict(own, others)
    return f"{100 * worst_share(own, others):.0f} % left: {verdict}" if own >= LOWEST else verdict


def errors(group: Group) -> Table:
    """What the best predictions are."""
    return _by_kind(
        group,
        "What goes wrong",
        "shares",
        KINDS,
        0,
        "Shares of the surest predictions, ten for each instance, in percent.",
    )


def gains(group: Group) -> Table:
    """What each kind of error costs."""
    return _by_kind(
        group,
        "What each error costs",
        "gains",
        ERRORS,
        1,
        "Points of average mAP that are gained when every prediction of that kind is taken away.",
    )


def _by_kind(
    group: Group, title: str, field: str, kinds: Sequence[str], digits: int, note: str
) -> Table:
    rows = [
        (row.label, *(spread(row.values(field, kind), digits=digits) for kind in kinds))
        for row in group.rows
        if getattr(row.first, field)
    ]
    return Table(title, ("method", *kinds), tuple(rows), note)


def costs(group: Group) -> Table:
    """Time, memory and size, measured in the runs themselves."""
    rows = [
        (
            row.label,
            _mega(row.costs("num_parameters"), 1e6),
            _seconds(row.costs("training_s")),
            _mega(row.costs("training_bytes"), 2.0**20),
            _seconds(row.costs("inference_s")),
            _per_video(row),
            _mega(row.costs("inference_bytes"), 2.0**20),
        )
        for row in group.rows
    ]
    first = group.rows[0].first.cost
    return Table(
        "What it costs",
        (
            *("method", "parameters, M", "training, s", "memory, MiB", "inference, s"),
            *("a video, ms", "memory there, MiB"),
        ),
        tuple(rows),
        f"A run, on {first.threads} thread(s) of {first.processor or 'an unknown processor'}. "
        "Parameters are the method's own, without the frozen backbone; memory is the peak of the "
        "whole process; features are read, not made.",
    )


def _seconds(values: Sequence[float]) -> str:
    return f"{float(np.mean(values)):.1f}" if values else ""


def _mega(values: Sequence[float], unit: float) -> str:
    if not values:
        return ""
    found = float(np.mean(values)) / unit
    return f"{found:.0f}" if found >= 100 else f"{found:.2f}" if found else "0"


def _per_video(row: Row) -> str:
    total = sum(record.cost.num_videos for record in row.records)
    seconds = sum(row.costs("inference_s"))
    return f"{1000 * seconds / total:.0f}" if total else ""
