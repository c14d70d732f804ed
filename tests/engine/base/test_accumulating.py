"""Tests of engine/base/accumulating.py."""

import threading
from typing import Any

from millstream.engine.base import accumulating


class _Sum:
    """An accumulator as this module sees one, on both sides."""

    def __init__(self, aid: int) -> None:
        self.aid, self.total = aid, 0

    def merge_update(self, update: int) -> None:
        self.total += update

    def task_update(self) -> Any:
        return self.total


def test_outside_a_task_there_is_nothing_to_add_to() -> None:
    """None says: this is the driver."""
    assert accumulating.task_accumulators() is None
    assert accumulating.take_task_updates() == {}


def test_what_a_task_added_is_taken_once() -> None:
    """By id; afterwards the thread is outside a task again."""
    accumulating.start_task_accumulators()
    added = accumulating.task_accumulators()
    assert added == {}
    part = added[-5] = _Sum(-5)
    part.total = 3

    assert accumulating.take_task_updates() == {-5: 3}
    assert accumulating.task_accumulators() is None


def test_updates_of_several_tasks_add_up() -> None:
    """Also from several threads at once."""
    total = _Sum(-1)
    accumulating.register(total)

    def merge_often() -> None:
        for _ in range(50):
            accumulating.merge({-1: 1})

    threads = [threading.Thread(target=merge_often) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert total.total == 200


def test_an_update_nobody_waits_for_is_dropped() -> None:
    """The driver's accumulator is garbage: no error, and it isn't kept alive."""
    gone = _Sum(-2)
    accumulating.register(gone)
    assert accumulating.find(-2) is gone
    del gone

    accumulating.merge({-2: 1})

    assert accumulating.find(-2) is None
