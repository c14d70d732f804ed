"""Stories of actions for their effect on a cluster: they run where the tasks run."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from millstream import SparkContext, TaskContext
from millstream.engine.base.errors import DurabilityError, JobFailedError
from millstream.engine.sinks.text_files import DirectoryOutput
from millstream.streaming import StreamingContext

pytestmark = pytest.mark.slow


@pytest.fixture
def sc() -> Iterator[SparkContext]:
    """Return a context whose two workers stand for a cluster's."""
    with SparkContext("local-cluster[2,1,512]", "effects") as context:
        yield context


def test_effects_are_where_the_tasks_are(sc: SparkContext, tmp_path: Path) -> None:
    """Each partition's once; what is added to an accumulator comes back."""
    seen = sc.accumulator(0)

    def mark(number: int) -> None:
        seen.add(number)
        (tmp_path / f"{number}-{os.getpid()}").touch()

    def mark_all(numbers: Iterator[int]) -> None:
        for number in numbers:
            mark(number)

    sc.parallelize(range(4), 4).foreach(mark)
    sc.parallelize(range(4, 8), 2).foreachPartition(mark_all)

    marks = sorted(path.name.split("-") for path in tmp_path.iterdir())
    assert [number for number, _ in marks] == list("01234567")
    assert str(os.getpid()) not in {pid for _, pid in marks}
    assert seen.value == sum(range(8))


def test_effects_stay_here_on_threads_of_ones_own() -> None:
    """A program under `local[n]` may count on its own process."""
    with SparkContext("local[2]", "here") as sc:
        found = sc.runJob(sc.parallelize([0, 1], 2), lambda _: [os.getpid()])

    assert found == [os.getpid()] * 2


def test_files_are_written_where_the_tasks_are(
    sc: SparkContext, tmp_path: Path
) -> None:
    """In the order of the partitions, and read back as they were."""
    numbers = sc.parallelize(range(10), 3)
    numbers.saveAsTextFile(str(tmp_path / "text"))
    numbers.saveAsPickleFile(str(tmp_path / "pickled"))
    numbers.map(lambda n: (n, os.getpid())).saveAsSequenceFile(str(tmp_path / "pairs"))

    pairs = sc.sequenceFile(str(tmp_path / "pairs")).collect()
    assert sc.textFile(str(tmp_path / "text")).map(int).collect() == list(range(10))
    assert sc.pickleFile(str(tmp_path / "pickled")).collect() == list(range(10))
    assert [number for number, _ in pairs] == list(range(10))
    assert os.getpid() not in {pid for _, pid in pairs}


def test_an_attempt_that_dies_while_it_writes_commits_nothing(
    sc: SparkContext, tmp_path: Path
) -> None:
    """The next one's file is the only one, and no half of one stays."""
    mark = tmp_path / "killed"

    def kill_once(number: int) -> str:
        if number == 70_000 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return f"line {number}"

    out = tmp_path / "out"
    sc.parallelize(range(100_000), 2).map(kill_once).saveAsTextFile(str(out))

    assert mark.exists()
    assert sorted(path.name for path in out.iterdir()) == [
        "_SUCCESS",
        "part-00000",
        "part-00001",
    ]
    text = "".join(part.read_text("utf-8") for part in sorted(out.glob("part-*")))
    assert text == "".join(f"line {number}\n" for number in range(100_000))


def test_attempts_that_fail_leave_no_files(sc: SparkContext, tmp_path: Path) -> None:
    """Four a task, as on a cluster of Spark's; the directory has no output in it."""
    tried = sc.accumulator(0)
    out = tmp_path / "out"

    def fail(number: int) -> int:
        context = TaskContext.get()
        assert context is not None
        (tmp_path / f"tried-{context.attemptNumber()}").touch()
        return number // 0

    with pytest.raises(JobFailedError, match="failed 4 times"):
        sc.parallelize([1], 1).map(fail).saveAsTextFile(str(out))

    assert tried.value == 0
    assert sorted(path.name for path in tmp_path.glob("tried-*")) == [
        f"tried-{attempt}" for attempt in range(4)
    ]
    assert list(out.iterdir()) == []


def test_two_programs_that_write_one_partition_write_two_files(
    tmp_path: Path,
) -> None:
    """A task of a driver that died may be at it still; who commits, commits its own."""
    out = str(tmp_path / "out")
    dead, living = (
        DirectoryOutput(out, "", "1-77-0-"),
        DirectoryOutput(out, "", "2-78-"),
    )
    living.open_job(may_exist=True)
    own = living.write_partition(0, 5, lambda storage, path: _write(path, "whole"))
    late = dead.write_partition(0, 5, lambda storage, path: _write(path, "half"))

    living.commit_job([own])

    assert late != own
    assert (tmp_path / "out" / "part-00000").read_text("utf-8") == "whole"


def test_output_that_the_driver_cannot_see_is_told(tmp_path: Path) -> None:
    """As where each node has written to its own disk; there is no `_SUCCESS`."""
    output = DirectoryOutput(str(tmp_path / "out"))
    output.open_job(may_exist=False)

    with pytest.raises(DurabilityError, match="partition 0 was written to") as caught:
        output.commit_job([str(tmp_path / "another node" / "part-00000")])

    assert "storage that all nodes of the cluster share" in str(caught.value.__notes__)
    assert not (tmp_path / "out" / "_SUCCESS").exists()


def test_a_checkpoint_is_written_where_the_tasks_are(
    sc: SparkContext, tmp_path: Path
) -> None:
    """And read from then on."""
    sc.setCheckpointDir(str(tmp_path))
    rdd = sc.parallelize(range(10), 2).map(lambda n: (n, os.getpid()))
    rdd.checkpoint()
    first = rdd.collect()

    assert rdd.isCheckpointed()
    assert [number for number, _ in rdd.collect()] == list(range(10))
    assert os.getpid() not in {pid for _, pid in first + rdd.collect()}


@pytest.mark.slow
def test_the_outputs_of_a_stream_are_written_there_too(
    sc: SparkContext, tmp_path: Path
) -> None:
    """One directory a batch, each whole."""
    ssc = StreamingContext(sc, 0.1)
    stream = ssc.queueStream([sc.parallelize([n, n], 2) for n in range(3)])
    stream.map(lambda n: f"{n} {os.getpid()}").saveAsTextFiles(str(tmp_path / "out"))
    done = sc.accumulator(0)
    stream.foreachRDD(lambda rdd: rdd.foreach(lambda _: done.add(1)))
    ssc.start()
    while done.value < 6:
        assert not ssc.awaitTerminationOrTimeout(0.05)
    ssc.stop(stopSparkContext=False)

    lines = [
        line.split()
        for part in sorted(tmp_path.glob("out-*/part-*"))
        for line in part.read_text("utf-8").splitlines()
    ]
    assert sorted(number for number, _ in lines) == list("001122")
    assert str(os.getpid()) not in {pid for _, pid in lines}


def _write(path: str, text: str) -> None:
    Path(path).write_text(text, encoding="utf-8")
