"""AsyncReceiver: a receiver that is one coroutine."""

import contextlib
import logging
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

from millstream.engine.base.errors import SparkError
from millstream.engine.base.levels import StorageLevel
from millstream.engine.base.threads import ThreadPool
from millstream.engine.ingest.receiver import Receiver, is_block

_log = logging.getLogger(__name__)

_STOP_S = 10.0
_STORING_THREADS = 4

T = TypeVar("T")


class Store(Protocol):
    """What an `AsyncReceiver` hands its data to: `Receiver.store`, awaited."""

    async def __call__(self, data: Any, metadata: Any = None) -> None:
        """Hand over a record or a block, told apart as `Receiver.store` does.

        With a block it returns when the block is stored: acknowledge after it. With one
        record it returns when the record is accepted, once the rate limit lets it in. The
        event loop goes on meanwhile; an iterator is read in another thread.

        Raises:
            SparkError: It can't be stored.
        """
        ...


class AsyncReceiver(Receiver[T], Generic[T]):
    """Subclass it and override `run`, a coroutine that receives until it is cancelled.

    It runs in an event loop of its own, in one daemon thread. When the receiver is told to
    stop, the coroutine is cancelled and awaited. When it raises, or returns by itself, the
    receiver restarts.
    """

    def __init__(
        self, storageLevel: StorageLevel = StorageLevel.MEMORY_AND_DISK_2
    ) -> None:
        """Keep received blocks at `storageLevel`."""
        super().__init__(storageLevel)
        self._life: _Life | None = None

    async def run(self, store: Store) -> None:
        """Receive, and `await store(...)` what comes.

        Called in a loop that is new after each restart: make connections, locks and queues
        here. What has to be closed belongs into `finally` or `async with`.
        """
        raise NotImplementedError

    def onStart(self) -> None:
        """Run the coroutine, in a thread."""
        self._life = _Life(self)
        self._life.start()

    def onStop(self) -> None:
        """Cancel the coroutine, and wait until it has ended."""
        life, self._life = self._life, None
        if life is not None:
            life.stop()

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_life": None}


class _Life:
    """One run of the coroutine: from `onStart` to `onStop`."""

    def __init__(self, receiver: AsyncReceiver[Any]) -> None:
        self._receiver = receiver
        self._supervisor = receiver._attached()
        self._lock = threading.Lock()
        self._is_stopping = False
        self._cancel: Callable[[], object] | None = None
        name = f"millstream-async-{receiver.streamId}"
        # For calls that may wait; the pool's threads start when there is one.
        self._pool = ThreadPool(_STORING_THREADS, f"{name}-store")
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Cancel the coroutine and wait, bounded; from the coroutine itself, don't wait."""
        with self._lock:
            self._is_stopping = True
            if self._cancel is not None:
                self._cancel()
        if self._thread is not threading.current_thread():
            self._thread.join(_STOP_S)
            if self._thread.is_alive():
                _log.warning("a coroutine didn't end thread=%s", self._thread.name)
        self._pool.close(_STOP_S)

    def _run(self) -> None:
        import asyncio  # noqa: PLC0415  Programs without such a receiver don't need it.

        error: BaseException | None = None
        try:
            asyncio.run(self._receive())
        except BaseException as raised:  # The thread's outermost frame.
            error = raised
        with self._lock:
            is_stopping = self._is_stopping
        if not is_stopping:
            if error is None:
                kind = type(self._receiver).__name__
                self._supervisor.restart(f"{kind} had no more data", None, None)
            else:
                self._supervisor.restart("Error receiving data", error, None)
        elif error is not None and not isinstance(error, asyncio.CancelledError):
            _log.warning("a coroutine that was cancelled raised", exc_info=error)

    async def _receive(self) -> None:
        import asyncio  # noqa: PLC0415  See `_run`.

        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None, "a coroutine runs in a task"
        with self._lock:
            if self._is_stopping:
                return
            self._cancel = partial(loop.call_soon_threadsafe, task.cancel)
        try:
            await self._receiver.run(self._store)
        finally:
            with self._lock:  # The loop closes next.
                self._cancel = None

    async def _store(self, data: Any, metadata: Any = None) -> None:
        import asyncio  # noqa: PLC0415  See `_run`.

        if is_block(data) or not self._supervisor.push_one_nowait(data):
            await self._in_thread(partial(self._receiver.store, data, metadata))
        else:
            await asyncio.sleep(
                0
            )  # Or a coroutine that only stores can't be cancelled.

    async def _in_thread(self, work: Callable[[], None]) -> None:
        import asyncio  # noqa: PLC0415  See `_run`.

        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()

        def settle(error: Exception | None) -> None:
            if done.cancelled():
                return
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)

        def run() -> None:
            failed: Exception | None = None
            try:
                work()
            except Exception as error:
                failed = error
            with contextlib.suppress(RuntimeError):  # Nobody waits in a closed loop.
                loop.call_soon_threadsafe(settle, failed)

        if not self._pool.submit(run):
            msg = "Cannot store data as the receiver has been stopped"
            raise SparkError(msg, hint="don't store in what runs after a cancellation")
        await done
