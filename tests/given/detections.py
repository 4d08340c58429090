"""Detections made for tests: by hand, at random, with the names that break formats."""

import numpy as np
from hypothesis import strategies as st

from openmoment.detections import Detections
from openmoment.types import Origin, SnippetGrid

HOSTILE = (
    "</script><script>alert(1)</script>",
    "</style><b onmouseover='alert(1)'>",
    'a "quoted", comma; <i>&amp;lt; &#10; $x^2$ {0} %s',
    "00:00:01.000 --> 00:00:02.000",
    "two\nlines\n\nand a gap\r\nand\rmore\t",
    "NOTE score 0.5",
    "=1+1",
    " spaces around ",
    "",
    "7",
    "WEBVTT",
    "日本語 пол עברית 🤸‍♀️ \u2028 \u202eabc",
)


def make_detections(
    moments: list[tuple[float, float, str, float]],
    names: tuple[str, ...] | None = None,
    *,
    origin: Origin | None = None,
) -> Detections:
    """Best first; the presence of a query is its best score, or 0.12 if it has no moment."""
    moments = sorted(moments, key=lambda moment: -moment[3])
    names = names or tuple(dict.fromkeys(moment[2] for moment in moments))
    best = {name: score for _, _, name, score in reversed(moments)}
    return Detections(
        segments=np.array([moment[:2] for moment in moments], dtype=float).reshape(-1, 2),
        scores=np.array([moment[3] for moment in moments], dtype=float),
        labels=np.array([names.index(moment[2]) for moment in moments], dtype=np.int64),
        names=names,
        presence=np.array([best.get(name, 0.12) for name in names]),
        origin=origin,
    )


def make_origin(video: str = "match.mp4", *, num_queries: int = 0, duration_s: float = 60.0):
    """An origin with a curve for each query, a bump that moves; without any, no curves."""
    grid = SnippetGrid.uniform(240, end_s=duration_s)
    peaks = np.linspace(0.1, 0.9, num_queries)[:, None] * duration_s
    width = duration_s / 20
    curves = np.exp(-(((grid.centres_s[None, :] - peaks) / width) ** 2))
    return Origin(
        video=video,
        duration_s=duration_s,
        backbone="embedded",
        fingerprint="embedded-1",
        method="similarity",
        settings={"threshold": 0.5, "name": "<i>x</i>"},
        source_sha256="0" * 64,
        grid=grid if num_queries else None,
        curves=curves.astype(np.float32) if num_queries else None,
    )


_NAMES = st.sampled_from(HOSTILE) | st.text(max_size=20)


@st.composite
def any_arguments(draw) -> tuple:
    """Arguments for `make_any`: hostile names among others, with and without an origin.

    Plain values, because Detections check their types at random, which a strategy must not.
    """
    names = tuple(draw(st.lists(_NAMES, unique=True, max_size=5)))
    time = st.floats(0, 400_000)
    moment = st.tuples(time, time, st.sampled_from(names or ("",)), st.floats(0, 1))
    drawn = draw(st.lists(moment, max_size=8)) if names else []
    moments = [(min(a, b), max(a, b), name, score) for a, b, name, score in drawn]
    return moments, names, draw(st.none() | _NAMES)


def make_any(arguments: tuple) -> Detections:
    """Detections of what `any_arguments` drew."""
    moments, names, video = arguments
    return make_detections(moments, names, origin=None if video is None else make_origin(video))
