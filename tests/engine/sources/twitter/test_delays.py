"""TwitterDelays: the waits that X documents, without waiting."""

from millstream.engine.sources.twitter.delays import TwitterDelays, TwitterEnding


def waits(ending: TwitterEnding, count: int) -> list[float]:
    """Return the waits after an ending, over and over."""
    delays = TwitterDelays()
    return [delays.after(ending) for _ in range(count)]


def test_a_drop_waits_for_nothing() -> None:
    """An established connection that ends is made anew at once."""
    assert waits(TwitterEnding.DROPPED, 3) == [0.0, 0.0, 0.0]


def test_a_server_that_only_drops_isnt_hammered() -> None:
    """Connections that end as they begin wait longer each time, after the first one."""
    delays = TwitterDelays()
    found = [delays.after(TwitterEnding.DROPPED, lived_s=0.1) for _ in range(4)]

    assert found == [0.0, 0.25, 0.5, 0.75]
    assert delays.after(TwitterEnding.DROPPED, lived_s=30.0) == 0.0
    assert delays.after(TwitterEnding.DROPPED, lived_s=0.1) == 0.0


def test_network_errors_add_a_quarter_of_a_second() -> None:
    """Up to 16 s."""
    found = waits(TwitterEnding.NETWORK, 70)

    assert found[:4] == [0.25, 0.5, 0.75, 1.0]
    assert found[62:66] == [15.75, 16.0, 16.0, 16.0]


def test_http_errors_double_from_five_seconds() -> None:
    """Up to 320 s."""
    found = waits(TwitterEnding.HTTP, 9)

    assert found == [5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 320.0, 320.0]


def test_too_many_requests_double_from_a_minute() -> None:
    """A bound keeps it within a window of 15 minutes, and a bit."""
    found = waits(TwitterEnding.LIMITED, 6)

    assert found == [60.0, 120.0, 240.0, 480.0, 960.0, 960.0]


def test_too_many_requests_after_errors_wait_a_minute_at_least() -> None:
    """Errors of both kinds go on from each other."""
    delays = TwitterDelays()

    assert delays.after(TwitterEnding.HTTP) == 5.0
    assert delays.after(TwitterEnding.LIMITED) == 60.0
    assert delays.after(TwitterEnding.HTTP) == 120.0


def test_a_connection_that_worked_begins_anew() -> None:
    """All waits are short again."""
    delays = TwitterDelays()
    for ending in TwitterEnding:
        delays.after(ending)
    delays.after(TwitterEnding.DROPPED)

    assert delays.after(TwitterEnding.NETWORK) == 0.25
    assert delays.after(TwitterEnding.HTTP) == 5.0


def test_the_server_may_ask_for_more() -> None:
    """When its limits are reset, say."""
    assert TwitterDelays().after(TwitterEnding.LIMITED, 700.0) == 700.0
