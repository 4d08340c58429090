"""What the papers report, as facts beside our own results, and how their protocols differ."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources


@dataclass(frozen=True)
class Published:
    """One row of a paper's table, in percent as printed."""

    dataset: str
    setting: str
    paper: str
    table: str
    method: str
    percent: Mapping[str, float]

    def cell(self, metric: str) -> str:
        """A number as the paper prints it; empty where it has none."""
        return f"{self.percent[metric]:.1f}" if metric in self.percent else ""

    @property
    def note(self) -> str:
        """How its protocol differs from the one here; empty where no difference is known."""
        notes = (
            note
            for paper, method, dataset, setting, note in _NOTES
            if paper in (self.paper, "")
            and re.match(method, self.method)
            and dataset in (self.dataset, "")
            and setting in (self.setting, "")
        )
        return "; ".join(notes)


_NOTES = (
    ("T3AL", "CLIP ViT", "", "", "videos of both subsets; APs rounded to 0.1"),
    ("T3AL", "CoCa", "", "", "videos of both subsets; APs rounded to 0.1"),
    ("T3AL", "T3AL", "", "", "videos of both subsets; APs rounded to 0.1"),
    ("T3AL", "CLIP ViT", "activitynet", "", "average over three tIoUs"),
    ("T3AL", "CoCa", "activitynet", "", "average over three tIoUs"),
    ("T3AL", "T3AL", "activitynet", "", "average over three tIoUs"),
    ("", "STALE", "activitynet", "75-25", "labels of a supervised 200-class classifier"),
    ("", "STALE", "activitynet", "50-50", "labels of a supervised 200-class classifier"),
    ("", "STALE", "", "", "only the last annotation of a video counts"),
    ("", "B-I$", "", "", "proposals of AFSD, by T3AL's account"),
    ("ConTrans", "GRIZAL", "", "", "R@tIoU and mIoU with the label given, not mAP"),
    ("GRIZAL", "", "", "", "R@tIoU and mIoU with the label given"),
    ("UnLoc", "UnLoc", "", "", "pretrained on Kinetics-700; CLIP fine-tuned end to end"),
    ("ConTrans", "B-II", "activitynet", "50-50", "0.5 and 0.75 repeat STALE's row"),
    ("ConTrans", "ConTrans", "activitynet", "", "the average does not fit its own thresholds"),
)
"""Paper, pattern of the method's name, dataset, setting (empty for any), and what differs."""

_MAIN_TABLES = {
    ("STALE", "Table 1"),
    ("STALE", "Table 2"),
    ("ConTrans", "Table 1"),
    ("ConTrans", "Table 2"),
    ("T3AL", "Table 1"),
    ("T3AL", "Table 2"),
    ("T3AL", "Table 3"),
    ("T3AL", "Table 4"),
    ("UnLoc", "Table 5"),
    ("UnLoc", "Table 6"),
    ("UnLoc", "Table 7"),
    ("GRIZAL", "Table 3"),
}


_REGION_TABLES = ("Table 1", "Table 2")

_COPIES = (
    "CLIP ViT-B/16 w/ detector",
    *("A2Net+I3D (RGB)", "B-I+CLIP (RGB)", "B-II+CLIP (RGB)", "EffPrompt+CLIP (RGB)"),
    *("STALE+CLIP (RGB)", "TALNet+I3D (RGB+Flow)", "MUSES+I3D (RGB+Flow)"),
    *("B-III+I3D (RGB+Flow)", "STALE+I3D (RGB+Flow)"),
)
"""Rows that repeat another paper's numbers under another name: of B-I, and of STALE's Table 2."""


@cache
def published_results() -> tuple[Published, ...]:
    """All rows that ship with the package, also of ablations."""
    path = resources.files("openmoment") / "data" / "published.json"
    return tuple(Published(**row) for row in json.loads(path.read_text(encoding="utf-8")))


def published_regions(dataset: str, setting: str) -> tuple[Published, ...]:
    """GRIZAL's rows for a dataset and setting, with the label given."""
    return tuple(
        row
        for row in published_results()
        if (row.paper, row.dataset, row.setting) == ("GRIZAL", dataset, setting)
        and row.table in _REGION_TABLES
    )


def _is_quoted(row: Published) -> tuple[bool, bool]:
    """Sorts a method's own paper first, then STALE, which made or first told of the baselines."""
    return not row.method.startswith(row.paper), row.paper != "STALE"


def published_beside(dataset: str, setting: str) -> tuple[Published, ...]:
    """The rows of the main tables for a dataset and setting.

    A method that several papers quote is taken from its own, or from the first one that has it:
    its numbers are the same but for copying slips.
    """
    found: dict[str, Published] = {}
    for row in sorted(published_results(), key=_is_quoted):
        is_main = (row.paper, row.table) in _MAIN_TABLES
        if (
            is_main
            and (row.dataset, row.setting) == (dataset, setting)
            and row.method not in _COPIES
        ):
            found.setdefault(row.method, row)
    return tuple(found.values())
