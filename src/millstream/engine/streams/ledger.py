"""BlockLedger: which block belongs to which batch. A core: pure.

A fold of facts: a block was received, or refused after all; a batch was closed over every
block that waited; batches were forgotten. The ledger proposes a fact, somebody makes it safe, then
the ledger is told to believe it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, assert_never


@dataclass(frozen=True, slots=True)
class LogPosition:
    """Where a block's data is in the write-ahead log of its receiver."""

    path: str
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class ReceivedBlock:
    """One stored block; `record_count` is None when nobody counted."""

    stream_id: int
    block_id: str
    record_count: int | None
    metadata: Any = None
    logged: LogPosition | None = None
    stored_ms: int = 0
    """When it was stored, for the logs; 0 when that isn't known."""

    def __post_init__(self) -> None:
        if self.record_count is not None and self.record_count < 0:
            msg = f"numRecords must not be negative, but was {self.record_count}"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True)
class BlockReceived:
    """A block is stored and waits for a batch."""

    block: ReceivedBlock


@dataclass(frozen=True, slots=True)
class BlocksRefused:
    """Whoever stored these blocks was told that they aren't taken.

    Writing that they were received had failed, and the log may have it nevertheless.
    """

    block_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BatchClosed:
    """A batch owns these blocks, by stream; no batch before it gets any more."""

    batch_ms: int
    blocks: Mapping[int, tuple[ReceivedBlock, ...]]


@dataclass(frozen=True, slots=True)
class BatchesForgotten:
    """Nobody will ask for these batches again."""

    batches_ms: tuple[int, ...]


LedgerEvent: TypeAlias = BlockReceived | BlocksRefused | BatchClosed | BatchesForgotten


@dataclass(slots=True)
class BlockLedger:
    """The blocks of `stream_ids`: waiting ones, and those of each closed batch."""

    stream_ids: tuple[int, ...]
    waiting: dict[int, list[ReceivedBlock]] = field(default_factory=dict)
    batches: dict[int, Mapping[int, tuple[ReceivedBlock, ...]]] = field(
        default_factory=dict
    )
    last_closed_ms: int | None = None
    forgotten_ms: int | None = None
    """The newest batch that was forgotten."""
    known: set[str] = field(default_factory=set)
    """The ids of all blocks that wait or are owned."""

    def close(self, batch_ms: int) -> BatchClosed | None:
        """Propose to close a batch over all that waits; None if it isn't a new one."""
        if self.last_closed_ms is not None and batch_ms <= self.last_closed_ms:
            return None
        blocks = {each: tuple(self.waiting.get(each, ())) for each in self.stream_ids}
        return BatchClosed(batch_ms, blocks)

    def forget(self, before_ms: int) -> BatchesForgotten:
        """Propose to forget batches before `before_ms`."""
        return BatchesForgotten(tuple(t for t in self.batches if t < before_ms))

    def apply(self, event: LedgerEvent) -> None:
        """Believe a fact. A block that is known already was told twice; once counts."""
        match event:
            case BlockReceived(block):
                if block.block_id not in self.known:
                    self.known.add(block.block_id)
                    self.waiting.setdefault(block.stream_id, []).append(block)
            case BlocksRefused(block_ids):
                self.known.difference_update(block_ids)
                for stream_id, waiting in self.waiting.items():
                    left = [each for each in waiting if each.block_id not in block_ids]
                    self.waiting[stream_id] = left
            case BatchClosed(batch_ms, blocks):
                for stream_id, owned in blocks.items():
                    self._take(stream_id, {block.block_id for block in owned})
                self.batches[batch_ms] = blocks
                self.last_closed_ms = batch_ms
            case BatchesForgotten(batches_ms):
                for batch_ms in batches_ms:
                    for owned in self.batches.pop(batch_ms, {}).values():
                        self.known.difference_update(b.block_id for b in owned)
                if batches_ms:
                    self.forgotten_ms = max(batches_ms)
            case _:
                assert_never(event)

    def _take(self, stream_id: int, taken: set[str]) -> None:
        """Let nobody else have these blocks, which a batch is closed over."""
        self.known |= taken
        waiting = self.waiting.get(stream_id, [])
        left = [block for block in waiting if block.block_id not in taken]
        self.waiting[stream_id] = left
        if len(waiting) - len(left) == len(taken):
            return
        # A batch was closed over them before, and the log had it although writing it
        # seemed to fail: nobody believed it then, and the later batch had them.
        for batch_ms, owned in self.batches.items():
            kept = tuple(
                block
                for block in owned.get(stream_id, ())
                if block.block_id not in taken
            )
            if len(kept) < len(owned.get(stream_id, ())):
                self.batches[batch_ms] = {**owned, stream_id: kept}

    def blocks_of(self, batch_ms: int, stream_id: int) -> tuple[ReceivedBlock, ...]:
        """Return a batch's blocks of one stream; none for an unknown batch."""
        return self.batches.get(batch_ms, {}).get(stream_id, ())

    def abandon_strangers(self) -> tuple[ReceivedBlock, ...]:
        """Let go of blocks that wait for streams which aren't there, and return them."""
        left = [
            block
            for stream_id, blocks in self.waiting.items()
            if stream_id not in self.stream_ids
            for block in blocks
        ]
        for block in left:
            self.known.discard(block.block_id)
            self.waiting.pop(block.stream_id, None)
        return tuple(left)

    @property
    def has_waiting(self) -> bool:
        """Whether a block waits for a batch."""
        return any(self.waiting.values())

    @property
    def oldest_waiting_ms(self) -> int | None:
        """When the oldest block that waits was stored; None when none does."""
        return _oldest_ms([self.waiting])

    @property
    def oldest_ms(self) -> int | None:
        """When the oldest block that waits or is owned was stored; None without any."""
        return _oldest_ms([self.waiting, *self.batches.values()])

    def check(self, known: Iterable[ReceivedBlock]) -> None:
        """Assert that every known block has one owner at most."""
        owners = [b.block_id for blocks in self.waiting.values() for b in blocks]
        for owned in self.batches.values():
            owners += [b.block_id for blocks in owned.values() for b in blocks]
        assert len(owners) == len(set(owners)), "a block has two owners"
        assert set(owners) <= {b.block_id for b in known}, "a block came from nowhere"
        assert set(owners) == self.known, "the ledger doesn't know its own blocks"


def _oldest_ms(
    by_stream: Iterable[Mapping[int, Iterable[ReceivedBlock]]],
) -> int | None:
    return min(
        (b.stored_ms for each in by_stream for blocks in each.values() for b in blocks),
        default=None,
    )
