"""WebUtils: streams of what servers push over WebSocket or as server-sent events.

With presets for open streams that people use: Bluesky, Wikimedia, Mastodon.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from millstream.engine.base.errors import IllegalArgumentError
from millstream.engine.base.secrets import Secret
from millstream.engine.clients.web_delays import WebDelays
from millstream.engine.sources.web import firehoses
from millstream.engine.sources.web.sse import SseEvent, SseOptions, SseReceiver, as_dict
from millstream.engine.sources.web.websocket import (
    Sent,
    WebSocketOptions,
    WebSocketReceiver,
)
from millstream.storagelevel import StorageLevel
from millstream.streaming.context import StreamingContext
from millstream.streaming.dstream import DStream

__all__ = ["SseEvent", "WebUtils"]

_LOGGED = "spark.streaming.receiver.writeAheadLog.enable"


class WebUtils:
    """Makes streams; each has one receiver, which connects again when that breaks.

    All of them take these options:

    - `token`: sent as `Authorization: Bearer ...`; `headers`: more of them. Both may be
      `Secret`s; what looks like a secret among them is kept as one.
    - `cursorFile`: a file (a path or a URI) where to write down which messages are stored;
      a restarted program goes on after them. Needs the receivers' write-ahead log.
    - `caFile`: certificates to trust.
    - `reconnectDelay`, `maxReconnectDelay`, `refusedDelay`: seconds before a new
      connection: at first, at most, and after the server said no.
    - `storageLevel`: of the blocks.
    """

    @staticmethod
    def createWebSocketStream(
        ssc: StreamingContext,
        url: str,
        *,
        subscribe: Sent | Sequence[Sent] | Callable[[Any], Any] | None = None,
        parse: Callable[[Sent], Any] | None = None,
        cursor: Callable[[Any], Any] | None = None,
        resumeUrl: Callable[[str, Any], str] | None = None,
        key: Callable[[Any], Hashable] | None = None,
        token: str | Secret | None = None,
        headers: Mapping[str, str | Secret] | None = None,
        cursorFile: str | None = None,
        caFile: str | None = None,
        connectTimeout: float = 10.0,
        pingTimeout: float = 20.0,
        maxMessageBytes: int = 1 << 20,
        reconnectDelay: float = 1.0,
        maxReconnectDelay: float = 60.0,
        refusedDelay: float = 300.0,
        storageLevel: StorageLevel = StorageLevel.MEMORY_AND_DISK_2,
    ) -> DStream[Any]:
        """Return a record for each message that a WebSocket server sends.

        `subscribe` is sent first: text, bytes, several of them, or a function of the
        cursor, which is None at first. `parse` makes a record of a message (without it
        the record is the text or bytes that came), or None to leave it out; what it
        can't parse, with a ValueError, is reported and left out. `cursor` returns a
        record's cursor, as JSON has it; a new connection goes to `resumeUrl(url, cursor)`,
        and tells `subscribe` of it. `key` returns what makes a record the same when it
        comes again; then it is left out.

        Raises:
            IllegalArgumentError: An argument is no good.
            MissingDependencyError: The extra `web` isn't installed.
        """
        _check_cursor_file(ssc, cursorFile)
        _check_positive(
            connectTimeout=connectTimeout,
            pingTimeout=pingTimeout,
            maxMessageBytes=maxMessageBytes,
        )
        options = WebSocketOptions(
            subscribe=subscribe,
            parse=parse,
            cursor=cursor,
            resume_url=resumeUrl,
            key=key,
            connect_s=connectTimeout,
            ping_s=pingTimeout,
            message_bytes_max=maxMessageBytes,
            ca_file=caFile,
        )
        receiver = WebSocketReceiver(
            url,
            options,
            token=token,
            headers=headers,
            delays=_delays(reconnectDelay, maxReconnectDelay, refusedDelay),
            cursor_file=cursorFile,
            storageLevel=storageLevel,
        )
        return ssc.receiverStream(receiver, "WebSocketInputDStream")

    @staticmethod
    def createSseStream(
        ssc: StreamingContext,
        url: str,
        *,
        parse: Callable[[SseEvent], Any] = as_dict,
        key: Callable[[Any], Hashable] | None = None,
        lastEventId: str | None = None,
        isEventId: Callable[[str], bool] | None = None,
        token: str | Secret | None = None,
        headers: Mapping[str, str | Secret] | None = None,
        cursorFile: str | None = None,
        caFile: str | None = None,
        connectTimeout: float = 10.0,
        silenceTimeout: float = 60.0,
        maxEventBytes: int = 1 << 20,
        reconnectDelay: float = 1.0,
        maxReconnectDelay: float = 60.0,
        refusedDelay: float = 300.0,
        storageLevel: StorageLevel = StorageLevel.MEMORY_AND_DISK_2,
    ) -> DStream[Any]:
        """Return a record for each event that a server sends.

        `parse` makes a record of an `SseEvent`, which has `event`, `data` and `id`;
        without it a record is a dict of them. It may return None to leave one out; what
        it can't parse, with a ValueError, is reported and left out. `lastEventId` is where
        to begin; `isEventId` says which ids can be gone on after. `key` is as in
        `createWebSocketStream`. The connection is made anew when nothing, not even a
        comment, came for `silenceTimeout` seconds.

        Raises:
            IllegalArgumentError: An argument is no good.
            MissingDependencyError: The extra `web` isn't installed.
        """
        _check_cursor_file(ssc, cursorFile)
        _check_positive(
            connectTimeout=connectTimeout,
            silenceTimeout=silenceTimeout,
            maxEventBytes=maxEventBytes,
        )
        options = SseOptions(
            parse=parse,
            key=key,
            last_event_id=lastEventId,
            is_id=isEventId,
            connect_s=connectTimeout,
            silence_s=silenceTimeout,
            event_bytes_max=maxEventBytes,
            ca_file=caFile,
        )
        receiver = SseReceiver(
            url,
            options,
            token=token,
            headers=headers,
            delays=_delays(reconnectDelay, maxReconnectDelay, refusedDelay),
            cursor_file=cursorFile,
            storageLevel=storageLevel,
        )
        return ssc.receiverStream(receiver, "SseInputDStream")

    @staticmethod
    def blueskyJetstream(
        ssc: StreamingContext,
        collections: Sequence[str] = (),
        dids: Sequence[str] = (),
        *,
        url: str = firehoses.BLUESKY,
        rewind: float = 5.0,
        **options: Any,
    ) -> DStream[dict[str, Any]]:
        """Return the events of Bluesky's Jetstream: dicts of did, time_us, kind, commit.

        `collections` are what is wanted of it, such as "app.bsky.feed.post" or
        "app.bsky.graph.*"; `dids` whose; without them it is everything. A new connection
        goes on `rewind` seconds before the newest event; events that come again are left
        out. `options` are those of `createWebSocketStream`.

        Raises:
            IllegalArgumentError: An argument is no good.
        """
        _check_positive(rewind=rewind)
        wanted = firehoses.of_stream(collections, "collections")
        return WebUtils.createWebSocketStream(
            ssc,
            firehoses.jetstream_url(url, wanted, firehoses.of_stream(dids, "dids")),
            parse=firehoses.json_object,
            cursor=firehoses.jetstream_cursor,
            resumeUrl=firehoses.JetstreamResume(rewind),
            key=firehoses.jetstream_key,
            **options,
        )

    @staticmethod
    def wikimediaEventStreams(
        ssc: StreamingContext,
        streams: Sequence[str] = ("recentchange",),
        *,
        url: str = firehoses.WIKIMEDIA,
        since: str | None = None,
        userAgent: str = "millstream (a stream of Python programs)",
        **options: Any,
    ) -> DStream[dict[str, Any]]:
        """Return the events of Wikimedia's EventStreams, as dicts.

        A new connection goes on where the last one was in each topic. `since` is where to
        begin, a time as in "2026-01-31T12:00:00Z". `userAgent` should say who you are, as
        Wikimedia asks of its users. `options` are those of `createSseStream`.

        Raises:
            IllegalArgumentError: An argument is no good.
        """
        headers = {"User-Agent": userAgent, **(options.pop("headers", None) or {})}
        return WebUtils.createSseStream(
            ssc,
            firehoses.wikimedia_url(url, streams, since),
            parse=firehoses.wikimedia_record,
            isEventId=firehoses.is_wikimedia_id,
            key=firehoses.wikimedia_key,
            headers=headers,
            **options,
        )

    @staticmethod
    def mastodon(
        ssc: StreamingContext,
        instance: str,
        stream: str = "public",
        token: str | Secret | None = None,
        *,
        tag: str | None = None,
        list: str | None = None,
        **options: Any,
    ) -> DStream[dict[str, Any]]:
        """Return what a Mastodon server streams: dicts of `event` and `payload`.

        `instance` is its host; `stream` as in its documentation: "public:local",
        "hashtag" with `tag`, "list" with the id of a `list`. It can't go on after a
        broken connection: what was posted meanwhile is missing. `options` are those of
        `createSseStream`.

        Raises:
            IllegalArgumentError: An argument is no good.
        """
        return WebUtils.createSseStream(
            ssc,
            firehoses.mastodon_url(instance, stream, tag, list),
            parse=firehoses.mastodon_record,
            token=token,
            **options,
        )


def _delays(first: float, most: float, refused: float) -> WebDelays:
    _check_positive(reconnectDelay=first, maxReconnectDelay=most, refusedDelay=refused)
    return WebDelays(first_s=first, longest_s=max(first, most), refused_s=refused)


def _check_positive(**values: Any) -> None:
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
            msg = f"{name} must be a number above 0, not {value!r}"
            raise IllegalArgumentError(msg)


def _check_cursor_file(ssc: StreamingContext, uri: str | None) -> None:
    if uri is None:
        return
    conf = ssc.sparkContext.getConf()
    if conf.get(_LOGGED, "false") != "true":
        msg = f"cursorFile '{uri}' needs the receivers' write-ahead log"
        raise IllegalArgumentError(
            msg,
            hint=f"set {_LOGGED}=true and a checkpoint directory: else what was stored "
            "before a crash is lost, and the cursor is after it",
        )
