"""Webhook: bodies, keys and waits, without a server."""

import json
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.engine.base.errors import IllegalArgumentError, SparkError
from millstream.engine.base.secrets import Secret
from millstream.engine.sinks.contract import SinkBatch
from millstream.engine.sinks.records import Records
from millstream.engine.sinks.webhook import (
    Retries,
    WebhookSink,
    bodies,
    plain_records,
)

BATCH = SinkBatch("app.größe", 1000, 2, 7)


class Pair(NamedTuple):
    """A named tuple."""

    word: str
    times: int


@dataclass
class Count:
    """A dataclass."""

    word: str
    count: int


@given(
    st.lists(st.text(max_size=20)),
    st.sampled_from(["json", "ndjson"]),
    st.integers(1, 7),
    st.integers(150, 400),
)
def test_bodies_have_all_records_in_order_and_within_limits(
    records: list[str], body: str, records_max: int, bytes_max: int
) -> None:
    """The same records make the same bodies."""
    made = list(bodies(records, body, records_max, bytes_max))
    read: list[list[Any]] = [
        json.loads(each)
        if body == "json"
        else [json.loads(line) for line in each.split(b"\n")[:-1]]
        for each in made
    ]

    assert [record for each in read for record in each] == records
    assert all(0 < len(each) <= records_max for each in read)
    assert all(len(each) <= bytes_max for each in made)
    assert made == list(bodies(records, body, records_max, bytes_max))


def test_a_record_that_is_too_long_is_told() -> None:
    """With its size, and what to raise."""
    with pytest.raises(SparkError, match="102 bytes") as told:
        list(bodies(["x" * 100], "json", 10, 100))

    assert "bytes_max" in str(told.value.hint)


@pytest.mark.parametrize("record", [{1, 2}, b"bytes", float("nan"), object()])
def test_a_record_that_isnt_json_is_told(record: Any) -> None:
    """It isn't made text of somehow."""
    with pytest.raises(SparkError, match="isn't JSON"):
        list(bodies([record], "json", 10, 100))


def test_records_are_checked_without_a_server() -> None:
    """Those that can never be sent are told; nobody is asked."""
    sink = WebhookSink("http://127.0.0.1:1/", bytes_max=10)
    sink.check(Records([[1, "a"]]))
    for bad in ({1}, "x" * 10):
        with pytest.raises(SparkError):
            sink.check(Records([[1, bad]]))


def test_records_with_fields_are_objects() -> None:
    """Named tuples and dataclasses; tuples where there are names for columns."""
    whole = {"word": "a", "count": 1}
    pair = {"word": "a", "times": 1}

    assert list(plain_records(Records([[Pair("a", 1)]]))) == [pair]
    assert list(plain_records(Records([[Count("a", 1)]]))) == [whole]
    assert list(plain_records(Records([[("a", 1)]], ["word", "count"]))) == [whole]
    assert list(plain_records(Records([[("a", 1)]]))) == [("a", 1)]


def test_a_key_names_the_part_and_what_is_in_it() -> None:
    """The same part has the same key; other records, or another part, have another."""
    sink = WebhookSink("http://host/")
    first = sink._headers(BATCH, 1, 0, b"[1]")

    assert first["Idempotency-Key"].startswith("app.gr\\xf6\\xdfe-1000-1-0-")
    assert first == sink._headers(BATCH, 1, 0, b"[1]")
    keys = {
        sink._headers(BATCH, partition, part, data)["Idempotency-Key"]
        for partition, part, data in [(1, 0, b"[1]"), (1, 0, b"[2]"), (1, 1, b"[1]")]
    }
    assert len(keys) == 3
    assert first["Millstream-Partition"] == "1/2"
    assert all(each.isascii() for each in first.values())


def test_retries_are_bounded_and_longer_each_time() -> None:
    """What a server asks for is waited for, or given up."""
    retries = Retries(60.0)
    waits = []
    while (wait_s := retries.next_s(None)) is not None:
        waits.append(wait_s)

    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0]
    assert Retries(60.0).next_s(59.0) == 59.0
    assert Retries(60.0).next_s(61.0) is None


@pytest.mark.parametrize(
    "more",
    [{"body": "xml"}, {"records_max": 0}, {"bytes_max": 0}, {"timeout_s": 0},
     {"ca_file": "nowhere.pem"}, {"headers": {"A": "b\nc"}}],
)  # fmt: skip
def test_what_cant_be_is_refused_at_once(more: dict[str, Any]) -> None:
    """Not in the first batch."""
    with pytest.raises(IllegalArgumentError):
        WebhookSink("http://host/", **more)


@pytest.mark.parametrize("url", ["very-private", "http://me:very-private@host/"])
def test_a_wrong_address_that_is_secret_isnt_shown(url: str) -> None:
    """Its name is."""
    with pytest.raises(IllegalArgumentError) as told:
        WebhookSink(Secret(url, "hook.url"))

    assert "very-private" not in repr(told.value)
    assert "hook.url" in str(told.value.hint)
