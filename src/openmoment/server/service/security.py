"""Who may ask: the guard around the application, and the headers of every answer.

- The ``Host`` has to be loopback or what the server is bound to, so that no foreign name can be
  made to lead here (DNS rebinding).
- What another site's page sends is refused (cross-site request forgery); nothing allows another
  origin to read an answer.
- With a token, every request has to know it.
"""

import hashlib
import hmac
import ipaddress
import logging
import socket
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlencode, urlsplit

from fastapi import HTTPException
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from openmoment.server.service.answers import refusal

POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; style-src 'self'; "
    "script-src 'self'; object-src 'none'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}
MAX_BODY = 32 * 2**20
"""Bytes of a body, but for uploads."""
_TOO_LARGE = f"The body is over {MAX_BODY // 2**20} MiB."
_SAFE = ("GET", "HEAD", "OPTIONS")
_OWN = ("same-origin", "none")  # what Sec-Fetch-Site says of our page, and of the address bar
_ANY = ("0.0.0.0", "::")

_log = logging.getLogger(__name__)


class Guard:
    """The middleware around everything."""

    def __init__(self, app: ASGIApp, *, host: str, token: str | None) -> None:
        self.app, self.host, self.token = app, host, token
        self._cookie = "openmoment-" + _digest(token or "", "name")[:8]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        headers = Headers(scope=scope)
        has_begun = False

        async def hardened(message: Message) -> None:
            nonlocal has_begun
            if message["type"] == "http.response.start":
                has_begun = True
                _harden(message, scope["path"])
            await send(message)

        refused = self._refuse(scope, headers)
        if refused is not None:
            return await refused(scope, receive, hardened)
        try:
            await self.app(scope, _bounded(scope, headers, receive), hardened)
        except Exception:
            if has_begun:
                raise
            _log.exception("%s %s", scope["method"], scope["path"])
            answer = refusal(500, "The server made a mistake. Its log says more.")
            await answer(scope, receive, hardened)
        return None

    def _refuse(self, scope: Scope, headers: Headers) -> Response | None:
        """Why the request goes no further; None if it does."""
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._is_own(hosts[0]):
            return refusal(421, "The Host header does not name this server.")
        if _is_foreign(scope, headers):
            return refusal(403, "Requests from other sites are refused.")
        return self._ask_token(scope, headers)

    def _is_own(self, host: str) -> bool:
        """Whether a Host header names this machine as it was bound."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name == "localhost" or name == self.host.lower().strip("[]"):
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return self.host in _ANY and name in (socket.gethostname().lower(), socket.getfqdn())
        return address.is_loopback or self.host in _ANY  # an address cannot be rebound

    def _ask_token(self, scope: Scope, headers: Headers) -> Response | None:
        if self.token is None:
            return None
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and _same(_utf8(given.strip()), self.token):
            return None
        if _same(_cookies(headers).get(self._cookie, ""), _digest(self.token, "cookie")):
            return None
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        if scope["method"] == "GET" and _same(dict(query).get("token", ""), self.token):
            return self._welcome(scope["path"], [item for item in query if item[0] != "token"])
        return refusal(
            401,
            "This server asks for its token: open the address that it printed.",
            headers={"www-authenticate": "Bearer"},
        )

    def _welcome(self, path: str, query: list[tuple[str, str]]) -> Response:
        """Let a browser in: a cookie, and the same address without the token."""
        where = "/" + path.lstrip("/\\")  # "//name" would lead to another server
        answer = RedirectResponse(where + ("?" + urlencode(query) if query else ""), 303)
        value = _digest(self.token or "", "cookie")
        answer.set_cookie(self._cookie, value, httponly=True, samesite="strict", path="/")
        return answer


def _is_foreign(scope: Scope, headers: Headers) -> bool:
    """Whether a page of another origin asks: for our data, or for a change."""
    is_safe = scope["method"] in _SAFE
    if is_safe and not scope["path"].startswith("/api"):
        return False  # a link to the page
    if headers.get("sec-fetch-site", "none") not in _OWN:
        return True
    origin = headers.get("origin")
    if origin is None or is_safe:
        return False
    try:
        return urlsplit(origin).netloc.lower() != headers["host"].lower()
    except ValueError:
        return True


def _bounded(scope: Scope, headers: Headers, receive: Receive) -> Receive:
    """``receive`` that stops a body which is too large; uploads have a bound of their own."""
    if scope["method"] == "POST" and scope["path"] == "/api/videos":
        return receive
    got = 0
    stated = headers.get("content-length", "")

    async def bounded() -> Message:
        nonlocal got
        if stated.isdecimal() and len(stated) < 19 and int(stated) > MAX_BODY:
            raise HTTPException(413, _TOO_LARGE)
        message = await receive()
        got += len(message.get("body", b""))
        if got > MAX_BODY:
            raise HTTPException(413, _TOO_LARGE)
        return message

    return bounded


def _harden(message: Message, path: str) -> None:
    headers = MutableHeaders(scope=message)
    for name, value in HEADERS.items():
        headers[name] = value
    if path.startswith("/api"):
        headers.setdefault("cache-control", "no-store")
    else:
        headers.setdefault("cache-control", "no-cache")


def _cookies(headers: Headers) -> Mapping[str, str]:
    try:
        return {name: morsel.value for name, morsel in SimpleCookie(headers.get("cookie")).items()}
    except CookieError:
        return {}


def _digest(token: str, purpose: str) -> str:
    return hashlib.sha256(f"openmoment {purpose} {token}".encode()).hexdigest()


def _utf8(header: str) -> str:
    """A header as it was sent, in UTF-8 or, as the standard has it, in Latin-1."""
    try:
        return header.encode("latin-1").decode()
    except UnicodeError:
        return header


def _same(given: str, known: str) -> bool:
    """In a time that tells nothing of how much is right."""
    return hmac.compare_digest(given.encode(errors="replace"), known.encode(errors="replace"))
