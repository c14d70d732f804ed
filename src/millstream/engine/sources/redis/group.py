"""RedisGroupReceiver: entries of a consumer group, acknowledged when they are stored.

Each connection is a consumer with a name of its own. What a consumer was given and hasn't
acknowledged stays pending: when it has been so for a while, because its program was killed
or couldn't store it, any other one claims it. So entries come at least once.
"""

import dataclasses
import itertools
import logging
import secrets
from collections.abc import Sequence
from typing import Any

from millstream.engine.base.errors import IllegalArgumentError
from millstream.engine.base.levels import StorageLevel
from millstream.engine.clients.redis import RedisServer
from millstream.engine.ingest.lag import Lag, TellsLag
from millstream.engine.ingest.reliable_receiver import (
    Connection,
    Delivery,
    ReliableReceiver,
)
from millstream.engine.sources.redis.source import Handler, RedisMessage, fields_as_text

_log = logging.getLogger(__name__)

_AT_A_TIME = 1_000

_Entries = list[tuple[str, bytes, dict[bytes, bytes]]]


class RedisGroupReceiver(ReliableReceiver[Any], TellsLag):
    """Receives what a consumer group of some streams is to have."""

    def __init__(
        self,
        server: RedisServer,
        streams: Sequence[str],
        group: str,
        storageLevel: StorageLevel = StorageLevel.MEMORY_AND_DISK_2,
        *,
        begin: str = "latest",
        handler: Handler = fields_as_text,
        claim_s: float = 60.0,
    ) -> None:
        """Take part in `group`; claim what has been pending for `claim_s` seconds.

        A group that isn't there is made, beginning with what is added from then on
        ("latest"), with everything ("earliest"), or after an id.
        """
        super().__init__(storageLevel)
        if not streams or not group:
            msg = "a consumer group has a name, and streams that it reads"
            raise IllegalArgumentError(msg)
        if claim_s <= 0:
            msg = f"claim_s is a positive number of seconds, not {claim_s}"
            raise IllegalArgumentError(msg)
        self.server = server
        self.streams = tuple(streams)
        self.group = group
        self.begin = {"latest": "$", "earliest": "0"}.get(begin, begin)
        self.handler = handler
        self.claim_s = claim_s
        self.was_connected = False

    @property
    def identity(self) -> str:
        """Which streams of which server, and whose group."""
        streams = ",".join(self.streams)
        return f"redis {self.server.url} {streams} group {self.group}"

    def connect(self) -> "_Consumer":
        """Make the group if it isn't there, and become a consumer."""
        for stream in self.streams:
            self._make_group(stream)
        self.was_connected = True
        return _Consumer(self)

    def ask_lag(self, timeout_s: float) -> Lag:
        """Return how many entries the group hasn't been given, or hasn't acknowledged."""
        # Apart from the receiver's own client, whose commands may wait for longer.
        timeout_s = min(timeout_s, self.server.timeout_s)
        server = dataclasses.replace(self.server, timeout_s=timeout_s)
        left = [self._left_of(stream, server) for stream in self.streams]
        known = [each for each in left if each is not None]
        return Lag(sum(known) if len(known) == len(left) else None)

    def _left_of(self, stream: str, server: RedisServer) -> int | None:
        from redis.exceptions import ResponseError  # noqa: PLC0415  Optional.

        with server.asked(f"how far group '{self.group}' of '{stream}' is") as client:
            try:
                groups = client.xinfo_groups(stream)
            except ResponseError as error:
                if "no such key" in str(error):
                    return None  # The receiver makes it, with the group.
                raise
        for each in groups:
            if each["name"] == self.group.encode():
                # The server itself may not know: in the middle of what was deleted.
                lag = each["lag"]
                return None if lag is None else int(lag) + int(each["pending"])
        return None

    def _make_group(self, stream: str) -> None:
        from redis.exceptions import ResponseError  # noqa: PLC0415  Optional.

        what = f"make group '{self.group}' of stream '{stream}'"
        # Where it has vanished meanwhile, what is there by now hasn't been received.
        begin = "0" if self.was_connected else self.begin
        with self.server.asked(what) as client:
            try:
                client.xgroup_create(stream, self.group, begin, mkstream=True)
            except ResponseError as error:
                if "BUSYGROUP" not in str(error):
                    raise
            else:
                if self.was_connected:
                    _log.warning(
                        "group vanished, and was made anew group=%s stream=%s",
                        self.group,
                        stream,
                    )


class _Consumer(Connection[Any]):
    """One member of the group."""

    def __init__(self, receiver: RedisGroupReceiver) -> None:
        self._server = receiver.server
        self._streams = receiver.streams
        self._group = receiver.group
        self._handler = receiver.handler
        self._claim_ms = max(1, round(receiver.claim_s * 1000))
        # Nobody else's: a name that is there already would get its pending entries.
        self._name = f"millstream-{secrets.token_hex(8)}"
        self._cursors = dict.fromkeys(self._streams, "0-0")
        self._turns = itertools.cycle((True, False))

    def receive(self, timeout_s: float) -> Delivery[Any] | None:
        """Return new entries, or those that others have left pending."""
        # In turns, so that neither those that are new nor the others have to wait.
        entries = self._claimed() if next(self._turns) else []
        entries = entries or self._new(timeout_s)
        if not entries:
            return None
        records = [
            self._handler(RedisMessage(stream, id_.decode(), fields))
            for stream, id_, fields in entries
        ]
        return Delivery(records, entries)

    def _new(self, timeout_s: float) -> _Entries:
        with self._server.asked(f"entries for group '{self._group}'") as client:
            found = client.xreadgroup(
                self._group,
                self._name,
                dict.fromkeys(self._streams, ">"),
                count=_AT_A_TIME,
                block=max(1, round(min(timeout_s, self._server.timeout_s / 2) * 1000)),
            )
        # A list of pairs, or a dict, as the protocol's version has it.
        pairs = found.items() if isinstance(found, dict) else found or []
        return [
            (stream.decode(), id_, fields)
            for stream, entries in pairs
            for id_, fields in entries
        ]

    def _claimed(self) -> _Entries:
        taken: _Entries = []
        for stream in self._streams:
            with self._server.asked(f"pending entries of '{stream}'") as client:
                cursor, entries, deleted = client.xautoclaim(
                    stream,
                    self._group,
                    self._name,
                    self._claim_ms,
                    self._cursors[stream],
                    count=_AT_A_TIME,
                )
            self._cursors[stream] = cursor.decode()
            if deleted:
                _log.error(
                    "data loss: entries were trimmed or deleted before they were "
                    "acknowledged stream=%s group=%s entries=%d",
                    stream,
                    self._group,
                    len(deleted),
                )
            taken += [(stream, id_, fields) for id_, fields in entries]
        return taken

    def acknowledge(self, token: _Entries) -> None:
        """Say that entries are stored."""
        of_stream: dict[str, list[bytes]] = {}
        for stream, id_, _ in token:
            of_stream.setdefault(stream, []).append(id_)
        with self._server.asked(f"acknowledge to group '{self._group}'") as client:
            for stream, ids in of_stream.items():
                client.xack(stream, self._group, *ids)
