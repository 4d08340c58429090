"""Server-sent events: what has changed, to every page that listens."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from typing import Any

from openmoment.server.service.problems import RefusedError

HEARTBEAT_S = 15.0
MAX_LISTENERS = 200

Event = tuple[str, str, dict[str, Any]]
"""Its name, what it is about, its data."""


class _Listener:
    """What one page has still to hear: of each thing the latest alone, so it never piles up."""

    def __init__(self) -> None:
        self.waiting: dict[tuple[str, str], dict[str, Any]] = {}
        self.has_news = asyncio.Event()

    def tell(self, event: Event) -> None:
        name, about, data = event
        self.waiting[name, about] = data
        self.has_news.set()


class Events:
    """Told from any thread, heard in the event loop that `open` names."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._listeners: set[_Listener] = set()
        self._is_closed = False

    def open(self) -> None:
        """Begin, in the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._is_closed = False

    def close(self) -> None:
        """End all streams; may be called from any thread, or from a signal handler."""
        self._is_closed = True
        if self._loop:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._wake)

    def tell(self, name: str, about: str, data: dict[str, Any]) -> None:
        """Tell every page."""
        if self._loop:
            with suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._spread, (name, about, data))

    def listen(self, first: Iterable[Event] = ()) -> AsyncIterator[str]:
        """The events from now on, as text of ``text/event-stream``. Raises RefusedError (429)."""
        if len(self._listeners) >= MAX_LISTENERS:
            raise RefusedError(429, f"{MAX_LISTENERS} pages are listening already.")
        listener = _Listener()
        for event in first:
            listener.tell(event)
        self._listeners.add(listener)
        return self._stream(listener)

    async def _stream(self, listener: _Listener) -> AsyncIterator[str]:
        try:
            yield ": hello\nretry: 2000\n\n"
            while not self._is_closed:
                try:
                    await asyncio.wait_for(listener.has_news.wait(), HEARTBEAT_S)
                except TimeoutError:
                    yield ": still here\n\n"
                    continue
                listener.has_news.clear()
                news, listener.waiting = listener.waiting, {}
                for (name, _), data in news.items():
                    yield f"event: {name}\ndata: {json.dumps(data)}\n\n"
        finally:
            self._listeners.discard(listener)

    def _spread(self, event: Event) -> None:
        for listener in self._listeners:
            listener.tell(event)

    def _wake(self) -> None:
        for listener in self._listeners:
            listener.has_news.set()
