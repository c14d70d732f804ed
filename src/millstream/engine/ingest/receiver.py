"""Receiver: the base class of whatever brings records in."""

import threading
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from millstream.engine.base.errors import IllegalStateError
from millstream.engine.base.levels import StorageLevel

if TYPE_CHECKING:
    from millstream.engine.ingest.supervisor import ReceiverSupervisor

T = TypeVar("T")


class Receiver(Generic[T]):
    """Subclass it and override `onStart` and `onStop`.

    `onStart` starts whatever receives, in threads of its own, and returns at once;
    `onStop` ends it. Neither is called while the other runs. Records are handed over with
    `store`, from any thread.
    """

    def __init__(
        self,
        storageLevel: StorageLevel = StorageLevel.MEMORY_AND_DISK_2,
    ) -> None:
        """Keep received blocks at `storageLevel`."""
        self.storageLevel = storageLevel
        self._supervisor: ReceiverSupervisor | None = None

    def onStart(self) -> None:
        """Start to receive; must return at once."""
        raise NotImplementedError

    def onStop(self) -> None:
        """Stop to receive and give up resources; must return soon."""
        raise NotImplementedError

    @property
    def preferredLocation(self) -> str | None:
        """The host to run on, or None."""
        return None

    def store(self, data: Any, metadata: Any = None) -> None:
        """Hand over what was received.

        A list, iterator or generator becomes one block, and the call returns when it is
        stored: what a reliable receiver acknowledges after. Anything else is one record,
        stored with others a little later.

        Raises:
            SparkError: It can't be stored.
        """
        supervisor = self._attached()
        if isinstance(data, list | Iterator | Generator):
            supervisor.push_block(list(data), metadata)
        else:
            supervisor.push_one(data)

    def storeMany(self, records: list[Any]) -> None:
        """Hand over records that are stored with others, as by `store` one by one."""
        self._attached().push_many(records)

    def restart(
        self,
        message: str,
        error: BaseException | None = None,
        millisecond: int | None = None,
    ) -> None:
        """Stop, wait, and start again, in the background; returns at once."""
        self._attached().restart(message, error, millisecond)

    def stop(self, message: str, error: BaseException | None = None) -> None:
        """Stop for good; the tracker launches the receiver anew."""
        self._attached().stop(message, error)

    def reportError(self, message: str, throwable: BaseException) -> None:
        """Tell listeners of an error; the receiver goes on."""
        self._attached().report_error(message, throwable)

    def isStarted(self) -> bool:
        """Say whether the receiver runs."""
        return self._attached().is_started

    def isStopped(self) -> bool:
        """Say whether the receiver has been told to stop; loops must ask."""
        return self._attached().is_stopped

    @property
    def streamId(self) -> int:
        """The id of the input stream."""
        return self._attached().stream_id

    def _attached(self) -> "ReceiverSupervisor":
        if self._supervisor is None:
            msg = (
                "A ReceiverSupervisor has not been attached to the receiver yet. Maybe "
                "you are starting some computation in the receiver before the "
                "Receiver.onStart() has been called."
            )
            raise IllegalStateError(msg)
        return self._supervisor

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_supervisor": None}

    def _run_in_thread(self, work: Callable[[], None], name: str) -> threading.Thread:
        """Run `work` in a daemon thread, for receivers of this package."""
        thread = threading.Thread(target=work, name=name, daemon=True)
        thread.start()
        return thread
