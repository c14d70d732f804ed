"""Lag: how far a stream is behind the newest record of its source.

A direct source knows it when it has planned a batch, and a receiver can be asked for it:
see `DirectSource.lag` and `TellsLag`. Both say it in the same words, for pages and metrics.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar


class LagUnit(Enum):
    """What a source counts in; a gauge of its own each. The value ends the gauge's name."""

    RECORDS = "lag"
    MS = "lagMs"


@dataclass(frozen=True, slots=True)
class Lag:
    """How far it is, about; `amount` is None while that isn't known.

    >>> Lag(12)
    Lag(amount=12, unit=<LagUnit.RECORDS: 'lag'>)
    """

    amount: int | None
    unit: LagUnit = LagUnit.RECORDS

    @property
    def unknown(self) -> "Lag":
        """The same without the amount."""
        return Lag(None, self.unit)

    def gauge(self, stream_id: int) -> dict[str, float]:
        """Return it as a gauge of an input, by name: -1 while it isn't known.

        >>> Lag(None, LagUnit.MS).gauge(0)
        {'millstream.input.0.lagMs': -1}
        """
        amount = -1 if self.amount is None else self.amount
        return {f"millstream.input.{stream_id}.{self.unit.value}": amount}


class TellsLag(ABC):
    """A receiver whose source can be asked how far behind it is."""

    lag_unit: ClassVar[LagUnit] = LagUnit.RECORDS
    """What it counts in, whatever happens."""

    @abstractmethod
    def ask_lag(self, timeout_s: float) -> Lag:
        """Ask the source, and wait for `timeout_s` seconds at most, about.

        Called on the driver, some seconds apart, in a thread of its own, on a receiver
        that never starts: that one may be in another process. Return a lag without an
        amount where there is nothing to be told yet, such as before a first connection.
        When it raises, a warning says so, and the lag isn't known.
        """
