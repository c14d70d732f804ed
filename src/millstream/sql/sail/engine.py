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
from millstream.sql.sail import engine_main

_log = logging.getLogger(__name__)

_START = "from millstream.sql.sail.engine_main import main; main()"
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
        self._has_paths = threading.Event()
        self._readers = [
            threading.Thread(target=target, name=f"millstream-sql-{name}", daemon=True)
            for target, name in ((self._read_out, "out"), (self._read_err, "err"))
        ]
        for each in self._readers:
            each.start()
        self._telling = threading.Lock()
        self._paths: list[str] = []
        self._tell_paths()
        self._is_up.wait(_START_S)
        if not self._port:
            self.stop(0.0)
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

    def find_modules(self) -> None:
        """Have it find modules wherever they are found here now."""
        if self._paths == sys.path:
            return
        with self._telling:
            if self._paths != sys.path:
                self._has_paths.clear()
                self._tell_paths()
                self._has_paths.wait(_END_S)

    def _tell_paths(self) -> None:
        self._paths = list(sys.path)
        given = json.dumps(client.without_shims(self._paths))
        assert self._process.stdin is not None, "a pipe"
        with suppress(OSError):  # It has ended, which is told to who asks it.
            self._process.stdin.write(given.encode() + b"\n")
            self._process.stdin.flush()

    def end_of(self, wait_s: float = 0.0) -> str | None:
        """Return how it ended; None if it runs, still after `wait_s`."""
        if wait_s:
            with suppress(Exception):
                self._process.wait(wait_s)
        code = self._process.poll()
        if code is None:
            return None
        return f"exit code {code}" if code >= 0 else signal_name(-code)

    def stop(self, wait_s: float = _END_S) -> None:
        """End it; what runs there is lost. It is killed if it runs after `wait_s`."""
        assert self._process.stdin is not None, "a pipe"
        with suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(wait_s)
        except Exception:
            self._process.kill()
            self._process.wait()
        for each in self._readers:
            each.join(_END_S)

    def _read_out(self) -> None:
        assert self._process.stdout is not None, "a pipe"
        with self._process.stdout as out:
            for raw in out:
                line = raw.decode("utf-8", "replace").rstrip("\n")
                if line.startswith(engine_main.PORT):
                    self._port = int(line.removeprefix(engine_main.PORT))
                    break
                # What is imported there may print.
                self._words.append(line)
            self._is_up.set()
            self._echo(out, lambda line: print(line, flush=True))  # noqa: T201

    def _read_err(self) -> None:
        assert self._process.stderr is not None, "a pipe"
        with self._process.stderr as err:
            self._echo(err, lambda line: print(line, file=sys.stderr, flush=True))  # noqa: T201

    def _echo(self, source: IO[bytes], show: Callable[[str], None]) -> None:
        for raw in source:
            line = raw.decode("utf-8", "replace").rstrip("\n")
            if line == engine_main.HAS_PATHS:
                self._has_paths.set()
                continue
            self._words.append(line)
            show(f"[sql] {line}")
