"""Time, Duration, Interval: integer milliseconds with Spark's arithmetic."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import total_ordering


@total_ordering
@dataclass(frozen=True, slots=True)
class Duration:
    """A span of whole milliseconds; may be negative.

    >>> Seconds(2) + Milliseconds(500)
    Duration(ms=2500)
    >>> Seconds(3) / Seconds(2)
    1.5
    """

    ms: int

    def milliseconds(self) -> int:
        """Return the span in ms (a method, as Java's is)."""
        return self.ms

    def __add__(self, other: "Duration") -> "Duration":
        return Duration(self.ms + other.ms)

    def __sub__(self, other: "Duration") -> "Duration":
        return Duration(self.ms - other.ms)

    def __mul__(self, times: int) -> "Duration":
        return Duration(self.ms * times)

    __rmul__ = __mul__

    def __truediv__(self, other: "Duration") -> float:
        return self.ms / other.ms

    def __lt__(self, other: "Duration") -> bool:
        return self.ms < other.ms

    def __str__(self) -> str:
        return f"{self.ms} ms"

    def isMultipleOf(self, other: "Duration") -> bool:
        """Say whether `other` divides this span without remainder."""
        return self.ms % other.ms == 0

    def isZero(self) -> bool:
        """Say whether the span is zero."""
        return self.ms == 0

    def min(self, other: "Duration") -> "Duration":
        """Return the shorter one."""
        return min(self, other)

    def max(self, other: "Duration") -> "Duration":
        """Return the longer one."""
        return max(self, other)

    def less(self, other: "Duration") -> bool:
        """Java's name for `<`."""
        return self < other

    def lessEq(self, other: "Duration") -> bool:
        """Java's name for `<=`."""
        return self <= other

    def greater(self, other: "Duration") -> bool:
        """Java's name for `>`."""
        return self > other

    def greaterEq(self, other: "Duration") -> bool:
        """Java's name for `>=`."""
        return self >= other

    def prettyPrint(self) -> str:
        """Return the span in words a person reads.

        >>> Seconds(90).prettyPrint()
        '1 minute 30 seconds'
        """
        return pretty_duration(self.ms)


@total_ordering
@dataclass(frozen=True, slots=True)
class Time:
    """An instant: whole milliseconds since the Unix epoch.

    >>> Time(2500).floor(Seconds(1))
    Time(ms=2000)
    """

    ms: int

    def milliseconds(self) -> int:
        """Return ms since the epoch (a method, as Java's is)."""
        return self.ms

    def __add__(self, span: Duration) -> "Time":
        return Time(self.ms + span.ms)

    def __sub__(self, other: "Time | Duration") -> "Time | Duration":
        if isinstance(other, Time):
            return Duration(self.ms - other.ms)
        return Time(self.ms - other.ms)

    def minus(self, span: Duration) -> "Time":
        """Return the instant `span` earlier (typed, where `-` is ambiguous)."""
        return Time(self.ms - span.ms)

    def since(self, other: "Time") -> Duration:
        """Return the span from `other` to this instant."""
        return Duration(self.ms - other.ms)

    def __lt__(self, other: "Time") -> bool:
        return self.ms < other.ms

    def __str__(self) -> str:
        return f"{self.ms} ms"

    def floor(self, span: Duration, zeroTime: "Time | None" = None) -> "Time":
        """Return the greatest grid point that isn't later; the grid starts at `zeroTime`.

        With `zeroTime` the division truncates toward it, as Java's does, so an instant
        before it moves up to the grid point after (semantics TM-3).
        """
        if zeroTime is None:
            return Time(self.ms // span.ms * span.ms)
        apart = self.ms - zeroTime.ms
        steps = abs(apart) // span.ms * (1 if apart >= 0 else -1)
        return Time(zeroTime.ms + steps * span.ms)

    def isMultipleOf(self, span: Duration) -> bool:
        """Say whether the instant lies on the epoch's grid of `span`."""
        return self.ms % span.ms == 0

    def min(self, other: "Time") -> "Time":
        """Return the earlier one."""
        return min(self, other)

    def max(self, other: "Time") -> "Time":
        """Return the later one."""
        return max(self, other)

    def until(self, end: "Time", span: Duration) -> Iterator["Time"]:
        """Yield this instant, then each `span` later, strictly before `end`."""
        return (Time(ms) for ms in range(self.ms, end.ms, span.ms))

    def to(self, end: "Time", span: Duration) -> Iterator["Time"]:
        """Yield this instant, then each `span` later, up to and with `end`."""
        return (Time(ms) for ms in range(self.ms, end.ms + 1, span.ms))

    def less(self, other: "Time") -> bool:
        """Java's name for `<`."""
        return self < other

    def lessEq(self, other: "Time") -> bool:
        """Java's name for `<=`."""
        return self <= other

    def greater(self, other: "Time") -> bool:
        """Java's name for `>`."""
        return self > other

    def greaterEq(self, other: "Time") -> bool:
        """Java's name for `>=`."""
        return self >= other


@dataclass(frozen=True, slots=True)
class Interval:
    """The time between two instants.

    Intervals of one length are ordered by their ends; comparing others is an error.
    """

    beginTime: Time
    endTime: Time

    def duration(self) -> Duration:
        """Return the length."""
        return self.endTime.since(self.beginTime)

    def __add__(self, span: Duration) -> "Interval":
        return Interval(self.beginTime + span, self.endTime + span)

    def __sub__(self, span: Duration) -> "Interval":
        return Interval(self.beginTime.minus(span), self.endTime.minus(span))

    def _end_beside(self, other: "Interval") -> tuple[Time, Time]:
        if self.duration() != other.duration():
            msg = f"intervals of different length can't be compared: {self}, {other}"
            raise ValueError(msg)
        return self.endTime, other.endTime

    def __lt__(self, other: "Interval") -> bool:
        mine, theirs = self._end_beside(other)
        return mine < theirs

    def __le__(self, other: "Interval") -> bool:
        mine, theirs = self._end_beside(other)
        return mine <= theirs

    def __gt__(self, other: "Interval") -> bool:
        return other < self

    def __ge__(self, other: "Interval") -> bool:
        return other <= self

    def __str__(self) -> str:
        return f"[{self.beginTime}, {self.endTime}]"

    @staticmethod
    def currentInterval(span: Duration, now: Time) -> "Interval":
        """Return the grid interval of length `span` that holds `now`."""
        begin = now.floor(span)
        return Interval(begin, begin + span)


def Milliseconds(n: int) -> Duration:
    """Return `n` ms."""
    return Duration(n)


def Seconds(n: float) -> Duration:
    """Return `n` seconds, rounded to whole ms."""
    return Duration(round(n * 1000))


def Minutes(n: float) -> Duration:
    """Return `n` minutes, rounded to whole ms."""
    return Duration(round(n * 60_000))


def to_duration(seconds: "float | Duration") -> Duration:
    """Return what a PySpark argument means: seconds, or a Duration as it is.

    Rounds to whole ms, where PySpark cuts off (0.57 s is 570 ms here, 569 there).
    """
    if isinstance(seconds, Duration):
        return seconds
    return Duration(round(seconds * 1000))


def pretty_duration(ms: int) -> str:
    """Return `ms` in words: '850 ms', '12 seconds', '2 hours 5 minutes'."""
    if abs(ms) < 1000:
        return f"{ms} ms"
    words: list[str] = []
    rest = abs(ms) / 1000
    for name, seconds in (
        ("day", 86400),
        ("hour", 3600),
        ("minute", 60),
        ("second", 1),
    ):
        amount = rest / seconds if name == "second" else rest // seconds
        rest -= amount * seconds
        if amount:
            words.append(f"{amount:g} {name}{'' if amount == 1 else 's'}")
    return ("-" if ms < 0 else "") + " ".join(words[:2])
