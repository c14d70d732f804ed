"""A TCP server in a coroutine: it serves so many clients at a time and leaves none behind."""

import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio

_log = logging.getLogger(__name__)

_CLOSE_S = 1.0
_ACCEPT_TURNS = 3


async def serve_clients(
    address: tuple[str, int],
    serve: "Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]",
    *,
    clients_max: int,
    limit: str,
) -> None:
    """Listen on an address, and nowhere else, and serve whom connects, until cancelled.

    A connection is closed when `serve` returns; all are, and their tasks have ended, when
    this ends. `serve` handles its own errors. Who comes when there are `clients_max` is
    turned away; the log then says that `limit` is why.

    Raises:
        OSError: The address can't be listened on.
    """
    import asyncio  # noqa: PLC0415  Programs without such a receiver don't need it.

    clients: set[asyncio.Task[None]] = set()
    is_over = asyncio.Event()

    async def serve_one(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            await serve(reader, writer)
        finally:
            writer.close()
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(_CLOSE_S):
                    await writer.wait_closed()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if is_over.is_set():
            writer.transport.abort()
            return
        if len(clients) >= clients_max:
            _log.warning(
                "a client is turned away: there are as many as %s says port=%d client=%s",
                limit,
                address[1],
                peer_of(writer),
            )
            writer.close()
            return
        task = asyncio.create_task(serve_one(reader, writer))
        clients.add(task)

        def end(ended: asyncio.Task[None]) -> None:
            clients.discard(ended)
            # Also of one that was cancelled before it ran, and of a client that doesn't
            # read its last answer.
            writer.transport.abort()

        task.add_done_callback(end)

    # Begun inside: a server that was cancelled while it begins would never be closed.
    server = await asyncio.start_server(accept, *address, start_serving=False)
    try:
        await server.start_serving()
        _log.info("listening host=%s port=%d", *address)
        await is_over.wait()  # For ever: this is cancelled.
    finally:
        is_over.set()
        # A connection that is just being accepted would be left open by `close`: let no
        # more in, and let those that are on their way arrive.
        for each in server.sockets:
            asyncio.get_running_loop().remove_reader(each)
        for _ in range(_ACCEPT_TURNS):
            await asyncio.sleep(0)
        server.close()
        for task in clients:
            task.cancel()
        await asyncio.gather(*clients, return_exceptions=True)


def peer_of(writer: "asyncio.StreamWriter") -> str:
    """Return a client's address, for logs."""
    name = writer.get_extra_info("peername")
    return f"{name[0]}:{name[1]}" if name else "gone"
