"""Stories of memory that runs out: the error names the stage and what it had to read."""

import os
import signal
import sys

import pytest

from millstream import RDD, SparkConf, SparkContext
from millstream.engine.base.errors import JobFailedError
from millstream.engine.workers import processes

if sys.platform == "win32":
    pytest.skip("there are no such limits", allow_module_level=True)


def context(mode: str) -> SparkContext:
    """Return a context with two slots, in worker processes or in none."""
    conf = SparkConf().setMaster("local[2]").setAppName("running out")
    # By rows, whatever the tests are run with: errors tell which way it was.
    conf.set("spark.millstream.columnar", "off")
    return SparkContext(conf=conf.set("spark.millstream.processes", mode))


def shuffled(sc: SparkContext) -> RDD[str]:
    """Return 9,000 records in three partitions, behind a shuffle."""
    return sc.parallelize(range(9_000), 2).map(str).repartition(3)


def told(rdd: RDD[object]) -> str:
    """Return the error of a job."""
    with pytest.raises(JobFailedError) as caught:
        rdd.collect()
    return str(caught.value)


def take_too_much(_record: str) -> int:
    """Ask for more memory than any machine has."""
    return len(bytearray(1 << 60))


@pytest.mark.parametrize("mode", ["off", "always"])
@pytest.mark.slow
def test_a_memory_error_is_told_with_the_size_of_the_input(mode: str) -> None:
    """And with the user's line, and what to do; in a worker process, and in none."""
    with context(mode) as sc:
        error = told(shuffled(sc).map(take_too_much))

    assert "return len(bytearray(1 << 60))" in error
    assert "MemoryError" in error
    assert "in collect of map (map at test_running_out.py:" in error
    assert "its input: about 3,000 records" in error
    assert ("KiB handed over to the worker process" in error) == (mode == "always")
    assert "hint: memory ran out: use more partitions" in error


def test_a_worker_over_its_limit_tells_the_same() -> None:
    """One that the system gives no more memory: it goes on with the next task."""

    def grow_over_the_limit(_record: str) -> int:
        import resource

        limits = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (4 << 30, limits[1]))
        try:
            return len(bytearray(8 << 30))
        finally:
            resource.setrlimit(resource.RLIMIT_AS, limits)

    with context("always") as sc:
        error = told(shuffled(sc).map(grow_over_the_limit))
        pids = set(sc._driver.elsewhere().pids)  # type: ignore[attr-defined]
        found = sc.parallelize(range(20), 20).map(lambda _: os.getpid()).collect()

    assert "its input: about 3,000 records" in error
    assert "hint: memory ran out" in error
    assert set(found) <= pids


def test_a_worker_that_the_system_kills_for_memory_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At once, with stage and input; the count of such kills is what Linux has."""
    kills = iter(range(1_000_000))
    monkeypatch.setattr(processes, "out_of_memory_kills", lambda: next(kills))

    def killed(_record: str) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    with context("always") as sc:
        error = told(shuffled(sc).map(killed))

    assert "was killed (SIGKILL) because memory ran out (use more partitions" in error
    assert "in collect of map (map at test_running_out.py:" in error
    assert "its input: about 3,000 records" in error


@pytest.mark.slow
def test_a_worker_that_ends_or_crashes_is_told_with_its_input() -> None:
    """The size may be the reason there, too."""
    with context("always") as sc:
        exits = told(shuffled(sc).map(lambda _: os._exit(3)))
        crashes = told(shuffled(sc).map(lambda _: os.kill(os.getpid(), signal.SIGSEGV)))

    assert "exit code 3" in exits
    assert "its input: about 3,000 records" in exits
    assert "crashed (SIGSEGV)" in crashes
    assert "its input: about 3,000 records" in crashes
