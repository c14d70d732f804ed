"""Streaming: a stream as a sequence of RDDs."""

from millstream.engine.base.time import (
    Duration,
    Interval,
    Milliseconds,
    Minutes,
    Seconds,
    Time,
)
from millstream.streaming.bad_records import DeadLetters
from millstream.streaming.context import StreamingContext
from millstream.streaming.dstream import DStream
from millstream.streaming.listener import StreamingListener

__all__ = [
    "DStream",
    "DeadLetters",
    "Duration",
    "Interval",
    "Milliseconds",
    "Minutes",
    "Seconds",
    "StreamingContext",
    "StreamingListener",
    "Time",
]
