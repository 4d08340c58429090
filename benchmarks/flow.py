"""How fast is optical flow, and does motion help to find actions?

    python benchmarks/flow.py speed [--pairs 3]
    python benchmarks/flow.py cue

speed  at the working resolution and four sampled frames a second: DIS, drawing, encoding, and the
       cost of RAFT in the same run. RAFT's weights are drawn at random: they cost the same.
cue    the mean speed of each snippet, standardised in its video, is added to the evidence that
       `similarity` cuts into segments and to the curve of each true class, at several weights in
       units of these curves' deviation; frame AUC and mAP tell whether it helps. Half a of the
       composed videos is the one to choose on.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from real_video import print_table
from sets import Video, composed, continuous, data_root
from sklearn.metrics import roc_auc_score

from openmoment.encoders import load_encoder
from openmoment.encoders.motion.flow import SIDE, FlowEncoder, to_colours
from openmoment.encoders.motion.flow_algorithms import Raft, load_flow
from openmoment.evaluation.detection import PROFILES, evaluate_detection
from openmoment.features.cache import Cache
from openmoment.methods.similarity import Similarity, SimilarityConfig
from openmoment.pipeline import load_pipeline
from openmoment.pipeline.snippets import encode_snippets
from openmoment.types import SnippetGrid

FPS = 4.0
WEIGHTS = (0.0, 0.25, 0.5, 1.0, -0.5)
RANKING = dict(Similarity.RANKING)


# ---------------------------------------------------------------------------------------------
# Speed
# ---------------------------------------------------------------------------------------------


def seconds_of(function: Callable[[], object], *, runs: int = 3) -> float:
    """The median."""
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def speed(options: argparse.Namespace) -> None:
    from openmoment.video import probe, read_frames

    path = data_root() / "clips/thumos14/video_test_0000946.mp4"
    info, encoder = probe(path), load_encoder("embedded")
    frames = list(read_frames(path, fps=FPS, short_side=SIDE))
    video_s, height, width = frames[-1].end_s, *frames[0].rgb.shape[:2]
    rows = []

    def tell(what: str, seconds: float) -> None:
        per_frame = 1000 * seconds / len(frames)
        rows.append([what, f"{per_frame:.1f}", f"{video_s / seconds:.1f}"])

    tell("decode", seconds_of(lambda: list(read_frames(path, fps=FPS, short_side=SIDE))))
    for name in ("dis", "dis-fast", "dis-ultrafast"):
        flow = load_flow(name)
        flow.between(frames[0].rgb, frames[1].rgb)  # loads OpenCV
        tell(f"{name}, flow alone", seconds_of(lambda flow=flow: flows(flow, frames)))
    vectors = load_flow().between(frames[0].rgb, frames[1].rgb)
    tell("drawing", seconds_of(lambda: [to_colours(vectors, 1.0) for _ in frames]))
    plain = lambda: encoder.encode_video(path, fps=FPS, source_sha256="")  # noqa: E731
    plain()  # loads the weights
    tell("frames: decode, encode", seconds_of(plain))
    for name in ("dis", "dis-fast", "dis-ultrafast"):
        whole = FlowEncoder(encoder, name)
        tell(
            f"{name}: decode, flow, draw, encode",
            seconds_of(lambda whole=whole: whole.encode_video(path, fps=FPS, source_sha256="")),
        )
    some = frames[: options.pairs + 1]
    with tempfile.TemporaryDirectory() as folder:
        for name in ("raft-small", "raft"):
            flow = Raft(name, random_weights(name, Path(folder)))
            flow.between(frames[0].rgb, frames[1].rgb)  # loads the weights
            scale = len(frames) / options.pairs
            tell(
                f"{name}, flow alone, {options.pairs} pairs",
                scale * seconds_of(lambda flow=flow: flows(flow, some), runs=1),
            )
    title = f"{info.width} x {info.height} at {info.fps:.0f} fps, flow at {width} x {height}"
    cores = f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    print_table(f"{title}, {cores}", ["what", "ms a frame", "x real time at 4 fps"], rows)


def flows(flow: object, frames: list) -> None:
    for first, second in zip(frames[:-1], frames[1:], strict=True):
        flow.between(first.rgb, second.rgb)


def random_weights(name: str, folder: Path) -> Path:
    from safetensors.torch import save_file

    from openmoment.encoders.weights.torchvision_ops import declare_missing

    declare_missing()
    from torchvision.models import optical_flow

    make = optical_flow.raft_small if name == "raft-small" else optical_flow.raft_large
    save_file(make(weights=None).state_dict(), folder / f"{name}.safetensors")
    return folder / f"{name}.safetensors"


# ---------------------------------------------------------------------------------------------
# A cue
# ---------------------------------------------------------------------------------------------


class MotionOnly:
    """A backbone that sees nothing, so that only the speeds of a flow file count."""

    name, fingerprint, fps, dim_in, picture_side, picture_batch = "nothing", "1", FPS, 1, SIDE, 16

    def encode_pictures(self, pictures: list) -> np.ndarray:
        return np.zeros((len(pictures), 1), np.float32)


class CuedSpace:
    """A space whose logits have a cue of the video in them; nothing else changes."""

    def __init__(self, space: object) -> None:
        self._space = space
        self.evidence = space.evidence
        self.cue: np.ndarray | float = 0.0

    def logits(self, features: np.ndarray, embeddings: np.ndarray) -> np.ndarray:
        plain = self._space.logits(features, embeddings)
        return plain + self.cue * plain.std(axis=1, keepdims=True)


def cue(_: argparse.Namespace) -> None:
    root = data_root()
    sets = {f"composed, half {part}": composed(root, part) for part in "ab"}
    sets |= {title: [videos] for title, videos in continuous(root).items()}
    rows = []
    for title, rotations in sets.items():
        answers = [Answers(videos) for videos in rotations]
        alone = np.mean([auc for a in answers for auc in a.aucs(0.0, of_cue=1.0)])
        for weight in WEIGHTS:
            aucs = [auc for a in answers for auc in a.aucs(1.0, of_cue=weight)]
            mean_ap = 100 * np.mean([a.mean_ap(weight) for a in answers], axis=0)
            cells = [f"{weight:g}", f"{np.mean(aucs):.3f}", f"{alone:.3f}"]
            rows.append([title, *cells, *(f"{figure:.1f}" for figure in mean_ap)])
    header = ["set", "weight", "frame AUC", "of the cue alone", "mAP@.3", "@.5", "@.7"]
    print_table("motion as a cue for similarity, embedded", header, rows)


class Answers:
    """What `similarity` says of videos, with their motion added at some weight."""

    def __init__(self, videos: list[Video]) -> None:
        pipeline = load_pipeline("embedded", settings=RANKING)
        self.space = CuedSpace(pipeline.encoder.space)
        self.method = Similarity(SimilarityConfig(**RANKING), self.space)
        self.videos = videos
        self.parts = []
        for video in videos:
            snippets = pipeline.snippets(video.path)
            motion = encode_snippets(video.path, FlowEncoder(MotionOnly()), Cache(), fps=FPS).motion
            standard = (motion - motion.mean()) / max(motion.std(), 1e-9)
            self.parts.append((snippets, pipeline.queries(video.names), standard))

    def mean_ap(self, weight: float) -> np.ndarray:
        found = {}
        for video, (snippets, queries, motion) in zip(self.videos, self.parts, strict=True):
            self.space.cue = weight * motion
            found[video.key] = self.method.localize(snippets, queries)
        truth = {video.key: video.truth for video in self.videos}
        tious = PROFILES["fine"]
        mean_ap = evaluate_detection(found, truth, tious=tious).mean_ap
        return mean_ap[[tious.index(tiou) for tiou in (0.3, 0.5, 0.7)]]

    def aucs(self, of_margin: float, *, of_cue: float) -> list[float]:
        """How well the two together rank the snippets of each true class before the others."""
        aucs = []
        for video, (snippets, queries, motion) in zip(self.videos, self.parts, strict=True):
            margins = self.method.margins(snippets, queries)
            for label in set(video.truth.labels.tolist()):
                inside = is_inside(video, label, snippets.grid)
                if 0 < inside.sum() < len(inside):
                    curve = margins[label] / margins[label].std()
                    aucs.append(roc_auc_score(inside, of_margin * curve + of_cue * motion))
        return aucs


def is_inside(video: Video, label: int, grid: SnippetGrid) -> np.ndarray:
    """Of the snippets, those that show that class."""
    inside = np.zeros(len(grid), dtype=bool)
    for start_s, end_s in video.truth.segments[video.truth.labels == label]:
        inside |= (grid.centres_s >= start_s) & (grid.centres_s < end_s)
    return inside


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=("speed", "cue"))
    parser.add_argument("--pairs", type=int, default=3, help="for RAFT, which is slow")
    options = parser.parse_args()
    {"speed": speed, "cue": cue}[options.what](options)


if __name__ == "__main__":
    main()
