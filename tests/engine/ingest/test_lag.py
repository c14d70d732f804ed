"""Lag as gauges have it."""

import pytest

from millstream.engine.ingest.direct_source import BatchPlan, DirectSource
from millstream.engine.ingest.lag import Lag, LagUnit
from millstream.testing import StreamHarness


@pytest.mark.parametrize(
    ("lag", "gauge"),
    [
        (Lag(12), {"millstream.input.3.lag": 12}),
        (Lag(0), {"millstream.input.3.lag": 0}),
        (Lag(None), {"millstream.input.3.lag": -1}),
        (Lag(250, LagUnit.MS), {"millstream.input.3.lagMs": 250}),
        (Lag(250, LagUnit.MS).unknown, {"millstream.input.3.lagMs": -1}),
    ],
)
def test_each_unit_has_a_gauge_of_its_own(lag: Lag, gauge: dict[str, float]) -> None:
    """Which is -1 while nothing is known."""
    assert lag.gauge(3) == gauge


class Flaky(DirectSource[int, int]):
    """A source that is away whenever it is asked for an odd batch."""

    @property
    def lag(self) -> Lag:
        """Say what it said when it was there."""
        return Lag(7)

    def plan(self, batch: BatchPlan[int]) -> list[int]:
        """Return one range."""
        if batch.time_ms // 1000 % 2:
            msg = "the server is away"
            raise ConnectionError(msg)
        return [1]

    def read(self, of: int) -> list[int]:
        """Return it."""
        return [of]


def test_what_a_source_that_is_away_has_said_before_does_not_count() -> None:
    """Until it has planned a batch again."""
    seen = []
    with StreamHarness(batch=1.0) as h:
        h.collect(h.ssc.directStream(Flaky()))
        for _ in range(2):
            with pytest.raises(ConnectionError):
                h.run()
            seen.append(h.ssc.metrics()["millstream.input.0.lag"])
            h.run()
            seen.append(h.ssc.metrics()["millstream.input.0.lag"])

    assert seen == [-1, 7, -1, 7]
