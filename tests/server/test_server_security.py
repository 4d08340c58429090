"""Each rule of the guard, by itself."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from serving import ADDRESS, one_video, only_id, refusal, serving
from starlette.testclient import TestClient

from openmoment.server.service import security
from openmoment.server.service.security import Guard
from openmoment.server.service.settings import Settings
from openmoment.server.service.shared import Service

TOKEN = "s3cret; ünïque"


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    one_video(tmp_path)
    with serving(tmp_path, works=False) as client:
        yield client


# the host ------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost", "LOCALHOST:1", "[::1]:8080"])
def test_loopback_may_be_named(client: TestClient, host: str) -> None:
    assert client.get("/api/health", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8080", "192.168.1.9", "localhost.evil.example", "", "[", "a b"],
)
def test_other_hosts_are_refused(client: TestClient, host: str) -> None:
    for path in ("/", "/api/health", "/api/videos"):
        assert refusal(client.get(path, headers={"host": host}), 421)


@pytest.mark.parametrize(
    ("bound", "host", "is_own"),
    [
        ("films.lan", "films.lan:80", True),
        ("films.lan", "other.lan", False),
        ("192.168.1.9", "192.168.1.9:8080", True),
        ("192.168.1.9", "192.168.1.8", False),
        ("0.0.0.0", "192.168.1.9", True),
        ("0.0.0.0", "evil.example", False),
        ("0.0.0.0", socket.gethostname(), True),
        ("::", "[fe80::1]:8080", True),
    ],
)
def test_what_is_bound_may_be_named(bound: str, host: str, is_own: bool) -> None:
    async def nothing(scope: object, receive: object, send: object) -> None: ...

    assert Guard(nothing, host=bound, token="x")._is_own(host) is is_own


# other sites ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": "null"},
        {"origin": "http://["},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_other_sites_change_nothing(client: TestClient, headers: dict[str, str]) -> None:
    video = only_id(client)
    asked = {"video": video, "queries": ["x"]}
    for told in (
        client.post("/api/jobs", json=asked, headers=headers),
        client.post("/api/videos?name=a.mp4", content=b"x", headers=headers),
        client.put(f"/api/videos/{video}/review", json={}, headers=headers),
        client.post(f"/api/videos/{video}/import?name=a.csv", content=b"", headers=headers),
    ):
        assert refusal(told, 403) == "Requests from other sites are refused."
    assert client.get("/api/jobs").json() == {"jobs": []}


def test_other_sites_read_nothing(client: TestClient) -> None:
    cross = {"sec-fetch-site": "cross-site", "origin": "http://evil.example"}
    assert refusal(client.get("/api/videos", headers=cross), 403)
    told = client.get("/api/videos", headers={"origin": "http://evil.example"})
    assert not [name for name in told.headers if name.startswith("access-control")]
    asked = client.options("/api/jobs", headers={"origin": "http://evil.example"})
    assert asked.status_code in (403, 405)
    assert not [name for name in asked.headers if name.startswith("access-control")]
    assert client.get("/", headers={"sec-fetch-site": "cross-site"}).status_code != 403  # a link


def test_the_page_itself_may_do_all(client: TestClient) -> None:
    own = {"origin": ADDRESS, "sec-fetch-site": "same-origin"}
    asked = {"video": only_id(client), "queries": ["x"]}
    assert client.post("/api/jobs", json=asked, headers=own).status_code == 202


# the token -----------------------------------------------------------------------------


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[TestClient]:
    one_video(tmp_path)
    with serving(tmp_path, Settings(host="0.0.0.0", token=TOKEN), works=False) as client:
        yield client


@pytest.mark.parametrize("path", ["/", "/static/app.js", "/api/health", "/api/openapi.json"])
def test_nothing_is_told_without_the_token(guarded: TestClient, path: str) -> None:
    told = guarded.get(path)
    assert "asks for its token" in refusal(told, 401)
    assert told.headers["www-authenticate"] == "Bearer"
    for wrong in ("Bearer nonsense", "Bearer ", "Basic s3cret", "Bearer s3cret; ", "x"):
        assert refusal(guarded.get(path, headers={"authorization": wrong}), 401)
    assert refusal(guarded.get(path, params={"token": "nonsense"}), 401)
    assert refusal(guarded.get(path, headers={"cookie": "openmoment=x; openmoment-1=y"}), 401)


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_a_program_gives_the_token_in_a_header(guarded: TestClient, encoding: str) -> None:
    bearer = {"authorization": b"Bearer " + TOKEN.encode(encoding)}
    assert guarded.get("/api/health", headers=bearer).status_code == 200


def test_a_browser_gives_it_once_and_has_a_cookie_then(guarded: TestClient) -> None:
    told = guarded.get("/", params={"token": TOKEN, "a": "b c"}, follow_redirects=False)
    assert (told.status_code, told.headers["location"]) == (303, "/?a=b+c")
    cookie = told.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie and "s3cret" not in cookie
    assert guarded.get("/api/health").status_code == 200  # the cookie is in the jar
    guarded.cookies.clear()
    assert guarded.get("/api/health").status_code == 401
    away = guarded.get(f"{ADDRESS}//evil.example/", params={"token": TOKEN}, follow_redirects=False)
    assert away.headers["location"] == "/evil.example/"
    guarded.cookies.clear()
    posted = guarded.post("/api/jobs", params={"token": TOKEN}, json={})
    assert refusal(posted, 401)


# every answer --------------------------------------------------------------------------


def test_every_answer_has_the_strict_headers(client: TestClient) -> None:
    video = only_id(client)
    for told in (
        client.get("/"),
        client.get("/static/nothing.js"),
        client.get("/nothing"),
        client.get("/api/videos"),
        client.get("/api/nothing"),
        client.get(f"/api/videos/{video}/media"),
        client.get(f"/api/videos/{video}/media", headers={"range": "bytes=99999999-"}),
        client.get(f"/api/videos/{video}/thumbnail"),
        client.get(f"/api/videos/{video}/export"),
        client.post("/api/jobs", json={}),
        client.get("/", headers={"host": "evil.example"}),
    ):
        for name, value in security.HEADERS.items():
            assert told.headers[name] == value, told.url
        assert "server" not in told.headers
    assert "script-src 'self'" in security.POLICY and "unsafe" not in security.POLICY


def test_our_own_mistakes_are_one_line_with_the_headers(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(service: Service) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Service, "describe_all", fail)
    told = client.get("/api/videos")
    assert refusal(told, 500) == "The server made a mistake. Its log says more."
    assert told.headers["x-content-type-options"] == "nosniff"
    assert "ZeroDivisionError" in caplog.text


def test_the_description_is_there_and_the_pages_that_load_from_elsewhere_are_not(
    client: TestClient,
) -> None:
    paths = client.get("/api/openapi.json").json()["paths"]
    assert "/api/videos/{id}/media" in paths
    for path in ("/docs", "/redoc", "/api/docs", "/docs/oauth2-redirect"):
        assert refusal(client.get(path), 404)


# what is sent --------------------------------------------------------------------------


def test_large_bodies_are_refused(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(security, "MAX_BODY", 1000)
    video = only_id(client)

    def chunks() -> Iterator[bytes]:
        for _ in range(20):
            yield b" " * 100

    for path, send in (
        ("/api/jobs", client.post),
        (f"/api/videos/{video}/review", client.put),
        (f"/api/videos/{video}/import?name=a.csv", client.post),
        (f"/api/videos/{video}/ask", client.post),
    ):
        json_type = {"content-type": "application/json"}
        assert "MiB" in refusal(send(path, content=b" " * 2000, headers=json_type), 413)
        assert "MiB" in refusal(send(path, content=chunks(), headers=json_type), 413)


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2fapp.py",
        "/static//etc/passwd",
        "/static/%2fetc%2fpasswd",
        "/static/a%00b",
        "/api/videos/..%2f..%2fetc/media",
        "/api/videos/%2e%2e/media",
        "/api/videos/0000000000000000%00/media",
        "/api/videos/one.mp4/media",
        "/api/jobs/../../x",
    ],
)
def test_no_path_leads_anywhere(client: TestClient, path: str) -> None:
    told = client.get(httpx_path(path))
    assert 400 <= told.status_code < 500, told.text
    assert set(told.json()) == {"error"}


def httpx_path(path: str) -> str:
    """The address as it is, which the client would tidy up."""
    return f"{ADDRESS}{path}"


@given(
    path=st.sampled_from(
        ["jobs", "videos", "videos/{}/review", "videos/{}/import", "videos/{}/ask", "jobs/{}/again"]
        + ["videos/{}/playable", "jobs/{}/cancel", "videos/{}/curves", "videos/{}/thumbnail"]
        + ["videos/{}/export", "videos/{}/media", "events/x"]
    ),
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH"]),
    content=st.binary(max_size=200),
    query=st.text(max_size=30),
    kind=st.sampled_from(["application/json", "application/octet-stream", "text/plain", "x"]),
)
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_random_bytes_are_never_our_fault(
    client: TestClient, path: str, method: str, content: bytes, query: str, kind: str
) -> None:
    video = only_id(client)
    told = client.request(
        method,
        f"/api/{path.format(video)}",
        params={"name": query, "format": query, "at": query, "points": query},
        content=content,
        headers={"content-type": kind, "range": "bytes=5-2", "x-openmoment-name": "%ff%00"},
    )
    assert told.status_code < 500, told.text
    if told.status_code >= 400:
        assert set(told.json()) <= {"error", "position"}
