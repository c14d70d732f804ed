"""Tests of engine/streams/ledger.py."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from millstream.engine.streams.ledger import (
    BatchClosed,
    BlockLedger,
    BlockReceived,
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


def test_a_negative_count_is_refused() -> None:
    """Nobody receives less than nothing."""
    with pytest.raises(ValueError, match="must not be negative"):
        ReceivedBlock(0, "b", -1)
