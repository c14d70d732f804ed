"""Engine: the child process that runs queries, as its driver sees it."""

import json
import logging
import sys
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import IO

import psutil

from millstream.engine.base.errors import SparkError
from millstream.engine.workers.processes import signal_name, start_python
from millstream.sql import client

_log = logging.getLogger(__name__)

_START = "from millstream.sql.engine_main import main; main()"
_START_S = 30.0
_END_S = 5.0


class Engine:
    """One process of Sail; it ends with this one, or by `stop`."""

    def __init__(self) -> None:
        """Start it, and wait until it can be asked.

        Raises:
            MissingDependencyError: The client isn't installed.
            SparkError: It didn't start; what it said is in the message.
        """
        client.root()
        self._process = start_python(_START)
        self._words: deque[str] = deque(maxlen=20)
        self._port = 0
        self._is_up = threading.Event()
        self._readers = [
            threading.Thread(target=target, name=f"millstream-sql-{name}", daemon=True)
            for target, name in ((self._read_out, "out"), (self._read_err, "err"))
        ]
        for each in self._readers:
            each.start()
        given = json.dumps({"paths": client.without_shims(sys.path)})
        assert self._process.stdin is not None, "a pipe"
        with suppress(OSError):  # It has ended, which is told below.
            self._process.stdin.write(given.encode() + b"\n")
            self._process.stdin.flush()
        self._is_up.wait(_START_S)
        if not self._port:
            self._process.kill()
            self._process.wait()
            words = "\n".join(self._words)
            msg = f"the SQL engine didn't start: {words or 'it said nothing'}"
            raise SparkError(msg, hint="pip install 'millstream[sql]'")
        self._usage = psutil.Process(self._process.pid)

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def address(self) -> str:
        """Where it is asked, as Spark Connect has it."""
        return f"sc://127.0.0.1:{self._port}"

    @property
    def memory_bytes(self) -> int:
        """How much memory it holds; 0 if it has ended."""
        try:
            return int(self._usage.memory_info().rss)
        except psutil.Error:
            return 0

    def end_of(self, wait_s: float = 0.0) -> str | None:
        """Return how it ended; None if it runs, still after `wait_s`."""
        if wait_s:
            with suppress(Exception):
                self._process.wait(wait_s)
        code = self._process.poll()
        if code is None:
            return None
        return f"exit code {code}" if code >= 0 else signal_name(-code)

    def stop(self) -> None:
        """End it; what runs there is lost."""
        assert self._process.stdin is not None, "a pipe"
        with suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(_END_S)
        except Exception:
            self._process.kill()
            self._process.wait()
        for each in self._readers:
            each.join(_END_S)

    def _read_out(self) -> None:
        assert self._process.stdout is not None, "a pipe"
        with self._process.stdout as out:
            first = out.readline()
            if first:
                self._port = int(json.loads(first)["port"])
            self._is_up.set()
            self._echo(out, lambda line: print(line, flush=True))  # noqa: T201

    def _read_err(self) -> None:
        assert self._process.stderr is not None, "a pipe"
        with self._process.stderr as err:
            self._echo(err, lambda line: print(line, file=sys.stderr, flush=True))  # noqa: T201

    def _echo(self, source: IO[bytes], show: Callable[[str], None]) -> None:
        for raw in source:
            line = raw.decode("utf-8", "replace").rstrip("\n")
            self._words.append(line)
            show(f"[sql] {line}")
