"""Tests of the package's front door."""

import subprocess
import sys

import pytest

import millstream

_NAMES = """
SparkConf SparkContext SparkFiles RDD StorageLevel Broadcast Accumulator AccumulatorParam
MarshalSerializer CPickleSerializer StatusTracker SparkJobInfo SparkStageInfo
SparkExecutorInfo Profiler BasicProfiler TaskContext RDDBarrier BarrierTaskContext
BarrierTaskInfo InheritableThread inheritable_thread_target __version__
"""
_PYSPARK_ALL = _NAMES.split()


def test_the_public_names_are_pysparks() -> None:
    """All of them, and no other."""
    assert sorted(millstream.__all__) == sorted(_PYSPARK_ALL)


@pytest.mark.parametrize(
    "name",
    [*_PYSPARK_ALL, "Row", "SQLContext", "HiveContext", "keyword_only", "since"],
)
def test_each_name_can_be_imported(name: str) -> None:
    """It is there, and `dir` tells it."""
    assert getattr(millstream, name) is not None
    assert name in dir(millstream)


@pytest.mark.parametrize(
    "name", ["conf", "context", "rdd", "sql", "streaming", "errors", "statcounter"]
)
def test_a_module_is_reached_through_the_package(name: str) -> None:
    """As `import pyspark; pyspark.conf.SparkConf` does."""
    assert getattr(millstream, name).__name__ == f"millstream.{name}"


def test_a_name_that_is_not_there_is_told() -> None:
    """As Python tells it."""
    with pytest.raises(AttributeError, match="has no attribute 'SparkContxt'"):
        _ = millstream.SparkContxt


@pytest.mark.slow
def test_a_star_import_brings_the_public_names_in_a_fresh_process() -> None:
    """And a module is reachable without an import of its own."""
    code = "from millstream import *; SparkConf; import millstream as m; m.streaming.DStream"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "name", ["RDD", "Broadcast", "Accumulator", "AccumulatorParam", "RDDBarrier"]
)
def test_generic_classes_can_be_subscribed(name: str) -> None:
    """Programs write `RDD[int]` at run time."""
    assert getattr(millstream, name)[int]
