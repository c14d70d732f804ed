"""Piping: the records of a partition through a command's standard streams."""

import logging
import shlex
import subprocess
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Any

from millstream.engine.base.errors import SparkError

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PipeThrough:
    """Feeds records as lines to a command and yields the lines it prints."""

    command: str
    environment: dict[str, str]
    checks_code: bool

    def __call__(self, _index: int, rows: Iterable[Any]) -> Iterator[str]:
        """Yield the command's lines.

        Raises:
            SparkError: With `checks_code`, when the command exits with another code than 0.
            FileNotFoundError: There is no such command.
        """
        process = subprocess.Popen(  # noqa: S603  Running the user's command is the point.
            shlex.split(self.command),
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert process.stdin is not None, "asked for a pipe"
        assert process.stdout is not None, "asked for a pipe"
        failed: list[BaseException] = []
        feeder = threading.Thread(
            target=_feed, args=(process.stdin, rows, failed), daemon=True
        )
        feeder.start()
        try:
            for line in process.stdout:
                yield line.decode("utf-8", "replace").rstrip("\n")
            code = process.wait()
            feeder.join()
            if failed:
                raise failed[0]
        finally:
            process.stdout.close()
            if process.poll() is None:
                process.kill()
                process.wait()
            feeder.join()
        if code and self.checks_code:
            msg = f"Pipe function `{self.command}' exited with error code {code}"
            raise SparkError(msg)


def _feed(pipe: IO[bytes], rows: Iterable[Any], failed: list[BaseException]) -> None:
    try:
        with pipe:
            for record in rows:
                pipe.write(f"{str(record).rstrip(chr(10))}\n".encode())
    except BrokenPipeError:
        _log.info("a piped command closed its input early")
    except Exception as error:
        failed.append(error)
