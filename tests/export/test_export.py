"""Every format: what is written comes back, whatever the names; what is malformed is refused."""

import csv
import html
import json
import re
from dataclasses import replace
from importlib import resources
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import webvtt
from detections import HOSTILE, any_arguments, make_any, make_detections, make_origin
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openmoment.errors import FormatError, OpenMomentError, UnknownNameError
from openmoment.export import FORMATS, describe_formats, format_of, recognise
from openmoment.export.activitynet import video_id
from openmoment.export.json import to_document
from openmoment.types import Detections

SAMPLE = make_detections(
    [(12.25, 15.0, "tennis serve", 0.8734), (3661.0005, 3662.0, "handshake", 0.5)],
    ("tennis serve", "handshake", "pole vault"),
    origin=make_origin("day/match.mp4", duration_s=4000.0),
)
SCHEMA = json.loads((resources.files("openmoment") / "data/openmoment-1.schema.json").read_text())
TIMED = [name for name in FORMATS if FORMATS[name].keeps_times]
SEVERAL = [name for name in FORMATS if FORMATS[name].holds_several]
SINGLE = [name for name in FORMATS if not FORMATS[name].holds_several]

few = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


FPS = 1000.0
"""Formats that count frames keep milliseconds at this rate, as the others do."""

HEADED = ["json", "webvtt", "elan", "label_studio", "via", "edl", "fiftyone"]
"""Formats that carry where it all comes from."""


def round_trip(name: str, found, path: Path) -> dict[str, Detections]:
    FORMATS[name].write(found, path, fps=FPS)
    return FORMATS[name].read(path)


def table(found: Detections, *, digits: int) -> list[tuple]:
    """Rows in an order that rounding cannot change."""
    return sorted(
        (round(d.start_s, digits), round(d.end_s, digits), d.name, round(d.score, digits))
        for d in found
    )


def assert_same_moments(a: Detections, b: Detections, *, time_s: float, score: float) -> None:
    """The same moments of the same queries, up to rounding."""
    assert sorted(d.name for d in a) == sorted(d.name for d in b)
    for name in a.names:
        mine, theirs = (np.array([d[:2] for d in f if d.name == name]) for f in (a, b))
        assert np.allclose(np.sort(mine, axis=0), np.sort(theirs, axis=0), rtol=0, atol=time_s)
    assert np.allclose(np.sort(a.scores), np.sort(b.scores), rtol=0, atol=score)


# all formats ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TIMED)
def test_the_sample_comes_back(name, tmp_path):
    (found,) = round_trip(name, SAMPLE, tmp_path / "x").values()
    assert_same_moments(found, SAMPLE, time_s=6e-4, score=6e-3)
    assert (np.diff(found.scores) <= 0).all()


@pytest.mark.parametrize("name", TIMED)
def test_no_moment_at_all(name, tmp_path):
    found = Detections.empty(["pole vault"])
    back = round_trip(name, found, tmp_path / "x")
    assert all(len(detections) == 0 for detections in back.values())


@pytest.mark.parametrize("name", SEVERAL)
def test_several_videos_come_back_by_name(name, tmp_path):
    found = {"b": SAMPLE, "a": make_detections([(1.0, 2.0, "wave", 0.5)])}
    back = round_trip(name, found, tmp_path / "x")
    assert list(back) == ["b", "a"]
    for video in found:
        assert_same_moments(back[video], found[video], time_s=6e-4, score=6e-5)


@pytest.mark.parametrize("name", SINGLE)
@pytest.mark.parametrize("number", [0, 2])
def test_single_formats_refuse_any_other_number_in_one_line(name, number, tmp_path):
    found = {str(i): SAMPLE for i in range(number)}
    with pytest.raises(FormatError, match=f"x: this format holds one video, got {number}.*json"):
        FORMATS[name].write(found, tmp_path / "x", fps=FPS)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", TIMED)
def test_reading_what_is_not_there_or_not_text(name, tmp_path):
    path = tmp_path / "x"
    with pytest.raises(FormatError, match="x: cannot be read"):
        FORMATS[name].read(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FormatError, match="x: is not UTF-8 text"):
        FORMATS[name].read(path)


@pytest.mark.parametrize("name", TIMED)
@few
@given(arguments=any_arguments())
def test_any_detections_survive(name, arguments, tmp_path):
    found = make_any(arguments)
    if name == "edl":  # a list ends after 24 hours
        found = replace(found, segments=found.segments / 40)
    videos = list(round_trip(name, {"v": found}, tmp_path / "x").values())
    if name in ("csv", "boris") and not len(found) or name == "qvhighlights" and not found.names:
        assert videos == []
        return
    (back,) = videos
    if name == "srt":
        assert len(back) == len(found)
        return
    # what lasts no millisecond lasts one in some
    assert_same_moments(back, found, time_s=1.6e-3, score=6e-5)


@pytest.mark.parametrize("name", [name for name in TIMED if name != "srt"])
def test_hostile_queries_come_back_letter_for_letter(name, tmp_path):
    found = make_detections([(float(i), i + 1.0, q, 0.5) for i, q in enumerate(HOSTILE)])
    (back,) = round_trip(name, {"v": found}, tmp_path / "x").values()
    assert [d.name for d in back.by_time()] == list(HOSTILE)


@pytest.mark.parametrize("name", HEADED)
def test_where_it_comes_from_and_what_was_not_found_come_back(name, tmp_path):
    (back,) = round_trip(name, SAMPLE, tmp_path / "x").values()
    assert back.to_dict()["queries"] == SAMPLE.to_dict()["queries"]
    assert back.origin == SAMPLE.origin


@pytest.mark.parametrize("name", TIMED)
@few
@given(data=st.data())
def test_a_damaged_file_is_refused_or_read_but_never_a_surprise(name, data, tmp_path):
    path = tmp_path / "x"
    FORMATS[name].write({"v.mp4": SAMPLE}, path, fps=25.0)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content)))
        end = start + data.draw(st.sampled_from([0, 0, 1, 1, 2, 40]))
        content[start:end] = data.draw(st.sampled_from(PIECES))
    path.write_bytes(content)
    try:
        videos = FORMATS[name].read(path, fps=25.0)
    except OpenMomentError as error:
        assert str(error).startswith(str(path))
        assert "\n" not in str(error)
    else:
        assert all(np.isfinite(found.segments).all() for found in videos.values())


PIECES = [
    *(b"", b"0", b"-1", b"9" * 400, b"1e999", b"NaN", b"null", b"true", b'"', b"[]", b"{}", b"[{"),
    *(
        b"}",
        b"]",
        b",",
        b":",
        b";",
        b"<",
        b">",
        b"<a>",
        b"&x;",
        b"\n",
        b"\r",
        b"\t",
        b"\0",
        b"\xff",
    ),
    *("é\u2028\U0001f938".encode(), b"<!DOCTYPE x>", b"]]>", b"-->", b"ts1", b"\\ud800"),
]


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_tells_people_what_it_is(name):
    entry = next(entry for entry in describe_formats() if entry["name"] == name)
    assert entry["extension"].startswith(".")
    assert entry["about"]
    assert not entry["about"].endswith(".")
    assert set(entry) == {"name", "extension", "about", "loses", "several", "reads", "writes"}


@pytest.mark.parametrize("name", TIMED)
def test_a_file_is_recognised_by_its_ending_and_fields(name, tmp_path):
    path = tmp_path / f"x{FORMATS[name].extension}"
    FORMATS[name].write(SAMPLE, path, fps=25.0)
    assert recognise(path) == name
    assert recognise(path, "json") == "json"


@pytest.mark.parametrize("name", TIMED)
def test_a_file_name_that_is_not_unicode_breaks_nothing(name, tmp_path):
    video = "caf\udce9.mp4"  # what Python makes of Latin-1 bytes in a path
    back = round_trip(name, {video: SAMPLE}, tmp_path / "x")
    assert len(next(iter(back.values()))) == 2
    if name in HEADED:
        assert list(back) == [video]


@pytest.mark.parametrize("name", TIMED)
def test_a_failed_write_leaves_the_old_file(name, tmp_path):
    path = tmp_path / "x"
    path.write_text("old")
    with pytest.raises(OpenMomentError, match="does not exist"):
        FORMATS[name].write(SAMPLE, tmp_path / "none" / "x", fps=FPS)
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_format_of():
    assert [format_of(Path(f"a.b{e}")) for e in (".json", ".CSV", ".vtt", ".srt")] == [
        "json",
        "csv",
        "webvtt",
        "srt",
    ]
    assert format_of(Path("a.json"), "activitynet") == "activitynet"
    with pytest.raises(UnknownNameError, match="Did you mean 'webvtt'"):
        format_of(Path("a.json"), "webvt")
    for path in ("a.xml", "a"):
        with pytest.raises(FormatError, match=r"does not tell the format.*\.srt.*activitynet"):
            format_of(Path(path))


# json ----------------------------------------------------------------------------------------


@few
@given(arguments=st.dictionaries(st.text(max_size=5), any_arguments(), max_size=3))
def test_json_is_stable_under_reading_and_follows_its_schema(arguments, tmp_path):
    found = {video: make_any(those) for video, those in arguments.items()}
    for what in (found, *found.values()):
        document = json.loads(json.dumps(to_document(what)))
        jsonschema.validate(document, SCHEMA)
        back = round_trip("json", what, tmp_path / "x.json")
        again = to_document(back if isinstance(what, dict) else next(iter(back.values())))
        # moments of one span may change places when only rounding made them equal
        assert sorted(map(str, walk(again))) == sorted(map(str, walk(document)))


def walk(value):
    """All moments, and what else there is without them."""
    for entry in value.get("videos", [value]):
        yield from entry.pop("moments")
    yield value


def test_json_keeps_the_origin_but_for_grid_and_curves(tmp_path):
    (back,) = round_trip("json", SAMPLE, tmp_path / "x.json").values()
    assert back.origin == SAMPLE.origin
    assert back.not_found == ("pole vault",)
    assert back.presence == pytest.approx(SAMPLE.presence)


def test_json_shape_follows_from_what_was_asked():
    assert "videos" not in to_document(SAMPLE)
    (entry,) = to_document({"other.mp4": SAMPLE})["videos"]
    assert entry["video"]["path"] == "other.mp4"
    assert "schema" not in entry


def test_json_is_readable_by_people(tmp_path):
    path = tmp_path / "x.json"
    FORMATS["json"].write(make_detections([(1.0, 2.0, "прыжок", 0.5)]), path)
    assert '"query": "прыжок"' in path.read_text(encoding="utf-8")


def test_the_documented_examples_follow_the_schema_and_are_readable(tmp_path):
    page = (Path(__file__).parents[2] / "docs/json.md").read_text(encoding="utf-8")
    examples = re.findall(r"```json\n(.*?)```", page, flags=re.DOTALL)
    assert len(examples) == 2
    for example in examples:
        jsonschema.validate(json.loads(example), SCHEMA)
        (tmp_path / "x.json").write_text(example)
        assert FORMATS["json"].read(tmp_path / "x.json")


def test_the_schema_refuses_what_the_reader_refuses(tmp_path):
    for broken in broken_documents():
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(broken, SCHEMA)
        path = tmp_path / "x.json"
        path.write_text(json.dumps(broken))
        with pytest.raises(FormatError, match=r"x\.json"):
            FORMATS["json"].read(path)


def broken_documents():
    """The sample with one field missing or of another kind, for each required field."""
    places = [
        ("schema",),
        ("queries",),
        ("moments",),
        ("video", "path"),
        ("backbone", "name"),
        ("backbone", "fingerprint"),
        ("method", "name"),
        ("method", "settings"),
        ("queries", 0, "query"),
        ("queries", 0, "presence"),
        ("moments", 1, "start_s"),
        ("moments", 1, "end_s"),
        ("moments", 1, "query"),
        ("moments", 1, "score"),
    ]
    for *parents, last in places:
        for change in ("missing", None, True):
            document = json.loads(json.dumps(SAMPLE.to_dict()))
            target = document
            for key in parents:
                target = target[key]
            if change == "missing":
                del target[last]
            else:
                target[last] = change
            yield document


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": "openmoment/2"}, "schema: expected 'openmoment/1', got 'openmoment/2'"),
        ({"moments": 3}, "moments: expected a list, got 3"),
        ({"moments": [7]}, r"moments\[0\]: expected an object, got 7"),
        ({"queries": [{"query": "a"}]}, r"queries\[0\]: field 'presence' is missing"),
        ({"queries": [{"query": "a", "presence": 2}]}, r"queries\[0\]: presence: .* 0 to 1, got 2"),
        ({"videos": [{}]}, r"videos\[0\]: field 'queries' is missing"),
        ({"video": "match.mp4"}, "video: expected an object, got 'match.mp4'"),
        (
            {"method": {"name": "x", "settings": {"a": float("inf")}}},
            "method: settings: expected finite numbers",
        ),
    ],
)
def test_json_errors_name_the_place(change, message, tmp_path):
    path = tmp_path / "x.json"
    path.write_text(json.dumps(SAMPLE.to_dict() | change))
    with pytest.raises(FormatError, match=message) as caught:
        FORMATS["json"].read(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("moment", "message"),
    [
        ({"start_s": float("nan")}, r"moments\[0\]: start_s: expected a number, got nan"),
        ({"start_s": "1"}, r"moments\[0\]: start_s: expected a number, got '1'"),
        ({"start_s": 10**400}, r"moments\[0\]: start_s: expected a number"),
        ({"end_s": 1}, r"moments\[0\]: end_s 1 lies before start_s 12.25"),
        ({"score": 1.5}, r"moments\[0\]: score: expected a score from 0 to 1, got 1.5"),
        ({"query": "kick"}, r"moments\[0\]: query: 'kick' is not among the queries"),
    ],
)
def test_json_moments_are_checked(moment, message, tmp_path):
    document = SAMPLE.to_dict()
    document["moments"][0] |= moment
    path = tmp_path / "x.json"
    path.write_text(json.dumps(document))
    with pytest.raises(FormatError, match=message):
        FORMATS["json"].read(path)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"a": 1' + "0" * 5000 + "}"])
def test_what_is_not_json(text, tmp_path):
    path = tmp_path / "x.json"
    path.write_text(text)
    for name in ("json", "activitynet"):
        with pytest.raises(FormatError, match=r"x\.json.*is not JSON") as caught:
            FORMATS[name].read(path)
        assert "\n" not in str(caught.value)


def test_json_refuses_a_video_twice(tmp_path):
    document = to_document({"a": SAMPLE})
    document["videos"] *= 2
    (tmp_path / "x.json").write_text(json.dumps(document))
    with pytest.raises(FormatError, match=r"videos\[1\]: the video 'a' is there twice"):
        FORMATS["json"].read(tmp_path / "x.json")


# activitynet ---------------------------------------------------------------------------------


def test_activitynet_layout(tmp_path):
    FORMATS["activitynet"].write({"day/v_abc-_1.mp4": SAMPLE}, tmp_path / "x.json")
    document = json.loads((tmp_path / "x.json").read_text())
    assert document["version"] == "VERSION 1.3"
    assert document["results"]["abc-_1"][0] == {
        "label": "tennis serve",
        "score": 0.8734,
        "segment": [12.25, 15.0],
    }
    assert document["external_data"]["used"] is True
    assert "embedded (fingerprint embedded-1)" in document["external_data"]["details"]
    assert "similarity" in document["external_data"]["details"]


def test_activitynet_says_when_the_source_is_unknown(tmp_path):
    found = {"a": Detections.empty([]), "b": SAMPLE, "c": SAMPLE}
    FORMATS["activitynet"].write(found, tmp_path / "x.json")
    details = json.loads((tmp_path / "x.json").read_text())["external_data"]["details"]
    assert details.startswith("not recorded. backbone embedded")
    assert details.count("embedded-1") == 1


def test_activitynet_keeps_every_digit(tmp_path):
    found = make_detections([(1 / 3, 2 / 3, "a", 1 / 7)])
    (back,) = round_trip("activitynet", {"v": found}, tmp_path / "x").values()
    assert (back.segments == found.segments).all()
    assert (back.scores == found.scores).all()


def test_video_ids():
    assert video_id("day/v_GGSY1Qvo990.mp4") == "GGSY1Qvo990"
    assert video_id("video_test_0000946") == "video_test_0000946"


def test_activitynet_refuses_two_videos_of_one_id(tmp_path):
    found = {"one/a.mp4": SAMPLE, "two/v_a.mkv": SAMPLE}
    with pytest.raises(FormatError, match="two videos have the id 'a'; the second is two/v_a.mkv"):
        FORMATS["activitynet"].write(found, tmp_path / "x")


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ([], "results: expected an object"),
        ({"a": {}}, "results: a: expected a list"),
        ({"a": [{"label": "x", "score": 1}]}, r"results\['a'\]\[0\]: field 'segment' is missing"),
        (
            {"a": [{"label": "x", "score": 1, "segment": [1]}]},
            r"\[0\]: segment: expected \[start, end\] in seconds, got \[1\]",
        ),
        (
            {"a": [{"label": "x", "score": 1, "segment": ["1", "2"]}]},
            r"\[0\]: segment: expected \[start, end\] in seconds",
        ),
        (
            {"a": [{"label": "x", "score": 1, "segment": [2, 1]}]},
            r"\[0\]: segment: end_s 1 lies before start_s 2",
        ),
        ({"a": [{"label": 5, "score": 1, "segment": [1, 2]}]}, r"\[0\]: label: expected text"),
    ],
)
def test_activitynet_errors_name_the_place(results, message, tmp_path):
    path = tmp_path / "x.json"
    path.write_text(json.dumps({"results": results}))
    with pytest.raises(FormatError, match=message):
        FORMATS["activitynet"].read(path)


@pytest.mark.data
def test_the_official_sample_submission_is_read(data_root):
    path = data_root / "eval_samples/activitynet/sample_detection_prediction.json"
    videos = FORMATS["activitynet"].read(path)
    assert sum(map(len, videos.values())) == 7654
    assert videos["wONwHYy59Tc"].names == ("Blow-drying hair",)


# csv -----------------------------------------------------------------------------------------


def test_csv_is_in_order_of_time_under_its_heading(tmp_path):
    FORMATS["csv"].write(SAMPLE, tmp_path / "x.csv")
    with (tmp_path / "x.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [
            ["video", "start_s", "end_s", "query", "score", "answer"],
            ["day/match.mp4", "12.250", "15.000", "tennis serve", "0.8734", "found"],
            ["day/match.mp4", "3661.001", "3662.000", "handshake", "0.5000", "found"],
        ]


def test_csv_of_a_spreadsheet(tmp_path):
    """A byte order mark, columns in another order, one more, an empty line."""
    path = tmp_path / "mine.csv"
    path.write_text(
        "\ufeffquery,score,start_s,end_s,video,note\r\nwave,0.5,1,2.5,,hm\r\n\r\n", "utf-8"
    )
    assert list(FORMATS["csv"].read(path)) == ["mine"]
    assert table(FORMATS["csv"].read(path)["mine"], digits=3) == [(1, 2.5, "wave", 0.5)]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            "",
            "line 1: column 'video' is missing. "
            "Expected: video, start_s, end_s, query, score; found: none.",
        ),
        (
            "video,start_s,end_s,query\n",
            "line 1: column 'score' is missing. "
            "Expected: video, start_s, end_s, query, score; found: video, start_s, end_s, query.",
        ),
        ("HEAD\na,1,2,q,0.5\na,1,2\n", "line 3: query is missing"),
        ("HEAD\na,1,2,q,0.5\n\na,x,2,q,0.5\n", "line 4: start_s: expected a number, got 'x'"),
        ("HEAD\na,1,inf,q,0.5\n", "line 2: end_s: expected a number, got 'inf'"),
        ("HEAD\na,3,2,q,0.5\n", "line 2: end_s 2 lies before start_s 3"),
        ("HEAD\na,1,2,q,87\n", "line 2: score: expected a score from 0 to 1, got 87"),
        ("HEAD\na,1,2," + "q" * 200_000 + ",0.5\n", "line 1: is not CSV: field larger"),
    ],
)
def test_csv_errors_name_the_line(lines, message, tmp_path):
    path = tmp_path / "x.csv"
    path.write_text(lines.replace("HEAD", "video,start_s,end_s,query,score"))
    with pytest.raises(FormatError, match=re.escape(f"{path}, {message}")):
        FORMATS["csv"].read(path)


# webvtt and srt ------------------------------------------------------------------------------


@few
@given(arguments=any_arguments())
def test_webvtt_py_reads_the_same_cues(arguments, tmp_path):
    found = make_any(arguments)
    path = tmp_path / "x.vtt"
    FORMATS["webvtt"].write(found, path)
    cues = list(webvtt.read(path))
    assert len(cues) == len(found)
    spans_ms = [(to_ms(cue.start_time), to_ms(cue.end_time)) for cue in cues]
    assert spans_ms == sorted(spans_ms, key=lambda span: span[0])
    for cue, (start_ms, end_ms), detection in zip(cues, spans_ms, found.by_time(), strict=True):
        assert start_ms == pytest.approx(detection.start_s * 1000, abs=0.6)
        assert start_ms < end_ms
        assert end_ms == pytest.approx(detection.end_s * 1000, abs=1.6)
        assert html.unescape(cue.raw_text) == detection.name


def to_ms(timestamp) -> int:
    hours, minutes, seconds, ms = timestamp.to_tuple()
    return ((hours * 60 + minutes) * 60 + seconds) * 1000 + ms


def test_webvtt_keeps_what_json_keeps(tmp_path):
    back = round_trip("webvtt", SAMPLE, tmp_path / "x.vtt")
    assert list(back) == ["day/match.mp4"]
    assert back["day/match.mp4"].to_dict() == SAMPLE.to_dict()


def test_webvtt_as_text(tmp_path):
    FORMATS["webvtt"].write(make_detections([(59.9996, 60.2, "a --> b", 0.5)]), tmp_path / "x.vtt")
    blocks = (tmp_path / "x.vtt").read_text().split("\n\n")
    assert blocks[0] == "WEBVTT"
    assert blocks[1].startswith('NOTE openmoment {"')
    assert blocks[2:] == ["NOTE score 0.5000", "00:01:00.000 --> 00:01:00.200\na --&gt; b\n"]
    assert "-->" not in blocks[1]


@pytest.mark.parametrize(
    ("time_s", "text"),
    [
        (0.0, "00:00:00"),
        (0.0004, "00:00:00"),
        (3661.0006, "01:01:01"),
        (3599.9996, "01:00:00"),
        (360_000.5, "100:00:00"),
    ],
)
@pytest.mark.parametrize(("name", "point"), [("webvtt", "."), ("srt", ",")])
def test_times_of_cues(name, point, time_s, text, tmp_path):
    FORMATS[name].write(make_detections([(time_s, time_s, "a", 0.5)]), tmp_path / "x")
    start, end = re.findall(r"(\S+) --> (\S+)", (tmp_path / "x").read_text())[0]
    ms = round(time_s * 1000) % 1000
    assert (start, end) == (f"{text}{point}{ms:03}", f"{text}{point}{ms + 1:03}")


def test_a_time_before_zero_is_zero_in_cues(tmp_path):
    FORMATS["srt"].write(make_detections([(-0.5, 2.0, "a", 0.5)]), tmp_path / "x")
    assert "00:00:00,000 --> 00:00:02,000" in (tmp_path / "x").read_text()


def test_webvtt_of_another_tool(tmp_path):
    path = tmp_path / "theirs.vtt"
    path.write_bytes(
        b"\xef\xbb\xbfWEBVTT - chapters\r\nKind: chapters\r\n\r\nSTYLE\r\n::cue {}\r\n\r\n"
        b"NOTE\r\nby hand\r\n\r\nintro\r\n00:01.500 --> 00:02.500 align:start\r\n"
        b"<v Ann>one &amp; <i>two</i></v>\r\nthree\r\n"
    )
    found = FORMATS["webvtt"].read(path)
    assert table(found["theirs"], digits=3) == [(1.5, 2.5, "one & two\nthree", 1.0)]


def test_srt_as_text(tmp_path):
    found = make_detections([(1.0, 2.5, "a\n\n--> b", 0.876), (0.0, 0.5, "c", 1.0)])
    FORMATS["srt"].write(found, tmp_path / "x.srt")
    assert (tmp_path / "x.srt").read_text() == (
        "1\n00:00:00,000 --> 00:00:00,500\nc (1.00)\n\n"
        "2\n00:00:01,000 --> 00:00:02,500\na → b (0.88)\n"
    )


def test_srt_of_another_tool(tmp_path):
    path = tmp_path / "theirs.srt"
    path.write_text("1\n0:00:01,5 --> 00:00:02,500\nHello (2)\nyou\n\n\n\n00:03,0 --> 00:04,0\nX")
    assert table(FORMATS["srt"].read(path)["theirs"], digits=3) == [
        (1.5, 2.5, "Hello (2)\nyou", 1.0),
        (3.0, 4.0, "X", 1.0),
    ]


@few
@given(arguments=any_arguments())
def test_srt_is_never_broken_by_a_query(arguments, tmp_path):
    found = make_any(arguments)
    FORMATS["srt"].write(found, tmp_path / "x.srt")
    text = (tmp_path / "x.srt").read_text(encoding="utf-8")
    assert text.count("-->") == len(found)
    assert len([block for block in text.split("\n\n") if block]) == len(found)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("webvtt", "1\n00:00:01.000 --> 00:00:02.000\na", "line 1: expected WEBVTT"),
        ("webvtt", "WEBVTTX", "line 1: expected WEBVTT"),
        ("webvtt", "WEBVTT\n\n\nhello\nthere", "line 4: expected times"),
        ("webvtt", "WEBVTT\n\n00:02.000 --> 00:01.000\na", "line 3: end_s 1 lies before start_s 2"),
        ("webvtt", "WEBVTT\n\nNOTE score x", "line 3: score: expected a number, got 'x'"),
        ("webvtt", "WEBVTT\n\nNOTE score 5", "line 3: score: expected a score from 0 to 1"),
        ("webvtt", "WEBVTT\n\nNOTE openmoment {", "line 3: the comment is not JSON"),
        ("webvtt", "WEBVTT\n\nNOTE openmoment {}", "line 3: field 'queries' is missing"),
        ("srt", "1\n00:00:01 --> 00:00:02\na", "line 1: expected times"),
    ],
)
def test_cue_errors_name_the_line(name, text, message, tmp_path):
    path = tmp_path / "x"
    path.write_text(text)
    with pytest.raises(FormatError, match=re.escape(f"{path}, {message}")) as caught:
        FORMATS[name].read(path)
    assert "\n" not in str(caught.value)
