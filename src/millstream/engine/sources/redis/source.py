"""RedisSource: a direct stream of Redis Streams: ranges of entries, by their ids.

A range is what comes after one id, up to another, which the stream had when the batch was
planned. Entries never change, and ids only rise, so a range is read again the same, unless
entries were trimmed or deleted: then fewer come than were counted, and that is an error.
Needs Redis 7, or any Valkey, which count what was ever added.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from millstream.engine.base.errors import (
    IllegalArgumentError,
    SparkError,
    UnsupportedOperationError,
)
from millstream.engine.clients.redis import RedisServer
from millstream.engine.ingest.direct_source import BatchPlan, DirectSource
from millstream.engine.ingest.lag import Lag

_log = logging.getLogger(__name__)

_PAGE = 1_000
BEGINNING: Final = "0-0"


@dataclass(frozen=True, slots=True)
class RedisMessage:
    """One entry of a stream, as a `messageHandler` gets it."""

    stream: str
    id: str
    """Milliseconds since the epoch, a dash, and a number."""
    fields: dict[bytes, bytes]


Handler = Callable[[RedisMessage], Any]


def fields_as_text(message: RedisMessage) -> dict[str, str]:
    """Return an entry's fields as text, of UTF-8; what a stream has by default."""
    return {key.decode(): value.decode() for key, value in message.fields.items()}


@dataclass(frozen=True, slots=True)
class RedisRange:
    """Entries of one stream, after one id, up to another."""

    stream: str
    after: str
    until: str
    count: int
    """How many there are."""
    is_exact: bool
    """Whether `count` is known, not guessed."""
    added: int
    """How many entries were ever added up to `until`; -1: not known."""


@dataclass(frozen=True, slots=True)
class StreamState:
    """What the server knows of a stream."""

    last: str
    """The newest id that it ever had."""
    added: int
    length: int
    deleted: str
    """The highest id that was trimmed or deleted."""

    @classmethod
    def of_info(cls, info: Mapping[str, Any]) -> "StreamState":
        """Return what `XINFO STREAM` says.

        Raises:
            UnsupportedOperationError: The server is older than Redis 7.
        """
        if "entries-added" not in info:
            msg = "the server doesn't count what is added to streams"
            raise UnsupportedOperationError(msg, hint="use Redis 7 or later, or Valkey")
        return cls(
            last=_text(info["last-generated-id"]),
            added=int(info["entries-added"]),
            length=int(info["length"]),
            deleted=_text(info["max-deleted-entry-id"]),
        )


_MISSING = StreamState(BEGINNING, 0, 0, BEGINNING)


class EntriesLostError(SparkError):
    """Entries that a batch needs were trimmed or deleted."""


@dataclass(eq=False)
class RedisSource(DirectSource[RedisRange, Any]):
    """Reads streams, each as one partition of a batch."""

    server: RedisServer
    streams: Sequence[str]
    begin: str | Mapping[str, str] = "latest"
    """Where to begin when there is no checkpoint: "latest", "earliest", or after an id."""
    handler: Handler = fields_as_text
    fails_on_data_loss: bool = True
    page: int = _PAGE
    _began: dict[str, StreamState] = field(default_factory=dict)
    _left: dict[str, int | None] = field(default_factory=dict)
    """How many entries each stream had beyond the newest batch's when that was planned;
    None where nobody counts them: limited batches after an id that the program gave."""

    range_type = RedisRange

    def __post_init__(self) -> None:
        if not self.streams or len(set(self.streams)) != len(self.streams):
            msg = f"streams are some different names, not {list(self.streams)!r}"
            raise IllegalArgumentError(msg)
        begins = [self._begin_of(stream) for stream in self.streams]
        for each in begins:
            if each not in {"latest", "earliest"}:
                _order(each)

    @property
    def identity(self) -> str:
        """Which streams of which server."""
        return f"redis {self.server.url} {','.join(self.streams)}"

    def start(self) -> None:
        """Note where streams end now, so that "latest" means the start of the program."""
        try:
            self._began = {each: self._state_of(each) for each in self.streams}
        except SparkError as error:
            _log.warning("the first batch finds out where streams end: %s", error)

    def plan(self, batch: BatchPlan[RedisRange]) -> Sequence[RedisRange]:
        """Return a range for each stream, up to its end, or to its share of the rate.

        Raises:
            EntriesLostError: A stream isn't there any more, or was made anew.
            SparkError: The server can't be reached or refuses.
        """
        previous = {each.stream: each for each in batch.previous}
        share = batch.limit
        if share is not None:
            share = max(1, share // len(self.streams))
        return [self._planned(each, previous.get(each), share) for each in self.streams]

    @property
    def lag(self) -> Lag:
        """How many entries the streams had beyond the newest batch's, as it was planned."""
        left = [self._left.get(each) for each in self.streams]
        known = [each for each in left if each is not None]
        return Lag(sum(known) if len(known) == len(left) else None)

    def _planned(
        self, stream: str, previous: RedisRange | None, limit: int | None
    ) -> RedisRange:
        state = self._state_of(stream)
        after, added = self._position(stream, previous, state)
        self._left[stream] = 0
        if after == state.last or _order(after) > _order(state.last):
            return RedisRange(stream, after, after, 0, is_exact=True, added=added)
        is_exact = added >= 0
        count = state.added - added if is_exact else state.length
        if limit is not None and (count > limit or not is_exact):
            # Less than there is: where that ends, only the entries themselves say.
            ids = self._ids_after(stream, after, state.last, limit)
            if len(ids) == limit:
                known = added + limit if is_exact else -1
                self._left[stream] = count - limit if is_exact else None
                return RedisRange(
                    stream, after, ids[-1], limit, is_exact=True, added=known
                )
        return RedisRange(stream, after, state.last, count, is_exact, state.added)

    def _position(
        self, stream: str, previous: RedisRange | None, state: StreamState
    ) -> tuple[str, int]:
        """Return after which id a range begins, and how many entries came up to there."""
        if previous is not None:
            if (
                _order(state.last) < _order(previous.until)
                or state.added < previous.added
            ):
                self._lost(
                    f"stream '{stream}' was deleted, or made anew: it ends at "
                    f"{state.last}, and was read up to {previous.until}"
                )
                return BEGINNING, state.added - state.length
            return previous.until, previous.added
        begin = self._begin_of(stream)
        if begin in {"earliest", BEGINNING}:
            return BEGINNING, state.added - state.length
        if begin == "latest":
            began = self._began.get(stream, state)
            return began.last, began.added
        return begin, -1

    def _begin_of(self, stream: str) -> str:
        if isinstance(self.begin, str):
            return self.begin
        return self.begin.get(stream, "latest")

    def _state_of(self, stream: str) -> StreamState:
        errors = _errors()
        with self.server.asked(f"what is in stream '{stream}'") as client:
            try:
                info = client.xinfo_stream(stream)
            except errors.ResponseError as error:
                if "no such key" in str(error):
                    return _MISSING
                raise
        return StreamState.of_info(info)

    def _ids_after(self, stream: str, after: str, last: str, limit: int) -> list[str]:
        ids: list[str] = []
        with self.server.asked(f"which entries stream '{stream}' has") as client:
            while len(ids) < limit:
                size = min(self.page, limit - len(ids))
                found = client.xrange(stream, f"({after}", last, count=size)
                ids += [_text(each) for each, _ in found]
                if len(found) < size:
                    break
                after = ids[-1]
        return ids

    def read(self, of: RedisRange) -> Iterator[Any]:
        """Yield what the handler makes of the entries of a range.

        Raises:
            EntriesLostError: Some were trimmed or deleted before they were read.
            SparkError: The server can't be reached or refuses.
        """
        handler = self.handler
        is_text = handler is fields_as_text
        after, count = of.after, 0
        while _order(after) < _order(of.until):
            with self.server.asked(f"entries of stream '{of.stream}'") as client:
                found = client.xrange(of.stream, f"({after}", of.until, count=self.page)
            if not found:
                break
            count += len(found)
            after = _text(found[-1][0])
            if is_text:
                for _, fields in found:
                    yield {key.decode(): val.decode() for key, val in fields.items()}
            else:
                for id_, fields in found:
                    yield handler(RedisMessage(of.stream, id_.decode(), fields))
        self._check(of, count)

    def _check(self, of: RedisRange, count: int) -> None:
        if of.is_exact:
            is_whole = count == of.count
        else:
            deleted = _order(self._state_of(of.stream).deleted)
            is_whole = not _order(of.after) < deleted <= _order(of.until)
        if not is_whole:
            of_how_many = f" of {of.count}" if of.is_exact else ""
            self._lost(
                f"stream '{of.stream}' has {count}{of_how_many} entries after "
                f"{of.after}, up to {of.until}: some were trimmed or deleted before they "
                "were read, or it was made anew"
            )

    def _lost(self, told: str) -> None:
        if self.fails_on_data_loss:
            msg = f"{told} (Redis at {self.server.url})"
            raise EntriesLostError(
                msg,
                hint="let the stream keep more (XADD with a higher MAXLEN, or none), or "
                "go on without them by failOnDataLoss=False",
            )
        _log.warning("data loss, which failOnDataLoss=False accepts: %s", told)

    def count(self, of: RedisRange) -> int:
        """Return how many entries a range has."""
        return of.count

    def describe(self, of: RedisRange) -> str:
        """Return a range in words."""
        return f"stream: {of.stream}\tentries: ({of.after}, {of.until}]"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_began": {}, "_left": {}}


def _order(id_: str) -> tuple[int, int]:
    """Return what orders ids.

    Raises:
        IllegalArgumentError: It is no id.
    """
    ms, dash, number = id_.partition("-")
    try:
        return int(ms), int(number) if dash else 0
    except ValueError as error:
        msg = f"'{id_}' is no id of a stream's entry"
        raise IllegalArgumentError(
            msg, hint='"earliest", "latest" or an id such as 1700000000000-0'
        ) from error


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _errors() -> Any:
    import redis.exceptions as errors  # noqa: PLC0415  Optional.

    return errors
