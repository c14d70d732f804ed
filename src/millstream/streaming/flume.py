"""FlumeUtils: streams of the events of Flume agents, by PySpark 2.4's names."""

from collections.abc import Callable, Sequence
from typing import Any

from millstream.engine.base.errors import PySparkTypeError, PySparkValueError
from millstream.engine.base.extras import needed
from millstream.engine.base.levels import StorageLevel
from millstream.engine.sources.flume.frames import FlumeLimits
from millstream.engine.sources.flume.polling import FlumePollingReceiver
from millstream.engine.sources.flume.protocol import Event
from millstream.engine.sources.flume.push import FlumeReceiver
from millstream.streaming.context import StreamingContext
from millstream.streaming.dstream import DStream

__all__ = ["FlumeLimits", "FlumeUtils", "utf8_decoder"]


def utf8_decoder(s: bytes | None) -> str | None:
    """Return the text in UTF-8 bytes; None stays None.

    Raises:
        UnicodeDecodeError: They aren't UTF-8. In a stream, that fails the batch.
    """
    return None if s is None else s.decode("utf-8")


class FlumeUtils:
    """Makes streams of (headers, body): headers is a dict of text, body is decoded."""

    @staticmethod
    def createStream(
        ssc: StreamingContext,
        hostname: str,
        port: int,
        storageLevel: StorageLevel = StorageLevel.MEMORY_AND_DISK_2,
        enableDecompression: bool = False,
        bodyDecoder: Callable[[bytes], Any] = utf8_decoder,
        *,
        limits: FlumeLimits | None = None,
    ) -> DStream[tuple[dict[str, str], Any]]:
        """Return the events that agents' Avro sinks push to `hostname`:`port`.

        A server listens there, on this address only. `enableDecompression` is for sinks
        with `compression-type = deflate`.

        Raises:
            MissingDependencyError: The extra `flume` isn't installed.
            PySparkValueError: The port is no port.
            UsageError: The host is empty.
        """
        needed("fastavro", "flume", "FlumeUtils")
        _check_port(port)
        receiver = FlumeReceiver(
            hostname,
            port,
            storageLevel,
            is_compressed=enableDecompression,
            limits=limits,
        )
        stream = ssc.receiverStream(receiver, "FlumeInputDStream")
        return stream.map(_Decoding(bodyDecoder))

    @staticmethod
    def createPollingStream(
        ssc: StreamingContext,
        addresses: Sequence[tuple[str, int]],
        storageLevel: StorageLevel = StorageLevel.MEMORY_AND_DISK_2,
        maxBatchSize: int = 1000,
        parallelism: int = 5,
        bodyDecoder: Callable[[bytes], Any] = utf8_decoder,
        *,
        limits: FlumeLimits | None = None,
    ) -> DStream[tuple[dict[str, str], Any]]:
        """Return the events of the agents that have Spark's sink at `addresses`.

        Each event comes at least once. There are `parallelism` connections in all, at
        least one to each address; each asks for up to `maxBatchSize` events at a time.

        Raises:
            MissingDependencyError: The extra `flume` isn't installed.
            PySparkTypeError: The addresses are no list of (host, port).
            PySparkValueError: A port is no port.
            UsageError: There is no address, or a number isn't over 0.
        """
        needed("fastavro", "flume", "FlumeUtils")
        for address in addresses:
            _check_address(address)
        receiver = FlumePollingReceiver(
            [(host, port) for host, port in addresses],
            storageLevel,
            batch_events_max=maxBatchSize,
            parallelism=parallelism,
            limits=limits,
        )
        stream = ssc.receiverStream(receiver, "FlumePollingInputDStream")
        return stream.map(_Decoding(bodyDecoder))


class _Decoding:
    """Decodes the body of an event, in a task."""

    def __init__(self, decoder: Callable[[bytes], Any]) -> None:
        self._decoder = decoder

    def __call__(self, event: Event) -> tuple[dict[str, str], Any]:
        headers, body = event
        return headers, self._decoder(body)


def _check_address(address: Any) -> None:
    if not isinstance(address, tuple | list) or len(address) != 2:
        msg = f"an address is a pair of a host and a port, not {address!r}"
        raise PySparkTypeError(msg)
    _check_port(address[1])


def _check_port(port: Any) -> None:
    if isinstance(port, bool) or not isinstance(port, int) or not 0 < port < 1 << 16:
        msg = f"port must be a number from 1 to 65535, not {port!r}"
        raise PySparkValueError(msg)
