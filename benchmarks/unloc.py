"""What does UnLoc cost as the number of classes grows, and where does the time go?

    python benchmarks/unloc.py [--runs 2] [--threads 2] [--tower]

Answers about one video of 128 random snippets (D 512), with random weights and class names: the
network is run once for each pair of a video and a class, so that the cost is a line whose slope is
what a pair costs. Times are the least of the runs. Memory is the process's peak while it answers,
above what it held before, each measurement in a process of its own. The machine's peak is a
product of two 2048 x 2048 matrices in float32, on as many threads, the best of those before,
between and after the runs. The floating-point operations of a pair are counted, two for a
multiplication with an addition:

    fusion   layers * (8 n d^2 + 4 n d inner + 4 n^2 d)         n = T + 1 tokens
    heads    2 * convs * 6 m d^2                                m = T + T/2 + T/4 + T/8 positions

with the depthwise pyramid and all that is linear in d left out. Baselines, each in the same run:
one class at a time (``at_once=1``); a call for each class, which projects and cuts the video
again; and, with ``--tower``, such a call that also encodes the frames with CLIP's ViT-B/16, random
weights, as a network without shared features would (8 frames are run, and scaled up to 128).
"""

import argparse
import multiprocessing
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from openmoment.encoders.towers.projected import ProjectedSpace, Projections
from openmoment.methods import unloc
from openmoment.methods.unloc import UnLoc, UnLocConfig
from openmoment.types import Queries, Recipe, SnippetGrid, Snippets

T, D = 128, 512
SIZES: dict[str, dict[str, int]] = {
    "UnLoc-B": {"width": 512, "heads": 8, "inner": 2048, "layers": 6},
    "small": {"width": 128, "heads": 4, "inner": 512, "layers": 2},
}
CLASSES = (1, 10, 50, 100, 200)
BASELINE_CLASSES = 50
SPACE = ProjectedSpace(lambda: Projections(None, None, 100.0))


def make(size: str, **settings: Any) -> UnLoc:
    torch.manual_seed(0)
    sizes = SIZES[size] | settings
    return UnLoc(UnLocConfig(length=T, min_score=0.001, **sizes), SPACE).eval()


def video() -> Snippets:
    rows = np.random.default_rng(1).normal(size=(T, D)).astype(np.float32)
    grid = SnippetGrid.uniform(T, end_s=T / 4)
    return Snippets(rows, grid, Recipe("random", "0", 4.0, ""), T / 4)


def queries(num: int) -> Queries:
    words = np.random.default_rng(0).normal(size=(num, D)).astype(np.float32)
    return Queries(tuple(f"class {i}" for i in range(num)), words, words[:0])


def least(function: Callable[[], object], runs: int) -> float:
    """Seconds of the fastest of some calls."""
    found = []
    for _ in range(runs):
        start = time.perf_counter()
        function()
        found.append(time.perf_counter() - start)
    return min(found)


def pair_flops(method: UnLoc) -> float:
    """Of one video and one class."""
    c, n = method.config, T + 1
    d, inner = c.width, c.inner
    fusion = c.layers * (8 * n * d**2 + 4 * n * d * inner + 4 * n**2 * d)
    positions = sum(-(-T // 2**level) for level in range(c.levels))
    return fusion + 2 * c.head_convs * 6 * positions * d**2


def matrix_peak(runs: int = 3) -> float:
    """Operations a second of a large product."""
    a, b = torch.randn(2048, 2048), torch.randn(2048, 2048)
    a @ b
    return 2 * 2048**3 / least(lambda: a @ b, runs)


def growth(size: str, runs: int) -> None:
    """Time as a line over the number of classes, and how near the machine's peak it comes."""
    method, shown, peak = make(size), video(), matrix_peak()
    method.answer(shown, queries(1))
    rounds = []
    for _ in range(runs):  # one after the other: what else the machine does changes slowly
        rounds.append([least(lambda n=num: method.answer(shown, queries(n)), 1) for num in CLASSES])
        peak = max(peak, matrix_peak())
    seconds = np.min(rounds, axis=0)
    slope, constant = np.polyfit(CLASSES, seconds, 1)
    misses = seconds - (slope * np.array(CLASSES) + constant)
    r2 = 1 - misses.var() / seconds.var()
    for num, s in zip(CLASSES, seconds, strict=True):
        print(f"{size:<8} {num:>4} classes  {s:8.3f} s  {1 / s:7.3f} videos/s")
    flops = pair_flops(method)
    print(
        f"{size:<8} {1000 * slope:.2f} ms a class and {1000 * constant:.1f} ms, R^2 {r2:.5f}; "
        f"{flops / 1e9:.3f} GFLOP a class: {flops / slope / 1e9:.1f} of {peak / 1e9:.1f} GFLOP/s, "
        f"{flops / slope / peak:.0%} of the peak"
    )


@contextmanager
def watched(method: UnLoc, spent: Counter[str]) -> Iterator[None]:
    """Adds up the seconds in the parts of the network and in decoding."""
    parts = (
        *(("fusion", method.fusion), ("pyramid", method.pyramid)),
        *(("heads", method.relevance), ("heads", method.displacement)),
    )
    with ExitStack() as stack:
        for name, part in parts:
            stack.enter_context(patch.object(part, "forward", timed(name, part.forward, spent)))
        for name in ("propose", "curves_of", "suppress"):
            clocked = timed("decoding", getattr(unloc, name), spent)
            stack.enter_context(patch.object(unloc, name, clocked))
        yield


def timed(name: str, function: Callable[..., Any], spent: Counter[str]) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        found = function(*args, **kwargs)
        spent[name] += time.perf_counter() - start  # type: ignore[assignment]
        return found

    return run


def shares(size: str, num: int = 100) -> None:
    method, shown, asked = make(size), video(), queries(num)
    method.answer(shown, asked)
    spent: Counter[str] = Counter()
    with watched(method, spent):
        total = least(lambda: method.answer(shown, asked), 1)
    spent["the rest"] = total - sum(spent.values())  # type: ignore[assignment]
    told = ", ".join(f"{name} {seconds / total:.1%}" for name, seconds in spent.items())
    print(f"{size:<8} of {total:.2f} s for {num} classes: {told}")


def baselines(size: str, runs: int, *, tower: bool) -> None:
    method, shown, asked = make(size), video(), queries(BASELINE_CLASSES)
    single = queries(1)
    method.answer(shown, asked)
    ours = least(lambda: method.answer(shown, asked), runs)
    slowly = method.told({"at_once": 1})
    rows = {
        "one class at a time": least(lambda: slowly.answer(shown, asked), runs),
        "a call for each class": BASELINE_CLASSES
        * least(lambda: method.answer(shown, single), 10 * runs),
    }
    if tower:
        frames = T * BASELINE_CLASSES / 8 * least(eight_frames(), runs)
        rows["and the frames encoded again"] = rows["a call for each class"] + frames
    print(f"{size:<8} {BASELINE_CLASSES} classes, ours {ours:.3f} s")
    for name, seconds in rows.items():
        print(f"{size:<8} {name:<28} {seconds:8.3f} s, {seconds / ours:.2f} times as long")


def eight_frames() -> Callable[[], object]:
    """Through CLIP's ViT-B/16."""
    from openmoment.encoders.two_tower.open_clip_names import import_open_clip

    tower = import_open_clip().create_model("ViT-B-16", pretrained=None).visual.eval()
    frames = torch.randn(8, 3, 224, 224)

    def encode() -> object:
        with torch.inference_mode():
            return tower(frames)

    encode()
    return encode


def answer_memory(size: str, at_once: int, num: int, threads: int) -> float:
    """MiB that answering takes. One layer: each gives back what it needed before the next."""
    torch.set_num_threads(threads)
    method, shown = make(size, layers=1, at_once=at_once), video()
    asked = queries(num)
    method.answer(shown, queries(1))
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    method.answer(shown, asked)
    return resident("VmHWM") - before


def resident(name: str) -> float:
    """MiB of this process, now or at most (Linux); what its parent held does not count."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line for line in lines if line.startswith(name)).split()[1]) / 1024


def memory(size: str, threads: int) -> None:
    context = multiprocessing.get_context("spawn")
    for at_once in (16, 64, 256):
        found = []
        for num in (256, 512):
            with context.Pool(1) as pool:
                found.append(pool.apply(answer_memory, (size, at_once, num, threads)))
        few, many = found
        print(
            f"{size:<8} at_once {at_once:>3}: {few:6.0f} MiB for 256 classes, {many:6.0f} for 512"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tower", action="store_true", help="measure the image tower too")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for size in SIZES:
        growth(size, options.runs)
        shares(size)
        baselines(size, options.runs, tower=options.tower)
        memory(size, options.threads)


if __name__ == "__main__":
    main()
