"""RateLimit: how many records a second may come in. The counting is pure."""

import threading
from dataclasses import dataclass

from millstream.engine.base.clock import Clock

_LOOK_MS = 2000
"""How often who waits looks whether the rate has changed."""


@dataclass(slots=True)
class TokenBucket:
    """Permits that fill up at a rate, a second's worth at most. A core: pure."""

    per_second: float
    permits: float = 0.0
    filled_ms: float = 0.0

    def wait_ms(self, count: int, now_ms: float) -> float:
        """Take `count` permits and return how long to wait before using them.

        Permits may go below nothing: who takes many at once pays by waiting, and so the
        average never exceeds the rate.
        """
        self._fill(now_ms)
        self.permits -= count
        return max(0.0, -self.permits * 1000 / self.per_second)

    def take_nowait(self, count: int, now_ms: float) -> bool:
        """Take `count` permits if so many are there; say whether."""
        self._fill(now_ms)
        if self.permits < count:
            return False
        self.permits -= count
        return True

    def _fill(self, now_ms: float) -> None:
        passed = max(0.0, now_ms - self.filled_ms)
        self.filled_ms = max(self.filled_ms, now_ms)
        filled = self.permits + passed * self.per_second / 1000
        self.permits = min(filled, self.per_second)


class RateLimit:
    """Makes threads wait so that records come in no faster than allowed. Thread-safe."""

    def __init__(self, per_second_max: int | None, clock: Clock) -> None:
        """Allow `per_second_max` records a second; None, 0 or less is no limit."""
        self._clock = clock
        self._lock = threading.Lock()
        self._max = per_second_max if per_second_max and per_second_max > 0 else None
        self._bucket = self._new_bucket(self._max)

    def _new_bucket(self, per_second: float | None) -> TokenBucket | None:
        if per_second is None:
            return None
        return TokenBucket(per_second, filled_ms=self._clock.now_ms())

    @property
    def per_second(self) -> float | None:
        """The rate in force, or None."""
        bucket = self._bucket
        return None if bucket is None else bucket.per_second

    def update(self, per_second: float | None) -> None:
        """Set the rate, never above the configured one; 0 or less changes nothing.

        With None the configured one holds, or none if there is none.
        """
        if per_second is None:
            rate: float | None = self._max
        elif per_second <= 0:
            return
        else:
            rate = per_second if self._max is None else min(per_second, self._max)
        with self._lock:
            self._bucket = self._new_bucket(rate)

    def take(self, count: int, cancelled: threading.Event) -> None:
        """Wait until `count` more records may come in, or `cancelled` is set.

        Who waits while the rate changes waits for the rest at the new one.
        """
        bucket = self._bucket
        if bucket is None:
            return
        with self._lock:
            now_ms, rate = self._clock.now_ms(), bucket.per_second
            until_ms = now_ms + bucket.wait_ms(count, now_ms)
        while now_ms < round(until_ms):
            look_ms = min(round(until_ms), now_ms + _LOOK_MS)
            if not self._clock.wait_until(look_ms, cancelled):
                return
            now_ms, changed = self._clock.now_ms(), self.per_second
            if changed is None:
                return
            until_ms = now_ms + (until_ms - now_ms) * rate / changed
            rate = changed

    def take_nowait(self, count: int) -> bool:
        """Let `count` more records in if they needn't wait; say whether."""
        bucket = self._bucket
        if bucket is None:
            return True
        with self._lock:
            return bucket.take_nowait(count, self._clock.now_ms())
