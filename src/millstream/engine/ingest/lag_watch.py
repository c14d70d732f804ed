"""LagWatch: asks a receiver's source now and then how far behind it is."""

import logging
import threading

from millstream.engine.base.seldom import Seldom
from millstream.engine.ingest.lag import Lag, TellsLag

_log = logging.getLogger(__name__)

_EVERY_S = 5.0
_UNKNOWN_S = 1.0
"""A group or a server that isn't there yet may be in a moment."""
_TIMEOUT_S = 5.0
_JOIN_S = 0.5


class LagWatch:
    """From `start` to `stop`, in a thread of its own: neither batches nor receivers wait."""

    def __init__(self, stream_id: int, source: TellsLag) -> None:
        """Ask `source` every five seconds, however often `lag` is looked at."""
        self._stream_id = stream_id
        self._source = source
        self._seldom = Seldom(_log)
        self._is_over = threading.Event()
        self._lag = Lag(None, source.lag_unit)
        self._thread = threading.Thread(
            target=self._run, name=f"millstream-lag-{stream_id}", daemon=True
        )

    @property
    def lag(self) -> Lag:
        """What the source said last; not known when it didn't answer, or was never asked."""
        return self._lag

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop_soon(self) -> None:
        """Ask no more."""
        self._is_over.set()

    def join(self) -> None:
        """Wait for the end, but hardly for a source that doesn't answer just now."""
        self._thread.join(_JOIN_S)

    def _run(self) -> None:
        while not self._is_over.is_set():
            try:
                self._lag = self._source.ask_lag(_TIMEOUT_S)
            except Exception as error:  # The thread's outermost frame, of any source.
                self._lag = self._lag.unknown
                self._seldom.warning(
                    "it isn't known how far behind a stream is stream=%d: %s",
                    self._stream_id,
                    error,
                    key=self._stream_id,
                )
            is_known = self._lag.amount is not None
            self._is_over.wait(_EVERY_S if is_known else _UNKNOWN_S)
