"""Worker main: the loop of a worker process, which runs one task at a time.

It reads what to do from its standard input and writes what came of it to its standard
output; both are taken away from user code first, whose prints travel as messages.
"""

import io
import os  # noqa: TID251  File descriptors.
import queue
import sys
import threading
import traceback
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from millstream.engine.base import driver_link, frames
from millstream.engine.workers.payloads import PayloadFiles, take

BODIES_MAX = 64
"""So many stages a worker knows; the driver counts along."""

_Body = Callable[[bytes | memoryview], bytes]


class _Channel:
    """Messages to and from the driver."""

    def __init__(self, source: BinaryIO, sink: BinaryIO) -> None:
        self._source = source
        self._sink = sink
        self._messages: queue.SimpleQueue[Any] = queue.SimpleQueue()
        threading.Thread(target=self._listen, name="driver", daemon=True).start()

    def send(self, *message: Any) -> None:
        frames.write_frame(self._sink, frames.dumps(message))
        self._sink.flush()

    def receive(self) -> Any:
        """Return the next message; waits for it."""
        return self._messages.get()

    def _listen(self) -> None:
        try:
            for payload in frames.read_frames(self._source, "the driver's messages"):
                self._messages.put(frames.loads(payload))
        finally:
            # The driver has closed its end, or died: whatever runs here runs for nobody.
            os._exit(0)


class _Printed(io.TextIOBase):
    """Standard output of a worker: lines go to the driver."""

    def __init__(self, channel: _Channel) -> None:
        self._channel = channel
        self._open = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str, /) -> int:
        self._open += text
        *lines, self._open = self._open.split("\n")
        for line in lines:
            self._channel.send("printed", line)
        return len(text)

    def flush(self) -> None:
        """Do nothing: a line goes when it is complete."""


def main() -> None:
    """Serve a driver until it closes its end, which ends the process at once."""
    channel = _channel()
    _, directories = channel.receive()
    files = PayloadFiles(directories)
    driver_link.connect(lambda topic, question: _ask(channel, topic, question))
    bodies: OrderedDict[str, _Body] = OrderedDict()
    channel.send("ready")
    while True:
        match channel.receive():
            case ("stage", stage_id, pickled, paths, working_directory):
                sys.path[:] = paths
                if working_directory != str(Path.cwd()):
                    os.chdir(working_directory)
                bodies[stage_id] = _loaded(pickled)
                if len(bodies) > BODIES_MAX:
                    bodies.popitem(last=False)
            case ("task", stage_id, given):
                _run(channel, files, bodies[stage_id], given)
            case other:
                msg = f"the driver said {other!r:.100}"
                raise AssertionError(msg)


def _channel() -> _Channel:
    """Take standard input and output away from user code."""
    source = os.fdopen(os.dup(0), "rb")
    sink = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)  # What C code prints comes out with the errors.
    channel = _Channel(source, sink)
    printed: TextIO = _Printed(channel)  # type: ignore[assignment]
    sys.stdout = printed
    sys.stdin = io.StringIO()
    return channel


def _ask(channel: _Channel, topic: str, question: Any) -> Any:
    channel.send("ask", topic, question)
    # Nothing else is sent to a worker while it runs a task.
    match channel.receive():
        case ("answer", answer):
            return answer
        case other:
            msg = f"the driver went away, or answered {other!r}"
            raise ConnectionError(msg)


def _run(channel: _Channel, files: PayloadFiles, body: _Body, given: Any) -> None:
    try:
        made = files.put(body(take(given)))
    except BaseException:
        channel.send("broken", traceback.format_exc())
    else:
        channel.send("done", made)


def _loaded(pickled: bytes) -> _Body:
    try:
        body: _Body = frames.loads_function(pickled)
    except BaseException:
        reason = traceback.format_exc()

        def body(_given: bytes | memoryview) -> bytes:
            msg = f"a worker can't load what it should run:\n{reason}"
            raise RuntimeError(msg)

    return body
