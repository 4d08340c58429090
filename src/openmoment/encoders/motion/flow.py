"""Motion as pictures: optical flow in the colours of Middlebury, seen by an image backbone.

After GRIZAL's OFE block (methods.md 5.2): flow from each sampled frame to the next, the last one
repeated, rendered as an image and encoded by the frame encoder. The paper names no scale of the
colours. Ours is fixed, so that still footage is white and fast motion saturated in every video;
``full_colour_speed=0`` scales each picture by its own longest vector, as torchvision renders.

Axes: t snippets, h height, w width, d width of the features.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache, cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray as Array

from openmoment.encoders.base import (
    Encoder,
    Progress,
    SeesClips,
    SeesPictures,
    Space,
    VideoEncoder,
)
from openmoment.encoders.frames import encode_frames
from openmoment.encoders.motion.flow_algorithms import DEFAULT, Flow, load_flow
from openmoment.errors import ConfigError, UnknownNameError, VideoError
from openmoment.features.file import FLOW_SUFFIX
from openmoment.types import Recipe, SnippetGrid, Snippets

if TYPE_CHECKING:
    from openmoment.video import Frame

SIDE = 240
"""The shorter side at which flow is computed, for backbones that take pictures of any size."""
FULL_COLOUR_SPEED = 0.5
"""In frame heights a second. Of real footage, one frame in five has 1 % of its pixels beyond it."""
_STEPS = (("RY", 15), ("YG", 6), ("GC", 4), ("CB", 11), ("BM", 13), ("MR", 6))
"""From one colour of the wheel to the next, and in how many steps."""
_CORNERS = {
    "R": (255, 0, 0),
    "Y": (255, 255, 0),
    "G": (0, 255, 0),
    "C": (0, 255, 255),
    "B": (0, 0, 255),
    "M": (255, 0, 255),
}
FLOW_MARK = "+flow-"
"""In the name of an encoder, between the backbone and how the flow is computed."""
_VERSION = "v1"  # of this way from frames to features; part of every fingerprint


class FlowEncoder:
    """A backbone of pictures, or of clips, that sees the motion between frames instead of them.

    Words are the backbone's own. With one of clips, flow goes between the frames of its clips.
    ``full_colour_speed`` is the speed that is drawn in full colour, in frame heights per second;
    0: each picture's fastest. Its snippets carry their ``motion``.
    Raises ConfigError for a backbone that sees no pictures, UnknownNameError for the flow.
    """

    takes_device = False  # it is made of parts that are placed already
    suffix = FLOW_SUFFIX

    def __init__(
        self,
        encoder: VideoEncoder,
        flow: Flow | str = DEFAULT,
        *,
        full_colour_speed: float = FULL_COLOUR_SPEED,
    ) -> None:
        if not isinstance(encoder, SeesPictures | SeesClips):
            raise ConfigError(f"{encoder.name} sees no pictures, so that it can see no flow.")
        if not 0 <= full_colour_speed < np.inf:
            raise ConfigError(
                f"full_colour_speed: expected 0 or more frame heights a second, "
                f"got {full_colour_speed}."
            )
        self.encoder = encoder
        self.flow = load_flow(flow) if isinstance(flow, str) else flow
        self.full_colour_speed = float(full_colour_speed)
        self.name = f"{encoder.name}{FLOW_MARK}{self.flow.name}"
        self.note = "motion alone, drawn in colours, for methods that take a second stream"
        self.fps = encoder.fps

    @property
    def dim_in(self) -> int:
        return self.encoder.dim_in

    @property
    def space(self) -> Space:
        return self._reader.space

    @property
    def fingerprint(self) -> str:
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        parts = (self.encoder.fingerprint, self.flow.recipe(), self._side, self.full_colour_speed)
        return sha256(f"{parts} {_VERSION}".encode()).hexdigest()[:16]

    @staticmethod
    def missing() -> str | None:
        """What is missing shows with the first video: the parts know it."""
        return None

    @property
    def _side(self) -> int:
        return self.encoder.picture_side or SIDE

    def encode_video(
        self, path: Path, *, fps: float, source_sha256: str, progress: Progress | None = None
    ) -> Snippets:
        """Decode, compute flow, draw and encode, a few frames at a time. Raises VideoError."""
        from openmoment.video import probe, read_frames

        duration_s = probe(path).duration_s
        rate = self.encoder.clip_rate if isinstance(self.encoder, SeesClips) else fps
        edges_s: list[float] = []
        speeds: list[float] = []

        def pictures() -> "Iterator[Frame]":
            frames = read_frames(path, fps=rate, short_side=self._side)
            for frame, speed in flow_frames(frames, self.flow, self.full_colour_speed):
                edges_s[-1:] = frame.start_s, frame.end_s
                speeds.append(speed)
                yield frame

        try:
            features, grid = self._encode(
                pictures(), fps, progress and (lambda done_s: progress(done_s, duration_s))
            )
        except _OnePictureError as error:
            raise VideoError(f"{path}: {error}") from None
        recipe = Recipe(self.name, self.fingerprint, fps, source_sha256)
        motion = _mean_speeds(speeds, edges_s, grid)
        return Snippets(features, grid, recipe, max(duration_s, grid.end_s), motion=motion)

    def _encode(
        self,
        pictures: "Iterator[Frame]",
        fps: float,
        advance: Callable[[float], None] | None,
    ) -> tuple[Float[Array, "t d_in"], SnippetGrid]:
        encoder = self.encoder
        if isinstance(encoder, SeesClips):
            return encoder.encode_stream(pictures, fps=fps, advance=advance)
        assert isinstance(encoder, SeesPictures)
        batch = encoder.picture_batch
        return encode_frames(pictures, encoder.encode_pictures, batch=batch, advance=advance)

    def encode_text(
        self, names: Sequence[str], *, templates: Sequence[str] | None = None
    ) -> Float[Array, "k d"]:
        return self._reader.encode_text(names, templates=templates)

    @property
    def _reader(self) -> Encoder:
        if isinstance(self.encoder, Encoder):
            return self.encoder
        raise ConfigError(f"{self.encoder.name} reads no words.")


class _OnePictureError(ValueError):
    """There is nothing to compare the only frame with."""


def flow_of(name: str, fingerprint: str, encoder: Encoder) -> FlowEncoder | None:
    """The flow encoder of a backbone by its name, if it is made here with the same settings."""
    mark = encoder.name + FLOW_MARK
    if not name.startswith(mark):
        return None
    try:
        made = FlowEncoder(encoder, name.removeprefix(mark))
    except (UnknownNameError, ConfigError):
        return None
    return made if made.fingerprint == fingerprint else None


def flow_frames(
    frames: "Iterable[Frame]", flow: Flow, full_colour_speed: float = FULL_COLOUR_SPEED
) -> "Iterator[tuple[Frame, float]]":
    """Each frame as a picture of where things go from it to the next, and the mean speed there.

    Speeds are in frame heights per second, whatever the resolution. The last frame repeats what
    is said of the one before; a picture that is shown again has not moved. Two frames are held at
    a time.
    """
    before: Frame | None = None
    drawn: Frame | None = None
    speed = 0.0
    for frame in frames:
        if before:
            vectors = _speeds(before, frame, flow)
            lengths = np.hypot(vectors[..., 0], vectors[..., 1])
            speed = float(lengths.mean())
            rgb = to_colours(vectors, full_colour_speed or float(lengths.max()))
            drawn = replace(before, rgb=rgb, is_repeat=False)
            yield drawn, speed
        before = frame
    if before is None or drawn is None:
        raise _OnePictureError("has one frame at this rate, so that nothing is seen to move.")
    yield replace(before, rgb=drawn.rgb, is_repeat=True), speed


def _mean_speeds(
    speeds: Sequence[float], edges_s: Sequence[float], grid: SnippetGrid
) -> Float[Array, " t"]:
    """The mean speed in each snippet, of frames with these edges."""
    if len(speeds) == len(grid):  # the frames are the snippets
        return np.array(speeds, dtype=np.float32)
    ways = np.concatenate([[0.0], np.cumsum(speeds * np.diff(edges_s))])
    means = np.diff(np.interp(grid.edges_s, edges_s, ways)) / np.diff(grid.edges_s)
    return means.astype(np.float32)


def _speeds(first: "Frame", second: "Frame", flow: Flow) -> Float[Array, "h w 2"]:
    """In frame heights per second."""
    height, width = first.rgb.shape[:2]
    if second.is_repeat:
        return np.zeros((height, width, 2), dtype=np.float32)
    vectors = flow.between(first.rgb, second.rgb)
    return vectors / np.float32(height * (second.start_s - first.start_s))


def to_colours(vectors: Float[Array, "h w 2"], longest: float) -> UInt8[Array, "h w 3"]:
    """Directions as hues and lengths as saturation: ``longest`` and beyond are full, 0 is white.

    The colour wheel of Baker et al., "A Database and Evaluation Methodology for Optical Flow",
    IJCV 2011; right is red, down is yellow. With a picture's own longest vector it is
    torchvision's ``flow_to_image``, which takes no other scale.
    """
    wheel = _wheel()
    across, down = vectors[..., 0], vectors[..., 1]
    lengths = np.minimum(np.hypot(across, down) / np.float32(longest or 1.0), 1.0)
    turns = (np.arctan2(-down, -across) / np.float32(np.pi) + 1) / 2  # 0 to 1
    places = turns * (len(wheel) - 1)
    lower = places.astype(np.int64)
    upper = (lower + 1) % len(wheel)
    share = (places - lower)[..., None]
    hues = (1 - share) * wheel[lower] + share * wheel[upper]
    return (255 * (1 - lengths[..., None] * (1 - hues))).astype(np.uint8)


@cache
def _wheel() -> Float[Array, "55 3"]:
    """Colours around the circle, between 0 and 1, from red on."""
    parts = []
    for (here, there), steps in _STEPS:
        start, end = np.array(_CORNERS[here]), np.array(_CORNERS[there])
        share = np.arange(steps)[:, None] / steps
        parts.append(start + np.trunc(share * (end - start)))
    return (np.concatenate(parts) / 255).astype(np.float32)
