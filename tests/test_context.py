"""Tests of context.py and the small faces around it."""

import math
import pickle
import statistics
import threading
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import millstream
from millstream import (
    Accumulator,
    AccumulatorParam,
    Broadcast,
    InheritableThread,
    Row,
    SparkConf,
    SparkContext,
    SparkFiles,
    StorageLevel,
    TaskContext,
)
from millstream.engine.base import machine
from millstream.engine.base.errors import (
    IllegalArgumentError,
    JobFailedError,
    PySparkRuntimeError,
    SparkError,
)
from millstream.resultiterable import ResultIterable
from millstream.sql import SparkSession
from millstream.statcounter import StatCounter


def test_every_public_name_can_be_imported() -> None:
    """What `__all__` says is there."""
    for name in millstream.__all__:
        assert getattr(millstream, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        millstream.nothing


def test_one_context_a_process() -> None:
    """The second is refused, with who made the first; getOrCreate shares it."""
    with SparkContext("local", "first") as sc:
        with pytest.raises(
            ValueError,
            match=r"Cannot run multiple SparkContexts at once; existing SparkContext\(app=first, master=local\) created by .*test_context.py",
        ):
            SparkContext("local", "second")
        assert SparkContext.getOrCreate() is sc
        assert SparkSession.builder.appName("x").getOrCreate().sparkContext is sc
    sc.stop()
    made = SparkContext.getOrCreate(SparkConf().setMaster("local[3]"))
    assert made.defaultParallelism == 3
    made.stop()


@pytest.mark.parametrize(
    ("master", "slots", "tries"),
    [
        ("local", 1, 1),
        ("local[3]", 3, 1),
        ("local[2,4]", 2, 4),
        ("local-cluster[2,1,512]", 2, 4),
    ],
)
def test_masters(master: str, slots: int, tries: int) -> None:
    """Slots and tries come from the master."""
    with SparkContext(master, "t") as sc:
        assert (sc._driver.slots, sc._driver.task_failures_max) == (slots, tries)


def test_a_star_is_the_cores_that_the_process_may_use(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In a container those of its limit, not the machine's."""
    monkeypatch.setattr(machine, "cores", lambda: machine.Share(3, 16))

    with SparkContext("local[*]", "t") as sc:
        assert sc.defaultParallelism == 3
    with SparkContext("local[*,2]", "t") as sc:
        assert (sc._driver.slots, sc._driver.task_failures_max) == (3, 2)


@pytest.mark.parametrize(
    "master", ["spark://h:1", "yarn", "k8s://x", "local[0]", "moon"]
)
def test_masters_that_cannot_be_used(master: str) -> None:
    """Clusters and nonsense: refused with what to use."""
    with pytest.raises(IllegalArgumentError, match=r"master|Master") as caught:
        SparkContext(master, "t")

    assert "local" in (caught.value.hint or "")
    assert SparkContext._active_spark_context is None


def test_arguments_win_over_conf() -> None:
    """And the conf is copied, defaults filled in."""
    conf = (
        SparkConf()
        .setMaster("local[4]")
        .setAppName("conf")
        .set("spark.default.parallelism", "7")
    )
    with SparkContext("local[2]", conf=conf, environment={"A": "b"}) as sc:
        conf.set("spark.app.name", "changed")
        assert (sc.master, sc.appName) == ("local[2]", "conf")
        assert (sc.defaultParallelism, sc.defaultMinPartitions) == (7, 2)
        assert sc.getConf().get("spark.executorEnv.A") == "b"
        assert sc.parallelize([1]).getNumPartitions() == 7
        assert sc.applicationId.startswith("local-")
        assert sc.uiWebUrl is None
        assert sc.startTime > 0
        assert sc.version.count(".") == 2
        assert sc.resources == {}
    with pytest.raises(
        IllegalArgumentError, match=r"spark\.streaming\.blockInterval should be"
    ):
        SparkContext(conf=SparkConf().set("spark.streaming.blockInterval", "x"))


def test_conf_keeps_text() -> None:
    """Setters chain, values become text, the debug string is sorted."""
    conf = SparkConf(False).set("b", True).setIfMissing("b", 2).setAll([("a", 1)])
    conf.setExecutorEnv(pairs=[("X", "1")]).setSparkHome("/x")

    assert conf.get("b") == "True"
    assert conf.get("c") is None
    assert conf.get("c", "d") == "d"
    assert conf.contains("a")
    assert conf.toDebugString().splitlines()[:2] == ["a=1", "b=True"]
    with pytest.raises(PySparkRuntimeError, match="KEY_VALUE_PAIR_REQUIRED"):
        conf.setExecutorEnv()
    SparkContext.setSystemProperty("spark.test.property", "x")
    assert SparkContext.getSystemProperty("spark.test.property") == "x"
    assert SparkConf().get("spark.test.property") == "x"
    from millstream.conf import system_properties

    system_properties.clear()


def test_defaults_come_from_files_and_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """spark-defaults.conf first, then what `millstream run --conf` was given."""
    (tmp_path / "spark-defaults.conf").write_text("# c\nspark.a  one\nspark.b=two\n")
    monkeypatch.setenv("SPARK_CONF_DIR", str(tmp_path))
    monkeypatch.setenv("MILLSTREAM_CONF", '{"spark.b": "three"}')
    conf = SparkConf()

    assert (conf.get("spark.a"), conf.get("spark.b")) == ("one", "three")


def test_broadcasts(sc: SparkContext) -> None:
    """The driver's object itself, tasks' copy; unpersist and destroy."""
    value = {"a": [1]}
    shared: Broadcast[Any] = sc.broadcast(value)
    assert shared.value is value

    def spoil(_x: int) -> list[int]:
        shared.value["a"].append(2)
        return list(shared.value["a"])

    assert sc.parallelize([1], 1).map(spoil).collect() == [[1, 2]]
    assert value == {"a": [1]}
    shared.unpersist()
    assert sc.parallelize([1], 1).map(lambda _: shared.value).collect() == [{"a": [1]}]
    with pytest.raises(JobFailedError, match="in driver"):
        sc.parallelize([1], 1).foreach(lambda _: shared.destroy())
    shared.destroy()
    with pytest.raises(SparkError, match="after it was destroyed"):
        sc.parallelize([1]).map(lambda _: shared.value).collect()
    assert Broadcast[list[str]] is not None


class VectorParam(AccumulatorParam[list[float]]):
    """Adds lists item by item."""

    def zero(self, value: list[float]) -> list[float]:
        return [0.0] * len(value)

    def addInPlace(self, value1: list[float], value2: list[float]) -> list[float]:
        return [a + b for a, b in zip(value1, value2, strict=True)]


def test_accumulators(sc: SparkContext) -> None:
    """Numbers and types of one's own; read on the driver only."""
    total: Accumulator[int] = sc.accumulator(10)
    vector = sc.accumulator([1.0, 1.0], VectorParam())

    def add(x: int) -> None:
        nonlocal total
        total += x
        vector.add([x, 0.0])

    sc.parallelize([1, 2, 3], 2).foreach(add)
    total += 1
    assert total.value == 17
    assert vector.value == [7.0, 1.0]
    total.value = 0
    assert total.value == 0
    with pytest.raises(JobFailedError, match="cannot be accessed inside tasks"):
        sc.parallelize([1]).map(lambda _: total.value).collect()
    with pytest.raises(TypeError, match="No default accumulator param"):
        sc.accumulator("text")


def test_files_modules_and_archives_reach_tasks(
    sc: SparkContext, tmp_path: Path
) -> None:
    """addFile, addPyFile and addArchive; directories need recursive."""
    (tmp_path / "data.txt").write_text("42")
    (tmp_path / "added_module.py").write_text("def answer():\n    return 42\n")
    with zipfile.ZipFile(tmp_path / "pack.zip", "w") as archive:
        archive.writestr("inside.txt", "zipped")
    sc.addFile(str(tmp_path / "data.txt"))
    sc.addPyFile(str(tmp_path / "added_module.py"))
    sc.addArchive(f"{tmp_path / 'pack.zip'}#unpacked")

    def read(_x: int) -> list[Any]:
        import added_module  # type: ignore[import-not-found]

        zipped = Path(SparkFiles.get("unpacked")) / "inside.txt"
        return [
            Path(SparkFiles.get("data.txt")).read_text(),
            added_module.answer(),
            zipped.read_text(),
        ]

    assert sc.parallelize([1]).map(read).collect() == [["42", 42, "zipped"]]
    assert [name.rsplit("/", 1)[-1] for name in sc.listFiles] == [
        "data.txt",
        "added_module.py",
    ]
    assert len(sc.listArchives) == 1
    (tmp_path / "dir").mkdir()
    with pytest.raises(
        SparkError, match="is a directory and recursive is not turned on"
    ):
        sc.addFile(str(tmp_path / "dir"))
    sc.addFile(str(tmp_path / "dir"), recursive=True)
    with pytest.raises(FileNotFoundError):
        sc.addFile(str(tmp_path / "none"))


def test_job_groups_tags_and_properties(sc: SparkContext) -> None:
    """They are the thread's; inheritable threads take them along."""
    sc.setJobGroup("g", "what", True)
    sc.addJobTag("one")
    sc.addJobTag("two")
    sc.removeJobTag("one")
    sc.setJobDescription("described")
    sc.parallelize([1]).count()
    seen: list[Any] = []
    for make in (InheritableThread, threading.Thread):
        thread = make(
            target=lambda: seen.append(sc.getLocalProperty("spark.jobGroup.id"))
        )
        thread.start()
        thread.join()
    tracker = sc.statusTracker()
    (job_id,) = tracker.getJobIdsForGroup("g")
    info = tracker.getJobInfo(job_id)

    assert seen == ["g", None]
    assert sc.getJobTags() == {"two"}
    assert info is not None
    assert info.status == "SUCCEEDED"
    stage = tracker.getStageInfo(info.stageIds[0])
    assert stage is not None
    assert stage.numCompletedTasks == stage.numTasks == 2
    assert tracker.getJobInfo(999) is None
    assert tracker.getStageInfo(999) is None
    assert tracker.getActiveStageIds() == []
    assert tracker.getExecutorInfos()[0].host == "localhost"
    sc.clearJobTags()
    assert sc.getJobTags() == set()
    with pytest.raises(IllegalArgumentError, match="tag cannot be"):
        sc.addJobTag("a,b")


def test_run_job_and_task_context(sc: SparkContext) -> None:
    """Chosen partitions, flattened; tasks know who they are."""
    rdd = sc.parallelize(range(6), 3)

    assert sc.runJob(rdd, lambda rows: [sum(rows)], [2, 0]) == [9, 1]
    with pytest.raises(IllegalArgumentError, match="non-existent partition: 5"):
        sc.runJob(rdd, lambda rows: rows, [5])

    def who(index: int, rows: Any) -> list[Any]:
        context = TaskContext.get()
        assert context is not None
        return [
            (
                context.partitionId() == index,
                context.attemptNumber(),
                context.cpus(),
                context.cpuAmount(),
                context.resources(),
            )
        ]

    assert rdd.mapPartitionsWithIndex(who).collect() == [(True, 0, 1, 1.0, {})] * 3
    assert TaskContext.get() is None


def test_a_context_inside_a_task_is_refused(sc: SparkContext) -> None:
    """The error names the rule."""

    def nested(_x: int) -> None:
        SparkContext("local", "inner")

    with pytest.raises(Exception, match="CONTEXT_ONLY_VALID_ON_DRIVER"):
        sc.parallelize([1]).foreach(nested)


def test_profiles(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Collected when asked for, shown and dumped; else refused."""
    conf = SparkConf().setMaster("local").set("spark.python.profile", "true")
    with SparkContext(conf=conf) as sc:
        sc.parallelize(range(10)).map(lambda x: x).count()
        sc.show_profiles()
        sc.dump_profiles(str(tmp_path))
    assert "Profile of RDD<id=" in capsys.readouterr().out
    assert len(list(tmp_path.glob("rdd_*.pstats"))) == 1
    with (
        SparkContext("local") as sc,
        pytest.raises(PySparkRuntimeError, match="INCORRECT_CONF_FOR_PROFILE"),
    ):
        sc.show_profiles()


def test_log_levels(sc: SparkContext) -> None:
    """Spark's names set the log of Millstream."""
    import logging

    sc.setLogLevel("ERROR")
    assert logging.getLogger("millstream").level == logging.ERROR
    logging.getLogger("millstream").setLevel(logging.NOTSET)
    with pytest.raises(IllegalArgumentError, match="did not match one of"):
        sc.setLogLevel("LOUD")


def test_storage_levels_print_as_pysparks() -> None:
    """Repr is the constructor, str is words; old names are aliases."""
    level = StorageLevel.MEMORY_AND_DISK_2

    assert repr(level) == "StorageLevel(True, True, False, False, 2)"
    assert str(level) == "Disk Memory Serialized 2x Replicated"
    assert StorageLevel.MEMORY_ONLY_SER == StorageLevel.MEMORY_ONLY
    assert hash(level) == hash(StorageLevel(True, True, False, False, 2))


numbers = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30)


@given(numbers, numbers)
def test_statistics_merge(left: list[float], right: list[float]) -> None:
    """Two counters merged equal one of all values."""
    both = StatCounter(left).mergeStats(StatCounter(right))
    values = left + right

    assert both.count() == len(values)
    assert math.isclose(both.mean(), statistics.fmean(values), abs_tol=1e-6)
    assert math.isclose(
        both.variance(), statistics.pvariance(values), rel_tol=1e-6, abs_tol=1e-3
    )
    assert math.isclose(
        both.sampleStdev(), statistics.stdev(values), rel_tol=1e-6, abs_tol=1e-3
    )
    assert (both.min(), both.max()) == (min(values), max(values))
    assert both.asDict()["stdev"] == both.sampleStdev()
    assert both.asDict(sample=True)["stdev"] == both.stdev()


def test_statistics_of_nothing() -> None:
    """Nan and infinities, not errors; merging itself doubles."""
    empty = StatCounter()

    assert math.isnan(empty.variance())
    assert math.isnan(empty.sampleVariance())
    assert (empty.min(), empty.max(), empty.sum()) == (math.inf, -math.inf, 0)
    one = StatCounter([2.0])
    assert one.mergeStats(one).count() == 2
    assert "count: 2" in repr(one)
    with pytest.raises(TypeError, match="Can only merge StatCounter"):
        one.mergeStats(3)  # type: ignore[arg-type]


def test_rows() -> None:
    """Named fields, factories, dicts, pickling."""
    row = Row(name="Alice", age=11)
    Person = Row("name", "age")

    assert (row.name, row["age"], row[0], "age" in row) == ("Alice", 11, "Alice", True)
    assert Person("Bob", 7) == ("Bob", 7)
    assert repr(Person("Bob", 7)) == "Row(name='Bob', age=7)"
    assert repr(Person) == "<Row('name', 'age')>"
    assert row.asDict() == {"name": "Alice", "age": 11}
    assert Row(a=Row(b=[Row(c=1)])).asDict(True) == {"a": {"b": [{"c": 1}]}}
    assert pickle.loads(pickle.dumps(row)) == row
    assert pickle.loads(pickle.dumps(row)).name == "Alice"
    with pytest.raises(AttributeError):
        row.nothing
    with pytest.raises(ValueError, match="nothing"):
        row["nothing"]
    with pytest.raises(RuntimeError, match="read-only"):
        row.name = "x"
    with pytest.raises(ValueError, match="both args and kwargs"):
        Row(1, a=2)
    with pytest.raises(ValueError, match="Can not create Row"):
        Person(1, 2, 3)
    with pytest.raises(TypeError, match="into dict"):
        Person.asDict()


def test_result_iterables() -> None:
    """Sized, and iterable again and again."""
    values = ResultIterable([1, 2])

    assert len(values) == 2
    assert list(values) == list(values) == [1, 2]
    assert repr(values) == "ResultIterable([1, 2])"
