"""ResumingReceiver: messages that a server pushes, and where to go on when that breaks.

A message may have a cursor, which the server takes to send what came after it. The cursor
of the newest message that is stored goes with every new connection. Kept in a file, it
also outlives the program: what comes after it is sent again, so nothing is missing as long
as the server still has it.
"""

import asyncio
import contextlib
import json
import logging
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import AsyncIterator, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from millstream.engine.base.clock import SystemClock
from millstream.engine.base.errors import SparkError
from millstream.engine.base.levels import StorageLevel
from millstream.engine.base.storage import open_storage
from millstream.engine.clients.web import retry_after_s
from millstream.engine.clients.web_delays import Ending, WebDelays
from millstream.engine.ingest.async_receiver import AsyncReceiver, Store
from millstream.engine.ingest.block_generator import (
    BlockGenerator,
    BlockGeneratorListener,
)

_log = logging.getLogger(__name__)

_WAITING_MAX = 1000  # Messages that have come and aren't in a block yet.
_AT_ONCE = 100  # So few that a rate limit lets them in before long.


@dataclass(frozen=True, slots=True)
class Message:
    """What came."""

    record: Any
    """What is stored; None: nothing, the message only has a cursor."""
    cursor: Any = None
    """Where to go on after it, as JSON has it; None: the message doesn't say."""
    key: Hashable = None
    """What makes it the same message when it comes again; None: that isn't known."""


class ConnectionBrokenError(SparkError):
    """A connection ended, or couldn't be made; another one may do better.

    Attributes:
        asked_s: For how long the server asked to be left alone.
    """

    def __init__(
        self, message: str, *, hint: str | None = None, asked_s: float | None = None
    ) -> None:
        """Say how it ended."""
        super().__init__(message, hint=hint)
        self.asked_s = asked_s


class ConnectionRefusedByServerError(SparkError):
    """A server said no, and will say so until somebody mends something."""


def error_of_status(
    status: int, reason: str, identity: str, retry_after: str | None = None
) -> SparkError:
    """Return the error for an HTTP answer that isn't the stream."""
    said = f"{identity} answered {status} {reason}".rstrip()
    if status in {408, 425, 429} or status >= 500:
        asked_s = retry_after_s(retry_after, SystemClock().now_ms())
        return ConnectionBrokenError(said, asked_s=asked_s)
    if status in {401, 403}:
        hint = "check the token: it must be valid and allow this stream"
    elif 300 <= status < 400:
        hint = "give the address that it redirects to"
    else:
        hint = "check the address and its parameters"
    return ConnectionRefusedByServerError(said, hint=hint)


class RecentKeys:
    """The keys of the messages that came last, a bounded number of them."""

    def __init__(self, most: int) -> None:
        """Remember `most` keys."""
        self._most = most
        self._keys: OrderedDict[Hashable, None] = OrderedDict()

    def new_among(self, messages: Sequence[Message]) -> list[Message]:
        """Return the messages that didn't come before, nor twice here."""
        found: list[Message] = []
        here: set[Hashable] = set()
        for each in messages:
            if each.key is None:
                found.append(each)
            elif each.key not in self._keys and each.key not in here:
                here.add(each.key)
                found.append(each)
        return found

    def add(self, messages: Sequence[Message]) -> None:
        """Remember messages."""
        for each in messages:
            if each.key is not None:
                self._keys[each.key] = None
        while len(self._keys) > self._most:
            self._keys.popitem(last=False)


class CursorFile:
    """A file that has the cursor of the newest message that is stored."""

    def __init__(self, uri: str, source: str) -> None:
        """Name the file; `source` is what the cursor is of."""
        self.uri = uri
        self._source = source

    def read(self) -> Any:
        """Return the cursor; None when there is no file yet.

        Raises:
            SparkError: The file has something else, or the cursor of another source.
        """
        storage, path = open_storage(self.uri)
        try:
            with storage.open_input(path) as file:
                data = file.read()
        except FileNotFoundError:
            return None
        try:
            kept = json.loads(data)
            source, cursor = kept["source"], kept["cursor"]
        except (ValueError, KeyError, TypeError) as error:
            msg = f"'{self.uri}' has no cursor in it"
            raise SparkError(
                msg,
                hint="name another file; or delete it, to begin with what comes now",
            ) from error
        if source != self._source:
            msg = f"the cursor in '{self.uri}' is of {source}, not of {self._source}"
            raise SparkError(msg, hint="each stream needs a cursor file of its own")
        return cursor

    def write(self, cursor: Any) -> None:
        """Keep a cursor, to outlive a power failure.

        Raises:
            DurabilityError: The file can't be written.
        """
        storage, path = open_storage(self.uri)
        data = json.dumps({"source": self._source, "cursor": cursor}).encode()
        storage.write_atomic(path, data)


class _Keeper(BlockGeneratorListener):
    """Stores blocks, then keeps the cursor of each block's last message."""

    def __init__(self, receiver: "ResumingReceiver") -> None:
        self._receiver = receiver
        self._newest: Any = None
        self._cursor_of: dict[str, Any] = {}
        self._stored = ""
        self._kept: Any = None

    def onAddData(self, data: Any, metadata: Any) -> None:
        del data
        if metadata is not None:
            self._newest = metadata

    def onGenerateBlock(self, blockId: str) -> None:
        self._cursor_of[blockId] = self._newest

    def onPushBlock(self, blockId: str, records: list[Any]) -> None:
        if self._stored != blockId:  # Else only the cursor is to be kept, once more.
            self._receiver.store(records)
            self._stored = blockId
        cursor = self._cursor_of[blockId]
        if cursor != self._kept:
            self._receiver.keep(cursor)
            self._kept = cursor
        del self._cursor_of[blockId]


class ResumingReceiver(AsyncReceiver[Any], ABC):
    """Connects, stores what comes, and connects again; override `messages`."""

    def __init__(
        self,
        *,
        delays: WebDelays | None = None,
        cursor_file: str | None = None,
        keys_max: int = 100_000,
        storageLevel: StorageLevel = StorageLevel.MEMORY_AND_DISK_2,
    ) -> None:
        """Keep the cursor in `cursor_file`, if there is to be one.

        `keys_max` is how many messages it can tell a repetition of.
        """
        super().__init__(storageLevel)
        self.delays = delays or WebDelays()
        self.cursor_file = cursor_file
        self.keys_max = keys_max
        self.cursor: Any = None
        """The newest one whose message is in a block, or is stored already."""
        self._blocks: BlockGenerator | None = None
        self._recent = RecentKeys(keys_max)
        self._is_ending = False

    @property
    @abstractmethod
    def identity(self) -> str:
        """What it reads, without any secret; stays the same when it is restarted."""

    @abstractmethod
    def messages(self, cursor: Any) -> AsyncIterator[Message]:
        """Connect, going on after `cursor` if there is one, and yield what comes.

        It ends when the server ends the connection.

        Raises:
            ConnectionBrokenError: It broke, or couldn't be made.
            ConnectionRefusedByServerError: The server won't have it.
        """

    def keep(self, cursor: Any) -> None:
        """Write down that all messages up to `cursor` are stored."""
        if self.cursor_file is not None:
            CursorFile(self.cursor_file, self.identity).write(cursor)

    def onStart(self) -> None:
        """Begin to make blocks, and to receive."""
        self._is_ending = False
        self._blocks = self.createBlockGenerator(_Keeper(self))
        self._blocks.start()
        super().onStart()

    def onStop(self) -> None:
        """Store what has come, and end the connection."""
        self._is_ending = True
        if self._blocks is not None:
            self._blocks.stop()
        super().onStop()

    async def run(self, store: Store) -> None:
        """Receive until cancelled; never returns."""
        del store  # Blocks are made by the generator, to know what is in each.
        if self.cursor is None and self.cursor_file is not None:
            file = CursorFile(self.cursor_file, self.identity)
            self.cursor = await asyncio.to_thread(file.read)
        while True:
            has_come = False
            try:
                async with self._pump() as pump, _closing(self) as messages:
                    async for message in messages:
                        has_come = True
                        await pump.put(message)
                problem: SparkError = ConnectionBrokenError(
                    f"{self.identity} ended the connection"
                )
            except (ConnectionBrokenError, ConnectionRefusedByServerError) as error:
                problem = error
            await asyncio.sleep(self._wait_s(problem, has_come=has_come))

    def _wait_s(self, problem: SparkError, *, has_come: bool) -> float:
        """Tell of a problem; return how long to wait before the next connection."""
        if isinstance(problem, ConnectionBrokenError):
            ending = Ending.DROPPED if has_come else Ending.FAILED
            wait_s = self.delays.after(ending, problem.asked_s)
        else:
            wait_s = self.delays.after(Ending.REFUSED)
        hint = f"; {problem.hint}" if problem.hint else ""
        self.reportError(f"{problem}{hint}; next try in {wait_s:g} s", problem)
        return wait_s

    @contextlib.asynccontextmanager
    async def _pump(self) -> AsyncIterator["_Pump"]:
        """Yield what takes messages to blocks; at the end all are taken there."""
        pump = _Pump(self)
        try:
            yield pump
        finally:
            await pump.end()

    def add(self, messages: Sequence[Message]) -> None:
        """Hand messages to the generator; may wait for the rate limit.

        Raises:
            SparkError: It takes nothing any more.
        """
        blocks = self._blocks
        assert blocks is not None, "started before messages come"
        new = self._recent.new_among(messages)
        cursors = [each.cursor for each in messages if each.cursor is not None]
        newest = cursors[-1] if cursors else None
        records = [each.record for each in new if each.record is not None]
        if records:
            blocks.addMultipleDataWithCallback(records, newest)
        # Only now: what is in a block is stored, or this receiver ends for good.
        self._recent.add(new)
        if newest is not None:
            self.cursor = newest

    @property
    def is_ending(self) -> bool:
        """Whether what is added is refused because the receiver ends."""
        return self._is_ending

    def __getstate__(self) -> dict[str, Any]:
        return {
            **super().__getstate__(),
            "_blocks": None,
            "_recent": RecentKeys(self.keys_max),
            # What another program has stored is in the cursor file, if anywhere.
            "cursor": None,
        }


class _Pump:
    """Takes messages to blocks in another thread: that may wait for the rate limit.

    Meanwhile the connection lives: pings are answered, and a bounded number of messages
    may wait.
    """

    def __init__(self, receiver: ResumingReceiver) -> None:
        self._receiver = receiver
        self._waiting: list[Message] = []
        self._changed = asyncio.Condition()
        self._is_closed = False
        self._task = asyncio.create_task(self._run())

    async def put(self, message: Message) -> None:
        async with self._changed:
            await self._changed.wait_for(
                lambda: len(self._waiting) < _WAITING_MAX or self._task.done()
            )
            if self._task.done():
                self._task.result()  # Raises what it raised.
            self._waiting.append(message)
            self._changed.notify_all()

    async def end(self) -> None:
        """Take over what waits, then end; when the receiver ends, end at once."""
        if self._receiver.is_ending:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            return
        async with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        await self._task

    async def _run(self) -> None:
        try:
            while some := await self._next():
                await asyncio.to_thread(self._receiver.add, some)
        except SparkError:
            if not self._receiver.is_ending:
                raise
        finally:
            async with self._changed:
                self._changed.notify_all()

    async def _next(self) -> list[Message]:
        async with self._changed:
            await self._changed.wait_for(lambda: self._waiting or self._is_closed)
            some, self._waiting = self._waiting[:_AT_ONCE], self._waiting[_AT_ONCE:]
            self._changed.notify_all()
            return some


@contextlib.asynccontextmanager
async def _closing(receiver: ResumingReceiver) -> AsyncIterator[AsyncIterator[Message]]:
    messages = receiver.messages(receiver.cursor)
    try:
        yield messages
    finally:
        close = getattr(messages, "aclose", None)
        if close is not None:
            await close()
