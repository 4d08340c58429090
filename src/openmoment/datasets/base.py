"""What a dataset is: annotations by subset, classes, exclusions; and how one is registered.

A `Benchmark` knows the official files of one dataset. `load_dataset` reads them below a folder
and gives a `Dataset` (classes) or a `RetrievalDataset` (sentences). Neither knows of features.
"""

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray as Array

from openmoment.datasets.records import Instance, Record, Records, with_subsets
from openmoment.errors import ConfigError, FormatError, UnknownNameError
from openmoment.types import Annotations

Task = Literal["detection", "retrieval", "segmentation"]


@dataclass(frozen=True)
class Layout:
    """One known form of a dataset's annotations: the files it takes, and how they are read."""

    files: tuple[str, ...]
    """Names or patterns; all must be there, anywhere below the folder."""
    read: Callable[[Sequence[Path]], Records]
    """Takes the files found for all patterns, sorted within each pattern."""
    many: bool = False
    """Whether a pattern stands for any number of files, not for one."""


@dataclass(frozen=True)
class Benchmark:
    """What is known of a dataset apart from its files: published facts, and where to get it."""

    name: str
    title: str
    task: Task
    layouts: tuple[Layout, ...]
    train_subset: str
    test_subset: str
    profile: str
    """The evaluator's profile that its papers use."""
    classes: tuple[str, ...] = ()
    """Known class names; empty where the annotations say."""
    ignored_labels: tuple[str, ...] = ()
    """Labels that are not classes, and are dropped."""
    exclusions: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """Named lists of videos that papers leave out; "default" is what we leave out."""
    prompt_overrides: Mapping[str, str] = field(default_factory=dict[str, str])
    """Corrected spellings of class names, for the text encoder, when asked for."""
    published_counts: Mapping[str, tuple[int, int]] = field(
        default_factory=dict[str, tuple[int, int]]
    )
    """Per subset, the official numbers of videos with annotations and of instances or queries."""
    tidy_id: Callable[[str], str] = str
    """A video id as the official files have it."""
    durations: Callable[[Path], Mapping[str, float]] = lambda root: {}  # noqa: E731
    """Durations from other files below the folder, for layouts that lack them."""
    drops_empty: bool = False
    """Whether sentences whose end is not after their start are left out, as published counts do."""
    where_to_get: str = ""


@dataclass(frozen=True)
class Dataset:
    """Annotated videos by subset. ``duration_s`` of a video is NaN where no file says it."""

    name: str
    subsets: Mapping[str, Mapping[str, Annotations]]
    class_names: tuple[str, ...]
    train_subset: str
    test_subset: str
    profile: str
    excluded: tuple[str, ...] = ()
    sources: tuple[Path, ...] = ()
    prompt_overrides: Mapping[str, str] = field(default_factory=dict[str, str])
    known: Mapping[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])
    """Where videos were annotated for some of the classes alone: which, for every video."""

    def subset(self, name: str) -> Mapping[str, Annotations]:
        """The annotated videos of one subset, or of several: ``"validation+test"``.

        Raises UnknownNameError.
        """
        found: dict[str, Annotations] = {}
        for part in name.split("+"):
            _refuse_unknown(part, self.subsets)
            found |= self.subsets[part]
        return found

    def prompt_names(
        self, names: Sequence[str] | None = None, *, corrected: bool = False
    ) -> tuple[str, ...]:
        """Class names as a person would say them, by default of all classes.

        ``corrected`` also mends the spelling of the published names.
        """
        overrides = self.prompt_overrides if corrected else {}
        return tuple(prompt_name(name, overrides) for name in names or self.class_names)


@dataclass(frozen=True)
class Moment:
    """One sentence of moment retrieval and the windows that it names. ``duration_s`` as above."""

    query_id: str
    video: str
    query: str
    windows: Float[Array, "g 2"]
    duration_s: float


@dataclass(frozen=True)
class RetrievalDataset:
    """Sentences with their windows, by subset."""

    name: str
    subsets: Mapping[str, tuple[Moment, ...]]
    train_subset: str
    test_subset: str
    profile: str
    sources: tuple[Path, ...] = ()

    def subset(self, name: str) -> tuple[Moment, ...]:
        """The sentences of one subset. Raises UnknownNameError."""
        _refuse_unknown(name, self.subsets)
        return self.subsets[name]


def _refuse_unknown(subset: str, subsets: Collection[str]) -> None:
    """Raises UnknownNameError; what files leave without a subset is no name to choose."""
    if subset not in subsets:
        raise UnknownNameError("subset", subset, [name for name in subsets if name])


# ---------------------------------------------------------------------------------------------
# Reading
# ---------------------------------------------------------------------------------------------


def read_records(
    benchmark: Benchmark, root: Path, annotations: Path | None = None
) -> tuple[Records, tuple[Path, ...]]:
    """The records of the first layout that is whole below ``root``, and the files it took.

    ``annotations`` picks the file; where it names no subset at all, it is the one to test on. Ids
    are as the official files have them. Raises FormatError.
    """
    layout, files = _find_layout(benchmark, root, annotations)
    tidy = benchmark.tidy_id
    known = {tidy(name): seconds for name, seconds in benchmark.durations(root).items()}
    found = [replace(record, id=tidy(record.id)) for record in layout.read(files)]
    if annotations and not any(record.subset for record in found):
        found = with_subsets(found, lambda record: benchmark.test_subset)
    whole = [
        replace(r, duration_s=known.get(r.id, math.nan)) if math.isnan(r.duration_s) else r
        for r in found
    ]
    return whole, tuple(files)


def _find_layout(
    benchmark: Benchmark, root: Path, annotations: Path | None
) -> tuple[Layout, list[Path]]:
    if annotations:
        return _layout_of(benchmark, annotations), [annotations]
    if not root.is_dir():
        raise FormatError(f"{root}: no such folder.")
    for layout in benchmark.layouts:
        matches = [_matches(root, pattern, many=layout.many) for pattern in layout.files]
        if all(matches):
            return layout, [path for paths in matches for path in paths]
    forms = "; or ".join(" and ".join(layout.files) for layout in benchmark.layouts)
    raise FormatError(
        f"{root}: holds no annotations of {benchmark.title}. Expected {forms}. "
        f"{benchmark.where_to_get}"
    )


def _layout_of(benchmark: Benchmark, file: Path) -> Layout:
    """The layout of one file that a person picked: by its name, else by its ending."""
    if not file.is_file():
        raise FormatError(f"{file}: no such file.")
    alone = [layout for layout in benchmark.layouts if len(layout.files) == 1]
    named = [layout for layout in alone if file.match(layout.files[0])]
    alike = [layout for layout in alone if _ending(layout.files[0]) == _ending(file.name)]
    if not named + alike:
        endings = " or ".join(dict.fromkeys(_ending(layout.files[0]) for layout in alone))
        raise FormatError(
            f"{file}: one file of annotations of {benchmark.title} ends in {endings}."
        )
    return (named + alike)[0]


def _ending(name: str) -> str:
    """Of a file or a pattern, packed or not; a table between tabs is one between commas."""
    ending = Path(name.lower().removesuffix("*").removesuffix(".gz")).suffix
    return ".csv" if ending == ".tsv" else ending


def _matches(root: Path, pattern: str, *, many: bool) -> list[Path]:
    """The files that a pattern stands for; one alone is looked for in the folder itself first."""
    found = sorted(path for path in root.rglob(pattern) if path.is_file())
    if many:
        return found
    here = set(root.glob(pattern))
    found = [path for path in found if path in here] or found
    if len(found) > 1:
        others = f" (and {len(found) - 2} more)" if len(found) > 2 else ""
        raise FormatError(
            f"{root}: holds both {found[0].relative_to(root)} and {found[1].relative_to(root)}"
            f"{others}. Keep one of them, or give the folder of one."
        )
    return found


# ---------------------------------------------------------------------------------------------
# Records to datasets
# ---------------------------------------------------------------------------------------------


def build_dataset(
    benchmark: Benchmark,
    records: Records,
    *,
    exclude: str = "default",
    sources: Sequence[Path] = (),
) -> Dataset:
    """The dataset that the records make, without the excluded videos.

    Raises FormatError for impossible times and unknown labels, ConfigError for an unknown list.
    """
    excluded = exclusion_list(benchmark, exclude)
    known = {record.id: record.known for record in records if record.known is not None}
    said = {i.label for record in records for i in record.instances}.union(*known.values())
    classes = benchmark.classes or tuple(sorted(said))
    subsets: dict[str, dict[str, Annotations]] = {}
    for record in records:
        videos = subsets.setdefault(record.subset, {})
        if record.id in videos:
            raise FormatError(f"{benchmark.title}: video {record.id!r} is annotated twice.")
        if record.id not in excluded and record.known != frozenset():
            videos[record.id] = to_annotations(record, classes, ignored=benchmark.ignored_labels)
    return Dataset(
        benchmark.name,
        subsets,
        classes,
        benchmark.train_subset,
        benchmark.test_subset,
        benchmark.profile,
        tuple(name for name in excluded if any(record.id == name for record in records)),
        tuple(sources),
        benchmark.prompt_overrides,
        known,
    )


def build_retrieval(
    benchmark: Benchmark, records: Records, *, sources: Sequence[Path] = ()
) -> RetrievalDataset:
    """The sentences of the records, in their order. Raises FormatError for impossible times."""
    subsets: dict[str, list[Moment]] = {}
    for record in records:
        windows: dict[tuple[str, str], list[Instance]] = {}
        for instance in record.instances:
            if benchmark.drops_empty and instance.end_s <= instance.start_s:
                continue
            refuse_impossible(instance)
            windows.setdefault((instance.query_id, instance.label), []).append(instance)
        for (query_id, query), found in windows.items():
            times = np.array([(i.start_s, i.end_s) for i in found], dtype=np.float64)
            moment = Moment(query_id, record.id, query, times, record.duration_s)
            subsets.setdefault(record.subset, []).append(moment)
    return RetrievalDataset(
        benchmark.name,
        {subset: tuple(moments) for subset, moments in subsets.items()},
        benchmark.train_subset,
        benchmark.test_subset,
        benchmark.profile,
        tuple(sources),
    )


def to_annotations(
    record: Record, classes: Sequence[str], *, ignored: Collection[str] = ()
) -> Annotations:
    """A record's instances of the classes. Raises FormatError for what cannot be one."""
    index = {name: i for i, name in enumerate(classes)}
    kept = [instance for instance in record.instances if instance.label not in ignored]
    for instance in kept:
        refuse_impossible(instance)
        if instance.label not in index:
            raise FormatError(
                f"{instance.where}: label: {instance.label!r} is not one of the "
                f"{len(index)} classes."
            )
    return Annotations(
        np.array([(i.start_s, i.end_s) for i in kept], dtype=np.float64).reshape(-1, 2),
        np.array([index[i.label] for i in kept], dtype=np.int64),
        tuple(classes),
        record.duration_s,
    )


def refuse_impossible(instance: Instance) -> None:
    """Raises FormatError when a time is missing or not finite, or the end before the start."""
    if not (math.isfinite(instance.start_s) and math.isfinite(instance.end_s)):
        raise FormatError(
            f"{instance.where}: segment: [{instance.start_s}, {instance.end_s}] is not finite."
        )
    if instance.end_s < instance.start_s:
        raise FormatError(
            f"{instance.where}: segment: ends at {instance.end_s:g} s, before its start at "
            f"{instance.start_s:g} s."
        )


def exclusion_list(benchmark: Benchmark, name: str) -> tuple[str, ...]:
    """The videos of a named exclusion list; "none" is always known. Raises ConfigError."""
    if name == "none":
        return ()
    if name == "default" and name not in benchmark.exclusions:
        return ()
    if name not in benchmark.exclusions:
        known = ", ".join(["none", *benchmark.exclusions])
        raise ConfigError(f"{benchmark.title} has no exclusion list {name!r}. Known: {known}.")
    return benchmark.exclusions[name]


def prompt_name(name: str, overrides: Mapping[str, str] | None = None) -> str:
    """A class name as words: ``CleanAndJerk`` is ``Clean And Jerk``, underscores are spaces."""
    name = (overrides or {}).get(name, name)
    return re.sub(r"(?<=[a-z])(?=[A-Z])|_", " ", name)
