"""A paper's ablation table, run row by row: each switch set, trained, evaluated.

The rows are package data (``data/ablations.toml``); what a paper reports of each is in
`evaluation.published`. Rows that are trained alike share one training.
"""

import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from openmoment.checkpoints.card import split_folder
from openmoment.datasets.names import original
from openmoment.errors import MissingWeightsError, UnknownNameError
from openmoment.evaluation.protocol import Protocol
from openmoment.evaluation.published import Published, published_results
from openmoment.evaluation.result import Result, read_result, write_result
from openmoment.evaluation.tables import printed_metrics
from openmoment.experiments.contender import Checkpoints, SnippetSource
from openmoment.experiments.detection import run
from openmoment.experiments.progress import Advance
from openmoment.methods import METHODS
from openmoment.pipeline import load_pipeline
from openmoment.pipeline.answering import Pipeline
from openmoment.priors import read_priors
from openmoment.training.loop import Heard
from openmoment.training.processes import Processes
from openmoment.training.run import Plan, class_splits, is_done, train_split


@dataclass(frozen=True)
class Row:
    """One row of a table: what is set in training, and what when it is asked."""

    row: str
    """Its name, as the paper prints it."""
    settings: Mapping[str, object] = field(default_factory=dict[str, object])
    asked: Mapping[str, object] = field(default_factory=dict[str, object])
    oracle: bool = False
    """Whether the method is told the truth."""
    other: str = ""
    """Why this row cannot be run here; empty for those that can."""

    @property
    def folder(self) -> str:
        """Where its training goes: the same for rows that are trained alike."""
        parts = [f"{name}={value}" for name, value in sorted(self.settings.items())]
        return ",".join(parts) or "preset"


def ablation_rows(method: str, table: str) -> tuple[Row, ...]:
    """The rows of a paper's table. Raises UnknownNameError."""
    tables = _tables()
    if method not in tables:
        raise UnknownNameError("method with ablation tables", method, list(tables))
    if table not in tables[method]:
        raise UnknownNameError(f"table of {method}", table, list(tables[method]))
    return tables[method][table]


@cache
def _tables() -> dict[str, dict[str, tuple[Row, ...]]]:
    path = resources.files("openmoment") / "data" / "ablations.toml"
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    return {
        method: {name: tuple(Row(**row) for row in rows) for name, rows in tables.items()}
        for method, tables in document.items()
    }


def published_row(method: str, table: str, row: Row, dataset: str = "") -> Published | None:
    """What the paper reports for a row: on the dataset, or else on the first that it has."""
    found = [
        known
        for known in published_results()
        if (known.paper.lower(), known.table) == (method, f"Table {table}")
        and known.method == row.row
    ]
    found.sort(key=lambda known: known.dataset != original(dataset))
    return found[0] if found else None


@dataclass(frozen=True)
class RowBeside:
    """What a row comes to here, beside what the paper reports of it."""

    row: str
    ours: Mapping[str, float]
    """By metric, as fractions; empty for a row that cannot be run here."""
    printed: tuple[str, ...]
    """Which of them papers print."""
    paper: Published | None
    note: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        return {
            "row": self.row,
            "ours": self.ours,
            "paper_percent": dict(self.paper.percent) if self.paper else {},
            "note": self.note,
        }


@dataclass(frozen=True)
class Ablation:
    """A table's runs: the plan that each row changes, on which splits, into which folder."""

    plan: Plan
    protocol: Protocol
    out: Path
    processes: Processes
    device: str = "cpu"

    def beside_paper(
        self,
        table: str,
        *,
        hear: Callable[[str, Heard], None] | None = None,
        advance: Advance | None = None,
    ) -> Iterator[RowBeside]:
        """Each row of a paper's table, as `results` gives them. Raises UnknownNameError."""
        method, dataset = self.plan.method, self.plan.dataset.name
        rows = ablation_rows(method, table)
        for row, result in self.results(rows, hear=hear, advance=advance):
            yield RowBeside(
                row.row,
                result.mean | result.label_given if result else {},
                tuple(printed_metrics(result)) if result else (),
                published_row(method, table, row, dataset),
                row.other,
            )

    def results(
        self,
        rows: tuple[Row, ...],
        *,
        hear: Callable[[str, Heard], None] | None = None,
        advance: Advance | None = None,
    ) -> Iterator[tuple[Row, Result | None]]:
        """Each row with its result, None for one that cannot be run; finished work is kept."""
        for row in rows:
            if not row.other and row.settings.get("tune_image") and self.plan.videos is None:
                row = replace(row, other="sees frames: give --videos")  # noqa: PLW2901
            if row.other:
                yield row, None
                continue
            try:
                yield row, self._result(row, hear, advance)
            except MissingWeightsError as error:
                yield replace(row, other=str(error)), None

    def _result(
        self, row: Row, hear: Callable[[str, Heard], None] | None, advance: Advance | None
    ) -> Result:
        folder = self.out / row.folder
        asked = "".join(f",{name}={value}" for name, value in row.asked.items())
        plan = replace(self.plan, settings={**self.plan.settings, **row.settings})
        self._train(plan, folder, hear)
        kept = folder / f"result{asked}"
        if (kept / "result.json").is_file():
            result = read_result(kept)
            if result.card.splits == self.protocol.splits:
                return result

        priors = read_priors(plan.priors) if plan.priors else None

        def load(path: Path) -> Pipeline:
            settings = {**METHODS[plan.method].RANKING, **row.asked}
            return load_pipeline(
                plan.encoder.name,
                checkpoint=path,
                settings=settings,
                device=self.device,
                priors=priors,
                is_judged=False,
            )

        trained = Checkpoints(folder, self.protocol, load)
        first = trained.first()
        if first.traits.sees_frames:
            source = SnippetSource(first, videos=plan.videos)
        else:
            source = SnippetSource(first, plan.features)
        found = run(
            self.protocol,
            source,
            trained=trained,
            tells_truth=row.oracle,
            allow_missing=plan.allow_missing,
            seed=plan.config.seed,
            advance=advance,
        )
        write_result(found.result, kept)
        return found.result

    def _train(self, plan: Plan, folder: Path, hear: Callable[[str, Heard], None] | None) -> None:
        for split in class_splits(plan.dataset, self.protocol.setting, "all"):
            if split.name not in self.protocol.parts:
                continue
            part = split_folder(folder, split.name)
            if is_done(plan, split, part):
                continue
            part.mkdir(parents=True, exist_ok=True)
            label = f"{folder.name}, split {split.name}"
            train_split(
                plan,
                split,
                part,
                processes=self.processes,
                hear=(lambda heard, label=label: hear(label, heard)) if hear else None,
            )
