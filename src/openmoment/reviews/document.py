"""The review of one video: its queries, its segments, and the log of what was changed.

Times are seconds to a millisecond, scores have four digits, as in the file.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from secrets import token_hex
from typing import Any, Literal

from openmoment.types import Origin

SCHEMA = "openmoment-review/1"
"""The version of the document, raised when a reader of the old one would misread the new."""

Status = Literal["open", "accepted", "rejected"]


@dataclass(frozen=True)
class MadeBy:
    """What made the predictions of a query."""

    backbone: str
    fingerprint: str
    method: str
    settings: dict[str, Any]

    @classmethod
    def of(cls, origin: Origin) -> "MadeBy":
        """What an answer says of itself."""
        return cls(origin.backbone, origin.fingerprint, origin.method, origin.settings)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as in `openmoment/1`."""
        return {
            "backbone": {"name": self.backbone, "fingerprint": self.fingerprint},
            "method": {"name": self.method, "settings": self.settings},
        }


@dataclass(frozen=True, slots=True)
class Predicted:
    """A segment as the method gave it, before anybody touched it."""

    start_s: float
    end_s: float
    query: str
    score: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "start_s": self.start_s,
            "end_s": self.end_s,
            "query": self.query,
            "score": self.score,
        }


@dataclass(frozen=True)
class ReviewedQuery:
    """A query of the video, and what a person says of it as a whole."""

    query: str
    presence: float | None = None
    """How likely it occurs, as the method says; None for a query that only people used."""
    threshold: float = 0.0
    """Open segments with a lower score are not shown."""
    occurs: bool | None = None
    """Said by a person; None where nobody did."""
    checked: bool = False
    """Whether a person looked for it through the whole video: what is accepted is all there is."""
    made_by: MadeBy | None = None
    why: str = ""
    """Why it was not looked for, and what to do; empty for a query that was understood."""
    notes: tuple[str, ...] = ()
    """What bears on how far to trust what was predicted, a sentence each."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "query": self.query,
            "presence": self.presence,
            "threshold": self.threshold,
            "occurs": self.occurs,
            "checked": self.checked,
            "made_by": self.made_by and self.made_by.to_dict(),
            **({"why": self.why} if self.why else {}),
            **({"notes": list(self.notes)} if self.notes else {}),
        }


@dataclass(frozen=True, slots=True)
class ReviewedSegment:
    """A segment as it stands now."""

    id: str
    start_s: float
    end_s: float
    query: str
    score: float | None = None
    status: Status = "open"
    predicted: Predicted | None = None
    """None for a segment that a person added, or that was imported."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "id": self.id,
            "start_s": self.start_s,
            "end_s": self.end_s,
            "query": self.query,
            "score": self.score,
            "status": self.status,
            "predicted": self.predicted and self.predicted.to_dict(),
        }


@dataclass(frozen=True, slots=True)
class Change:
    """One entry of the log. ``before`` and ``after`` hold the fields that changed."""

    when: str
    who: str
    what: str
    """asked, imported, added, moved, relabelled, accepted, rejected, reopened, deleted, marked."""
    segment: str | None
    """Its id; None for what is said of a query, which ``before`` and ``after`` then name."""
    before: dict[str, Any] | None
    after: dict[str, Any] | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "when": self.when,
            "who": self.who,
            "what": self.what,
            "segment": self.segment,
            "before": self.before,
            "after": self.after,
        }


@dataclass(frozen=True)
class Review:
    """The review of one video, as `read_review`, `revise` and those that add to it leave it."""

    video: str
    duration_s: float
    sha256: str = ""
    revision: int = 0
    queries: tuple[ReviewedQuery, ...] = ()
    segments: tuple[ReviewedSegment, ...] = ()
    log: tuple[Change, ...] = ()


def new_ids(count: int, taken: Iterable[str]) -> list[str]:
    """So many ids that no segment has."""
    known = set(taken)
    ids: list[str] = []
    while len(ids) < count:
        candidate = token_hex(4)
        if candidate not in known:
            known.add(candidate)
            ids.append(candidate)
    return ids


def to_time(time_s: float) -> float:
    """Seconds as the document holds them."""
    return round(float(time_s), 3)


def to_score(score: float) -> float:
    """A score as the document holds it."""
    return round(float(score), 4)
