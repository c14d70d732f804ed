"""LedgerLog: the ledger's facts as lines of JSON, for the write-ahead log. A core: pure.

Metadata that receivers attach to blocks may be any Python value; it is pickled, the rest
can be read by people.
"""

import base64
import json
from typing import Any, assert_never

from millstream.engine.base import frames
from millstream.engine.base.errors import DurabilityError
from millstream.engine.streams.ledger import (
    BatchClosed,
    BatchesForgotten,
    BlockReceived,
    BlocksRefused,
    LedgerEvent,
    LogPosition,
    ReceivedBlock,
)


def encode(event: LedgerEvent) -> bytes:
    """Return an event's line."""
    match event:
        case BlockReceived(block):
            facts: dict[str, Any] = {"received": _block(block)}
        case BlocksRefused(block_ids):
            facts = {"refused": list(block_ids)}
        case BatchClosed(batch_ms, blocks):
            owned = {str(s): [_block(b) for b in each] for s, each in blocks.items()}
            facts = {"closed": batch_ms, "blocks": owned}
        case BatchesForgotten(batches_ms):
            facts = {"forgotten": list(batches_ms)}
        case _:
            assert_never(event)
    return json.dumps(facts, separators=(",", ":")).encode()


def decode(line: bytes) -> LedgerEvent:
    """Return the event in a line.

    Raises:
        DurabilityError: It holds none.
    """
    try:
        facts = json.loads(line)
        if "received" in facts:
            return BlockReceived(_read_block(facts["received"]))
        if "refused" in facts:
            return BlocksRefused(tuple(facts["refused"]))
        if "closed" in facts:
            owned = facts["blocks"].items()
            blocks = {int(s): tuple(map(_read_block, each)) for s, each in owned}
            return BatchClosed(facts["closed"], blocks)
        return BatchesForgotten(tuple(facts["forgotten"]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        msg = f"a record of the log of received blocks can't be read: {line[:80]!r}"
        raise DurabilityError(msg) from error


def _block(block: ReceivedBlock) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "stream": block.stream_id,
        "id": block.block_id,
        "records": block.record_count,
        "stored": block.stored_ms,
    }
    if block.logged is not None:
        facts["logged"] = [
            block.logged.path,
            block.logged.offset,
            block.logged.length,
        ]
    if block.metadata is not None:
        facts["metadata"] = base64.b85encode(frames.dumps(block.metadata)).decode()
    return facts


def _read_block(facts: dict[str, Any]) -> ReceivedBlock:
    logged, metadata = facts.get("logged"), facts.get("metadata")
    return ReceivedBlock(
        facts["stream"],
        facts["id"],
        facts["records"],
        None if metadata is None else frames.loads(base64.b85decode(metadata)),
        None if logged is None else LogPosition(*logged),
        facts.get("stored", 0),  # The first logs didn't say.
    )
