"""Providers that speak OpenAI's protocol, against a small server on this machine."""

import base64
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from commands import refusal, run
from test_priors import picture

from openmoment.errors import ConfigError, MissingExtraError, ProviderError
from openmoment.priors import read_priors
from openmoment.priors.access import Access
from openmoment.priors.openai import to_sentences
from openmoment.priors.providers import load_image_provider, load_text_provider

pytest.importorskip("openai")
KEY = "sk-test-0123456789"
SENTENCES = '1. A man runs up.\n2) "He bends the pole."\n- He flies over the bar.\n\n* He lands.'

Reply = tuple[int, dict[str, str], bytes]


class Server(ThreadingHTTPServer):
    """Answers with the scripted replies first, and then properly; keeps what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: list[Reply | float] = []
        self.asked: list[tuple[str, dict[str, Any], str, float]] = []
        self.refuse = ""
        """A word: prompts with it are refused."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def reply(self, path: str, body: dict[str, Any]) -> Reply:
        if self.refuse and self.refuse in json.dumps(body):
            return problem(400, "Your request was rejected.", code="content_policy_violation")
        if path.endswith("/images/generations"):
            content = base64.b64encode(picture()).decode()
            return said({"created": 1, "data": [{"b64_json": content}]})
        message = {"role": "assistant", "content": SENTENCES}
        return said(completion({"index": 0, "finish_reason": "stop", "message": message}))


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, body, self.headers["Authorization"], time.monotonic()))
        step = self.server.script.pop(0) if self.server.script else None
        if isinstance(step, float):
            time.sleep(step)
            step = None
        status, headers, content = step or self.server.reply(self.path, body)
        try:
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
        except ConnectionError:
            pass  # the client had waited long enough

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


def said(document: object) -> Reply:
    return 200, {}, json.dumps(document).encode()


def completion(*choices: dict[str, Any]) -> dict[str, Any]:
    head = {"id": "c", "object": "chat.completion", "created": 1, "model": "m"}
    return head | {"choices": list(choices)}


def problem(status: int, message: str, *, code: str = "", **headers: str) -> Reply:
    content = {"error": {"message": message, "type": "invalid_request_error", "code": code}}
    return status, headers, json.dumps(content).encode()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    made = Server()
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


def texts(server: Server, **access: Any) -> Any:
    return load_text_provider("openai:m", Access(server.url, **({"timeout_s": 5.0} | access)))


# what works --------------------------------------------------------------------------------------


def test_sentences_are_asked_for_and_tidied(server: Server) -> None:
    found = texts(server).write("PoleVault", 4, seed=3)
    assert found == ["A man runs up.", "He bends the pole.", "He flies over the bar.", "He lands."]
    ((path, body, authorization, _),) = server.asked
    assert path == "/v1/chat/completions"
    assert (body["model"], body["seed"]) == ("m", 3)
    assert "Pole Vault" in body["messages"][0]["content"]
    assert authorization == f"Bearer {KEY}"


@pytest.mark.parametrize(("model", "has_form"), [("dall-e-3", True), ("gpt-image-1", False)])
def test_a_picture_is_drawn(model: str, has_form: bool, server: Server) -> None:
    provider = load_image_provider(f"openai:{model}", Access(server.url))
    assert provider.draw("pole vault", 0, seed=0) == picture()
    ((path, body, _, _),) = server.asked
    assert path == "/v1/images/generations"
    assert ("response_format" in body) == has_form
    assert not provider.takes_seed


def test_a_server_that_asks_to_wait_is_given_the_time(server: Server) -> None:
    server.script = [problem(429, "slow down", **{"Retry-After": "0.6"})]
    assert len(texts(server).write("a", 4, seed=0)) == 4
    first, second = (moment for *_, moment in server.asked)
    assert second - first >= 0.6


def test_a_server_that_stumbles_is_asked_again(server: Server) -> None:
    server.script = [(503, {"Retry-After": "0.01"}, b"busy")]
    assert len(texts(server).write("a", 4, seed=0)) == 4
    assert len(server.asked) == 2


def test_a_server_of_ones_own_needs_no_key(server: Server, monkeypatch: Any) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.setenv("OPENAI_BASE_URL", server.url + "/")
    assert load_text_provider("openai:m").write("a", 2, seed=0)
    monkeypatch.delenv("OPENAI_BASE_URL")
    with pytest.raises(ConfigError, match="Set OPENAI_API_KEY, or OPENAI_BASE_URL"):
        load_text_provider("openai:m")


# what goes wrong ---------------------------------------------------------------------------------

QUICK = {"Retry-After": "0.01"}


@pytest.mark.parametrize(
    ("reply", "error", "message"),
    [
        (problem(401, f"Incorrect API key: {KEY}"), ConfigError, r"take the key \(401\).*Set OPEN"),
        (problem(403, "not allowed"), ConfigError, r"does not take the key \(403\)"),
        (problem(404, "no model m"), ConfigError, r"no such model or path: 'm' \(no model m\)"),
        (problem(429, "busy", **QUICK), ProviderError, "asks to wait after 0 retries.*later"),
        (problem(429, "x", code="insufficient_quota"), ConfigError, "quota is used up"),
        (
            problem(400, "Unsafe.", code="content_policy_violation"),
            ProviderError,
            r"m refused the prompt \(Unsafe\)\. Name it otherwise, or write",
        ),
        (problem(400, "seed: no"), ProviderError, r"answered 400 \(seed: no\)"),
        (problem(500, f"echo {KEY}", **QUICK), ProviderError, r"answered 500 \(echo \*\*\*\)"),
        ((500, QUICK, b"<html>oops</html>"), ProviderError, r"answered 500 \(no reason given\)"),
        ((200, {}, b'{"choices": [{'), ProviderError, "not JSON.*OpenAI's protocol"),
        ((200, {"Content-Type": "text/html"}, b"<html>"), ProviderError, "OpenAI's protocol"),
        (said({"hello": 1}), ProviderError, "an answer without choices"),
        (said([1]), ProviderError, "OpenAI's protocol"),
        (said(completion()), ProviderError, "an answer without choices"),
        (
            said(completion({"index": 0, "finish_reason": "content_filter",
                             "message": {"role": "assistant", "content": None}})),
            ProviderError,
            r"m refused the prompt\. Name",
        ),
        (
            said(completion({"index": 0, "finish_reason": "stop",
                             "message": {"role": "assistant", "refusal": "I cannot."}})),
            ProviderError,
            r"refused the prompt \(I cannot\)",
        ),
        (
            said(completion({"index": 0, "finish_reason": "stop",
                             "message": {"role": "assistant", "content": "One. Two."}})),
            ProviderError,
            "wrote 1 of 4 sentences",
        ),
    ],
)  # fmt: skip
def test_each_mistake_is_one_line_with_the_label(
    reply: Reply, error: type[Exception], message: str, server: Server
) -> None:
    server.script = [reply]
    with pytest.raises(error, match=message) as caught:
        texts(server, max_retries=0).write("pole vault", 4, seed=0)
    line = str(caught.value)
    assert line.startswith("pole vault: ")
    assert "\n" not in line
    assert KEY not in line


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (said({"created": 1, "data": []}), "no picture as b64_json"),
        (said({"created": 1, "data": [{"url": "http://x/y.png"}]}), "no picture as b64_json"),
        (said({"created": 1, "data": [{"b64_json": "§§"}]}), "not base64"),
        (problem(400, "Blocked", code="moderation_blocked"), "refused the prompt"),
    ],
)
def test_pictures_that_do_not_come(reply: Reply, message: str, server: Server) -> None:
    server.script = [reply]
    provider = load_image_provider("openai:m", Access(server.url, max_retries=0))
    with pytest.raises(ProviderError, match=f"^pole vault: .*{message}"):
        provider.draw("pole vault", 0, seed=0)


def test_an_answer_that_does_not_come(server: Server) -> None:
    server.script = [1.0]
    with pytest.raises(ProviderError, match=r"^a: .* no answer in 0\.2 s.*--timeout"):
        texts(server, timeout_s=0.2, max_retries=0).write("a", 4, seed=0)


def test_an_address_where_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    for url, message in (
        ("http://me:secret@127.0.0.1:9/v1?key=secret", r"127\.0\.0\.1:9/v1 cannot be reached"),
        ("localhost", "expected an address such as https"),
    ):
        provider = load_text_provider("openai:m", Access(url, max_retries=0))
        with pytest.raises(ConfigError, match=message) as caught:
            provider.write("a", 4, seed=0)
        assert "secret" not in str(caught.value)


def test_the_client_is_an_extra(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    provider = texts(server)
    monkeypatch.setitem(__import__("sys").modules, "openai", None)
    with pytest.raises(MissingExtraError, match=r"openmoment\[priors\]"):
        provider.write("a", 4, seed=0)


@pytest.mark.parametrize(
    ("answer", "sentences"),
    [
        ("Here are 2 sentences:\n\n1. One.\n2. Two.\n3. Three.", ["One.", "Two."]),
        ("<think>\nhm. 3.\n</think>\n• One\n•  Two  more", ["One", "Two more"]),
        ("“One.”\r\n'Two.'", ["One.", "Two."]),
        ("2 men run.\n3.5 metres high.", ["2 men run.", "3.5 metres high."]),
    ],
)
def test_what_models_put_around_sentences_goes(answer: str, sentences: list[str]) -> None:
    assert to_sentences(answer, 2, "x") == sentences


# the command -------------------------------------------------------------------------------------


def test_a_run_is_resumed_costs_once_and_keeps_no_key(server: Server, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("pole vault\nhammer throw\nhigh jump\n")
    out = tmp_path / "priors"
    args = ["priors", "make", "--names", names, "--out", out, "--texts", "openai:m"]
    args += ["--images", "openai:i", "-k", 2, "--base-url", server.url]
    server.refuse = "hammer"
    result = run(*args)
    assert result.exit_code == 2
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert lines[0] == "made    pole vault: 2 texts, 2 images"
    assert lines[1].startswith("failed  hammer throw: m refused the prompt")
    assert lines[3].startswith("3 labels: 2 made, 1 failed.")
    server.refuse, server.asked = "", []
    assert run(*args).exit_code == 0
    assert len(server.asked) == 3  # of the label that was missing
    assert len(read_priors(out)) == 3
    elsewhere = [tmp_path / "again" if arg == out else arg for arg in args]
    assert run(*elsewhere).exit_code == 0
    assert len(server.asked) == 3  # all from the cache
    for path in (p for p in tmp_path.rglob("*") if p.is_file()):
        assert KEY.encode() not in path.read_bytes()
    assert KEY not in result.stderr


def test_a_wrong_key_stops_the_run_in_one_line(server: Server, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("pole vault\nhigh jump\n")
    server.script = [problem(401, f"Incorrect API key: {KEY}")]
    line = refusal(
        "priors", "make", "--names", names, "--out", tmp_path / "p", "--texts", "openai:m",
        "--base-url", server.url,
    )  # fmt: skip
    assert "pole vault" in line
    assert KEY not in line
    assert len(server.asked) == 1
