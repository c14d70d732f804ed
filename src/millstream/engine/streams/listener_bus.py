"""ListenerBus: events handed to listeners, off the path that made them."""

import logging
import queue
import threading
from collections.abc import Callable

from millstream.engine.streams.events import StreamingEvent

_log = logging.getLogger(__name__)

_WAITING_MAX = 10_000
_DRAIN_S = 10.0

Listener = Callable[[StreamingEvent], None]


class ListenerBus:
    """Delivers events in order, on one thread; a listener that raises is logged.

    Without listeners nothing is queued and no thread runs. When more than 10,000 events
    wait, further ones are dropped, and the log says so once.
    """

    def __init__(self) -> None:
        """Start without listeners."""
        self._lock = threading.Lock()
        self._listeners: dict[object, Listener] = {}
        self._waiting: queue.Queue[StreamingEvent | None] = queue.Queue(_WAITING_MAX)
        self._thread: threading.Thread | None = None
        self._is_stopped = False
        self._has_dropped = False

    def add(self, key: object, listener: Listener) -> None:
        """Deliver later events to `listener`, known by `key`."""
        with self._lock:
            self._listeners[key] = listener
            if self._thread is None and not self._is_stopped:
                self._thread = threading.Thread(
                    target=self._run, name="millstream-listeners", daemon=True
                )
                self._thread.start()

    def remove(self, key: object) -> None:
        """Deliver nothing more to the listener known by `key`."""
        with self._lock:
            self._listeners.pop(key, None)

    def post(self, event: StreamingEvent) -> None:
        """Queue an event; never blocks."""
        if not self._listeners:
            return
        try:
            self._waiting.put_nowait(event)
        except queue.Full:
            if not self._has_dropped:
                self._has_dropped = True
                _log.error("listeners are too slow: events are dropped")

    @property
    def is_current(self) -> bool:
        """Whether the caller runs on the listeners' thread."""
        return self._thread is threading.current_thread()

    def stop(self) -> None:
        """Deliver what waits, then end."""
        with self._lock:
            self._is_stopped = True
            thread = self._thread
        if thread is not None:
            self._waiting.put(None)
            thread.join(_DRAIN_S)

    def _run(self) -> None:
        while (event := self._waiting.get()) is not None:
            with self._lock:
                listeners = list(self._listeners.values())
            for listener in listeners:
                try:
                    listener(event)
                except (Exception, SystemExit):  # Of a thread it would be silent.
                    _log.exception(
                        "a streaming listener raised event=%s", type(event).__name__
                    )
