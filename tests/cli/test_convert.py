"""openmoment convert: from any format to any other, with one line for what cannot be."""

import json
import re
from pathlib import Path

import pytest
from commands import refusal, run
from detections import make_detections, make_origin
from videos import make_video

from openmoment.cli import convert, find
from openmoment.export import FORMATS, describe_formats, format_of
from openmoment.reviews import MadeBy, Review, add_predictions, write_review

WHEN = "2026-11-21T20:00:00Z"
MOMENTS = [(1.0, 2.0, "serve", 0.9), (1.52, 3.0, "serve", 0.6), (2.0, 2.52, "wave", 0.7)]
DOCS = Path(__file__).parents[2] / "docs"


def sample(video: str = "match.mp4"):
    return make_detections(MOMENTS, ("serve", "wave", "vault"), origin=make_origin(video))


def write(path: Path, *videos: str) -> Path:
    found = {video: sample(video) for video in videos}
    FORMATS["json"].write(found if len(found) > 1 else sample(*videos), path)
    return path


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "frames"])
def test_there_and_back_in_every_format(name, tmp_path):
    source = write(tmp_path / "a.json", "match.mp4")
    out = tmp_path / f"b{FORMATS[name].extension}"
    done = run("convert", source, out, "--to", name, "--fps", "25")
    assert done.exit_code == 0, done.output
    assert done.stdout == ""
    first, *rest = done.stderr.splitlines()
    assert first == f"Wrote {out}: 3 moments of 1 video."
    assert rest == ([f"{name} does not keep {FORMATS[name].loses}."] if FORMATS[name].loses else [])
    back = tmp_path / "c.json"
    done = run("convert", out, back)
    assert done.exit_code == 0, done.output
    moments = json.loads(back.read_text())
    moments = moments.get("videos", [moments])[0]["moments"]
    assert [(m["start_s"], m["end_s"], m["query"], m["score"]) for m in moments] == MOMENTS


def test_one_video_that_names_itself_stays_a_single_answer(tmp_path):
    source = write(tmp_path / "a.json", "match.mp4")
    run("convert", source, tmp_path / "b.eaf")
    run("convert", tmp_path / "b.eaf", tmp_path / "c.json")
    assert json.loads((tmp_path / "c.json").read_text()) == json.loads(source.read_text())


def test_several_videos_become_a_file_each_in_a_folder(tmp_path):
    source = write(tmp_path / "a.json", "day/one.mp4", "day/two.mp4")
    message = refusal("convert", source, tmp_path / "x.eaf")
    assert re.search(
        r"elan holds one video, and \S+a.json has 2\. Give a folder .*--to elan", message
    )
    assert not (tmp_path / "x.eaf").exists()
    for folder in (tmp_path / "new", tmp_path / "new"):  # new, and then there
        done = run("convert", source, folder, "--to", "elan")
        assert done.exit_code == 0, done.output
        assert sorted(path.name for path in folder.iterdir()) == ["one.eaf", "two.eaf"]
    assert list(FORMATS["elan"].read(folder / "two.eaf")) == ["day/two.mp4"]
    assert "is a folder. Say what to write into it: --to json|" in refusal(
        "convert", source, folder
    )


def test_two_videos_of_one_name_are_refused_before_anything_is_written(tmp_path):
    source = write(tmp_path / "a.json", "mon/x.mp4", "tue/x.mp4")
    message = refusal("convert", source, tmp_path / "new", "--to", "srt")
    assert "x.srt: both mon/x.mp4 and tue/x.mp4 would be written there" in message
    assert not (tmp_path / "new").exists()


def test_moments_become_clips(tmp_path):
    video = make_video(tmp_path / "v.mp4", seconds=4.0)
    source = write(tmp_path / "a.json", str(video))
    done = run("convert", source, tmp_path / "clips", "--to", "clips", "--exact")
    assert done.exit_code == 0, done.output
    assert f"3 clips of v.mp4 are in {tmp_path / 'clips'}." in done.stderr
    assert len(list((tmp_path / "clips").glob("v-*serve.mp4"))) == 2
    beside = write(tmp_path / "c.json", "v.mp4")
    assert run("convert", beside, tmp_path / "more", "--to", "clips").exit_code == 0
    assert len(list((tmp_path / "more").iterdir())) == 3
    gone = write(tmp_path / "b.json", str(tmp_path / "gone.mp4"))
    message = refusal("convert", gone, tmp_path / "other", "--to", "clips")
    assert "gone.mp4: is not there to cut clips from." in message
    assert not (tmp_path / "other").exists()


def test_a_review_is_read_as_what_it_shows(tmp_path):
    empty = Review(video="match.mp4", duration_s=60.0)
    made_by = MadeBy("embedded", "embedded-1", "similarity", {})
    review = add_predictions(empty, sample(), threshold=0.65, made_by=made_by, when=WHEN)
    write_review(review, tmp_path / "a.json")
    done = run("convert", tmp_path / "a.json", tmp_path / "b.eaf")
    assert done.exit_code == 0, done.output
    ((video, found),) = FORMATS["elan"].read(tmp_path / "b.eaf").items()
    assert video == "match.mp4"
    assert [d.name for d in found.by_time()] == ["serve", "wave"]
    assert found.not_found == ("vault",)


def test_mistakes_earn_one_line(tmp_path):
    source = write(tmp_path / "a.json", "match.mp4")
    assert "x.xml: .xml does not tell the format" in refusal("convert", source, tmp_path / "x.xml")
    assert "Did you mean 'elan'" in refusal("convert", source, tmp_path / "x.eaf", "--to", "elann")
    assert "gone.eaf: cannot be read" in refusal(
        "convert", tmp_path / "gone.eaf", tmp_path / "x.csv"
    )
    assert "--exact is how clips" in refusal("convert", source, tmp_path / "x.csv", "--exact")
    message = refusal("convert", source, tmp_path / "x.edl")
    assert "x.edl: this format counts frames, and match.mp4 is not there" in message
    message = refusal("convert", source, tmp_path / "x.edl", "--fps", "0")
    assert "expected a positive number of frames a second, got 0" in message
    message = refusal("convert", source, tmp_path / "x.csv", "--from", "via")
    assert "a.json: field 'view' is missing." in message
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("module", [convert, find])
def test_the_help_names_every_format_that_no_ending_tells(module):
    """And `find` every ending."""
    text = " ".join(Path(module.__file__).read_text().split())
    told = {name for name in FORMATS if format_of(Path(f"x{FORMATS[name].extension}")) == name}
    assert ", ".join(name for name in FORMATS if name not in told) in text
    if module is find:
        assert " ".join(FORMATS[name].extension for name in FORMATS if name in told) in text


def test_the_documented_table_is_what_the_formats_say_of_themselves():
    page = (DOCS / "formats.md").read_text(encoding="utf-8")
    rows = [
        f"| [`{entry['name']}`](#{entry['name']}) | `{entry['extension']}` "
        f"| {'several' if entry['several'] else 'one'} | {entry['about']} | {entry['loses']} |"
        for entry in describe_formats()
    ]
    assert [line for line in page.splitlines() if line.startswith("| [")] == rows
    for entry in describe_formats():
        assert f"\n## {entry['name']}\n" in page
