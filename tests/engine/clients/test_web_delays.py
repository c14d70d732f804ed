"""WebDelays: waits, without waiting."""

from millstream.engine.clients.web_delays import Ending, WebDelays


def test_waits_double_up_to_the_longest() -> None:
    """One failure after the other."""
    delays = WebDelays(first_s=1.0, longest_s=60.0)
    waits = [delays.after(Ending.FAILED) for _ in range(8)]

    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]


def test_a_connection_that_worked_begins_anew() -> None:
    """After a drop the wait is the first one, and so is that after the next failure."""
    delays = WebDelays(first_s=1.0)
    for _ in range(5):
        delays.after(Ending.FAILED)

    assert delays.after(Ending.DROPPED) == 1.0
    assert delays.after(Ending.FAILED) == 1.0


def test_a_refusal_waits_long() -> None:
    """However many there were."""
    delays = WebDelays(refused_s=300.0)

    assert [delays.after(Ending.REFUSED) for _ in range(3)] == [300.0] * 3


def test_the_server_may_ask_for_more() -> None:
    """For more, not for less."""
    delays = WebDelays(first_s=1.0)

    assert delays.after(Ending.FAILED, 90.0) == 90.0
    assert delays.after(Ending.FAILED, 0.5) == 2.0


def test_many_failures_overflow_nothing() -> None:
    """A server that is away for a month."""
    delays = WebDelays(failures=100_000)

    assert delays.after(Ending.FAILED) == 60.0
