"""Untrimmed videos with exact ground truth, composed from short labelled clips.

Whoever has clips that each show one action, and clips that show none, gets a detection dataset:
videos in which actions stand between other footage, with segments that are exact to one frame.
Cuts are hard, so a result on them tells of recognition over time more than of boundaries.

Every recording, and with it every clip, is on one side: in training videos or in test videos. With
unseen classes, training videos show none of their clips, not as background either, and test
videos show these classes alone.
"""

import csv
import json
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from hashlib import sha256
from pathlib import Path

from openmoment.errors import ConfigError, FormatError
from openmoment.storage.atomic import write_text
from openmoment.storage.listing import find_videos

BACKGROUND = "background"
"""The label of clips that show none of the actions."""
TRAIN, TEST = "train", "test"
ANNOTATIONS, VIDEOS, PLAN = "annotations.json", "videos", "composition.json"
_MOST_INSTANCES = 6
_MORE_LABELS = (0, 0, 1, 2)  # besides the one that leads, drawn evenly

Advance = Callable[[float, float], None]
"""Hears (videos done, videos in all)."""


@dataclass(frozen=True)
class Clip:
    """A short video that shows one thing."""

    path: Path
    label: str
    recording: str
    """What it was cut from: clips of one recording show the same scene."""


@dataclass(frozen=True)
class Composition:
    """How clips become videos. The same seed and clips give the same bytes. Raises ConfigError."""

    num_train: int = 24
    num_test: int = 12
    unseen: tuple[str, ...] = ()
    seed: int = 0
    max_clip_s: float = 10.0
    width: int = 320
    height: int = 240
    fps: int = 25

    def __post_init__(self) -> None:
        if self.num_train < 0 or self.num_test < 1:
            raise ConfigError("Expected 0 or more videos to train on, and 1 or more to test on.")
        if self.fps < 1 or self.width < 16 or self.height < 16 or self.max_clip_s <= 0:
            raise ConfigError("Expected a picture of 16 x 16 or more, 1 fps or more, and a time.")
        if self.width % 2 or self.height % 2:
            raise ConfigError(f"Expected even sides, got {self.width} x {self.height}.")


# ---------------------------------------------------------------------------------------------
# Clips
# ---------------------------------------------------------------------------------------------


def read_clips(
    source: Path,
    *,
    labels: Sequence[str] = (),
    background: Sequence[str] = (),
    include: Sequence[str] = (),
) -> list[Clip]:
    """The clips of a folder with a folder for each label, or of a CSV file, sorted by path.

    The file has the columns path (from its own folder on), label and, where clips share a source
    recording, group; without, each is its own. ``background`` are patterns of paths that show none
    of the actions, besides the label of that name; of other clips only those of ``labels`` and
    those that fit a pattern of ``include`` are taken, where these are given. Raises FormatError.
    """
    rows = _read_csv(source) if source.is_file() else _read_folder(source)
    root = source.parent if source.is_file() else source
    found: list[Clip] = []
    for path, label, group in rows:
        if label == BACKGROUND or any(fnmatch(path, pattern) for pattern in background):
            found.append(Clip(root / path, BACKGROUND, group))
            continue
        is_meant = not include or any(fnmatch(path, pattern) for pattern in include)
        if is_meant and (not labels or label in labels):
            found.append(Clip(root / path, label, group))
    for label in (*labels, BACKGROUND):
        if not any(clip.label == label for clip in found):
            raise FormatError(f"{source}: holds no clip of {label!r}.")
    return sorted(found, key=lambda clip: clip.path)


def _read_csv(path: Path) -> Iterator[tuple[str, str, str]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        for name in ("path", "label"):
            if name not in (reader.fieldnames or ()):
                raise FormatError(f"{path}: column {name!r} is missing.")
        for row in reader:
            yield row["path"], row["label"], row.get("group") or row["path"]


def _read_folder(folder: Path) -> Iterator[tuple[str, str, str]]:
    for video in find_videos(folder):
        name = video.relative_to(folder).as_posix()
        label, sign, _ = name.partition("/")
        if not sign:
            raise FormatError(f"{video}: expected it in a folder that is named as its label.")
        yield name, label, name


def divide(clips: Sequence[Clip], seed: int) -> dict[str, list[Clip]]:
    """The clips to train on and to test on: every recording on one side, every label on both.

    Recordings come in an order that the seed decides, each to the side that has less of what it
    shows. Raises ConfigError for a label of a single recording.
    """
    recordings: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        recordings[clip.recording].append(clip)
    counts: dict[str, dict[str, int]] = {side: defaultdict(int) for side in (TRAIN, TEST)}
    sides: dict[str, list[Clip]] = {TRAIN: [], TEST: []}
    order = sorted(recordings, key=lambda name: sha256(f"{seed}/{name}".encode()).digest())
    for name in order:
        shown = recordings[name]
        lead = sum(counts[TRAIN][clip.label] - counts[TEST][clip.label] for clip in shown)
        side = TEST if lead > 0 else TRAIN
        sides[side] += shown
        for clip in shown:
            counts[side][clip.label] += 1
    for label in sorted({clip.label for clip in clips}):
        for side in (TRAIN, TEST):
            if not counts[side][label]:
                raise ConfigError(
                    f"{label!r}: expected clips of two recordings or more, one to train on and one "
                    f"to test on; nothing is left for {side}."
                )
    return {side: sorted(found, key=lambda clip: clip.path) for side, found in sides.items()}


# ---------------------------------------------------------------------------------------------
# Videos
# ---------------------------------------------------------------------------------------------


class _Deck:
    """Clips in random order; all are drawn before one comes again."""

    def __init__(self, clips: Sequence[Clip], rng: random.Random) -> None:
        self._clips, self._rng, self._left = list(clips), rng, list[Clip]()

    def draw(self) -> Clip:
        if not self._left:
            self._left = self._rng.sample(self._clips, len(self._clips))
        return self._left.pop()


def plan_videos(clips: Sequence[Clip], composition: Composition) -> dict[str, list[Clip]]:
    """The clips of each video, in their order, by its id. Raises ConfigError.

    A video shows one to three classes, every class leading in turn, two to six instances in all,
    each between two clips of background.
    """
    names = sorted({clip.label for clip in clips} - {BACKGROUND})
    for name in composition.unseen:
        if name not in names:
            raise ConfigError(f"unseen: no clip shows {name!r}. Labels: {', '.join(names)}.")
    seen = [name for name in names if name not in composition.unseen]
    if not seen:
        raise ConfigError("unseen: no class is left to train on.")
    sides = divide(clips, composition.seed)
    shown = {TRAIN: seen, TEST: sorted(composition.unseen) or names}
    numbers = {TRAIN: composition.num_train, TEST: composition.num_test}
    return {
        f"{side}_{i:04}": film
        for side in (TRAIN, TEST)
        for i, film in enumerate(
            _films(sides[side], shown[side], numbers[side], f"{composition.seed}/{side}")
        )
    }


def _films(
    clips: Sequence[Clip], names: Sequence[str], number: int, seed: str
) -> Iterator[list[Clip]]:
    rng = random.Random(seed)
    decks = {
        name: _Deck([clip for clip in clips if clip.label == name], rng)
        for name in (*names, BACKGROUND)
    }
    for i in range(number):
        others = [name for name in names if name != names[i % len(names)]]
        more = min(rng.choice(_MORE_LABELS), len(others))
        shown = [names[i % len(names)], *rng.sample(others, more)]
        film = [decks[BACKGROUND].draw()]
        for instance in range(rng.randint(max(2, len(shown)), _MOST_INSTANCES)):
            name = shown[instance] if instance < len(shown) else rng.choice(shown)
            film += [decks[name].draw(), decks[BACKGROUND].draw()]
        yield film


def compose(
    clips: Sequence[Clip],
    composition: Composition,
    out: Path,
    *,
    advance: Advance | None = None,
) -> Mapping[str, int]:
    """Write the videos below ``out/videos``, then ``annotations.json``; how many of each subset.

    ``composition.json`` says which clip is where. Raises ConfigError, FormatError where the folder
    holds annotations already, VideoError for a clip that cannot be read.
    """
    from openmoment.video.joining import join

    if (out / ANNOTATIONS).exists():
        raise FormatError(f"{out}: holds {ANNOTATIONS} already. Choose another folder for --out.")
    films = plan_videos(clips, composition)
    (out / VIDEOS).mkdir(parents=True, exist_ok=True)
    database, fps = {}, composition.fps
    for done, (name, film) in enumerate(films.items(), start=1):
        cuts = join(
            [clip.path for clip in film],
            out / VIDEOS / f"{name}.mp4",
            fps=fps,
            size=(composition.width, composition.height),
            max_clip_s=composition.max_clip_s,
        )
        annotations = [
            {"segment": [start_s, end_s], "label": clip.label}
            for clip, (start_s, end_s) in zip(film, cuts, strict=True)
            if clip.label != BACKGROUND
        ]
        subset = name.partition("_")[0]
        database[name] = {"subset": subset, "duration": cuts[-1][1], "annotations": annotations}
        if advance:
            advance(done, len(films))
    told = {name: [[clip.label, str(clip.path)] for clip in film] for name, film in films.items()}
    _write({"settings": asdict(composition), "videos": told}, out / PLAN)
    _write({"version": "composed", "taxonomy": [], "database": database}, out / ANNOTATIONS)
    return {TRAIN: composition.num_train, TEST: composition.num_test}


def _write(document: object, path: Path) -> None:
    write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", path)
