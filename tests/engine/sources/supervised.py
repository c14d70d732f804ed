"""A receiver under a real supervisor, with blocks kept in a list and a clock that stands."""

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, Self

from millstream.engine.base.clock import ManualClock
from millstream.engine.base.config import Settings
from millstream.engine.base.levels import StorageLevel
from millstream.engine.ingest.block_handler import StoredBlock
from millstream.engine.ingest.receiver import Receiver
from millstream.engine.ingest.supervisor import ReceiverSupervisor
from millstream.engine.plan.partitions import FrozenText


class Supervised:
    """Runs a receiver while it is entered; is its owner and its block handler, too."""

    def __init__(self, receiver: Receiver[Any], **conf: str) -> None:
        """Take `conf` for `spark.streaming.` settings."""
        self.receiver = receiver
        self.changed = threading.Condition()
        self.blocks: list[list[Any]] = []
        self.stops: list[str] = []
        self.errors: list[str] = []
        self.starts = 0
        self.refuses: Callable[[list[Any]], bool] = lambda _records: False
        """Which blocks can't be stored."""
        self.numbers: Iterator[int] = itertools.count()
        self.clock = ManualClock()
        settings = Settings({f"spark.streaming.{k}": v for k, v in conf.items()})
        self._stored: dict[str, list[Any]] = {}
        self._supervisor = ReceiverSupervisor(
            0, receiver, self, self, settings, self.clock
        )
        self._thread = threading.Thread(
            target=lambda: self._supervisor.run(lambda: False)
        )

    @property
    def records(self) -> list[Any]:
        """All that is stored."""
        with self.changed:
            return [record for block in self.blocks for record in block]

    def wait_until(self, holds: Callable[[], bool], wait_s: float = 10.0) -> None:
        """Wait for what storing, starting, stopping and errors bring about."""
        with self.changed:
            assert self.changed.wait_for(holds, wait_s), "it never happened"

    def restart_now(self) -> None:
        """Wait for the pause before a restart, and let it be over."""
        starts = self.starts
        assert self.clock.wait_until_someone_waits(10, lambda due: max(due) >= 2000)
        self.clock.advance_ms(64_000)
        self.wait_until(lambda: self.starts > starts)

    def cut(self) -> None:
        """Store the single records that have been taken."""
        self._supervisor.cut()

    def __enter__(self) -> Self:
        self._thread.start()
        self.wait_until(lambda: self.starts > 0)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._supervisor.stop("test ends")
        self._thread.join(10)
        self._supervisor.join()
        assert not self._thread.is_alive()

    # The owner's and the handler's part.

    def register(self, stream_id: int, name: str) -> bool:
        with self.changed:
            self.starts += 1
            self.changed.notify_all()
        return True

    def deregister(self, stream_id: int, message: str, error: str) -> None:
        with self.changed:
            self.stops.append(message)
            self.changed.notify_all()

    def report_error(self, stream_id: int, message: str, error: str) -> None:
        with self.changed:
            self.errors.append(message)
            self.changed.notify_all()

    def storing(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def store(
        self, block_id: str, records: Sequence[Any] | FrozenText, level: StorageLevel
    ) -> StoredBlock:
        assert not isinstance(records, FrozenText), "nobody stores text"
        self._stored[block_id] = list(records)
        return StoredBlock(block_id, len(records), 0)

    def discard(self, block_id: str) -> None:
        del self._stored[block_id]

    def add_block(self, stream_id: int, stored: StoredBlock, metadata: Any) -> bool:
        records = self._stored[stored.block_id]
        if self.refuses(records):
            return False
        with self.changed:
            self.blocks.append(records)
            self.changed.notify_all()
        return True
