"""Scaling: more executors where batches take long, fewer where they take short.

What counts is the time that batches take to be processed, as a share of their duration,
on average over an interval (semantics DA-2).
"""

import logging
import math
import threading
from dataclasses import dataclass
from typing import Protocol

from millstream.engine.base.clock import Clock
from millstream.engine.base.config import Settings
from millstream.engine.base.errors import IllegalArgumentError
from millstream.engine.base.threads import RecurringTimer
from millstream.engine.streams.events import BatchCompleted, StreamingEvent

_log = logging.getLogger(__name__)

_KEY = "spark.streaming.dynamicAllocation"


@dataclass(frozen=True, slots=True)
class ScalingRules:
    """When executors come and go, and how many there may be."""

    interval_ms: int = 60_000
    up_ratio: float = 0.9
    down_ratio: float = 0.3
    count_min: int = 1
    count_max: int | None = None


def rules_of(settings: Settings, receiver_count: int) -> ScalingRules | None:
    """Return what the settings say for a stream, None if it isn't to be scaled.

    Raises:
        IllegalArgumentError: They contradict each other.
    """
    if not settings.get_bool("spark.streaming.dynamicAllocation.enabled"):
        return None
    _check_exclusive(settings)
    rules = ScalingRules(
        settings.get_ms("spark.streaming.dynamicAllocation.scalingInterval"),
        settings.get_float("spark.streaming.dynamicAllocation.scalingUpRatio"),
        settings.get_float("spark.streaming.dynamicAllocation.scalingDownRatio"),
        settings.find_int("spark.streaming.dynamicAllocation.minExecutors")
        or max(1, receiver_count),
        settings.find_int("spark.streaming.dynamicAllocation.maxExecutors"),
    )
    if rules.down_ratio <= 0:
        msg = (
            f"{_KEY}.scalingDownRatio should be more than 0, but was "
            f"{rules.down_ratio:g}"
        )
        raise IllegalArgumentError(msg)
    if rules.up_ratio <= rules.down_ratio:
        msg = (
            f"{_KEY}.scalingUpRatio should be more than scalingDownRatio, but they were "
            f"{rules.up_ratio:g} and {rules.down_ratio:g}"
        )
        raise IllegalArgumentError(msg)
    if rules.count_max is not None and rules.count_max < rules.count_min:
        msg = (
            f"{_KEY}.maxExecutors should be at least minExecutors, but they were "
            f"{rules.count_max} and {rules.count_min}"
        )
        hint = "without a minExecutors there is one executor a receiver"
        raise IllegalArgumentError(msg, hint=hint)
    return rules


def _check_exclusive(settings: Settings) -> None:
    if (settings.find_str("spark.dynamicAllocation.enabled") or "").lower() == "true":
        msg = (
            f"{_KEY}.enabled and spark.dynamicAllocation.enabled can't both be true: "
            "one decides by batches, the other by tasks that wait"
        )
        raise IllegalArgumentError(msg, hint=f"leave {_KEY}.enabled alone")
    fixed = settings.get_int("spark.executor.instances")
    if fixed:
        msg = (
            f"{_KEY}.enabled and spark.executor.instances={fixed} contradict each other"
        )
        hint = f"leave that away, and bound their number by {_KEY}.minExecutors and .maxExecutors"
        raise IllegalArgumentError(msg, hint=hint)


class Scalable(Protocol):
    """Has executors."""

    @property
    def ready_count(self) -> int:
        """How many executors take tasks now."""
        ...

    def scale(self, count: int) -> None:
        """Have `count` of them, by and by."""
        ...


@dataclass(slots=True)
class Scaling:
    """How long batches took since the last decision. A core: pure; not thread-safe."""

    rules: ScalingRules
    batch_ms: int
    _took_ms: int = 0
    _batches: int = 0

    def on_batch(self, took_ms: int) -> None:
        """Note how long a batch took that succeeded."""
        self._took_ms += took_ms
        self._batches += 1

    def decide(self, count: int) -> int:
        """Return how many executors there should be, of which there are `count`.

        What was noted is forgotten then. Growing, there may be several more at once; but
        they go one at a time.
        """
        if self._batches == 0:
            return count
        ratio = self._took_ms // self._batches / self.batch_ms
        self._took_ms = self._batches = 0
        rules = self.rules
        if ratio >= rules.up_ratio:
            wanted = count + max(math.floor(ratio + 0.5), 1)
            if rules.count_max is not None:
                wanted = min(wanted, rules.count_max)
            return max(wanted, rules.count_min)
        if ratio <= rules.down_ratio and count > rules.count_min:
            return count - 1
        return count


class Scaler:
    """Scales the workers of a stream, from its start to its stop."""

    def __init__(
        self, rules: ScalingRules, batch_ms: int, workers: Scalable, clock: Clock
    ) -> None:
        """Decide every so often on `clock`."""
        self._core = Scaling(rules, batch_ms)
        self._workers = workers
        self._lock = threading.Lock()
        self._timer = RecurringTimer(
            clock, rules.interval_ms, self._on_tick, "millstream-scaling"
        )
        self._clock = clock

    def start(self) -> None:
        """Begin."""
        self._timer.start(self._clock.now_ms() + self._core.rules.interval_ms)

    def stop(self) -> None:
        """End; the workers stay as many as they are."""
        self._timer.stop(interrupt=True)

    def on_event(self, event: StreamingEvent) -> None:
        """Hear of a batch; those that failed don't count."""
        if not isinstance(event, BatchCompleted):
            return
        took_ms = event.info.processing_delay_ms
        outputs = event.info.outputs.values()
        if took_ms is not None and all(each.failure_reason is None for each in outputs):
            with self._lock:
                self._core.on_batch(took_ms)

    def _on_tick(self, _time_ms: int) -> None:
        count = self._workers.ready_count
        with self._lock:
            wanted = self._core.decide(count)
        if wanted == count:
            return
        _log.info("executors are scaled from=%d to=%d", count, wanted)
        try:
            self._workers.scale(wanted)
        except Exception:
            # The stream goes on with those that there are.
            _log.exception("executors can't be scaled from=%d to=%d", count, wanted)
