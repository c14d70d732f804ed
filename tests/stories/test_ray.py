"""Stories of a Ray cluster: three nodes on this machine, on loopback, that come and go."""

import os
import re
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from tests.marking import Marker
from tests.stories.programs import PROGRAMS

from millstream import RDD, SparkConf, SparkContext, StorageLevel
from millstream.engine.base import frames
from millstream.engine.base.errors import JobFailedError
from millstream.engine.durable.frozen_bytes import Shared
from millstream.engine.workers.protocol import StageBody, TaskOrder
from millstream.streaming import StreamingContext

# Read when Ray is imported: without it, loopback becomes the machine's own address.
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
ray = pytest.importorskip("ray")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Return a cluster of a head without CPUs and two nodes of two CPUs each."""
    from ray.cluster_utils import Cluster

    made = Cluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": 0,
            "node_ip_address": "127.0.0.1",
            # Two clusters that start at a time would both want its one port.
            "include_dashboard": False,
        },
    )
    for _ in range(2):
        made.add_node(num_cpus=2, node_ip_address="127.0.0.1")
    made.wait_for_nodes()
    ray.init(address=made.address, namespace="millstream", log_to_driver=False)
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.fixture
def sc(cluster: Any) -> Iterator[SparkContext]:
    """Return a context on the cluster."""
    del cluster
    conf = SparkConf().setMaster("ray").setAppName("ray")
    with SparkContext(conf=conf) as context:
        yield context


def test_tasks_run_on_the_nodes_of_the_cluster(sc: SparkContext) -> None:
    """One a CPU; broadcast values and accumulators get there and back."""
    names = sc.broadcast(["even", "odd"])
    seen = sc.accumulator(0)

    def describe(number: int) -> tuple[str, str]:
        import ray

        seen.add(1)
        return names.value[number % 2], ray.get_runtime_context().get_node_id()

    until_s = time.monotonic() + 30
    while sc._driver.ready_count < 4 and time.monotonic() < until_s:
        time.sleep(0.01)
    found = sc.parallelize(range(100), 8).map(describe).collect()

    assert sc.defaultParallelism == 4
    assert [name for name, _ in found] == ["even", "odd"] * 50
    assert len({node for _, node in found}) == 2
    assert seen.value == 100


def test_tasks_tell_which_executor_ran_them(sc: SparkContext) -> None:
    """And on which node; how long they took, and what they read and made."""
    sc.parallelize(range(40), 4).map(lambda number: (number % 3, number)).reduceByKey(
        lambda left, right: left + right, 2
    ).collect()
    found = [e for stage in sc._driver.book.stages() for e in stage.tasks.records()]

    assert len(found) == 6
    assert all(
        re.match(r"Ray executor \d+ on [0-9a-f]+$", each.where) for each in found
    )
    assert all(each.took_ms > 0 for each in found)
    assert all(each.traffic.rows_in for each in found)
    assert all(each.traffic.bytes_out for each in found)


def _results(sc: SparkContext) -> list[str]:
    """Return what each program gives, or the error that it ends with."""

    def result(program: Callable[[SparkContext], object]) -> str:
        try:
            return repr(program(sc))
        except Exception as error:
            return "".join(traceback.format_exception(error))

    return [result(each) for each in PROGRAMS]


@pytest.fixture(scope="module")
def on_cluster(cluster: Any) -> list[str]:
    """Return what the programs give there: in one context, for each takes seconds."""
    del cluster
    conf = SparkConf().setMaster("ray").setAppName("programs")
    with SparkContext(conf=conf) as sc:
        return _results(sc)


@pytest.fixture(scope="module")
def here() -> list[str]:
    """Return what the programs give on threads."""
    with SparkContext("local[4]", "here") as sc:
        return _results(sc)


@pytest.mark.parametrize("number", range(len(PROGRAMS)))
def test_a_program_gives_what_it_gives_here(
    number: int, on_cluster: list[str], here: list[str]
) -> None:
    """To the order."""
    assert not here[number].startswith("Traceback")
    assert on_cluster[number] == here[number]


def test_a_stream_runs_on_the_cluster(sc: SparkContext) -> None:
    """Every batch comes out once, in its order."""
    out: list[list[tuple[str, int]]] = []
    done = Event()

    def take(rdd: RDD[tuple[str, int]]) -> None:
        found = sorted(rdd.collect())
        if found:
            out.append(found)
        if len(out) == 10:
            done.set()

    ssc = StreamingContext(sc, 0.1)
    batches = [sc.parallelize([f"b{n}", "all", f"b{n}"], 3) for n in range(10)]
    words = ssc.queueStream(batches).map(lambda word: (word, 1))
    words.reduceByKey(lambda a, b: a + b).foreachRDD(take)
    ssc.start()
    assert done.wait(60)
    ssc.stop(stopSparkContext=False)

    assert out == [[("all", 1), (f"b{n}", 2)] for n in range(10)]


def test_effects_are_where_the_tasks_are(sc: SparkContext, tmp_path: Path) -> None:
    """Files too, whose attempts are committed here; on disks that nodes share."""
    seen = sc.accumulator(0)

    def mark(number: int) -> None:
        seen.add(number)
        (tmp_path / f"{number}-{os.getpid()}").touch()

    numbers = sc.parallelize(range(8), 4)
    numbers.foreach(mark)
    numbers.map(lambda n: f"{n} {os.getpid()}").saveAsTextFile(str(tmp_path / "out"))

    lines = [line.split() for line in sc.textFile(str(tmp_path / "out")).collect()]
    marks = sorted(path.name.split("-") for path in tmp_path.glob("*-*"))
    assert [number for number, _ in lines] == list("01234567")
    assert [number for number, _ in marks] == list("01234567")
    assert str(os.getpid()) not in {pid for _, pid in [*lines, *marks]}
    assert seen.value == sum(range(8))


def test_an_error_is_told_with_the_users_line(sc: SparkContext) -> None:
    """After as many tries as the setting says."""
    with pytest.raises(JobFailedError, match="failed 4 times") as caught:
        sc.parallelize([4, 0], 2).map(lambda n: 1 // n).collect()

    assert "test_ray.py" in str(caught.value)
    assert "partition 1, record 0" in str(caught.value)


def test_an_actor_that_is_killed_costs_nothing_but_time(
    sc: SparkContext, tmp_path: Path
) -> None:
    """Its task runs again, and counts once."""
    mark = tmp_path / "killed"
    seen = sc.accumulator(0)

    def kill_once(number: int) -> int:
        seen.add(1)
        if number == 5 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    assert sc.parallelize(range(10), 2).map(kill_once).collect() == list(range(10))
    assert seen.value == 10


def test_a_node_that_is_killed_in_the_middle_costs_nothing_but_time(
    cluster: Any, sc: SparkContext, tmp_path: Path
) -> None:
    """Its tasks run on the other one; a node that comes later is used."""
    victim = next(iter(cluster.worker_nodes))
    started = tmp_path / "started"
    killed = tmp_path / "killed"

    def wait_for_the_end(number: int) -> int:
        (started / str(number)).mkdir(parents=True, exist_ok=True)
        until_s = time.monotonic() + 20
        while not killed.exists() and time.monotonic() < until_s:
            time.sleep(0.01)
        return number

    def kill() -> None:
        while len(list(started.glob("*"))) < 4:
            time.sleep(0.01)
        cluster.remove_node(victim, allow_graceful=False)
        killed.touch()

    started.mkdir()
    killer = Thread(target=kill)
    killer.start()
    found = sc.parallelize(range(4), 4).map(wait_for_the_end).collect()
    killer.join()
    cluster.add_node(num_cpus=2, node_ip_address="127.0.0.1")

    assert found == list(range(4))
    assert sc.parallelize(range(8), 8).map(abs).sum() == 28


def _pairs(sc: SparkContext, mapped: Any) -> RDD[tuple[str, list[str]]]:
    """Return pairs too large to travel through the driver; `mapped` counts.

    Ray itself has what it returns of up to 100 kB in the driver.
    """

    def pair(number: int) -> tuple[str, list[str]]:
        mapped.add(1)
        return f"w{number % 4000}", [f"{number:0200d}"]

    return sc.parallelize(range(40_000), 4).map(pair)


def _parts(sc: SparkContext) -> list[Any]:
    """Return the parts of all blocks that the cluster holds."""
    blocks = sc._driver.blocks
    kept: list[Any] = [blocks.get_kept(each) for each in blocks.ids()]
    held: list[Any] = [each.held for each in kept if isinstance(each, Shared)]
    return [each.part for each in held]


def _where(_number: int) -> tuple[str, int]:
    import ray

    time.sleep(0.05)  # Long enough that every actor gets one.
    return ray.get_runtime_context().get_node_id(), os.getpid()


def _kill_node(cluster: Any, sc: SparkContext) -> None:
    """Kill a node that holds blocks, with its actors, and have another one come."""
    holding = {each.holder.node for each in _parts(sc)}
    victim = next(n for n in cluster.worker_nodes if n.node_id in holding)
    pids = dict.fromkeys(sc.parallelize(range(16), 16).map(_where).collect())
    cluster.remove_node(victim, allow_graceful=False)
    for node, pid in pids:
        if node == victim.node_id:
            with suppress(ProcessLookupError):  # It has seen that its node is gone.
                os.kill(pid, signal.SIGKILL)
    cluster.add_node(num_cpus=2, node_ip_address="127.0.0.1")


def test_map_outputs_of_a_killed_node_are_made_again(
    cluster: Any, sc: SparkContext
) -> None:
    """Those alone; and the job that reads them waits no longer than for a silent actor."""
    mapped = sc.accumulator(0)
    joined = _pairs(sc, mapped).reduceByKey(lambda a, b: a + b, 4)
    assert joined.count() == 4000
    assert len(_parts(sc)) == 16
    assert mapped.value == 40_000
    _kill_node(cluster, sc)

    assert dict(joined.mapValues(len).collect()) == {f"w{n}": 10 for n in range(4000)}
    assert 40_000 < mapped.value < 80_000


def test_a_copied_partition_outlives_its_node(cluster: Any, sc: SparkContext) -> None:
    """It is on two nodes with a storage level that says so; nothing is computed again."""
    mapped = sc.accumulator(0)
    kept = _pairs(sc, mapped).persist(StorageLevel.MEMORY_ONLY_2)
    assert kept.count() == 40_000
    parts = _parts(sc)
    assert len(parts) == 4
    until_s = time.monotonic() + 20
    while not all(each.copies for each in parts) and time.monotonic() < until_s:
        time.sleep(0.01)
    _kill_node(cluster, sc)

    assert kept.mapValues(len).map(lambda pair: pair[1]).sum() == 40_000
    assert mapped.value == 40_000


def test_the_nodes_tell_which_bad_records_they_took_out(sc: SparkContext) -> None:
    """Each record once, behind a shuffle and in front of one; accumulators add up."""
    marker, seen = Marker(), sc.accumulator(0)

    def inverse(number: int) -> float:
        seen.add(1)
        return 1 / number

    numbers = marker.mark(sc.parallelize([1, 0, 2, 0, 4] * 8, 8))

    assert numbers.map(inverse).count() == 24
    assert seen.value == 24
    assert len(marker.places) == 16
    words = marker.mark(sc.parallelize(["1", "x", "3"] * 5, 3))
    pairs = words.map(lambda word: (int(word) % 2, int(word)))
    assert pairs.reduceByKey(max).collect() == [(1, 3)]
    assert {each.error for each in marker.records} == {
        "ZeroDivisionError",
        "ValueError",
    }


def test_a_task_can_be_cancelled_while_another_one_ends(
    sc: SparkContext, tmp_path: Path
) -> None:
    """Ray tells of the ending on the thread that must end the other task's actor."""
    workers: Any = sc._driver._elsewhere
    began, ending = tmp_path / "began", Event()

    def stop_at_last(number: int) -> int:
        if number == 0:
            began.touch()
            time.sleep(30)
        return number

    body = frames.dumps_function(lambda given, _: stop_at_last(frames.loads(given)))
    endless, short = (
        TaskOrder(StageBody("stage", body), frames.dumps(number), "task", near=number)
        for number in (0, 1)
    )
    ticket = workers.submit(endless, lambda _: pytest.fail("it was cancelled"))
    until_s = time.monotonic() + 30
    while not (began.exists() and sc._driver.ready_count == 4):
        assert time.monotonic() < until_s
        time.sleep(0.01)
    with workers._lock:  # As speculation has it that cancels the slower attempt.
        workers.submit(short, lambda _: ending.set())
        time.sleep(1)  # Long enough for the ending to be told, if the lock were free.
        ticket.cancel()

    assert ending.wait(30)


def test_executors_come_and_go_with_the_scheduling_delay(
    cluster: Any, tmp_path: Path
) -> None:
    """Fewer while batches are light, more when they take as long as the interval."""
    del cluster
    prefix = "spark.streaming.dynamicAllocation"
    conf = SparkConf().setMaster("ray").setAppName("scaling")
    conf.set(f"{prefix}.enabled", "true").set(f"{prefix}.scalingInterval", "1s")
    conf.set(f"{prefix}.minExecutors", "1").set(f"{prefix}.maxExecutors", "3")
    heavy, done = tmp_path / "heavy", Event()
    counts: list[int] = []

    def work(number: int) -> int:
        if heavy.exists():
            time.sleep(0.2)
        return number

    with SparkContext(conf=conf) as sc:
        ssc = StreamingContext(sc, 0.4)

        def take(rdd: RDD[int]) -> None:
            assert rdd.map(work).sum() == 6
            counts.append(sc._driver.ready_count)
            if counts[-1] == 1:
                heavy.touch()
            if heavy.exists() and counts[-1] > 1:
                done.set()

        batches = [sc.parallelize(range(4), 4) for _ in range(200)]
        ssc.queueStream(batches).foreachRDD(take)
        ssc.start()
        assert done.wait(60), counts
        ssc.stop(stopSparkContext=False, stopGraceFully=False)

    assert 1 in counts


def test_a_task_on_a_slow_node_gets_a_second_attempt(
    cluster: Any, tmp_path: Path
) -> None:
    """On another actor, whose answer counts."""
    del cluster
    conf = SparkConf().setMaster("ray").setAppName("slow")
    conf.set("spark.speculation", "true")
    slow = tmp_path / "slow"
    seen: Any = None

    def stop_once(number: int) -> int:
        seen.add(1)
        if number == 3 and not slow.exists():
            slow.write_text(str(os.getpid()))
            time.sleep(30)  # As a node would be that has too much to do.
        return number

    with SparkContext(conf=conf) as sc:
        seen = sc.accumulator(0)
        begun_s = time.monotonic()
        assert sc.parallelize(range(8), 8).map(stop_once).collect() == list(range(8))
        assert time.monotonic() - begun_s < 25
        assert seen.value == 8
