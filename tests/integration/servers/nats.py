"""A NATS server with JetStream, on a free port of this machine."""

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
from tests.integration.servers.ports import free_port
from tests.integration.servers.stalling import stalled

_START_S = 20.0
T = TypeVar("T")


@dataclass
class NatsProcess:
    """A server that runs."""

    port: int
    user: str
    password: str
    process: "subprocess.Popen[bytes]"

    @property
    def url(self) -> str:
        """Where it is, without its password."""
        return f"nats://127.0.0.1:{self.port}"

    def ask(self, work: Callable[[Any], Awaitable[T]]) -> T:
        """Return what `work(jetstream)` does, on a connection of the tests' own."""
        import nats

        async def run() -> T:
            client = await nats.connect(
                self.url,
                user=self.user or None,
                password=self.password or None,
                allow_reconnect=False,
            )
            try:
                return await work(client.jetstream())
            finally:
                await client.close()

        return asyncio.run(run())

    def make(self, stream: str, **config: Any) -> None:
        """Make a stream anew, of the subjects below its name."""

        async def work(js: Any) -> None:
            from nats.js.errors import NotFoundError

            with suppress(NotFoundError):
                await js.delete_stream(stream)
            await js.add_stream(name=stream, subjects=[f"{stream}.>"], **config)

        self.ask(work)

    def publish(self, subject: str, values: Sequence[Any]) -> None:
        """Publish values as text."""

        async def work(js: Any) -> None:
            for each in values:
                await js.publish(subject, str(each).encode())

        self.ask(work)

    def messages(self, stream: str) -> list[bytes]:
        """Return the data of all messages of a stream, in order."""

        async def work(js: Any) -> list[bytes]:
            found: list[bytes] = []
            sub = await js.subscribe("", stream=stream, ordered_consumer=True)
            count = (await js.stream_info(stream)).state.messages
            while len(found) < count:
                found.append((await sub.next_msg(_START_S)).data)
            return found

        return self.ask(work)

    @contextmanager
    def stalled(self) -> Iterator[None]:
        """Have it do nothing meanwhile."""
        with stalled(self.process.pid):
            yield


@contextmanager
def nats_process(
    directory: Path, user: str = "", password: str = "", args: Sequence[str] = ()
) -> Iterator[NatsProcess]:
    """Run a server, with its files in `directory`."""
    port = free_port()
    command = [str(Path(sys.executable).parent / "nats-server"), "-a", "127.0.0.1"]
    command += ["-p", str(port), "-js", "-sd", str(directory), *args]
    command += ["--user", user, "--pass", password] if password else []
    log = directory / "nats.log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        until_s = time.monotonic() + _START_S
        while b"Server is ready" not in log.read_bytes():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until_s, log.read_text()
            time.sleep(0.02)
        yield NatsProcess(port, user, password, process)
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="module")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsProcess]:
    """A server that wants a user's password."""
    directory = tmp_path_factory.mktemp("nats")
    with nats_process(directory, "miller", "sesame-7731") as server:
        yield server
