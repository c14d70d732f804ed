"""How long a killed program takes to be back, against the size of its state.

MILLSTREAM_BENCH_LARGE=1 measures 10M keys, too: some minutes and GB.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from measuring import Benchmark

PROGRAM = Path(__file__).with_name("recovering_program.py")
BATCHES = 10


@contextmanager
def _running(directory: str, keys: int) -> Iterator[Iterator[int]]:
    """Run the program, and give the times of its batches as they are done."""
    with subprocess.Popen(
        [sys.executable, str(PROGRAM), directory, str(keys)],
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None, "its output is a pipe"
        try:
            yield map(int, child.stdout)
        finally:
            child.kill()


def _recovery_s(keys: int) -> tuple[float, float]:
    """Return the seconds from the kill to the first batch done, and to the first new one."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "in").mkdir()
        with _running(directory, keys) as batches:
            last_ms = max(next(batches) for _ in range(BATCHES))
        begin = time.perf_counter()
        with _running(directory, keys) as batches:
            first_ms = next(batches)
            first_s = time.perf_counter() - begin
            while first_ms <= last_ms:
                first_ms = next(batches)
            return first_s, time.perf_counter() - begin


def million_s() -> float:
    taken = 0.0
    for keys in (10_000, 100_000, 1_000_000):
        first, taken = _recovery_s(keys)
        million.notes[f"{keys:,} keys"] = (
            f"{taken:.2f} s; the batch of before the kill ran again within {first:.2f} s"
        )
    return taken


def large_s() -> float:
    return _recovery_s(10_000_000)[1]


million = Benchmark(
    "recovery.million",
    "SIGKILL to the first new batch done, mapWithState of 1M int keys, batches of 200 ms",
    "s",
    3.0,
    million_s,
    runs=3,
)
large = Benchmark(
    "recovery.large", "the same with 10M keys", "s", 20.0, large_s, runs=1
)

BENCHMARKS = [million]
if os.environ.get("MILLSTREAM_BENCH_LARGE"):
    BENCHMARKS.append(large)
