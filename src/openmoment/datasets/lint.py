"""What is wrong, odd or missing in a dataset's files: found, counted, never mended in silence."""

import math
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from openmoment.datasets.base import Benchmark
from openmoment.datasets.records import Instance, Record, Records

TOLERANCE_S = 0.5
"""How far a segment may end after its video before that counts."""

KINDS = {
    "not finite": "a time is missing, NaN or infinite; such a file cannot be evaluated",
    "inverted": "the segment ends before it starts; such a file cannot be evaluated",
    "unknown label": "not one of the dataset's classes; such a file cannot be evaluated",
    "repeated video": "the same video twice in one subset; such a file cannot be evaluated",
    "empty": "the segment has no length, and overlaps nothing but its copy",
    "before 0": "the segment starts before its video",
    "after the end": f"the segment ends over {TOLERANCE_S:g} s after its video",
    "repeated": "the same segment and label twice in one video",
    "two labels": "the same segment under two labels: both classes have the instance",
    "ignored label": "a label that is no class, and is left out",
    "no duration": "no file says how long the video is",
    "no instance": "a video without any instance of a class",
    "known fault": "on a published list of videos to leave out",
    "missing": "annotated, but there is no file of it",
    "extra": "there is a file of it, but no annotation",
}
"""Every kind of finding, gravest first, and what it means."""

FATAL = ("not finite", "inverted", "unknown label", "repeated video")


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong or odd."""

    kind: str
    video: str
    detail: str


@dataclass(frozen=True)
class Report:
    """What is in a dataset's files, beside what is published, and all findings."""

    title: str
    sources: tuple[Path, ...]
    subsets: tuple[dict[str, Any], ...]
    """Per subset: name, videos, instances, and the published numbers (None where unknown)."""
    findings: tuple[Finding, ...]

    @property
    def counts(self) -> dict[str, int]:
        """How many findings there are of each kind, gravest first."""
        found = Counter(finding.kind for finding in self.findings)
        return {kind: found[kind] for kind in KINDS if found[kind]}

    @property
    def is_usable(self) -> bool:
        """Whether nothing keeps the annotations from being evaluated."""
        return not any(kind in FATAL for kind in self.counts)

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        return {
            "title": self.title,
            "sources": [str(path) for path in self.sources],
            "subsets": list(self.subsets),
            "counts": self.counts,
            "findings": [vars(finding) for finding in self.findings],
            "usable": self.is_usable,
        }


def lint(
    benchmark: Benchmark,
    records: Records,
    *,
    sources: Sequence[Path] = (),
    files: Collection[str] | None = None,
) -> Report:
    """Check the records as they were read.

    ``files`` are the ids of the videos or feature files at hand; without it, nothing is missing.
    """
    findings = [finding for record in records for finding in _of_record(benchmark, record)]
    seen = Counter((record.subset, record.id) for record in records)
    findings += [
        Finding("repeated video", name, f"{count} times in {subset or 'the file'}")
        for (subset, name), count in seen.items()
        if count > 1
    ]
    if files is not None:
        known = {record.id for record in records}
        tidy = {benchmark.tidy_id(name) for name in files}
        findings += [Finding("missing", name, "") for name in sorted(known - tidy)]
        findings += [Finding("extra", name, "") for name in sorted(tidy - known)]
    order = list(KINDS)
    findings.sort(key=lambda finding: order.index(finding.kind))
    return Report(
        benchmark.title, tuple(sources), tuple(_subsets(benchmark, records)), tuple(findings)
    )


def _subsets(benchmark: Benchmark, records: Records) -> Iterator[dict[str, Any]]:
    for name in dict.fromkeys([*benchmark.published_counts, *(r.subset for r in records)]):
        mine = [record for record in records if record.subset == name]
        kept = [i for r in mine for i in r.instances if i.label not in benchmark.ignored_labels]
        queries = {(i.query_id, i.label) if i.query_id else i for i in kept}
        num_instances = len(queries) if benchmark.task == "retrieval" else len(kept)
        published = benchmark.published_counts.get(name)
        yield {
            "subset": name,
            "videos": len(mine),
            "published_videos": published[0] if published else None,
            "instances": num_instances,
            "published_instances": published[1] if published else None,
        }


def _of_record(benchmark: Benchmark, record: Record) -> Iterator[Finding]:
    if math.isnan(record.duration_s):
        yield Finding("no duration", record.id, "")
    if any(record.id in videos for videos in benchmark.exclusions.values()):
        lists = [name for name, videos in benchmark.exclusions.items() if record.id in videos]
        yield Finding("known fault", record.id, f"lists: {', '.join(lists)}")
    kept = [i for i in record.instances if i.label not in benchmark.ignored_labels]
    if not kept and record.subset in (benchmark.train_subset, benchmark.test_subset):
        yield Finding("no instance", record.id, "")
    for label, count in Counter(i.label for i in record.instances).items():
        if label in benchmark.ignored_labels:
            yield Finding("ignored label", record.id, f"{count} times {label!r}")
    for instance in kept:
        yield from _of_instance(benchmark, record, instance)
    yield from _of_pairs(benchmark, record, kept)


def _of_instance(benchmark: Benchmark, record: Record, instance: Instance) -> Iterator[Finding]:
    start_s, end_s = instance.start_s, instance.end_s
    shown = f"{start_s:g} to {end_s:g} s, {instance.label!r} ({instance.where})"
    if benchmark.classes and instance.label not in benchmark.classes:
        near = get_close_matches(instance.label, benchmark.classes, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        yield Finding("unknown label", record.id, shown + hint)
    if not (math.isfinite(start_s) and math.isfinite(end_s)):
        yield Finding("not finite", record.id, shown)
        return
    if end_s < start_s:
        yield Finding("inverted", record.id, shown)
    if end_s == start_s:
        yield Finding("empty", record.id, shown)
    if start_s < 0:
        yield Finding("before 0", record.id, shown)
    if end_s > record.duration_s + TOLERANCE_S:
        yield Finding("after the end", record.id, f"{shown} of {record.duration_s:g} s")


def _of_pairs(
    benchmark: Benchmark, record: Record, instances: Sequence[Instance]
) -> Iterator[Finding]:
    """Instances with the same times."""
    labels: dict[tuple[float, float], list[str]] = {}
    for instance in instances:
        labels.setdefault((instance.start_s, instance.end_s), []).append(instance.label)
    for (start_s, end_s), found in labels.items():
        shown = f"{start_s:g} to {end_s:g} s"
        for label, count in Counter(found).items():
            if count > 1:
                yield Finding("repeated", record.id, f"{shown}, {count} times {label!r}")
        if len(set(found)) > 1 and benchmark.task != "retrieval":
            names = " and ".join(repr(name) for name in dict.fromkeys(found))
            yield Finding("two labels", record.id, f"{shown}: {names}")
