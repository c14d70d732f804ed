"""Received logs: the write-ahead logs of a stream with receivers, as the conf asks."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from millstream.engine.base.config import Settings
from millstream.engine.base.errors import SparkError
from millstream.engine.durable.write_ahead_log import BatchedLog, FileLog, WriteAheadLog
from millstream.engine.streams.tracker import TrackerLogs


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


def open_logs(
    settings: Settings, checkpoint_dir: str | None, *, has_receivers: bool
) -> TrackerLogs:
    """Return the logs below a checkpoint directory; none without one.

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
    directory = checkpoint_dir

    def data_uri(stream_id: int) -> str:
        return f"{directory}/receivedData/{stream_id}"

    open_data: Callable[[int], WriteAheadLog] | None = None
    if is_logging_data:

        def open_data(stream_id: int) -> WriteAheadLog:
            return _open(settings, _RECEIVER, data_uri(stream_id))

    ledger = _open(settings, _DRIVER, f"{directory}/receivedBlockMetadata")
    if settings.get_bool("spark.streaming.driver.writeAheadLog.allowBatching"):
        timeout_ms = settings.get_ms(
            "spark.streaming.driver.writeAheadLog.batchingTimeout"
        )
        ledger = BatchedLog(ledger, timeout_ms=timeout_ms, name="millstream-ledger-log")
    return TrackerLogs(ledger, open_data, data_uri)


def _open(settings: Settings, keys: _Keys, uri: str) -> WriteAheadLog:
    name = settings.find_str(keys.own_class)
    if name is not None:
        return _own_log(name, uri)
    return FileLog(
        uri,
        rolling_ms=settings.get_int(keys.rolling) * 1000,
        failures_max=settings.get_int(keys.failures),
        closes_after_write=settings.get_bool(keys.closes),
        sync=settings.get_bool(keys.sync),
    )


def _own_log(name: str, uri: str) -> WriteAheadLog:
    module, _, cls = name.rpartition(".")
    try:
        made: WriteAheadLog = getattr(import_module(module), cls)(uri)
    except Exception as error:
        msg = f"Could not create a write ahead log of class {name}"
        raise SparkError(
            msg, hint=f"it is made as {name}('<directory>'): {error!r}"
        ) from error
    return made
