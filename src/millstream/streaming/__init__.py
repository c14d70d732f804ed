"""Streaming: a stream as a sequence of RDDs."""

from millstream.engine.base.time import (
    Duration,
    Interval,
    Milliseconds,
    Minutes,
    Seconds,
    Time,
)
from millstream.streaming.context import StreamingContext
from millstream.streaming.dstream import DStream
from millstream.streaming.listener import StreamingListener

__all__ = [
    "DStream",
    "Duration",
    "Interval",
    "Milliseconds",
    "Minutes",
    "Seconds",
    "StreamingContext",
    "StreamingListener",
    "Time",
]
