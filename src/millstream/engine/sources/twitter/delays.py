"""TwitterDelays: how long to wait before a connection to X is made again. Pure.

As X documents it (docs.x.com, "Handling disconnections"): at once after a drop; after an
error of the network 250 ms more each time, 16 s at most; after an HTTP error from 5 s on,
doubled each time, 320 s at most; after 429 from a minute on, doubled each time.
"""

from dataclasses import dataclass
from enum import Enum
from typing import assert_never

_NETWORK_STEP_S, _NETWORK_MAX_S = 0.25, 16.0
_HTTP_FIRST_S, _HTTP_MAX_S = 5.0, 320.0
_SHORT_S = 1.0
_LIMITED_FIRST_S, _LIMITED_MAX_S = 60.0, 960.0


class TwitterEnding(Enum):
    """How a connection ended, or why there was none."""

    DROPPED = "dropped"
    """It was there, something came, and it ended."""
    NETWORK = "network"
    """It couldn't be made, or broke before anything came."""
    HTTP = "http"
    """The server answered with an error that passes."""
    LIMITED = "limited"
    """The server answered 429: too many requests, or too many connections."""
    REFUSED = "refused"
    """The server won't have it: a wrong token, a rule that is none."""


@dataclass(slots=True)
class TwitterDelays:
    """Waits that grow with each failure, and begin anew after a connection that worked.

    >>> delays = TwitterDelays()
    >>> [delays.after(TwitterEnding.NETWORK) for _ in range(3)]
    [0.25, 0.5, 0.75]
    >>> delays.after(TwitterEnding.LIMITED), delays.after(TwitterEnding.DROPPED)
    (60.0, 0.0)
    """

    network_s: float = 0.0
    http_s: float = 0.0
    short_count: int = 0
    """How many connections before were dropped as soon as they were made."""

    def after(
        self,
        ending: TwitterEnding,
        asked_s: float | None = None,
        lived_s: float = _SHORT_S,
    ) -> float:
        """Return for how many seconds to wait; the server may have asked for more.

        The connection had lived `lived_s`: of those that are dropped one after the other
        as soon as they are made, only the first is made anew at once.
        """
        if ending is TwitterEnding.DROPPED:
            self.short_count = self.short_count + 1 if lived_s < _SHORT_S else 0
            if self.short_count > 1:
                ending = TwitterEnding.NETWORK
        match ending:
            case TwitterEnding.DROPPED:
                self.network_s = self.http_s = wait_s = 0.0
            case TwitterEnding.NETWORK:
                self.network_s = min(self.network_s + _NETWORK_STEP_S, _NETWORK_MAX_S)
                wait_s = self.network_s
            case TwitterEnding.HTTP:
                self.http_s = min(max(2 * self.http_s, _HTTP_FIRST_S), _HTTP_MAX_S)
                wait_s = self.http_s
            case TwitterEnding.LIMITED:
                longer_s = max(2 * self.http_s, _LIMITED_FIRST_S)
                self.http_s = wait_s = min(longer_s, _LIMITED_MAX_S)
            case TwitterEnding.REFUSED:
                wait_s = _HTTP_MAX_S
            case _:
                assert_never(ending)
        return max(wait_s, asked_s or 0.0)
