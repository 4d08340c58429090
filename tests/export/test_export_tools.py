"""The files of annotation and editing tools: as those tools read ours, and as theirs are read."""

import csv
import json
import re
from pathlib import Path

import pytest
from detections import any_arguments, make_any, make_detections, make_origin
from hypothesis import HealthCheck, given, settings
from pympi import Eaf
from videos import make_video

from openmoment.errors import FormatError
from openmoment.evaluation.retrieval_files import read_predictions
from openmoment.export import FORMATS
from openmoment.export.boris import COLUMNS
from openmoment.export.elan import to_tiers
from openmoment.export.fiftyone import to_fiftyone
from openmoment.types import Detections

MOMENTS = [(1.0, 2.0, "serve", 0.9), (1.5, 3.0, "serve", 0.6), (2.0, 2.5, "wave", 0.7)]
SAMPLE = make_detections(MOMENTS, ("serve", "wave", "vault"), origin=make_origin("a/match.mp4"))

few = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def rows(found: Detections) -> list[tuple]:
    return [
        (round(d.start_s, 3), round(d.end_s, 3), d.name, round(d.score, 4)) for d in found.by_time()
    ]


def read(name: str, path: Path, content: object, **options) -> dict[str, list[tuple]]:
    """What a format makes of a text, or of a value as JSON."""
    path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    return {video: rows(found) for video, found in FORMATS[name].read(path, **options).items()}


def refusal(name: str, path: Path, content: object, **options) -> str:
    """The one line that a faulty file earns, without the file's name."""
    with pytest.raises(FormatError) as caught:
        read(name, path, content, **options)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message.removeprefix(str(path))


# elan ----------------------------------------------------------------------------------------


@few
@given(arguments=any_arguments())
def test_pympi_reads_our_tiers(arguments, tmp_path):
    found = make_any(arguments)
    path = tmp_path / "x.eaf"
    FORMATS["elan"].write({"v.mp4": found}, path)
    document = Eaf(str(path))
    tiers = to_tiers(found)
    assert set(document.get_tier_names()) == {tier.name for tier in tiers}
    for tier in tiers:
        theirs = sorted(document.get_annotation_data_for_tier(tier.name))
        assert theirs == [(start, end, f"{score:.4f}") for start, end, score in tier.moments]
        assert all(start < end for start, end, _ in theirs)
        assert all(a[1] <= b[0] for a, b in zip(theirs, theirs[1:], strict=False))
    slots = list(document.timeslots.values())
    assert slots == sorted(slots)
    assert len(slots) == 2 * len(found)


def test_overlapping_moments_go_to_a_second_tier_and_come_back_as_one_query(tmp_path):
    path = tmp_path / "x.eaf"
    FORMATS["elan"].write(SAMPLE, path)
    assert Eaf(str(path)).get_tier_names() == {"serve", "serve (2)", "wave", "vault"}
    assert rows(FORMATS["elan"].read(path)["a/match.mp4"]) == MOMENTS


def test_what_a_person_changes_in_elan_is_read(tmp_path):
    path = tmp_path / "x.eaf"
    FORMATS["elan"].write(SAMPLE, path)
    text = path.read_text()
    for old, new in (
        (">0.9000<", ">0,5<"),
        (">0.6000<", ">a good one<"),
        ('TIER_ID="wave"', 'TIER_ID="a man waves"'),
        ('TIME_VALUE="3000"', 'TIME_VALUE="3500"'),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    path.write_text(text)
    found = FORMATS["elan"].read(path)["a/match.mp4"]
    assert rows(found) == [
        (1.0, 2.0, "serve", 0.5),
        (1.5, 3.5, "serve", 1.0),
        (2.0, 2.5, "a man waves", 0.7),
    ]
    assert found.not_found == ("wave", "vault")


THEIRS = """<?xml version="1.0" encoding="UTF-8"?>
<ANNOTATION_DOCUMENT AUTHOR="x" DATE="2024-01-01T00:00:00+00:00" FORMAT="2.8" VERSION="2.8">
<HEADER MEDIA_FILE="" TIME_UNITS="milliseconds">
<MEDIA_DESCRIPTOR MEDIA_URL="file:///C:/my%20videos/talk.mp4" MIME_TYPE="video/mp4"/></HEADER>
<TIME_ORDER><TIME_SLOT TIME_SLOT_ID="ts1" TIME_VALUE="1000"/><TIME_SLOT TIME_SLOT_ID="ts2"/>
<TIME_SLOT TIME_SLOT_ID="ts3" TIME_VALUE="4000"/></TIME_ORDER>
<TIER LINGUISTIC_TYPE_REF="t" TIER_ID="words">
<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a1" TIME_SLOT_REF1="ts1" TIME_SLOT_REF2="ts3">
<ANNOTATION_VALUE>hello you</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION></TIER>
<TIER LINGUISTIC_TYPE_REF="t" TIER_ID="gaze">
<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a2" TIME_SLOT_REF1="ts1" TIME_SLOT_REF2="ts2">
<ANNOTATION_VALUE></ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION></TIER>
<TIER LINGUISTIC_TYPE_REF="s" TIER_ID="parts" PARENT_REF="words">
<ANNOTATION><REF_ANNOTATION ANNOTATION_ID="a3" ANNOTATION_REF="a1">
<ANNOTATION_VALUE>hello</ANNOTATION_VALUE></REF_ANNOTATION></ANNOTATION>
<ANNOTATION><REF_ANNOTATION ANNOTATION_ID="a4" ANNOTATION_REF="a1" PREVIOUS_ANNOTATION="a3">
<ANNOTATION_VALUE>you</ANNOTATION_VALUE></REF_ANNOTATION></ANNOTATION></TIER>
<TIER LINGUISTIC_TYPE_REF="s" TIER_ID="German" PARENT_REF="parts">
<ANNOTATION><REF_ANNOTATION ANNOTATION_ID="a5" ANNOTATION_REF="a4">
<ANNOTATION_VALUE>du</ANNOTATION_VALUE></REF_ANNOTATION></ANNOTATION></TIER>
</ANNOTATION_DOCUMENT>"""


def test_elan_files_of_others(tmp_path):
    """Words by their value, tiers where there is none; symbolic tiers share their parent's time."""
    ((video, found),) = read("elan", tmp_path / "x.eaf", THEIRS).items()
    assert video == "C:/my videos/talk.mp4"
    assert sorted(found) == [
        (1.0, 2.5, "gaze", 1.0),
        (1.0, 2.5, "hello", 1.0),
        (1.0, 4.0, "hello you", 1.0),
        (2.5, 4.0, "du", 1.0),
        (2.5, 4.0, "you", 1.0),
    ]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "<ANNOTATION_DOCUMENT",
            '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><ANNOTATION_DOCUMENT',
            ": declares a document type (DOCTYPE), which is not read.",
        ),
        ("<HEADER", "<a>" * 60 + "<HEADER", ": elements lie more than 50 deep."),
        ("</HEADER>", "", ", line 21: is not XML: mismatched tag."),
        ('"ts3">', '"ts9">', ": tier 'words', annotation 1: TIME_SLOT_REF2: there is no time slot"),
        ('TIME_SLOT_REF1="ts1"', "", ": tier 'words', annotation 1: TIME_SLOT_REF1 is missing"),
        ('TIME_VALUE="4000"', 'TIME_VALUE="x"', ": TIME_SLOT ts3: TIME_VALUE: expected a number"),
        ('TIME_VALUE="4000"', 'TIME_VALUE="0"', ": tier 'words', annotation 1: end_s 0 lies befor"),
        ('"a5" ANNOTATION_REF="a4"', '"a5" ANNOTATION_REF="a5"', "there is no annotation 'a5'"),
        ('"a5" ANNOTATION_REF', '"a1" ANNOTATION_REF', "ANNOTATION_ID 'a1' is there twice"),
        ("ANNOTATION_DOCUMENT", "html", ": expected an ANNOTATION_DOCUMENT, got 'html'."),
        (
            "</HEADER>",
            '<PROPERTY NAME="openmoment">{</PROPERTY></HEADER>',
            ": PROPERTY openmoment: is not JSON",
        ),
    ],
)
def test_elan_errors_name_the_place(old, new, message, tmp_path):
    assert message in refusal("elan", tmp_path / "x.eaf", THEIRS.replace(old, new))


def test_elan_is_told_where_the_video_is(tmp_path):
    video = make_video(tmp_path / "my video.mp4", seconds=0.5)
    (tmp_path / "notes").mkdir()
    path = tmp_path / "notes/x.eaf"
    FORMATS["elan"].write({str(video): SAMPLE}, path)
    (media,) = Eaf(str(path)).media_descriptors
    assert media["MEDIA_URL"] == f"file://{video}"
    assert media["RELATIVE_MEDIA_URL"] == "./../my video.mp4"
    assert media["MIME_TYPE"] == "video/mp4"


# boris ---------------------------------------------------------------------------------------


def test_boris_as_a_table(tmp_path):
    found = make_detections([(1.0, 2.5, "serve", 0.9), (4.0, 4.0, "wave", 0.5)])
    FORMATS["boris"].write({"a/match.mp4": found}, tmp_path / "x.csv")
    with (tmp_path / "x.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert tuple(table[0]) == COLUMNS
    shown = ("Behavior", "Behavior type", "Start (s)", "Stop (s)", "Duration (s)", "Comment start")
    assert [tuple(event[column] for column in shown) for event in table] == [
        ("serve", "STATE", "1.000", "2.500", "1.500", "score 0.9000"),
        ("wave", "POINT", "4.000", "4.000", "0.000", "score 0.5000"),
    ]
    FORMATS["boris"].write(SAMPLE, tmp_path / "x.csv")
    assert "method similarity; video's sha256 0000" in (tmp_path / "x.csv").read_text()


BORIS_7 = """Observation id,Observation date,Description,Media file,Total length,FPS,Subject,\
Behavior,Behavioral category,Modifiers,Behavior type,Start (s),Stop (s),Duration (s),\
Comment start,Comment stop
cage 3,2021-12-06 13:26:24,,T:/cage3.mp4,1381.010,29.97,A,grooming,,,STATE,6.5,9.25,2.75,,
cage 3,2021-12-06 13:26:24,,T:/cage3.mp4,1381.010,29.97,B,rearing,,,POINT,7.000,NA,NA,,
cage 4,2021-12-06 13:26:24,,,NA,NA,B,rearing,,,point,1.0,,,score 0.25,
"""


@pytest.mark.parametrize("between", [",", "\t"])
def test_boris_of_version_7(between, tmp_path):
    assert read("boris", tmp_path / "x.tsv", BORIS_7.replace(",", between)) == {
        "T:/cage3.mp4": [(6.5, 9.25, "grooming", 1.0), (7.0, 7.0, "rearing", 1.0)],
        "cage 4": [(1.0, 1.0, "rearing", 0.25)],
    }


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("STATE", "LONG", ", line 2: Behavior type: expected STATE or POINT, got 'LONG'."),
        ("6.5", "x", ", line 2: Start (s): expected a number, got 'x'."),
        ("9.25", "NA", ", line 2: Stop (s): expected a number, got 'NA'."),
        ("9.25", "1", ", line 2: end_s 1 lies before start_s 6.5."),
        ("score 0.25", "score 7", ", line 4: Comment start: expected a score from 0 to 1, got 7."),
    ],
)
def test_boris_errors_name_line_and_column(old, new, message, tmp_path):
    assert refusal("boris", tmp_path / "x", BORIS_7.replace(old, new)) == message


def test_boris_without_a_column_says_which_are_expected_and_found(tmp_path):
    assert refusal("boris", tmp_path / "x", "Behavior\tKind\n") == (
        ", line 1: column 'Behavior type' is missing. "
        "Expected: Behavior, Behavior type, Start (s), Stop (s); found: Behavior, Kind."
    )


# label studio --------------------------------------------------------------------------------


def test_label_studio_counts_frames_from_one(tmp_path):
    path = tmp_path / "x.json"
    FORMATS["label_studio"].write(SAMPLE, path, fps=10.0)
    (task,) = json.loads(path.read_text())
    assert task["data"] == {"video": "a/match.mp4"}
    (prediction,) = task["predictions"]
    assert prediction["score"] == 0.9
    assert prediction["model_version"] == "similarity embedded-1"
    assert prediction["result"][0] == {
        "id": "m1",
        "from_name": "timelineLabels",
        "to_name": "video",
        "type": "timelinelabels",
        "value": {"ranges": [{"start": 11, "end": 20}], "timelinelabels": ["serve"]},
        "score": 0.9,
    }
    assert rows(FORMATS["label_studio"].read(path)["a/match.mp4"]) == MOMENTS
    (twice,) = FORMATS["label_studio"].read(path, fps=20.0).values()
    assert twice.segments.max() == 1.5


def region(first: int, last: int, *labels: str, **more: object) -> dict[str, object]:
    value = {"ranges": [{"start": first, "end": last}], "timelinelabels": list(labels)}
    return {"id": "r", "type": "timelinelabels", "value": value, **more}


def task(*answers: list, **more: object) -> dict[str, object]:
    done = [{"result": result} for result in answers]
    return {"id": 3, "data": {"video_url": "/data/u/match.mp4"}, "annotations": done, **more}


def test_label_studio_exports(tmp_path):
    """The last annotation counts, before any prediction; labels of one region are moments each."""
    other = {"id": "c", "type": "choices", "value": {"choices": ["good"]}}
    exported = [
        task([region(1, 2, "old")], [region(1, 25, "serve", "ace"), other]),
        task(data={"video": "b"}, predictions=[{"result": [region(26, 26, "wave", score=0.5)]}]),
        task(data={"video": "c"}, meta={"note": 1}),
    ]
    exported[0]["annotations"].append({"result": [region(1, 9, "no")], "was_cancelled": True})
    assert read("label_studio", tmp_path / "x.json", exported, fps=25.0) == {
        "/data/u/match.mp4": [(0.0, 1.0, "serve", 1.0), (0.0, 1.0, "ace", 1.0)],
        "b": [(1.0, 1.04, "wave", 0.5)],
        "c": [],
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([{"video": "x"}], ": [0]: field 'data' is missing."),
        (task([{"value": {}}]), ": [0]: annotations[0]: result[0]: field 'type' is missing."),
        (task([7]), ": [0]: annotations[0]: result[0]: expected an object, got 7."),
        (task(annotations=[3]), ": [0]: annotations[0]: expected an object, got 3."),
        (task([region(9, 2, "a")]), "value: ranges[0]: end_s 2 lies before start_s 9."),
        (task([region(1, 2, "a", score=3)]), "result[0]: score: expected a score from 0 to 1"),
        (task([region(1, 2, 5)]), "value: timelinelabels: expected texts, got 5."),
        ([task(), task()], ": [1]: the video '/data/u/match.mp4' is there twice."),
        (task(meta={"openmoment": {}}), ": [0]: meta: openmoment: field 'queries' is missing."),
    ],
)
def test_label_studio_errors_name_the_place(content, message, tmp_path):
    assert message in refusal("label_studio", tmp_path / "x.json", content, fps=25.0)


# frames a second -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["label_studio", "edl"])
def test_the_rate_is_given_or_the_videos_or_asked_for(name, tmp_path):
    path = tmp_path / "x"
    with pytest.raises(FormatError, match=r"x: this format counts frames, and a/match.mp4 .*--fps"):
        FORMATS[name].write(SAMPLE, path)
    with pytest.raises(FormatError, match="expected a positive number of frames a second, got -1"):
        FORMATS[name].write(SAMPLE, path, fps=-1.0)
    video = make_video(tmp_path / "v.mp4", seconds=0.5, fps=20)
    FORMATS[name].write({str(video): SAMPLE}, path)
    assert '"fps": 20.0' in path.read_text()
    assert rows(FORMATS[name].read(path)[str(video)]) == MOMENTS


def test_a_file_of_others_without_a_rate_is_refused_in_one_line(tmp_path):
    assert "--fps" in refusal("label_studio", tmp_path / "x.json", task([region(1, 2, "a")]))
    assert "--fps" in refusal("edl", tmp_path / "x.edl", EDL)
    frames = {"labels": {"v": [{"label": "a", "support": [1, 2]}]}}
    assert "--fps" in refusal("fiftyone", tmp_path / "x.json", frames)
    assert "--fps" in refusal("frames", tmp_path / "x.txt", "stir\n")


def test_labels_of_frames_with_a_rate_need_no_video(tmp_path):
    path = tmp_path / "x.txt"
    FORMATS["frames"].write(SAMPLE, path, fps=2.0)
    lines = path.read_text().splitlines()
    assert len(lines) == 120
    assert lines[:8] == ["background"] * 2 + ["serve"] * 2 + ["wave", "serve"] + ["background"] * 2
    assert rows(FORMATS["frames"].read(path, fps=2.0)["x"])[0] == (1.0, 2.0, "serve", 1.0)


# via -----------------------------------------------------------------------------------------


def via(*segments: dict, **more: object) -> dict[str, object]:
    """A project with attributes of text, of a choice, of several choices, and of regions."""
    table = [("speaker", 1, {}), ("act", 4, {"0": "nod", "1": "wave"}), ("signs", 2, {"a": "x"})]
    return {
        "project": {"pname": "p"},
        "attribute": {
            str(i): {"aname": name, "anchor_id": "FILE1_Z2_XY0", "type": kind, "options": options}
            for i, (name, kind, options) in enumerate(table)
        },
        "file": {"1": {"fid": 1, "fname": "talk.mp4", "type": 4, "loc": 1, "src": ""}},
        "view": {"1": {"fid_list": [1]}},
        "metadata": {f"1_{i}": {"vid": "1", "xy": []} | s for i, s in enumerate(segments)},
    } | more


def test_via_projects_of_others(tmp_path):
    project = via(
        {"z": [0, 5.5], "av": {"0": "Ann"}},
        {"z": [6, 7], "av": {"0": "", "1": "1"}},
        {"z": [8, 9], "av": {"2": "a,b"}},
        {"z": [10, 11], "av": {}},
        {"z": [3.2], "xy": [2, 1, 1, 5, 5], "av": {"0": "a box"}},
    )
    assert read("via", tmp_path / "x.json", project) == {
        "talk.mp4": [
            (0.0, 5.5, "Ann", 1.0),
            (6.0, 7.0, "wave", 1.0),
            (8.0, 9.0, "x", 1.0),
            (8.0, 9.0, "b", 1.0),
            (10.0, 11.0, "unlabelled", 1.0),
        ]
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, ": field 'view' is missing."),
        (via({"z": [0, 1]}), ": metadata['1_0']: field 'av' is missing."),
        (via({"z": [1, 0], "av": {}}), ": metadata['1_0']: end_s 0 lies before start_s 1."),
        (via({"z": ["x", 0], "av": {}}), ": metadata['1_0']: z: expected a number, got 'x'."),
        (via({"z": [0, 1], "vid": "9"}), ": metadata['1_0']: vid: there is no view '9'."),
        (via(view={"1": {"fid_list": []}}), ": view['1']: fid_list: expected a file, got none."),
        (via(view={"1": {"fid_list": [4]}}), ": file: field '4' is missing."),
        (via(attribute={"1": 3}), ": attribute: 1: expected an object, got 3."),
        (via(project={"openmoment": []}), ": project: openmoment: expected an object, got []."),
        (
            via(view={"1": {"fid_list": [1]}, "2": {"fid_list": [1]}}),
            ": view['2']: the video 'talk.mp4' is there twice.",
        ),
    ],
)
def test_via_errors_name_the_place(content, message, tmp_path):
    assert refusal("via", tmp_path / "x.json", content) == message


# edl -----------------------------------------------------------------------------------------

EDL = """TITLE: my film
FCM: NON-DROP FRAME

001  AX       V     C        00:00:01:00 00:00:02:12 01:00:00:00 01:00:01:12
* FROM CLIP NAME: one.mp4
* COMMENT: first kiss
002  BL       V     C        00:00:00:00 00:00:01:00 01:00:01:12 01:00:02:12
003  AX       AA    C        00:00:00:00 00:00:01:00 01:00:02:12 01:00:03:12
004  AX       B     C        00:00:05:00 00:00:05:00 01:00:03:12 01:00:03:12
004  REEL2    B     D    024 01:00:00:00 01:00:02:00 01:00:03:12 01:00:05:12
* FROM CLIP NAME: one.mp4
* TO CLIP NAME: two.mp4
M2   REEL2    025.0          01:00:00:00
"""


def test_edl_as_text(tmp_path):
    FORMATS["edl"].write({"a/match.mp4": SAMPLE}, tmp_path / "x.edl", fps=25.0)
    text = (tmp_path / "x.edl").read_bytes().decode()
    lines = [line for line in text.split("\r\n") if "OPENMOMENT" not in line]
    assert lines[:10] == [
        "TITLE: match",
        "FCM: NON-DROP FRAME",
        "",
        "001  AX       V     C        00:00:01:00 00:00:02:00 01:00:00:00 01:00:01:00",
        "* FROM CLIP NAME: match.mp4",
        "* COMMENT: serve (0.90)",
        "",
        "002  AX       V     C        00:00:01:13 00:00:03:00 01:00:01:00 01:00:02:12",
        "* FROM CLIP NAME: match.mp4",
        "* COMMENT: serve (0.60)",
    ]


def test_edl_of_others(tmp_path):
    assert read("edl", tmp_path / "x.edl", EDL, fps=25.0) == {
        "one.mp4": [(1.0, 2.48, "first kiss", 1.0)],
        "two.mp4": [(3600.0, 3602.0, "two.mp4", 1.0)],
    }


def test_timecode_of_29_97_counts_to_30(tmp_path):
    fps, path = 30000 / 1001, tmp_path / "x.edl"
    found = make_detections([(100.1, 200.2, "a", 0.5)])
    FORMATS["edl"].write({"v": found}, path, fps=fps)
    assert "00:01:40:00 00:03:20:00 01:00:00:00 01:01:40:00" in path.read_text()
    assert FORMATS["edl"].read(path)["v"].segments[0] == pytest.approx([100.1, 200.2])
    path.write_text(re.sub(r".*OPENMOMENT.*\n", "", path.read_text()))
    assert read("edl", path, path.read_text(), fps=fps) == {"v": [(100.1, 200.2, "a", 0.5)]}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("NON-DROP", "DROP", ", line 2: drop-frame timecode is not read. Export the list as non-"),
        ("02:12 01:00:00:00", "02;12 01:00:00:00", ", line 4: drop-frame timecode is not read."),
        ("02:12 01:00:00:00", "", ", line 4: expected a cut with four timecodes, got '001  AX"),
        ("00:00:02:12", "00:00:02:25", ", line 4: frame 25 of a second, but 25 frames a second."),
        ("00:00:02:12", "00:00:00:12", ", line 4: end_s 0.48 lies before start_s 1."),
        ("TITLE: my film", "Dear all", ", line 1: expected TITLE:, got 'Dear all"),
        ("* COMMENT: first kiss", "* OPENMOMENT: {", ", line 6: the comment is not JSON"),
        ("* COMMENT: first kiss", "* OPENMOMENT: {}", ", line 6: field 'query' is missing."),
    ],
)
def test_edl_errors_name_the_line(old, new, message, tmp_path):
    assert message in refusal("edl", tmp_path / "x", EDL.replace(old, new), fps=25.0)


def test_edl_refuses_what_a_list_cannot_hold(tmp_path):
    many = make_detections([(0.0, 1.0, "a", 0.5)] * 1000)
    with pytest.raises(FormatError, match="x: a CMX 3600 list holds 999 cuts, got 1000 moments"):
        FORMATS["edl"].write({"v": many}, tmp_path / "x", fps=25.0)
    late = make_detections([(86_399.0, 86_401.0, "a", 0.5)])
    with pytest.raises(FormatError, match="x: timecode ends at 24 hours"):
        FORMATS["edl"].write({"v": late}, tmp_path / "x", fps=25.0)


# fiftyone ------------------------------------------------------------------------------------


def test_plain_values_for_fiftyone():
    assert to_fiftyone(SAMPLE, fps=10.0) == {
        "a/match.mp4": [
            {"label": "serve", "support": [11, 20], "confidence": 0.9},
            {"label": "serve", "support": [16, 30], "confidence": 0.6},
            {"label": "wave", "support": [21, 25], "confidence": 0.7},
        ]
    }
    with pytest.raises(FormatError, match="--fps, or fps= in Python"):
        to_fiftyone(SAMPLE)


def test_data_sets_that_fiftyone_exported(tmp_path):
    labels = {
        "a": [{"label": 1, "support": [1, 25], "confidence": 0.5, "attributes": {}}],
        "b": [{"label": 0, "timestamps": [1.0, 2.0], "confidence": None}],
        "c": None,
    }
    content = {"classes": ["jump", "run"], "labels": labels}
    assert read("fiftyone", tmp_path / "x.json", content, fps=25.0) == {
        "a": [(0.0, 1.0, "run", 0.5)],
        "b": [(1.0, 2.0, "jump", 1.0)],
        "c": [],
    }


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (3, "expected an object, got 3."),
        ({}, "field 'label' is missing."),
        ({"label": 4}, "label: expected a text or the number of a class."),
        ({"label": "a"}, "field 'support' is missing."),
        ({"label": "a", "timestamps": [1]}, "timestamps: expected two numbers, got 1."),
        ({"label": "a", "timestamps": [2, 1]}, "timestamps: end_s 1 lies before start_s 2."),
        ({"label": "a", "confidence": 2}, "confidence: expected a score from 0 to 1, got 2."),
    ],
)
def test_fiftyone_errors_name_the_place(entry, message, tmp_path):
    content = {"classes": ["jump"], "labels": {"v": [entry]}}
    assert refusal("fiftyone", tmp_path / "x", content) == f": labels['v'][0]: {message}"


def test_fiftyone_refuses_videos_that_differ_by_ending_alone(tmp_path):
    with pytest.raises(FormatError, match="two videos have the name 'v'; the second is v.mkv"):
        FORMATS["fiftyone"].write({"v.mp4": SAMPLE, "v.mkv": SAMPLE}, tmp_path / "x")


# qvhighlights --------------------------------------------------------------------------------


def test_evaluators_read_our_predictions_and_queries_that_were_not_found(tmp_path):
    path = tmp_path / "x.jsonl"
    FORMATS["qvhighlights"].write({"one": SAMPLE, "two": SAMPLE}, path)
    found = read_predictions(path)
    assert list(found) == ["0", "1", "2", "3", "4", "5"]
    assert found["0"].segments.tolist() == [[1.0, 2.0], [1.5, 3.0]]
    assert found["0"].scores.tolist() == [0.9, 0.6]
    assert len(found["2"].scores) == 0
    assert FORMATS["qvhighlights"].read(path)["two"].not_found == ("vault",)


def test_qvhighlights_errors_name_the_line(tmp_path):
    path, line = tmp_path / "x.jsonl", {"qid": 1, "query": "a", "vid": "v"}
    expected = ", line 1: expected pred_relevant_windows or relevant_windows."
    assert refusal("qvhighlights", path, line) == expected
    message = refusal("qvhighlights", path, line | {"relevant_windows": [[1]]})
    assert message == ", line 1: relevant_windows[0]: expected a list of 2 numbers, got [1]."
    del line["vid"]
    assert refusal("qvhighlights", path, line) == ", line 1: field 'vid' is missing."


@pytest.mark.data
def test_the_official_files_of_qvhighlights_are_read(data_root):
    truth = FORMATS["qvhighlights"].read(
        data_root / "annotations/qvhighlights/highlight_val_release.jsonl"
    )
    assert sum(len(found.names) for found in truth.values()) == 1550
    predicted = FORMATS["qvhighlights"].read(
        data_root / "eval_samples/qvhighlights/sample_val_preds.jsonl"
    )
    assert set(predicted) == set(truth)
    assert rows(truth["NUsG9BgSes0_210.0_360.0"])[0][:2] == (82.0, 150.0)
