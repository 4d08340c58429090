"""Videos of a folder: listed, sent, played, and nothing from outside it."""

import io
import os
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from serving import ask, ended, one_video, only_id, refusal, serving
from videos import SIZE, make_sound, make_video, told_time

from openmoment.errors import OpenMomentError
from openmoment.server.service import uploads
from openmoment.server.service.names import LONGEST, clean_name
from openmoment.server.service.problems import RefusedError
from openmoment.server.service.settings import Settings
from openmoment.video import frame_times, read_frames, read_pictures
from openmoment.video.playable import browser_plays, make_playable

# listed --------------------------------------------------------------------------------


def test_videos_below_the_folder_are_listed_with_what_they_are(tmp_path: Path) -> None:
    one_video(tmp_path, "b.mp4")
    one_video(tmp_path, "day/a.mkv", seconds=1.0)
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "notes.txt").write_text("no video either")
    one_video(tmp_path, ".hidden/c.mp4")
    with serving(tmp_path, works=False) as client:
        one_video(tmp_path, "openmoment/d.mp4")  # our own folder is no place for videos
        videos = {v["name"]: v for v in client.get("/api/videos").json()["videos"]}
        one = videos["b.mp4"]
        assert client.get(f"/api/videos/{one['id']}").json() == one
        assert refusal(client.get("/api/videos/0123456789abcdef"), 404)
    assert list(videos) == ["b.mp4", "day/a.mkv", "text.mp4"]
    size = (tmp_path / "b.mp4").stat().st_size
    assert one == one | {
        "size_bytes": size,
        "duration_s": 2.0,
        "width": SIZE[1],
        "height": SIZE[0],
        "fps": 10.0,
        "playable": "yes",
        "error": None,
        "queries": 0,
        "moments": 0,
    }
    assert one["modified"].endswith("Z")
    assert (videos["day/a.mkv"]["playable"], videos["day/a.mkv"]["duration_s"]) == ("no", 1.0)
    assert videos["text.mp4"]["duration_s"] is None
    assert videos["text.mp4"]["error"].startswith("text.mp4: is not a video file")


def test_an_empty_folder_has_no_videos_and_a_missing_one_is_refused(tmp_path: Path) -> None:
    with serving(tmp_path, works=False) as client:
        assert client.get("/api/videos").json() == {"videos": []}
    with (
        pytest.raises(OpenMomentError, match="no such folder"),
        serving(tmp_path / "none", works=False),
    ):
        pass


def test_a_file_that_changes_is_looked_at_again(tmp_path: Path) -> None:
    one_video(tmp_path)
    with serving(tmp_path, works=False) as client:
        path = f"/api/videos/{only_id(client)}"
        one_video(tmp_path, seconds=1.0)
        assert client.get(path).json()["duration_s"] == 1.0
        (tmp_path / "one.mp4").unlink()
        assert refusal(client.get(path), 404) == "There is no such video."


def test_links_that_lead_out_are_neither_listed_nor_served(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    one_video(inside, "one.mp4")
    one_video(outside, "secret.mp4")
    (inside / "link.mp4").symlink_to(outside / "secret.mp4")
    (inside / "folder").symlink_to(outside)
    (inside / "gone.mp4").symlink_to(outside / "nothing.mp4")
    (inside / "itself.mp4").symlink_to(inside / "itself.mp4")
    (inside / "twin.mp4").symlink_to(inside / "one.mp4")
    with serving(inside, works=False) as client:
        videos = client.get("/api/videos").json()["videos"]
        assert [v["name"] for v in videos] == ["one.mp4", "twin.mp4"]
        known = f"/api/videos/{videos[0]['id']}/media"
        (inside / "one.mp4").unlink()
        (inside / "one.mp4").symlink_to(outside / "secret.mp4")  # after it was listed
        assert refusal(client.get(known), 404)


def test_our_own_files_do_not_follow_links_out(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    one_video(inside, "one.mp4")
    outside.mkdir()
    with serving(inside, works=False) as client:
        (inside / "openmoment" / "reviews").rmdir()
        (inside / "openmoment" / "reviews").symlink_to(outside)
        video = only_id(client)
        edit = {"revision": 0, "queries": [], "segments": []}
        for told in (
            client.get(f"/api/videos/{video}/review"),
            client.put(f"/api/videos/{video}/review", json=edit),
        ):
            assert "leads out of the served folder" in refusal(told, 404)
    assert list(outside.iterdir()) == []
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "openmoment").symlink_to(outside)
    with (
        pytest.raises(OpenMomentError, match="leads out of the served folder"),
        serving(elsewhere, works=False),
    ):
        pass


@pytest.mark.skipif(os.name == "nt", reason="file names are text there")
def test_names_in_another_encoding_are_listed(tmp_path: Path) -> None:
    one_video(tmp_path, "plain.mp4").rename(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.mp4"))
    with serving(tmp_path) as client:
        (video,) = client.get("/api/videos").json()["videos"]
        assert video["name"] == "caf�.mp4"
        assert client.get(f"/api/videos/{video['id']}/media").status_code == 200
        ended(client, ask(client, "walk"))
        assert client.get(f"/api/videos/{video['id']}/export?format=json").status_code == 200


# sent ----------------------------------------------------------------------------------


@pytest.fixture
def film(tmp_path: Path) -> bytes:
    return one_video(tmp_path, "film.mp4", seconds=1.0).read_bytes()


def send(client, name: str, content: bytes, **headers: str):
    return client.post("/api/videos", params={"name": name}, content=content, headers=headers)


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    folder = tmp_path / "served"
    folder.mkdir()
    return folder


def left(folder: Path) -> list[str]:
    """What lies in the folder, and what a broken upload left."""
    ours = folder / "openmoment"
    return sorted(path.name for path in [*folder.iterdir(), *(ours / "uploads").iterdir()])


def test_a_sent_video_joins_the_folder_and_never_replaces_another(empty: Path, film: bytes) -> None:
    with serving(empty, works=False) as client:
        told = [send(client, "match.mp4", film) for _ in range(3)]
        assert [t.status_code for t in told] == [201] * 3
        names = ["match.mp4", "match (2).mp4", "match (3).mp4"]
        assert [t.json()["name"] for t in told] == names
        assert told[0].json()["duration_s"] == 1.0
        assert (empty / "match (2).mp4").read_bytes() == film
    assert left(empty) == sorted([*names, "openmoment"])


@pytest.mark.parametrize(
    "name",
    [
        *("../up.mp4", "/etc/up.mp4", "a/b.mp4", "a\\b.mp4", "..\\up.mp4", "C:\\up.mp4"),
        *("a\0.mp4", "a\n.mp4", "a\x1b.mp4", "\u202e.mp4"),
        *("no-ending", "page.html", "run.exe", "a.mp4.py", ".mp4", "..", "mp4"),
    ],
)
def test_names_that_lead_elsewhere_or_are_no_videos_are_refused(
    empty: Path, film: bytes, name: str
) -> None:
    with serving(empty, works=False) as client:
        assert refusal(send(client, name, film), 422).startswith("name: ")
    assert left(empty) == ["openmoment"]
    assert sorted(path.name for path in empty.parent.iterdir()) == ["film.mp4", "served"]


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (".hidden.mp4", "hidden.mp4"),
        ("CON.mp4", "_CON.mp4"),
        ("com1.tar.mp4", "_com1.tar.mp4"),
        ("nul .mp4", "_nul.mp4"),
        ("a:b?.mp4", "a_b_.mp4"),
        ("<img src=x onerror=alert(1)>.mp4", "_img src=x onerror=alert(1)_.mp4"),
        ("  Fußball ⚽.MP4 ", "Fußball ⚽.MP4"),
        ("%2e%2e%2fup.mp4", "%2e%2e%2fup.mp4"),  # sent encoded twice: only characters
    ],
)
def test_names_that_some_system_does_not_take_are_mended(sent: str, kept: str) -> None:
    assert clean_name(sent) == kept


@given(st.text(max_size=300))
@settings(max_examples=200)
def test_a_clean_name_is_a_plain_file_of_the_folder(name: str) -> None:
    try:
        clean = clean_name(f"{name}.mp4")
    except RefusedError as error:
        assert error.status == 422
        return
    assert Path(clean).name == clean and Path(clean).suffix == ".mp4"
    assert not clean.startswith((".", " ")) and clean.isprintable()
    assert len(clean.encode()) <= LONGEST
    assert clean_name(clean) == clean


def test_too_large_uploads_are_refused_before_or_while_they_are_written(
    empty: Path, film: bytes
) -> None:
    bound = Settings(max_upload_bytes=len(film) - 1)

    def chunks():
        yield film[:100]
        yield film[100:]

    with serving(empty, bound, works=False) as client:
        assert "--max-upload-gb" in refusal(send(client, "a.mp4", film), 413)
        told = client.post("/api/videos", params={"name": "a.mp4"}, content=chunks())
        assert "--max-upload-gb" in refusal(told, 413)
    assert left(empty) == ["openmoment"]


def test_a_full_disk_is_told_before_anything_is_written(
    empty: Path, film: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "SPARE_BYTES", 2**62)
    with serving(empty, works=False) as client:
        assert "too little" in refusal(send(client, "a.mp4", film), 413)
    assert left(empty) == ["openmoment"]


def test_what_is_no_video_is_not_kept(empty: Path, tmp_path: Path) -> None:
    sound = make_sound(tmp_path / "sound.mp4").read_bytes()
    with serving(empty, works=False) as client:
        assert refusal(send(client, "a.mp4", b""), 422) == (
            "a.mp4: is empty (0 bytes). Copy or download it again."
        )
        assert "a.mp4: is not a video file" in refusal(send(client, "a.mp4", b"text" * 99), 422)
        assert "holds only sound" in refusal(send(client, "a.mp4", sound), 422)
    assert left(empty) == ["openmoment"]


def test_what_a_killed_server_was_receiving_goes(empty: Path) -> None:
    stale = empty / "openmoment" / "uploads" / "0123"
    stale.mkdir(parents=True)
    (stale / "half.mp4").write_bytes(b"half")
    with serving(empty, works=False):
        assert left(empty) == ["openmoment"]


# played --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "status", "part"),
    [
        (None, 200, slice(None)),
        ("bytes=0-99", 206, slice(0, 100)),
        ("bytes=100-", 206, slice(100, None)),
        ("bytes=-50", 206, slice(-50, None)),
        ("bytes=10-999999999", 206, slice(10, None)),
        ("bytes=9-5", 200, slice(None)),
        ("bytes=x-y", 200, slice(None)),
        ("lines=1-2", 200, slice(None)),
        ("bytes=" + "9" * 5000 + "-", 200, slice(None)),
    ],
)
def test_media_comes_by_ranges(tmp_path: Path, asked: str | None, status: int, part: slice) -> None:
    content = one_video(tmp_path).read_bytes()
    with serving(tmp_path, works=False) as client:
        headers = {"range": asked} if asked else {}
        told = client.get(f"/api/videos/{only_id(client)}/media", headers=headers)
    assert (told.status_code, told.content) == (status, content[part])
    assert told.headers["content-type"] == "video/mp4"
    if status == 206:
        first = range(len(content))[part][0]
        last = range(len(content))[part][-1]
        assert told.headers["content-range"] == f"bytes {first}-{last}/{len(content)}"


def test_a_range_beyond_the_end_is_refused(tmp_path: Path) -> None:
    size = one_video(tmp_path).stat().st_size
    with serving(tmp_path, works=False) as client:
        path = f"/api/videos/{only_id(client)}/media"
        for asked in (f"bytes={size}-", f"bytes={size + 5}-{size + 9}", "bytes=-0"):
            told = client.get(path, headers={"range": asked})
            assert refusal(told, 416) == "The range lies beyond the end."
            assert told.headers["content-range"] == f"bytes */{size}"


def test_what_browsers_cannot_play_is_converted_once(tmp_path: Path) -> None:
    one_video(tmp_path, "one.avi", codec="mpeg4")
    with serving(tmp_path, real=True) as client:
        video = only_id(client)
        path = f"/api/videos/{video}"
        assert "POST .../playable" in refusal(client.get(f"{path}/media"), 409)
        job = client.post(f"{path}/playable")
        assert job.status_code == 202
        assert client.post(f"{path}/playable").json()["id"] == job.json()["id"]
        assert client.get(path).json()["playable"] == "making"
        assert ended(client, job.json())["kind"] == "playable"
        assert client.get(path).json()["playable"] == "yes"
        media = client.get(f"{path}/media")
    assert media.headers["content-type"] == "video/mp4"
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(media.content)
    assert browser_plays(copy)
    assert media.content.index(b"moov") < media.content.index(b"mdat")


def test_a_failed_conversion_says_why(tmp_path: Path) -> None:
    one_video(tmp_path, "one.mkv")
    with serving(tmp_path, works=False) as client:
        path = f"/api/videos/{only_id(client)}"
        job = client.post(f"{path}/playable").json()
        client.app.state.service.jobs.update(job["id"], state="failed", error="no room")
        told = client.get(path).json()
    assert (told["playable"], told["error"]) == ("failed", "no room")


@pytest.mark.parametrize(
    ("name", "kind", "plays"),
    [
        ("a.mp4", {}, True),
        ("a.mov", {}, True),
        ("a.webm", {"codec": "libvpx"}, True),
        ("a.mp4", {"audio": (0.0, 1.0)}, True),
        ("a.mkv", {}, False),
        ("a.mp4", {"codec": "mpeg4"}, False),
        ("a.mp4", {"pix_fmt": "yuv444p"}, False),
        ("a.mov", {"audio": (0.0, 1.0), "audio_codec": "pcm_s16le"}, False),
    ],
)
def test_what_browsers_play(tmp_path: Path, name: str, kind: dict, plays: bool) -> None:
    assert browser_plays(make_video(tmp_path / name, seconds=0.5, **kind)) is plays


def test_an_ending_does_not_make_a_container(tmp_path: Path) -> None:
    make_video(tmp_path / "a.avi", seconds=0.5).rename(tmp_path / "a.mp4")
    assert not browser_plays(tmp_path / "a.mp4")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("even.mkv", {"fps": 25}),
        ("even.ts", {"fps": 25, "audio": (0.0, 2.0)}),
        ("plain.mkv", {"options": {"bf": "0"}}),
        ("upright.mkv", {"aspect": (4, 3)}),
        ("deep.mkv", {"pix_fmt": "yuv422p"}),
        ("varied.mkv", {"times_s": [0.0, 0.1, 0.15, 0.9, 1.0, 1.7]}),
        ("late.mkv", {"start_s": 1.5, "audio": (0.0, 3.0)}),
        ("late_alone.mkv", {"start_s": 1.5}),
        ("sound.mov", {"audio": (0.0, 2.0), "audio_codec": "pcm_s16le"}),
        ("stream.ts", {}),
        ("old.avi", {"codec": "mpeg4"}),
    ],
)
def test_a_copy_has_the_times_of_the_original(tmp_path: Path, name: str, kind: dict) -> None:
    original, copy = make_video(tmp_path / name, **kind), tmp_path / "copy.mp4"
    heard: list[tuple[float, float]] = []
    make_playable(original, copy, progress=lambda done_s, all_s: heard.append((done_s, all_s)))
    times_s = frame_times(original)
    np.testing.assert_allclose(frame_times(copy), times_s, atol=0.0006)
    for at_s in times_s[[0, len(times_s) // 2, -1]]:
        here, there = (
            read_pictures(path, [float(at_s) + 0.01], short_side=SIZE[0])[0]
            for path in (original, copy)
        )
        assert told_time(here) == told_time(there)
    assert heard[-1][0] == pytest.approx(times_s[-1])
    assert [done for done, _ in heard] == sorted(done for done, _ in heard)
    with av.open(str(copy)) as container:
        sounds = [stream.codec_context.name for stream in container.streams.audio]
    assert sounds == (["aac"] if "audio" in kind else [])


@pytest.mark.parametrize(
    ("name", "kind", "is_kept"),
    [
        ("a.mkv", {}, True),
        ("a.flv", {}, True),
        ("a.mkv", {"audio": (0.0, 1.0)}, True),
        ("a.mkv", {"audio": (0.0, 1.0), "audio_codec": "pcm_s16le"}, False),
        ("a.mkv", {"pix_fmt": "yuv444p"}, False),
        ("a.avi", {"codec": "mpeg4"}, False),
        ("a.ts", {}, False),
    ],
)
def test_pictures_that_browsers_decode_are_copied_as_they_are(
    tmp_path: Path, name: str, kind: dict, is_kept: bool
) -> None:
    original, copy = make_video(tmp_path / name, seconds=1.0, **kind), tmp_path / "copy.mp4"
    make_playable(original, copy)
    assert browser_plays(copy)
    pictures = [
        [frame.rgb.tobytes() for frame in read_frames(path, fps=0.0)] for path in (original, copy)
    ]
    assert (pictures[0] == pictures[1]) is is_kept


def test_a_large_copy_is_made_smaller(tmp_path: Path) -> None:
    original = make_video(tmp_path / "a.ts", seconds=0.2, width=1920, height=1080)
    make_playable(original, tmp_path / "b.mp4")
    with av.open(str(tmp_path / "b.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height) == (1280, 720)


def test_a_conversion_that_is_stopped_leaves_nothing(tmp_path: Path) -> None:
    class StoppedError(Exception):
        pass

    def stop(done_s: float, all_s: float) -> None:
        raise StoppedError

    original = make_video(tmp_path / "a.mkv", seconds=0.5)
    with pytest.raises(StoppedError):
        make_playable(original, tmp_path / "b.mp4", progress=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["a.mkv"]


# thumbnails ----------------------------------------------------------------------------


def test_thumbnails_show_the_time_asked_for(tmp_path: Path) -> None:
    one_video(tmp_path, width=320, height=240)
    with serving(tmp_path, works=False) as client:
        path = f"/api/videos/{only_id(client)}/thumbnail"
        for at, shown_s in ((0, 0.0), (1.23, 1.2), (99, 1.9)):
            told = client.get(path, params={"at": at, "height": 120})
            assert told.headers["content-type"] == "image/jpeg"
            picture = Image.open(io.BytesIO(told.content))
            assert picture.size == (160, 120)
            assert told_time(np.asarray(picture)) == shown_s
        for wrong in ({"at": "nan"}, {"at": "-1"}, {"at": "inf"}, {"at": "x"}, {"height": 0}):
            assert refusal(client.get(path, params=wrong), 422)


def test_thumbnails_of_upright_videos_have_the_height_too(tmp_path: Path) -> None:
    one_video(tmp_path, width=240, height=320)
    with serving(tmp_path, works=False) as client:
        told = client.get(f"/api/videos/{only_id(client)}/thumbnail", params={"height": 80})
        assert Image.open(io.BytesIO(told.content)).size == (60, 80)
    assert told.headers["cache-control"] == "private, max-age=3600"
