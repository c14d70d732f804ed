"""CollectorPauses: Python's garbage collector kept off the batches' path.

What exists when the stream starts is frozen: never looked at again. Automatic collections
are off; a young one runs after each batch, a full one now and then, when no batch waits.
Where the JVM's users tune flags, there is one setting: `spark.millstream.gc`.
"""

import gc
from dataclasses import dataclass

from millstream.engine.base.clock import monotonic_s

_FULL_EVERY = 200


@dataclass(slots=True)
class CollectorPauses:
    """Collects between batches and measures what it costs."""

    is_active: bool
    batches: int = 0
    collections: int = 0
    last_pause_ms: float = 0.0
    longest_pause_ms: float = 0.0
    total_pause_ms: float = 0.0
    _was_enabled: bool = True

    def start(self) -> None:
        """Freeze what there is and turn automatic collection off."""
        if self.is_active:
            self._was_enabled = gc.isenabled()
            gc.disable()
            gc.freeze()

    def stop(self) -> None:
        """Put everything back as it was."""
        if self.is_active:
            gc.unfreeze()
            if self._was_enabled:
                gc.enable()

    def after_batch(self, waiting_batches: int) -> None:
        """Collect, if no batch waits for the processor; called after each batch."""
        self.batches += 1
        if not self.is_active or (waiting_batches and self.batches % _FULL_EVERY):
            return
        begin = monotonic_s()
        gc.collect(2 if self.batches % _FULL_EVERY == 0 else 0)
        pause = (monotonic_s() - begin) * 1000
        self.collections += 1
        self.last_pause_ms = pause
        self.total_pause_ms += pause
        self.longest_pause_ms = max(self.longest_pause_ms, pause)
