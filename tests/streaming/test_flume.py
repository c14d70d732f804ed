"""FlumeUtils: arguments as PySpark's, what is refused, and how bodies are decoded."""

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from millstream.engine.base import extras
from millstream.engine.base.levels import StorageLevel
from millstream.errors import (
    MissingDependencyError,
    PySparkTypeError,
    PySparkValueError,
    UsageError,
)
from millstream.streaming.flume import (
    FlumeLimits,
    FlumeUtils,
    _Decoding,
    utf8_decoder,
)
from millstream.testing import StreamHarness


@pytest.fixture
def harness() -> Iterator[StreamHarness]:
    """A program."""
    with StreamHarness() as made:
        yield made


def receiver_of(stream: Any) -> Any:
    """Return the receiver of a stream."""
    return stream._operator.parents[0].receiver


def test_arguments_are_pyspark_s() -> None:
    """By position and by name, with the same defaults."""

    def arguments(function: Callable[..., Any]) -> list[str]:
        return [
            each.name
            for each in inspect.signature(function).parameters.values()
            if each.kind is each.POSITIONAL_OR_KEYWORD
        ]

    assert arguments(FlumeUtils.createStream) == [
        "ssc", "hostname", "port", "storageLevel", "enableDecompression", "bodyDecoder",
    ]  # fmt: skip
    assert arguments(FlumeUtils.createPollingStream) == [
        "ssc", "addresses", "storageLevel", "maxBatchSize", "parallelism", "bodyDecoder",
    ]  # fmt: skip


def test_a_pushed_stream_has_its_settings(harness: StreamHarness) -> None:
    """They reach the receiver."""
    limits = FlumeLimits(events_max=7)
    level = StorageLevel.MEMORY_ONLY
    made = FlumeUtils.createStream(
        harness.ssc, "localhost", 4141, level, True, limits=limits
    )
    receiver = receiver_of(made)

    assert (receiver.host, receiver.port) == ("localhost", 4141)
    assert receiver.is_compressed
    assert receiver.limits is limits
    assert receiver.storageLevel == level


def test_a_polled_stream_has_its_settings(harness: StreamHarness) -> None:
    """An address may be a list, as JSON has it."""
    plain = FlumeUtils.createPollingStream(harness.ssc, [("a", 1), ["b", 2]])  # type: ignore[list-item]
    receiver = receiver_of(plain)
    assert receiver.addresses == (("a", 1), ("b", 2))
    assert (receiver.batch_events_max, receiver.connections) == (1000, 5)
    assert receiver.storageLevel == StorageLevel.MEMORY_AND_DISK_2

    other = FlumeUtils.createPollingStream(
        harness.ssc, [("a", 1)], maxBatchSize=10, parallelism=2
    )
    receiver = receiver_of(other)
    assert (receiver.batch_events_max, receiver.connections) == (10, 2)


@pytest.mark.parametrize("port", [0, 65536, -1, "4141", True, None])
def test_a_port_is_a_number(harness: StreamHarness, port: Any) -> None:
    """From 1 to 65535, in both."""
    with pytest.raises(PySparkValueError, match="port must be"):
        FlumeUtils.createStream(harness.ssc, "localhost", port)
    with pytest.raises(PySparkValueError, match="port must be"):
        FlumeUtils.createPollingStream(harness.ssc, [("localhost", port)])


def test_what_cannot_be_is_refused(harness: StreamHarness) -> None:
    """When the stream is made."""
    with pytest.raises(PySparkTypeError, match="pair of a host and a port, not 'a:1'"):
        FlumeUtils.createPollingStream(harness.ssc, ["a:1"])  # type: ignore[list-item]
    with pytest.raises(UsageError, match="needs addresses"):
        FlumeUtils.createPollingStream(harness.ssc, [])
    with pytest.raises(UsageError, match="address to listen on"):
        FlumeUtils.createStream(harness.ssc, "", 1)


def test_without_the_extra_it_says_what_installs_it(
    harness: StreamHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, not in the receiver."""

    def missing(module: str) -> Any:
        raise ImportError(name=module)

    monkeypatch.setattr(extras, "import_module", missing)
    with pytest.raises(MissingDependencyError, match="fastavro") as raised:
        FlumeUtils.createStream(harness.ssc, "localhost", 4141)

    assert raised.value.hint == "pip install 'millstream[flume]'"


def test_bodies_are_decoded_and_headers_are_not() -> None:
    """UTF-8 by default; what isn't fails the batch."""
    decoding = _Decoding(utf8_decoder)

    assert decoding(({"a": "b"}, "é".encode())) == ({"a": "b"}, "é")
    assert _Decoding(len)(({}, b"abc")) == ({}, 3)
    assert utf8_decoder(None) is None
    with pytest.raises(UnicodeDecodeError):
        decoding(({}, b"\xff"))
