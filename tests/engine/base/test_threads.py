"""Tests of engine/base/threads.py."""

import sys
import threading

import pytest

from millstream.engine.base.clock import ManualClock
from millstream.engine.base.threads import RecurringTimer, SerialLoop, ThreadPool


def fail() -> None:
    """Raise an IndexError."""
    raise IndexError


def test_a_loop_handles_in_order_and_survives_errors() -> None:
    """What a handler raises is reported; the next one runs."""
    errors: list[BaseException] = []
    seen: list[int] = []
    loop = SerialLoop("millstream-test", errors.append)
    loop.start()
    loop.post(lambda: seen.append(1))
    loop.post(fail)
    loop.post(lambda: seen.append(int(loop.is_current)))
    loop.stop()

    assert seen == [1, 1]
    assert [type(error) for error in errors] == [IndexError]
    assert not loop.is_current


def test_a_loop_says_how_long_it_has_been_at_its_work() -> None:
    """0 while it waits, more the longer it takes."""
    loop, begun, go_on = (
        SerialLoop("millstream-test", lambda _: None),
        threading.Event(),
        threading.Event(),
    )
    loop.start()
    before = loop.busy_s

    def work() -> None:
        begun.set()
        go_on.wait(10)

    loop.post(work)
    assert begun.wait(10)
    first = loop.busy_s
    second = loop.busy_s
    go_on.set()
    loop.stop()

    assert before == 0
    assert 0 < first < second
    assert loop.busy_s == 0


# Outside of pytest nothing tells of it, which is why somebody must look.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_loop_says_that_its_thread_has_ended() -> None:
    """By a SystemExit, which no handler gets; it hasn't ended before it has begun."""
    loop = SerialLoop("millstream-test", lambda _: None)
    unstarted = loop.has_ended
    loop.start()
    started = loop.has_ended
    loop.post(sys.exit)
    assert loop._thread is not None
    loop._thread.join(10)

    assert (unstarted, started, loop.has_ended) == (False, False, True)


def test_a_pool_runs_side_by_side_and_closes() -> None:
    """As many at a time as it has threads; closed, it takes nothing."""
    pool = ThreadPool(2, "millstream-test")
    together, done = threading.Barrier(2), threading.Semaphore(0)

    def meet() -> None:
        together.wait(10)
        done.release()

    for _ in range(2):
        pool.submit(meet)
    for _ in range(2):
        assert done.acquire(timeout=10)

    assert pool.close(5)
    assert not pool.submit(lambda: None)


def test_a_pool_says_when_work_raises(caplog: pytest.LogCaptureFixture) -> None:
    """Work must not raise; if it does, the log has it and the thread lives on."""
    pool, done = ThreadPool(1, "millstream-test"), threading.Event()
    pool.submit(fail)
    pool.submit(done.set)

    assert done.wait(10)
    assert pool.close(5)
    assert "this is a bug" in caplog.text


def test_a_timer_skips_no_point_of_its_grid() -> None:
    """Late calls catch up, each with its own time (the example of SCH-3)."""
    clock, enough = ManualClock(), threading.Semaphore(0)
    seen: list[int] = []

    def note(time_ms: int) -> None:
        seen.append(time_ms)
        enough.release()

    timer = RecurringTimer(clock, 50, note, "millstream-test")
    timer.start(0)
    clock.advance_ms(50)
    clock.advance_ms(150)
    for _ in range(5):
        assert enough.acquire(timeout=10)
    timer.stop(interrupt=True)

    assert seen == [0, 50, 100, 150, 200]


def test_a_timer_stopped_without_interrupt_fires_once_more() -> None:
    """It returns the time of that last call."""
    clock = ManualClock()
    seen: list[int] = []
    timer = RecurringTimer(clock, 50, seen.append, "millstream-test")
    timer.start(50)
    assert clock.wait_until_someone_waits(10, lambda times: 50 in times)
    last: list[int] = []
    stopper = threading.Thread(target=lambda: last.append(timer.stop(interrupt=False)))
    stopper.start()
    while stopper.is_alive():
        clock.advance_ms(120)
        stopper.join(0.01)

    assert seen == [50, 100]
    assert last == [100]


def test_where_grids_begin() -> None:
    """Strictly after now; on the epoch's grid, or on the one of before."""
    timer = RecurringTimer(ManualClock(1000), 300, print, "millstream-test")

    assert timer.start_time_ms() == 1200
    assert timer.restart_time_ms(100) == 1300
