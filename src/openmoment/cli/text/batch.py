"""What the verbs that work through many videos share."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from openmoment.cli.text.console import INPUT_FAULT, print_json, progress_bar, say

if TYPE_CHECKING:
    from openmoment.pipeline.extraction import Extracted

Hear = Callable[[Path, float, float], None]
"""Hears (video, seconds done, seconds in all)."""


def follow(start: Callable[[Hear], "Iterator[Extracted]"], num_videos: int) -> "list[Extracted]":
    """Run what ``start`` gives, with a bar, and say what became of each video."""
    done: list[Extracted] = []
    with progress_bar(f"{num_videos} videos") as advance:

        def hear(_: Path, done_s: float, all_s: float) -> None:
            if advance:
                advance(len(done) + (done_s / all_s if all_s else 0.0), num_videos)

        for item in start(hear):
            done.append(item)
            hear(item.video, 0.0, 0.0)
            if item.status != "present":
                say(_describe(item))
    return done


def conclude(done: "list[Extracted]", out: Path, product: str, head: dict[str, Any] | None) -> None:
    """Sum up; with ``head``, as one JSON object too. Exits with 2 when a video failed."""
    counts = Counter(item.status for item in done)
    parts = [f"{number} {status}" for status, number in counts.items()]
    say(f"{counts.total()} videos: {', '.join(parts)}. {product.capitalize()} are in {out}.")
    if head is not None:
        videos = [
            {
                "path": str(item.video),
                product: str(item.path),
                "status": item.status,
                "message": item.message,
            }
            for item in done
        ]
        print_json(head | {"counts": dict(counts), "videos": videos})
    if counts["failed"]:
        raise typer.Exit(INPUT_FAULT)


def _describe(item: "Extracted") -> str:
    if str(item.video) in item.message:
        return f"{item.status:<6}  {item.message}"
    return f"{item.status:<6}  {item.video}" + (f": {item.message}" if item.message else "")
