"""Pictures and sound for the page: byte ranges of a video, and thumbnails."""

import io
import re
from pathlib import Path
from typing import Literal

from starlette.responses import FileResponse
from starlette.types import Receive, Scope, Send

from openmoment.features.cache import Cache
from openmoment.server.service.answers import refusal
from openmoment.server.service.videos import Video

HEIGHTS = (24, 480)
"""Pixels that a thumbnail may be high."""
STEP_S = 0.1
"""Thumbnails are made at multiples of it, so that they are made once."""
_RANGE = re.compile(r"bytes=(?:([0-9]{1,18})-([0-9]{0,18})|-([0-9]{1,18}))")


class MediaResponse(FileResponse):
    """A file, whole or a range of it; a range that is not understood is passed over."""

    chunk_size = 256 * 1024

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = dict(scope["headers"]).get(b"range", b"").decode("latin-1").strip()
        size = Path(self.path).stat().st_size
        match _kind_of(asked, size):
            case "beyond":
                content_range = {"content-range": f"bytes */{size}"}
                answer = refusal(416, "The range lies beyond the end.", headers=content_range)
                return await answer(scope, receive, send)
            case "none":
                kept = [item for item in scope["headers"] if item[0] != b"range"]
                scope = {**scope, "headers": kept}
        return await super().__call__(scope, receive, send)


def _kind_of(asked: str, size: int) -> Literal["good", "beyond", "none"]:
    """What a Range header asks of a file of that size; "none" where it is to be passed over."""
    understood = _RANGE.fullmatch(asked)
    if understood is None:
        return "none"
    first, last, suffix = understood.groups()
    if first is None:
        return "good" if int(suffix) else "beyond"
    if last and int(last) < int(first):
        return "none"
    return "good" if int(first) < size else "beyond"


def media_type(path: Path) -> str:
    """How a browser is to take it; QuickTime is MP4's twin, which it would not try by its name."""
    return "video/webm" if path.suffix.lower() == ".webm" else "video/mp4"


def playable_path(cache: Cache, video: Video) -> Path:
    """Where the copy of a video is that a browser plays, present or not."""
    return cache.kept_path({"playable": 1, **video.stamp}, ".mp4")


def thumbnail(cache: Cache, video: Video, at_s: float, height: int) -> bytes:
    """The picture at a time as JPEG. Raises VideoError."""
    steps = round(at_s / STEP_S)
    height = min(max(height, HEIGHTS[0]), HEIGHTS[1])
    recipe = {"thumbnail": 1, **video.stamp, "steps": steps, "height": height}
    return cache.generated(recipe, lambda: _draw(video.path, steps * STEP_S, height))


def _draw(path: Path, at_s: float, height: int) -> bytes:
    from PIL import Image

    from openmoment.video import read_pictures

    (rgb,) = read_pictures(path, [at_s], short_side=height)
    picture = Image.fromarray(rgb)
    if picture.height != height:  # an upright video: its shorter side is its width
        picture = picture.resize((max(1, round(picture.width * height / picture.height)), height))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()
