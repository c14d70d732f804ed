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
