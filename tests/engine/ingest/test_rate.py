"""Tests of engine/ingest/rate.py; more, with receivers, in test_receiver.py."""

import threading

from millstream.engine.base.clock import ManualClock
from millstream.engine.ingest.rate import RateLimit, TokenBucket


def test_what_has_filled_up_is_taken_without_waiting() -> None:
    """A second's worth of permits waits for a receiver that was idle for longer."""
    clock = ManualClock()
    limit = RateLimit(10, clock)
    clock.advance(60)
    limit.take(10, threading.Event())

    assert clock.now_ms() == 60_000


def test_who_takes_more_than_there_is_waits_for_the_rest() -> None:
    """Twenty at ten a second, ten of them there already: one second."""
    bucket = TokenBucket(10, permits=10)

    assert bucket.wait_ms(20, 0) == 1000


def test_what_needs_no_waiting_is_taken_at_once() -> None:
    """The permits that are there, and not one more; without a limit always."""
    clock, free = ManualClock(), RateLimit(None, ManualClock())
    limit = RateLimit(2, clock)
    assert not limit.take_nowait(1)
    clock.advance(1)

    assert limit.take_nowait(2)
    assert not limit.take_nowait(1)
    assert free.take_nowait(10**9)


def waiting(
    limit: RateLimit, clock: ManualClock, count: int
) -> tuple[threading.Thread, threading.Event]:
    """Return a thread that waits for so many permits, and what ends its waiting."""
    cancelled = threading.Event()
    thread = threading.Thread(target=limit.take, args=(count, cancelled), daemon=True)
    thread.start()
    assert clock.wait_until_someone_waits(20)
    return thread, cancelled


def test_who_waits_is_let_in_when_the_limit_is_removed() -> None:
    """Within two seconds, not after the hours that were due."""
    clock = ManualClock()
    limit = RateLimit(None, clock)
    limit.update(1)
    thread, _ = waiting(limit, clock, 10_000)
    limit.update(None)
    clock.advance(2)
    thread.join(20)

    assert not thread.is_alive()
    assert limit.per_second is None


def test_who_waits_waits_for_the_rest_at_the_new_rate() -> None:
    """102 at one a second; after two seconds ten a second: ten seconds more."""
    clock = ManualClock()
    limit = RateLimit(None, clock)
    limit.update(1)
    thread, _ = waiting(limit, clock, 102)
    limit.update(10)
    for second in range(2, 12, 2):
        clock.advance(2)
        assert clock.wait_until_someone_waits(20, [(second + 2) * 1000].__eq__)
    assert thread.is_alive()
    clock.advance(2)
    thread.join(20)

    assert not thread.is_alive()
    assert clock.now_ms() == 12_000


def test_who_waits_ends_when_told_to() -> None:
    """Though the time hasn't come."""
    clock = ManualClock()
    thread, cancelled = waiting(RateLimit(1, clock), clock, 10_000)
    clock.cancel(cancelled)
    thread.join(20)

    assert not thread.is_alive()


def test_without_a_rate_of_its_own_a_limit_is_the_configured_one() -> None:
    """None takes back what was set; nothing and less than nothing change nothing."""
    limit = RateLimit(50, ManualClock())
    limit.update(20)
    for nothing in (0, -1):
        limit.update(nothing)
        assert limit.per_second == 20
    limit.update(None)

    assert limit.per_second == 50
