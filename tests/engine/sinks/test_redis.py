"""RedisSink: what it refuses before it is connected; the rest is tested with a server."""

from typing import Any

import pytest

from millstream.engine.base.errors import IllegalArgumentError, SparkError
from millstream.engine.sinks.contract import SinkBatch
from millstream.engine.sinks.records import Records
from millstream.engine.sinks.redis import RedisSink

URL = "redis://127.0.0.1:1/0"
BATCH = SinkBatch("app.out", 1000, 1, 1)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"write": "table"}, "write is one of hash, count"),
        ({"write": "list"}, "needs a key"),
        ({"key": "k", "write": "list", "maxlen": 5}, "for write='stream'"),
        ({"key": "k", "write": "stream", "maxlen": 0}, "positive"),
    ],
)
def test_arguments_that_do_not_go_together_are_refused(
    arguments: dict[str, Any], told: str
) -> None:
    """At once, with what they are."""
    with pytest.raises(IllegalArgumentError, match=told):
        RedisSink(URL, **arguments)


@pytest.mark.parametrize(
    ("write", "record", "told"),
    [
        ("hash", "word", "are to be pairs"),
        ("set", ("a", "b", "c"), "are to be pairs"),
        ("count", ("a", 1.5), "adds integers"),
        ("count", ("a", True), "adds integers"),
        ("count", ("a", 1 << 63), "of 64 bits"),
        ("stream", {}, "has a field at least"),
        ("list", {1}, "can't be written as JSON"),
    ],
)
def test_a_record_that_can_not_be_written_is_told_before_anything_is(
    write: str, record: Any, told: str
) -> None:
    """No server is asked."""
    sink = RedisSink(URL, "key", write)
    with pytest.raises(SparkError, match=told):
        sink.write(BATCH, 0, Records([[record]]))


def test_its_identity_has_no_password() -> None:
    """It is shown in pages and errors."""
    sink = RedisSink("redis://me:sesame@db:6379/0", "counts", "count")

    assert sink.identity == "redis redis://db:6379/0 count 'counts'"
