"""The book of jobs and stages keeps the times of so many tasks."""

import pytest

from millstream import SparkContext
from millstream.engine.jobs.book import TASKS_MAX, JobBook, StageRecord
from millstream.engine.jobs.task_log import TaskStatus


def a_stage(book: JobBook, tasks: int) -> StageRecord:
    """Return a stage that has ended."""
    stage = book.open_stage(book.open_job("count", {}, 0), "count", tasks, 0)
    for number in range(tasks):
        stage.tasks.end(number, 0, TaskStatus.SUCCESS, 0.1)
    book.close_stage(stage, 7)
    return stage


def test_times_of_the_oldest_stages_tasks_are_forgotten() -> None:
    """How many there were is known still."""
    book = JobBook()
    stages = [a_stage(book, 100) for _ in range(TASKS_MAX // 100 + 2)]
    kept = [len(each.tasks.records()) for each in stages]

    assert kept == [0, 0] + [100] * (TASKS_MAX // 100)
    assert all(each.tasks.ended_count == 100 for each in stages)
    assert all(each.ended_ms == 7 for each in stages)


@pytest.mark.usefixtures("threads")
def test_tasks_on_threads_tell_where_how_long_and_how_many(sc: SparkContext) -> None:
    """Of a shuffle and of what reads it."""
    pairs = sc.parallelize(["a b", "b c", "c"], 3).flatMap(str.split)
    pairs.map(lambda word: (word, 1)).reduceByKey(lambda a, b: a + b, 2).collect()
    result, shuffle = sc._driver.book.stages()
    wrote, read = shuffle.tasks.records(), result.tasks.records()

    assert (shuffle.writes_shuffle, result.writes_shuffle) == (True, False)
    assert [each.partition for each in wrote] == [0, 1, 2]
    assert [each.status for each in wrote + read] == [TaskStatus.SUCCESS] * 5
    assert [each.traffic.rows_in for each in wrote] == [1, 1, 1]
    assert [each.traffic.rows_out for each in wrote] == [2, 2, 1]
    assert sum(each.traffic.rows_in or 0 for each in read) == 5
    assert sum(each.traffic.rows_out or 0 for each in read) == 3
    assert all(each.where.startswith("millstream-task-") for each in wrote)
    assert all(each.took_ms > 0 for each in wrote + read)
