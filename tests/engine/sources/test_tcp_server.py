"""Tests of engine/sources/tcp_server.py: clients that come, go, and stay too long."""

import asyncio
import gc
import socket
from contextlib import suppress

import pytest
from tests.integration.servers.ports import free_port

from millstream.engine.sources.tcp_server import peer_of, serve_clients

pytestmark = pytest.mark.slow


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send back one piece."""
    writer.write(await reader.read(100))


async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Keep a client for ever."""
    writer.write(peer_of(writer).encode())
    await asyncio.Event().wait()


async def connected(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect as soon as there is a server."""
    while True:
        with suppress(ConnectionRefusedError):
            return await asyncio.open_connection("127.0.0.1", port)
        await asyncio.sleep(0.005)


async def end(task: "asyncio.Task[None]") -> None:
    """Cancel a server, and wait for it."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def test_each_client_is_served_and_closed() -> None:
    """When `serve` returns, what it wrote arrives, and then the end."""

    async def run() -> None:
        address = ("127.0.0.1", free_port())
        task = asyncio.create_task(
            serve_clients(address, echo, clients_max=5, limit="it")
        )
        for _ in range(3):
            reader, writer = await connected(address[1])
            writer.write(b"hello")
            assert await reader.read() == b"hello"
            writer.close()
        await end(task)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address, 5)

    asyncio.run(run())


def test_who_is_there_is_cut_off_at_the_end() -> None:
    """Cancelled, it leaves no connection and no task."""

    async def run() -> None:
        address = ("127.0.0.1", free_port())
        task = asyncio.create_task(
            serve_clients(address, hold, clients_max=5, limit="it")
        )
        reader, writer = await connected(address[1])
        own = writer.get_extra_info("sockname")
        assert await reader.readexactly(len(f"127.0.0.1:{own[1]}"))
        await end(task)

        with suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())


def test_one_too_many_is_turned_away(caplog: pytest.LogCaptureFixture) -> None:
    """The log names the limit; when one has gone, another is let in."""

    async def run() -> None:
        address = ("127.0.0.1", free_port())
        task = asyncio.create_task(
            serve_clients(address, echo, clients_max=1, limit="a.limit")
        )
        first, first_writer = await connected(address[1])
        second, second_writer = await connected(address[1])
        assert await second.read() == b""
        second_writer.close()
        first_writer.write(b"x")
        assert await first.read() == b"x"
        first_writer.close()
        third, third_writer = await connected(address[1])
        third_writer.write(b"y")
        assert await third.read() == b"y"
        third_writer.close()
        await end(task)

    asyncio.run(run())
    assert "there are as many as a.limit says" in caplog.text


def test_one_that_comes_while_it_ends_is_not_left_open() -> None:
    """Whatever the moment: no socket is left to the garbage collector."""

    async def run(turns: int) -> None:
        address = ("127.0.0.1", free_port())
        task = asyncio.create_task(
            serve_clients(address, hold, clients_max=5, limit="it")
        )
        _, first = await connected(address[1])
        with socket.create_connection(address, 5):
            for _ in range(turns):
                await asyncio.sleep(0)
            await end(task)
        first.close()

    for turns in range(8):
        asyncio.run(run(turns))
    gc.collect()  # A socket that was left open is an error here.


def test_a_port_that_is_taken_is_an_error() -> None:
    """It isn't shared."""
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(OSError, match="in use"),
    ):
        asyncio.run(serve_clients(taken.getsockname(), echo, clients_max=1, limit="it"))
