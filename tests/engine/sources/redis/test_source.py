"""RedisSource: what it makes of ids and of what the server says; no server is asked."""

import pytest

from millstream.engine.base.errors import (
    IllegalArgumentError,
    UnsupportedOperationError,
)
from millstream.engine.clients.redis import RedisServer
from millstream.engine.ingest.direct_source import BatchPlan
from millstream.engine.sources.redis.source import (
    EntriesLostError,
    RedisMessage,
    RedisRange,
    RedisSource,
    StreamState,
    fields_as_text,
)

SERVER = RedisServer.of("redis://127.0.0.1:1/0")


class Known(RedisSource):
    """A source whose streams are in the test's hand."""

    state = StreamState("0-0", 0, 0, "0-0")

    def _state_of(self, stream: str) -> StreamState:
        return self.state


def planned(
    source: RedisSource, *previous: RedisRange, rate: float | None = None
) -> RedisRange:
    """Return the range of a source's only stream."""
    (made,) = source.plan(BatchPlan(1000, 1.0, previous, rate))
    return made


def test_a_range_goes_up_to_the_newest_id_and_knows_its_count() -> None:
    """Ids aren't counted: how many were ever added says it."""
    source = Known(SERVER, ["a"])
    source.state = StreamState("9-1", 12, 12, "0-0")
    before = RedisRange("a", "0-0", "5-0", 7, is_exact=True, added=7)

    assert planned(source, before) == RedisRange(
        "a", "5-0", "9-1", 5, is_exact=True, added=12
    )


def test_ids_are_compared_as_numbers() -> None:
    """10-0 comes after 9-11."""
    source = Known(SERVER, ["a"])
    source.state = StreamState("10-0", 2, 2, "0-0")
    before = RedisRange("a", "0-0", "9-11", 1, is_exact=True, added=1)

    assert planned(source, before).until == "10-0"


def test_the_beginning_is_what_is_there_still() -> None:
    """What was trimmed before the program began was never its."""
    source = Known(SERVER, ["a"], "earliest")
    source.state = StreamState("9-0", 100, 40, "5-0")

    assert planned(source).count == 40


def test_the_end_is_an_empty_range_that_the_next_one_follows() -> None:
    """It is in the checkpoint, so a restart goes on from there."""
    source = Known(SERVER, ["a"])
    source.state = StreamState("9-0", 3, 3, "0-0")
    first = planned(source)
    source.state = StreamState("9-4", 5, 5, "0-0")

    assert (first.after, first.until, first.count) == ("9-0", "9-0", 0)
    assert planned(source, first).count == 2


@pytest.mark.parametrize(
    "state",
    [StreamState("4-0", 9, 9, "0-0"), StreamState("9-0", 2, 2, "0-0")],
    ids=["it ends earlier", "less was added"],
)
def test_a_stream_that_was_made_anew_is_data_loss(state: StreamState) -> None:
    """Or, where that is accepted, read from its beginning."""
    before = RedisRange("a", "0-0", "5-0", 7, is_exact=True, added=7)
    source = Known(SERVER, ["a"])
    source.state = state
    with pytest.raises(EntriesLostError, match="was deleted, or made anew"):
        planned(source, before)

    source.fails_on_data_loss = False
    assert planned(source, before).after == "0-0"


def test_an_old_server_is_refused() -> None:
    """It doesn't say what is needed to notice data loss."""
    info = {"length": 1, "last-generated-id": b"1-0"}
    with pytest.raises(UnsupportedOperationError, match="doesn't count"):
        StreamState.of_info(info)


@pytest.mark.parametrize("begin", ["first", "5-x", {"a": "-"}])
def test_what_is_no_id_is_refused(begin: str) -> None:
    """At once, with what one looks like."""
    with pytest.raises(IllegalArgumentError, match="is no id"):
        RedisSource(SERVER, ["a"], begin)


def test_streams_have_different_names() -> None:
    """And there is one at least."""
    for streams in ([], ["a", "a"]):
        with pytest.raises(IllegalArgumentError, match="different names"):
            RedisSource(SERVER, streams)


def test_fields_are_text() -> None:
    """By default."""
    message = RedisMessage("a", "1-0", {"n\u00e9".encode(): b"1"})

    assert fields_as_text(message) == {"n\u00e9": "1"}
