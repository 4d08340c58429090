"""What a method owes: detections from snippets and queries. It opens no file and no video."""

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

from jaxtyping import Float
from numpy import ndarray as Array

from openmoment.encoders.base import Space
from openmoment.methods.traits import Traits
from openmoment.types import Annotations, Detections, Queries, Snippets


@runtime_checkable
class Method(Protocol):
    """Made from its settings and the space that its features and texts live in."""

    Config: ClassVar[type]
    RANKING: ClassVar[Mapping[str, object]]
    """Settings with which it ranks everything it proposes, as mAP wants, and decides nothing."""
    config: Any

    def __init__(self, config: Any, space: Space) -> None: ...

    @classmethod
    def traits_of(cls, config: Any) -> Traits:
        """What others may know of the method with these settings."""
        ...

    def localize(self, snippets: Snippets, queries: Queries) -> Detections:
        """The moments of each query, best first, with each query's presence."""
        ...


@runtime_checkable
class HasCurves(Protocol):
    """A method that can show why: one score for each query and snippet."""

    def curves(self, snippets: Snippets, queries: Queries) -> Float[Array, "k t"]:
        """Scores in [0, 1]."""
        ...


@runtime_checkable
class Learns(Protocol):
    """A method that has to be trained before it can be asked."""

    def loss(self, batch: Any) -> Any:
        """The terms of its loss over a batch."""
        ...

    @classmethod
    def is_ready(cls, settings: Mapping[str, object]) -> bool:
        """Whether, with these settings, it can be asked before it has learned anything."""
        ...

    def told(self, settings: Mapping[str, object]) -> Any:
        """The same weights with other settings, where these decide nothing about the weights."""
        ...


class Answer(NamedTuple):
    """Detections, and one score in [0, 1] for each query and snippet where there is one."""

    detections: Detections
    curves: Float[Array, "k t"] | None


@runtime_checkable
class Explained(Protocol):
    """Detections and curves, and whatever else a method says of them."""

    @property
    def detections(self) -> Detections: ...

    @property
    def curves(self) -> Float[Array, "k t"]: ...


@runtime_checkable
class Answers(Protocol):
    """A method whose detections and curves come from one piece of work."""

    def answer(self, snippets: Snippets, queries: Queries) -> Answer:
        """What `localize` and `curves` give."""
        ...


@runtime_checkable
class TakesTruth(Protocol):
    """A method that can be an oracle: told the truth, it shows what one of its parts costs."""

    def answer(
        self, snippets: Snippets, queries: Queries, *, truth: Annotations | None = None
    ) -> Answer:
        """As `Answers.answer`, told what there is to find."""
        ...


@runtime_checkable
class Explains(Protocol):
    """A method that can tell how it came to its answer."""

    def explain(self, snippets: Snippets, queries: Queries) -> Explained:
        """What `localize` gives, and how it came about."""
        ...
