"""openmoment evaluate, for moment retrieval: sentences, not classes."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from openmoment.cli.text.console import print_json, progress_bar, say
from openmoment.errors import ConfigError

if TYPE_CHECKING:
    from openmoment.datasets.base import RetrievalDataset
    from openmoment.evaluation.published import Published
    from openmoment.evaluation.tables import TableFormat
    from openmoment.experiments.detection import SnippetSource
    from openmoment.experiments.retrieval import RetrievalRun

_DECISIVE = "R@1,IoU=0.5"


@dataclass(frozen=True)
class Sentences:
    """Where the sentences are: official files below ``root``, or one file."""

    name: str
    gt: Path | None
    root: Path | None
    subset: str | None

    def load(self) -> "RetrievalDataset":
        from openmoment.datasets import load_retrieval

        if not (self.gt or self.root):
            raise ConfigError(
                "Say where the ground truth is: --gt FILE, or --dataset NAME --root DIR."
            )
        return load_retrieval(self.name, self.root or Path(), annotations=self.gt)

    def windows(self) -> "Mapping[str, Any]":
        """The annotated segments of each query; the one file may be QVHighlights-style JSONL."""
        from openmoment.evaluation.retrieval import read_truth

        if self.gt and self.gt.suffix == ".jsonl":
            return read_truth(self.gt)
        data = self.load()
        moments = data.subset(self.subset or data.test_subset)
        return {moment.query_id: moment.windows for moment in moments}


def refuse_options(name: str, *given: object) -> None:
    """Raises ConfigError for options that speak of classes."""
    if any(given):
        raise ConfigError(
            f"{name} has sentences and no classes: leave out --setting, --unseen, --generalized, "
            "--classes, --review, --diagnose, --recall and --label-given."
        )


def is_retrieval(dataset: str) -> bool:
    """Whether a dataset, or a profile, is one of moment retrieval."""
    from openmoment.datasets import DATASETS

    return dataset in DATASETS and DATASETS[dataset].task == "retrieval"


# ---------------------------------------------------------------------------------------------
# A prediction file
# ---------------------------------------------------------------------------------------------


def score_retrieval(
    predictions: Path, sentences: Sentences, *, form: "TableFormat", as_json: bool
) -> None:
    """Score QVHighlights-style JSONL predictions of any dataset of moment retrieval."""
    from openmoment.datasets import DATASETS
    from openmoment.evaluation.published import published_beside
    from openmoment.evaluation.retrieval import metrics_by_name, read_predictions
    from openmoment.evaluation.tables import percent, render

    name, gt, truth = sentences.name, sentences.gt, sentences.windows()
    found = read_predictions(predictions)
    metrics = metrics_by_name(DATASETS[name].profile, found, truth)
    if name == "qvhighlights" and gt and gt.suffix == ".jsonl":
        metrics |= _highlights(predictions, gt)
    published = published_beside(name, "closed")
    if as_json:
        head: dict[str, Any] = {"profile": name, "queries": len(truth), "answered": len(found)}
        print_json(head | {"metrics": metrics, "published_percent": _plain(published)})
        return
    typer.echo(f"{predictions.name} on {name}; {len(truth)} queries, {len(found)} answered.\n")
    typer.echo(render(["metric", "%"], [[k, percent(v)] for k, v in metrics.items()], form))
    if published:
        names = [metric for metric in metrics if any(metric in row.percent for row in published)]
        table = _rows({"this result": metrics}, "", published, names)
        typer.echo("\n" + render(["result", "method", *names], table, form))


def _highlights(predictions: Path, gt: Path) -> dict[str, float]:
    """Highlight detection, where both files hold saliency scores."""
    from openmoment.evaluation.retrieval import highlights, read_ratings, read_saliency
    from openmoment.storage.reading import read_text

    if '"pred_saliency_scores"' not in read_text(predictions):
        return {}
    scores = read_saliency(predictions)
    very_good = highlights(scores, read_ratings(gt))["VeryGood"]
    return {"HL mAP": very_good.mean_ap, "HL HIT@1": very_good.hit1}


# ---------------------------------------------------------------------------------------------
# A method
# ---------------------------------------------------------------------------------------------


def evaluate_retrieval(
    source: "SnippetSource",
    sentences: Sentences,
    *,
    text_check: bool,
    allow_missing: bool,
    out: Path | None,
    form: "TableFormat",
    as_json: bool,
) -> None:
    """Ask a method for every sentence of a subset, and print how good its moments are."""
    from openmoment.evaluation.published import published_beside
    from openmoment.experiments.retrieval import keep_retrieval, run_retrieval, sentence_checks

    data, subset = sentences.load(), sentences.subset
    with progress_bar(source.pipeline.method_name) as advance:
        run = run_retrieval(
            data, source, subset=subset, allow_missing=allow_missing, advance=advance
        )
    checks: dict[str, Mapping[str, float]] = {}
    for check, rename in sentence_checks().items() if text_check else ():
        with progress_bar(check) as advance:
            again = run_retrieval(
                data, source, subset=subset, allow_missing=True, rename=rename, advance=advance
            )
        checks[check] = again.metrics
    published = published_beside(data.name, "closed")
    document = run.to_dict()
    if checks:
        document["text_check"] = {check: dict(metrics) for check, metrics in checks.items()}
    document["published_percent"] = _plain(published)
    if as_json:
        print_json(document)
    else:
        _show(run, checks, published, form)
    if out:
        keep_retrieval(run, document, out)
        say(f"Result, predictions and ground truth are in {out}.")


def _show(
    run: "RetrievalRun",
    checks: Mapping[str, Mapping[str, float]],
    published: "tuple[Published, ...]",
    form: "TableFormat",
) -> None:
    from openmoment.cli.text.results import told_drops
    from openmoment.evaluation.tables import render

    card, names = run.card, list(run.metrics)
    num_videos = len({moment.video for moment in run.moments})
    typer.echo(
        f"{card.method} on {card.dataset} {card.subset}, {card.backbone}; {len(run.moments)} "
        f"sentences; {num_videos} videos"
        f"{f'; {len(card.missing)} videos missing' if card.missing else ''}. In percent:\n"
    )
    rows = _rows({"this result": run.metrics, **checks}, card.method, published, names)
    typer.echo(render(["result", "method", *names], rows, form))
    if checks:
        own, num = run.metrics[_DECISIVE], len(run.moments)
        others = {name: check[_DECISIVE] for name, check in checks.items()}
        told = told_drops(_DECISIVE, own, others, num_labels=num, num_scored=num)
        typer.echo("\n" + told)


def _rows(
    ours: Mapping[str, Mapping[str, float]],
    method: str,
    published: "tuple[Published, ...]",
    names: list[str],
) -> list[list[str]]:
    """Our results, and below them the papers', in these metrics."""
    from openmoment.evaluation.tables import percent

    return [
        *([name, method, *(percent(found[m]) for m in names)] for name, found in ours.items()),
        *([row.paper, row.method, *(_cell(row.percent, m) for m in names)] for row in published),
    ]


def _cell(percent: Mapping[str, float], metric: str) -> str:
    return f"{percent[metric]:.1f}" if metric in percent else ""


def _plain(published: "tuple[Published, ...]") -> list[dict[str, Any]]:
    return [{**vars(row), "percent": dict(row.percent)} for row in published]
