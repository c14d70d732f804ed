"""Stories of blocks that stay with the workers: shuffles, kept partitions, state."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from millstream import RDD, SparkConf, SparkContext, StorageLevel
from millstream.engine.durable.frozen_bytes import Shared
from millstream.engine.workers.payloads import HeldFile
from millstream.streaming import StreamingContext

pytestmark = pytest.mark.slow


@pytest.fixture
def sc() -> Iterator[SparkContext]:
    """Return a context whose stages run in worker processes wherever they can."""
    conf = SparkConf().setMaster("local[2]").setAppName("held")
    with SparkContext(conf=conf.set("spark.millstream.processes", "always")) as context:
        yield context


def held_files(sc: SparkContext, prefix: str) -> dict[str, HeldFile]:
    """Return the files of the blocks that workers hold, by block."""
    found = {}
    for block_id in sc._driver.blocks.ids():
        kept: Any = sc._driver.blocks.get_kept(block_id)
        if block_id.startswith(prefix) and isinstance(kept, Shared):
            assert isinstance(kept.held, HeldFile)
            found[block_id] = kept.held
    return found


def pairs(sc: SparkContext) -> Any:
    """Return pairs by key, large enough that they don't travel through the driver."""
    words = sc.parallelize(range(40_000), 2).map(lambda n: (f"w{n % 5000}", [n]))
    return words.reduceByKey(lambda a, b: a + b, 2)


def test_a_shuffle_stays_in_files_until_it_is_forgotten(sc: SparkContext) -> None:
    """The driver refers to them; when it no longer does, they are gone."""
    counted = pairs(sc)
    assert counted.count() == 5000
    files = {each.path for each in held_files(sc, "shuffle-").values()}

    assert len(files) == 4
    assert all(each.is_file() for each in files)
    del counted
    assert sc.parallelize([1]).count() == 1  # Which collects what nobody refers to.
    assert not held_files(sc, "shuffle-")
    assert not any(each.exists() for each in files)


def test_map_outputs_outlive_the_worker_that_made_them(sc: SparkContext) -> None:
    """They are read by another one, and not made again."""
    mapped = sc.accumulator(0)

    def pair(number: int) -> tuple[str, list[int]]:
        mapped.add(1)
        return f"w{number % 5000}", [number]

    numbers = sc.parallelize(range(40_000), 2)
    counted = numbers.map(pair).reduceByKey(lambda a, b: a + b, 2)
    assert counted.count() == 5000
    workers: Any = sc._driver.elsewhere()
    for pid in workers.pids:
        os.kill(pid, signal.SIGKILL)

    assert dict(counted.mapValues(len).collect())["w7"] == 8
    assert mapped.value == 40_000


@pytest.mark.slow
def test_a_lost_file_is_made_again(sc: SparkContext) -> None:
    """By the map task that made it, in a stage of its own; the job doesn't fail."""
    counted = pairs(sc)
    expected = sorted(counted.mapValues(len).collect())
    for each in held_files(sc, "shuffle-").values():
        each.path.unlink()

    assert sorted(counted.mapValues(len).collect()) == expected


def test_a_lost_file_is_made_again_for_a_reader_here(sc: SparkContext) -> None:
    """A stage that runs in the driver reads the same files."""
    counted = pairs(sc)
    assert counted.count() == 5000
    rows = sc.accumulator(0)
    counted.foreachPartition(lambda part: rows.add(sum(1 for _ in part)))
    assert rows.value == 5000
    next(iter(held_files(sc, "shuffle-").values())).path.unlink()
    counted.foreachPartition(lambda part: rows.add(sum(1 for _ in part)))
    assert rows.value == 10_000


@pytest.mark.parametrize("is_by_columns", [False, True])
@pytest.mark.slow
def test_a_kept_partition_is_read_where_it_is(
    sc: SparkContext, is_by_columns: bool
) -> None:
    """By a task of another stage; a lost one is computed again."""
    source = sc.parallelize(range(60_000), 2)
    made = source.map(lambda n: (n, n * 2)) if is_by_columns else source.map(_odd_pair)
    kept = made.persist(StorageLevel.MEMORY_ONLY)
    assert kept.count() == 60_000
    files = held_files(sc, "rdd-")
    assert len(files) == 2

    doubled = kept.map(lambda pair: pair[1]).sum()
    assert doubled == sum(range(0, 120_000, 2))
    next(iter(files.values())).path.unlink()
    assert kept.map(lambda pair: pair[1]).sum() == doubled
    paths = {each.path for each in held_files(sc, "rdd-").values()}
    assert len(paths) == 2
    del files
    kept.unpersist()
    assert not any(each.exists() for each in paths)


def _odd_pair(number: int) -> tuple[int, int]:
    made = [number]
    made.append(number)
    return number, made[0] + made[1]


def test_over_the_budget_blocks_go_to_the_disk(tmp_path: Path) -> None:
    """What workers hold in memory counts like what the driver has."""
    conf = SparkConf().setMaster("local[2]").setAppName("spill")
    conf.set("spark.millstream.processes", "always")
    conf.set("spark.millstream.memory", "600k").set("spark.local.dir", str(tmp_path))
    with SparkContext(conf=conf) as sc:
        counted = [pairs(sc) for _ in range(4)]
        sums = [rdd.mapValues(len).map(lambda pair: pair[1]).sum() for rdd in counted]
        statistics = sc._driver.blocks.statistics()

        assert sums == [40_000] * 4
        assert statistics.spilled_blocks > 0
        assert statistics.memory_bytes <= 600 << 10
        assert counted[0].map(lambda pair: len(pair[1])).sum() == 40_000


@pytest.mark.parametrize("columnar", ["on", "off"])
@pytest.mark.slow
def test_state_stays_with_the_workers(tmp_path: Path, columnar: str) -> None:
    """It is computed there, read there, and made anew where a file of it is lost."""
    first = [(f"k{n}", n) for n in range(20_000)]
    batches: list[list[tuple[str, int]]] = [first, [("k1", 5), ("new", 1)], [], []]
    seen: list[dict[str, int]] = []
    conf = SparkConf().setMaster("local[2]").setAppName("state")
    conf.set("spark.millstream.processes", "always")
    conf.set("spark.millstream.columnar", columnar)
    with SparkContext(conf=conf) as sc:
        ssc = StreamingContext(sc, 0.1)
        ssc.checkpoint(str(tmp_path))
        counts = ssc.queueStream(
            [sc.parallelize(each, 2) for each in batches], default=sc.emptyRDD()
        ).updateStateByKey(lambda new, old: (old or 0) + sum(new), 2)

        def take(rdd: RDD[tuple[str, int]]) -> None:
            seen.append(dict(rdd.collect()))
            held = held_files(sc, "rdd-")
            assert len(held) >= 2
            if len(seen) == 2:
                for each in held.values():
                    each.path.unlink()
            if len(seen) == len(batches):
                Thread(target=ssc.stop, args=(False,)).start()

        counts.foreachRDD(take)
        ssc.start()
        ssc.awaitTermination()

    assert seen[0] == dict(first)
    assert seen[1] == seen[2] == seen[3] == {**seen[0], "k1": 6, "new": 1}
