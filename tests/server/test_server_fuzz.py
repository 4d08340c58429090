"""Whatever is sent, the server answers or refuses in one line; it never makes a mistake.

OPENMOMENT_FUZZ sets how many requests are made up for each operation.
"""

import gzip
import json
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from live_server import PATIENCE_S, Answer, Live, assert_well, live
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.python.asgi import ASGIClient
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from serving import ADDRESS, one_video, only_id, serving

from openmoment.export import FORMATS
from openmoment.server.routes import ROUTERS
from openmoment.server.service.events import MAX_LISTENERS
from openmoment.server.service.settings import Settings
from openmoment.server.service.shared import Service

EXAMPLES = int(os.environ.get("OPENMOMENT_FUZZ", "10"))
ENDLESS = "/events"
OPERATIONS = sorted(
    (method, route.path)
    for make_router in ROUTERS
    for route in make_router(object.__new__(Service)).routes  # only requests use the service
    for method in route.methods
)
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
    negative_data_rejection,
]
fuzzed = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
pytestmark = pytest.mark.filterwarnings(  # the server's threads do, in the same process
    "ignore:Do not use the `random` module:hypothesis.errors.HypothesisDeprecationWarning"
)
every_operation = pytest.mark.parametrize(
    ("method", "path"), OPERATIONS, ids=[" ".join(each) for each in OPERATIONS]
)

NUMBERS = [
    *("", "nan", "NaN", "inf", "-inf", "Infinity", "-1", "-0", "1e309", "-1e309", "1e-400", "0x10"),
    *("1_000", "9" * 5000, "0." + "0" * 5000 + "1", "\u0661\u0662", "1,5", " 1 ", "true", "[]"),
    *("1e6", "999999.999", "1e7"),
]
TEXTS = [
    *("\0", "a\0b", "\ud800", "\udcff", "\ufeff", "\u202e", "../../etc/passwd", "..\\..\\x", "CON"),
    *("{}", "<script>", "' OR 1=1 --", "%", "%00", "a" * 12_000, "\r\nx-evil: 1", "\x7f", "😀"),
]
BODIES = {
    "nothing": b"",
    "a NUL": b"\0",
    "no UTF-8": b"\xff\xfe\x80",
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "a BOM": b"\xef\xbb\xbf{}",
    "deep lists": b"[" * 200_000,
    "deep objects": b'{"queries":' * 100_000,
    "deep and whole": b"[" * 5000 + b"]" * 5000,
    "keys twice": b'{"revision": 0, "revision": "x", "queries": [], "queries": {}, "segments": []}',
    "lone surrogates": b'{"question": "\\ud800", "queries": ["\\ud800"], "video": "\\udfff"}',
    "NUL in text": b'{"question": "\\u0000", "queries": ["a\\u0000b"], "video": "\\u0000"}',
    "no numbers": b'{"revision": NaN, "queries": [Infinity], "segments": [-Infinity]}',
    "long numbers": b'{"revision": ' + b"9" * 6000 + b', "queries": [], "segments": []}',
    "null": b"null",
    "a number": b"1e400",
    "10 MB of words": b'{"queries": [' + b'"garbage",' * 1_000_000 + b'"x"], "video": 1}',
    "10 MB of noise": bytes(range(256)) * 40_000,
}
TYPES = ["application/json", "text/plain", "multipart/form-data", "a/b; charset=\xff", "/", ""]
RANGES = [
    *("bytes=0-", "bytes=-1", "bytes=-0", "bytes=5-2", "bytes=0-0,1-1", "bytes=0-9,5-7,5-7"),
    *("bytes=-", "bytes=--1", "bytes=a-b", "bytes=0-" + "9" * 40, "bytes=" + "9" * 18 + "-"),
    *("bytes=-" + "9" * 5000, "bytes=1_0-", "lines=0-1", "bytes = 0 - 1", "bytes=\xb2-", "=", ","),
    "bytes",
    "bytes=" + ",".join(f"{i}-" for i in range(2000)),
]
HEADS = [
    *(b"content-length: -1", b"content-length: 1\r\ncontent-length: 2", b"no colon", b"\x00: 1"),
    *(b"content-length: " + b"9" * 5000, b"transfer-encoding: gzip, chunked", b"host: evil"),
    *(b"expect: 100-continue\r\ncontent-length: 0", b"host:", b"upgrade: websocket", b": x"),
]
EDIT = {
    "queries": [{"query": "a wave", "threshold": 0.4, "occurs": None, "checked": True}],
    "segments": [
        {"id": "a1", "start_s": 0.5, "end_s": 1.0, "query": "a wave", "status": "accepted"},
        {"id": "b2", "start_s": 1.2, "end_s": 1.5, "query": "a wave", "status": "rejected"},
    ],
}
JSON = {"content_type": "application/json"}
UNFINISHED = [
    *(b"", b"content-length: 99\r\n\r\n", b"content-length: 99\r\n\r\n{", b"x: " + b"y" * 100_000),
    *(b"transfer-encoding: chunked\r\n\r\n", b"transfer-encoding: chunked\r\n\r\n" + b"f" * 5000),
    *(b"content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{", b"\r", b"a" * 70_000),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A server of one video, on a socket."""
    folder = tmp_path_factory.mktemp("served")
    one_video(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENMOMENT_CACHE", str(tmp_path_factory.mktemp("its_cache")))
        patch.setattr(
            "openmoment.server.service.catalogue._list_methods", lambda: None
        )  # takes seconds
        with live(folder) as running:
            yield running


@pytest.fixture(scope="module")
def video(server: Live) -> str:
    """The id of its video, of which a review with two segments exists."""
    (known,) = json.loads(server.ask("GET", "/api/videos").body)["videos"]
    _review(server, known["id"], {"revision": 0, **EDIT})
    return known["id"]


@pytest.fixture(autouse=True)
def no_mistake_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """What goes wrong behind an answer that has begun."""
    yield
    for when in ("setup", "call"):
        logged = [r for r in caplog.get_records(when) if r.levelno >= logging.ERROR]
        assert not logged, [record.getMessage() for record in logged]


def _review(server: Live, video: str, edit: Any) -> Answer:
    return server.ask("PUT", f"/api/videos/{video}/review", json.dumps(edit).encode(), **JSON)


def _set_back(server: Live, video: str) -> None:
    """Make its review hold the two segments alone; a job of before may end meanwhile."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        told = json.loads(server.ask("GET", f"/api/videos/{video}/review").body)
        answer = _review(server, video, {"revision": told["revision"], **EDIT})
        if answer.status != 409:
            break
    assert answer.status == 200, answer


def _targets(path: str, video: str) -> list[str]:
    """The operation on what exists, and on what does not."""
    return [f"/api{path.format(id=id)}" for id in dict.fromkeys((video, "0" * 16))]


# requests made up from the schema ---------------------------------------------------------


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, str]]:
    """The schema of an application that is called in this process, and the id of its video."""
    folder = tmp_path_factory.mktemp("described")
    one_video(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENMOMENT_CACHE", str(tmp_path_factory.mktemp("another_cache")))
        patch.setattr("openmoment.server.service.catalogue._list_methods", lambda: None)
        with serving(folder, works=False) as client:
            schema = schemathesis.openapi.from_dict(client.get("/api/openapi.json").json())
            schema.app = client.app
            yield schema, only_id(client)


@pytest.mark.parametrize("mode", GenerationMode)
@every_operation
def test_generated_requests(
    described: tuple[Any, str], method: str, path: str, mode: GenerationMode
) -> None:
    if path == ENDLESS:
        pytest.skip("never ends")
    schema, known = described
    operation = schema[f"/api{path}"][method]
    client = ASGIClient(schema.app, ADDRESS)
    ids = [None, known] if "{id}" in path else [None]
    for each in ids:
        cases = operation.as_strategy(mode, path_parameters=each and {"id": each})

        @fuzzed
        @given(cases)
        def all_is_well(case: schemathesis.Case) -> None:
            response = case.call(session=client, base_url=ADDRESS)
            case.validate_response(response, checks=CHECKS)
            if response.status_code >= 400:
                assert set(response.json()) <= {"error", "position"}

        try:
            all_is_well()
        except Unsatisfiable:
            assert mode is GenerationMode.NEGATIVE  # nothing in it can be wrong


# requests that no schema would make up ----------------------------------------------------


@every_operation
def test_random_bodies(server: Live, video: str, method: str, path: str) -> None:
    @fuzzed
    @given(st.binary(max_size=300), st.sampled_from(TYPES), st.sampled_from(["", "?name=a.mp4"]))
    def all_is_well(body: bytes, kind: str, query: str) -> None:
        for target in _targets(path, video):
            _assert_refused_or_done(server, method, target + query, body, kind)

    all_is_well()


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_odd_bodies(server: Live, video: str, body: bytes) -> None:
    for method, path in OPERATIONS:
        if method != "GET" or len(body) < 1000:
            target = f"/api{path.format(id=video)}?name=a.mp4"
            _assert_refused_or_done(server, method, target, body, TYPES[0])


def _assert_refused_or_done(server: Live, method: str, target: str, body: bytes, kind: str) -> None:
    if ENDLESS in target:
        server.hear(server.opening(method, target), b"\r\n", body)
        return
    answer = server.ask(method, target, body, content_type=kind)
    assert_well(answer, server.folder)
    if method in ("POST", "PUT") and b"question" not in body:
        plain = target.partition("?")[0]
        accepts_any = plain.rpartition("/")[2] in ("playable", "cancel", "again")
        assert answer.status >= 400 or accepts_any, answer


@every_operation
def test_odd_queries(server: Live, video: str, method: str, path: str) -> None:
    operation = server.app.openapi()["paths"][f"/api{path}"][method.lower()]
    names = [p["name"] for p in operation.get("parameters", ()) if p["in"] == "query"]
    odd = [quote(text, safe="", errors="surrogatepass") for text in (*NUMBERS, *TEXTS)]
    queries = [f"{name}={value}" for name in names for value in odd]
    queries += ["%", "%zz=%zz", "=", "&&&", "a" * 15_000, "%ff=%ff", "at[]=1&at=2&at=nan"]
    for query in queries:
        target = f"/api{path.format(id=video)}?{query}"
        if path != ENDLESS:
            assert_well(server.ask(method, target), server.folder)


@every_operation
def test_odd_ids(server: Live, method: str, path: str) -> None:
    for value in (*TEXTS, "0" * 15, "A" * 16, "0" * 17, "..", "%2e%2e", "%", "\u0660" * 16):
        odd = quote(value, safe="", errors="surrogatepass")
        if "{id}" in path:
            answer = server.ask(method, f"/api{path.format(id=odd)}?name=a.mp4")
            assert_well(answer, server.folder)
            assert answer.status >= 400


@pytest.mark.parametrize("header", ["range", "if-range", "x-openmoment-name", "accept", "cookie"])
def test_odd_headers(server: Live, video: str, header: str) -> None:
    odd = [*RANGES, *(t.encode(errors="replace").decode("latin-1") for t in TEXTS), "\xff" * 100]
    for value in odd:
        for target in (f"/api/videos/{video}/media", f"/api/videos/{video}/review"):
            line = f"{header}: {value}\r\n".encode("latin-1", "replace")
            answer = server.send(server.opening("GET", target), line, b"\r\n")
            assert_well(answer, server.folder)
            assert "x-evil" not in answer.headers


def test_odd_tokens_open_nothing(tmp_path: Path) -> None:
    odd = ["", "\0", "Bearer", "Bearer ", "Bearer \xff", "Basic OnNlY3JldA==", "a=b; a=\xff", "=;="]
    odd += ["openmoment-" + "0" * 8 + "=x", "Bearer " + "a" * 12_000, "\xff" * 100, "bearer secre"]
    with live(tmp_path, Settings(token="secret")) as guarded:
        for value in odd:
            for header in ("authorization", "cookie", "x-openmoment-name"):
                line = f"{header}: {value}\r\n".encode("latin-1")
                answer = guarded.send(guarded.opening("GET", "/api/health"), line, b"\r\n")
                assert_well(answer, tmp_path)
                assert answer.status in (400, 401), answer
            for query in (f"token={quote(value, safe='')}", quote(value, safe="=&")):
                answer = guarded.ask("GET", f"/api/health?{query}")
                assert_well(answer, tmp_path)
                assert answer.status == 401, answer
        assert guarded.ask("POST", "/api/jobs?token=secret").status == 401
        assert guarded.ask("GET", "/api/health", authorization="Bearer secret").status == 200


@pytest.mark.parametrize("asked", RANGES)
def test_a_range_is_a_part_of_the_file_or_refused(server: Live, video: str, asked: str) -> None:
    whole = (server.folder / "one.mp4").read_bytes()
    answer = server.ask("GET", f"/api/videos/{video}/media", range=asked)
    assert_well(answer, server.folder)
    assert answer.status in (200, 206, 416)
    if answer.status == 200:
        assert answer.body == whole
    elif answer.status == 206:
        first, last = answer.headers["content-range"].split(" ")[1].split("/")[0].split("-")
        assert answer.body == whole[int(first) : int(last) + 1]


@every_operation
def test_every_other_method_is_refused(server: Live, video: str, method: str, path: str) -> None:
    known = {m for m, p in OPERATIONS if p == path}
    for other in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "\xff"):
        if other not in known:
            answer = server.ask(other, f"/api{path.format(id=video)}")
            assert_well(answer, server.folder)
            assert answer.status in (400, 405)
            assert not [h for h in answer.headers if h.startswith("access-control")]


# requests that are nearly right -------------------------------------------------------------

odd_values = st.one_of(
    st.sampled_from([None, True, -1, 0, 2**63, 10**400, 1e308, -0.0, "", [], {}, "a" * 2000]),
    st.sampled_from([float("nan"), float("inf"), -float("inf"), *TEXTS, [[[[]]]], {"": {"": ""}}]),
    st.recursive(st.text(max_size=5), lambda inner: st.lists(inner, max_size=3), max_leaves=4),
)


@st.composite
def damaged(draw: st.DrawFn, document: Any) -> Any:
    """The document with one of its values replaced, left out, or repeated."""
    if not isinstance(document, (dict, list)) or not document or draw(st.integers(0, 3)) == 0:
        return draw(odd_values)
    keys = list(document) if isinstance(document, dict) else range(len(document))
    key = draw(st.sampled_from(keys))
    changed = document.copy()
    match draw(st.sampled_from(["deeper", "deeper", "deeper", "without", "twice"])):
        case "deeper":
            changed[key] = draw(damaged(document[key]))
        case "without":
            del changed[key]
        case "twice" if isinstance(document, list):
            changed.append(document[key])
    return changed


def test_nearly_right_edits(server: Live, video: str) -> None:
    @settings(fuzzed, max_examples=8 * EXAMPLES)
    @given(damaged(EDIT))
    def all_is_well(edit: Any) -> None:
        revision = json.loads(server.ask("GET", f"/api/videos/{video}/review").body)["revision"]
        if isinstance(edit, dict):
            edit = {"revision": revision} | edit
        answer = _review(server, video, edit)
        assert_well(answer, server.folder)
        for target in ("review?log=true", "curves", "statistics", "export?format=csv"):
            assert server.ask("GET", f"/api/videos/{video}/{target}").status == 200

    all_is_well()


def test_nearly_right_jobs_and_questions(server: Live, video: str) -> None:
    job = {"video": video, "queries": ["a wave", "a dog"], "backbone": "auto", "method": None}

    @settings(fuzzed, max_examples=8 * EXAMPLES)
    @given(damaged(job), damaged({"question": '"a wave" then "a wave" within 10 s'}))
    def all_is_well(job: Any, question: Any) -> None:
        for target, sent in (("jobs", job), (f"videos/{video}/ask", question)):
            answer = server.ask("POST", f"/api/{target}", json.dumps(sent).encode(), **JSON)
            assert_well(answer, server.folder)
        assert server.ask("GET", "/api/jobs").status == 200

    all_is_well()


@pytest.mark.parametrize("name", FORMATS)
def test_damaged_files_of_other_tools(server: Live, video: str, name: str) -> None:
    _set_back(server, video)
    exported = server.ask("GET", f"/api/videos/{video}/export?format={name}")
    assert exported.status == 200, exported
    target = f"/api/videos/{video}/import?name=x{FORMATS[name].extension}&format={name}"
    whole = exported.body

    @settings(fuzzed, max_examples=2 * EXAMPLES)
    @given(st.integers(0, len(whole)), st.integers(0, 20), st.binary(max_size=20), st.booleans())
    def all_is_well(at: int, size: int, noise: bytes, is_text: bool) -> None:
        noise = noise.hex().encode() if is_text else noise
        sent = whole[:at] + noise + whole[at + size :]
        assert_well(server.ask("POST", target, sent), server.folder)

    all_is_well()


@pytest.mark.parametrize("name", FORMATS)
def test_what_would_unpack_to_more_than_the_memory_holds(
    server: Live, video: str, name: str
) -> None:
    target = f"/api/videos/{video}/import?name=x{FORMATS[name].extension}.GZ&format={name}"
    answer = server.ask("POST", target, gzip.compress(b"\n" * 1000))
    assert_well(answer, server.folder)
    assert answer.status == 422 and b"Unpack" in answer.body


def test_pictures_beyond_the_end_are_one(server: Live, video: str) -> None:
    cache = server.app.state.service.cache
    path = f"/api/videos/{video}/thumbnail?at="
    assert server.ask("GET", f"{path}1000").status == 200
    size = cache.size_bytes()
    for at_s in (1001, 5000.5, 999_999.9):
        assert server.ask("GET", f"{path}{at_s}").status == 200
    assert cache.size_bytes() == size


# connections that misbehave -----------------------------------------------------------------


def test_a_body_in_pieces_without_a_length(server: Live, video: str) -> None:
    head = server.opening("PUT", f"/api/videos/{video}/review")
    head += b"content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    for pieces in (
        b"2\r\n{}\r\n0\r\n\r\n",
        b"0\r\n\r\n",
        b"zz\r\n",
        b"-1\r\n\r\n",
        b"f" * 50 + b"\r\n",
    ):
        answer = server.send(head, pieces)
        assert_well(answer, server.folder)
        assert answer.status >= 400


@pytest.mark.parametrize("line", HEADS)
def test_a_head_that_is_none(server: Live, line: bytes) -> None:
    answer = server.send(server.opening("POST", "/api/jobs"), line, b"\r\n\r\n")
    assert_well(answer, server.folder)
    assert answer.status >= 400


def test_those_who_leave_at_once_keep_no_place(server: Live, video: str) -> None:
    for _ in range(MAX_LISTENERS + 10):
        server.hear(server.opening("GET", "/api/events"), b"\r\n")
    listening = server.hear(server.opening("GET", "/api/events"), b"\r\n")
    assert listening.startswith(b"HTTP/1.1 200")
    for target in (f"/api/videos/{video}/media", f"/api/videos/{video}/thumbnail"):
        server.leave(server.opening("GET", target), b"\r\n")


@every_operation
def test_requests_that_stay_unfinished(server: Live, video: str, method: str, path: str) -> None:
    for lines in UNFINISHED:
        target = f"/api{path.format(id=video)}?name=a.mp4"
        server.leave(server.opening(method, target), lines)
    assert server.ask("GET", "/api/health").status == 200
    until = time.monotonic() + PATIENCE_S
    while list((server.folder / "openmoment" / "uploads").iterdir()):
        assert time.monotonic() < until
        time.sleep(0.02)
