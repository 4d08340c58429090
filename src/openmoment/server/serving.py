"""Run the server of a folder until Ctrl-C."""

import errno
import ipaddress
import logging
import os
import socket
import webbrowser
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from secrets import token_urlsafe
from threading import Thread
from types import FrameType
from urllib.parse import quote

import uvicorn

from openmoment.errors import ConfigError
from openmoment.server.app import create_app
from openmoment.server.service.events import Events
from openmoment.server.service.folder import video_id
from openmoment.server.service.settings import LOOPBACK, Settings
from openmoment.storage.listing import VIDEO_SUFFIXES

_BACKLOG = 512
_GRACE_S = 3


@dataclass(frozen=True)
class Start:
    """How a server begins."""

    port: int
    opens_browser: bool
    say: Callable[[str], None]
    """Tells the person."""


def serve(place: Path, settings: Settings, start: Start) -> None:
    """Serve a folder, or that of a video, until Ctrl-C. Raises OpenMomentError."""
    if settings.token is not None and not settings.token.strip():
        raise ConfigError("--token: is empty. Leave it out, or give a secret.")
    if settings.token is None and not is_loopback(settings.host):
        settings = replace(settings, token=token_urlsafe(24))
    is_video = place.is_file() and place.suffix.lower() in VIDEO_SUFFIXES
    folder = place.absolute().parent if is_video else place
    with bind(settings.host, start.port) as listener:
        app = create_app(folder, settings)
        service = app.state.service
        url = address(settings, listener) + (f"#{video_id(place.name)}" if is_video else "")
        config = uvicorn.Config(
            app,
            log_level="warning",
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=_GRACE_S,
        )
        logging.getLogger("uvicorn.error").addFilter(_is_no_cancellation)
        server = Server(config, service.events)
        start.say(f"Serving {service.folder.root}")
        start.say(f"Open {url}")
        start.say("Ctrl-C ends it.")
        if start.opens_browser:
            Thread(target=webbrowser.open, args=(url,), daemon=True).start()
        Thread(target=service.catalogue.methods, daemon=True).start()  # ready before it is asked
        with suppress(KeyboardInterrupt):  # which the server has answered by ending well
            server.run(sockets=[listener])


class Server(uvicorn.Server):
    """Ends the streams of events when it is to end, so that nobody waits for them."""

    def __init__(self, config: uvicorn.Config, events: Events) -> None:
        super().__init__(config)
        self._events = events

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """On Ctrl-C or SIGTERM."""
        self._events.close()
        super().handle_exit(sig, frame)


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens there. Raises ConfigError where that cannot be."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sends at once (TCP_NODELAY) only where the protocol is stated; else answers wait 40 ms
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":  # elsewhere it would let two servers have one port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise ConfigError(
                f"--port: {port} is taken. Give another, or 0 for any that is free."
            ) from error
        raise ConfigError(f"--host, --port: {host}:{port}: {error.strerror or error}.") from error
    return listener


def address(settings: Settings, listener: socket.socket) -> str:
    """What to open, with the token where one is asked for."""
    port = listener.getsockname()[1]
    host = LOOPBACK if settings.host in ("0.0.0.0", "::", "") else settings.host
    shown = f"[{host}]" if ":" in host else host
    query = f"?token={quote(settings.token, safe='')}" if settings.token else ""
    return f"http://{shown}:{port}/{query}"


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that is bound there."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_no_cancellation(record: logging.LogRecord) -> bool:
    """Downloads that Ctrl-C cuts off are no news, nor is that a second one cuts the end short."""
    message = record.getMessage()
    is_cut_short = message.rstrip().endswith(("CancelledError", "KeyboardInterrupt"))
    return not (is_cut_short or "timeout graceful shutdown" in message)
