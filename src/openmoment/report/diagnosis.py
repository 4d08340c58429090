"""The diagnosis as a page: one HTML file of bars that needs no network, script or library.

The bars are SVG whose widths are shares of their row, so that the words beside them keep their
size on a phone.
"""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np

from openmoment.evaluation.diagnosis import ERRORS, KINDS, Diagnosis, GroupDiagnosis, Missed
from openmoment.report.document import document
from openmoment.storage.atomic import write_text
from openmoment.version import __version__

_COLOURS = {
    "true positive": "#2f9166",
    "double detection": "#2a8fa5",
    "wrong label": "#8a63d2",
    "localization": "#d5a021",
    "confusion": "#c2478f",
    "background": "#8a929c",
}
_MEANINGS = {
    "true positive": "finds an instance",
    "double detection": "finds one that a surer prediction has found",
    "wrong label": "lies well on an instance of another class",
    "localization": "right class, but too far off in time",
    "confusion": "near an instance of another class",
    "background": "where there is nothing",
}
_PROPERTIES = {
    "length": "By length of the instance",
    "coverage": "By share of the video that it fills",
    "instances": "By number of its class in the video",
}
_STYLE = """
.charts { display: flex; flex-wrap: wrap; gap: 0 1.25rem; margin-top: 1rem; }
.charts div:has(> figure) { flex: 1 1 min(100%, 27rem); }
figure {
  margin: 0 0 1.25rem;
  padding: 0.875rem 1rem 1rem;
  background: var(--sheet);
  border: 1px solid var(--line);
  border-radius: 6px;
}
h3 { font-size: 1rem; margin: 0; }
h4 { font-size: 0.8125rem; margin: 0.875rem 0 0.25rem; }
figcaption p { margin: 0.125rem 0 0.75rem; color: var(--soft); font-size: 0.8125rem; }
.row {
  display: grid;
  grid-template-columns: var(--key) 1fr var(--said);
  gap: 0.625rem;
  align-items: center;
  font-size: 0.8125rem;
  font-variant-numeric: tabular-nums;
  --key: 5.25rem;
  --said: 3rem;
}
.row span:last-child { text-align: right; }
.row svg {
  position: static;
  height: 1.0625rem;
  margin: 0.125rem 0;
  background: color-mix(in srgb, var(--line) 55%, transparent);
  border-radius: 3px;
  pointer-events: auto;
}
.row rect { fill: var(--colour, #3778c8); }
.bands .row { --key: 2rem; }
.errors .row { --key: 7.25rem; }
.counts .row { --said: 6.5rem; }
.legend { list-style: none; margin: 0.875rem 0 0; padding: 0; font-size: 0.8125rem; }
.legend li { padding-left: 1.25rem; position: relative; }
.legend li::before {
  content: "";
  position: absolute;
  inset: 0.3125rem auto auto 0;
  width: 0.75rem;
  height: 0.75rem;
  border-radius: 2px;
  background: var(--colour);
}
"""


def write_diagnosis(
    found: Diagnosis | Mapping[str, Diagnosis], path: Path, *, title: str = "Diagnosis"
) -> None:
    """Write a page about one diagnosis, or several by name, such as one for each split.

    Raises OpenMomentError where the page cannot be written.
    """
    several = found if isinstance(found, Mapping) else {"": found}
    body = "".join(_section(name, each) for name, each in several.items())
    write_text(_document(title, body), path)


def _document(title: str, body: str) -> str:
    return document(title, f"<h1>{escape(title)}</h1>\n{body}", foot=_FOOT, style=_STYLE)


_FOOT = (
    "<footer>After Alwassel et al., Diagnosing Error in Temporal Action Detectors, ECCV 2018. "
    "G is the number of instances of a class; all numbers are means over the tIoU thresholds. "
    f"Written by OpenMoment {__version__}.</footer>\n"
)


def _section(name: str, diagnosis: Diagnosis) -> str:
    tious = ", ".join(f"{tiou:g}" for tiou in diagnosis.tious)
    groups = "".join(
        _group(f"{name}: {each}" if name else each[:1].upper() + each[1:], group, diagnosis)
        for each, group in diagnosis.groups.items()
    )
    return f'<section>\n<p class="note">tIoU {tious}</p>\n{groups}</section>\n'


def _group(title: str, group: GroupDiagnosis, diagnosis: Diagnosis) -> str:
    """Bars of the groups have one scale, so that they can be compared."""
    groups = diagnosis.groups.values()
    facts = {
        "Average mAP, %": f"{100 * group.average_map:.1f}",
        "Classes": f"{len(group.classes):,}",
        "Instances": f"{group.num_instances:,}",
    }
    items = "".join(f"<div><dt>{key}</dt><dd>{value}</dd></div>" for key, value in facts.items())
    best = max(max(each.average_map, *each.top_n_map.tolist()) for each in groups)
    left = [
        _kinds(group),
        _gains(group, scale=max(float(each.gain.max()) for each in groups)),
        _top_n(group, diagnosis.top_ns, scale=best),
    ]
    return (
        f'<h2>{escape(title)} classes</h2>\n<dl class="facts">{items}</dl>\n'
        f'<div class="charts">\n<div>\n{"".join(left)}</div>\n'
        f"<div>\n{_missed(group.missed)}</div>\n</div>\n"
    )


# charts ------------------------------------------------------------------------------------


def _kinds(group: GroupDiagnosis) -> str:
    names = [f"{band}G" for band in range(1, len(group.shares) + 1)]
    rows = [
        _row(name, _stack(share.tolist()), _percent(share[0]))
        for name, share in zip(names, group.shares, strict=True)
        if not np.isnan(share).any()
    ]
    legend = "".join(
        f'<li style="--colour:{_COLOURS[kind]}">{kind} {_percent(share)} '
        f"<small>{_MEANINGS[kind]}</small></li>\n"
        for kind, share in zip(KINDS, group.share_of_all.tolist(), strict=True)
        if not np.isnan(share)
    )
    return _figure(
        "What the predictions are",
        "The surest G predictions of each class, the next G, and so on. Beside the bars: the "
        "share that is true.",
        f'<div class="bands">{"".join(rows)}</div><ul class="legend">{legend}</ul>',
    )


def _gains(group: GroupDiagnosis, *, scale: float) -> str:
    rows = [
        _row(kind, _bar(gain, scale, _COLOURS[kind]), f"{100 * gain:+.1f}")
        for kind, gain in zip(ERRORS, group.gain.tolist(), strict=True)
    ]
    return _figure(
        "What each error costs",
        "Points of average mAP that are gained when every prediction of that kind is taken away.",
        f'<div class="errors">{"".join(rows)}</div>',
    )


def _missed(missed: Mapping[str, Missed]) -> str:
    parts = []
    for kind, found in missed.items():
        columns = found.buckets, found.num_instances.tolist(), found.share.tolist()
        rows = [
            _row(name, _bar(share, 1.0), f"{_percent(share)} of {num:,}")
            for name, num, share in zip(*columns, strict=True)
            if num
        ]
        parts.append(f"<h4>{_PROPERTIES[kind]}</h4>{''.join(rows)}")
    return _figure(
        "What is missed",
        "The share of the instances that none of the surest 10G predictions finds.",
        f'<div class="counts">{"".join(parts)}</div>',
    )


def _top_n(group: GroupDiagnosis, top_ns: Sequence[int], *, scale: float) -> str:
    names = [*(f"top {n:,}" for n in top_ns), "all"]
    values = [*group.top_n_map.tolist(), group.average_map]
    rows = [
        _row(name, _bar(value, scale), f"{100 * value:.1f}")
        for name, value in zip(names, values, strict=True)
    ]
    return _figure(
        "How many predictions it takes",
        "Average mAP when only the surest predictions of each video are kept.",
        "".join(rows),
    )


# bars --------------------------------------------------------------------------------------


def _figure(title: str, note: str, content: str) -> str:
    return (
        f"<figure>\n<figcaption><h3>{title}</h3><p>{note}</p></figcaption>\n{content}\n</figure>\n"
    )


def _row(key: str, bar: str, said: str) -> str:
    return f'<div class="row"><span>{key}</span>{bar}<span>{said}</span></div>\n'


def _bar(value: float, scale: float, colour: str = "") -> str:
    width = value / scale if scale > 0 else 0.0
    style = f' style="--colour:{colour}"' if colour else ""
    return f'<svg aria-hidden="true"><rect width="{width:.2%}" height="100%"{style}/></svg>'


def _stack(shares: Sequence[float]) -> str:
    """The shares of `KINDS` one after the other, and in words for those who cannot see them."""
    said = ", ".join(f"{kind} {_percent(share)}" for kind, share in zip(KINDS, shares, strict=True))
    starts = np.cumsum([0.0, *shares])
    parts = [
        f'<rect x="{start:.2%}" width="{share:.2%}" height="100%" '
        f'style="--colour:{_COLOURS[kind]}"><title>{kind} {_percent(share)}</title></rect>'
        for kind, start, share in zip(KINDS, starts, shares, strict=False)
    ]
    return f'<svg role="img" aria-label="{said}">{"".join(parts)}</svg>'


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
