"""openmoment evaluate, for moment retrieval: sentences, not classes."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from openmoment.cli.console import print_json
from openmoment.errors import ConfigError

if TYPE_CHECKING:
    from openmoment.evaluation.retrieval import Retrieved
    from openmoment.evaluation.tables import TableFormat

RETRIEVAL = ("charades-sta", "activitynet-captions", "qvhighlights")
"""The datasets, and profiles, of moment retrieval."""

_KS, _TIOUS = (1, 5), (0.3, 0.5, 0.7)


def evaluate_retrieval(
    predictions: Path,
    *,
    name: str,
    gt: Path | None,
    root: Path | None,
    subset: str | None,
    form: "TableFormat",
    as_json: bool,
) -> None:
    """Score QVHighlights-style JSONL predictions of any of the three datasets.

    The ground truth is that form too, or the dataset's official files below ``root``.
    """
    from openmoment.evaluation.published import published_beside
    from openmoment.evaluation.retrieval import read_predictions
    from openmoment.evaluation.tables import percent, render

    truth = _truth(name, gt, root, subset)
    found = read_predictions(predictions)
    metrics = _metrics(name, found, truth)
    if name == "qvhighlights" and gt and gt.suffix == ".jsonl":
        metrics |= _highlights(predictions, gt)
    published = published_beside(name, "closed")
    if as_json:
        rows = [{**vars(row), "percent": dict(row.percent)} for row in published]
        head: dict[str, Any] = {"profile": name, "queries": len(truth), "answered": len(found)}
        print_json(head | {"metrics": metrics, "published_percent": rows})
        return
    typer.echo(f"{predictions.name} on {name}; {len(truth)} queries, {len(found)} answered.\n")
    typer.echo(render(["metric", "%"], [[k, percent(v)] for k, v in metrics.items()], form))
    if published:
        names = [metric for metric in metrics if any(metric in row.percent for row in published)]
        table = [["this result", "", *(percent(metrics[metric]) for metric in names)]]
        table += [
            [row.paper, row.method, *(_cell(row.percent, metric) for metric in names)]
            for row in published
        ]
        typer.echo("\n" + render(["result", "method", *names], table, form))


def _cell(percent: Mapping[str, float], metric: str) -> str:
    return f"{percent[metric]:.1f}" if metric in percent else ""


def _truth(
    name: str, gt: Path | None, root: Path | None, subset: str | None
) -> "Mapping[str, Any]":
    from openmoment.datasets import load_retrieval
    from openmoment.evaluation.retrieval import read_truth

    if gt and gt.suffix == ".jsonl":
        return read_truth(gt)
    if not (gt or root):
        raise ConfigError("Say where the ground truth is: --gt FILE, or --dataset NAME --root DIR.")
    data = load_retrieval(name, root or Path(), annotations=gt)
    moments = data.subset(subset or data.test_subset)
    return {moment.query_id: moment.windows for moment in moments}


def _metrics(
    name: str, found: "Mapping[str, Retrieved]", truth: Mapping[str, Any]
) -> dict[str, float]:
    """By the names that papers use, as fractions."""
    from openmoment.evaluation.retrieval import qvhighlights, recall_at

    recall = recall_at(found, truth, ks=_KS, tious=_TIOUS)
    metrics = {f"R@{k},IoU={m:g}": recall.at(k, m) for k in _KS for m in _TIOUS}
    metrics["mIoU"] = recall.mean_iou
    if name != "qvhighlights":
        return metrics
    by_length = qvhighlights(found, truth)
    full = by_length["full"].detection
    for i, tiou in enumerate(full.tious):
        if tiou in (0.5, 0.75):
            metrics[f"mAP@{tiou:g}"] = float(full.mean_ap[i])
    metrics["mAP_avg"] = full.average
    for length in ("short", "middle", "long"):
        if length in by_length:
            metrics[f"mAP_avg {length}"] = by_length[length].detection.average
    return metrics


def _highlights(predictions: Path, gt: Path) -> dict[str, float]:
    """Highlight detection, where both files hold saliency scores."""
    from openmoment.evaluation.retrieval import highlights, read_ratings, read_saliency
    from openmoment.reading import read_text

    if '"pred_saliency_scores"' not in read_text(predictions):
        return {}
    scores = read_saliency(predictions)
    very_good = highlights(scores, read_ratings(gt))["VeryGood"]
    return {"HL mAP": very_good.mean_ap, "HL HIT@1": very_good.hit1}
