"""JetStreamSource: what it plans of what the server says; no server is asked."""

import pytest

from millstream.engine.base.errors import IllegalArgumentError
from millstream.engine.clients.nats import NatsServer
from millstream.engine.ingest.direct_source import BatchPlan
from millstream.engine.sources.jetstream.source import (
    JetStreamSource,
    MessagesLostError,
    NatsRange,
    StreamState,
)

SERVER = NatsServer.of("nats://127.0.0.1:1")


class Known(JetStreamSource):
    """A source whose streams are in the test's hand."""

    state = StreamState(1, 0, "limits", is_compacted=False)

    def _state_of(self, stream: str) -> StreamState:
        return self.state


def known(first: int, last: int, *, is_compacted: bool = False) -> Known:
    """Return a source whose stream has these numbers."""
    source = Known(SERVER, ["a"], "earliest")
    source.state = StreamState(first, last, "limits", is_compacted)
    return source


def planned(
    source: JetStreamSource, *previous: NatsRange, rate: float | None = None
) -> NatsRange:
    """Return the range of a source's only stream."""
    (made,) = source.plan(BatchPlan(1000, 1.0, previous, rate))
    return made


def test_a_range_goes_up_to_the_last_number_or_as_far_as_the_rate_allows() -> None:
    """From where the one before ends."""
    before = NatsRange("a", 0, 5)

    assert planned(known(1, 30), before) == NatsRange("a", 5, 30)
    assert planned(known(1, 30), before, rate=10.0) == NatsRange("a", 5, 15)


def test_the_beginning_is_what_is_there_still() -> None:
    """What was dropped before the program began was never its."""
    assert planned(known(21, 30)) == NatsRange("a", 20, 30)
    assert planned(known(0, 0)) == NatsRange("a", 0, 0)


def test_what_was_dropped_before_it_was_read_is_data_loss() -> None:
    """Unless newer messages took its place; or it is accepted."""
    before = NatsRange("a", 0, 5)
    with pytest.raises(MessagesLostError, match="begins at 8, and was read up to 5"):
        planned(known(8, 30), before)
    accepting = known(8, 30)
    accepting.fails_on_data_loss = False

    assert planned(accepting, before) == NatsRange("a", 7, 30)
    assert planned(known(8, 30, is_compacted=True), before) == NatsRange("a", 5, 30)
    assert planned(known(6, 5), before) == NatsRange("a", 5, 5)


def test_a_stream_that_ends_before_what_was_read_was_made_anew() -> None:
    """Its numbers began at 1 again."""
    with pytest.raises(MessagesLostError, match="was made anew"):
        planned(known(1, 3), NatsRange("a", 0, 5))


def test_where_to_begin_is_a_word_or_a_number() -> None:
    """Anything else is refused at once."""
    with pytest.raises(IllegalArgumentError, match="can't begin at 'first'"):
        JetStreamSource(SERVER, ["a"], "first")
