"""Tests of rdd.py: transformations, keeping, checkpoints, and what RDDs refuse."""

import gc
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from millstream import RDD, SparkConf, SparkContext, StorageLevel, TaskContext
from millstream.engine.base.errors import (
    JobCancelledError,
    JobFailedError,
    PySparkPicklingError,
    PySparkRuntimeError,
    SparkError,
    UnsupportedOperationError,
)
from millstream.taskcontext import BarrierTaskContext


def test_transformations_are_lazy(sc: SparkContext) -> None:
    """Nothing runs before an action."""
    rdd = sc.parallelize([0]).map(lambda x: 1 // x)

    with pytest.raises(JobFailedError, match="ZeroDivisionError"):
        rdd.count()


def test_slices_are_contiguous_and_even(sc: SparkContext) -> None:
    """Sizes differ by at most one, order is kept; iterators and ranges work."""
    assert sc.parallelize(range(7), 3).glom().collect() == [[0, 1], [2, 3], [4, 5, 6]]
    assert sc.parallelize(iter("ab"), 3).glom().collect() == [[], ["a"], ["b"]]
    assert sc.range(3).collect() == [0, 1, 2]
    assert sc.range(5, 1, -2, 2).collect() == [5, 3]
    assert sc.emptyRDD().getNumPartitions() == 0


def test_partitioners_are_kept_where_keys_stay(sc: SparkContext) -> None:
    """filter, mapValues and flatMapValues keep it; map drops it."""
    placed = sc.parallelize([(i, i) for i in range(6)]).partitionBy(3)
    same = placed.partitioner

    assert same is not None
    assert placed.filter(bool).partitioner == same
    assert placed.mapValues(abs).partitioner == same
    assert placed.flatMapValues(lambda v: [v]).partitioner == same
    assert placed.map(lambda kv: kv).partitioner is None
    assert placed.map(lambda kv: kv, True).partitioner == same
    assert placed.partitionBy(3) is placed
    assert placed.reduceByKey(max, 3).partitioner == same
    assert placed.union(placed).getNumPartitions() == 3
    assert placed.union(placed.map(lambda kv: kv)).getNumPartitions() == 6


def test_a_join_of_placed_rdds_needs_no_shuffle(sc: SparkContext) -> None:
    """Co-partitioned sides are read side by side."""
    a = sc.parallelize([(i, i) for i in range(4)]).partitionBy(2).cache()
    b = sc.parallelize([(i, -i) for i in range(4)]).partitionBy(2).cache()
    a.count()
    b.count()
    before = sc._driver.shuffles.count()
    joined = dict(a.join(b).collect())

    assert joined == {i: (i, -i) for i in range(4)}
    assert sc._driver.shuffles.count() == before


def test_shuffle_outputs_serve_later_jobs(sc: SparkContext) -> None:
    """The map side of a shuffle runs once."""
    ran = sc.accumulator(0)

    def note(x: int) -> tuple[int, int]:
        ran.add(1)
        return x, 1

    counted = sc.parallelize(range(10)).map(note).reduceByKey(lambda a, b: a + b)
    counted.count()
    counted.collect()

    assert ran.value == 10


def test_shuffles_of_nothing_are_empty(sc: SparkContext) -> None:
    """An RDD without partitions can be reduced, grouped, joined and sorted."""
    empty = sc.emptyRDD()

    assert empty.reduceByKey(max, 2).collect() == []
    assert empty.groupByKey(3).glom().collect() == [[], [], []]
    assert empty.join(empty, 2).count() == 0
    assert empty.distinct(1).collect() == []
    assert empty.sortByKey(numPartitions=2).collect() == []
    assert empty.count() == empty.sum() == 0
    assert empty.isEmpty()


def test_take_looks_at_few_partitions(sc: SparkContext) -> None:
    """One partition first; all only if need be."""
    ran = sc.accumulator(0)

    def note(rows: Iterator[int]) -> Iterator[int]:
        ran.add(1)
        return rows

    rdd = sc.parallelize(range(100), 20).mapPartitions(note)

    assert rdd.take(3) == [0, 1, 2]
    assert ran.value == 1
    assert rdd.take(0) == []
    assert rdd.take(1000) == list(range(100))


def test_cached_rows_are_not_the_users_objects(sc: SparkContext) -> None:
    """Neither a later function nor the driver can change what is kept."""
    kept = sc.parallelize([[1], [2]], 1).map(lambda x: [*x]).cache()

    def spoil(row: list[int]) -> list[int]:
        row.append(9)
        return row

    assert kept.map(spoil).collect() == [[1, 9], [2, 9]]
    kept.collect()[0].append(7)

    assert kept.collect() == [[1], [2]]


def test_functions_are_copies_of_what_they_were(sc: SparkContext) -> None:
    """A task's changes to captured objects reach neither driver nor other tasks."""
    seen: list[int] = []

    def note(x: int) -> int:
        seen.append(x)
        return len(seen)

    assert sc.parallelize([1, 2], 2).map(note).collect() == [1, 1]
    assert seen == []


def test_a_levels_change_needs_unpersist(sc: SparkContext) -> None:
    """The same level is fine, another is refused until unpersist."""
    rdd = sc.parallelize([1]).cache()

    assert rdd.persist(StorageLevel.MEMORY_ONLY).is_cached
    with pytest.raises(UnsupportedOperationError, match="Cannot change storage level"):
        rdd.persist(StorageLevel.DISK_ONLY)
    assert rdd.unpersist().persist(StorageLevel.DISK_ONLY).collect() == [1]
    assert rdd.getStorageLevel() == StorageLevel.DISK_ONLY
    assert sc.parallelize([1]).getStorageLevel() == StorageLevel.NONE


def test_kept_partitions_go_when_nobody_holds_the_rdd(sc: SparkContext) -> None:
    """Garbage frees blocks and shuffle outputs."""
    rdd = sc.parallelize([(1, 1)]).reduceByKey(max).cache()
    rdd.count()
    assert sc._driver.blocks.statistics().memory_blocks > 0
    del rdd
    gc.collect()
    sc.parallelize([1]).count()

    assert sc._driver.blocks.statistics().memory_blocks == 0
    assert sc._driver.shuffles.count() == 0


def test_a_small_budget_spills_and_recomputes() -> None:
    """Results are right whatever fits into memory."""
    conf = SparkConf().setMaster("local").set("spark.millstream.memory", "5k")
    with SparkContext(conf=conf, appName="t") as sc:
        for level in (StorageLevel.MEMORY_ONLY, StorageLevel.MEMORY_AND_DISK):
            kept = sc.parallelize(["x" * 50] * 1000, 10).persist(level)
            assert kept.count() == kept.count() == 1000
        grouped = sc.parallelize(range(2000), 4).map(lambda x: (x % 7, x)).groupByKey()
        assert max(grouped.mapValues(len).values().collect()) == 286
        assert sc._driver.blocks.statistics().disk_blocks > 0


def test_a_checkpoint_cuts_the_lineage(sc: SparkContext, tmp_path: Path) -> None:
    """After the first job the RDD is read from files, partitioner included."""
    rdd = sc.parallelize([(1, "a"), (2, "b")]).reduceByKey(max)
    with pytest.raises(SparkError, match="Checkpoint directory has not been set"):
        rdd.checkpoint()
    sc.setCheckpointDir(str(tmp_path))
    assert (sc.getCheckpointDir() or "").startswith("file:/")
    rdd.checkpoint()
    assert not rdd.isCheckpointed()
    expected = sorted(rdd.collect())

    assert rdd.isCheckpointed()
    assert rdd.getCheckpointFile()
    assert sorted(rdd.collect()) == expected
    assert rdd.partitioner is not None
    assert rdd._node.parents() == ()


def test_a_local_checkpoint_cuts_the_lineage_too(sc: SparkContext) -> None:
    """Partitions stay in this process's storage."""
    rdd = sc.parallelize([1, 2], 2).map(lambda x: x + 1)
    rdd.localCheckpoint()
    assert rdd.count() == 2

    assert rdd.isLocallyCheckpointed()
    assert rdd.collect() == [2, 3]
    assert rdd._node.parents() == ()


@pytest.mark.slow
def test_lineages_thousands_deep_run(sc: SparkContext) -> None:
    """Depth is no limit: maps, partition functions, unions, shuffles."""
    rdd: RDD[Any] = sc.parallelize([1, 2], 2)
    for _ in range(3000):
        rdd = rdd.map(lambda x: x + 1)
    assert rdd.collect() == [3001, 3002]
    for _ in range(1500):
        rdd = rdd.mapPartitions(lambda rows: rows)
    assert rdd.sum() == 6003
    one = sc.parallelize([(1, 1)], 1)
    for _ in range(400):
        one = one.map(lambda kv: kv).reduceByKey(max, 1)
    assert one.collect() == [(1, 1)]


def test_failing_tasks_are_tried_again() -> None:
    """`local[N,F]` gives F tries; the error tells how often it failed."""
    with SparkContext("local[2,3]", "t") as sc:

        def fails_twice(x: int) -> int:
            context = TaskContext.get()
            assert context is not None
            if context.attemptNumber() < 2:
                raise ValueError("not yet")
            return x

        assert sc.parallelize([1]).map(fails_twice).collect() == [1]
        with pytest.raises(JobFailedError, match="failed 3 times"):
            sc.parallelize([1]).map(lambda x: 1 // 0).collect()


def test_a_failed_task_adds_nothing_to_accumulators() -> None:
    """Only the try that succeeds counts."""
    with SparkContext("local[1,3]", "t") as sc:
        total = sc.accumulator(0)

        def adds_then_fails(x: int) -> None:
            total.add(x)
            context = TaskContext.get()
            assert context is not None
            assert context.attemptNumber() == 1

        sc.parallelize([5], 1).foreach(adds_then_fails)

        assert total.value == 5


def test_an_error_tells_the_users_line_step_and_record(sc: SparkContext) -> None:
    """The user's traceback, the steps by name, partition and record; no engine frames."""
    rdd = sc.parallelize([3, 0], 2).map(lambda x: x).map(lambda x: 1 // x)
    with pytest.raises(JobFailedError) as caught:
        rdd.collect()
    text = str(caught.value)

    assert "test_rdd.py" in text
    assert "ZeroDivisionError" in text
    assert "in step map (map at test_rdd.py:" in text
    assert "partition 1, record 0" in text
    assert "fusion.py" not in text
    assert "tasks.py" not in text
    assert isinstance(caught.value.user_error, ZeroDivisionError)


def test_stop_iteration_in_user_code_is_an_error(sc: SparkContext) -> None:
    """It must not end a partition early."""

    def stops(_x: int) -> int:
        raise StopIteration

    for rdd in (
        sc.parallelize([1]).map(stops),
        sc.parallelize([(1, 1), (1, 2)], 1).reduceByKey(lambda a, b: stops(a)),
    ):
        with pytest.raises(JobFailedError, match="Caught StopIteration"):
            rdd.collect()


def test_jobs_can_be_cancelled_by_group(sc: SparkContext) -> None:
    """The job raises in its thread and its endless task ends."""
    started, errors = threading.Event(), []
    listener = sc.statusTracker()

    def endless(x: int) -> int:
        while True:
            x += 1

    def run() -> None:
        sc.setJobGroup("group", "endless")
        started.set()
        try:
            sc.parallelize([1, 2], 2).map(endless).collect()
        except JobCancelledError as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    assert started.wait(10)
    while not listener.getActiveJobsIds():
        pass
    assert listener.getJobIdsForGroup("group")
    sc.cancelJobGroup("group")
    thread.join(10)

    assert len(errors) == 1
    assert "cancelled job group" in str(errors[0])
    assert sc.parallelize([1, 2], 2).sum() == 3


def test_jobs_of_several_threads_run_side_by_side(sc: SparkContext) -> None:
    """Each gets its own results; a shared shuffle is made once."""
    ran = sc.accumulator(0)

    def note(x: int) -> tuple[int, int]:
        ran.add(1)
        return x % 5, x

    shared = sc.parallelize(range(100), 4).map(note).reduceByKey(lambda a, b: a + b)
    results: list[Any] = []
    threads = [
        threading.Thread(target=lambda: results.append(sorted(shared.collect())))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert len(results) == 6
    assert all(result == results[0] for result in results)
    assert ran.value == 100


def test_barrier_tasks_meet(sc: SparkContext) -> None:
    """All tasks of the stage run at once and can exchange messages."""

    def meet(rows: Iterator[int]) -> list[Any]:
        context = BarrierTaskContext.get()
        context.barrier()
        return [context.allGather(str(sum(rows))), len(context.getTaskInfos())]

    met = sc.parallelize([1, 2, 3, 4], 2).barrier().mapPartitions(meet).collect()

    assert met == [["3", "7"], 2, ["3", "7"], 2]
    with pytest.raises(SparkError, match="SPARK-24819"):
        sc.parallelize(range(3), 3).barrier().mapPartitions(lambda r: r).collect()
    with pytest.raises(PySparkRuntimeError, match="not in a barrier stage"):
        BarrierTaskContext.get()


def test_local_properties_reach_tasks(sc: SparkContext) -> None:
    """What the thread set is seen by its tasks."""
    sc.setLocalProperty("colour", "blue")

    def colour(_x: int) -> str | None:
        context = TaskContext.get()
        assert context is not None
        return context.getLocalProperty("colour")

    assert sc.parallelize([1]).map(colour).collect() == ["blue"]
    sc.setLocalProperty("colour", None)
    assert sc.getLocalProperty("colour") is None


def test_rdds_and_contexts_cannot_be_used_in_tasks(sc: SparkContext) -> None:
    """The error explains, rather than fail obscurely."""
    rdd = sc.parallelize([1])
    for function in (lambda x: rdd.count(), lambda x: sc.appName):
        with pytest.raises(PySparkRuntimeError, match="SPARK-5063"):
            rdd.map(function).collect()
    with pytest.raises(PySparkPicklingError, match="Could not serialize broadcast"):
        sc.broadcast(sc)


def test_generic_subscription_works_at_run_time() -> None:
    """Programs annotate with RDD[...]."""
    assert RDD[tuple[int, str]] is not None


def test_the_debug_string_shows_stages(sc: SparkContext) -> None:
    """Shuffles indent; partitions are told."""
    rdd = sc.parallelize([(1, 1)], 3).reduceByKey(max, 2).setName("largest")
    text = rdd.toDebugString().decode()

    assert text.startswith("(2) largest RDD[")
    assert "+-(3)" in text


def test_dealing_out_leaves_no_empty_partition(sc: SparkContext) -> None:
    """Repartition spreads evenly; coalesce puts neighbours together."""
    spread = sc.parallelize(range(100), 1).repartition(4)

    assert [len(part) for part in spread.glom().collect()] == [25] * 4
    assert sc.emptyRDD().repartition(3).getNumPartitions() == 3
    merged = sc.parallelize(range(6), 6).coalesce(2)
    assert merged.glom().collect() == [[0, 1, 2], [3, 4, 5]]
    assert merged.coalesce(5).getNumPartitions() == 2


def test_zip_checks_partitions_and_elements(sc: SparkContext) -> None:
    """Different partition counts at once, different lengths when it runs."""
    a = sc.parallelize(range(4), 2)

    assert a.zip(a.map(str)).collect() == [(i, str(i)) for i in range(4)]
    with pytest.raises(ValueError, match="Can only zip"):
        a.zip(sc.parallelize(range(4), 4))
    with pytest.raises(JobFailedError, match="Can only zip RDDs"):
        a.zip(sc.parallelize(range(5), 2)).collect()


def test_pipe_feeds_a_command(sc: SparkContext) -> None:
    """Records in, lines out; a bad exit code matters only when asked for."""
    rdd = sc.parallelize(["b", "a"], 1)

    assert rdd.pipe("sort").collect() == ["a", "b"]
    assert rdd.pipe("sh -c 'cat; exit 3'").collect() == ["b", "a"]
    with pytest.raises(JobFailedError, match="exited with error code 3"):
        rdd.pipe("sh -c 'exit 3'", checkCode=True).collect()
    assert rdd.pipe("sh -c 'echo $X'", {"X": "y"}).collect() == ["y"]


def test_samples_are_repeatable_and_about_right(sc: SparkContext) -> None:
    """The seed decides; fractions hold on average; splits lose nothing."""
    rdd = sc.parallelize(range(10_000), 4)

    assert rdd.sample(False, 0.1, 7).collect() == rdd.sample(False, 0.1, 7).collect()
    assert 800 < rdd.sample(False, 0.1, 7).count() < 1200
    assert 18_000 < rdd.sample(True, 2.0, 7).count() < 22_000
    parts = rdd.randomSplit([1, 3], 5)
    assert sorted(parts[0].collect() + parts[1].collect()) == list(range(10_000))
    keyed = rdd.map(lambda x: (x % 2, x)).sampleByKey(False, {0: 0.0, 1: 1.0}, 3)
    assert keyed.count() == 5000
    assert len(set(rdd.takeSample(False, 50, 1))) == 50
    assert len(rdd.takeSample(True, 50, 1)) == 50
    with pytest.raises(ValueError, match="Negative fraction"):
        rdd.sample(False, -1.0)


def test_a_function_that_cannot_travel_is_named(sc: SparkContext) -> None:
    """Told by the action, before any task runs, with what to do."""
    lock = threading.Lock()

    def locked(x: int) -> Any:
        return lock, x

    with pytest.raises(PySparkPicklingError, match="Could not serialize") as caught:
        sc.parallelize([1]).map(locked).collect()

    assert "create it inside the function" in (caught.value.hint or "")
