"""RedisSink: a partition and its mark are written by one script, so both or neither.

What the script does nobody sees half done. It looks at the mark first: whose run is older
is refused, and what is there already isn't written again.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

from millstream.engine.base.errors import IllegalArgumentError, SparkError
from millstream.engine.clients.redis import RedisServer
from millstream.engine.sinks.contract import (
    Opening,
    Sink,
    SinkBatch,
    check_partitions,
    check_run,
    stale_run,
)
from millstream.engine.sinks.encoding import encoded
from millstream.engine.sinks.records import Records

WRITES: Final = ("hash", "count", "list", "stream", "set")
"""How records are written."""

_RECORDS_MAX = 400_000
_BYTES_MAX = 256 << 20
_TYPES = {"hash": "hash", "count": "hash", "list": "list", "stream": "stream"}

_OPEN = """
local known = tonumber(redis.call('HGET', KEYS[1], 'run') or '0')
local run = math.max(tonumber(ARGV[1]), known + 1)
redis.call('HSET', KEYS[1], 'run', string.format('%.0f', run))
local newest = ''
local marks = redis.call('HGETALL', KEYS[1])
for at = 1, #marks, 2 do
    if marks[at] ~= 'run' then
        local time = string.match(marks[at + 1], '^%d+')
        if newest == '' or tonumber(time) > tonumber(newest) then newest = time end
    end
end
return {string.format('%.0f', run), newest}
"""

# Answers: 1 written, 0 it is there already, -1 a newer run has taken over. Nothing is
# written before everything is known to fit: a script isn't rolled back.
_WRITE = """
local how, run, part, time, count = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local kind, maxlen = ARGV[6], ARGV[7]
local known = redis.call('HGET', KEYS[1], 'run')
if known and tonumber(known) > tonumber(run) then return -1 end
local mark = redis.call('HGET', KEYS[1], part)
if mark and tonumber(string.match(mark, '^%d+')) >= tonumber(time) then return 0 end
if how ~= 'set' then
    local there = redis.call('TYPE', KEYS[2]).ok
    if there ~= 'none' and there ~= kind then
        return redis.error_reply('WRONGTYPE it is a ' .. there .. ', not a ' .. kind)
    end
end
local last = #ARGV
if how == 'hash' then
    for at = 8, last, 2 do redis.call('HSET', KEYS[2], ARGV[at], ARGV[at + 1]) end
elseif how == 'count' then
    for at = 8, last, 2 do
        local done = redis.pcall('HINCRBY', KEYS[2], ARGV[at], ARGV[at + 1])
        if type(done) == 'table' and done.err then
            for back = 8, at - 2, 2 do
                local less = string.gsub('-' .. ARGV[back + 1], '^%-%-', '')
                redis.call('HINCRBY', KEYS[2], ARGV[back], less)
            end
            return redis.error_reply('field ' .. ARGV[at] .. ': ' .. done.err)
        end
    end
elseif how == 'list' then
    for at = 8, last do redis.call('RPUSH', KEYS[2], ARGV[at]) end
elseif how == 'set' then
    for at = 8, last, 2 do redis.call('SET', ARGV[at], ARGV[at + 1]) end
else
    local at = 8
    while at <= last do
        local fields = tonumber(ARGV[at])
        local entry = {'XADD', KEYS[2]}
        if maxlen ~= '' then
            entry[3], entry[4], entry[5] = 'MAXLEN', '~', maxlen
        end
        entry[#entry + 1] = '*'
        for field = at + 1, at + fields do entry[#entry + 1] = ARGV[field] end
        redis.call(unpack(entry))
        at = at + fields + 1
    end
end
redis.call('HSET', KEYS[1], part, time .. ' ' .. count)
return 1
"""


class RedisSink(Sink[Any]):
    """Writes records to one key of a Redis or Valkey server, or to a key each."""

    def __init__(
        self,
        url: str,
        key: str = "",
        write: str = "hash",
        *,
        record: Callable[[Any], Any] | None = None,
        maxlen: int | None = None,
        username: str | None = None,
        password: Any = None,
        timeout: float = 30.0,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        """Write to `key` of the server at `url`.

        `write` is one of:

        - "hash": pairs (field, value) are set as fields of the hash `key`;
        - "count": pairs (field, integer) are added to fields of the hash `key`;
        - "list": records are pushed to the end of the list `key`;
        - "stream": records are added to the stream `key`, which keeps about `maxlen`
          entries: a dict's fields, or of any other record one field `value`;
        - "set": pairs (name, value) are set as keys `key` + name.

        Text and bytes are written as they are, numbers as text, anything else as JSON.
        `record(r)` makes of a record what is written. `options` are the client's, such as
        `ssl_ca_certs`; `timeout` is in seconds.

        Raises:
            IllegalArgumentError: An argument can't be used.
        """
        if write not in WRITES:
            msg = f"write is one of {', '.join(WRITES)}, not {write!r}"
            raise IllegalArgumentError(msg)
        if not key and write != "set":
            msg = f"write={write!r} needs a key to write to"
            raise IllegalArgumentError(msg)
        if maxlen is not None and (write != "stream" or maxlen < 1):
            msg = f"maxlen={maxlen} is a positive number, for write='stream'"
            raise IllegalArgumentError(msg)
        self.server = RedisServer.of(url, username, password, timeout, options)
        self.key = key
        self.how = write
        self.record = record
        self.maxlen = maxlen

    @property
    def identity(self) -> str:
        """Which key of which server."""
        return f"redis {self.server.url} {self.how} '{self.key}'"

    def open(self, output: str, run: int) -> Opening:
        """Keep the number of the run with the marks.

        Raises:
            SparkError: The server can't be reached or refuses.
        """
        with self.server.asked(f"begin output '{output}'") as client:
            known, newest = client.register_script(_OPEN)([_marks(output)], [run])
        return Opening(int(known), int(newest) if newest else None)

    def begin(self, batch: SinkBatch) -> Collection[int]:
        """Return the partitions whose mark is at the batch.

        Raises:
            StaleRunError: A newer run has taken over.
            PartitionsChangedError: Some were committed of another number of partitions.
            SparkError: The server can't be reached or refuses.
        """
        with self.server.asked(f"the marks of output '{batch.output}'") as client:
            found = client.hgetall(_marks(batch.output))
        check_run(batch, int(found.pop(b"run", 0)), self.identity)
        there: list[int] = []
        for part, mark in found.items():
            time_ms, partitions = map(int, mark.split())
            if time_ms == batch.time_ms:
                check_partitions(batch, partitions, self.identity)
            if time_ms >= batch.time_ms:
                there.append(int(part))
        return there

    def write(self, batch: SinkBatch, partition: int, records: Records[Any]) -> None:
        """Write one partition with its mark.

        Raises:
            StaleRunError: A newer run has taken over.
            SparkError: A record can't be written, there are too many, or the server can't
                be reached or refuses; then nothing is written.
        """
        args = self._args(batch, partition, records)
        first = (
            self.how,
            batch.run,
            partition,
            batch.time_ms,
            batch.partitions,
            _TYPES.get(self.how, ""),
            "" if self.maxlen is None else self.maxlen,
        )
        keys = [_marks(batch.output), *([self.key] if self.how != "set" else [])]
        what = (
            f"write partition {partition} of batch {batch.time_ms} ms to '{self.key}'"
        )
        with self.server.asked(what) as client:
            done = client.register_script(_WRITE)(keys, [*first, *args])
        if done == -1:
            raise stale_run(batch, self.identity)

    def check(self, records: Records[Any]) -> None:
        """Raise if some of these records can't be written."""
        take, make = self._taker(), self.record
        for each in records:
            take(each if make is None else make(each))

    def _taker(self) -> Callable[[Any], Sequence[bytes]]:
        takers: dict[str, Callable[[Any], Sequence[bytes]]] = {
            "hash": _pair,
            "set": self._named,
            "count": _counted,
            "list": _single,
            "stream": _entry,
        }
        return takers[self.how]

    def _args(
        self, batch: SinkBatch, partition: int, records: Records[Any]
    ) -> list[bytes]:
        take, make = self._taker(), self.record
        args: list[bytes] = []
        size = 0
        for number, each in enumerate(records, 1):
            taken = take(each if make is None else make(each))
            args += taken
            size += sum(map(len, taken))
            if number > _RECORDS_MAX or size > _BYTES_MAX:
                msg = (
                    f"partition {partition} of batch {batch.time_ms} ms has more than one "
                    f"script can write: {_RECORDS_MAX} records, {_BYTES_MAX >> 20} MiB"
                )
                raise SparkError(
                    msg, hint="repartition(n) the stream before writeTo, or limit rates"
                )
        return args

    def _named(self, record: Any) -> Sequence[bytes]:
        name, value = _pair(record)
        return self.key.encode() + name, value


def _marks(output: str) -> str:
    return f"millstream:{output}"


def _pair(record: Any) -> Sequence[bytes]:
    key, value = _two(record)
    return encoded(key), encoded(value)


def _counted(record: Any) -> Sequence[bytes]:
    field, amount = _two(record)
    is_number = isinstance(amount, int) and not isinstance(amount, bool)
    if not is_number or abs(amount) >= 1 << 63:
        msg = f"write='count' adds integers of 64 bits, not {amount!r:.100}"
        raise SparkError(msg, hint="round or scale it; or set it by write='hash'")
    return encoded(field), encoded(amount)


def _single(record: Any) -> Sequence[bytes]:
    return (encoded(record),)


def _entry(record: Any) -> Sequence[bytes]:
    fields = record if isinstance(record, Mapping) else {"value": record}
    if not fields:
        msg = "an entry of a stream has a field at least, and a record has none"
        raise SparkError(msg, hint="filter empty dicts out")
    flat = [encoded(each) for pair in fields.items() for each in pair]
    return str(len(flat)).encode(), *flat


def _two(record: Any) -> tuple[Any, Any]:
    if isinstance(record, tuple | list) and len(record) == 2:
        return record[0], record[1]
    msg = f"records are to be pairs, and {record!r:.100} isn't one"
    raise SparkError(msg, hint="map the stream to pairs, or give RedisSink(record=...)")
