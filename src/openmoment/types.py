"""The nouns that flow through the package: Snippets, Queries, Detections, Annotations.

All are frozen and made of NumPy arrays; times are seconds on the container's clock, where zero
is what a player shows as 0:00. Axes: t snippets, k queries, n segments, d width.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray as Array

from openmoment.errors import FeatureError, QueryError
from openmoment.storage.rows import blocks

D = TypeVar("D", bound="Detections")

Answer = Literal["found", "unsure", "not found", "not understood"]
"""What is said of a query; of one that is unsure the best guess is shown."""
Task = Literal["tal", "mr", "as"]
"""Temporal action localization, moment retrieval, action segmentation."""

SCHEMA = "openmoment/1"
"""The version of the JSON form, raised when a reader of the old form would misread the new."""


@dataclass(frozen=True)
class SnippetGrid:
    """Where snippets lie in time: snippet i stands for ``[edges_s[i], edges_s[i + 1])``.

    Raises `FeatureError` when the edges are not finite and strictly increasing.
    """

    edges_s: Float[Array, " t_plus_1"]

    def __post_init__(self) -> None:
        edges = np.asarray(self.edges_s, dtype=np.float64)
        if edges.ndim != 1 or len(edges) < 2:
            raise FeatureError(f"A snippet grid needs at least two edges, got {edges.shape}.")
        if not np.isfinite(edges).all() or (np.diff(edges) <= 0).any():
            raise FeatureError("The edges of a snippet grid must be finite and increase.")
        object.__setattr__(self, "edges_s", edges)

    @classmethod
    def uniform(cls, num_snippets: int, *, end_s: float, start_s: float = 0.0) -> "SnippetGrid":
        """``num_snippets`` snippets of equal length from ``start_s`` to ``end_s``."""
        return cls(np.linspace(start_s, end_s, num_snippets + 1))

    def __len__(self) -> int:
        return len(self.edges_s) - 1

    @property
    def start_s(self) -> float:
        return float(self.edges_s[0])

    @property
    def end_s(self) -> float:
        return float(self.edges_s[-1])

    @property
    def centres_s(self) -> Float[Array, " t"]:
        return (self.edges_s[:-1] + self.edges_s[1:]) / 2

    @property
    def snippet_s(self) -> float:
        """The median length of a snippet, in seconds."""
        return float(np.median(np.diff(self.edges_s)))

    def runs_to_seconds(self, runs: Int[Array, "n 2"]) -> Float[Array, "n 2"]:
        """Half-open runs of whole snippets ``[first, last + 1)`` as segments."""
        return self.edges_s[runs]

    def points_to_seconds(self, points: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """Real positions, where ``i`` is the centre of snippet i, as times."""
        return np.interp(points + 0.5, np.arange(len(self.edges_s)), self.edges_s)


@dataclass(frozen=True)
class Recipe:
    """How a feature file was made; two files are comparable when all of this is equal."""

    encoder: str
    """The encoder's name, for people."""
    fingerprint: str
    """Of the encoder's weights and preprocessing."""
    fps: float
    """Snippets sampled per second of video; 0 for every frame."""
    source_sha256: str
    """Of the video file's bytes; empty for features made elsewhere."""

    def differences(self, other: "Recipe") -> list[str]:
        """One line for each field that differs: ``"fps: 4.0 here, 8.0 asked for"``."""
        pairs = ((f.name, getattr(self, f.name), getattr(other, f.name)) for f in fields(self))
        return [f"{name}: {a} here, {b} asked for" for name, a, b in pairs if a != b]


class Captioned(NamedTuple):
    """Captions of a video as the encoder embeds texts, and when the captioned frames are shown."""

    times_s: Float[Array, " c"]
    embeddings: Float[Array, "c d"]


class Proposals(NamedTuple):
    """Where something may happen, of whatever class; scores in [0, 1].

    In seconds, unless said otherwise.
    """

    segments: Float[Array, "n 2"]
    scores: Float[Array, " n"]


class Pairs(NamedTuple):
    """What is generated about each query, as a joint encoder reads it (`encoders.joint`)."""

    tokens: Float[Array, "n k s d"]
    """Of the k pairs of a picture and a sentence; zeros where there is no token."""
    points: Float[Array, "n 2 d"]
    """The words with their sentences, and the pictures, in the joint space: of length one, or 0."""


@dataclass(frozen=True)
class Snippets:
    """One video's features on its time grid, before the encoder's visual projection.

    The array may be mapped from a file; `openmoment.storage.rows` reads it in blocks.
    Raises `FeatureError` when they are not finite, or do not match the grid.
    """

    features: Float[Array, "t d_in"]
    grid: SnippetGrid
    recipe: Recipe
    duration_s: float
    captions: "Captioned | None" = None
    """What the frames show in words, for methods that read captions."""
    motion: Float[Array, " _"] | None = None
    """Of features of optical flow: the mean speed in each snippet, in frame heights per second."""
    flow: "Snippets | None" = None
    """The same video's features of optical flow, for methods that see motion apart."""
    proposals: Proposals | None = None
    """Made elsewhere, for methods that classify proposals."""

    def __post_init__(self) -> None:
        if self.features.ndim != 2:
            raise FeatureError(f"Features must be [snippets, width], got {self.features.shape}.")
        if len(self.features) != len(self.grid):
            raise FeatureError(f"{len(self.features)} features for {len(self.grid)} snippets.")
        if self.motion is not None and self.motion.shape != (len(self.grid),):
            raise FeatureError(f"{self.motion.shape} speeds for {len(self.grid)} snippets.")
        if self.motion is not None and not np.isfinite(self.motion).all():
            raise FeatureError("The motion holds NaN or infinity. Extract the flow again.")
        bad = np.concatenate([~np.isfinite(b).all(axis=1) for b in blocks(self.features)])
        if bad.any():
            first = int(np.flatnonzero(bad)[0])
            raise FeatureError(
                f"Features hold NaN or infinity in {bad.sum()} of {bad.size} snippets, first at "
                f"snippet {first} ({self.grid.edges_s[first]:.2f} s). Extract them again."
            )

    def __len__(self) -> int:
        return len(self.features)


@dataclass(frozen=True)
class Queries:
    """What the user asks for, and its embeddings in the encoder's joint space.

    ``background`` are embeddings of the bank, the fixed texts that each query is held against;
    ``variants`` those of each query in every sentence that a method asked for, whose mean
    ``embeddings`` then are;
    ``examples`` says which sentences and pictures joined the words, for people; ``pairs`` are
    these for methods that read them apart from the words.
    """

    names: tuple[str, ...]
    embeddings: Float[Array, "k d"]
    background: Float[Array, "m d"]
    variants: Float[Array, "k p d"] | None = None
    examples: Mapping[str, Any] | None = None
    pairs: Pairs | None = None

    def __post_init__(self) -> None:
        if not self.names:
            raise QueryError('No query given. Say what to look for, for example "pole vault".')
        if len(self.names) != len(self.embeddings):
            raise QueryError(f"{len(self.names)} queries, {len(self.embeddings)} embeddings.")
        if self.pairs is not None and len(self.pairs.tokens) != len(self.names):
            raise QueryError(f"{len(self.names)} queries, pairs of {len(self.pairs.tokens)}.")

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class Origin:
    """Where detections come from: enough to say so in a file, and to draw them."""

    video: str
    duration_s: float
    backbone: str
    fingerprint: str
    method: str
    settings: dict[str, Any]
    source_sha256: str = ""
    grid: SnippetGrid | None = None
    curves: Float[Array, "k t"] | None = None
    """Per query, a score in [0, 1] for each snippet."""
    occurs_at: float | None = None
    """From which height of its curve a query seems to occur; None for curves that do not tell."""

    @property
    def task(self) -> str:
        """What was asked (openmoment.pipeline.tasks): "tal", "mr" or "as"."""
        return str(self.settings.get("task", "tal"))


class Detection(NamedTuple):
    """One detection, as iteration gives it."""

    start_s: float
    end_s: float
    name: str
    score: float


@dataclass(frozen=True)
class Detections:
    """Scored, labelled segments of one video, in seconds, best first.

    ``labels`` index into ``names``; ``presence`` says for each name how likely it occurs at all,
    in [0, 1]. Boolean or integer indexing gives fewer detections of the same queries. Raises
    ValueError when the arrays do not fit together.
    """

    segments: Float[Array, "n 2"]
    scores: Float[Array, " n"]
    labels: Int[Array, " n"]
    names: tuple[str, ...]
    presence: Float[Array, " k"]
    origin: Origin | None = field(default=None, repr=False)
    unsure: frozenset[str] = frozenset()
    """Queries that may occur or not: their moments are guesses."""
    not_understood: Mapping[str, str] = field(default_factory=dict[str, str])
    """Queries whose words say nothing to the backbone, or the opposite: why, and what to do."""
    notes: tuple[str, ...] = ()
    """What bears on how far to trust all this: a sentence each."""

    def __post_init__(self) -> None:
        n = len(self.segments)
        if self.segments.shape != (n, 2) or self.scores.shape != (n,) or self.labels.shape != (n,):
            raise ValueError(
                f"segments {self.segments.shape}, scores {self.scores.shape} and labels "
                f"{self.labels.shape} do not fit together"
            )
        if n and not (0 <= self.labels.min() and self.labels.max() < len(self.names)):
            raise ValueError(f"labels must index into the {len(self.names)} names")
        if len(self.presence) != len(self.names):
            raise ValueError(f"{len(self.presence)} presence scores for {len(self.names)} names")

    @classmethod
    def empty(cls: type[D], names: Sequence[str]) -> D:
        """No detection of any of ``names``."""
        return cls(
            segments=np.zeros((0, 2)),
            scores=np.zeros(0),
            labels=np.zeros(0, dtype=np.int64),
            names=tuple(names),
            presence=np.zeros(len(names)),
        )

    def __len__(self) -> int:
        return len(self.segments)

    def __getitem__(self: D, index: Any) -> D:
        index = np.atleast_1d(np.asarray(index))
        if index.size == 0:
            index = index.astype(np.int64)
        return replace(
            self,
            segments=self.segments[index],
            scores=self.scores[index],
            labels=self.labels[index],
        )

    def __iter__(self) -> Iterator[Detection]:
        for (start, end), score, label in zip(self.segments, self.scores, self.labels, strict=True):
            yield Detection(float(start), float(end), self.names[label], float(score))

    @property
    def not_found(self) -> tuple[str, ...]:
        """The queries without any detection, of those that were looked for."""
        found = set(self.labels.tolist())
        return tuple(
            name
            for i, name in enumerate(self.names)
            if i not in found and name not in self.not_understood
        )

    def answer_of(self, query: str) -> Answer:
        """Whether a query is found, not found, but guessed at, or was not looked for at all."""
        if query in self.not_understood:
            return "not understood"
        if query in self.not_found:
            return "not found"
        return "unsure" if query in self.unsure else "found"

    def of(self: D, *names: str) -> D:
        """The detections, presence and score curves of these queries alone, in their order.

        Raises QueryError for a name that was not looked for.
        """
        for name in names:
            if name not in self.names:
                known = ", ".join(map(repr, self.names)) or "nothing"
                raise QueryError(f"There is no query {name!r}. There is: {known}.")
        labels = [self.names.index(name) for name in dict.fromkeys(names)]
        label_of = np.full(len(self.names), -1)
        label_of[labels] = np.arange(len(labels))
        own, origin = self[label_of[self.labels] >= 0], self.origin
        if origin is not None and origin.curves is not None:
            origin = replace(origin, curves=origin.curves[labels])
        return replace(
            own,
            labels=label_of[own.labels],
            names=tuple(self.names[label] for label in labels),
            presence=self.presence[labels],
            origin=origin,
            unsure=self.unsure.intersection(names),
            not_understood={n: why for n, why in self.not_understood.items() if n in names},
        )

    def by_time(self: D) -> D:
        """The same detections, ordered by start."""
        return self[np.lexsort((self.segments[:, 1], self.segments[:, 0]))]

    def __repr__(self) -> str:
        counted = f"{len(self)} moment{'' if len(self) == 1 else 's'}"
        lines = [counted + (f" in {self.origin.video}" if self.origin else "")]
        width = max((len(name) for name in self.names), default=0)
        for start_s, end_s, name, score in self.by_time():
            span = f"{clock(start_s)} - {clock(end_s)}"
            guess = "  unsure" if name in self.unsure else ""
            lines.append(f"  {span}  {name:<{width}}  {score:.2f}{guess}")
        if self.not_found:
            lines.append("  not found: " + ", ".join(self.not_found))
        lines += [f"  not understood: {name}: {why}" for name, why in self.not_understood.items()]
        lines += [f"  {note}" for note in self.notes]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold, time-ordered (schema: docs/json.md)."""
        origin = self.origin
        head: dict[str, Any] = {"schema": SCHEMA}
        if origin:
            head |= {
                "video": {
                    "path": origin.video,
                    "duration_s": origin.duration_s,
                    "sha256": origin.source_sha256,
                },
                "backbone": {"name": origin.backbone, "fingerprint": origin.fingerprint},
                "method": {"name": origin.method, "settings": origin.settings},
            }
        queries = [
            {
                "query": name,
                "presence": round(float(presence), 4),
                "found": self.answer_of(name) == "found",
                "answer": self.answer_of(name),
                **({"why": self.not_understood[name]} if name in self.not_understood else {}),
            }
            for name, presence in zip(self.names, self.presence, strict=True)
        ]
        moments = [
            {
                "start_s": round(d.start_s, 3),
                "end_s": round(d.end_s, 3),
                "query": d.name,
                "score": round(d.score, 4),
            }
            for d in self.by_time()
        ]
        return head | {"notes": list(self.notes), "queries": queries, "moments": moments}


@dataclass(frozen=True)
class Annotations:
    """Ground-truth segments of one video; ``labels`` index into ``names``."""

    segments: Float[Array, "n 2"]
    labels: Int[Array, " n"]
    names: tuple[str, ...]
    duration_s: float

    def __len__(self) -> int:
        return len(self.segments)


def clock(time_s: float) -> str:
    """Seconds as ``h:mm:ss.d``, rounded to a tenth: ``3725.04`` is ``1:02:05.0``."""
    tenths = round(time_s * 10)
    hours, rest = divmod(tenths, 36000)
    minutes, rest = divmod(rest, 600)
    return f"{hours}:{minutes:02}:{rest // 10:02}.{rest % 10}"
