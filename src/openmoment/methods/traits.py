"""What others may know of a method: all that the pipeline, the server and training ask of one."""

from dataclasses import dataclass
from typing import Literal

from openmoment.encoders.joint import Pairing
from openmoment.postprocess import Decision
from openmoment.types import Task


@dataclass(frozen=True)
class Traits:
    """What a method takes, what it can be asked, and what it decides, with given settings.

    Every method gives them by `Method.traits_of`, from its settings alone: they are known before
    a network is made. Whoever needs to know something more of methods adds a field here.
    """

    takes_other_features: bool = False
    """Whether its features are of another encoder than the backbone that reads its words."""
    sees_flow: bool = False
    """Whether it takes features of optical flow beside the others."""
    sees_frames: bool = False
    """Whether it sees frames, through an image tower of its own, and no feature files."""
    reads_words: bool = False
    """Whether it reads a query's words; else their embedding is all, which examples may join."""
    templates: tuple[str, ...] = ()
    """Sentences that it reads names in, each with ``{}``; none: those of the backbone."""
    pairing: Pairing | None = None
    """Which pairs of a picture and a sentence it reads of each query; None: it reads none."""
    task: Task | Literal["clips"] | None = None
    """The one task that it answers; None: any."""
    is_told_truth: bool = False
    """Whether it is an oracle, which answers only when told what there is to find."""
    has_windows: bool = False
    """Whether it looks at windows of long videos, whose ``overlap`` can be set."""
    decision: Decision = Decision()
    """What it leaves out of all that it ranks."""
    tells_presence: bool = False
    """Whether its presence and scores are of the standing (`methods.standing`), and so mean the
    same whatever the backbone and whatever else is asked."""
    shows_standing: bool = False
    """Whether its curves are of the standing, too."""
