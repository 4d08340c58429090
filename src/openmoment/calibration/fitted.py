"""What a calibration is: maps to probabilities, a cut, and whose numbers they are for."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray as Array

from openmoment.errors import ConfigError
from openmoment.methods import METHODS
from openmoment.reviews import MadeBy
from openmoment.types import Detections

_EDGE = 1e-4
"""Scores closer to 0 or 1 are taken for that: files have four digits."""
_ASKED = frozenset({"examples", "task", "top", "calibration"})
"""What settings say of a question rather than of the method."""


@dataclass(frozen=True)
class Calibration:
    """From evidence to probability: ``sigmoid(slope * (evidence - middle))``."""

    slope: float
    middle: float


@dataclass(frozen=True)
class Source:
    """Whose scores: a backbone, and a method with the settings that decide what it proposes."""

    backbone: str
    fingerprint: str
    method: str
    settings: str
    """As JSON with sorted names, without those with which a method ranks or decides."""

    @classmethod
    def of(cls, made_by: MadeBy) -> "Source":
        """What made predictions, as far as their scores depend on it. Raises UnknownNameError."""
        decides = _ASKED | set(METHODS[made_by.method].RANKING)
        kept = {name: value for name, value in made_by.settings.items() if name not in decides}
        settings = json.dumps(kept, sort_keys=True, ensure_ascii=False)
        return cls(made_by.backbone, made_by.fingerprint, made_by.method, settings)

    @property
    def described(self) -> str:
        """For people."""
        return f"{self.method} on {self.backbone}"

    def check(self, asked: "Source") -> None:
        """Raises ConfigError when the scores of ``asked`` are other ones, with one line on both."""
        if self == asked:
            return
        if (self.fingerprint, self.method) != (asked.fingerprint, asked.method):
            raise ConfigError(
                f"The calibration is for {self.described} ({self.fingerprint}), not for "
                f"{asked.described} ({asked.fingerprint}). Ask that one, or calibrate anew."
            )
        ours, theirs = json.loads(self.settings), json.loads(asked.settings)
        names = sorted(n for n in {**ours, **theirs} if ours.get(n) != theirs.get(n))
        told = ", ".join(f"{n}={ours.get(n)} there, {theirs.get(n)} here" for n in names)
        raise ConfigError(f"The calibration is for other settings of {self.method}: {told}.")


@dataclass(frozen=True)
class ScoreMap:
    """A rising map from scores to probabilities; queries with marks have a middle of their own.

    In logits: ``slope * (score - middle)``.
    """

    slope: float
    middle: float
    middles: Mapping[str, float] = field(default_factory=dict[str, float])

    def of(self, query: str) -> Calibration:
        """The map of one query."""
        return Calibration(self.slope, self.middles.get(query, self.middle))

    def apply(
        self, scores: Float[Array, " n"], labels: Int[Array, " n"], names: Sequence[str]
    ) -> Float[Array, " n"]:
        """The probabilities of scores whose queries are ``names[labels]``."""
        middles = np.array([self.of(name).middle for name in names])
        return 1 / (1 + np.exp(-self.slope * (to_evidence(scores) - middles[labels])))

    def score_at(self, probability: float, query: str) -> float:
        """The score of a query that becomes this probability, for people."""
        evidence = to_evidence(np.array([probability]))[0] / self.slope + self.of(query).middle
        return 1 / (1 + float(np.exp(-evidence)))

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"slope": self.slope, "middle": self.middle, "middles": dict(self.middles)}


@dataclass(frozen=True)
class Fitted:
    """How likely a moment is right and a query occurs, and from which probability on to say it.

    Of presence nothing is cut: it is what is said of a query, with and without moments.
    """

    source: Source
    score: ScoreMap
    threshold: float
    presence: ScoreMap | None = None
    """None where there were too few marks: the method's own presence is taken as it is."""

    @property
    def fingerprint(self) -> str:
        """Changes whenever the decisions may."""
        content = json.dumps(self.to_dict(), sort_keys=True, ensure_ascii=False)
        return f"calibration-{hashlib.sha256(content.encode()).hexdigest()[:8]}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, those of the file that decide."""
        source = self.source
        return {
            "made_by": {
                "backbone": {"name": source.backbone, "fingerprint": source.fingerprint},
                "method": {"name": source.method, "settings": json.loads(source.settings)},
            },
            "threshold": self.threshold,
            "score": self.score.to_dict(),
            "presence": self.presence and self.presence.to_dict(),
        }

    def apply(self, ranked: Detections) -> Detections:
        """What to say of all that a method proposes, with scores and presence as probabilities."""
        scores = self.score.apply(ranked.scores, ranked.labels, ranked.names)
        presence = ranked.presence
        if self.presence:
            presence = self.presence.apply(presence, np.arange(len(presence)), ranked.names)
        stays = np.flatnonzero(scores >= self.threshold)
        best_first = stays[np.argsort(-scores[stays], kind="stable")]
        return replace(ranked, scores=scores, presence=presence)[best_first]


def to_evidence(scores: Float[Array, " n"]) -> Float[Array, " n"]:
    """The logits of scores in [0, 1]."""
    inside = np.clip(scores, _EDGE, 1 - _EDGE)
    return np.log(inside / (1 - inside))
