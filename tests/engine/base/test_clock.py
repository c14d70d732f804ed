"""Tests of engine/base/clock.py."""

import threading

from millstream.engine.base.clock import ManualClock, SystemClock, cpu_s, monotonic_s


def test_a_manual_clock_moves_only_when_told() -> None:
    """It starts at 0 and shows what it was set to."""
    clock = ManualClock()

    clock.advance(1.5)
    clock.advance_ms(10)

    assert clock.now_ms() == 1510
    clock.set_ms(3)
    assert clock.now_ms() == 3


def test_a_waiter_wakes_when_the_clock_gets_there() -> None:
    """`wait_until` returns True at the time it waits for, not before."""
    clock, never, woken = ManualClock(), threading.Event(), threading.Event()

    def wait() -> None:
        if clock.wait_until(100, never):
            woken.set()

    waiter = threading.Thread(target=wait)
    waiter.start()
    assert clock.wait_until_someone_waits(10, lambda times: 100 in times)
    clock.advance_ms(99)
    was_early = woken.is_set()
    clock.advance_ms(1)
    waiter.join(10)

    assert not was_early
    assert woken.is_set()


def test_cancelling_wakes_the_waiter_with_false() -> None:
    """A cancelled wait returns False on either clock."""
    for clock in (ManualClock(), SystemClock()):
        cancelled = threading.Event()
        answers: list[bool] = []

        def wait(
            clock: ManualClock | SystemClock = clock,
            cancelled: threading.Event = cancelled,
            answers: list[bool] = answers,
        ) -> None:
            answers.append(clock.wait_until(10**15, cancelled))

        waiter = threading.Thread(target=wait)
        waiter.start()
        clock.cancel(cancelled)
        waiter.join(10)

        assert answers == [False]


def test_the_system_clock_does_not_wait_for_the_past() -> None:
    """A time that has come returns True at once."""
    assert SystemClock().wait_until(0, threading.Event())
    assert SystemClock().now_ms() > 1_700_000_000_000


def test_measuring_clocks_never_go_back() -> None:
    """Two readings are in order."""
    assert monotonic_s() <= monotonic_s()
    assert cpu_s() <= cpu_s()
