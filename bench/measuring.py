"""Measuring: what a benchmark is, and the few ways to take its time."""

import gc
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One number with a limit. `measure` takes it once, in a process of its own.

    The process runs `measure` `runs` times and the median counts. A ratio divides two
    times taken one after the other in that run, so that a slow machine slows both.
    """

    name: str
    what: str
    unit: str
    limit: float | None
    measure: Callable[[], float]
    runs: int = 5
    notes: dict[str, str] = field(default_factory=dict)
    """What `measure` wants to say beside its number; filled while it runs."""
    is_least: bool = False
    """Whether the limit is the least that will do, not the most."""

    def is_within(self, value: float) -> bool:
        if self.limit is None:
            return True
        return value >= self.limit if self.is_least else value <= self.limit


def cpu_s(work: Callable[[], object]) -> float:
    """Return the CPU seconds that `work` takes, over all threads of this process."""
    gc.collect()
    begin = time.process_time()
    work()
    return time.process_time() - begin


def wall_s(work: Callable[[], object]) -> float:
    """Return the seconds that `work` takes."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def python_s(code: str, tries: int = 5) -> float:
    """Return the least time in seconds that a new interpreter takes to run `code`."""
    command = [sys.executable, "-c", code]
    return min(
        wall_s(lambda: subprocess.run(command, check=True, capture_output=True))
        for _ in range(tries)
    )


def rss_mib() -> float:
    """Return how much memory of this process is resident now, in MiB."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * 4096 / 2**20
