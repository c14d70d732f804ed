"""Testing: streams run on a virtual clock, batch by batch, in milliseconds."""

from millstream.engine.base.clock import ManualClock
from millstream.testing.harness import Collected, StreamHarness

__all__ = ["Collected", "ManualClock", "StreamHarness"]
