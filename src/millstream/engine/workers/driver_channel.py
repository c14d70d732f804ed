"""Driver channel: how a process that the driver has started speaks with it.

It is told what to do on its standard input and says what came of it on its standard output;
both are taken away from user code first, whose prints travel as messages.
"""

import io
import os  # noqa: TID251  File descriptors.
import sys
import threading
from collections.abc import Iterator
from typing import Any, BinaryIO, TextIO

from millstream.engine.base import frames


class DriverChannel:
    """Messages to and from the driver; sent from any thread."""

    def __init__(self, source: BinaryIO, sink: BinaryIO) -> None:
        """Read from `source`, write to `sink`."""
        self._source = source
        self._sink = sink
        self._sending = threading.Lock()

    def send(self, *message: Any) -> None:
        """Say something to the driver."""
        data = frames.dumps(message)
        with self._sending:
            frames.write_frame(self._sink, data)
            self._sink.flush()

    def messages(self) -> Iterator[Any]:
        """Yield what the driver says, until it closes its end, or dies."""
        for payload in frames.read_frames(self._source, "the driver's messages"):
            yield frames.loads(payload)


class _Printed(io.TextIOBase):
    """Standard output: lines go to the driver."""

    def __init__(self, channel: DriverChannel) -> None:
        self._channel = channel
        self._lock = threading.Lock()
        self._open = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str, /) -> int:
        with self._lock:
            self._open += text
            *lines, self._open = self._open.split("\n")
        for line in lines:
            self._channel.send("printed", line)
        return len(text)

    def flush(self) -> None:
        """Do nothing: a line goes when it is complete."""


def open_channel() -> DriverChannel:
    """Take standard input and output away from user code."""
    source = os.fdopen(os.dup(0), "rb")
    sink = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)  # What C code prints comes out with the errors.
    channel = DriverChannel(source, sink)
    printed: TextIO = _Printed(channel)  # type: ignore[assignment]
    sys.stdout = printed
    sys.stdin = io.StringIO()
    return channel
