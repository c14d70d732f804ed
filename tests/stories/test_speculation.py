"""Stories of slow tasks in worker processes."""

import time

import pytest

from millstream import SparkConf, SparkContext, TaskContext
from millstream.engine.base.clock import monotonic_s

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]


def test_a_task_that_hangs_is_done_elsewhere() -> None:
    """Its copy's result counts, once; the process that hangs is replaced."""
    conf = SparkConf().setMaster("local[2]").setAppName("hanging")
    conf.set("spark.millstream.processes", "always").set("spark.speculation", "true")
    with SparkContext(conf=conf) as sc:
        seen = sc.accumulator(0)

        def hang_at_first(number: int) -> tuple[int, int]:
            task = TaskContext.get()
            assert task is not None
            seen.add(1)
            if number == 3 and task.attemptNumber() == 0:
                time.sleep(1000)  # As if its machine were stuck.
            return number, task.attemptNumber()

        begin_s = monotonic_s()
        found = sc.parallelize(range(8), 8).map(hang_at_first).collect()
        took_s = monotonic_s() - begin_s
        again = sc.parallelize(range(8), 8).map(lambda number: number).collect()
        (stage, _) = (sc._driver.book.stage(each) for each in (0, 1))

    assert found == [(number, int(number == 3)) for number in range(8)]
    assert again == list(range(8))
    assert seen.value == 8
    assert took_s < 30
    assert stage is not None
    assert (stage.active_count, stage.completed_count, stage.failed_count) == (0, 8, 0)
