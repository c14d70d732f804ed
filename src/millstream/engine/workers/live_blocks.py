"""LiveBlocks: blocks of rows that a worker has made, kept as the objects that they are.

A block that workers hold is bytes, which who reads it makes objects of. The worker that made
it has them already: the state of a stream, which its next batch reads, or a kept partition.
Columns need nothing of the kind: they are mapped as they are.
"""

from collections import OrderedDict

from millstream.engine.columnar.blocks import Frozen
from millstream.engine.durable import frozen_bytes
from millstream.engine.plan.partitions import FrozenRows

_MAX_BYTES = 256 << 20


class LiveBlocks:
    """The latest blocks of rows, up to a number of bytes; for one thread."""

    def __init__(self, max_bytes: int = _MAX_BYTES) -> None:
        """Start without any."""
        self._max_bytes = max_bytes
        self._blocks: OrderedDict[str, tuple[FrozenRows, int]] = OrderedDict()
        self._used_bytes = 0

    def add(self, key: str, block: Frozen) -> None:
        """Keep a block, if it is objects that nobody can change."""
        if not isinstance(block, FrozenRows) or block.shared is None:
            return
        size = frozen_bytes.size_bytes(block)
        self._blocks[key] = block, size
        self._used_bytes += size
        while self._used_bytes > self._max_bytes:
            _, (_, gone) = self._blocks.popitem(last=False)
            self._used_bytes -= gone

    def get(self, key: str) -> FrozenRows | None:
        """Return a block, if it is still there."""
        found = self._blocks.get(key)
        if found is None:
            return None
        self._blocks.move_to_end(key)
        return found[0]
