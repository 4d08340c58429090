"""Labels of frames as text: one a line, at the times of the container's own frames."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from detections import make_detections, make_origin
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from videos import make_video

from openmoment.errors import FormatError, VideoError
from openmoment.export import FORMATS, format_of
from openmoment.export.frames import read_frames, write_frames
from openmoment.types import Detections
from openmoment.video import frame_times
from openmoment.video import read_frames as pictures

FPS = 5.0
STEPS = [(0.4, 1.0, "crack an egg", 0.5), (1.0, 2.2, "stir", 0.9), (2.0, 3.0, "crack an egg", 0.6)]
LINES = [*["background"] * 2, *["crack_an_egg"] * 3, *["stir"] * 6, *["crack_an_egg"] * 4]


def found_in(video: Path) -> Detections:
    return make_detections(STEPS, origin=make_origin(str(video), duration_s=4.0))


def test_every_frame_of_the_video_has_a_line(tmp_path: Path) -> None:
    video = make_video(tmp_path / "x.mp4", seconds=4.0, fps=5)
    FORMATS["frames"].write(found_in(video), tmp_path / "x.txt")
    assert (tmp_path / "x.txt").read_text() == "\n".join([*LINES, *["background"] * 5]) + "\n"
    assert format_of(tmp_path / "x.txt") == "frames"


@pytest.mark.parametrize("kind", ["mp4", "mkv", "avi"])
def test_times_are_those_of_the_frames_that_are_shown(kind: str, tmp_path: Path) -> None:
    video = make_video(tmp_path / f"x.{kind}", seconds=2.0)
    times_s = frame_times(video)
    shown = [frame.start_s for frame in pictures(video, fps=0.0)]
    np.testing.assert_allclose(times_s, shown)
    assert (np.diff(times_s) > 0).all()


def test_a_late_first_frame_is_no_frame_of_label_zero(tmp_path: Path) -> None:
    """Sound that starts before the pictures: frames are counted where they are shown."""
    video = make_video(tmp_path / "x.mkv", seconds=3.0, fps=5, start_s=1.0, audio=(0.0, 4.0))
    assert frame_times(video)[0] == pytest.approx(1.0, abs=0.05)
    FORMATS["frames"].write(found_in(video), tmp_path / "x.txt")
    lines = (tmp_path / "x.txt").read_text().splitlines()
    assert len(lines) == len(frame_times(video))
    assert lines[0] == "stir"


def test_without_the_video_there_are_no_times(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"gone.mp4 is not there.*\.csv or \.json"):
        FORMATS["frames"].write(found_in(tmp_path / "gone.mp4"), tmp_path / "x.txt")
    (tmp_path / "text.mp4").write_text("no video at all")
    with pytest.raises(VideoError, match="text.mp4"):
        FORMATS["frames"].write(found_in(tmp_path / "text.mp4"), tmp_path / "x.txt")
    with pytest.raises(FormatError, match="holds one video, got 2"):
        FORMATS["frames"].write({"a": found_in(tmp_path), "b": found_in(tmp_path)}, tmp_path / "x")
    assert not (tmp_path / "x.txt").exists()


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(st.sampled_from([-1, 0, 1]), min_size=1, max_size=30), st.sampled_from([5.0, 29.97])
)
def test_labels_come_back_where_the_rate_is_known(tmp_path, labels: list[int], fps: float) -> None:
    names = ("crack an egg", "stir")
    times_s = np.arange(len(labels)) / fps
    moments = [
        (float(t), float(t) + 1 / fps, names[label], 0.5)
        for t, label in zip(times_s, labels, strict=True)
        if label >= 0
    ]
    path = tmp_path / "x.txt"
    write_frames(make_detections(moments, names), path, times_s=times_s)
    expected = [names[label].replace(" ", "_") if label >= 0 else "background" for label in labels]
    assert path.read_text().splitlines() == expected
    back = read_frames(path, fps=fps)
    write_frames(back, path, times_s=times_s)
    assert path.read_text().splitlines() == expected
    assert len(back) == sum(a >= 0 and a != b for a, b in zip(labels, [-1, *labels], strict=False))


def test_segments_start_where_the_first_frame_does(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("background\nstir\nstir\n")
    (moment,) = read_frames(path, fps=2.0, start_s=10.0)
    assert moment == (10.5, 11.5, "stir", 1.0)


def test_what_cannot_be_read_or_written_is_said_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("stir\n\nstir\n")
    with pytest.raises(FormatError, match=r"x.txt, line 2: expected a label or 'background'"):
        read_frames(path, fps=5.0)
    with pytest.raises(FormatError, match="positive number of frames"):
        read_frames(path, fps=0.0)
    with pytest.raises(FormatError, match=r"say no times.*read_frames"):
        FORMATS["frames"].read(path)
    path.write_text("")
    assert len(read_frames(path, fps=5.0)) == 0
    times_s = np.zeros(1)
    for names, said in (
        (("stir", "background"), "'background' and what is no query would both be 'background'"),
        (("a b", "a_b"), "'a_b' and 'a b' would both be 'a_b'"),
        ((" ", "a"), "white space alone"),
    ):
        with pytest.raises(FormatError, match=said):
            write_frames(Detections.empty(names), path, times_s=times_s)


def test_overlapping_moments_give_the_label_of_the_best(tmp_path: Path) -> None:
    found = replace(make_detections(STEPS), origin=None)
    write_frames(found, tmp_path / "x.txt", times_s=np.array([2.1, 2.2, 0.3995, 3.0]))
    assert (tmp_path / "x.txt").read_text().split() == [
        "stir",
        "crack_an_egg",
        "crack_an_egg",  # times are rounded to a millisecond in some containers
        "background",
    ]
