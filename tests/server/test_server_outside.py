"""Nothing outside the served folder is read or written, whatever place a name is put in.

Each attempt runs against a folder that lies beside a secret one; afterwards the secret one is as
it was, and no answer held any of it.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import pytest
from live_server import Answer, Live, assert_well, live
from serving import one_video
from videos import make_video

from openmoment.errors import OpenMomentError
from openmoment.export import FORMATS
from openmoment.server.app import create_app
from openmoment.server.service.folder import video_id

CSV = b"video,start_s,end_s,query,score\none.mp4,0.5,1,a,0.5\n"
SECRET = b"the secret that lies outside"
NAMES = [
    *("../outside/new.mp4", "..\\outside\\new.mp4", "/tmp/openmoment-outside.mp4", "C:\\new.mp4"),
    *("..%2foutside%2fnew.mp4", "%2e%2e/outside/new.mp4", "....//outside/new.mp4", "..", ".", "/"),
    *("new.mp4\0.png", "\0", "a/../../outside/new.mp4", "~/new.mp4", "~root", "$HOME/new.mp4"),
    *("//server/share/new.mp4", "\\\\?\\C:\\new.mp4", "file:///etc/passwd", "new.mp4::$DATA"),
    *("..\u2215outside\u2215new.mp4", "\uff0e\uff0e\uff0foutside\uff0fnew.mp4", "CON.mp4", "NUL"),
    *("/proc/self/environ", "/dev/stdin", "/etc/passwd", "openmoment/jobs.sqlite", "jobs.sqlite"),
    *("../inside/openmoment/jobs.sqlite", "one.mp4/../../outside/secret.mp4", ".ssh", ".mp4"),
]
"""As they are and, where they stand in an address, percent-encoded once and twice."""


class Place(NamedTuple):
    """A served folder, and what lies beside it."""

    server: Live
    film: bytes
    secret: Path

    @property
    def inside(self) -> Path:
        return self.server.folder

    def attempt(self, method: str, target: str, body: bytes = b"") -> Answer:
        """A request that neither tells the secret nor makes the server stumble."""
        kind = "application/json" if body.startswith(b"{") else "application/octet-stream"
        answer = self.server.ask(method, target, body, content_type=kind)
        assert_well(answer, self.inside)
        assert_tells_nothing(answer)
        return answer


def assert_tells_nothing(answer: Answer) -> None:
    for told in (answer.body, str(answer.headers).encode(errors="replace")):
        assert SECRET not in told
        assert b"root:x:" not in told
        assert b"PATH=" not in told
        assert b"SQLite format" not in told


def state_of(folder: Path) -> dict[str, tuple[int, str]]:
    """What has to stay as it is: every file of a folder, its time and its content."""
    return {
        str(path): (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def make_outside(folder: Path) -> Path:
    folder.mkdir()
    (folder / "secret.txt").write_bytes(SECRET)
    (folder / "secret.mp4").write_bytes(SECRET)
    (folder / "secret.json").write_bytes(json.dumps({"schema": SECRET.decode()}).encode())
    return make_video(folder / "film.mp4", start_s=0.0)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    root = tmp_path_factory.mktemp("world")
    make_outside(root / "outside")
    one_video(root / "inside")
    film = (root / "inside" / "one.mp4").read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENMOMENT_CACHE", str(tmp_path_factory.mktemp("its_cache")))
        with live(root / "inside") as server:
            yield Place(server, film, root / "outside")


@pytest.fixture(autouse=True)
def nothing_outside_changes(place: Place) -> Iterator[None]:
    before = state_of(place.secret)
    beside = set(place.inside.parent.iterdir())
    yield
    assert state_of(place.secret) == before
    assert set(place.inside.parent.iterdir()) == beside
    assert not Path("/tmp/openmoment-outside.mp4").exists()


def _upload(name: str) -> tuple[str, str]:
    return "POST", f"/api/videos?name={name}"


def _import(name: str) -> tuple[str, str]:
    return "POST", f"/api/videos/{video_id('one.mp4')}/import?name={name}"


def _import_format(name: str) -> tuple[str, str]:
    return "POST", f"/api/videos/{video_id('one.mp4')}/import?name=x.csv&format={name}"


PLACES: dict[str, Callable[[str], tuple[str, str]]] = {
    "upload": _upload,
    "import": _import,
    "format of an import": _import_format,
    "format": lambda name: ("GET", f"/api/videos/{video_id('one.mp4')}/export?format={name}"),
    "video": lambda name: ("GET", f"/api/videos/{name}"),
    "media": lambda name: ("GET", f"/api/videos/{name}/media"),
    "thumbnail": lambda name: ("GET", f"/api/videos/{name}/thumbnail"),
    "review": lambda name: ("GET", f"/api/videos/{name}/review"),
    "playable": lambda name: ("POST", f"/api/videos/{name}/playable"),
    "job": lambda name: ("GET", f"/api/jobs/{name}"),
    "static": lambda name: ("GET", f"/static/{name}"),
    "page": lambda name: ("GET", f"/{name}"),
}


@pytest.mark.parametrize("where", PLACES)
def test_no_name_leads_out(place: Place, where: str) -> None:
    for name in NAMES:
        once = quote(name, safe="", errors="surrogatepass")
        for spelled in dict.fromkeys((once, quote(once, safe=""), quote(name, safe="/.~"))):
            answer = place.attempt(*PLACES[where](spelled), place.film)
            if answer.status == 201:
                kept = place.inside / json.loads(answer.body)["name"]
                assert kept.parent == place.inside and not kept.name.startswith(".")
                kept.unlink()
            elif where not in ("page", "static"):
                assert answer.status >= 400 or answer.status == 307  # a slash too many


def test_no_name_in_a_document_leads_out(place: Place) -> None:
    video = video_id("one.mp4")
    for name in NAMES:
        for document in (
            {"video": name, "queries": ["a"]},
            {"video": video, "queries": ["a"], "backbone": name},
            {"video": video, "queries": ["a"], "method": name},
        ):
            body = json.dumps(document).encode()
            assert place.attempt("POST", "/api/jobs", body).status == 422
    said = {"threshold": 0.0, "occurs": None, "checked": True}
    queries = [{"query": name, **said} for name in NAMES]
    segments = [
        {"id": q["query"], "start_s": 0, "end_s": 1, "query": q["query"], "status": "accepted"}
        for q in queries
    ]
    paths = {"video": {"path": "../outside/film.mp4"}, "path": "/etc/passwd"}
    edit = {"revision": 0, "queries": queries, "segments": segments, **paths}
    answer = place.attempt("PUT", f"/api/videos/{video}/review", json.dumps(edit).encode())
    assert answer.status == 200, answer
    for target in ("curves", "statistics", *(f"export?format={name}" for name in FORMATS)):
        assert place.attempt("GET", f"/api/videos/{video}/{target}").status == 200, target


def test_a_name_in_a_file_that_is_imported_is_not_opened(place: Place) -> None:
    video = video_id("one.mp4")
    outside = place.secret / "film.mp4"
    for name in FORMATS:
        exported = place.attempt("GET", f"/api/videos/{video}/export?format={name}").body
        for mention in (b"one.mp4", b"one"):
            sent = exported.replace(mention, os.fsencode(outside))
            place.attempt("POST", f"/api/videos/{video}/import?name=x&format={name}", sent)
    entity = f'<!DOCTYPE a [<!ENTITY x SYSTEM "file://{place.secret}/secret.txt">]><a>&x;</a>'
    sent = entity.encode()
    answer = place.attempt("POST", f"/api/videos/{video}/import?name=x.eaf", sent)
    assert answer.status == 422


# what lies in the folder -----------------------------------------------------------------------


def _link_to_file(inside: Path, outside: Path) -> Path:
    (inside / "trap.mp4").symlink_to(outside / "film.mp4")
    return inside / "trap.mp4"


def _link_to_secret(inside: Path, outside: Path) -> Path:
    (inside / "trap.mp4").symlink_to("/etc/passwd")
    return inside / "trap.mp4"


def _link_to_environment(inside: Path, outside: Path) -> Path:
    (inside / "trap.mp4").symlink_to("/proc/self/environ")
    return inside / "trap.mp4"


def _link_to_folder(inside: Path, outside: Path) -> Path:
    (inside / "trap").symlink_to(outside)
    return inside / "trap" / "film.mp4"


def _link_to_link(inside: Path, outside: Path) -> Path:
    (inside / "trap").symlink_to("trap.mp4")
    return _link_to_file(inside, outside)


def _link_to_itself(inside: Path, outside: Path) -> Path:
    (inside / "trap.mp4").symlink_to("trap.mp4")
    return inside / "trap.mp4"


def _link_to_our_state(inside: Path, outside: Path) -> Path:
    (inside / "trap.mp4").symlink_to("openmoment/jobs.sqlite")
    return inside / "trap.mp4"


def _pipe(inside: Path, outside: Path) -> Path:
    os.mkfifo(inside / "trap.mp4")
    return inside / "trap.mp4"


def _folder(inside: Path, outside: Path) -> Path:
    (inside / "trap.mp4").mkdir()
    return inside / "trap.mp4"


def _device(inside: Path, outside: Path) -> Path:
    (inside / "trap.mp4").symlink_to("/dev/zero")
    return inside / "trap.mp4"


TRAPS = [
    *(_link_to_file, _link_to_secret, _link_to_environment, _link_to_folder, _link_to_link),
    *(_link_to_itself, _link_to_our_state, _pipe, _folder, _device),
]


def _spring(trap: Path) -> None:
    for path in (trap.parent / "trap", trap.parent.parent / "trap", trap):
        if path.is_symlink() or (path.exists() and not path.is_dir()):
            path.unlink()
        elif path.is_dir():
            path.rmdir()


def _everything(place: Place, video: str) -> Iterator[Answer]:
    """All that can be asked of a video."""
    edit = json.dumps({"revision": 0, "queries": [], "segments": []}).encode()
    job = json.dumps({"video": video, "queries": ["a"]}).encode()
    base = f"/api/videos/{video}"
    for target in ("", "/media", "/thumbnail", "/review", "/curves", "/export", "/statistics"):
        yield place.attempt("GET", base + target)
    yield place.attempt("PUT", f"{base}/review", edit)
    yield place.attempt("POST", f"{base}/playable")
    yield place.attempt("POST", f"{base}/import?name=x.csv", CSV)
    yield place.attempt("POST", "/api/jobs", job)


@pytest.mark.parametrize("set_up", TRAPS)
def test_a_trap_in_the_folder_is_no_video(
    place: Place, set_up: Callable[[Path, Path], Path]
) -> None:
    trap = set_up(place.inside, place.secret)
    try:
        listed = json.loads(place.attempt("GET", "/api/videos").body)["videos"]
        shown = [video for video in listed if "trap" in video["name"]]
        assert all(video["duration_s"] is None for video in shown)
        for answer in _everything(place, video_id(trap.relative_to(place.inside).as_posix())):
            assert answer.status in (404, 422) or shown
    finally:
        _spring(trap)


@pytest.mark.parametrize("set_up", TRAPS)
def test_a_trap_that_replaces_a_listed_video(
    place: Place, set_up: Callable[[Path, Path], Path]
) -> None:
    trap = set_up(place.inside, place.secret)
    relative = trap.relative_to(place.inside)
    _spring(trap)
    one_video(place.inside, relative.as_posix())
    place.attempt("GET", "/api/videos")
    assert place.attempt("GET", f"/api/videos/{video_id(relative.as_posix())}/media").status == 200
    trap.unlink()
    if trap.parent != place.inside:
        trap.parent.rmdir()
    try:
        set_up(place.inside, place.secret)
        for answer in _everything(place, video_id(relative.as_posix())):
            assert answer.status in (404, 422) or "state" in set_up.__name__
    finally:
        _spring(trap)


PLAYLISTS = {
    "HLS": "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3.0,\n{film}\n#EXT-X-ENDLIST\n",
    "HLS, of text": "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3.0,\n{secret}\n#EXT-X-ENDLIST\n",
    "HLS, variants": "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=100\nfile://{film}\n",
    "concat": "ffconcat version 1.0\nfile '../outside/film.mp4'\n",
    "concat, whole path": "ffconcat version 1.0\nfile '{film}'\n",
    "DASH": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static">'
    '<Period><AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1">'
    "<BaseURL>file://{film}</BaseURL></Representation></AdaptationSet></Period></MPD>",
    "ASX": "[Reference]\nRef1=file://{film}\n",
    "text": "{film}\n" * 40,
}
"""What libav may take for a list of other files."""


@pytest.mark.parametrize("ending", ["mp4", "ts", "wmv"])
@pytest.mark.parametrize("kind", PLAYLISTS)
def test_a_list_of_files_outside_is_no_video(place: Place, kind: str, ending: str) -> None:
    named = {
        name: place.secret / f"{name}.{end}" for name, end in [("film", "mp4"), ("secret", "txt")]
    }
    content = PLAYLISTS[kind].format(**named).encode()
    assert place.attempt("POST", f"/api/videos?name=list.{ending}", content).status == 422
    trap = place.inside / f"list.{ending}"
    trap.write_bytes(content)
    try:
        told = place.attempt("GET", f"/api/videos/{video_id(trap.name)}")
        assert json.loads(told.body)["duration_s"] is None
        _, *rest = _everything(place, video_id(trap.name))
        assert all(answer.status >= 400 for answer in rest), rest
    finally:
        trap.unlink()


@pytest.mark.parametrize("kind", ["reviews", "predictions"])
def test_a_file_of_ours_that_is_a_link_out(place: Place, kind: str) -> None:
    one_video(place.inside, "two.mp4")
    kept = place.inside / "openmoment" / kind / "two.mp4.json"
    kept.symlink_to(place.secret / "secret.json")
    try:
        answers = list(_everything(place, video_id("two.mp4")))
        if kind == "reviews":
            assert [a.status for a in answers[3:8]] == [404] * 5, answers
    finally:
        kept.unlink()
        (place.inside / "two.mp4").unlink()


@pytest.mark.parametrize("name", ["", "/reviews", "/predictions", "/uploads", "/jobs.sqlite"])
def test_a_state_that_leads_out_is_not_served(place: Place, tmp_path: Path, name: str) -> None:
    outside = tmp_path / "other"
    make_outside(outside)
    before = state_of(outside)
    folder = tmp_path / "served"
    link = folder / f"openmoment{name}"
    link.parent.mkdir(parents=True)
    link.symlink_to(outside / "secret.json" if "sqlite" in name else outside)
    with pytest.raises(OpenMomentError):
        create_app(folder).state.service.close()
    assert state_of(outside) == before


def test_a_journal_that_leads_out_is_not_written(place: Place, tmp_path: Path) -> None:
    outside = tmp_path / "other"
    make_outside(outside)
    before = state_of(outside)
    state = tmp_path / "served" / "openmoment"
    state.mkdir(parents=True)
    for _ in range(2):  # of a new file, and of one that exists
        for ending in ("journal", "wal", "shm"):
            link = state / f"jobs.sqlite-{ending}"
            link.unlink(missing_ok=True)
            link.symlink_to(outside / "secret.txt")
            with suppress(OpenMomentError):
                service = create_app(state.parent).state.service
                service.jobs.add("find", "0" * 16)
                service.close()
    assert state_of(outside) == before


def test_an_upload_does_not_follow_a_link_of_its_name(place: Place) -> None:
    (place.inside / "linked.mp4").symlink_to(place.secret / "new.mp4")
    try:
        answer = place.attempt("POST", "/api/videos?name=linked.mp4", place.film)
        assert json.loads(answer.body)["name"] == "linked (2).mp4"
    finally:
        (place.inside / "linked.mp4").unlink()
        (place.inside / "linked (2).mp4").unlink(missing_ok=True)
