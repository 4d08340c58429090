"""The page: one HTML file that shows, plays and lists the moments, without a network.

Everything is inside but the video, which is referred to where it lies. What a user typed, file
names and queries, is escaped; a policy in the page's head lets no script run but ours.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape
from importlib import resources
from pathlib import Path, PurePath
from urllib.parse import quote

from openmoment.figures.timeline import (
    colour_of,
    curve_of,
    downsample,
    is_strip,
    length_s,
    ticks,
)
from openmoment.report.document import document
from openmoment.report.thumbnails import Pictures, make_thumbnails
from openmoment.storage.atomic import write_text
from openmoment.types import Detection, Detections, clock
from openmoment.version import __version__

_CURVE_POINTS = 1500
_CURVE_WIDTH, _CURVE_HEIGHT = 10_000, 100  # units of the drawing, which is stretched to the page
_ASIDE = 20  # how far its upright ends stand off, outside the picture where it fills the video
_OPEN_MISSING = 6  # more queries that were not found than these are folded away
_PRELOADED = 4  # videos after these are not opened before they are played


def write_report(
    found: Detections | Mapping[str, Detections],
    path: Path,
    *,
    thumbnails: int = 60,
    pictures: Pictures | None = None,
    failed: Mapping[str, str] | None = None,
) -> None:
    """Write a page about one video, or several by path.

    ``failed`` says, by path, why further videos have no answer.
    ``thumbnails`` is how many moments of a video get a picture, best-scored first; ``pictures``
    reads them (default: `openmoment.video.read_pictures`). A video that is not there, or cannot be
    read, is reported on without. Raises OpenMomentError where the page cannot be written.
    """
    several = found.items() if isinstance(found, Mapping) else [("", found)]
    videos = [(each.origin.video if each.origin else name, each) for name, each in several]
    names = _names([video for video, _ in videos])
    is_alone = len(videos) == 1 and not failed
    sections = [
        _section(
            number,
            video,
            names[video],
            each,
            source=_source(video, path),
            thumbnails=_thumbnails_of(video, each, thumbnails, pictures),
            is_alone=is_alone,
        )
        for number, (video, each) in enumerate(videos, start=1)
    ]
    head = "" if is_alone else _head(videos, names, failed or {})
    legend = _STRIP_LEGEND if all(is_strip(each) for _, each in videos) else _LEGEND
    write_text(_document(_title(videos, names), head + "".join(sections), legend), path)


def _thumbnails_of(
    video: str, found: Detections, at_most: int, pictures: Pictures | None
) -> dict[int, str]:
    if at_most < 1 or not _is_file(video):
        return {}
    return make_thumbnails(found, Path(video), at_most=at_most, pictures=pictures)


def _source(video: str, page: Path) -> str | None:
    """The address of the video as seen from the page: relative below its folder, else absolute."""
    if not _is_file(video):
        return None
    path, folder = Path(video).resolve(), page.resolve().parent
    if path.is_relative_to(folder):
        return "./" + quote(bytes(path.relative_to(folder).as_posix(), "utf-8", "surrogateescape"))
    return path.as_uri()


def _is_file(video: str) -> bool:
    try:
        return Path(video).is_file()
    except OSError:  # a name longer than the file system allows
        return False


# the whole page --------------------------------------------------------------------------------


_LEGEND = (
    "Bars are moments: the fuller the colour, the surer; dashed ones are guesses. The curves are "
    "over time, from 0 to 1; above a dotted line a query seems to occur."
)
_STRIP_LEGEND = "A colour is a label, grey is background."


def _document(title: str, body: str, legend: str) -> str:
    script = (resources.files("openmoment.report") / "page.js").read_text(encoding="utf-8")
    return document(
        title, body, foot=_foot(legend), script=script, media="; media-src 'self' file:"
    )


def _title(videos: list[tuple[str, Detections]], names: Mapping[str, str]) -> str:
    moments = _count(sum(len(found) for _, found in videos), "moment")
    where = names[videos[0][0]] if len(videos) == 1 else _count(len(videos), "video")
    return f"{moments} in {where}"


def _head(
    videos: list[tuple[str, Detections]], names: Mapping[str, str], failed: Mapping[str, str]
) -> str:
    """The heading over several videos, links to them, and those that could not be read."""
    links = "".join(
        f'<li><a href="#v{number}">{_bdi(names[video])}</a> '
        f"<small>{_count(len(found), 'moment')}</small></li>\n"
        for number, (video, found) in enumerate(videos, start=1)
    )
    unread = "".join(f"<li>{_bdi(reason)}</li>\n" for reason in failed.values())
    told = f"{_count(len(failed), 'video')} without an answer"
    return (
        f"<header>\n<h1>{escape(_title(videos, names))}</h1>\n"
        f'<nav><ul class="videos">\n{links}</ul></nav>\n'
        + (f'<p class="note">{told}:</p>\n<ul class="failed">\n{unread}</ul>\n' if failed else "")
        + "</header>\n"
    )


def _foot(legend: str) -> str:
    now = datetime.now().astimezone()
    return (
        f"<footer>{legend} Press a moment to play it; the arrow keys go to the next. Written by "
        f'OpenMoment {__version__} on <time datetime="{now.isoformat(timespec="seconds")}">'
        f"{now:%Y-%m-%d %H:%M}</time>.</footer>\n"
    )


# one video -------------------------------------------------------------------------------------


def _section(
    number: int,
    video: str,
    name: str,
    found: Detections,
    *,
    source: str | None,
    thumbnails: Mapping[int, str],
    is_alone: bool,
) -> str:
    level = "h1" if is_alone else "h2"
    preload = "metadata" if number <= _PRELOADED else "none"
    player = (
        f'<video controls playsinline preload="{preload}" src="{escape(source)}"></video>\n'
        if source
        else ""
    )
    return (
        f'<section class="video" id="v{number}">\n'
        f"<{level}>{_bdi(name)}</{level}>\n"
        f"{_facts(video, found)}"
        f'<div class="stage">\n{player}{_table(found, thumbnails)}</div>\n'
        f"{_timeline(found)}</section>\n"
    )


def _facts(video: str, found: Detections) -> str:
    """What was asked of what, in one line; the rest of its origin folded away."""
    asked = len(found.names)
    answers = [found.answer_of(name) for name in found.names]
    facts = {"Found": f"{answers.count('found')} of {_count(asked, 'query', 'queries')}"}
    if "unsure" in answers:
        facts["Unsure"] = str(answers.count("unsure"))
    facts["Moments"] = f"{len(found):,}"
    origin = found.origin
    notes = "".join(f'<p class="note">{escape(note)}</p>\n' for note in found.notes)
    if origin is None:
        return f"{_list_of(facts, 'facts')}{notes}"
    facts |= {
        "Duration": clock(origin.duration_s),
        "Backbone": origin.backbone,
        "Method": origin.method,
    }
    settings = json.dumps(origin.settings, ensure_ascii=False, default=str)
    more = {
        "File": video,
        "SHA-256": origin.source_sha256 or "not known",
        "Fingerprint": origin.fingerprint,
        "Settings": settings,
    }
    return (
        f"{_list_of(facts, 'facts')}{notes}"
        f"<details><summary>How this was made</summary>{_list_of(more, 'more')}</details>\n"
    )


def _table(found: Detections, thumbnails: Mapping[int, str]) -> str:
    if not len(found):
        return '<p class="empty">No moment of any query was found.</p>\n'
    picture_head = "<th><span>Picture</span></th>" if thumbnails else ""
    rows = []
    for number, (i, moment) in enumerate(_by_time(found)):
        rows.append(
            f'<tr data-moment="{number}">{_picture_cell(thumbnails, i)}'
            f'<td><button type="button" tabindex="{0 if number == 0 else -1}">'
            f"{clock(moment.start_s)}</button></td>"
            f"<td>{clock(moment.end_s)}</td>"
            f'<td class="query" style="--colour:{colour_of(int(found.labels[i]))}" '
            f'title="{escape(moment.name)}"><p>{_bdi(moment.name)}'
            f"{_guess(found, moment.name)}</p></td>"
            f'<td class="score" style="--score:{moment.score:.2f}">{moment.score:.2f}</td></tr>\n'
        )
    return (
        '<div class="moments"><table>\n'
        f"<thead><tr>{picture_head}<th>Start</th><th>End</th><th>Query</th><th>How sure</th></tr>"
        f"</thead>\n<tbody>\n{''.join(rows)}</tbody>\n</table></div>\n"
    )


def _picture_cell(thumbnails: Mapping[int, str], index: int) -> str:
    if not thumbnails:
        return ""
    address = thumbnails.get(index)
    picture = f'<img alt="" loading="lazy" src="{address}">' if address else ""
    return f'<td class="picture">{picture}</td>'


# timeline --------------------------------------------------------------------------------------


def _timeline(found: Detections) -> str:
    known_s = length_s(found)
    end_s = known_s or 1.0
    lanes = _strip(found, end_s) if is_strip(found) else _lanes(found, end_s)
    return (
        f'<div class="timeline" data-length="{end_s:.3f}">\n{_axis(known_s)}{lanes}'
        f'{_missing(found, end_s)}<div class="playhead"></div>\n</div>\n'
    )


def _lanes(found: Detections, end_s: float) -> str:
    """One for each query that has moments."""
    bars: dict[int, list[str]] = {}
    for number, (i, moment) in enumerate(_by_time(found)):
        own = bars.setdefault(int(found.labels[i]), [])
        own.append(_bar(moment, number, end_s, is_first=not own))
    return "".join(_lane(found, label, bars[label], end_s) for label in sorted(bars))


def _missing(found: Detections, end_s: float) -> str:
    """The lanes of queries without any moment, folded away where there are many."""
    missing = sorted(set(range(len(found.names))) - set(found.labels.tolist()))
    if not missing:
        return ""
    is_open = " open" if len(missing) <= _OPEN_MISSING else ""
    queries = _count(len(missing), "query", "queries")
    what = "Not found, or not understood" if found.not_understood else "Not found"
    return (
        f'<details class="missing"{is_open}><summary>{what}: {queries}</summary>\n'
        f"{''.join(_lane(found, label, [], end_s) for label in missing)}</details>\n"
    )


def _axis(end_s: float) -> str:
    times_s, labels = ticks(end_s, at_most=9)
    marks = "".join(
        f'<span style="left:{time_s / end_s:.3%}"{_AT_END * (time_s > 0.96 * end_s)}>{label}</span>'
        for time_s, label in zip(times_s, labels, strict=True)
    )
    return f'<div class="axis" aria-hidden="true">{marks}</div>\n'


_AT_END = ' class="end"'


def _lane(found: Detections, label: int, bars: list[str], end_s: float) -> str:
    """A query's name, its moments, its curve; how likely it occurs at all if it has no moment."""
    curve = _curve(found, label, end_s)
    if bars:
        kind, said = "lane", _count(len(bars), "moment")
        if found.names[label] in found.unsure:
            kind, said = "lane unsure", f"unsure, how sure it occurs: {found.presence[label]:.2f}"
        style = f' style="--colour:{colour_of(label)}"'
    else:
        why = found.not_understood.get(found.names[label])
        sure = f"not found, how sure it occurs: {found.presence[label]:.2f}"
        kind, said = "lane absent", escape(f"not understood: {why}") if why else sure
        style = "" if curve else ' style="--height:0"'
    return (
        f'<div class="{kind}"{style}>'
        f'<div class="name">{_bdi(found.names[label])} <small>{said}</small></div>'
        f'<div class="track">{curve}{"".join(bars)}</div></div>\n'
    )


def _strip(found: Detections, end_s: float) -> str:
    """All moments in one lane, each in the colour of its query, and which colour is whose."""
    bars = [
        _bar(moment, number, end_s, is_first=number == 0, colour=colour_of(int(found.labels[i])))
        for number, (i, moment) in enumerate(_by_time(found))
    ]
    lengths_s = found.segments[:, 1] - found.segments[:, 0]
    entries = "".join(
        f'<li style="--colour:{colour_of(label)}">{_bdi(found.names[label])} '
        f"<small>{clock(float(lengths_s[found.labels == label].sum()))}</small></li>"
        for label in sorted(set(found.labels.tolist()))
    )
    rest = f"background {clock(max(end_s - float(lengths_s.sum()), 0.0))}"
    return (
        '<div class="lane strip"><div class="name">Labels '
        f"<small>{_count(len(bars), 'segment')}, {rest}</small></div>"
        f'<div class="track">{"".join(bars)}</div></div>\n<ul class="legend">{entries}</ul>\n'
    )


def _bar(
    moment: Detection, number: int, end_s: float, *, is_first: bool, colour: str | None = None
) -> str:
    """A moment on its lane, ``number`` in order of time; the first takes the tab key.

    It has the lane's colour unless it has its own.
    """
    left, right = (min(max(s / end_s, 0.0), 1.0) for s in (moment.start_s, moment.end_s))
    said = f"{moment.name}, {clock(moment.start_s)} to {clock(moment.end_s)}, {moment.score:.2f}"
    return (
        f'<button type="button" class="bar" data-moment="{number}" '
        f'data-start="{moment.start_s:.3f}" data-end="{moment.end_s:.3f}" '
        f'tabindex="{0 if is_first else -1}" title="{escape(said)}" '
        f'style="left:{left:.4%};width:{right - left:.4%};--score:{moment.score:.2f}'
        f'{f";--colour:{colour}" if colour else ""}"></button>'
    )


def _curve(found: Detections, label: int, end_s: float) -> str:
    curve = curve_of(found, label)
    if curve is None:
        return ""
    times_s, scores = downsample(*curve, at_most=_CURVE_POINTS)
    x = (times_s / end_s * _CURVE_WIDTH).round().astype(int).tolist()
    y = ((1 - scores.clip(0, 1)) * _CURVE_HEIGHT).round().astype(int).tolist()
    points = " ".join(f"{a} {b}" for a, b in zip(x, y, strict=True))
    start, end = x[0] - _ASIDE, x[-1] + _ASIDE
    occurs_at = found.origin and found.origin.occurs_at
    high = round((1 - occurs_at) * _CURVE_HEIGHT) if occurs_at else 0
    line = f'<path class="occurs" d="M0 {high}H{_CURVE_WIDTH}"/>' if occurs_at else ""
    return (
        f'<svg viewBox="0 -5 {_CURVE_WIDTH} {_CURVE_HEIGHT + 5}" preserveAspectRatio="none" '
        f'aria-hidden="true"><path d="M{start} {_CURVE_HEIGHT}V{y[0]}L{points}H{end}'
        f'V{_CURVE_HEIGHT}"/>{line}</svg>'
    )


def _guess(found: Detections, name: str) -> str:
    return " <small>unsure</small>" if name in found.unsure else ""


# words -----------------------------------------------------------------------------------------


def _by_time(found: Detections) -> list[tuple[int, Detection]]:
    """The detections with their indices, by start, then end."""
    return sorted(enumerate(found), key=lambda item: item[1][:2])


def _list_of(facts: Mapping[str, str], kind: str) -> str:
    items = "".join(f"<div><dt>{k}</dt><dd>{_bdi(v)}</dd></div>" for k, v in facts.items())
    return f'<dl class="{kind}">{items}</dl>\n'


def _names(videos: Sequence[str]) -> dict[str, str]:
    """What each video is called: its path below the folder that all share; alone, its file name."""
    parents = [set(map(str, PurePath(video).parents)) for video in videos]
    shared = set.intersection(*parents) if parents else set()
    if not shared:
        return {video: video or "a video" for video in videos}
    folder = max(shared, key=len)
    return {video: str(PurePath(video).relative_to(folder)) for video in videos}


def _bdi(text: str) -> str:
    """Escaped, and kept from turning the text around it when it is written right to left."""
    return f"<bdi>{escape(text)}</bdi>"


def _count(number: int, one: str, several: str = "") -> str:
    return f"{number:,} {one if number == 1 else several or one + 's'}"
