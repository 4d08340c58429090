"""Where the data of a bench lie: what it makes itself, and what its user has to bring."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from openmoment.bench.job import Job
from openmoment.bench.suite import DatasetPart, MethodPart
from openmoment.datasets import DATASETS
from openmoment.datasets.made_up.files import FEATURES, PRIORS
from openmoment.errors import ConfigError

VIDEOS = "videos"
KINDS = ("root", "features", "videos", "captions", "priors")


@dataclass(frozen=True)
class Brought:
    """Folders that the user names: ``{kind: {dataset of the suite: folder}}``."""

    folders: Mapping[str, Mapping[str, Path]] = field(default_factory=dict[str, Mapping[str, Path]])

    def find(self, kind: str, name: str) -> Path | None:
        return self.folders.get(kind, {}).get(name)


def parse_places(given: Mapping[str, Sequence[str]], parts: Sequence[DatasetPart]) -> Brought:
    """From ``{kind: ["NAME=DIR", ...]}``; where the suite has one dataset, ``DIR`` alone will do.

    ``NAME:KIND`` names features of another encoder. Raises ConfigError.
    """
    names = [part.name for part in parts]
    folders: dict[str, dict[str, Path]] = {}
    for kind, entries in given.items():
        for entry in entries:
            name, sign, folder = entry.partition("=")
            if not sign:
                if len(names) != 1:
                    raise ConfigError(
                        f"--{kind}: expected NAME=DIR, where NAME is one of {', '.join(names)}; "
                        f"got {entry!r}."
                    )
                name, folder = names[0], entry
            if name.partition(":")[0] not in names:
                raise ConfigError(
                    f"--{kind}: {name!r} is no dataset of this suite. It has {', '.join(names)}."
                )
            folders.setdefault(kind, {})[name] = Path(folder)
    return Brought(folders)


def place(job: Job, part: DatasetPart, method: MethodPart, brought: Brought, data: Path) -> Job:
    """The run with the places of its data: below ``data`` for what the bench makes."""
    found = {kind: brought.find(kind, part.name) for kind in KINDS}
    found["features"] = brought.find("features", features_name(job, part, method))
    made = data / part.name
    if part.is_made:
        found["root"] = made
        found["priors"] = made / PRIORS if part.synthesize and part.synthesize.priors else None
    if part.synthesize:
        found["features"] = made / FEATURES
    elif part.is_made:
        found["videos"], found["features"] = made / VIDEOS, made / FEATURES / job.place
    elif found["videos"] and not (found["features"] or method.features):
        found["features"] = made / FEATURES / job.place
    wanted = {"captions": method.captions, "priors": method.priors}
    kept = {kind: str(path) for kind, path in found.items() if path and wanted.get(kind, True)}
    return replace(job, **kept)


def features_name(job: Job, part: DatasetPart, method: MethodPart) -> str:
    """What a user calls the features of a run: of the first backbone by the dataset's name."""
    kind = method.features or (job.backbone if job.backbone != part.backbones[0] else "")
    return f"{part.name}:{kind}" if kind else part.name


def missing_places(
    planned: Sequence[tuple[Job, DatasetPart, MethodPart]], brought: Brought
) -> dict[str, str]:
    """What the user still has to bring: each option, and what it is for."""
    needs: dict[str, str] = {}
    for job, part, method in planned:
        if part.is_made:
            continue
        wanted = {("root", part.name): f"annotations of {DATASETS[part.dataset].title}"}
        name = features_name(job, part, method)
        if method.features:
            wanted["features", name] = f"{method.features} features"
        elif brought.find("videos", part.name) is None:
            wanted["features", name] = f"feature files, {job.backbone}; or --videos"
        needs |= {
            f"--{kind} {name}=DIR": told
            for (kind, name), told in wanted.items()
            if brought.find(kind, name) is None
        }
    return needs


def require_places(
    planned: Sequence[tuple[Job, DatasetPart, MethodPart]], brought: Brought, suite: str
) -> None:
    """Raises ConfigError with one line that names all that is missing, and how to get it."""
    if needs := missing_places(planned, brought):
        told = "; ".join(f"{option} ({what})" for option, what in needs.items())
        raise ConfigError(
            f"The suite {suite} needs {told}. How to get them: openmoment bench {suite} --list. "
            "Part of it: --only."
        )


def expand(text: str, where: str) -> Path:
    """A path in which ``$NAME`` is from the environment. Raises ConfigError where it is not set."""
    found = os.path.expandvars(text)
    if "$" in found:
        name = found.partition("$")[2].partition("/")[0]
        raise ConfigError(f"{where}: set the environment variable {name} to the folder meant.")
    return Path(found)
