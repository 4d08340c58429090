"""One report of a results folder: a page without network or script, Markdown, LaTeX."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from openmoment.bench.record import Record, digest
from openmoment.bench.tables import HOW, VERDICT, Section, Table, sections
from openmoment.evaluation.tables import render
from openmoment.report.document import document
from openmoment.storage.atomic import write_text
from openmoment.version import __version__

_STYLE = """
table { margin: 0.5rem 0 0; width: auto; font-size: 0.8125rem; }
.scroll { overflow-x: auto; }
th, td, td:not([class]) { width: auto; white-space: nowrap; padding: 0.25rem 0.75rem 0.25rem 0; }
td.words { white-space: normal; min-width: 14rem; color: var(--soft); }
td.number, th.number { text-align: right; }
th.words, th.name { text-align: left; }
tbody tr { cursor: auto; }
tr.ours td { font-weight: 600; }
tr.ours td.words { font-weight: 400; }
h3 { font-size: 1rem; margin: 1.25rem 0 0; }
"""
_NAMED = 10
NAMES = {"html": "report.html", "markdown": "report.md", "latex": "report.tex"}


@dataclass(frozen=True)
class Report:
    """What each form of a report says."""

    title: str
    sections: Sequence[Section]
    digest: str
    failed: Sequence[tuple[str, str]]
    head: str
    """What there is to say first."""


def write_reports(
    records: Sequence[Record],
    out: Path,
    *,
    title: str,
    failed: Sequence[tuple[str, str]] = (),
    missing: Sequence[str] = (),
) -> list[Path]:
    """Write the three forms into a folder, which is there; where they are.

    ``failed`` are names of runs that are not there, and why; ``missing`` names of others.
    """
    head = told_missing(len(records), missing) if missing else ""
    report = Report(title, sections(records), digest(records), failed, head)
    told = {"html": to_html(report), "markdown": to_markdown(report), "latex": to_latex(report)}
    paths = [out / NAMES[form] for form in told]
    for path, text in zip(paths, told.values(), strict=True):
        write_text(text, path)
    return paths


def told_missing(num_there: int, missing: Sequence[str]) -> str:
    """How many of the runs are there, and the names of those that are not."""
    named = ", ".join(missing[:_NAMED])
    more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
    return f"{num_there} of {num_there + len(missing)} runs are there; missing: {named}{more}."


def to_markdown(report: Report) -> str:
    """Headings and tables, below the title what there is to say first."""
    first = [report.head] if report.head else []
    parts = [f"# {report.title}", *first, _DIGEST.format(report.digest)]
    for section in report.sections:
        parts += [f"## {section.title}", *([section.note] if section.note else [])]
        for table in section.tables:
            note = [table.note] if table.note else []
            parts += [f"### {table.title}", *note, table.to_markdown()]
    if report.failed:
        lines = "\n".join(f"- `{name}`: {why}" for name, why in report.failed)
        parts += [f"## {_FAILED}", lines]
    return "\n\n".join(parts) + "\n"


def to_latex(report: Report) -> str:
    """Tables for a paper; they need the package booktabs."""
    first = [report.head] if report.head else []
    parts = [" ".join([f"% {report.title}.", *first, _DIGEST.format(report.digest)])]
    for section in report.sections:
        for table in section.tables:
            body = render(table.header, table.rows, "latex")
            parts.append(f"% {section.title}: {table.title}. {section.note}\n{body}")
    return "\n\n".join(parts).replace("±", r"$\pm$") + "\n"


def to_html(report: Report) -> str:
    """The page."""
    body = f"<h1>{escape(report.title)}</h1>\n"
    body += f'<p class="note">{escape(report.head)}</p>\n' if report.head else ""
    body += "".join(_section(section) for section in report.sections)
    if report.failed:
        lines = "".join(f"<li>{escape(name)}: {escape(why)}</li>\n" for name, why in report.failed)
        body += f"<section>\n<h2>{_FAILED}</h2>\n<ul>{lines}</ul>\n</section>\n"
    digest = _DIGEST.format(report.digest)
    foot = f"<footer>{digest} Written by OpenMoment {__version__}.</footer>\n"
    return document(report.title, body, foot=foot, style=_STYLE)


_FAILED = "Runs that failed"
_DIGEST = "All numbers together: {}. Equal words mean equal numbers, to the last bit."


def _section(section: Section) -> str:
    note = f'<p class="note">{escape(section.note)}</p>\n' if section.note else ""
    tables = "".join(_table(table) for table in section.tables)
    return f"<section>\n<h2>{escape(section.title)}</h2>\n{note}{tables}</section>\n"


def _table(table: Table) -> str:
    kinds = [_kind(table, column) for column in range(len(table.header))]
    head = "".join(
        f"<th{kind}>{escape(name)}</th>" for name, kind in zip(table.header, kinds, strict=True)
    )
    rows = "".join(_row(row, kinds) for row in table.rows)
    note = f'<p class="note">{escape(table.note)}</p>\n' if table.note else ""
    return (
        f'<h3>{escape(table.title)}</h3>\n{note}<div class="scroll"><table>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table></div>\n"
    )


def _row(row: Sequence[str], kinds: Sequence[str]) -> str:
    is_ours = len(row) > 1 and row[1] == "ours"
    cells = "".join(f"<td{kind}>{escape(cell)}</td>" for cell, kind in zip(row, kinds, strict=True))
    kind = ' class="ours"' if is_ours else ""
    return f"<tr{kind}>{cells}</tr>\n"


def _kind(table: Table, column: int) -> str:
    """The class of a column's cells: words, numbers, or none."""
    if table.header[column] in (HOW, VERDICT):
        return ' class="words"'
    cells = [row[column] for row in table.rows if row[column]]
    is_number = bool(cells) and all(cell[0] in "-+0123456789" for cell in cells)
    return ' class="number"' if is_number else ' class="name"'
