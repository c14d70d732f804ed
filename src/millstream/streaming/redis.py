"""RedisUtils: streams of Redis Streams, read directly by ids or as a consumer group."""

from collections.abc import Mapping, Sequence
from typing import Any

from millstream.engine.base.levels import StorageLevel
from millstream.engine.base.secrets import Secret
from millstream.engine.clients.redis import RedisServer
from millstream.engine.sources.redis.group import RedisGroupReceiver
from millstream.engine.sources.redis.source import (
    EntriesLostError,
    Handler,
    RedisMessage,
    RedisRange,
    RedisSource,
    fields_as_text,
)
from millstream.streaming.context import StreamingContext
from millstream.streaming.dstream import DStream

__all__ = [
    "EntriesLostError",
    "RedisMessage",
    "RedisRange",
    "RedisUtils",
]


class RedisUtils:
    """Makes input streams of Redis 7 or later, or Valkey, in the manner of KafkaUtils."""

    @staticmethod
    def createDirectStream(
        ssc: StreamingContext,
        url: str,
        streams: Sequence[str],
        fromIds: str | Mapping[str, str] = "latest",
        messageHandler: Handler | None = None,
        *,
        failOnDataLoss: bool = True,
        username: str | None = None,
        password: str | Secret | None = None,
        timeout: float = 30.0,
        options: Mapping[str, Any] | None = None,
    ) -> DStream[Any]:
        """Return the entries of streams: a partition each, and each entry exactly once.

        It begins at the end of the streams ("latest"), at their beginning ("earliest"), or
        after an id, perhaps one for each stream. Records are dicts of text, or what
        `messageHandler(RedisMessage)` returns. `RDD.ranges` has the batch's RedisRanges.
        `timeout` is in seconds, `options` are the client's, such as `ssl_ca_certs`.

        Raises:
            IllegalArgumentError: An argument can't be used.
        """
        server = RedisServer.of(url, username, password, timeout, options)
        source = RedisSource(
            server,
            tuple(streams),
            fromIds if isinstance(fromIds, str) else dict(fromIds),
            messageHandler or fields_as_text,
            failOnDataLoss,
        )
        return ssc.directStream(source, "RedisDirectInputDStream")

    @staticmethod
    def createStream(
        ssc: StreamingContext,
        url: str,
        groupId: str,
        streams: Sequence[str],
        storageLevel: StorageLevel = StorageLevel.MEMORY_AND_DISK_2,
        messageHandler: Handler | None = None,
        *,
        fromIds: str = "latest",
        claimAfter: float = 60.0,
        username: str | None = None,
        password: str | Secret | None = None,
        timeout: float = 30.0,
        options: Mapping[str, Any] | None = None,
    ) -> DStream[Any]:
        """Return what a consumer group gets, acknowledged when stored: at least once.

        Several such streams or programs share the group's entries. A group that isn't there
        is made, to begin where `fromIds` says. What another consumer hasn't acknowledged
        for `claimAfter` seconds is taken over.

        Raises:
            IllegalArgumentError: An argument can't be used.
        """
        receiver = RedisGroupReceiver(
            RedisServer.of(url, username, password, timeout, options),
            tuple(streams),
            groupId,
            storageLevel,
            begin=fromIds,
            handler=messageHandler or fields_as_text,
            claim_s=claimAfter,
        )
        return ssc.receiverStream(receiver, "RedisInputDStream")
