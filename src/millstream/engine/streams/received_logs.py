"""Received logs: the write-ahead logs of a stream with receivers, as the conf asks.

Below the checkpoint directory there is one of the ledger's facts (the driver log), and with
`spark.streaming.receiver.writeAheadLog.enable` one a stream of the data (receiver logs).
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any
from weakref import WeakValueDictionary

from millstream.engine.base.config import Settings
from millstream.engine.base.errors import MillstreamError, SparkError
from millstream.engine.base.storage import open_storage
from millstream.engine.columnar.blocks import Frozen
from millstream.engine.durable import frozen_bytes
from millstream.engine.durable.driver_claim import DriverClaim
from millstream.engine.durable.log_segments import read_frame
from millstream.engine.durable.write_ahead_log import (
    BatchedLog,
    FileLog,
    LogHandle,
    LogStatistics,
    WriteAheadLog,
)
from millstream.engine.streams.ledger import LogPosition


@dataclass(frozen=True, slots=True)
class _Keys:
    """The settings of one kind of log."""

    own_class: str
    rolling: str
    failures: str
    closes: str
    sync: str


_RECEIVER = _Keys(
    "spark.streaming.receiver.writeAheadLog.class",
    "spark.streaming.receiver.writeAheadLog.rollingIntervalSecs",
    "spark.streaming.receiver.writeAheadLog.maxFailures",
    "spark.streaming.receiver.writeAheadLog.closeFileAfterWrite",
    "spark.streaming.receiver.writeAheadLog.sync",
)
_DRIVER = _Keys(
    "spark.streaming.driver.writeAheadLog.class",
    "spark.streaming.driver.writeAheadLog.rollingIntervalSecs",
    "spark.streaming.driver.writeAheadLog.maxFailures",
    "spark.streaming.driver.writeAheadLog.closeFileAfterWrite",
    "spark.streaming.driver.writeAheadLog.sync",
)


@dataclass(frozen=True, slots=True)
class DataLogs:
    """The logs of the received data below a directory, one a stream."""

    settings: Settings
    directory: str
    statistics: LogStatistics = field(default_factory=LogStatistics)

    def open(self, stream_id: int) -> WriteAheadLog:
        """Open a stream's log to write to it.

        Raises:
            SparkError: A log class of the program's own can't be made.
        """
        return _open(self.settings, _RECEIVER, self._uri(stream_id), self.statistics)

    def position(self, stream_id: int, handle: LogHandle) -> LogPosition:
        """Return a record's place as the ledger keeps it."""
        path = handle.path
        if self._own_class is None:
            # Relative to the log, so that its directory may be moved.
            directory = open_storage(self._uri(stream_id))[1]
            path = path.removeprefix(f"{directory}/")
        return LogPosition(path, handle.offset, handle.length)

    def block(
        self, stream_id: int, position: LogPosition, record_count: int | None
    ) -> "LoggedBlock":
        """Return the records at a place, to be read."""
        uri = self._uri(stream_id)
        return LoggedBlock(uri, position, self._own_class, record_count)

    @property
    def _own_class(self) -> str | None:
        return self.settings.find_str(_RECEIVER.own_class)

    def _uri(self, stream_id: int) -> str:
        return f"{self.directory}/receivedData/{stream_id}"


@dataclass(frozen=True, slots=True)
class TrackerLogs:
    """Where a tracker makes safe what it knows and what was received."""

    ledger: WriteAheadLog | None = None
    """Which block belongs to which batch; None: nothing is logged."""
    data: DataLogs | None = None
    """Where the received data is, or was before a restart."""
    is_logging_data: bool = False
    """Whether what is received now is logged."""
    statistics: LogStatistics = field(default_factory=LogStatistics)
    """Of all these logs, as far as this process writes them."""


@dataclass(frozen=True, slots=True)
class LoggedBlock:
    """A block's records in the write-ahead log of its stream; a source partition."""

    log_uri: str
    position: LogPosition
    own_class: str | None = None
    record_count: int | None = None
    """How many records they are; None: that isn't known."""

    def read(self) -> Iterable[Any]:
        """Return the records.

        Raises:
            SparkError: They can't be read; the cause says why.
        """
        return self.read_frozen().thaw()

    def read_frozen(self) -> Frozen:
        """Return the records as they are in the log: text as bytes.

        Raises:
            SparkError: They can't be read; the cause says why.
        """
        try:
            return frozen_bytes.decode(self._payload(), self.record_count)
        except (MillstreamError, OSError) as error:
            msg = (
                f"Could not read data from write ahead log record {self.position} of "
                f"'{self.log_uri}': {error}"
            )
            raise SparkError(msg) from error

    def _payload(self) -> bytes:
        at = self.position
        if self.own_class is not None:
            handle = LogHandle(at.path, at.offset, at.length)
            return _read_own(self.own_class, self.log_uri, handle)
        storage, directory = open_storage(self.log_uri)
        path = at.path if "/" in at.path else f"{directory}/{at.path}"
        # No FileLog: that would list the directory first.
        with storage.open_input(path) as source:
            return read_frame(source, at.offset, at.length, path)


def open_logs(
    settings: Settings,
    checkpoint_dir: str | None,
    *,
    has_receivers: bool,
    claim: DriverClaim | None = None,
) -> TrackerLogs:
    """Return the logs below a checkpoint directory; none without one.

    With `claim` nothing counts as logged once that is lost.

    Raises:
        SparkError: Received data should be logged, and there is no directory; or a log
            class of the program's own can't be made.
    """
    is_logging_data = settings.get_bool("spark.streaming.receiver.writeAheadLog.enable")
    if checkpoint_dir is None:
        if is_logging_data and has_receivers:
            msg = (
                "Cannot enable receiver write-ahead log without checkpoint directory set. "
                "Please use streamingContext.checkpoint() to set the checkpoint directory."
            )
            raise SparkError(msg)
        return TrackerLogs()
    if not has_receivers:
        return TrackerLogs()
    statistics = LogStatistics()
    ledger = open_ledger(settings, checkpoint_dir, statistics)
    if claim is not None:
        ledger = ClaimedLog(ledger, claim)
    if settings.get_bool("spark.streaming.driver.writeAheadLog.allowBatching"):
        timeout_ms = settings.get_ms(
            "spark.streaming.driver.writeAheadLog.batchingTimeout"
        )
        ledger = BatchedLog(ledger, timeout_ms=timeout_ms, name="millstream-ledger-log")
    data = DataLogs(settings, checkpoint_dir, statistics)
    return TrackerLogs(ledger, data, is_logging_data, statistics)


def open_ledger(
    settings: Settings, directory: str, statistics: LogStatistics | None = None
) -> WriteAheadLog:
    """Return the log of which block belongs to which batch, below `directory`."""
    uri = f"{directory}/receivedBlockMetadata"
    return _open(settings, _DRIVER, uri, statistics)


def _open(
    settings: Settings, keys: _Keys, uri: str, statistics: LogStatistics | None
) -> WriteAheadLog:
    name = settings.find_str(keys.own_class)
    if name is not None:
        made = _own_logs[name, uri] = _OwnLog(name, uri)
        return made
    return FileLog(
        uri,
        rolling_ms=settings.get_int(keys.rolling) * 1000,
        failures_max=settings.get_int(keys.failures),
        closes_after_write=settings.get_bool(keys.closes),
        sync=settings.get_bool(keys.sync),
        statistics=statistics,
    )


class ClaimedLog:
    """A log of a driver that another one may take over from.

    What it has written counts if nobody had taken over by then: the newer driver reads it.
    """

    def __init__(self, log: WriteAheadLog, claim: DriverClaim) -> None:
        """Write to `log` while `claim` isn't lost."""
        self._log = log
        self._claim = claim

    def write(self, record: bytes, time_ms: int) -> LogHandle:
        """Append a record.

        Raises:
            TakenOverError: A newer driver may not know of it.
        """
        self._claim.check_unless_recent()
        handle = self._log.write(record, time_ms)
        self._claim.check()
        return handle

    def read(self, handle: LogHandle) -> bytes:
        """Return one record."""
        return self._log.read(handle)

    def read_all(self) -> Iterator[bytes]:
        """Yield every record."""
        return self._log.read_all()

    def clean(self, threshold_ms: int) -> None:
        """Delete old segments.

        Raises:
            TakenOverError: They are a newer driver's now.
        """
        self._claim.check()
        self._log.clean(threshold_ms)

    def close(self) -> None:
        """Write no more."""
        self._log.close()


class _OwnLog:
    """A log of a class of the program's own, whose errors name the class."""

    def __init__(self, name: str, uri: str) -> None:
        """Make it, with its directory.

        Raises:
            SparkError: It can't be made.
        """
        self._name = name
        module, _, cls = name.rpartition(".")
        try:
            self._log: WriteAheadLog = getattr(import_module(module), cls)(uri)
        except Exception as error:
            msg = f"Could not create a write ahead log of class {name}"
            raise SparkError(
                msg, hint=f"it is made as {name}('<directory>'): {error!r}"
            ) from error

    def write(self, record: bytes, time_ms: int) -> LogHandle:
        with self._named("write to"):
            return self._log.write(record, time_ms)

    def read(self, handle: LogHandle) -> bytes:
        with self._named("read"):
            return self._log.read(handle)

    def read_all(self) -> Iterator[bytes]:
        with self._named("read"):
            yield from self._log.read_all()

    def clean(self, threshold_ms: int) -> None:
        with self._named("clean"):
            self._log.clean(threshold_ms)

    def close(self) -> None:
        with self._named("close"):
            self._log.close()

    @contextmanager
    def _named(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            msg = f"can't {what} the write ahead log of class {self._name}: {error!r}"
            raise SparkError(msg) from error


# By class and directory: blocks are read through the log that wrote them.
_own_logs: WeakValueDictionary[tuple[str, str], _OwnLog] = WeakValueDictionary()


def _read_own(name: str, uri: str, handle: LogHandle) -> bytes:
    log = _own_logs.get((name, uri))
    if log is not None:
        return log.read(handle)
    made = _OwnLog(name, uri)
    try:
        return made.read(handle)
    finally:
        made.close()
