"""Datasets made at the same time, each in a process of its own that tells how far it is."""

from collections import deque
from collections.abc import Callable, Sequence
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from queue import Empty
from typing import Any, NamedTuple

from openmoment.bench.measure import keep_to_threads
from openmoment.bench.worker import end_with_parent
from openmoment.errors import OpenMomentError

_POLL_S = 0.2


class News(NamedTuple):
    """What a process says: a line, how far it is, or why it failed."""

    line: str = ""
    label: str = ""
    done: float = 0.0
    total: float = 0.0
    failure: str = ""


Make = Callable[..., None]
"""Called with an item, ``tell`` and ``advance``; has to be a function of a module."""


def make_apart(
    make: Make,
    items: Sequence[tuple[Any, ...]],
    *,
    num_jobs: int,
    threads: int,
    hear: Callable[[News], None],
) -> None:
    """Call ``make`` for each of the items, so many at a time, on so many threads each.

    When one fails, or the caller stops, the others are ended. Raises OpenMomentError.
    """
    context = get_context("spawn")
    news: Any = context.Queue()
    waiting, busy, failure = deque(items), list[BaseProcess](), ""
    try:
        while waiting or busy:
            while waiting and len(busy) < num_jobs:
                process = context.Process(
                    target=_work, args=(make, waiting.popleft(), threads, news)
                )
                process.start()
                busy.append(process)
            failure = _listen(news, hear) or failure
            for process in [process for process in busy if not process.is_alive()]:
                busy.remove(process)
                if process.exitcode:
                    told = failure or _listen(news, hear)
                    raise OpenMomentError(told or f"A process ended with {process.exitcode}.")
        _listen(news, hear)
    finally:
        for process in busy:
            process.terminate()
        for process in busy:
            process.join()


def _listen(news: Any, hear: Callable[[News], None]) -> str:
    """Pass on what there is; gives why one failed, if one did."""
    failure = ""
    try:
        while True:
            heard: News = news.get(timeout=_POLL_S)
            failure = failure or heard.failure
            if not heard.failure:
                hear(heard)
    except Empty:
        return failure


def _work(make: Make, item: tuple[Any, ...], threads: int, news: Any) -> None:
    """In a process of its own."""
    end_with_parent()
    keep_to_threads(threads)
    try:
        make(
            *item,
            lambda line: news.put(News(line=line)),
            lambda label: lambda done, total: news.put(News("", label, done, total)),
        )
    except OpenMomentError as error:
        news.put(News(failure=str(error)))
        raise SystemExit(1) from None
