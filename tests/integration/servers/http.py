"""HTTP servers in a thread, on loopback: what the servers of protocols are made of.

And certificates that nobody trusts, and a webhook's receiver that honours, or doesn't, the
keys it is sent.
"""

import asyncio
import json
import ssl
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web
from tests.integration.servers.certificates import write_certificate

_START_S = 10.0


@contextmanager
def served(app: web.Application, tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """Serve an application on a free port of 127.0.0.1; yield the port."""
    started = threading.Event()
    found: dict[str, Any] = {}

    async def serve() -> None:
        found["stop"] = asyncio.Event()
        runner = web.AppRunner(
            app,
            shutdown_timeout=0.1,
            handler_cancellation=True,
            access_log=None,  # Addresses, some of which are secret, aren't our log's.
        )
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        found["loop"] = asyncio.get_running_loop()
        found["port"] = runner.addresses[0][1]
        started.set()
        await found["stop"].wait()
        await runner.cleanup()

    thread = threading.Thread(
        target=asyncio.run, args=(serve(),), name="http-server", daemon=True
    )
    thread.start()
    assert started.wait(_START_S)
    try:
        yield found["port"]
    finally:
        found["loop"].call_soon_threadsafe(found["stop"].set)
        thread.join(_START_S)


def self_signed(directory: Path) -> tuple[ssl.SSLContext, Path]:
    """Return what serves 127.0.0.1 with a certificate of its own, and the certificate."""
    certificate, key = write_certificate(directory)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context, Path(certificate)


@dataclass
class Hook:
    """Receives a webhook, as its documentation says; what is in `answers` comes first."""

    honours_keys: bool = True
    honours_runs: bool = True
    token: str | None = None
    records: list[Any] = field(default_factory=list)
    keys: Counter[str] = field(default_factory=Counter)
    """How often each key came."""
    headers: list[dict[str, str]] = field(default_factory=list)
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    stall: asyncio.Event | None = None
    """While it is set to an event: says nothing until that is set."""
    runs: dict[str, int] = field(default_factory=dict)
    accepts_then_fails: int = 0
    """How many requests are still taken and answered as if they weren't."""

    def app(self) -> web.Application:
        """Return the application, with `/hook`."""
        app = web.Application(client_max_size=1 << 24)
        app.router.add_post("/hook", self.take)
        return app

    async def take(self, request: web.Request) -> web.Response:
        """Take a request: all of it or nothing."""
        data = await request.read()
        self.headers.append(dict(request.headers))
        if self.stall is not None:
            await self.stall.wait()
        if self.answers:
            status, headers = self.answers.pop(0)
            return web.Response(status=status, headers=headers, text="not now")
        if self.token and request.headers.get("Authorization") != self.token:
            said = request.headers.get("Authorization", "")
            return web.Response(status=401, text=f"wrong token {said}")
        output = request.headers["Millstream-Output"]
        run = int(request.headers["Millstream-Run"])
        if self.honours_runs:
            if run < self.runs.get(output, 0):
                return web.Response(status=412)
            self.runs[output] = run
        key = request.headers["Idempotency-Key"]
        self.keys[key] += 1
        if not (self.honours_keys and self.keys[key] > 1):
            self.records += decoded(request.content_type, data)
        if self.accepts_then_fails:
            self.accepts_then_fails -= 1
            return web.Response(status=502)
        return web.Response(status=204)


def decoded(content_type: str, data: bytes) -> list[Any]:
    """Return the records of a body."""
    if content_type == "application/x-ndjson":
        return [json.loads(line) for line in data.splitlines()]
    found: list[Any] = json.loads(data)
    return found
