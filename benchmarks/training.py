"""How fast do the trained detectors learn and answer? ConTrans against STALE, in one run.

    python benchmarks/training.py [--device cuda] [--steps 20]

Features of THUMOS14's shape (T 256, D 512), random, batches of 4 for training, one video at a time
for inference with 20 classes; `recommended` settings. The loader's share is what the loop waits
for batches, from the run's own log. ``STALE, as released`` does what its released code does: the
texts go through CLIP's text tower with every video, the temporal attention is as wide as there,
and candidates are found by a loop over snippets and thresholds. Memory is the process's peak while
it trains, above what it held before, each method in a process of its own.
"""

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from openmoment.blocks.mask_decoder import to_detections
from openmoment.checkpoints.card import TrainingCard
from openmoment.encoders.towers.projected import ProjectedSpace, Projections
from openmoment.encoders.two_tower.open_clip_names import import_open_clip
from openmoment.methods import METHODS
from openmoment.training.config import TrainConfig
from openmoment.training.data import TrainingData
from openmoment.training.loop import train
from openmoment.training.processes import start_processes
from openmoment.types import Annotations, Queries, Recipe, SnippetGrid, Snippets

T, D, CLASSES, VIDEOS, BATCH = 256, 512, 20, 16, 4
NAMES = tuple(f"class {i}" for i in range(CLASSES))
SPACE = ProjectedSpace(lambda: Projections(None, None, 100.0))


def snippets(video: int) -> Snippets:
    rows = np.random.default_rng(video).normal(size=(T, D)).astype(np.float32)
    return Snippets(
        rows, SnippetGrid.uniform(T, end_s=T / 4), Recipe("random", "0", 4.0, ""), T / 4
    )


def truth(video: int) -> Annotations:
    rng = np.random.default_rng([video, 1])
    starts = rng.uniform(0, T / 4 - 6, 8)
    segments = np.stack([starts, starts + rng.uniform(2, 6, 8)], axis=1)
    return Annotations(segments, np.full(8, video % CLASSES), NAMES, T / 4)


def queries() -> Queries:
    words = np.random.default_rng(0).normal(size=(CLASSES, D)).astype(np.float32)
    return Queries(NAMES, words, words[:0])


def make(name: str, **settings: object):
    torch.manual_seed(0)
    cls = METHODS[name]
    return cls(cls.Config(length=T, min_score=0.0, **settings), SPACE)


def train_for(name: str, steps: int, device: str) -> dict[str, float]:
    """Steps a second, the loader's share and the memory of a training run."""
    method = make(name)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    videos = {f"{i}": truth(i) for i in range(VIDEOS)}
    data = TrainingData(
        videos, lambda video: snippets(int(video)), method, seen=NAMES, queries=queries(), seed=0
    )
    config = TrainConfig(epochs=-(-steps * BATCH // VIDEOS), batch_size=BATCH, clip=1.0)
    card = TrainingCard(
        name, (D, D), "random", "0", "random", "0", 4.0, "random", "train", "all", "all", NAMES, (),
        VIDEOS,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as out:
        train(method, data, config, card, Path(out), processes=start_processes(device, "fp32"))
        rows = [json.loads(line) for line in (Path(out) / "log.jsonl").read_text().splitlines()]
    rows = rows[2:]  # the first steps find memory
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    if device != "cpu":
        memory = torch.cuda.max_memory_allocated() / 2**20
    return {
        "steps/s": 1 / float(np.median([row["step_s"] for row in rows])),
        "loader share": float(np.mean([row["loader_share"] for row in rows])),
        "MiB": memory,
        "M parameters": sum(p.numel() for p in method.parameters()) / 1e6,
    }


def seconds(function, runs: int) -> float:
    """The median time of a call."""
    function()
    found = []
    for _ in range(runs):
        start = time.perf_counter()
        function()
        found.append(time.perf_counter() - start)
    return float(np.median(found))


def as_released(method, tower, tokens, words: Queries):
    """One video as STALE's released code answers: texts again, candidates one by one."""
    how = method.config

    def answer() -> None:
        tower(tokens)
        video = snippets(0)
        with torch.inference_mode():
            texts = method.read_texts(words.names, torch.from_numpy(words.embeddings))
            out = method.predict(torch.from_numpy(video.features)[None], texts)
        p, masks = out.probabilities[0, :-1].double().numpy(), out.masks[0].double().numpy()
        found: dict[tuple[int, int, int], float] = {}
        for i in range(T):
            label = int(p[:, i].argmax())
            for threshold in how.mask_thresholds:
                above = np.flatnonzero(masks[i] > threshold)
                if len(above):
                    run = (int(above[0]), int(above[-1]) + 1, label)
                    score = float(p[label, i] * masks[i, above].max())
                    found[run] = max(found.get(run, 0.0), score)
        runs = np.array([key[:2] for key in found], dtype=np.int64)
        from openmoment.blocks.mask_decoder import Candidates

        labels = np.array([key[2] for key in found])
        candidates = Candidates(runs, labels, np.array([*found.values()]))
        to_detections([(video.grid, candidates)], words.names, replace(how, min_score=0.0))

    return answer


def infer(runs: int, device: str) -> dict[str, float]:
    """Videos a second."""
    asked, found = queries(), {}
    for name in ("contrans", "stale"):
        method, video = make(name).to(device), snippets(0)
        found[name] = 1 / seconds(lambda m=method, v=video: m.localize(v, asked), runs)
    if device == "cpu":
        open_clip = import_open_clip()
        tower = open_clip.transformer.TextTransformer(
            context_length=77, width=512, heads=8, layers=12, output_dim=512
        ).eval()
        tokens = torch.randint(1, 49000, (CLASSES, 77))
        method = make("stale", temporal_net="wide_transformer", temporal_layers=1).eval()
        with torch.inference_mode():
            answer = as_released(method, tower, tokens, asked)
            found["stale, as released"] = 1 / seconds(answer, max(2, runs // 4))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--runs", type=int, default=12)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    torch.set_num_threads(options.threads)
    for name in ("contrans", "stale"):
        with context.Pool(1, torch.set_num_threads, (options.threads,)) as pool:
            row = pool.apply(train_for, (name, options.steps, options.device))
        print(f"training  {name:<20}", "  ".join(f"{k} {v:.4g}" for k, v in row.items()))
    rates = infer(options.runs, options.device)
    for name, rate in rates.items():
        ratio = rates["contrans"] / rate
        print(f"inference {name:<20} {rate:.2f} videos/s, ConTrans is {ratio:.2f} times as fast")


if __name__ == "__main__":
    main()
