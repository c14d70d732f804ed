"""WebDelays: how long to wait before a connection is made again. Pure."""

from dataclasses import dataclass
from enum import Enum
from typing import assert_never


class Ending(Enum):
    """How a connection ended."""

    DROPPED = "dropped"
    """It was there, something came, and it broke or was closed."""
    FAILED = "failed"
    """It couldn't be made, or nothing came."""
    REFUSED = "refused"
    """The server said no, and will say so again: a wrong token, a wrong address."""


@dataclass(slots=True)
class WebDelays:
    """Waits that double with each failure, and begin anew when something came.

    >>> delays = WebDelays(first_s=1.0, longest_s=5.0)
    >>> [delays.after(Ending.FAILED) for _ in range(4)]
    [1.0, 2.0, 4.0, 5.0]
    >>> delays.after(Ending.DROPPED)
    1.0
    """

    first_s: float = 1.0
    longest_s: float = 60.0
    refused_s: float = 300.0
    """After a refusal: somebody has to mend something first."""
    failures: int = 0

    def after(self, ending: Ending, asked_s: float | None = None) -> float:
        """Return for how many seconds to wait; a server may have asked for more."""
        match ending:
            case Ending.DROPPED:
                self.failures = 0
                wait_s = self.first_s
            case Ending.FAILED:
                doublings = min(self.failures, 30)
                wait_s = min(self.first_s * 2**doublings, self.longest_s)
                self.failures += 1
            case Ending.REFUSED:
                wait_s = self.refused_s
            case _:
                assert_never(ending)
        return max(wait_s, asked_s or 0.0)
