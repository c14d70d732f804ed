"""Receiver: the base class of whatever brings records in."""

import threading
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from millstream.engine.base import frames
from millstream.engine.base.errors import IllegalStateError, SparkError
from millstream.engine.base.levels import StorageLevel
from millstream.engine.ingest.block_generator import (
    BlockGenerator,
    BlockGeneratorListener,
)

if TYPE_CHECKING:
    from millstream.engine.ingest.supervisor import ReceiverSupervisor

T = TypeVar("T")

_PICKLED = (bytes, bytearray, memoryview)


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
        """Hand over what was received, from any thread.

        - A list, iterator or generator is one block; an iterator is read to its end here.
        - `bytes`, `bytearray` or `memoryview` is one block that is serialised already: a
          pickled list of records. **Unpickling runs code that its maker chose**: never
          store such bytes of a sender that you don't trust. To store bytes as a record,
          put them in a list.
        - Anything else, a tuple too, is one record.

        A call with a block returns when it is stored: what a reliable receiver
        acknowledges after. Then a crash before the acknowledgement makes the source send
        again, and nothing is lost. A single record is stored with others a little later;
        the call may wait for the rate limit. Each call may wait while too many batches do.

        Raises:
            SparkError: It can't be stored.
            IllegalStateError: The receiver hasn't started.
        """
        supervisor = self._attached()
        if is_block(data):
            supervisor.push_block(_records_of(data), metadata)
        else:
            supervisor.push_one(data)

    def storeMany(self, records: list[Any]) -> None:
        """Hand over records that are stored with others, as by `store` one by one."""
        self._attached().push_many(records)

    def storeText(self, data: bytes) -> None:
        r"""Hand over text of whole lines; each line is a record, stored with others.

        As `storeMany` with the lines, but nothing is done for each of them here: they are
        bytes until a task reads them. Lines end with \n, \r or both; the last one ends with
        the call, and so cut data after a line's end only. Bytes that aren't UTF-8 become
        U+FFFD.
        """
        self._attached().push_text(bytes(data))

    def createBlockGenerator(self, listener: BlockGeneratorListener) -> BlockGenerator:
        """Return a block generator of this receiver's own, not started yet.

        Call it in `onStart`. The rate limit holds for it, and it ends with the receiver.

        Raises:
            IllegalStateError: The receiver hasn't started.
        """
        return BlockGenerator(self._attached().create_maker(listener))

    def restart(
        self,
        message: str,
        error: BaseException | None = None,
        millisecond: int | None = None,
    ) -> None:
        """Stop, wait, and start again, in the background; returns at once.

        Without `millisecond` the wait is `spark.streaming.receiverRestartDelay`, and twice
        as long after each short life: up to 30 times, 60 s at most.
        """
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


def is_block(data: Any) -> bool:
    """Say whether `Receiver.store` makes a block of `data`."""
    return isinstance(data, (list, Iterator, Generator, *_PICKLED))


def _records_of(block: Any) -> list[Any]:
    if not isinstance(block, _PICKLED):
        return list(block)
    try:
        records = frames.loads(block)
    except Exception as error:
        what = "can't be unpickled"
        raise _not_pickled(what) from error
    if not isinstance(records, list):
        what = f"hold a {type(records).__name__}"
        raise _not_pickled(what)
    return records


def _not_pickled(what: str) -> SparkError:
    return SparkError(
        f"bytes are stored as a pickled list of records, but these {what}",
        hint="to store bytes as a record, put them in a list: store([data])",
    )
