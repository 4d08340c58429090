"""What an encoder owes: snippets from a video and embeddings from words, in one space.

Axes: t snippets, k texts, d joint width, d_in width of the stored features.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

from jaxtyping import Float, UInt8
from numpy import ndarray as Array

from openmoment.features.file import SUFFIX
from openmoment.types import SnippetGrid, Snippets

if TYPE_CHECKING:
    from openmoment.video import Frame

Progress = Callable[[float, float], None]
"""Called with (seconds of video done, seconds in all) while a video is encoded."""


class Facts(NamedTuple):
    """What a person wants to know of a backbone before taking it."""

    megabytes: int
    """About how much is downloaded; 0 for what comes with the package."""
    licence: str
    """Of the weights."""
    languages: str = "English"
    """Whose words it reads."""


class Towers(NamedTuple):
    """Both sides before their projections, for methods that adapt these to one video.

    Snippets times ``video_projection`` and texts times ``text_projection`` are compared by cosine.
    """

    snippets: Float[Array, "t d_h"]
    video_projection: Float[Array, "d_h d"]
    texts: Float[Array, "k d_txt"]
    text_projection: Float[Array, "d_txt d"]
    logit_scale: float


@runtime_checkable
class Space(Protocol):
    """How features and text embeddings are compared, in NumPy alone."""

    def logits(
        self, features: Float[Array, "t d_in"], embeddings: Float[Array, "k d"]
    ) -> Float[Array, "k t"]:
        """How well each snippet fits each text; a softmax over texts makes probabilities."""
        ...

    def evidence(
        self,
        features: Float[Array, "t d_in"],
        embeddings: Float[Array, "k d"],
        bank: Float[Array, "m d"],
    ) -> Float[Array, "k t"]:
        """What each text's standing among the ``bank`` is computed from (`methods.standing`).

        Comparable between texts when most of them do not occur; each text's own, whatever others
        are asked.
        """
        ...

    def project_video(self, features: Float[Array, "t d_in"]) -> Float[Array, "t d_joint"]:
        """Snippets as points of the joint space, of whatever length."""
        ...

    def project_text(self, embeddings: Float[Array, "k d"]) -> Float[Array, "k d_joint"]:
        """Texts as points of the joint space."""
        ...

    def towers(self, features: Float[Array, "t d_in"], embeddings: Float[Array, "k d"]) -> Towers:
        """Both sides and their projections; identities where nothing was trained."""
        ...


@runtime_checkable
class HasTextTower(Protocol):
    """A space whose text tower can be trained further, or read what is learned.

    Whoever trains it makes a copy; the tower itself is the encoder's.
    """

    def prompt(self, name: str) -> Any:
        """A torch module that gives one name's text before its projection."""
        ...

    def text_tower(self) -> Any:
        """The `TextTower`, in evaluation mode. Raises ConfigError where the model has none."""
        ...

    def tower_to_joint(self, pooled: Any) -> Any:
        """The tower's features of texts as points of the joint space, [k, w] to [k, d].

        Tensors on any device; gradients flow. Of the plain name's tokens it makes what
        `Space.project_text` makes of the name without a template.
        """
        ...


@runtime_checkable
class HasImageTower(Protocol):
    """A space whose image tower can be trained further.

    Whoever trains it makes a copy; the tower itself is the encoder's.
    """

    def image_tower(self) -> Any:
        """The `ImageTower`: frames to features before the visual projection."""
        ...

    def image_to_joint(self, features: Any) -> Any:
        """Features as points of the joint space, [*shape d_in] to [*shape d]: `project_video`.

        Tensors on any device; gradients flow.
        """
        ...


@runtime_checkable
class TakesImageTower(Protocol):
    """An encoder that can see with another image tower than its own."""

    def with_image_tower(self, tower: Any) -> "Encoder":
        """The same words, and videos as the `ImageTower` sees them.

        Name and fingerprint are its own, so that its features are never taken for the others.
        """
        ...


@runtime_checkable
class AsksByPicture(Protocol):
    """A space in which one can ask for what a picture shows."""

    def picture_queries(self, features: Float[Array, "b d_in"]) -> Float[Array, "b d"]:
        """Features of pictures as embeddings that stand where those of texts stand."""
        ...


@runtime_checkable
class VideoEncoder(Protocol):
    """What makes features of video. Making one is cheap: weights load when first needed."""

    name: str
    note: str
    """How far its answers may be trusted, to follow the name in a sentence."""
    fps: float
    """Snippets per second of video, unless the caller asks for another rate."""
    takes_device: bool
    """Whether it is made with a device and a precision."""

    @property
    def dim_in(self) -> int:
        """The width of the features."""
        ...

    @property
    def fingerprint(self) -> str:
        """Changes whenever the same video or text would give other numbers."""
        ...

    @staticmethod
    def missing() -> str | None:
        """What keeps this backbone from running here, and the cure; None when it is ready."""
        ...

    def encode_video(
        self, path: Path, *, fps: float, source_sha256: str, progress: Progress | None = None
    ) -> Snippets:
        """Decode and encode a video in constant memory. Raises VideoError."""
        ...


@runtime_checkable
class IsWeak(Protocol):
    """An encoder whose answers need a word of caution wherever they are read."""

    caution: str
    """A sentence, with the command that helps."""


@runtime_checkable
class Encoder(VideoEncoder, Protocol):
    """One vision and language backbone: it reads words, too, into the space of its features."""

    @property
    def space(self) -> Space:
        """How its features and texts are compared."""
        ...

    def encode_text(
        self, names: Sequence[str], *, templates: Sequence[str] | None = None
    ) -> Float[Array, "k d"]:
        """One embedding for each name, averaged over ``templates`` (default: the encoder's own).

        Before the text projection, where the model has one: the space applies it.
        """
        ...


@runtime_checkable
class SeesPictures(Protocol):
    """An encoder of single pictures, which sees whatever is drawn for it."""

    picture_side: int | None
    """The shorter side that pictures must have; None: any."""
    picture_batch: int
    """How many pictures at a time serve it best."""

    def encode_pictures(self, pictures: list[UInt8[Array, "h w 3"]]) -> Float[Array, "b d_in"]:
        """What `encode_video` makes of frames."""
        ...


@runtime_checkable
class SeesClips(Protocol):
    """An encoder of clips, which sees whatever frames are drawn for it."""

    picture_side: int | None
    """The shorter side that frames must have; None: any."""

    @property
    def clip_rate(self) -> float:
        """Frames per second that it wants to see."""
        ...

    def encode_stream(
        self,
        frames: "Iterable[Frame]",
        *,
        fps: float,
        advance: Callable[[float], None] | None = None,
    ) -> tuple[Float[Array, "t d_in"], SnippetGrid]:
        """What `encode_video` makes of the frames of a video, and the snippets' times."""
        ...


def reads_english_alone(encoder: VideoEncoder) -> bool:
    """Whether words of other languages say nothing to an encoder, as is the rule."""
    return getattr(encoder, "reads_english_alone", True)


def file_suffix(encoder: VideoEncoder) -> str:
    """What the names of its feature files end in."""
    return getattr(encoder, "suffix", SUFFIX)
