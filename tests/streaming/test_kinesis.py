"""KinesisUtils: PySpark's arguments, and what it refuses."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from millstream.errors import IllegalArgumentException
from millstream.streaming.kinesis import (
    InitialPositionInStream,
    KinesisRecord,
    KinesisUtils,
    MetricsLevel,
    utf8_decoder,
)
from millstream.testing import StreamHarness


@pytest.fixture
def harness() -> Iterator[StreamHarness]:
    """A program with two records a second at most."""
    with StreamHarness(conf={"spark.streaming.receiver.maxRate": "2"}) as made:
        yield made


def source(h: StreamHarness, *more: Any, **given: Any) -> Any:
    """Return the source of a stream, as PySpark's documents make one."""
    arguments = {
        "initialPositionInStream": InitialPositionInStream.TRIM_HORIZON,
        **given,
    }
    stream = KinesisUtils.createStream(
        h.ssc,
        "app",
        "orders",
        "https://kinesis.us-east-1.amazonaws.com",
        "us-east-1",
        arguments.pop("initialPositionInStream"),
        2,
        *more,
        **arguments,
    )
    operator: Any = stream._operator
    return operator.source


def test_what_a_stream_reads(harness: StreamHarness) -> None:
    """The place, the rate, the position and the identity, with secrets kept as such."""
    made = source(
        harness, MetricsLevel.NONE, awsAccessKeyId="my-id", awsSecretKey="my-secret"
    )

    assert made.stream == "orders"
    assert made.options.start == "TRIM_HORIZON"
    assert made.options.rate_max == 2
    assert made.access.secret_key.reveal() == "my-secret"
    assert "my-secret" not in repr(vars(made))
    assert "my-id" not in repr(vars(made))


def test_positions(harness: StreamHarness) -> None:
    """LATEST, or a time with its zone."""
    latest = source(harness, initialPositionInStream=InitialPositionInStream.LATEST)
    later = datetime(2026, 1, 1, tzinfo=UTC)

    assert latest.options.start == "LATEST"
    assert source(harness, initialPositionInStream=later).options.start == (
        1_767_225_600_000
    )
    with pytest.raises(IllegalArgumentException, match="without a time zone"):
        source(harness, initialPositionInStream=later.replace(tzinfo=None))
    with pytest.raises(IllegalArgumentException, match="can't be 7"):
        source(harness, initialPositionInStream=7)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"awsAccessKeyId": "id"}, "awsAccessKeyId was given without awsSecretKey"),
        ({"awsSecretKey": "key"}, "awsSecretKey was given without awsAccessKeyId"),
        ({"stsAssumeRoleArn": "arn"}, "must be given all, or none"),
    ],
)
def test_what_goes_together(
    harness: StreamHarness, given: dict[str, str], words: str
) -> None:
    """Keys are two, and a role has three arguments."""
    with pytest.raises(IllegalArgumentException, match=words):
        source(harness, **given)


def test_what_is_made_of_a_record(harness: StreamHarness) -> None:
    """Text by default, bytes without a decoder, or what a handler makes of all of it."""
    record = KinesisRecord(
        b"\xc3\xa9", "k", "7", 0, datetime(2026, 1, 1, tzinfo=UTC), "s"
    )

    assert source(harness).handler(record) == "\u00e9"
    assert source(harness, decoder=None).handler(record) == b"\xc3\xa9"
    assert (
        source(harness, messageHandler=lambda r: r.partitionKey).handler(record) == "k"
    )
    assert utf8_decoder(None) is None


def test_the_names_that_pyspark_has() -> None:
    """With its numbers."""
    assert (InitialPositionInStream.LATEST, InitialPositionInStream.TRIM_HORIZON) == (
        0,
        1,
    )
    assert (MetricsLevel.DETAILED, MetricsLevel.SUMMARY, MetricsLevel.NONE) == (0, 1, 2)
