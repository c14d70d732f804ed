"""Tests of engine/base/task_scope.py."""

import threading

import pytest

from millstream.engine.base import task_scope
from millstream.engine.base.task_scope import TaskScope


def test_a_scope_lasts_as_long_as_its_task() -> None:
    """The one around it comes back, also when the task raises."""
    outer, inner = TaskScope(1, 0, 0, 10), TaskScope(2, 3, 1, 11)

    def fail() -> None:
        with task_scope.entered(inner):
            assert task_scope.current() is inner
            raise ZeroDivisionError

    assert task_scope.current() is None
    with task_scope.entered(outer):
        with pytest.raises(ZeroDivisionError):
            fail()
        assert task_scope.current() is outer

    assert task_scope.current() is None


def test_a_scope_belongs_to_one_thread() -> None:
    """Other threads aren't in the task."""
    seen: list[TaskScope | None] = []
    with task_scope.entered(TaskScope(1, 0, 0, 10)):
        thread = threading.Thread(target=lambda: seen.append(task_scope.current()))
        thread.start()
        thread.join()

    assert seen == [None]
