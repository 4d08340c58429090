"""Reading video by time, on files made here: each hard case is a file that has it."""

import csv
import gc
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import ColorRange, Colorspace
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from videos import SIZE, clock_picture, make_sound, make_video, set_display_matrix, told_time

from openmoment.errors import ConfigError, OpenMomentError, VideoError
from openmoment.video import Frame, cut, probe, read_frames, read_pictures
from openmoment.video.source import Source

BFRAMES = {"bf": "2", "b_strategy": "0", "sc_threshold": "0"}
FORMATS = {
    "mp4": {"options": BFRAMES},
    "mkv": {"options": BFRAMES},
    "ts": {"options": BFRAMES},
    "mov": {"options": BFRAMES},
    "flv": {"options": BFRAMES},
    "webm": {"codec": "libvpx-vp9"},
    "avi": {"codec": "mpeg4"},
    "h264": {"options": BFRAMES},
}


def frames_of(path: Path, fps: float = 0.0, **how) -> list[Frame]:
    return list(read_frames(path, fps=fps, **how))


def told(frames: list[Frame]) -> list[float]:
    return [told_time(frame.rgb) for frame in frames]


def damage_of(path: Path) -> tuple[list[Frame], list[str]]:
    lines: list[str] = []
    return list(read_frames(path, fps=0.0, on_damage=lines.append)), lines


def displayed_at(times_s: list[float], time_s: float) -> float:
    """The slow, literal answer: the last frame that has started."""
    started = [t for t in times_s if t <= time_s + 1e-3]
    return started[-1] if started else times_s[0]


def assert_tiled(frames: list[Frame]) -> None:
    assert all(a.end_s == b.start_s for a, b in pairwise(frames))
    assert all(frame.start_s < frame.end_s for frame in frames)


# time ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FORMATS)
def test_every_frame_comes_in_order_at_its_own_time(tmp_path, kind):
    path = make_video(tmp_path / f"x.{kind}", seconds=2.5, **FORMATS[kind])
    frames = frames_of(path)
    expected = [i / 10 for i in range(25)]
    assert told(frames) == expected
    assert [f.start_s for f in frames] == pytest.approx(expected, abs=1e-6)
    assert frames[-1].end_s == pytest.approx(2.5)
    assert not any(frame.is_repeat for frame in frames)
    assert_tiled(frames)
    info = probe(path)
    assert info.duration_s == pytest.approx(2.5)
    assert (info.start_s, info.has_audio, info.rotation) == (0.0, False, 0)
    assert (info.width, info.height, info.fps) == (SIZE[1], SIZE[0], pytest.approx(10))


@pytest.mark.parametrize("kind", ["mp4", "mkv", "ts"])
@pytest.mark.parametrize("fps", [1.0, 3.0, 4.0, 5.0, 10.0, 25.0])
def test_each_cell_shows_the_picture_at_its_centre(tmp_path, kind, fps):
    path = make_video(tmp_path / f"x.{kind}", seconds=3.3, **FORMATS[kind])
    frames = frames_of(path, fps)
    times = [i / 10 for i in range(33)]
    centres = [(i + 0.5) / fps for i in range(len(frames))]
    assert told(frames) == [displayed_at(times, centre) for centre in centres]
    assert [f.start_s for f in frames] == pytest.approx([i / fps for i in range(len(frames))])
    assert_tiled(frames)


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    steps_ms=st.lists(st.integers(20, 900), min_size=1, max_size=12),
    fps=st.floats(0.5, 20.0),
)
def test_variable_rate_is_tiled_with_the_pictures_on_display(tmp_path, steps_ms, fps):
    times = [round(t) / 1000 for t in np.cumsum([0, *steps_ms])]
    path = make_video(tmp_path / "x.mkv", times_s=times, codec="ffv1")
    frames = frames_of(path, fps)
    every = frames_of(path)
    assert [f.start_s for f in every] == pytest.approx(times)
    end_s = every[-1].end_s

    assert_tiled(frames)
    assert (frames[0].start_s, frames[-1].end_s) == (0.0, end_s)
    assert len(frames) == pytest.approx(max(1, end_s * fps), abs=0.5 + 2e-3 * fps)
    centres = [(i + 0.5) / fps for i in range(len(frames))]
    if end_s * fps > 0.5:
        assert told(frames) == [displayed_at(times, min(c, end_s)) for c in centres]
    for before, frame in pairwise(frames):
        assert frame.is_repeat == (told_time(before.rgb) == told_time(frame.rgb))
        assert frame.is_repeat == (before.rgb is frame.rgb)


@pytest.mark.parametrize(
    ("seconds", "ends"),
    [(2.0, [1, 2]), (2.4, [1, 2.4]), (2.5, [1, 2, 2.5]), (2.7, [1, 2, 2.7]), (0.3, [0.3])],
)
def test_a_short_rest_joins_the_last_cell_and_a_long_one_is_a_cell(tmp_path, seconds, ends):
    path = make_video(tmp_path / "x.mp4", seconds=seconds)
    assert [frame.end_s for frame in frames_of(path, 1.0)] == pytest.approx(ends)


@pytest.mark.parametrize(
    ("kind", "start_s"), [("ts", -0.5), ("ts", 1.4), ("mp4", 3.0), ("mkv", 0.7), ("flv", 2.0)]
)
def test_zero_is_where_a_player_starts(tmp_path, kind, start_s):
    muxer = {"avoid_negative_ts": "disabled"} if start_s < 0 else {}
    path = make_video(tmp_path / f"x.{kind}", start_s=start_s, muxer=muxer)
    with av.open(path) as container:
        assert container.start_time == pytest.approx(start_s * 1e6, abs=1000)
    frames = frames_of(path)
    assert [f.start_s for f in frames] == pytest.approx(told(frames), abs=2e-3)
    assert frames[0].start_s == 0
    assert probe(path).duration_s == pytest.approx(2.0, abs=2e-3)
    assert told_time(read_pictures(path, [1.55], short_side=48)[0]) == 1.5


@pytest.mark.parametrize("kind", ["mp4", "mkv", "ts"])
def test_pictures_later_than_the_sound_stay_late(tmp_path, kind):
    path = make_video(tmp_path / f"x.{kind}", start_s=1.0, audio=(0.0, 4.0))
    info = probe(path)
    # AAC starts with 64 ms of nothing at 16 kHz, which only MP4 can hide.
    assert info.start_s == pytest.approx(1.0, abs=0.07)
    assert info.duration_s == pytest.approx(3.0, abs=0.07)
    assert info.has_audio
    frames, damage = damage_of(path)
    assert [f.start_s - info.start_s for f in frames] == pytest.approx(told(frames), abs=2e-3)
    assert not damage
    assert frames_of(path, 2.0)[0].start_s == info.start_s


def test_sound_later_than_the_pictures_moves_nothing(tmp_path):
    path = make_video(tmp_path / "x.mp4", audio=(0.5, 1.5))
    assert [f.start_s for f in frames_of(path)] == pytest.approx([i / 10 for i in range(20)])


def test_sound_may_turn_up_halfway(tmp_path):
    path = make_video(tmp_path / "x.ts", seconds=2.0)
    more = make_video(tmp_path / "y.ts", seconds=2.0, start_s=2.2, audio=(2.2, 4.2))
    path.write_bytes(path.read_bytes() + more.read_bytes())
    frames = frames_of(path)
    assert told(frames) == [i / 10 for i in range(20)] * 2
    assert [f.start_s for f in frames] == pytest.approx([i / 10 for i in range(40)], abs=0.1)
    assert probe(path).duration_s == pytest.approx(4.0, abs=0.1)


def test_a_video_of_one_frame(tmp_path):
    path = make_video(tmp_path / "x.mp4", seconds=0.1)
    for fps in (0.0, 1.0, 10.0):
        (frame,) = frames_of(path, fps)
        assert (frame.start_s, frame.end_s) == (0.0, pytest.approx(0.1))
    assert probe(path).duration_s == pytest.approx(0.1)
    assert len(read_pictures(path, [0.0, 9.0], short_side=8)) == 2


# pictures ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "kind"),
    [
        ("ffv1", "yuv420p", "mkv"),
        ("ffv1", "yuv420p10le", "mkv"),
        ("libx265", "yuv420p10le", "mp4"),
        ("ffv1", "gray", "mkv"),
        ("ffv1", "yuva420p", "mkv"),
        ("mjpeg", "yuvj420p", "mkv"),
        ("png", "rgba", "mov"),
        ("rawvideo", "bgr24", "avi"),
        ("gif", "gray", "gif"),
    ],
)
@pytest.mark.parametrize("short_side", [None, 24])
def test_any_pixel_format_gives_true_gray(tmp_path, codec, pix_fmt, kind, short_side):
    gray = lambda time_s: np.full((*SIZE, 3), 30 + 20 * round(time_s * 10), np.uint8)  # noqa: E731
    path = make_video(
        tmp_path / f"x.{kind}",
        seconds=1.0,
        codec=codec,
        pix_fmt=pix_fmt,
        paint=gray,
        options={"x265-params": "log-level=none"} if codec == "libx265" else {},
    )
    frames = frames_of(path, short_side=short_side)
    assert len(frames) == 10
    for i, frame in enumerate(frames):
        assert frame.rgb.dtype == np.uint8
        assert min(frame.rgb.shape[:2]) == (short_side or 48)
        assert np.abs(frame.rgb.astype(int) - (30 + 20 * i)).max() <= 3


def colorful(path: Path, colorspace: Colorspace, color_range: ColorRange) -> np.ndarray:
    """Write three frames of four colors, coded and tagged in this way; give the picture."""
    colors = np.array([[[200, 30, 40], [20, 180, 60]], [[30, 40, 220], [255, 255, 255]]])
    rgb = np.kron(colors, np.ones((24, 32, 1))).astype(np.uint8)
    with av.open(path, "w") as out:
        stream = out.add_stream("ffv1", rate=10, width=SIZE[1], height=SIZE[0], pix_fmt="yuv444p")
        stream.codec_context.colorspace = colorspace
        stream.codec_context.color_range = color_range
        for _ in range(3):
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(
                format="yuv444p",
                dst_colorspace=colorspace,
                src_color_range=ColorRange.JPEG,
                dst_color_range=color_range,
            )
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return rgb.astype(int)


@pytest.mark.parametrize("colorspace", [Colorspace.ITU709, Colorspace.ITU601])
@pytest.mark.parametrize("color_range", [ColorRange.MPEG, ColorRange.JPEG])
def test_colors_follow_their_tags(tmp_path, colorspace, color_range):
    path, out = tmp_path / "x.mkv", tmp_path / "clip.mp4"
    rgb = colorful(path, colorspace, color_range)
    assert np.abs(frames_of(path)[0].rgb - rgb).max() <= 2
    cut(path, (0.0, 0.2), out, exact=True)
    within = np.ix_([12, 36], [16, 48])  # away from the edges, where 4:2:0 blurs color
    assert np.abs(frames_of(out)[0].rgb - rgb)[within].max() <= 4


@pytest.mark.parametrize("codec", ["ffv1", "mpeg4"])
def test_odd_sizes(tmp_path, codec):
    path = make_video(tmp_path / "x.mkv", width=63, height=47, codec=codec, fps=10)
    assert frames_of(path)[0].rgb.shape == (47, 63, 3)
    assert (probe(path).width, probe(path).height) == (63, 47)
    assert told(frames_of(path)) == [i / 10 for i in range(20)]


@pytest.mark.parametrize(("short_side", "shape"), [(None, (48, 128, 3)), (24, (24, 64, 3))])
def test_pixels_become_square(tmp_path, short_side, shape):
    path = make_video(tmp_path / "x.mp4", aspect=(2, 1))
    assert frames_of(path, 2.0, short_side=short_side)[0].rgb.shape == shape
    assert (probe(path).width, probe(path).height) == (128, 48)


CORNERS = np.array([[20, 90], [160, 230]])
ORIENTATIONS = {
    (1, 0, 0, 1): 0,
    (0, 1, -1, 0): 90,
    (-1, 0, 0, -1): 180,
    (0, -1, 1, 0): 270,
    (-1, 0, 0, 1): None,
    (1, 0, 0, -1): None,
    (0, 1, 1, 0): None,
    (0, -1, -1, 0): None,
}


def four_corners(time_s: float) -> np.ndarray:
    rgb = np.kron(CORNERS, np.ones((24, 32))).astype(np.uint8)
    return np.repeat(rgb[..., None], 3, axis=2)


def turned_corners(matrix: tuple[int, int, int, int]) -> np.ndarray:
    """Where the four corners are shown, point by point from the standard's formula."""
    a, b, c, d = matrix
    shown = np.zeros((2, 2), dtype=int)
    for y in (0, 1):
        for x in (0, 1):
            to_x, to_y = a * (2 * x - 1) + c * (2 * y - 1), b * (2 * x - 1) + d * (2 * y - 1)
            shown[(to_y + 1) // 2, (to_x + 1) // 2] = CORNERS[y, x]
    return shown


def read_corners(rgb: np.ndarray) -> np.ndarray:
    height, width = rgb.shape[:2]
    return rgb[np.ix_([height // 4, 3 * height // 4], [width // 4, 3 * width // 4])].mean(axis=2)


@pytest.mark.parametrize("matrix", ORIENTATIONS)
def test_pictures_are_shown_upright(tmp_path, matrix):
    path = make_video(tmp_path / "x.mp4", seconds=0.5, paint=four_corners)
    set_display_matrix(path, matrix)
    size = (64, 48) if matrix[0] else (48, 64)
    info = probe(path)
    assert (info.width, info.height) == size
    if ORIENTATIONS[matrix] is not None:
        assert info.rotation == ORIENTATIONS[matrix]
    rgb = frames_of(path)[0].rgb
    assert rgb.shape == (size[1], size[0], 3)
    assert rgb.flags.c_contiguous
    np.testing.assert_allclose(read_corners(rgb), turned_corners(matrix), atol=4)
    small = frames_of(path, short_side=24)[0].rgb
    assert small.shape == (size[1] // 2, size[0] // 2, 3)
    np.testing.assert_allclose(read_corners(small), turned_corners(matrix), atol=4)
    thumbnail = read_pictures(path, [0.2], short_side=24)[0]
    np.testing.assert_allclose(read_corners(thumbnail), turned_corners(matrix), atol=4)


def two_streams(path: Path, first: dict, second: dict) -> Path:
    """A file with two video streams of 0.5 s, black and white, and these dispositions."""
    with av.open(path, "w") as out:
        streams = []
        for how in (first, second):
            stream = out.add_stream(how.get("codec", "libx264"), rate=10)
            stream.width, stream.height = SIZE[1], SIZE[0]
            stream.pix_fmt = "yuvj420p" if how.get("codec") == "mjpeg" else "yuv420p"
            stream.disposition = how["disposition"].value
            streams.append(stream)
        for stream, how, level in zip(streams, (first, second), (0, 255), strict=True):
            for _ in range(how.get("frames", 5)):
                rgb = np.full((*SIZE, 3), level, np.uint8)
                out.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
            out.mux(stream.encode(None))
    return path


def test_cover_pictures_are_no_video(tmp_path):
    cover = {"codec": "mjpeg", "frames": 1, "disposition": av.stream.Disposition.attached_pic}
    video = {"disposition": av.stream.Disposition.default}
    path = two_streams(tmp_path / "x.mp4", cover, video)
    assert [f.rgb.mean() > 200 for f in frames_of(path)] == [True] * 5
    assert probe(path).duration_s == pytest.approx(0.5)


@pytest.mark.parametrize("default", [0, 1])
def test_the_default_stream_is_read(tmp_path, default):
    dispositions = [{"disposition": av.stream.Disposition(0)} for _ in range(2)]
    dispositions[default] = {"disposition": av.stream.Disposition.default}
    path = two_streams(tmp_path / "x.mkv", *dispositions)
    assert (frames_of(path)[0].rgb.mean() > 200) == bool(default)


# damage --------------------------------------------------------------------------------


def noisy(time_s: float) -> np.ndarray:
    """The clock with noise on top, so that packets are large enough to be hit."""
    noise = np.random.default_rng(round(time_s * 1000)).integers(0, 25, (*SIZE, 3))
    return (clock_picture(time_s) + noise).astype(np.uint8)


@pytest.mark.parametrize("kind", ["mp4", "mkv", "ts"])
@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_damage_in_the_middle_costs_only_what_it_hits(tmp_path, kind, codec):
    muxer = {"cluster_time_limit": "500"} if kind == "mkv" else {}
    path = make_video(tmp_path / f"x.{kind}", seconds=8.0, codec=codec, paint=noisy, muxer=muxer)
    data = bytearray(path.read_bytes())
    middle = slice(len(data) * 50 // 100, len(data) * 53 // 100)
    data[middle] = np.random.default_rng(0).bytes(middle.stop - middle.start)
    path.write_bytes(data)
    frames, lines = damage_of(path)
    assert_tiled(frames)
    early = [f for f in frames if f.start_s < 2.95]
    late = [f for f in frames if f.start_s > 5.4]
    assert (len(early), len(late)) == (30, 25)
    assert told(early + late) == pytest.approx([f.start_s for f in early + late], abs=2e-3)
    if kind != "mkv":  # whose reader may jump over what it does not understand, silently
        (line,) = lines
        assert line.startswith(f"{path}: ")
        assert "damaged" in line
        assert "\n" not in line
    assert len(frames_of(path, 1.0)) == 8


def test_pictures_by_time_survive_a_damaged_end(tmp_path):
    path = make_video(tmp_path / "x.mp4", seconds=4.0)
    data = path.read_bytes()
    start, end = data.index(b"mdat") + 4, data.index(b"moov") - 4
    half = (start + end) // 2
    path.write_bytes(data[:half] + bytes(end - half) + data[end:])
    first, last = read_pictures(path, [0.5, 4.0], short_side=24)
    assert told_time(first) == 0.5
    assert 1.0 < told_time(last) < 3.0


@pytest.mark.parametrize("kind", ["mkv", "ts", "mp4"])
def test_what_is_there_of_a_cut_off_file_is_read(tmp_path, kind):
    muxer = {"movflags": "faststart"} if kind == "mp4" else {}
    path = make_video(tmp_path / f"x.{kind}", seconds=8.0, paint=noisy, muxer=muxer)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    frames, lines = damage_of(path)
    assert 40 < len(frames) < 56
    whole = frames[:-1]  # the last may be half a picture
    assert told(whole) == pytest.approx([f.start_s for f in whole], abs=2e-3)
    assert probe(path).duration_s == pytest.approx(frames[-1].end_s, abs=0.11)
    if kind != "ts":  # a shorter TS is as good as any
        (line,) = lines
        assert "cut off at 0:00:0" in line
        assert "of 0:00:08.0" in line


def test_a_whole_file_reports_nothing(tmp_path):
    for kind, how in FORMATS.items():
        assert damage_of(make_video(tmp_path / f"x.{kind}", **how))[1] == []


@pytest.mark.parametrize(
    ("times", "end_s", "repaired"),
    [
        ([0, 1, None, 3, 2, 2, 4, None], 100, [0, 1, 2, 3, 4, 5]),
        ([None, None, 2, 3], 100, [0, 1, 2, 3]),
        ([0, 1, 900, 2, 3], 100, [0, 1, 2, 3]),  # one damaged time
        ([0, 1, 250, 251, 252], 100, [0, 1, 250, 251, 252]),  # a long still picture
        ([0, 1, 9000, 9001, 2, 3], 100, [0, 1, 2, 3]),  # beyond the end
        ([0, 1, 9000, 9001, 9002], None, [0, 1, 9000, 9001, 9002]),  # an end that is not known
        ([0, 1, 40000, 40001, 2, 3], None, [0, 1, 2, 3]),  # over an hour later
    ],
)
def test_missing_backward_and_leaping_times_are_repaired(
    tmp_path, monkeypatch, times, end_s, repaired
):
    with Source(make_video(tmp_path / "x.mp4")) as source:
        source.declared_end_s = end_s
        step = source.ticks_of(0.1, source.stream)
        pictures = [av.VideoFrame(*SIZE[::-1]) for _ in times]
        for picture, time in zip(pictures, times, strict=True):
            picture.pts = None if time is None else time * step
            picture.duration = step
        monkeypatch.setattr(source, "_decoded", lambda packets: iter(pictures))
        found = [time_s for time_s, _ in source.frames()]
    assert found == pytest.approx([time / 10 for time in repaired])


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


REFUSED = {
    "missing": (lambda d: d / "none.mp4", "no such file"),
    "folder": (lambda d: d, "is a folder"),
    "empty": (lambda d: write(d / "x.mp4", b""), "is empty"),
    "text": (lambda d: write(d / "x.mp4", b"hello world\n" * 99), "not a video"),
    "text.txt": (lambda d: write(d / "x.txt", b"hello world\n" * 99), "not a video"),
    "playlist": (lambda d: write(d / "x.mp4", b"ffconcat version 1.0\nfile y.mp4\n"), "not a v"),
    "subtitles": (lambda d: write(d / "x.mp4", b"1\n00:00:01,000 --> 00:00:02,000\nhi\n"), "no vi"),
    "random": (lambda d: write(d / "x.mp4", np.random.default_rng(1).bytes(50000)), "not a video"),
    "nothing in it": (lambda d: write(d / "x.h264", b"hi"), "no picture"),
    "sound": (lambda d: make_sound(d / "x.m4a"), "only sound"),
    "cut off": (
        lambda d: write(d / "x.mp4", make_video(d / "y.mp4").read_bytes()[:600]),
        "no usable index",
    ),
    "cut off in the index": (
        lambda d: write(d / "x.mp4", make_video(d / "y.mp4").read_bytes()[:-300]),
        "no usable index",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize(
    "use",
    [
        probe,
        lambda path: next(read_frames(path, fps=1.0)),
        lambda path: read_pictures(path, [0.0], short_side=8),
        lambda path: cut(path, (0.0, 1.0), path.parent / "clip.mp4", exact=True),
    ],
    ids=["probe", "read_frames", "read_pictures", "cut"],
)
def test_what_is_no_video_is_refused_in_one_line(tmp_path, case, use):
    make, words = REFUSED[case]
    path = make(tmp_path)
    with pytest.raises(VideoError, match=words) as caught:
        use(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_no_decodable_picture_is_refused(tmp_path):
    path = make_video(tmp_path / "x.mp4")
    data = path.read_bytes()
    start, end = data.index(b"mdat") + 4, data.index(b"moov") - 4
    path.write_bytes(data[:start] + bytes(end - start) + data[end:])
    with pytest.raises(VideoError, match="no picture could be decoded"):
        frames_of(path)


def test_settings_out_of_range_are_refused(tmp_path):
    path = make_video(tmp_path / "x.mp4", seconds=0.2)
    for how in ({"fps": -1.0}, {"fps": float("nan")}, {"fps": 1.0, "short_side": 0}):
        with pytest.raises(ConfigError):
            next(read_frames(path, **how))


def test_a_name_with_a_colon_is_a_file(tmp_path, monkeypatch):
    make_video(tmp_path / "y.mp4").rename(tmp_path / "match: final.mp4")
    monkeypatch.chdir(tmp_path)
    assert probe(Path("match: final.mp4")).duration_s == pytest.approx(2)


# resources -----------------------------------------------------------------------------


def open_handles(path: Path) -> int:
    folder = Path("/proc/self/fd")
    if not folder.is_dir():
        pytest.skip("needs /proc to see open files")
    return sum(handle.exists() and handle.samefile(path) for handle in folder.iterdir())


def test_the_file_is_closed_when_reading_ends_or_is_given_up(tmp_path):
    path = make_video(tmp_path / "x.mp4")
    frames = read_frames(path, fps=2.0)
    assert open_handles(path) == 0
    next(frames)
    assert open_handles(path) == 1
    del frames
    gc.collect()
    assert open_handles(path) == 0
    frames_of(path, 2.0)
    probe(path)
    read_pictures(path, [1.0], short_side=8)
    cut(path, (0.0, 1.0), tmp_path / "y.mp4", exact=True)
    assert open_handles(path) == 0


def run_reader(path: Path) -> tuple[float, str]:
    """Peak memory in MB of a process that reads a video, and what it wrote to stderr."""
    code = (
        "import resource, sys; from pathlib import Path; from openmoment.video import read_frames\n"
        "for _ in read_frames(Path(sys.argv[1]), fps=4.0): pass\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    return float(done.stdout), done.stderr


def test_memory_does_not_grow_with_length(tmp_path):
    big = {"codec": "mpeg4", "width": 320, "height": 240, "fps": 5}
    picture = clock_picture(0.0, size=(240, 320))
    short = make_video(tmp_path / "s.mp4", seconds=10, paint=lambda _: picture, **big)
    long = make_video(tmp_path / "l.mp4", seconds=120, paint=lambda _: picture, **big)
    # 480 pictures of 320 x 240 would be 110 MB.
    assert run_reader(long)[0] - run_reader(short)[0] < 20


def test_libav_writes_nothing_to_the_terminal(tmp_path):
    path = make_video(tmp_path / "x.ts", seconds=4.0, paint=noisy)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 3000] = np.random.default_rng(0).bytes(3000)
    path.write_bytes(data)
    assert damage_of(path)[1]
    assert run_reader(path)[1] == ""


# single pictures -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", FORMATS)
def test_pictures_by_time_are_those_on_display(tmp_path, kind):
    path = make_video(tmp_path / f"x.{kind}", seconds=6.0, gop=20, **FORMATS[kind])
    times = [5.95, 0.0, 1.95, 2.0, 2.05, -1.0, 3.333, 60.0, 3.3]
    pictures = read_pictures(path, times, short_side=24)
    assert [told_time(rgb) for rgb in pictures] == [5.9, 0, 1.9, 2.0, 2.0, 0, 3.3, 5.9, 3.3]
    assert {rgb.shape for rgb in pictures} == {(24, 32, 3)}


def test_pictures_close_in_time_are_those_of_single_questions(tmp_path):
    path = make_video(tmp_path / "x.mp4", seconds=20.0, gop=30)
    times = [0.07 * i for i in range(40)] + [2.75, 9.0, 9.02, 9.03, 19.99, 14.2]
    pictures = read_pictures(path, times, short_side=24)
    for time_s, rgb in zip(times, pictures, strict=True):
        assert told_time(rgb) == pytest.approx(np.floor(time_s * 10 + 1e-6) / 10)
    assert pictures[-5] is pictures[-4]  # on display at both times


def test_hours_of_video_are_searched(tmp_path):
    path = make_video(tmp_path / "x.mkv", times_s=range(0, 1020, 2), codec="mpeg4")
    with av.open(path) as container, av.open(tmp_path / "long.mkv", "w") as out:
        stream = out.add_stream_from_template(container.streams.video[0])
        for packet in container.demux(video=0):
            if packet.size:
                packet.pts, packet.dts, packet.duration = packet.pts * 10, packet.dts * 10, 20000
                packet.stream = stream
                out.mux(packet)
    long = tmp_path / "long.mkv"
    assert probe(long).duration_s == pytest.approx(10200, abs=20)
    (rgb,) = read_pictures(long, [8005.0], short_side=24)
    assert told_time(rgb) == 800
    assert cut(long, (8015.0, 8100.0), tmp_path / "clip.mp4", exact=True)[0] == 8020
    assert len(frames_of(long, 0.05)) == 510


# clips ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["mp4", "mkv", "mov", "ts"])
@pytest.mark.parametrize("to", ["mp4", "mkv", "ts"])
def test_a_copied_clip_starts_at_the_keyframe(tmp_path, kind, to):
    path = make_video(
        tmp_path / f"x.{kind}", seconds=6.0, gop=10, start_s=0.4, audio=(0.4, 6.4), **FORMATS[kind]
    )
    late_s = probe(path).start_s
    out = tmp_path / f"clip.{to}"
    start_s, end_s = cut(path, (2.35, 4.1), out)
    assert start_s - late_s == pytest.approx(2.0 if late_s < 0.3 else 1.0, abs=0.02)
    assert 4.1 <= end_s - late_s + 0.01 < 4.4
    frames, lines = damage_of(out)
    assert lines == []
    assert frames[0].start_s == pytest.approx(0.0, abs=0.07)
    expected = [round(start_s - late_s + i / 10, 1) for i in range(len(frames))]
    assert told(frames) == expected
    info = probe(out)
    assert info.has_audio
    assert info.duration_s - info.start_s == pytest.approx(end_s - start_s, abs=0.01)
    assert {p.name for p in tmp_path.iterdir()} == {path.name, out.name}


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("to", ["mp4", "mkv", "ts"])
@pytest.mark.parametrize(
    ("segment", "indices"), [((1.25, 3.1), range(13, 31)), ((4.05, 4.75), range(41, 48))]
)
def test_an_exact_clip_holds_just_the_frames_in_the_segment(tmp_path, kind, to, segment, indices):
    path = make_video(tmp_path / f"x.{kind}", seconds=5.0, **FORMATS[kind])
    out = tmp_path / f"clip.{to}"
    times = [i / 10 for i in indices]
    assert cut(path, segment, out, exact=True) == pytest.approx(
        (times[0], times[-1] + 0.1), abs=2e-3
    )
    frames, lines = damage_of(out)
    assert told(frames) == times
    assert [f.start_s for f in frames] == pytest.approx([t - times[0] for t in times], abs=2e-3)
    assert frames[-1].end_s == pytest.approx(len(times) / 10, abs=2e-3)
    assert lines == []


def sound_starts(path: Path, level: float = 0.02) -> tuple[float, float]:
    """From when to when there is sound to be heard, on the player's clock."""
    with av.open(path) as container:
        zero = container.start_time / av.time_base
        heard = [
            frame.time - zero
            for frame in container.decode(audio=0)
            if np.abs(frame.to_ndarray()).max() > level
        ]
    return heard[0], heard[-1]


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("to", ["mp4", "mkv"])
def test_sound_stays_with_its_pictures(tmp_path, exact, to):
    path = make_video(tmp_path / "x.mp4", seconds=6.0, audio=(2.0, 4.0), **FORMATS["mp4"])
    out = tmp_path / f"clip.{to}"
    start_s, end_s = cut(path, (1.0, 5.0), out, exact=exact)
    assert (start_s, end_s) == (pytest.approx(1.0), pytest.approx(5.0, abs=0.21))
    first_s, last_s = sound_starts(out)
    assert first_s == pytest.approx(1.0, abs=0.07)
    assert last_s == pytest.approx(3.0, abs=0.14)
    assert frames_of(out)[0].start_s == pytest.approx(0.0, abs=0.07)


def test_variable_rate_survives_an_exact_cut(tmp_path):
    times = [0.0, 0.1, 0.5, 0.6, 1.4, 1.5, 3.0]
    path = make_video(tmp_path / "x.mkv", times_s=times)
    out = tmp_path / "clip.mp4"
    assert cut(path, (0.3, 2.0), out, exact=True)[0] == pytest.approx(0.5)
    frames = frames_of(out)
    assert told(frames) == [0.5, 0.6, 1.4, 1.5]
    assert [f.start_s for f in frames] == pytest.approx([0.0, 0.1, 0.9, 1.0], abs=2e-3)


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("matrix", ORIENTATIONS)
def test_orientation_survives_a_cut(tmp_path, matrix, exact):
    path = set_display_matrix(make_video(tmp_path / "x.mp4", paint=four_corners), matrix)
    out = tmp_path / "clip.mp4"
    cut(path, (0.5, 1.5), out, exact=exact)
    np.testing.assert_allclose(read_corners(frames_of(out)[0].rgb), turned_corners(matrix), atol=5)


@pytest.mark.parametrize("pix_fmt", ["yuvj420p", "yuv420p10le", "gray", "bgr0"])
def test_an_exact_clip_of_any_pixels_is_plain(tmp_path, pix_fmt):
    codec = "mjpeg" if pix_fmt == "yuvj420p" else "ffv1"
    path = make_video(tmp_path / "x.mkv", width=63, height=47, codec=codec, pix_fmt=pix_fmt)
    out = tmp_path / "clip.mp4"
    cut(path, (0.5, 1.5), out, exact=True)
    with av.open(out) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.width, stream.height) == ("h264", 62, 46)
        assert stream.pix_fmt in ("yuv420p", "yuvj420p")
    before, after = (
        read_pictures(path, [0.5], short_side=46),
        read_pictures(out, [0.0], short_side=46),
    )
    assert before[0].mean() == pytest.approx(after[0].mean(), abs=2)


def test_sound_that_the_container_cannot_hold_is_left_out(tmp_path):
    path = make_video(
        tmp_path / "x.mkv", codec="libvpx-vp9", audio=(0.0, 2.0), audio_codec="pcm_s16le"
    )
    cut(path, (0.0, 1.0), tmp_path / "clip.webm")
    assert not probe(tmp_path / "clip.webm").has_audio
    assert len(frames_of(tmp_path / "clip.webm")) >= 10


def test_a_failed_cut_leaves_nothing(tmp_path):
    path = make_video(tmp_path / "x.mp4")
    bad = {
        (1.0, 1.0): "clip.mp4",
        (-1.0, 1.0): "clip.mp4",
        (float("nan"), 1.0): "clip.mp4",
        (5.0, 6.0): "clip.mp4",
        (0.0, 1.0): "clip.gif",
        (0.0, 1.1): "x.mp4",
        (0.0, 1.2): "none/clip.mp4",
        (0.0, 1.3): "clip.webm",
    }
    before = path.read_bytes()
    for segment, name in bad.items():
        for exact in (False, True):
            with pytest.raises(OpenMomentError) as caught:
                cut(path, segment, tmp_path / name, exact=exact)
            assert "\n" not in str(caught.value)
    with pytest.raises(VideoError, match="no frame starts"):
        cut(path, (1.01, 1.05), tmp_path / "clip.mp4", exact=True)
    assert [p.name for p in tmp_path.iterdir()] == ["x.mp4"]
    late = make_video(tmp_path / "y.mp4", start_s=2.0, audio=(0.0, 4.0))
    for exact in (False, True):
        with pytest.raises(VideoError, match="no frame starts"):
            cut(late, (0.5, 1.5), tmp_path / "clip.mp4", exact=exact)
    assert not (tmp_path / "clip.mp4").exists()
    assert path.read_bytes() == before


def test_a_cut_replaces_an_older_clip(tmp_path):
    path, out = make_video(tmp_path / "x.mp4"), tmp_path / "clip.mp4"
    out.write_text("old")
    cut(path, (0.0, 1.0), out)
    assert probe(out).duration_s == pytest.approx(1.0, abs=0.31)


# real files ----------------------------------------------------------------------------


@pytest.mark.data
def test_real_videos_have_the_listed_duration(data_root):
    with (data_root / "clips.csv").open() as file:
        rows = list(csv.DictReader(file))[::5]
    for row in rows:
        info = probe(data_root / row["path"])
        frames, lines = damage_of(data_root / row["path"])
        assert lines == [], row["path"]
        assert_tiled(frames)
        # Xvid in AVI may start a frame late and lose one in putting B-frames in order.
        step_s = 1 / info.fps
        assert abs(len(frames) - int(row["frames"])) <= 3
        assert frames[-1].end_s == pytest.approx(info.duration_s, abs=step_s + 1e-6)
        assert info.duration_s == pytest.approx(float(row["duration_s"]), abs=6 * step_s)
