"""The reproduction ledger: every number of the papers that a suite of ours stands for, and ours."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from openmoment.bench.job import plan_jobs
from openmoment.bench.record import Record
from openmoment.bench.suite import DatasetPart, MethodPart, read_suite, shipped_suites
from openmoment.bench.summary import DECISIVE, Group, Row, group_records, published_row, spread
from openmoment.bench.tables import Table
from openmoment.datasets import DATASETS
from openmoment.datasets.names import SYNTHETIC
from openmoment.evaluation.published import Published

_SHOWN = (
    *("mAP@0.5", "mAP_avg", "R@IoU0.5", "mIoU", "R@1,IoU=0.5", "R@1,IoU=0.7"),
    *("frame_accuracy", "mAP"),
)
"""The metrics that a line of the ledger prints, where the paper has them."""
_HEAD = """# Reproduction ledger

What the papers report, what we measured by the same protocol, and with what. Generated:
`openmoment bench ledger RESULTS... --out FILE.md`.
"""
_OURS = """Our own suites have no published numbers. Made-up worlds (`synthetic-...`) say whether a
method learns and carries over to unseen classes, and nothing of real video."""


@dataclass(frozen=True)
class Claim:
    """A published number that a suite of ours would reproduce."""

    suite: str
    part: DatasetPart
    method: MethodPart
    setting: str
    backbone: str
    paper: Published


def to_ledger(records: Sequence[Record]) -> str:
    """The ledger as Markdown."""
    groups = group_records(records)
    rows = {
        (group.dataset, group.setting, row.label, row.first.job.backbone): row
        for group in groups
        for row in group.rows
    }
    parts = [_HEAD]
    for dataset, claims in _by_dataset(list(_claims())).items():
        found = [
            (claim, rows.get((dataset, claim.setting, claim.method.name, claim.backbone)))
            for claim in claims
        ]
        lines = [_line(*one) for one in _told(found)]
        header = ("paper", "setting", "metric", "paper's", "ours", "how", "command")
        parts += [f"## {DATASETS[dataset].title}", Table("", header, tuple(lines)).to_markdown()]
    if own := [_own_line(group, row) for group in groups for row in group.rows if _is_own(group)]:
        header = ("dataset", "method", "metric", "ours", "how", "command")
        parts += ["## Ours alone", _OURS, Table("", header, tuple(own)).to_markdown()]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _claims() -> Iterator[Claim]:
    """One for each method, setting and backbone of the suites that ship, where a paper has it."""
    for name in shipped_suites():
        suite = read_suite(name)
        if all(part.is_made for part in suite.datasets):
            continue
        seen = set[tuple[str, ...]]()
        for job, part, method in plan_jobs(suite):
            key = (part.name, job.setting, job.backbone, method.name)
            if key in seen:
                continue
            seen.add(key)
            if paper := published_row(method, part.dataset, job.setting):
                yield Claim(suite.name, part, method, job.setting, job.backbone, paper)


def _told(found: Sequence[tuple[Claim, Row | None]]) -> Iterator[tuple[Claim, Row | None]]:
    """Of a published row all that was attempted, or else the first that would be."""
    by_paper: dict[int, list[tuple[Claim, Row | None]]] = {}
    for claim, row in found:
        by_paper.setdefault(id(claim.paper), []).append((claim, row))
    for claims in by_paper.values():
        yield from [one for one in claims if one[1]] or claims[:1]


def _by_dataset(claims: Sequence[Claim]) -> dict[str, list[Claim]]:
    found: dict[str, list[Claim]] = {}
    for claim in claims:
        found.setdefault(claim.part.dataset, []).append(claim)
    return found


def _line(claim: Claim, row: Row | None) -> tuple[str, ...]:
    paper = claim.paper
    metrics = [name for name in _SHOWN if name in paper.percent]
    theirs = " / ".join(map(paper.cell, metrics))
    head = (f"{paper.method} ({paper.paper}, {paper.table})", claim.setting, " / ".join(metrics))
    if row is None:
        title = DATASETS[claim.part.dataset].title
        kind = claim.method.features or claim.backbone
        told = f"not attempted: needs features of {title}, {kind}"
        return (*head, theirs, told, paper.note, _command(claim.suite, claim.method.name))
    ours = " / ".join(_value(row, name) for name in metrics)
    how = "; ".join(filter(None, (_made_with(row), paper.note)))
    return (*head, theirs, ours, how, _command(row.first.job.suite, claim.method.name))


def _is_own(group: Group) -> bool:
    return group.dataset.startswith(SYNTHETIC) or group.dataset == "folder"


def _own_line(group: Group, row: Row) -> tuple[str, ...]:
    metric = DECISIVE[group.task]
    job = row.first.job
    told = (group.title, row.label, metric, _value(row, metric), _made_with(row))
    return (*told, _command(job.suite, row.label))


def _value(row: Row, metric: str) -> str:
    return spread(row.values("metrics", metric) or row.values("label_given", metric))


def _made_with(row: Row) -> str:
    """Backbone, splits, seed, machine."""
    record = row.first
    seeds = sorted({str(one.seed) for one in row.records if one.seed is not None})
    parts = [row.differences, *([f"seed {', '.join(seeds)}"] if seeds else [])]
    parts.append(f"{record.cost.processor}, {record.cost.threads} thread(s)")
    parts.append(str(record.card.get("date", "")))
    return "; ".join(filter(None, parts))


def _command(suite: str, label: str) -> str:
    words = ["openmoment", "bench", suite, "--only", label, "--out", "DIR"]
    return f"`{shlex.join(words)}`"
