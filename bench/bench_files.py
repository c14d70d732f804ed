"""File sinks beside Arrow's bare writer, and listings with and without old names."""

import os
import random
import tempfile
from pathlib import Path

import polars as pl
from measuring import Benchmark, cpu_s

from millstream.engine.base.storage import LocalStorage
from millstream.engine.sinks.contract import SinkBatch
from millstream.engine.sinks.files.sinks import ParquetSink
from millstream.engine.sinks.records import Records
from millstream.engine.sources.file_stream import FileMonitor, FileSelection

_ROWS, _FILES, _TRIES = 1_000_000, 10_000, 5


class _Tables(Records):
    """Records that are tables already."""

    def tables(self):
        return self._pieces


def _parquet() -> float:
    import pyarrow.parquet  # Not where the benchmark isn't run.

    draw = random.Random(0)
    frame = pl.DataFrame(
        {
            "number": [draw.random() for _ in range(_ROWS)],
            "word": [f"word {draw.randrange(5000)}" for _ in range(_ROWS)],
            "count": range(_ROWS),
        }
    )
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        sink = ParquetSink(f"{folder}/out")
        run = sink.open("bench.out", 1).run

        def ours(time_ms: int) -> None:
            batch = SinkBatch("bench.out", time_ms, 1, run)
            sink.begin(batch)
            rows = _Tables(frame.iter_slices(50_000))
            sink.commit(batch, {0: sink.write(batch, 0, rows)})

        def bare() -> None:
            arrow = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
            pyarrow.parquet.write_table(
                arrow, f"{folder}/bare.parquet", compression="zstd"
            )

        for number in range(1 + _TRIES):
            theirs = cpu_s(bare)
            ratios.append(cpu_s(lambda time_ms=number: ours(time_ms)) / theirs)
    return sorted(ratios[1:])[_TRIES // 2]


def _listing() -> float:
    with tempfile.TemporaryDirectory() as folder:
        for number in range(_FILES):
            path = Path(folder, f"file-{number}")
            path.touch()
            os.utime(path, (1, 1))
        monitor = FileMonitor(folder, FileSelection(0, 60_000))
        monitor.find(1_000_000)
        storage = LocalStorage()
        ratios = []
        for number in range(1, 1 + _TRIES):
            whole = cpu_s(lambda: storage.list(folder))
            time_ms = 1_000_000 + number * 1000
            ratios.append(cpu_s(lambda time_ms=time_ms: monitor.find(time_ms)) / whole)
    return sorted(ratios)[_TRIES // 2]


BENCHMARKS = [
    Benchmark(
        "files.parquet",
        "a million rows to ParquetSink: CPU / Arrow's write_table with the same codec",
        "x",
        1.4,
        _parquet,
        runs=3,
    ),
    Benchmark(
        "files.listing",
        "a batch of a stream with 10,000 old files: CPU / listing them with their times",
        "x",
        0.2,
        _listing,
        runs=3,
    ),
]
