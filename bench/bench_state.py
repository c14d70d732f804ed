"""What state costs: for each key every batch, or for each record; in memory, bytes, time."""

import resource
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from statistics import median

from measuring import Benchmark, cpu_s, wall_s

from millstream.engine.durable.state_files import Changes, StateFiles
from millstream.engine.durable.state_store import StateStore
from millstream.streaming.state import StateSpec
from millstream.testing import StreamHarness
from millstream.testing.sim_storage import SimStorage

KEYS = 1_000_000
UPDATES = 1_000
MAPPED = 10_000
"""Records a batch of mapWithState, each of another key."""


def add_up(new: list[int], total: int | None) -> int:
    return sum(new) + (total or 0)


def _us_a_key(keys: int) -> tuple[float, float]:
    """Return the CPU of a usual batch and of one that checkpoints, in µs a key."""
    with (
        tempfile.TemporaryDirectory() as directory,
        StreamHarness(batch=1.0, master="local[2]", checkpoint=directory) as h,
    ):
        initial = h.sc.parallelize([(n, 1) for n in range(keys)], 2)
        batches = [[(n * 7 % keys, 1) for n in range(UPDATES)]] * 20
        state = h.stream(batches, partitions=2).updateStateByKey(
            add_up, initialRDD=initial
        )
        state.foreachRDD(lambda rdd: rdd.count())
        h.run(2)
        taken = [cpu_s(lambda: h.run(1)) for _ in range(12)]
    return median(taken) / keys * 1e6, max(taken) / keys * 1e6


def million_us() -> float:
    usual, with_checkpoint = _us_a_key(KEYS)
    million.notes["a batch that checkpoints"] = f"{with_checkpoint:.2f} us"
    return usual


def linear_ratio() -> float:
    return _us_a_key(KEYS)[0] / _us_a_key(KEYS // 10)[0]


def total(key: int, value: int, state) -> tuple[int, int]:
    state.update((state.getOption() or 0) + value)
    return key, state.get()


class _Mapped:
    """A mapWithState stream that a benchmark drives batch by batch."""

    def __init__(self, harness: StreamHarness, spec: StateSpec) -> None:
        self.harness = harness
        self._pairs = harness.stream([], partitions=2)
        self.stream = self._pairs.mapWithState(spec).named("totals")
        self.stream.foreachRDD(lambda rdd: rdd.count())
        self._random = Random(1)

    @property
    def store(self) -> StateStore:
        return self.stream._operator.states

    def run(self, keys) -> None:
        batches = self._pairs._operator.script.batches
        self.harness.feed(self._pairs, [(key, 1_000_000) for key in keys])
        self.harness.run(1)
        batches[-1] = []  # Or the script would hold on to every record.

    def run_random(self, keys: int) -> None:
        self.run(self._random.sample(range(keys), MAPPED))


@contextmanager
def _mapped(
    keys: int, *, timeout: bool = False, memory: str = "4g"
) -> Iterator[_Mapped]:
    conf = {"spark.millstream.state.memory": memory}
    with (
        tempfile.TemporaryDirectory() as directory,
        StreamHarness(master="local[2]", checkpoint=directory, conf=conf) as harness,
    ):
        spec = StateSpec.function(total)
        if timeout:
            spec.timeout(3600, exact=True)
        if keys:
            pairs = [(key, 1_000_000) for key in range(keys)]
            spec.initialState(harness.sc.parallelize(pairs, 2))
            del pairs
        yield _Mapped(harness, spec)


def _batch_s(keys: int, *, timeout: bool = False, memory: str = "4g") -> float:
    """Return the CPU of a batch of 10,000 records, each of another key."""
    with _mapped(keys, timeout=timeout, memory=memory) as mapped:
        for _ in range(4):
            mapped.run_random(keys)
        # A usual batch: what merging files costs is another benchmark's number.
        return median(cpu_s(lambda: mapped.run_random(keys)) for _ in range(21))


def flat_ratio() -> float:
    small, large = _batch_s(MAPPED), _batch_s(KEYS)
    flat.notes["a batch"] = f"{small * 1e3:.1f} ms and {large * 1e3:.1f} ms"
    timed = _batch_s(KEYS, timeout=True) / _batch_s(MAPPED, timeout=True)
    flat.notes["with an exact timeout"] = f"{timed:.2f} x"
    return large / small


def spill_ratio() -> float:
    in_memory, in_files = _batch_s(KEYS // 4), _batch_s(KEYS // 4, memory="1m")
    spill.notes["a batch in files"] = f"{in_files * 1e3:.0f} ms"
    return in_files / in_memory


def memory_gb() -> float:
    """Build 10M keys by batches, each committed; return the peak of this process."""
    count, step = 10_000_000, 500_000
    with _mapped(0) as mapped:
        for begin in range(0, count, step):
            mapped.run(range(begin, begin + step))
        for _ in range(30):
            mapped.run_random(count)
        estimate = mapped.harness.ssc.metrics()["millstream.state.memoryBytes"]
    memory.notes["by its own estimate, state alone"] = f"{estimate / 1e9:.1f} GB"
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def _changes(keys) -> list[Changes]:
    parts = [[key for key in keys if key % 2 == part] for part in (0, 1)]
    return [Changes(p, k, k, [1] * len(k), []) for p, k in enumerate(parts)]


def _bytes_a_change(changed: int) -> float:
    """Return the bytes written for each changed key of 1M, merging and snapshots included."""
    files = StateFiles("/state", storage=SimStorage())
    files.commit(1, _changes(range(KEYS)))
    random, batches = Random(1), 400
    before = files.bytes_written
    for version in range(2, batches + 2):
        files.commit(version, _changes(random.sample(range(KEYS), changed)))
        files.compact(version)
        files.clean([])
    return (files.bytes_written - before) / changed / batches


def bytes_ratio() -> float:
    row = StateFiles("/state", storage=SimStorage())
    row.commit(1, _changes(range(KEYS)))
    once = row.bytes_written / KEYS
    few, many = _bytes_a_change(1_000), _bytes_a_change(10_000)
    written.notes["bytes a changed key, at 1,000 and 10,000 a batch"] = (
        f"{few:.0f} and {many:.0f}; a row takes {once:.0f}"
    )
    return max(few, many) / once


def worst_ratio() -> float:
    """Return batches with a snapshot being merged beside them / without, by wall time."""
    with _mapped(KEYS) as mapped:
        for _ in range(4):
            mapped.run_random(KEYS)
        alone = [wall_s(lambda: mapped.run_random(KEYS)) for _ in range(15)]
        done, merged = threading.Event(), 0

        # The same files over and over: making them is Python's work.
        files = StateFiles("/state", storage=SimStorage(), chain_max=1)
        files.commit(1, _changes(range(KEYS)))
        for version in range(2, 5):
            files.commit(version, _changes(range(0, KEYS, 2)))
        record = files.record()

        def merge() -> None:
            nonlocal merged
            while not done.is_set():
                again = StateFiles.restore(
                    "/state", record, storage=files._storage, chain_max=1
                )
                again.compact(4)
                merged += 1

        thread = threading.Thread(target=merge)
        thread.start()
        try:
            beside = [wall_s(lambda: mapped.run_random(KEYS)) for _ in range(30)]
        finally:
            done.set()
            thread.join()
    usual = median(alone)
    worst.notes["a batch"] = (
        f"{usual * 1e3:.0f} ms alone; beside {merged} snapshots {median(beside) * 1e3:.0f} "
        f"ms, at worst {max(beside) * 1e3:.0f} ms"
    )
    return median(beside) / usual


def restore_s() -> float:
    """Return the time to have 10M keys at hand again, from a snapshot and deltas."""
    taken = 0.0
    for count in (10_000, 100_000, 1_000_000, 10_000_000):
        with tempfile.TemporaryDirectory() as directory:
            files = StateFiles(directory)
            for version, begin in enumerate(range(0, count, 500_000), 1):
                end = min(count, begin + 500_000)
                files.commit(version, _changes(range(begin, end)))
            files.compact(version)
            for _ in range(10):
                version += 1
                changed = Random(version).sample(range(count), 10_000)
                files.commit(version, _changes(changed))
            store = StateStore("totals", 2, files, 0, keeps_stamps=False)
            taken = wall_s(lambda: store.map_as_of(version, 0))  # noqa: B023
            found = len(store.map_as_of(version, 0)) + len(store.map_as_of(version, 1))
            assert found == count, "every key is there"
        restore.notes[f"{count:,} keys"] = f"{taken:.2f} s"
    return taken


million = Benchmark(
    "state.update",
    "updateStateByKey, 1M int keys, 1,000 touched: CPU a key and batch",
    "us",
    1.2,
    million_us,
    runs=3,
)
linear = Benchmark(
    "state.linear",
    "cost a key at 1M keys / at 100k keys",
    "x",
    1.5,
    linear_ratio,
    runs=1,
)
flat = Benchmark(
    "state.map.flat",
    "mapWithState, 10,000 keys touched: CPU of a batch at 1M keys / at 10,000",
    "x",
    1.3,
    flat_ratio,
    runs=3,
)
memory = Benchmark(
    "state.map.memory",
    "mapWithState, 10M int keys built by batches: peak of the process",
    "GB",
    6.0,
    memory_gb,
    runs=1,
)
spill = Benchmark(
    "state.map.spill",
    "mapWithState, 10,000 of 250k keys touched: CPU of a batch in files / in memory",
    "x",
    12,
    spill_ratio,
    runs=1,
)
written = Benchmark(
    "state.written",
    "bytes written for a changed key of 1M, merging included / bytes of its row",
    "x",
    8,
    bytes_ratio,
    runs=1,
)
worst = Benchmark(
    "state.map.beside",
    "a batch while a snapshot of 1M keys is merged / alone, wall time",
    "x",
    4,
    worst_ratio,
    runs=3,
)
restore = Benchmark(
    "state.restore",
    "10M int keys from files to memory",
    "s",
    15,
    restore_s,
    runs=1,
)

BENCHMARKS = [million, linear, flat, memory, spill, written, worst, restore]
