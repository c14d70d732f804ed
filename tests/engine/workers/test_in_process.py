"""Tests of engine/workers/in_process.py."""

import threading

from millstream.engine.workers.in_process import (
    InProcessWorkers,
    Killable,
    TaskKilledError,
)


def test_no_more_tasks_run_than_there_are_slots() -> None:
    """Two slots: a third task begins only when one has ended."""
    workers = InProcessWorkers(2)
    together = threading.Barrier(2)
    running, most, lock, done = 0, 0, threading.Lock(), threading.Semaphore(0)

    def task() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        together.wait(10)
        with lock:
            running -= 1
        done.release()

    for _ in range(4):
        workers.submit(task)
    for _ in range(4):
        assert done.acquire(timeout=10)
    workers.close()

    assert most == 2


def test_a_lone_task_runs_in_the_callers_thread() -> None:
    """Breakpoints work, and no hand-over is paid."""
    workers = InProcessWorkers(1)
    seen: list[int] = []
    workers.run_here(lambda: seen.append(threading.get_ident()))
    workers.close()
    workers.submit(lambda: seen.append(0))

    assert seen == [threading.get_ident()]


def test_a_running_loop_can_be_killed() -> None:
    """The kill ends work that would never end, and nothing after it."""
    killable, started, ended = Killable(), threading.Event(), threading.Event()
    survived: list[str] = []

    def endless() -> None:
        started.set()
        try:
            while True:
                pass
        except Exception:
            survived.append("caught")

    def run() -> None:
        killable.run(endless)
        ended.set()

    thread = threading.Thread(target=run)
    thread.start()
    assert started.wait(10)
    killable.kill()
    thread.join(10)

    assert ended.is_set()
    assert survived == []


def test_work_killed_before_it_starts_does_not_start() -> None:
    """Cancelled in the queue means never run."""
    killable, ran = Killable(), []
    killable.kill()
    killable.run(lambda: ran.append(1))

    assert ran == []


def test_a_kill_signal_of_somebody_else_is_passed_on() -> None:
    """Only its own kill is swallowed."""
    killable = Killable()

    def raise_it() -> None:
        raise TaskKilledError

    try:
        killable.run(raise_it)
    except TaskKilledError:
        passed_on = True
    else:
        passed_on = False

    assert passed_on
