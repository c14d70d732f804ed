"""Testing: streams run on a virtual clock, and sinks are crashed at every step."""

from millstream.engine.base.clock import ManualClock
from millstream.testing.certify import Certificate, Finding, certify_sink
from millstream.testing.harness import Collected, StreamHarness

__all__ = [
    "Certificate",
    "Collected",
    "Finding",
    "ManualClock",
    "StreamHarness",
    "certify_sink",
]
