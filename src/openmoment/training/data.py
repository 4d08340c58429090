"""The pieces of videos that a method is trained on, as the batches of a run.

Which pieces a batch has, and where a window lies, depend on the seed, the epoch and the video
alone, so that a run can go on at any step. Axes: t snippets, d width.
"""

import os
import time
import zlib
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from numpy import ndarray as Array
from torch import Tensor
from torch.nn.functional import pad

from openmoment.blocks.batch import Batch, Instances, instances_on
from openmoment.errors import FeatureError, TrainingError
from openmoment.methods.trained import Trained
from openmoment.training.frames import Film
from openmoment.types import Annotations, Queries, SnippetGrid, Snippets

T = TypeVar("T")
Told = TypeVar("Told")
"""What is annotated of a video."""

Load = Callable[[str], Snippets]
"""A video's features, or the video itself, by its id."""
Advance = Callable[[float, float], None]
"""Hears (videos done, videos in all)."""

MEMORY_BYTES = 2 << 30
"""Of features that are kept for the next epoch; what is beyond is read again."""
_FRAMES = 2  # what a video's random numbers are used for, besides its windows
_DECODERS = min(8, os.cpu_count() or 1)
_AHEAD = 2  # batches that are prepared while one is computed


class Piece(NamedTuple):
    """A piece of a video as the network takes it."""

    features: Float[Array, "t d"] | UInt8[Array, "t 3 h w"]
    instances: Instances


class Cut(NamedTuple):
    """A piece before anything is known of what it shows."""

    features: Float[Array, "t d"] | UInt8[Array, "t 3 h w"]
    grid: SnippetGrid


class Where(NamedTuple):
    """One of the pieces that a video has in each epoch."""

    video: str
    number: int


class Pieces(ABC, Generic[Told]):
    """The pieces of annotated videos for a method, all read once to find what is wrong with any.

    What they show, and which of the texts, ``queries``, go with them, each kind says for itself.
    Raises TrainingError and FeatureError, naming the video.
    """

    NONE: ClassVar[str]
    """What is wrong where there is no video."""

    def __init__(
        self,
        videos: Mapping[str, Told],
        load: Load,
        method: Trained,
        *,
        queries: Queries,
        seed: int = 0,
        memory_bytes: int = MEMORY_BYTES,
        advance: Advance | None = None,
    ) -> None:
        if not videos:
            raise TrainingError(self.NONE)
        self._videos, self._names = videos, queries.names
        self._texts = torch.from_numpy(method.to_texts(queries))
        self._load, self._method, self._seed = load, method, seed
        self._kept: dict[str, Cut | Snippets] = {}
        self._room = memory_bytes
        self._pieces = tuple(self._survey(advance))

    # what each kind says for itself --------------------------------------------------------

    @abstractmethod
    def _shown(
        self, video: str, grid: SnippetGrid, epoch: int, names: tuple[str, ...]
    ) -> Instances:
        """What a piece shows in an epoch, with labels into ``names``."""

    @abstractmethod
    def _annotated(self, video: str, epoch: int) -> Float[Array, "n 2"]:
        """The segments that a video is trained on in an epoch."""

    @abstractmethod
    def _require_instance(self, video: str, snippets: Snippets) -> None:
        """Raises TrainingError for a video whose features show nothing that is annotated."""

    def _asked(
        self, wheres: Sequence[Where], epoch: int
    ) -> tuple[tuple[str, ...], Float[Tensor, "k *p d"]]:
        """The texts that go with these pieces in an epoch, by name: all, unless a kind says so."""
        return self._names, self._texts

    # what they share -----------------------------------------------------------------------

    def __len__(self) -> int:
        """Pieces an epoch."""
        return len(self._pieces)

    def batch(self, wheres: Sequence[Where], epoch: int) -> Batch:
        """These pieces as they are in that epoch, in memory."""
        names, texts = self._asked(wheres, epoch)
        pieces = [
            Piece(cut.features, self._shown(where.video, cut.grid, epoch, names))
            for where, cut in zip(wheres, self._cuts(wheres, epoch), strict=True)
        ]
        return stack(pieces, wheres, texts, names)

    def order(self, epoch: int) -> list[Where]:
        """All pieces, as an epoch has them."""
        rng = np.random.default_rng([self._seed, epoch])
        return [self._pieces[i] for i in rng.permutation(len(self))]

    def _survey(self, advance: Advance | None) -> Iterator[Where]:
        """All pieces of an epoch; every video is read, looked at, and kept if there is room."""
        first = ""
        widths: dict[str, int] = {}
        for done, video in enumerate(self._videos, start=1):
            snippets = self._load(video)
            first = first or video
            widths[video] = snippets.features.shape[1]
            if widths[video] != widths[first]:
                raise FeatureError(
                    f"The feature files of {first!r} and {video!r} are {widths[first]} and "
                    f"{widths[video]} wide. Extract all with one backbone."
                )
            self._require_instance(video, snippets)
            grids = self._grids(video, snippets, epoch=0)
            if isinstance(snippets, Film):
                self._kept[video] = snippets
            else:
                whole = len(grids) == 1
                self._keep(video, self._resampled(snippets, grids[0]) if whole else snippets)
            yield from (Where(video, number) for number in range(len(grids)))
            if advance:
                advance(done, len(self._videos))

    def _keep(self, video: str, prepared: Cut | Snippets) -> None:
        size = prepared.features.nbytes
        if size > self._room:
            return
        self._room -= size
        if isinstance(prepared, Snippets):  # now a file that is read when it is used
            prepared = replace(prepared, features=np.array(prepared.features))
        self._kept[video] = prepared

    def _cuts(self, wheres: Sequence[Where], epoch: int) -> list[Cut]:
        """Several at a time, since frames take long to decode."""
        with ThreadPoolExecutor(_DECODERS) as pool:
            return list(pool.map(lambda where: self._cut_of(where, epoch), wheres))

    def _cut_of(self, where: Where, epoch: int) -> Cut:
        video = where.video
        kept = self._kept.get(video)
        if isinstance(kept, Cut):
            return kept
        snippets = kept or self._load(video)
        grid = self._grids(video, snippets, epoch)[where.number]
        if isinstance(snippets, Film):
            rng = self._rng(video, epoch, _FRAMES, where.number)
            return Cut(snippets.frames(grid, rng), grid)
        return self._resampled(snippets, grid)

    def _grids(self, video: str, snippets: Snippets, epoch: int) -> list[SnippetGrid]:
        """The video's pieces in an epoch: their number is the same in all, one stays as it is."""
        axis = self._method.config.axis
        rng = self._rng(video, epoch)
        return list(axis.sampled(snippets.grid, self._annotated(video, epoch), rng))

    def _rng(self, video: str, epoch: int, *use: int) -> np.random.Generator:
        """Of a video in an epoch, for each use another."""
        return np.random.default_rng([self._seed, epoch, zlib.crc32(video.encode()), *use])

    def _resampled(self, snippets: Snippets, grid: SnippetGrid) -> Cut:
        return Cut(self._method.piece(snippets, grid), grid)


class TrainingData(Pieces[Annotations]):
    """The videos of a split for a method.

    ``videos`` hold instances of ``seen`` classes alone, whose texts are ``queries``, in the same
    order.
    """

    NONE = "No training video holds an instance of a seen class."

    def __init__(
        self,
        videos: Mapping[str, Annotations],
        load: Load,
        method: Trained,
        *,
        seen: Sequence[str],
        **rest: Any,
    ) -> None:
        labelled = {video: _relabel(true, seen) for video, true in videos.items()}
        super().__init__(labelled, load, method, **rest)

    def _shown(
        self, video: str, grid: SnippetGrid, epoch: int, names: tuple[str, ...]
    ) -> Instances:
        true = self._videos[video]
        return instances_on(grid, true.segments, true.labels)

    def _annotated(self, video: str, epoch: int) -> Float[Array, "n 2"]:
        return self._videos[video].segments

    def _require_instance(self, video: str, snippets: Snippets) -> None:
        if not len(self._shown(video, snippets.grid, 0, self._names).labels):
            told = "has no instance of a seen class"
            if len(self._videos[video]):
                told = f"shows no annotated instance: its features end at {snippets.grid.end_s:g} s"
            raise TrainingError(f"Training video {video!r} {told}. Leave it out, or mend it.")


def stack(
    pieces: Sequence[Piece],
    wheres: Sequence[Where],
    texts: Float[Tensor, "k *p d"],
    names: tuple[str, ...],
) -> Batch:
    """Pieces as a batch; shorter ones are padded."""
    lengths = torch.tensor([len(piece.features) for piece in pieces])
    padded = [_padded(piece, int(lengths.max())) for piece in pieces]
    return Batch(
        torch.from_numpy(np.stack([piece.features for piece in padded])),
        texts,
        names,
        tuple(piece.instances for piece in padded),
        tuple(where.video for where in wheres),
        valid=_valid(lengths),
    )


class Steps:
    """The batches of a run, in order: each process has an equal, consecutive share of every one.

    The last batch of an epoch is smaller; a single piece there is left out, and so is what the
    processes cannot share equally. Raises TrainingError when they can share no batch at all.
    """

    def __init__(
        self, data: Pieces, *, batch_size: int, epochs: int, index: int = 0, num: int = 1
    ) -> None:
        if batch_size % num:
            raise TrainingError(
                f"batch_size {batch_size} cannot be shared equally by {num} processes. "
                f"Use a multiple of {num}."
            )
        self._data, self._batch_size, self._index, self._num = data, batch_size, index, num
        rest = len(data) % batch_size
        if rest == 1 and len(data) > 1:
            rest = 0
        self._used = len(data) // batch_size * batch_size + rest - rest % num
        self.an_epoch = -(-self._used // batch_size)
        self._epochs = epochs
        self._order: tuple[int, list[Where]] = (0, data.order(0))
        if not self._used:
            raise TrainingError(f"{len(data)} pieces of video are too few for {num} processes.")

    def __len__(self) -> int:
        return self._epochs * self.an_epoch

    def videos(self, step: int) -> tuple[str, ...]:
        """Of the whole batch, over all processes."""
        return tuple(dict.fromkeys(where.video for where in self._wheres(step)))

    def batch(self, step: int) -> Batch:
        """This process's share."""
        wheres = self._wheres(step)
        size = len(wheres) // self._num
        mine = wheres[self._index * size : (self._index + 1) * size]
        return self._data.batch(mine, step // self.an_epoch)

    def _wheres(self, step: int) -> list[Where]:
        epoch, index = divmod(step, self.an_epoch)
        known, order = self._order
        if known != epoch:
            order = self._data.order(epoch)
            self._order = (epoch, order)
        start = index * self._batch_size
        return order[start : min(start + self._batch_size, self._used)]


def _relabel(true: Annotations, seen: Sequence[str]) -> Annotations:
    """With labels into the seen classes."""
    labels = [seen.index(true.names[label]) for label in true.labels]
    return replace(true, labels=np.array(labels, dtype=np.int64), names=tuple(seen))


def _padded(piece: Piece, t: int) -> Piece:
    """With zeros up to a length."""
    missing = t - len(piece.features)
    if not missing:
        return piece
    masks = pad(piece.instances.masks, (0, missing))
    features = np.pad(piece.features, ((0, missing), *[(0, 0)] * (piece.features.ndim - 1)))
    return Piece(features, piece.instances._replace(masks=masks))


def _valid(lengths: Int[Tensor, " b"]) -> Bool[Tensor, "b t"] | None:
    """Which snippets are not padded, unless none is."""
    longest = int(lengths.max())
    if int(lengths.min()) == longest:
        return None
    return torch.arange(longest) < lengths[:, None]


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The batch with its tensors there."""
    return replace(
        batch,
        features=batch.features.to(device),
        texts=batch.texts.to(device),
        valid=None if batch.valid is None else batch.valid.to(device),
        instances=tuple(Instances(*(part.to(device) for part in i)) for i in batch.instances),
    )


def ahead(make: Callable[[int], T], steps: range) -> Generator[tuple[T, float]]:
    """What ``make`` gives for each step, made by a thread beside the work, and the seconds waited.

    When the caller stops early, what is not begun is not made.
    """
    pool = ThreadPoolExecutor(1, thread_name_prefix="openmoment-data")
    waiting: deque[Future[T]] = deque()
    try:
        for step in steps[:_AHEAD]:
            waiting.append(pool.submit(make, step))
        for step in steps:
            if step + _AHEAD in steps:
                waiting.append(pool.submit(make, step + _AHEAD))
            start = time.perf_counter()
            made = waiting.popleft().result()
            yield made, time.perf_counter() - start
    finally:
        pool.shutdown(cancel_futures=True)
