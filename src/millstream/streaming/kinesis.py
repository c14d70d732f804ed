"""Kinesis: streams of what is put into a Kinesis stream; PySpark's path to them."""

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from millstream.engine.base.errors import IllegalArgumentError
from millstream.engine.base.extras import needed
from millstream.engine.base.levels import StorageLevel
from millstream.engine.base.secrets import Secret, secret_of
from millstream.engine.sources.kinesis.client import KinesisAccess
from millstream.engine.sources.kinesis.records import KinesisRecord
from millstream.engine.sources.kinesis.source import KinesisOptions, KinesisSource

if TYPE_CHECKING:
    from millstream.streaming.context import StreamingContext
    from millstream.streaming.dstream import DStream

__all__ = [
    "InitialPositionInStream",
    "KinesisRecord",
    "KinesisUtils",
    "MetricsLevel",
    "utf8_decoder",
]


def utf8_decoder(s: bytes | None) -> str | None:
    """Return bytes as text; None stays None.

    >>> utf8_decoder(b"21.5")
    '21.5'
    """
    return None if s is None else s.decode("utf-8")


class InitialPositionInStream:
    """Where a stream begins when there is no checkpoint to go on from."""

    LATEST, TRIM_HORIZON = (0, 1)


class MetricsLevel:
    """What is told to CloudWatch by other implementations; nothing is, by this one."""

    DETAILED, SUMMARY, NONE = (0, 1, 2)


class KinesisUtils:
    """Makes streams of Kinesis streams."""

    @staticmethod
    def createStream(
        ssc: "StreamingContext",
        kinesisAppName: str,
        streamName: str,
        endpointUrl: str | None,
        regionName: str,
        initialPositionInStream: int | datetime,
        checkpointInterval: int,
        metricsLevel: int = MetricsLevel.DETAILED,
        storageLevel: StorageLevel = StorageLevel.MEMORY_AND_DISK_2,
        awsAccessKeyId: str | Secret | None = None,
        awsSecretKey: str | Secret | None = None,
        decoder: Callable[[bytes], Any] | None = utf8_decoder,
        stsAssumeRoleArn: str | None = None,
        stsSessionName: str | None = None,
        stsExternalId: str | None = None,
        *,
        messageHandler: Callable[[KinesisRecord], Any] | None = None,
        failOnDataLoss: bool = True,
        fetchInterval: float = 1.0,
        timeout: float = 30.0,
    ) -> "DStream[Any]":
        """Return the records of a stream, each once, also over restarts.

        - `endpointUrl`: by default, None or "", that of the region.
        - `initialPositionInStream`: `InitialPositionInStream.TRIM_HORIZON`: all that is
          there; `LATEST`: what comes from the start on; or a `datetime` with a time zone:
          what came from then on.
        - `awsAccessKeyId` and `awsSecretKey`: text or a `Secret`. Without them the
          environment's are taken: variables, files, or the machine's role.
        - `decoder`: makes a record of bytes; None leaves them. `messageHandler` takes its
          place, and gets a `KinesisRecord`, which has the key and sequence number, too.
        - `failOnDataLoss`: whether a batch fails when records may have expired before
          they were read. Else the log tells of it.
        - `fetchInterval`: how many seconds to wait between two reads of a shard when it
          has no more: Kinesis allows five reads a second to all who read a shard.
        - `timeout`: how many seconds to wait for an answer, and how long Kinesis may be
          out of reach before batches fail.

        `kinesisAppName`, `checkpointInterval`, `metricsLevel` and `storageLevel` are taken
        and change nothing: there is no lease table, positions are in the checkpoint of each
        batch, nothing is told to CloudWatch, and nothing is stored but what is read ahead.
        `spark.streaming.receiver.maxRate` limits records a second.

        Raises:
            IllegalArgumentError: Arguments that don't go together.
            MissingDependencyError: The extra isn't installed.
        """
        del kinesisAppName, checkpointInterval, metricsLevel, storageLevel
        needed("boto3", "kinesis", "KinesisUtils")
        needed("aws_kinesis_agg", "kinesis", "KinesisUtils")
        role = (stsAssumeRoleArn, stsSessionName, stsExternalId)
        _check_together(awsAccessKeyId, awsSecretKey, role)
        access = KinesisAccess(
            regionName,
            endpointUrl or None,
            secret_of(awsAccessKeyId, "kinesis.access.key.id"),
            secret_of(awsSecretKey, "kinesis.secret.key"),
            *role,
            timeout_s=timeout,
        )
        rate = float(ssc.sparkContext.getConf().get(_RATE, "0") or 0)
        options = KinesisOptions(
            _start_of(initialPositionInStream),
            rate if rate > 0 else None,
            fetchInterval,
            failOnDataLoss,
        )
        handler = _Decoding(decoder) if messageHandler is None else messageHandler
        source = KinesisSource(access, streamName, options, handler)
        return ssc.directStream(source, "KinesisInputDStream")


_RATE = "spark.streaming.receiver.maxRate"


class _Decoding:
    """Makes a record of its bytes. A class, so that checkpoints have it by name."""

    def __init__(self, decoder: Callable[[bytes], Any] | None) -> None:
        self.decoder = decoder

    def __call__(self, record: KinesisRecord) -> Any:
        return record.data if self.decoder is None else self.decoder(record.data)


def _start_of(position: int | datetime) -> str | int:
    if isinstance(position, datetime):
        if position.tzinfo is None:
            msg = "initialPositionInStream is a datetime without a time zone"
            raise IllegalArgumentError(
                msg, hint="for example datetime(..., tzinfo=UTC)"
            )
        return int(position.timestamp() * 1000)
    if position == InitialPositionInStream.LATEST:
        return "LATEST"
    if position == InitialPositionInStream.TRIM_HORIZON:
        return "TRIM_HORIZON"
    msg = f"initialPositionInStream can't be {position!r}"
    raise IllegalArgumentError(
        msg, hint="one of InitialPositionInStream, or a datetime with a time zone"
    )


def _check_together(key_id: Any, secret_key: Any, role: tuple[Any, ...]) -> None:
    if (key_id is None) != (secret_key is None):
        has, lacks = "awsAccessKeyId", "awsSecretKey"
        if key_id is None:
            has, lacks = lacks, has
        msg = f"{has} was given without {lacks}"
        raise IllegalArgumentError(
            msg, hint="give both, or neither to take the environment's"
        )
    if len({each is None for each in role}) > 1:
        msg = "stsAssumeRoleArn, stsSessionName and stsExternalId must be given all, or none"
        raise IllegalArgumentError(msg)
