"""The page and the picture: what they hold, and that nothing a user types can break them."""

import io
import json
import re
import sys
import time
from base64 import b64decode, b64encode
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from detections import HOSTILE, any_arguments, make_any, make_detections, make_origin
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from videos import make_video, told_time

from openmoment.detections import Detections
from openmoment.errors import FormatError, MissingExtraError, OpenMomentError, VideoError
from openmoment.figures.plot import plot, save_plot
from openmoment.figures.timeline import COLOURS, colour_of, curve_of, downsample, length_s, ticks
from openmoment.report.page import write_report
from openmoment.types import SnippetGrid

NAMES = ("tennis serve", "handshake", "pole vault")
MOMENTS = [
    (40.0, 44.0, "tennis serve", 0.9),
    (12.25, 15.0, "tennis serve", 0.5),
    (13.0, 14.0, "handshake", 0.7),
]
VOID = {"meta", "img", "br"}

few = settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def make_sample(video: str = "match.mp4", **changes) -> Detections:
    return make_detections(MOMENTS, NAMES, origin=make_origin(video, num_queries=3, **changes))


class Page(HTMLParser):
    """A page's elements in order, each (tag, attributes, text inside); every tag must close."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str], list[str]]] = []
        self.open: list[tuple[str, dict[str, str], list[str]]] = []
        self.text = path.read_text(encoding="utf-8")
        self.feed(self.text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        assert len({name for name, _ in attrs}) == len(attrs)
        self.elements.append((tag, dict(attrs), []))
        if tag not in VOID:
            self.open.append(self.elements[-1])

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs), []))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        for _, _, inside in self.open:
            inside.append(data)

    def all(self, tag: str, kind: str | None = None) -> list[tuple[dict[str, str], str]]:
        """Attributes and text of the elements of that tag and class."""
        return [
            (attributes, "".join(inside))
            for name, attributes, inside in self.elements
            if name == tag and (kind is None or kind in attributes.get("class", "").split())
        ]

    def texts(self, tag: str, kind: str | None = None) -> list[str]:
        return [text for _, text in self.all(tag, kind)]


def report(found, folder: Path, **options) -> Page:
    write_report(found, folder / "page.html", **options)
    return Page(folder / "page.html")


def grey_pictures(path, times_s, *, short_side):
    return [np.full((short_side, short_side * 2, 3), 128, np.uint8) for _ in times_s]


# page: what it holds -------------------------------------------------------------------------


def test_the_head_of_the_page(tmp_path):
    weak = "It cannot tell actions apart by their motion."
    page = report(replace(make_sample("day/match.mp4"), notes=(weak,)), tmp_path)
    assert page.texts("h1") == ["match.mp4"]
    assert page.texts("title") == ["3 moments in match.mp4"]
    facts = dict(zip(page.texts("dt"), page.texts("dd"), strict=True))
    assert facts["Found"] == "2 of 3 queries"
    assert facts["Duration"] == "0:01:00.0"
    assert (facts["Backbone"], facts["Method"]) == ("embedded", "similarity")
    assert facts["File"] == "day/match.mp4"
    assert json.loads(facts["Settings"]) == {"threshold": 0.5, "name": "<i>x</i>"}
    assert page.texts("p", "note") == [weak]
    (date,) = page.all("time")
    assert date[1] == date[0]["datetime"][:16].replace("T", " ")


def test_the_table_is_in_order_of_time(tmp_path):
    page = report(make_sample(), tmp_path)
    cells = page.texts("td")
    assert [cells[i : i + 4] for i in range(0, len(cells), 4)] == [
        ["0:00:12.2", "0:00:15.0", "tennis serve", "0.50"],
        ["0:00:13.0", "0:00:14.0", "handshake", "0.70"],
        ["0:00:40.0", "0:00:44.0", "tennis serve", "0.90"],
    ]


def test_bars_lie_where_their_moments_are_and_point_to_their_rows(tmp_path):
    page = report(make_sample(), tmp_path)
    bars = {int(bar["data-moment"]): bar for bar, _ in page.all("button", "bar")}
    rows = [int(row["data-moment"]) for row, _ in page.all("tr") if "data-moment" in row]
    assert rows == sorted(bars) == [0, 1, 2]
    assert (bars[2]["data-start"], bars[2]["data-end"]) == ("40.000", "44.000")
    assert bars[2]["style"] == "left:66.6667%;width:6.6667%;--score:0.90"
    assert bars[2]["title"] == "tennis serve, 0:00:40.0 to 0:00:44.0, 0.90"
    # the tab key stops once a lane, and once in the table
    assert [bars[i]["tabindex"] for i in range(3)] == ["0", "0", "-1"]
    buttons = [button for button, _ in page.all("button") if "class" not in button]
    assert [button["tabindex"] for button in buttons] == ["0", "-1", "-1"]


def test_lanes_are_by_query_with_a_curve_each(tmp_path):
    page = report(make_sample(), tmp_path)
    lanes = page.all("div", "lane")
    assert [text.split("\n")[0] for _, text in lanes] == [
        "tennis serve 2 moments",
        "handshake 1 moment",
        "pole vault not found, how sure it occurs: 0.12",
    ]
    assert [lane.get("style") for lane, _ in lanes] == [
        f"--colour:{COLOURS[0]}",
        f"--colour:{COLOURS[1]}",
        None,
    ]
    assert len(page.all("path")) == 3
    assert page.texts("summary")[1:] == ["Not found: 1 query"]
    assert len(page.all("div", "absent")) == 1


def test_a_curve_peaks_where_its_scores_do(tmp_path):
    (curve, *_) = report(make_sample(), tmp_path).all("path")
    points = re.search(r"L(.*)H", curve[0]["d"])[1].split()
    x, y = np.array(points, dtype=int).reshape(-1, 2).T
    assert (x.min(), x.max()) == (0, 10_000)
    assert (y.min(), y.max()) == (0, 100)
    assert x[y.argmin()] == pytest.approx(1000, abs=60)


def test_many_queries_that_are_not_found_are_folded_away(tmp_path):
    few_missing = report(Detections.empty([f"q{i}" for i in range(6)]), tmp_path)
    assert "open" in few_missing.all("details", "missing")[0][0]
    many = report(Detections.empty([f"q{i}" for i in range(7)]), tmp_path)
    assert "open" not in many.all("details", "missing")[0][0]
    assert len(many.all("div", "absent")) == 7


def test_no_moment_no_origin_no_query(tmp_path):
    page = report(Detections.empty(["pole vault"]), tmp_path)
    assert page.texts("p", "empty") == ["No moment of any query was found."]
    assert page.texts("title") == ["0 moments in a video"]
    assert page.all("table") == page.all("path") == page.all("video") == []
    assert page.texts("div", "axis") == [""]
    assert "Backbone" not in page.texts("dt")
    report(Detections.empty([]), tmp_path)


def test_moments_without_an_origin_span_the_timeline(tmp_path):
    page = report({"mine.mp4": make_detections(MOMENTS, NAMES)}, tmp_path)
    assert page.texts("h1") == ["mine.mp4"]
    assert page.all("div", "timeline")[0][0]["data-length"] == "44.000"
    assert len(page.all("button", "bar")) == 3
    report(make_detections([(0.0, 0.0, "a", 0.5)]), tmp_path)


def test_several_videos_have_a_list_and_a_section_each(tmp_path):
    found = {"a": make_sample("day/a.mp4"), "b.mp4": Detections.empty(["x"]), "c": make_sample("c")}
    page = report(found, tmp_path)
    assert page.texts("h1") == ["6 moments in 3 videos"]
    assert page.texts("h2") == ["day/a.mp4", "b.mp4", "c"]
    assert [link["href"] for link, _ in page.all("a")] == ["#v1", "#v2", "#v3"]
    assert [section["id"] for section, _ in page.all("section")] == ["v1", "v2", "v3"]


def test_videos_are_called_by_their_paths_below_the_folder_that_they_share(tmp_path):
    found = [make_sample(f"/footage/{day}/001.mp4") for day in ("monday", "tuesday")]
    page = report({each.origin.video: each for each in found}, tmp_path)
    assert page.texts("h2") == ["monday/001.mp4", "tuesday/001.mp4"]
    assert page.texts("a") == ["monday/001.mp4", "tuesday/001.mp4"]


def test_videos_without_an_answer_are_told_with_the_reason(tmp_path):
    failed = {"day/broken.mp4": "day/broken.mp4: is <b>empty</b>."}
    page = report({"day/a.mp4": make_sample("day/a.mp4")}, tmp_path, failed=failed)
    assert page.texts("h1") == ["3 moments in a.mp4"]
    (told,) = page.all("ul", "failed")
    assert told[1].strip() == "day/broken.mp4: is <b>empty</b>."
    assert "1 video without an answer" in page.texts("p", "note")[0]


def test_no_video_at_all(tmp_path):
    assert report({}, tmp_path).texts("h1") == ["0 moments in 0 videos"]


# page: action segmentation --------------------------------------------------------------------

STEPS = [
    (0.0, 12.0, "tennis serve", 0.6),
    (12.0, 15.0, "handshake", 0.7),
    (40.0, 44.0, "tennis serve", 0.9),
]


def make_labelled(video: str = "match.mp4", **changes) -> Detections:
    origin = make_origin(video, num_queries=3, **changes)
    origin = replace(origin, settings={**origin.settings, "task": "as"})
    return make_detections(STEPS, NAMES, origin=origin)


def test_labels_are_one_strip_in_the_order_of_time(tmp_path):
    page = report(make_labelled(), tmp_path)
    (strip,) = page.all("div", "strip")
    assert strip[1].strip() == "Labels 3 segments, background 0:00:41.0"
    bars = [bar for bar, _ in page.all("button", "bar")]
    assert [bar["data-start"] for bar in bars] == ["0.000", "12.000", "40.000"]
    assert [bar["data-moment"] for bar in bars] == ["0", "1", "2"]
    assert [bar["style"].rpartition(";")[2] for bar in bars] == [
        f"--colour:{COLOURS[label]}" for label in (0, 1, 0)
    ]
    assert [bar["tabindex"] for bar in bars] == ["0", "-1", "-1"]


def test_a_legend_says_which_colour_is_whose(tmp_path):
    page = report(make_labelled(), tmp_path)
    entries = page.all("li")
    assert [text for _, text in entries] == ["tennis serve 0:00:16.0", "handshake 0:00:03.0"]
    assert [entry["style"] for entry, _ in entries] == [f"--colour:{c}" for c in COLOURS[:2]]
    assert page.texts("summary")[1:] == ["Not found: 1 query"]
    assert len(page.all("div", "lane")) == 2  # the strip, and the query that was not found
    assert "A colour is a label" in page.texts("footer")[0]
    assert "Bars are moments" in report(make_sample(), tmp_path).texts("footer")[0]


def test_nothing_but_background_is_a_strip_too(tmp_path):
    labelled = make_labelled()
    page = report(labelled[np.zeros(3, dtype=bool)], tmp_path)
    assert page.all("div", "strip")[0][1].strip() == "Labels 0 segments, background 0:01:00.0"
    assert page.all("li") == []
    assert len(plot(labelled[[]]).axes[0].collections) == 1


def test_the_picture_of_labels_is_a_strip_with_a_legend(tmp_path):
    figure = plot(make_labelled())
    (axes,) = figure.axes
    background, *strips = axes.collections
    assert [len(strip.get_paths()) for strip in strips] == [2, 1]
    assert background.get_paths()[0].get_extents().width == 60
    legend = axes.get_legend()
    assert [text.get_text().strip("\u200b") for text in legend.get_texts()] == list(NAMES[:2])
    assert axes.get_yticklabels() == []
    save_plot(make_labelled(), tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as picture:
        assert picture.width == 1500


def test_a_label_that_begins_with_an_underscore_is_in_the_legend(tmp_path):
    origin = replace(make_origin(), settings={"task": "as"})
    found = make_detections([(0.0, 1.0, "_$x^2", 0.5)], origin=origin)
    assert len(plot(found).axes[0].get_legend().get_texts()) == 1
    save_plot(found, tmp_path / "x.png")


def test_hundreds_of_labels_have_a_colour_each():
    colours = [colour_of(label) for label in range(800)]
    assert tuple(colours[: len(COLOURS)]) == COLOURS
    assert len(set(colours)) > 790
    assert all(re.fullmatch("#[0-9a-f]{6}", colour) for colour in colours)


# page: the video and its pictures ------------------------------------------------------------


def test_the_video_is_referred_to_from_the_page(tmp_path):
    inside = tmp_path / "out" / "clips" / 'a "b" #1?.mp4'
    beside = tmp_path / "beside é.mp4"
    for path in (inside, beside):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    found = {str(path): make_sample(str(path)) for path in (inside, beside)}
    found["gone"] = make_sample(str(tmp_path / "gone.mp4"))
    page = report(found, tmp_path / "out", thumbnails=0)
    first, second = (video["src"] for video, _ in page.all("video"))
    assert first.startswith("./clips/")
    assert unquote(first) == './clips/a "b" #1?.mp4'
    assert '"' not in first
    assert second == beside.as_uri()


def test_a_name_too_long_for_the_file_system_is_only_a_name(tmp_path):
    assert report(make_sample("x" * 5000), tmp_path).all("video") == []


def test_pictures_show_the_middle_of_their_moments(tmp_path):
    video = tmp_path / "match.mp4"
    make_video(video, seconds=3.0)
    moments = [(0.2, 0.8, "a", 0.9), (1.6, 2.4, "a", 0.8), (2.0, 3.0, "b", 0.1)]
    page = report(make_detections(moments, origin=make_origin(str(video))), tmp_path, thumbnails=2)
    pictures = [attributes["src"] for attributes, _ in page.all("img")]
    assert len(pictures) == 2
    assert len(page.all("td", "picture")) == 3
    for address, middle_s in zip(pictures, (0.5, 2.0), strict=True):
        head, _, jpeg = address.partition(",")
        assert head == "data:image/jpeg;base64"
        picture = np.asarray(Image.open(io.BytesIO(b64decode(jpeg))))
        assert told_time(picture) == pytest.approx(middle_s, abs=0.11)


def test_the_best_moments_get_the_pictures(tmp_path):
    (tmp_path / "v.mp4").write_bytes(b"")
    asked = []

    def pictures(path, times_s, *, short_side):
        asked.extend(times_s)
        return grey_pictures(path, times_s, short_side=short_side)

    report(make_sample(str(tmp_path / "v.mp4")), tmp_path, thumbnails=2, pictures=pictures)
    assert asked == [42.0, 13.5]


@pytest.mark.parametrize("damage", [True, False])
def test_a_video_that_cannot_be_read_gives_no_pictures(tmp_path, damage):
    path = tmp_path / "v.mp4"
    path.write_bytes(b"not a video")

    def refuse(path, times_s, *, short_side):
        raise VideoError("damaged")

    page = report(make_sample(str(path)), tmp_path, pictures=refuse if damage else None)
    assert page.all("img") == page.all("td", "picture") == []
    assert len(page.all("video")) == 1


# page: safe and self-contained ---------------------------------------------------------------


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_stays_text(name, tmp_path):
    moments = [(1.0, 2.0, name, 0.5)]
    tame = report(make_detections([(1.0, 2.0, "tame", 0.5)], origin=make_origin("tame")), tmp_path)
    page = report(make_detections(moments, origin=make_origin(name)), tmp_path)
    assert [element[0] for element in page.elements] == [element[0] for element in tame.elements]
    assert [set(element[1]) for element in page.elements] == [
        set(element[1]) for element in tame.elements
    ]
    as_parsed = name.replace("\r\n", "\n").replace("\r", "\n")
    assert page.texts("td", "query")[0].replace("\r", "\n") in (name, as_parsed)
    assert page.texts("script") == tame.texts("script")
    assert page.texts("style") == tame.texts("style")


@few
@given(arguments=st.dictionaries(st.text(max_size=8), any_arguments(), max_size=3))
def test_any_detections_make_a_page(arguments, tmp_path):
    found = {video: make_any(those) for video, those in arguments.items()}
    page = report(found, tmp_path)
    assert len(page.all("section")) == len(found)
    assert len(page.all("button", "bar")) == sum(map(len, found.values()))
    assert len(page.all("script")) == 1


def test_nothing_comes_from_elsewhere(tmp_path):
    (tmp_path / "v.mp4").write_bytes(b"")
    found = make_sample(str(tmp_path / "v.mp4"))
    page = report(found, tmp_path, pictures=grey_pictures)
    assert not re.search(r"https?:|//\w|@import|url\(", re.sub(r"base64,[\w+/=]+", "", page.text))
    for _, attributes, _ in page.elements:
        address = attributes.get("src") or attributes.get("href") or "#"
        assert address.startswith(("#", "data:image/jpeg;base64,", "./v.mp4"))
    assert page.all("link") == page.all("iframe") == []


def test_the_policy_lets_only_our_script_run(tmp_path):
    page = report(make_sample(), tmp_path)
    policy = next(m["content"] for m, _ in page.all("meta") if "http-equiv" in m)
    (script,) = page.texts("script")
    digest = b64encode(sha256(script.encode()).digest()).decode()
    assert policy.startswith("default-src 'none'; ")
    assert policy.endswith(f"script-src 'sha256-{digest}'")
    assert not any(
        name.startswith("on") for _, attributes, _ in page.elements for name in attributes
    )


def test_a_name_that_is_not_unicode_can_be_written(tmp_path):
    assert "caf\\udce9.mp4" in report(make_sample("caf\udce9.mp4"), tmp_path).text


def test_thousands_of_moments_stay_cheap(tmp_path):
    rng = np.random.default_rng(0)
    starts = rng.uniform(0, 7000, 3000)
    moments = [(float(s), float(s) + 2, NAMES[i % 2], 0.5) for i, s in enumerate(starts)]
    origin = make_origin(num_queries=3, duration_s=7200.0)
    grid = SnippetGrid.uniform(100_000, end_s=7200.0)
    curves = rng.random((3, 100_000)).astype(np.float32)
    found = make_detections(moments, NAMES, origin=replace(origin, grid=grid, curves=curves))
    begin = time.perf_counter()
    write_report(found, tmp_path / "page.html")
    assert time.perf_counter() - begin < 5.0
    assert (tmp_path / "page.html").stat().st_size < 3_000_000


def test_a_page_in_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(OpenMomentError, match="does not exist"):
        write_report(make_sample(), tmp_path / "none" / "page.html")


# what page and picture share -----------------------------------------------------------------


@given(st.floats(0.05, 1e7), st.integers(2, 12))
@settings(max_examples=100, deadline=None)
def test_ticks_are_round_and_few(duration_s, at_most):
    times_s, labels = ticks(duration_s, at_most=at_most)
    assert len(times_s) == len(labels) == len(set(labels))
    assert 1 <= len(times_s) <= at_most
    assert times_s[0] == 0
    assert times_s[-1] <= duration_s * (1 + 1e-9)
    assert np.allclose(np.diff(times_s), times_s[1] if len(times_s) > 1 else 0)


@pytest.mark.parametrize(
    ("duration_s", "labels"),
    [
        (0.0, []),
        (1.0, ["0:00:00.0", "0:00:00.5", "0:00:01.0"]),
        (27.8, ["0:00:00", "0:00:10", "0:00:20"]),
        (7300.0, ["0:00:00", "1:00:00", "2:00:00"]),
    ],
)
def test_labels_of_ticks(duration_s, labels):
    assert ticks(duration_s, at_most=4)[1] == labels


@given(st.integers(1, 3000), st.integers(2, 200), st.integers(0, 5))
@settings(max_examples=50, deadline=None)
def test_downsampling_keeps_what_stands_out(n, at_most, seed):
    y = np.random.default_rng(seed).random(n)
    x = np.arange(n, dtype=float)
    few_x, few_y = downsample(x, y, at_most=at_most)
    assert len(few_x) == len(few_y) <= at_most
    assert (np.diff(few_x) > 0).all()
    assert (few_y == y[few_x.astype(int)]).all()
    assert few_y.max() == y.max()
    assert few_y.min() == y.min()


def test_length_and_curves_without_an_origin():
    assert length_s(Detections.empty(["a"])) == 0
    assert length_s(make_detections(MOMENTS)) == 44.0
    assert length_s(make_sample(duration_s=100.0)) == 100.0
    assert curve_of(make_detections(MOMENTS), 0) is None
    times_s, scores = curve_of(make_sample(), 1)
    assert (times_s[0], times_s[-1], len(times_s)) == (0.0, 60.0, 242)
    assert times_s[scores.argmax()] == pytest.approx(30.0, abs=0.3)


# picture -------------------------------------------------------------------------------------


def texts_of(figure) -> list[str]:
    (axes,) = figure.axes
    return [label.get_text() for label in axes.get_yticklabels()]


def test_the_picture_has_a_lane_for_each_query():
    figure = make_sample("day/match.mp4").plot()
    (axes,) = figure.axes
    assert axes.get_title("left") == "match.mp4"
    assert texts_of(figure) == ["tennis serve", "handshake", "pole vault\n(not found)"]
    grey = axes.get_yticklabels()[2].get_color()
    assert grey != axes.get_yticklabels()[0].get_color()
    assert [line.get_color() for line in axes.lines] == [*COLOURS[:2], grey]
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert labels[:2] == ["0:00:00", "0:00:10"]


def test_bars_of_the_picture():
    (axes,) = plot(make_sample()).axes
    bars = [path for c in axes.collections if "Poly" in type(c).__name__ for path in c.get_paths()]
    spans = {tuple(np.round(path.get_extents().intervalx, 2)) for path in bars}
    assert {(40.0, 44.0), (12.25, 15.0), (13.0, 14.0)} <= spans


def test_a_picture_without_anything():
    for found in (Detections.empty([]), Detections.empty(["a", "b"]), make_detections(MOMENTS)):
        (axes,) = plot(found).axes
        assert axes.get_title("left") == ""
        assert len(axes.lines) == 0


@pytest.mark.parametrize("extension", ["png", "pdf", "svg"])
def test_hostile_names_are_drawn_as_they_are(extension, tmp_path):
    moments = [(float(i), i + 1.0, name, 0.5) for i, name in enumerate(HOSTILE)]
    found = make_detections(moments, origin=make_origin("$x^2$ \\frac{.mp4"))
    path = tmp_path / f"x.{extension}"
    save_plot(found, path)
    assert path.stat().st_size > 1000
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_long_names_are_wrapped_and_cut():
    names = ("a person " + "very " * 30 + "slowly", "short")
    first, _ = texts_of(plot(make_detections([(0.0, 1.0, name, 0.5) for name in names])))
    assert first.count("\n") == 1
    assert first.endswith("…")
    assert max(map(len, first.split("\n"))) <= 30


def test_a_thousand_queries_fit_in_a_picture(tmp_path):
    figure = plot(Detections.empty([str(i) for i in range(1000)]))
    assert figure.get_size_inches()[1] <= 200


@pytest.mark.parametrize("name", ["x.xyz", "x"])
def test_a_picture_of_no_known_kind(name, tmp_path):
    with pytest.raises(FormatError, match=r"x.*: expected a picture, one of .*png"):
        save_plot(make_sample(), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_without_matplotlib_the_cure_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"openmoment\[plot\]"):
        plot(make_sample())
