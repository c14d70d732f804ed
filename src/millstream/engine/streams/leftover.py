"""Leftover: what receivers had stored when a stream ended, and no finished batch has had.

Read from the logs below a checkpoint directory, without changing them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from millstream.engine.base.config import Settings
from millstream.engine.durable.write_ahead_log import BatchedLog
from millstream.engine.streams import ledger_log, received_logs
from millstream.engine.streams.ledger import BlockLedger, ReceivedBlock
from millstream.engine.streams.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Leftover:
    """The blocks of one source that wait in the log of received data."""

    blocks: int
    records: int
    """Those of blocks that were counted."""


def find_leftovers(manifest: Manifest, directory: str) -> dict[str, Leftover]:
    """Return what waits for each source of a checkpoint, by name; where nothing, nothing.

    Blocks whose data isn't logged went with the process, and don't count.

    Raises:
        DurabilityError, OSError: The log is damaged, or can't be read.
    """
    settings = Settings(manifest.conf)
    log = BatchedLog(received_logs.open_ledger(settings, directory))
    try:
        ledger = BlockLedger(tuple(source.id for source in manifest.sources))
        for line in log.read_all():
            ledger.apply(ledger_log.decode(line))
    finally:
        log.close()
    names = {source.id: source.name for source in manifest.sources}
    return dict(_by_source(_unfinished(ledger, manifest), names))


def _unfinished(ledger: BlockLedger, manifest: Manifest) -> Iterable[ReceivedBlock]:
    for blocks in ledger.waiting.values():
        yield from blocks
    pending = set(manifest.pending_ms)
    for batch_ms, owned in ledger.batches.items():
        # Batches after the checkpoint were closed, and it isn't known that they ran.
        if batch_ms in pending or batch_ms > manifest.time_ms:
            for each in owned.values():
                yield from each


def _by_source(
    blocks: Iterable[ReceivedBlock], names: Mapping[int, str]
) -> Iterable[tuple[str, Leftover]]:
    found: dict[str, list[ReceivedBlock]] = {}
    for block in blocks:
        if block.logged is not None and block.stream_id in names:
            found.setdefault(names[block.stream_id], []).append(block)
    for name, each in found.items():
        yield name, Leftover(len(each), sum(b.record_count or 0 for b in each))
