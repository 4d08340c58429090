"""How fast and how small? On this machine, with the embedded backbone.

    python benchmarks/speed.py [--hours 2]

Times are whole processes where it says so, run from an own cache folder; the median of several
runs, with the slowest in brackets, because machines are noisy. The long video is made here:
moving colours, no footage.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
from sets import data_root

from openmoment import load_pipeline
from openmoment.features.cache import Cache

RUNS = 5
MEMORY_QUERIES = ["pole vault", "a dog runs"]
COMMAND = [sys.executable, "-c", "from openmoment.cli.main import run; run()"]


def timed(function: Callable[[], object], *, runs: int = RUNS) -> tuple[float, float]:
    """Median and slowest, in seconds."""
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds), max(seconds)


def process(arguments: list[str], cache: Path) -> None:
    environment = os.environ | {"OPENMOMENT_CACHE": str(cache)}
    subprocess.run(arguments, check=True, capture_output=True, env=environment)


def report(what: str, figure: str, against: str = "") -> None:
    print(f"| {what:<58} | {figure:<22} | {against:<30} |", flush=True)


def make_long_video(path: Path, *, seconds: float) -> None:
    """Moving colours, 320 x 240, 25 frames a second."""
    import av

    across, down = np.meshgrid(np.arange(320), np.arange(240))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        stream.options = {"preset": "ultrafast", "crf": "35", "g": "250"}
        for index in range(int(seconds * 25)):
            if index % 5 == 0:
                shades = (across + index) % 256, (down + 2 * index) % 256, (across + down) % 256
                picture = np.stack(shades, axis=-1).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def startup(cache: Path) -> None:
    python = statistics.median(
        [timed(lambda: process([sys.executable, "-c", "pass"], cache), runs=1)[0] for _ in range(9)]
    )
    importing = timed(lambda: process([sys.executable, "-c", "import openmoment"], cache), runs=9)
    helping = timed(lambda: process([*COMMAND, "--help"], cache), runs=9)
    report("import openmoment, less Python's start", spread(importing, less=python), "under 0.25 s")
    report("openmoment --help, whole process", spread(helping), "under 0.5 s")


def spread(times: tuple[float, float], *, less: float = 0.0) -> str:
    return f"{times[0] - less:.2f} s ({times[1] - less:.2f})"


def questions(cache: Path, video: Path) -> None:
    find = [*COMMAND, "find", str(video)]
    start = time.perf_counter()
    process([*find, "long jump", "a crowd"], cache)
    first = time.perf_counter() - start
    again = timed(lambda: process([*find, "long jump", "a crowd"], cache))
    report(f"first question, {video.name}", f"{first:.2f} s", "decode, encode, all words")
    report("same words again, whole process", spread(again), "under 1 s, no torch")
    words = iter([f"a person doing thing number {i}" for i in range(20)])
    new = timed(lambda: process([*find, next(words), next(words)], cache))
    report("two new words, whole process", spread(new), "under 4 s, no torch")


def throughput(videos: list[Path]) -> None:
    from openmoment.encoders import load_encoder
    from openmoment.video import probe, read_frames

    encoder = load_encoder("embedded")
    encoder.encode_video(videos[0], fps=encoder.fps, source_sha256="")  # loads the weights
    for video in videos:
        info = probe(video)
        decode = timed(
            lambda path=video: sum(1 for _ in read_frames(path, fps=4.0, short_side=240)), runs=3
        )
        both = timed(
            lambda path=video: encoder.encode_video(path, fps=4.0, source_sha256=""), runs=3
        )
        size = f"{info.width}x{info.height}, {info.fps:.0f} fps"
        report(f"decode, {size}", f"{info.duration_s / decode[0]:.0f} x real time", "4 sampled fps")
        report(
            f"decode and encode, {size}",
            f"{info.duration_s / both[0]:.1f} x real time",
            f"{info.duration_s * 4 / both[0]:.0f} frames/s",
        )


def memory(folder: Path, hours: float) -> None:
    """Peak memory of a fresh process that answers a question about a short and a long video.

    The words are in the cache before, because encoding them takes more than a short video does.
    """
    cache = Cache(folder / "memory")
    load_pipeline("embedded", cache=cache).queries(MEMORY_QUERIES)
    peaks = {}
    for name, seconds in (("2 min", 120.0), (f"{hours:g} h", hours * 3600)):
        video = folder / f"{seconds:.0f}.mp4"
        make_long_video(video, seconds=seconds)
        code = (
            "import json, re, time\n"
            "from pathlib import Path\n"
            "from openmoment import load_pipeline\n"
            "p = load_pipeline('embedded'); start = time.perf_counter()\n"
            f"p.find({str(video)!r}, {MEMORY_QUERIES})\n"
            "status = Path('/proc/self/status').read_text()\n"  # Linux; rusage tells the parent's
            "peak = int(re.search(r'VmHWM:\\s*(\\d+)', status)[1]) / 1024\n"
            "print(json.dumps([peak, time.perf_counter() - start]))"
        )
        environment = os.environ | {"OPENMOMENT_CACHE": str(cache.root)}
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            env=environment,
            check=True,
        )
        peaks[name] = json.loads(done.stdout)
        peak, seconds_taken = peaks[name]
        report(
            f"peak memory, {name} of video",
            f"{peak:.0f} MB",
            f"find: {seconds / seconds_taken:.1f} x real time",
        )
    (short, _), (long, _) = peaks.values()
    report("longer against shorter", f"{long / short:.3f}", "at most 1.10")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--hours", type=float, default=2.0, help="length of the long video")
    hours = parser.parse_args().hours
    clips = data_root() / "clips"
    videos = [clips / "thumos14/video_test_0000946.mp4", clips / "other/making_cake.mp4"]
    report("what", "measured", "against")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        startup(folder / "cache")
        questions(folder / "cache", clips / "thumos_like/LongJump_women_long_jump.mp4")
        throughput(videos)
        memory(folder, hours)
    print(f"\n{os.cpu_count()} cores")


if __name__ == "__main__":
    main()
