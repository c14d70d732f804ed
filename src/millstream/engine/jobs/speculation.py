"""Speculation: which tasks of a stage are slow enough for a second attempt. A core: pure.

When most tasks of a stage are done, one that takes far longer than they did may be on a
slow machine: an attempt elsewhere may be done before it (semantics RDD-25).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median

from millstream.engine.base.config import Settings
from millstream.engine.base.errors import IllegalArgumentError


@dataclass(frozen=True, slots=True)
class SpeculationRules:
    """When a task counts as slow."""

    interval_s: float = 0.1
    """How often tasks are looked at."""
    quantile: float = 0.75
    """The share of a stage's tasks that must be done first."""
    multiplier: float = 1.5
    """How many times as long as the median a slow task takes."""
    least_s: float = 0.1
    """No task is slow that has run for less."""


def rules_of(settings: Settings) -> SpeculationRules | None:
    """Return what the settings say, None if there is no speculation.

    Raises:
        IllegalArgumentError: The quantile is no share.
    """
    if not settings.get_bool("spark.speculation"):
        return None
    quantile = settings.get_float("spark.speculation.quantile")
    if quantile > 1:
        msg = f"spark.speculation.quantile should be from 0 to 1, but was {quantile:g}"
        raise IllegalArgumentError(msg, hint="it is the share of tasks that are done")
    return SpeculationRules(
        interval_s=settings.get_ms("spark.speculation.interval") / 1000,
        quantile=quantile,
        multiplier=settings.get_float("spark.speculation.multiplier"),
        least_s=settings.get_ms("spark.speculation.minTaskRuntime") / 1000,
    )


@dataclass(slots=True)
class Speculation:
    """The tasks of one stage; not thread-safe."""

    rules: SpeculationRules
    task_count: int
    _took_s: list[float] = field(default_factory=list)
    _next_look_s: float = 0.0

    def on_success(self, took_s: float) -> None:
        """Note how long a task took that is done."""
        self._took_s.append(took_s)

    @property
    def is_on(self) -> bool:
        """Whether enough tasks are done to say what is slow."""
        done_min = max(1, int(self.rules.quantile * self.task_count))
        return self.task_count > 1 and done_min <= len(self._took_s)

    def wait_s(self, now_s: float) -> float | None:
        """Return how long it is until tasks are looked at again; None: until one ends."""
        return max(0.0, self._next_look_s - now_s) if self.is_on else None

    def is_due(self, now_s: float) -> bool:
        """Say whether it is time to look at the tasks that run."""
        return self.is_on and now_s >= self._next_look_s

    def slow(self, now_s: float, begun_s: Mapping[int, float]) -> list[int]:
        """Return which of the tasks that run are slow, given when each has begun.

        They may be so again the next time, whatever was done about them.
        """
        self._next_look_s = now_s + self.rules.interval_s
        limit_s = max(self.rules.multiplier * median(self._took_s), self.rules.least_s)
        return [index for index, at_s in begun_s.items() if now_s - at_s > limit_s]
