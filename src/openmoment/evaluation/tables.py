"""Results as tables of percent: text, Markdown, LaTeX, CSV."""

import csv
import io
from collections.abc import Collection, Sequence
from typing import Literal

from openmoment.evaluation.published import Published, published_regions
from openmoment.evaluation.result import Card, Result

TableFormat = Literal["text", "markdown", "latex", "csv"]
_MANY = 8
_REGIONS = ("R@IoU0.5", "R@IoU0.75", "R@IoU0.95", "mIoU")
_OF_MANY = ("mAP@0.5", "mAP@0.75", "mAP@0.95")
_STYLES = {"text": "plain", "markdown": "github", "latex": "latex_booktabs"}


def render(header: Sequence[str], rows: Sequence[Sequence[str]], form: TableFormat) -> str:
    """One table in one of the forms, without a line end."""
    if form == "csv":
        table = io.StringIO(newline="")
        csv.writer(table, lineterminator="\n").writerows([header, *rows])
        return table.getvalue().rstrip("\n")
    from tabulate import tabulate

    numeric = [name.startswith(("mAP", "AP", "AR@", "AUC", "R@", "mIoU")) for name in header]
    align = ["right" if is_number else "left" for is_number in numeric]
    return tabulate(
        rows, headers=list(header), tablefmt=_STYLES[form], colalign=align, disable_numparse=True
    )


def percent(value: float) -> str:
    """A fraction in percent with one decimal."""
    return f"{100 * value:.1f}"


def printed_metrics(result: Result) -> list[str]:
    """The metrics that papers print: of many tIoUs only 0.5, 0.75 and 0.95, and the averages."""
    names = list(result.metrics)
    if len(names) <= _MANY:
        return names
    return [name for name in names if name in _OF_MANY or "_" in name]


def splits_table(result: Result) -> tuple[list[str], list[list[str]]]:
    """The mean over the splits, the standard deviation, and every split."""
    names = printed_metrics(result)
    mean, std = result.mean, result.std
    rows = [["mean", *(percent(mean[name]) for name in names)]]
    if len(result.splits) > 1:
        rows.append(["std", *(percent(std[name]) for name in names)])
        rows += [
            [f"split {split.name}", *(percent(result.metrics[name][i]) for name in names)]
            for i, split in enumerate(result.splits)
        ]
    return ["", *names], rows


def classes_table(result: Result) -> tuple[list[str], list[list[str]]]:
    """Each class's AP in each split that has it."""
    header = ["split", "class", "instances", *(f"AP@{tiou:g}" for tiou in result.card.tious), "AP"]
    rows = [
        [split.name, name, str(count), *(percent(value) for value in ap), percent(ap.mean())]
        for split in result.splits
        for name, count, ap in zip(split.classes, split.num_instances, split.ap, strict=True)
    ]
    return header, rows


def comparison_table(
    results: Sequence[tuple[str, Result]], published: Sequence[Published] = ()
) -> tuple[list[str], list[list[str]]]:
    """One row per result, then the papers', with what is known of their other protocol."""
    metrics = printed_metrics(results[0][1])
    header = ["result", "method", "backbone", "external", *metrics, "note"]
    rows = []
    for name, result in results:
        mean, std = result.mean, result.std
        several = len(result.splits) > 1
        cells = [percent(mean[m]) + (f" ±{percent(std[m])}" if several else "") for m in metrics]
        card = result.card
        note = "; ".join(filter(None, (splits_note(result), trained_note(result))))
        rows.append([name, card.method, card.backbone, card.external_scores, *cells, note])
    for row in published:
        cells = map(row.cell, metrics)
        rows.append([f"{row.paper}, {row.table}", row.method, "", "", *cells, row.note])
    return header, rows


def regions_table(
    results: Sequence[tuple[str, Result]], card: Card
) -> tuple[list[str], list[list[str]]]:
    """One row per result with the label given, then GRIZAL's for the same dataset and setting."""
    known = [(name, result) for name, result in results if result.label_given]
    metrics = [n for n in known[0][1].label_given if len(card.tious) <= _MANY or n in _REGIONS]
    rows = [
        [name, result.card.method, *(percent(result.label_given[m]) for m in metrics)]
        for name, result in known
    ]
    for row in published_regions(card.dataset, card.setting):
        cells = map(row.cell, metrics)
        rows.append([f"{row.paper}, {row.table}", row.method, *cells])
    return ["result", "method", *metrics], rows


def splits_note(result: Result) -> str:
    """``1 of 10 splits``, empty where the result has no splits."""
    card = result.card
    return f"{len(card.splits)} of 10 splits" if card.splits else ""


def trained_note(result: Result) -> str:
    """``trained on 15 of 20 classes``, empty where it was trained on none that counts."""
    return trained_among({name for s in result.splits for name in s.classes}, result.card)


def trained_among(classes: Collection[str], card: Card) -> str:
    """The same of any classes that count."""
    met = set(classes).intersection(card.trained_on)
    return f"trained on {len(met)} of {len(classes)} classes" if met else ""
