"""The job "playable": a copy of a video that every browser plays."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from openmoment.server.work.worker import Tell
from openmoment.storage.atomic import leftovers


class Converter:
    """Converts one video after the other."""

    def __call__(self, task: Mapping[str, Any], tell: Tell) -> dict[str, Any]:
        """Write the copy that ``task`` names. Raises VideoError, OpenMomentError."""
        from openmoment.video.playable import make_playable

        def progress(done_s: float, all_s: float) -> None:
            tell(min(done_s / all_s, 1.0) if all_s else None, "converting the video")

        out = Path(task["out"])
        out.parent.mkdir(parents=True, exist_ok=True)
        for left in leftovers(out):  # of a worker that was killed
            with suppress(OSError):
                left.unlink()
        progress(0.0, 1.0)
        make_playable(Path(task["path"]), out, progress=progress)
        return {}
