"""The real videos that the benchmarks read: clips, composed and continuous ones.

Nothing here is ours: the data folder's README says whose the footage is. The folder is
../shared/data beside the checkout, or $OPENMOMENT_DATA. Composed videos are made once, under the
cache folder, by the data folder's own tool.
"""

import csv
import json
import os
import re
import subprocess
import sys
import zlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from openmoment.datasets.base import prompt_name as words_of
from openmoment.encoders import load_encoder
from openmoment.encoders.motion.flow import FlowEncoder
from openmoment.features.cache import Cache
from openmoment.features.file import write_features
from openmoment.pipeline import load_pipeline
from openmoment.pipeline.snippets import encode_snippets
from openmoment.storage.atomic import write_text
from openmoment.types import Annotations

COMPOSED_CLASSES = (
    "ApplyEyeMakeup",
    "ApplyLipstick",
    "Archery",
    "BabyCrawling",
    "BalanceBeam",
    "BandMarching",
    "BaseballPitch",
    "Basketball",
    "BasketballDunk",
)
VIDEOS_PER_ROTATION = 12
FILLER = ("charades_univtg.mp4", "making_cake.mp4", "demo_demo.mp4")


@dataclass(frozen=True)
class Video:
    """One video, what is asked of it, and what is true."""

    path: Path
    key: str
    names: tuple[str, ...]
    truth: Annotations


def data_root() -> Path:
    default = Path(__file__).parents[2] / "shared" / "data"
    root = Path(os.environ.get("OPENMOMENT_DATA", default))
    if not (root / "clips.csv").is_file():
        sys.exit(f"No data at {root}. Set OPENMOMENT_DATA to the data folder.")
    return root


def prompt_name(name: str) -> str:
    """CamelCase class names as words: ``CleanAndJerk`` is ``clean and jerk``."""
    return words_of(name).lower()


def thumos_names(root: Path) -> list[str]:
    rows = (root / "annotations/thumos14/class_index_detection.txt").read_text().splitlines()
    return [row.split()[1] for row in rows]


def read_clips(root: Path) -> list[dict[str, str]]:
    with (root / "clips.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def half_of(group: str) -> str:
    """Which half of the source groups: settings are chosen on a, results are reported on b."""
    return "ab"[zlib.crc32(group.encode()) & 1]


def annotations(entry: dict, names: list[str]) -> Annotations:
    kept = [a for a in entry["annotations"] if a["label"] in names]
    segments = np.array([a["segment"] for a in kept], dtype=float).reshape(-1, 2)
    labels = np.array([names.index(a["label"]) for a in kept], dtype=np.int64)
    return Annotations(segments, labels, tuple(map(prompt_name, names)), entry["duration"])


def composed(root: Path, part: str) -> list[list[Video]]:
    """Three rotations of six annotated classes; the other three classes fill the gaps."""
    rotations = []
    for rotation in range(3):
        names = [name for i, name in enumerate(COMPOSED_CLASSES) if i % 3 != rotation]
        folder = _compose(root, part, rotation, names)
        database = json.loads((folder / "annotations.json").read_text())["database"]
        rotations.append(
            [
                Video(
                    folder / f"{key}.mp4",
                    key,
                    tuple(map(prompt_name, names)),
                    annotations(entry, names),
                )
                for key, entry in database.items()
            ]
        )
    return rotations


def _compose(root: Path, part: str, rotation: int, names: list[str]) -> Path:
    folder = Cache().root / "benchmarks" / f"composed-{part}{rotation}"
    if not (folder / "annotations.json").is_file():
        compose(root, folder, part, names, COMPOSED_CLASSES, VIDEOS_PER_ROTATION, rotation)
    return folder


def compose(
    root: Path,
    folder: Path,
    part: str,
    names: list[str],
    shown: Collection[str],
    num_videos: int,
    seed: int,
) -> None:
    """Videos of clips of half ``part``: ``names`` are annotated, other ``shown`` classes fill."""
    folder.mkdir(parents=True, exist_ok=True)
    listing = folder / "clips.csv"
    with listing.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "group"])
        for row in read_clips(root):
            if row["dataset"] == "UCF101" and row["label"] in COMPOSED_CLASSES:
                if row["label"] in shown:
                    writer.writerow([row["path"], row["label"], row["label"] + row["group"]])
            elif re.search("/(background|hmdb51)/", row["path"]) or row["path"].endswith(FILLER):
                writer.writerow([row["path"], "background", row["path"]])
    tool = root.parent / "tools" / "compose_videos.py"
    command = [sys.executable, str(tool), "--clips", str(listing), "--root", str(root)]
    command += ["--out", str(folder), "--videos", str(num_videos), "--part", part]
    command += ["--seed", str(seed), "--labels", *names]
    print(f"composing {folder} ...", file=sys.stderr)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def compose_split(
    root: Path, out: Path, rotation: int, *, num_train: int = 24, num_test: int = 12
) -> tuple[Path, tuple[str, ...]]:
    """A dataset folder for one rotation of nine classes, with features, and its unseen classes.

    Training videos show the six seen classes and the backgrounds of half a; test videos the three
    unseen ones and the backgrounds of half b. No source recording is in both.
    """
    unseen = [name for i, name in enumerate(COMPOSED_CLASSES) if i % 3 == rotation]
    seen = [name for name in COMPOSED_CLASSES if name not in unseen]
    folder = out / f"real-{rotation}"
    if (folder / "annotations.json").is_file():
        return folder, tuple(unseen)
    database, pipeline = {}, load_pipeline("embedded")
    (folder / "features").mkdir(parents=True, exist_ok=True)
    parts = (("train", "a", seen, num_train), ("test", "b", unseen, num_test))
    for subset, part, names, number in parts:
        made = folder / subset
        if not (made / "annotations.json").is_file():
            compose(root, made, part, names, names, number, rotation)
        for key, entry in json.loads((made / "annotations.json").read_text())["database"].items():
            snippets = pipeline.snippets(made / f"{key}.mp4")
            write_features(snippets, folder / "features" / f"{subset}-{key}.safetensors")
            database[f"{subset}-{key}"] = entry | {"subset": subset}
    write_text(json.dumps({"database": database}, indent=1), folder / "annotations.json")
    return folder, tuple(unseen)


def add_flow(folder: Path) -> None:
    """The optical flow of a split's videos beside their features, where it is not there yet."""
    encoder = FlowEncoder(load_encoder("embedded"))
    for subset in ("train", "test"):
        for video in sorted((folder / subset).glob("*.mp4")):
            path = folder / "features" / f"{subset}-{video.stem}{encoder.suffix}"
            if not path.is_file():
                print(f"flow of {video} ...", file=sys.stderr)
                write_features(encode_snippets(video, encoder, Cache(), fps=encoder.fps), path)


def continuous(root: Path) -> dict[str, list[Video]]:
    """Videos without cuts: whole untrimmed ones, and short clips with boundaries inside."""
    database = json.loads((root / "clips_temporal.json").read_text())["database"]
    thumos = thumos_names(root)
    untrimmed, inner = [], []
    for path, entry in database.items():
        label = entry["annotations"][0]["label"] if entry["annotations"] else ""
        if "/thumos14/" in path:
            untrimmed.append(_video(root, path, entry, thumos))
        elif "/activitynet/" in path:
            names = ["Clean and jerk", "Walking the dog", "Long jump", "Making a cake", "Drinking"]
            untrimmed.append(_video(root, path, entry, names))
        elif label in ("BasketballDunk", "Basketball"):
            inner.append(_video(root, path, entry, ["BasketballDunk", "Basketball"]))
    return {"untrimmed": untrimmed, "inner": inner}


def _video(root: Path, path: str, entry: dict, names: list[str]) -> Video:
    truth = annotations(entry, names)
    return Video(root / path, path, truth.names, truth)
