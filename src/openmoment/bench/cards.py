"""A page for each method: what it is, what its paper leaves open, what it costs, where it fails."""

from collections.abc import Sequence
from importlib import resources

from openmoment.bench.method_card import MethodCard, card_of
from openmoment.bench.record import Record
from openmoment.bench.summary import DECISIVE, Group, Row, group_records, spread
from openmoment.evaluation.tables import render
from openmoment.methods import METHODS, presets

_REFERENCE = {
    "none": "none: its authors published no code",
    "partial": "partial: the code of a part was published",
    "full": "full: its authors published their code",
}
_MADE_UP = " (made up)"


def card_pages(records: Sequence[Record]) -> dict[str, str]:
    """Markdown by file name: an index, and a page for each method."""
    groups = group_records(records)
    pages = {f"{name}.md": _page(name, card_of(name), groups) for name in METHODS}
    lines = [f"- [`{name}`]({name}.md): {card_of(name).title}" for name in METHODS]
    head = (
        "# Model cards\n\nOne page for each method. Generated: `openmoment bench cards RESULTS... "
        "--out DIR`; numbers and costs are of the runs that it was given.\n\n"
    )
    return {"README.md": head + "\n".join(lines) + "\n"} | pages


def _page(name: str, card: MethodCard, groups: Sequence[Group]) -> str:
    rows = [(group, row) for group in groups for row in group.rows if row.first.job.method == name]
    parts = [
        f"# {card.title}: `{name}`" if card.title != name else f"# `{name}`",
        card.what,
        _facts(card),
    ]
    if card.choices:
        parts += ["## Where the paper is silent or wrong, and what we do", _list(card.choices)]
    if known := presets(name):
        parts += ["## Presets", _presets(name, known)]
    parts += ["## Numbers and cost", _numbers(rows) if rows else "No run of it was given."]
    if card.failures:
        parts += ["## Known failure modes", _list(card.failures)]
    return "\n\n".join(parts) + "\n"


def _facts(card: MethodCard) -> str:
    facts = {
        "Source": card.paper,
        "Reference implementation": _REFERENCE.get(card.reference, ""),
        "In papers' tables": ", ".join(card.published) or "not there",
    }
    return _list([f"{key}: {value}" for key, value in facts.items() if value])


def _list(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _presets(name: str, known: Sequence[str]) -> str:
    """Each with what its own head says of it."""
    folder = resources.files("openmoment") / "presets" / name
    lines = []
    for preset in known:
        text = (folder / f"{preset}.toml").read_text(encoding="utf-8")
        notes = [line.lstrip("# ") for line in text.splitlines() if line.startswith("#")]
        told = [note for note in notes if note and not note.startswith("openmoment ")]
        lines.append(f"- `{preset}`" + (f": {told[0]}" if told else ""))
    return "\n".join(lines)


def _numbers(rows: Sequence[tuple[Group, Row]]) -> str:
    header = ("dataset", "as", "metric", "%", "exchanged", "training, s", "a video, ms")
    header += ("parameters, M", "how")
    return render(header, [_line(group, row) for group, row in rows], "markdown")


def _line(group: Group, row: Row) -> tuple[str, ...]:
    metric, checks = DECISIVE[group.task], list(row.first.text_check)
    videos = sum(record.cost.num_videos for record in row.records)
    training = row.costs("training_s")
    return (
        group.title + _MADE_UP * group.is_made_up,
        row.label,
        metric,
        spread(row.values("metrics", metric)),
        spread(row.checked(checks[0], metric)) if checks else "",
        f"{sum(training) / len(training):.0f}" if training else "",
        f"{1000 * sum(row.costs('inference_s')) / max(videos, 1):.0f}",
        f"{row.first.cost.num_parameters / 1e6:.2f}",
        row.differences,
    )
