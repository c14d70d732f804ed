"""PidEstimator: how many records a second the stream can take. A core: pure.

A proportional-integral-derivative controller, as Spark's `PIDRateEstimator` documents
itself: the error is how far the rate allowed was from the rate processed; the records
that waited, as a rate, stand for the accumulated error.
"""

from dataclasses import dataclass, field

from millstream.engine.base.config import Settings
from millstream.engine.base.errors import IllegalArgumentError

_ESTIMATOR = "spark.streaming.backpressure.rateEstimator"


@dataclass(slots=True)
class PidEstimator:
    """One stream's estimate, batch after batch."""

    batch_ms: int
    proportional: float = 1.0
    integral: float = 0.2
    derived: float = 0.0
    rate_min: float = 100.0
    latest_time_ms: int = field(default=-1, init=False)
    latest_rate: float = field(default=-1.0, init=False)
    latest_error: float = field(default=-1.0, init=False)
    is_first: bool = field(default=True, init=False)

    def __post_init__(self) -> None:
        _require(self.batch_ms > 0, "batch interval", self.batch_ms, "positive")
        for name in ("proportional", "integral", "derived"):
            value: float = getattr(self, name)
            _require(value >= 0, f"{name} term", value, "0 or more")
        _require(self.rate_min > 0, "minimum rate", self.rate_min, "positive")

    def compute(
        self, time_ms: int, count: int, processing_ms: int, scheduling_ms: int
    ) -> float | None:
        """Return records a second, or None while there is nothing to tell from.

        `time_ms` is when a batch of `count` records was done, which took `processing_ms`
        after having waited for `scheduling_ms`.
        """
        if time_ms <= self.latest_time_ms or count <= 0 or processing_ms <= 0:
            return None
        apart_s = (time_ms - self.latest_time_ms) / 1000
        rate = count / processing_ms * 1000
        error = self.latest_rate - rate
        waited = scheduling_ms * rate / self.batch_ms
        change = (error - self.latest_error) / apart_s
        self.latest_time_ms = time_ms
        if self.is_first:
            self.is_first = False
            self.latest_rate, self.latest_error = rate, 0.0
            return None
        wanted = (
            self.latest_rate
            - self.proportional * error
            - self.integral * waited
            - self.derived * change
        )
        self.latest_rate = max(wanted, self.rate_min)
        self.latest_error = error
        return self.latest_rate


def _require(condition: bool, what: str, value: float, must_be: str) -> None:
    if not condition:
        msg = f"requirement failed: the PID estimator's {what} is {value}; it must be {must_be}"
        raise IllegalArgumentError(msg, hint="see spark.streaming.backpressure.pid.*")


def make_estimator(settings: Settings, batch_ms: int) -> PidEstimator:
    """Return the estimator that the conf asks for.

    Raises:
        IllegalArgumentError: It is unknown, or a parameter is wrong.
    """
    name = settings.get_str(_ESTIMATOR)
    if name != "pid":
        msg = f"Unknown rate estimator: {name}"
        raise IllegalArgumentError(msg, hint=f"{_ESTIMATOR}: 'pid' is the only one")
    return PidEstimator(
        batch_ms,
        settings.get_float("spark.streaming.backpressure.pid.proportional"),
        settings.get_float("spark.streaming.backpressure.pid.integral"),
        settings.get_float("spark.streaming.backpressure.pid.derived"),
        settings.get_float("spark.streaming.backpressure.pid.minRate"),
    )
