"""Tests of streams/ledger_log.py."""

import pytest

from millstream.engine.base.errors import DurabilityError
from millstream.engine.streams import ledger_log
from millstream.engine.streams.ledger import (
    BatchClosed,
    BatchesForgotten,
    BlockReceived,
    BlocksRefused,
    LedgerEvent,
    LogPosition,
    ReceivedBlock,
)

BLOCK = ReceivedBlock(
    3, "input-3-7", None, {"offset": (1, 2)}, LogPosition("/log", 8, 9), 1234
)


@pytest.mark.parametrize(
    "event",
    [
        BlockReceived(BLOCK),
        BlockReceived(ReceivedBlock(0, "b", 5)),
        BlocksRefused(("input-3-7", "input-3-8")),
        BatchClosed(1000, {3: (BLOCK,), 4: ()}),
        BatchesForgotten((1000, 2000)),
    ],
)
def test_events_come_back_equal(event: LedgerEvent) -> None:
    """Metadata and positions included."""
    assert ledger_log.decode(ledger_log.encode(event)) == event


def test_the_first_logs_did_not_say_when_a_block_was_stored() -> None:
    """They can be read: it isn't known, then."""
    line = b'{"received":{"stream":0,"id":"b","records":5}}'

    assert ledger_log.decode(line) == BlockReceived(ReceivedBlock(0, "b", 5))


@pytest.mark.parametrize("line", [b"", b"[]", b"{}", b'{"received": {}}', b"\xff"])
def test_what_is_no_event_is_an_error(line: bytes) -> None:
    """It shows what it found."""
    with pytest.raises(DurabilityError, match="can't be read"):
        ledger_log.decode(line)
