"""Receiver process: a receiver's own process on this machine.

A fresh Python, as a worker process is, that ends when the driver closes its pipe or dies.
"""

import os  # noqa: TID251  The working directory.
import sys
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, BinaryIO

from millstream.engine.base import frames
from millstream.engine.base.errors import DurabilityError
from millstream.engine.workers.processes import (
    out_of_memory_kills,
    signal_name,
    start_python,
)
from millstream.engine.workers.receiver_hosting import HostLost, HostOrder

_LAST_WORDS_S = 1.0
_START = "from millstream.engine.workers.receiver_host_main import main; main()"


class ReceiverProcess:
    """One process, and the two threads that listen to it. Thread-safe."""

    starting_max_s = 60.0
    silence_max_s = 30.0  # Its end is heard of at once: this is for one that hangs.

    def __init__(self, order: HostOrder) -> None:
        """Start the process; returns before it is ready.

        Raises:
            HostLost: No process can be started.
        """
        self._title = order.title
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._polls: dict[int, Future[bytes]] = {}
        self._count = 0
        self._words: deque[str] = deque(maxlen=20)
        self._broken = ""
        self._end_reason = ""
        self._kills_before = out_of_memory_kills()
        try:
            self._process = start_python(_START)
        except OSError as error:
            msg = f"its process can't be started: {error}"
            raise HostLost(msg) from error
        self._echoing = self._thread(self._echo, "errors")
        self._thread(self._listen, "messages")
        with suppress(BrokenPipeError):  # It has ended, of which its reader hears.
            here = os.getcwd()  # noqa: PTH109
            self._send("hello", list(sys.path), here, order.polls_max, order.program)

    def _thread(self, work: Callable[[], None], name: str) -> threading.Thread:
        thread = threading.Thread(
            target=work, name=f"millstream-{self._title}-{name}", daemon=True
        )
        thread.start()
        return thread

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    def poll(self, data: bytes) -> "Future[bytes]":
        """Return what comes of a poll: HostLost when the process has ended."""
        future: Future[bytes] = Future()
        with self._lock:
            if self._end_reason:
                future.set_exception(HostLost(self._end_reason))
                return future
            self._count += 1
            number = self._count
            self._polls[number] = future
        with suppress(BrokenPipeError):  # It has ended, of which its reader hears.
            self._send("poll", number, data)
        return future

    def end(self) -> None:
        """End the process at once, if it hasn't ended."""
        self._process.kill()

    def _send(self, *message: Any) -> None:
        sink = _pipe(self._process.stdin)
        data = frames.dumps(message)
        try:
            with self._sending:
                frames.write_frame(sink, data)
                sink.flush()
        except (ValueError, OSError) as error:
            raise BrokenPipeError from error

    def _listen(self) -> None:
        # What is cut short: it was killed, of which its exit code tells.
        with _pipe(self._process.stdout) as source, suppress(DurabilityError):
            for payload in frames.read_frames(source, f"messages of {self._title}"):
                self._take(frames.loads(payload))
        code = self._process.wait()
        self._echoing.join(_LAST_WORDS_S)  # What it has started may hold its pipe.
        with suppress(OSError):
            _pipe(self._process.stdin).close()
        reason = self._how_it_ended(code)
        with self._lock:
            self._end_reason = reason
            left, self._polls = self._polls, {}
        for future in left.values():
            future.set_exception(HostLost(reason))

    def _take(self, message: Any) -> None:
        match message:
            case ("answer", number, data):
                with self._lock:
                    future = self._polls.pop(number)
                future.set_result(data)
            case ("printed", line):
                print(f"[{self._title}] {line}", flush=True)  # noqa: T201
            case ("broken", told):
                self._broken = told
                self._process.kill()
            case other:
                msg = f"a receiver's process said {other!r:.100}"
                raise AssertionError(msg)

    def _echo(self) -> None:
        with _pipe(self._process.stderr) as source:
            for raw in source:
                line = raw.decode("utf-8", "replace").rstrip("\n")
                self._words.append(line)
                print(f"[{self._title}] {line}", file=sys.stderr, flush=True)  # noqa: T201

    def _how_it_ended(self, code: int) -> str:
        if self._broken:
            return f"its process can't go on:\n{self._broken}"
        if code >= 0:
            words = "\n".join(self._words)
            return f"its process ended with exit code {code}\n{words}".rstrip()
        name = signal_name(-code)
        if name == "SIGKILL" and out_of_memory_kills() > self._kills_before:
            return f"its process was killed ({name}) because memory ran out"
        is_kill = name in ("SIGKILL", "SIGTERM")
        return f"its process {'was killed' if is_kill else 'crashed'} ({name})"


def _pipe(pipe: Any) -> BinaryIO:
    assert pipe is not None, "all three are pipes"
    piped: BinaryIO = pipe
    return piped


def start(order: HostOrder) -> ReceiverProcess:
    """Start a host; see `StartHost`."""
    return ReceiverProcess(order)
