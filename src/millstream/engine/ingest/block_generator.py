"""BlockGenerator: blocks that a receiver makes itself, to know what is in each.

For reliable receivers: the listener notes the offsets of what is added, learns which of
them are in a block, stores the block, and only then acknowledges them to the source.
"""

from collections.abc import Iterable
from typing import Any

from millstream.engine.ingest.block_maker import BlockGeneratorListener, BlockMaker

__all__ = ["BlockGenerator", "BlockGeneratorListener"]


class BlockGenerator:
    """A receiver's own block generator, made by `Receiver.createBlockGenerator`.

    Start it in `onStart`, stop it in `onStop`. Methods may be called from many threads.
    """

    def __init__(self, maker: BlockMaker) -> None:
        """Give `maker` Spark's names."""
        self._maker = maker

    def start(self) -> None:
        """Begin to take data and to make blocks.

        Raises:
            SparkError: It has been started or stopped before.
        """
        self._maker.start()

    def stop(self) -> None:
        """Take no more data; return when all that was taken has been pushed."""
        self._maker.stop()

    def isActive(self) -> bool:
        """Say whether data is taken."""
        return self._maker.is_active

    def isStopped(self) -> bool:
        """Say whether the generator has been stopped."""
        return self._maker.is_stopped

    def addData(self, data: Any) -> None:
        """Add one record, without a word to the listener; may wait for the rate limit.

        Raises:
            SparkError: The generator isn't active.
        """
        self._maker.add(data)

    def addDataWithCallback(self, data: Any, metadata: Any) -> None:
        """Add one record and call `onAddData`, as one step.

        Raises:
            SparkError: The generator isn't active.
        """
        self._maker.add_noted(data, metadata)

    def addMultipleDataWithCallback(
        self, dataIterator: Iterable[Any], metadata: Any
    ) -> None:
        """Add records and call `onAddData` once with their list: one block has them all.

        Raises:
            SparkError: The generator isn't active; nothing was added.
        """
        self._maker.add_all_noted(dataIterator, metadata)
