"""What it costs to lose nothing: appends to a write-ahead log, metadata checkpoints."""

import gc
import os
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import BinaryIO

from measuring import Benchmark, wall_s

from millstream.engine.durable.write_ahead_log import BatchedLog, FileLog
from millstream.engine.streams.checkpointer import Checkpointer
from millstream.testing import StreamHarness

warnings.simplefilter("ignore", FutureWarning)

ROUNDS = 15
THREADS = 8
CHECKPOINTS = 200


# The log.


@contextmanager
def _disk() -> Iterator[Path]:
    """Give a directory on the disk that has the code: /tmp may be in memory."""
    with tempfile.TemporaryDirectory(dir=Path(__file__).parent) as directory:
        yield Path(directory)


def _append(file: BinaryIO, record: bytes, *, sync: bool) -> None:
    file.write(record)
    file.flush()
    if sync:
        os.fsync(file.fileno())


def _log_ratio(benchmark: Benchmark, size: int, count: int, *, sync: bool) -> float:
    """Return appends to a log / of the same bytes to a plain file, in turns.

    A turn is one record with sync, twenty without: what else the disk does hits both.
    """
    record = os.urandom(size)
    each_turn = 1 if sync else 20
    plain, logged = [], []
    with _disk() as directory, (directory / "plain").open("ab") as file:
        log = FileLog(str(directory / "log"), sync=sync)

        def to_file() -> None:
            for _ in range(each_turn):
                _append(file, record, sync=sync)

        def to_log() -> None:
            for _ in range(each_turn):
                log.write(record, 0)

        to_file()
        to_log()
        gc.disable()
        for _ in range(count):
            plain.append(_taken_s(to_file) / each_turn)
            logged.append(_taken_s(to_log) / each_turn)
        gc.enable()
        log.close()
    return _ratio(benchmark, logged, plain)


def _taken_s(work: Callable[[], None]) -> float:
    begin_s = time.perf_counter()
    work()
    return time.perf_counter() - begin_s


def _ratio(benchmark: Benchmark, logged: list[float], plain: list[float]) -> float:
    log_us, plain_us = median(logged) * 1e6, median(plain) * 1e6
    benchmark.notes["a record"] = f"{log_us:.1f} us, in a plain file {plain_us:.1f} us"
    return log_us / plain_us


def _in_threads(work: Callable[[], None]) -> None:
    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _batched_ratio(benchmark: Benchmark, size: int, count: int) -> float:
    """Return 8 threads that share a log / 8 that share a plain file, both synced."""
    record = os.urandom(size)
    plain, logged = [], []
    with _disk() as directory, (directory / "plain").open("ab") as file:
        log = BatchedLog(FileLog(str(directory / "log")))
        turn = threading.Lock()

        def to_file() -> None:
            for _ in range(count):
                with turn:
                    _append(file, record, sync=True)

        def to_log() -> None:
            for _ in range(count):
                log.write(record, 0)

        for _ in range(ROUNDS):
            plain.append(wall_s(lambda: _in_threads(to_file)) / count / THREADS)
            logged.append(wall_s(lambda: _in_threads(to_log)) / count / THREADS)
        log.close()
    return _ratio(benchmark, logged, plain)


def _log_benchmarks() -> list[Benchmark]:
    made = []
    sizes = [("100B", 100, 1000), ("10kB", 10_000, 600), ("1MB", 1_000_000, 100)]
    for name, size, count in sizes:
        made += [
            _log_benchmark(name, size, count, sync=True),
            _log_benchmark(name, size, count, sync=False),
            _batched_benchmark(name, size, 4 if size > 100_000 else 20),
        ]
    return made


def _log_benchmark(name: str, size: int, count: int, *, sync: bool) -> Benchmark:
    benchmark = Benchmark(
        f"durable.log_{name}_{'sync' if sync else 'flush'}",
        f"appends of {name} {'with' if sync else 'without'} sync / to a plain file",
        "x",
        1.3,
        lambda: _log_ratio(benchmark, size, count if sync else count // 5, sync=sync),
        runs=3,
    )
    return benchmark


def _batched_benchmark(name: str, size: int, count: int) -> Benchmark:
    benchmark = Benchmark(
        f"durable.log_{name}_8_threads",
        f"8 threads append {name} with sync, batched / to a plain file in turn",
        "x",
        1.3,
        lambda: _batched_ratio(benchmark, size, count),
        runs=3,
    )
    return benchmark


# Checkpoints.


def _ten_operators(h: StreamHarness) -> None:
    """Set up ten operators; functions from in here are pickled by value, as a script's."""
    threshold = 3

    def words_of(line: str) -> list[str]:
        return [word.strip(".,") for word in line.lower().split()]

    def is_long(word: str) -> bool:
        return len(word) > threshold

    def add_up(new: list[int], total: int | None) -> int:
        return sum(new) + (total or 0)

    batches = [["the mill grinds", f"what the stream {n} brings"] for n in range(300)]
    pairs = (
        h.stream(batches).flatMap(words_of).filter(is_long).map(lambda word: (word, 1))
    )
    pairs.updateStateByKey(add_up).foreachRDD(lambda rdd: rdd.count())
    windowed = pairs.reduceByKeyAndWindow(lambda a, b: a + b, None, 10, 1)
    windowed.foreachRDD(lambda rdd: rdd.count())


@contextmanager
def _stream() -> Iterator[StreamHarness]:
    """Give a stream that has run for a while, so that nothing grows any more."""
    with (
        _disk() as directory,
        StreamHarness(checkpoint=str(directory), setup=_ten_operators) as h,
    ):
        h.run(60)
        assert len(h.ssc._graph.operators()) == 10, "the graph isn't what it says"
        yield h


def _write_one(checkpointer: Checkpointer, time_ms: int) -> None:
    """Collect and write what is written when a batch begins; return when it is safe."""
    done = threading.Event()
    checkpointer._post(time_ms, [time_ms], [], lambda _: done.set())
    done.wait()


def checkpoint_ms() -> float:
    taken, collected, written = [], [], []
    with _stream() as h:
        scheduler = h.ssc._scheduler
        assert scheduler is not None, "it has started"
        checkpointer, told = scheduler.checkpointer, scheduler.checkpointer.statistics
        time_ms = h.clock.now_ms()
        begin_s = time.process_time()
        for _ in range(CHECKPOINTS):
            taken.append(wall_s(lambda: _write_one(checkpointer, time_ms)) * 1000)
            collected.append(told.last_collect_ms)
            written.append(told.last_write_ms)
        cpu_ms = (time.process_time() - begin_s) * 1000 / CHECKPOINTS
        with _disk() as directory:
            sync_ms = _sync_ms(directory, told.last_bytes)
    checkpoint.notes.update(
        {
            "held up the generator": f"{median(collected):.2f} ms",
            "written apart": f"{median(written):.2f} ms",
            "CPU, syncs not counted": f"{cpu_ms:.2f} ms",
            "its two syncs alone, on such a file": f"{sync_ms:.2f} ms",
            "the slowest of 200": f"{max(taken):.2f} ms",
            "size": f"{told.last_bytes} bytes",
        }
    )
    return median(taken)


def _sync_ms(directory: Path, size: int) -> float:
    """Return what a new file's sync and its directory's take here."""
    taken = []
    handle = os.open(directory, os.O_RDONLY)
    for _ in range(50):
        with (directory / "new").open("wb") as file:
            file.write(bytes(size))
            file.flush()
            begin_s = time.perf_counter()
            os.fsync(file.fileno())
            (directory / "new").replace(directory / "old")
            os.fsync(handle)
            taken.append((time.perf_counter() - begin_s) * 1000)
    os.close(handle)
    return median(taken)


checkpoint = Benchmark(
    "durable.checkpoint",
    "a metadata checkpoint of ten operators: collected, written, safe",
    "ms",
    3.0,
    checkpoint_ms,
    runs=3,
)

BENCHMARKS = [*_log_benchmarks(), checkpoint]
