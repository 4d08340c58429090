"""What all formats share: the pair of functions, rows to Detections, checks of what is read."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from openmoment.detections import Detections as Held
from openmoment.errors import FormatError
from openmoment.types import Detections, Origin

Found = Detections | Mapping[str, Detections]
"""The detections of one video, or of several by path or id."""

Read = dict[str, Held]
"""What a file holds, by video."""


@dataclass(frozen=True)
class Format:
    """How one format is written and read, and what to say of it to people."""

    writer: Callable[..., None]
    reader: Callable[..., Read]
    extension: str
    """The usual ending of its files."""
    about: str
    """What it is, as the end of a sentence."""
    loses: str = ""
    """What does not come back, as the end of a sentence; "" where all does."""
    marks: tuple[str, ...] = ()
    """Fields by which a file is told from others of the same ending."""
    holds_several: bool = False
    """Whether one file can hold several videos."""
    reads_frames: bool = False
    """Whether times may be frames in a file, so that their rate has to be known."""
    writes_frames: bool = False
    """Whether a file that we write counts frames."""
    keeps_times: bool = True
    """Whether the file says by itself when its moments are; else `read` needs ``fps``."""

    def write(self, found: Found, path: Path, *, fps: float | None = None) -> None:
        """Write the detections of one video, or of several. Raises OpenMomentError.

        ``fps`` is the rate where the format counts frames; without it, it is the video's.
        """
        if self.writes_frames:
            self.writer(found, path, fps=fps)
        else:
            self.writer(found, path)

    def read(self, path: Path, *, fps: float | None = None) -> Read:
        """Detections by video. Raises FormatError.

        ``fps`` is the rate where the format counts frames; without it, it is what the file says,
        else the video's.
        """
        return self.reader(path, fps=fps) if self.reads_frames else self.reader(path)


def by_video(found: Found) -> Mapping[str, Detections]:
    """Detections by video; a single one goes by its origin's path, or "" if it has none."""
    if isinstance(found, Detections):
        return {found.origin.video if found.origin else "": found}
    return found


def only_video(found: Found, path: Path) -> tuple[str, Detections]:
    """The one video of ``found`` and its detections. Raises FormatError for any other number."""
    videos = by_video(found)
    if len(videos) != 1:
        raise FormatError(
            f"{path}: this format holds one video, got {len(videos)}. Write one file for each "
            "video, or use json or csv."
        )
    return next(iter(videos.items()))


def describe(origin: Origin | None) -> str:
    """One phrase for people: what made the detections."""
    if origin is None:
        return "not recorded"
    return (
        f"backbone {origin.backbone} (fingerprint {origin.fingerprint}), pretrained on other data; "
        f"method {origin.method}"
    )


def parse_score(text: str) -> float | None:
    """The score that a text is, with a point or a comma, or None for what is no score."""
    try:
        score = float(text.replace(",", "."))
    except ValueError:
        return None
    return score if 0 <= score <= 1 else None


def to_label(query: str, score: float) -> str:
    """Query and score on one line, for people: ``pole vault (0.87)``."""
    return f"{' '.join(query.split())} ({score:.2f})"


def from_label(text: str) -> tuple[str, float]:
    """The query and the score of `to_label`; a text without a score has 1."""
    scored = re.fullmatch(r"(.*) \((0\.\d\d|1\.00)\)", text, re.DOTALL)
    return (scored[1], float(scored[2])) if scored else (text, 1.0)
