"""What a run costs: wall time and the most memory that its process held."""

import os
import platform
import sys
import time
from contextlib import suppress
from pathlib import Path

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Stopwatch:
    """Time since it was made, and the highest memory since then, of this process.

    On a GPU it is the GPU's memory. Where the system does not let go of an old peak, memory is
    that of the process's whole life.
    """

    def __init__(self, device: str = "cpu") -> None:
        self._device = device if device.startswith("cuda") else ""
        if self._device:
            import torch

            torch.cuda.reset_peak_memory_stats(self._device)
        with suppress(OSError):  # Linux only: sets the peak to what is held now
            _RESET.write_text("5")
        self._start = time.perf_counter()

    def seconds(self) -> float:
        return time.perf_counter() - self._start

    def peak_bytes(self) -> int | None:
        """None where the system does not say."""
        if self._device:
            import torch

            return torch.cuda.max_memory_allocated(self._device)
        return peak_memory()


def peak_memory() -> int | None:
    """The most memory that this process held at once, in bytes; None where nobody says.

    Linux's own count per program is preferred to getrusage's, in which a child begins with its
    parent's peak.
    """
    with suppress(OSError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def num_cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processor_name(device: str = "cpu") -> str:
    """What the processor, or the GPU, calls itself."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.get_device_name(device)
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def share_cores(num_jobs: int | None, threads: int) -> tuple[int, int]:
    """How many runs go at once, and on how many threads each, so that cores are used once.

    ``num_jobs`` None is as many as fit, ``threads`` 0 what is left to each.
    """
    cores = num_cores()
    jobs = num_jobs or max(1, cores // (threads or 1))
    return jobs, threads or max(1, cores // jobs)


def keep_to_threads(threads: int) -> None:
    """Compute on so many threads from now on: with more or fewer, last bits differ."""
    os.environ.update(limit_threads(threads))
    import torch

    torch.set_num_threads(threads)


def limit_threads(threads: int) -> dict[str, str]:
    """The environment in which a process computes on so many threads, and waits kindly."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return os.environ | dict.fromkeys(names, str(threads)) | {"OMP_WAIT_POLICY": "PASSIVE"}
