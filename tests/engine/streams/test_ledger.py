"""Tests of engine/streams/ledger.py."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from millstream.engine.streams.ledger import (
    BatchClosed,
    BlockLedger,
    BlockReceived,
    BlocksRefused,
    ReceivedBlock,
)


class LedgerMachine(RuleBasedStateMachine):
    """Random facts beside a model of two lists: waiting blocks and owned ones."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = BlockLedger((0, 1))
        self.known: list[ReceivedBlock] = []
        self.waiting: list[ReceivedBlock] = []
        self.owned: dict[int, list[ReceivedBlock]] = {}
        self.last: int | None = None

    @rule(stream=st.integers(0, 1), count=st.one_of(st.none(), st.integers(0, 9)))
    def receive(self, stream: int, count: int | None) -> None:
        """A block is stored."""
        block = ReceivedBlock(stream, f"b{len(self.known)}", count)
        self.known.append(block)
        self.waiting.append(block)
        self.ledger.apply(BlockReceived(block))

    @rule(stream=st.integers(0, 1), others=st.integers(0, 2))
    def refuse(self, stream: int, others: int) -> None:
        """A block wasn't taken after all, though the log may say that it was."""
        block = ReceivedBlock(stream, f"b{len(self.known)}", 1)
        self.known.append(block)
        if others:
            self.ledger.apply(BlockReceived(block))
        self.ledger.apply(BlocksRefused((block.block_id, "never heard of")))

    @rule(step=st.integers(-2, 3))
    def close(self, step: int) -> None:
        """A batch closes; an old one changes nothing."""
        batch = (self.last or 0) + step
        event = self.ledger.close(batch)
        if self.last is not None and batch <= self.last:
            assert event is None
            return
        assert isinstance(event, BatchClosed)
        self.ledger.apply(event)
        self.owned[batch], self.waiting, self.last = self.waiting, [], batch

    @rule(before=st.integers(-1, 12))
    def forget(self, before: int) -> None:
        """Old batches are forgotten."""
        self.ledger.apply(self.ledger.forget(before))
        self.owned = {t: blocks for t, blocks in self.owned.items() if t >= before}

    @invariant()
    def agrees(self) -> None:
        """Every block has the owner the model says."""
        self.ledger.check(self.known)
        assert self.ledger.has_waiting == bool(self.waiting)
        for stream in (0, 1):
            assert self.ledger.waiting.get(stream, []) == [
                b for b in self.waiting if b.stream_id == stream
            ]
            for batch, blocks in self.owned.items():
                assert self.ledger.blocks_of(batch, stream) == tuple(
                    b for b in blocks if b.stream_id == stream
                )
        assert self.ledger.blocks_of(99, 0) == ()


TestLedger = LedgerMachine.TestCase


def test_a_batch_that_nobody_believed_in_loses_its_blocks_to_the_next() -> None:
    """A log may have what writing to it seemed to fail at: replayed, the later one counts."""
    first, second = ReceivedBlock(0, "a", 1), ReceivedBlock(0, "b", 1)
    ledger = BlockLedger((0, 1))
    for event in (
        BlockReceived(first),
        BatchClosed(1000, {0: (first,), 1: ()}),
        BlockReceived(second),
        BatchClosed(2000, {0: (first, second), 1: ()}),
    ):
        ledger.apply(event)

    ledger.check([first, second])
    assert ledger.blocks_of(1000, 0) == ()
    assert ledger.blocks_of(2000, 0) == (first, second)


def test_the_oldest_block_says_how_far_back_logs_are_needed() -> None:
    """Waiting ones for the log of facts, owned ones too for the log of data."""
    ledger = BlockLedger((0,))
    assert (ledger.oldest_waiting_ms, ledger.oldest_ms) == (None, None)
    ledger.apply(BlockReceived(ReceivedBlock(0, "a", 1, stored_ms=10)))
    closed = ledger.close(1000)
    assert closed is not None
    ledger.apply(closed)
    ledger.apply(BlockReceived(ReceivedBlock(0, "b", 1, stored_ms=20)))

    assert (ledger.oldest_waiting_ms, ledger.oldest_ms) == (20, 10)


def test_a_negative_count_is_refused() -> None:
    """Nobody receives less than nothing."""
    with pytest.raises(ValueError, match="must not be negative"):
        ReceivedBlock(0, "b", -1)


def test_blocks_of_streams_that_are_gone_are_let_go() -> None:
    """They wait for nobody, and their ids mean nothing any more; others wait on."""
    ledger = BlockLedger((0,))
    ours, strange = ReceivedBlock(0, "ours", 1), ReceivedBlock(5, "strange", 2)
    for block in (ours, strange):
        ledger.apply(BlockReceived(block))

    assert ledger.abandon_strangers() == (strange,)
    assert ledger.abandon_strangers() == ()
    ledger.check([ours])
    assert ledger.close(1000) == BatchClosed(1000, {0: (ours,)})
