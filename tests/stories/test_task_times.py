"""Stories of tasks whose times somebody looks for."""

from pathlib import Path

import pytest

from millstream import SparkConf, SparkContext, TaskContext
from millstream.engine.jobs.task_log import TaskRecord, TaskStatus
from millstream.testing import StreamHarness


def fail_at_first(number: int) -> int:
    """Fail in the first attempt of partition 2."""
    task = TaskContext.get()
    assert task is not None
    if (task.partitionId(), task.attemptNumber()) == (2, 0):
        msg = "a record nobody likes\nand more of it"
        raise ValueError(msg)
    return number


def attempts(sc: SparkContext) -> list[TaskRecord]:
    """Return those of the newest stage."""
    return sc._driver.book.stages()[0].tasks.records()


@pytest.mark.parametrize(
    ("processes", "where"),
    [
        ("off", "millstream-task-"),
        pytest.param("always", "worker process ", marks=pytest.mark.slow),
    ],
)
def test_a_task_that_failed_has_a_row_for_each_attempt(
    processes: str, where: str
) -> None:
    """With the first line of its error; on threads and in worker processes."""
    conf = SparkConf().setMaster("local[2,2]").setAppName("retried")
    conf.set("spark.millstream.processes", processes)
    with SparkContext(conf=conf) as sc:
        sc.parallelize(range(4), 4).map(fail_at_first).collect()
        found = attempts(sc)

    assert [(each.partition, each.attempt, each.status) for each in found] == [
        (0, 0, TaskStatus.SUCCESS),
        (1, 0, TaskStatus.SUCCESS),
        (2, 0, TaskStatus.FAILED),
        (2, 1, TaskStatus.SUCCESS),
        (3, 0, TaskStatus.SUCCESS),
    ]
    assert found[2].error == "ValueError: a record nobody likes"
    assert all(each.where.startswith(where) for each in found)
    assert [each.traffic.rows_in for each in found if not each.error] == [1] * 4


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_of_two_attempts_at_a_time_the_slower_is_given_up() -> None:
    """The copy is marked as one."""
    conf = SparkConf().setMaster("local[2]").setAppName("hanging")
    conf.set("spark.millstream.processes", "always").set("spark.speculation", "true")
    with SparkContext(conf=conf) as sc:

        def hang_at_first(number: int) -> int:
            import threading

            task = TaskContext.get()
            assert task is not None
            if number == 3 and task.attemptNumber() == 0:
                threading.Event().wait(1000)  # As if its machine were stuck.
            return number

        sc.parallelize(range(8), 8).map(hang_at_first).collect()
        slow, copy = (each for each in attempts(sc) if each.partition == 3)

    assert (slow.status, slow.is_copy) == (TaskStatus.KILLED, False)
    assert slow.error == "another attempt of the task was faster"
    assert (copy.status, copy.is_copy) == (TaskStatus.SUCCESS, True)
    assert slow.where != copy.where


def test_jobs_of_a_stream_are_called_by_the_users_line(tmp_path: Path) -> None:
    """Those that are the engine's own, too, their stages, operators and kept RDDs."""

    def set_up(h: StreamHarness) -> None:
        words = h.stream([["a b", "b"]]).flatMap(str.split)
        h.collect(words.countByValue(), "counts")
        seen = words.map(lambda word: (word, 1)).updateStateByKey(lambda new, old: 1)
        seen.foreachRDD(lambda rdd: None)  # The commit of its state alone computes it.
        words.pprint()
        words.foreachRDD(lambda rdd: rdd.count())

    with StreamHarness(checkpoint=str(tmp_path), setup=set_up) as h:
        h.run(1)
        book = h.sc._driver.book
        names = {each.name.rsplit(":")[0] for each in book.jobs()}
        sites = {op.site for stage in book.stages() for op in stage.operators}
        titles = [stage.name for stage in book.stages()]
        kept = {each.site for each in h.sc._observers.application.stored()}

    assert names == {
        f"{operator} at test_task_times.py"
        for operator in ("collect", "pprint", "count", "updateStateByKey")
    }
    assert kept
    assert all("at test_task_times.py:" in each for each in (*sites, *titles, *kept))
