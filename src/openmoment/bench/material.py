"""What a bench makes before it runs: made-up worlds, composed videos, features of videos.

What is there is not made again. Several benches may share the folder: one makes, the others wait.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from openmoment.bench.apart import News, make_apart
from openmoment.bench.job import Job
from openmoment.bench.places import expand
from openmoment.bench.suite import ComposeFrom, DatasetPart, Synthesize
from openmoment.datasets.collect import collect
from openmoment.datasets.compose import Composition, compose, read_clips
from openmoment.datasets.made_up.files import FEATURES
from openmoment.encoders import load_encoder
from openmoment.errors import ConfigError, OpenMomentError
from openmoment.experiments.synthesis import make_world
from openmoment.features.cache import Cache
from openmoment.pipeline.extraction import extract
from openmoment.storage.atomic import write_text
from openmoment.storage.leases import lease
from openmoment.storage.listing import find_videos
from openmoment.storage.reading import read_json

MADE = "made.json"
_WAIT_S = 2.0

Tell = Callable[[str], None]
Advance = Callable[[float, float], None]


def make_material(
    parts: Sequence[tuple[DatasetPart, Sequence[Job]]],
    data: Path,
    *,
    tell: Tell,
    advance: Callable[[str], Advance] | None = None,
    num_jobs: int = 1,
    threads: int = 1,
) -> None:
    """Make the datasets that the suite makes, and the features that runs read. Raises errors.

    ``tell`` hears what is being made; ``advance`` gives, for a label, what hears how far it is.
    Every dataset is made in a process of its own, ``num_jobs`` at a time.
    """

    def hear(news: News) -> None:
        if news.line:
            tell(news.line)
        elif advance:
            advance(news.label)(news.done, news.total)

    items = [(part, jobs, data) for part, jobs in parts if _is_needed(part, jobs, data)]
    make_apart(make_part, items, num_jobs=num_jobs, threads=threads, hear=hear)


def _is_needed(part: DatasetPart, jobs: Sequence[Job], data: Path) -> bool:
    """Whether anything of it may have to be made."""
    return part.is_made or any(_is_ours(job, part, data) for job in jobs)


def _is_ours(job: Job, part: DatasetPart, data: Path) -> bool:
    """Whether a run reads features that the bench makes."""
    return bool(job.videos) and Path(job.features) == data / part.name / FEATURES / job.place


def make_part(
    part: DatasetPart,
    jobs: Sequence[Job],
    data: Path,
    tell: Tell,
    advance: Callable[[str], Advance] | None,
) -> None:
    """One dataset, and the features of its videos."""
    hear = advance(part.name) if advance else None
    if part.is_made:
        _make(part, data / part.name, tell, hear)
    for job in {job.backbone: job for job in jobs}.values():
        if _is_ours(job, part, data):
            _extract(Path(job.videos), Path(job.features), job.backbone, part.name, tell, hear)


def _make(part: DatasetPart, folder: Path, tell: Tell, advance: Advance | None) -> None:
    wanted = json.loads(json.dumps(asdict(part.how_made)))  # type: ignore[arg-type]
    wanted["unseen"] = list(part.unseen)
    folder.mkdir(parents=True, exist_ok=True)
    if _is_made(folder, wanted, part.name):
        return
    with _alone(folder / "made.lease"):
        if _is_made(folder, wanted, part.name):
            return
        tell(f"{part.name}: being made in {folder} ...")
        if part.synthesize:
            _synthesize(part.synthesize, folder, advance)
        elif part.compose:
            _compose(part.compose, part.unseen, folder, part.name, advance)
        elif part.collect:
            source = expand(part.collect.annotations, f"{part.name}: annotations")
            collect(source, folder, labels=part.collect.labels, include=part.collect.include)
        write_text(json.dumps(wanted, indent=1) + "\n", folder / MADE)


def _is_made(folder: Path, wanted: object, name: str) -> bool:
    """Whether it is there. Raises ConfigError where something else was made there."""
    if not (folder / MADE).is_file():
        return False
    if read_json(folder / MADE) != wanted:
        raise ConfigError(
            f"{folder}: was made with other settings of {name}. Choose another folder, or remove "
            "this one."
        )
    return True


def _synthesize(world: Synthesize, folder: Path, advance: Advance | None) -> None:
    make_world(
        world.world,
        folder,
        seed=world.seed,
        train=world.train,
        test=world.test,
        given=world.set,
        has_flow=world.flow,
        has_priors=world.priors,
        advance=advance,
    )


def _compose(
    how: ComposeFrom, unseen: tuple[str, ...], folder: Path, name: str, advance: Advance | None
) -> None:
    clips = read_clips(
        expand(how.clips, f"{name}: clips"),
        labels=how.labels,
        background=how.background,
        include=how.include,
    )
    composition = Composition(num_train=how.train, num_test=how.test, unseen=unseen, seed=how.seed)
    compose(clips, composition, folder, advance=advance)


def _extract(
    videos: Path, out: Path, backbone: str, name: str, tell: Tell, advance: Advance | None
) -> None:
    """Features of all videos. Raises OpenMomentError for the first that cannot be read."""
    encoder, found = load_encoder(backbone), find_videos(videos)
    told = False
    taken = found
    while taken:
        done = []
        for i, one in enumerate(
            extract(taken, out, encoder, fps=encoder.fps, sha256=Cache().sha256), start=1
        ):
            if one.status == "failed":
                raise OpenMomentError(one.message)
            if one.status == "made" and not told:
                told = True
                tell(f"{name}: features of {len(found)} videos, {encoder.name} ...")
            done.append(one)
            if advance:
                advance(i, len(found))
        taken = [one.video for one in done if one.status == "taken"]
        if taken:
            time.sleep(_WAIT_S)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Wait until nobody else holds the lease, then hold it."""
    while True:
        with lease(path) as outcome:
            if outcome != "taken":
                yield
                return
        time.sleep(_WAIT_S)
