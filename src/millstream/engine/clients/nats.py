"""NatsServer: how NATS servers are reached, and a process's connection to them.

The client library is asynchronous: one thread of the process, a daemon, runs its loop, and
other threads ask it. A connection that is lost isn't mended but made anew by who asks next,
so that nothing waits longer than it was told to.
"""

import asyncio
import functools
import threading
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from millstream.engine.base.errors import IllegalArgumentError, SparkError
from millstream.engine.base.extras import needed
from millstream.engine.base.secrets import Secret, secret_of, without_password

T = TypeVar("T")

_SCHEMES = ("nats", "tls", "ws", "wss")
_GRACE_S = 2.0


@dataclass(frozen=True, slots=True)
class NatsServer:
    """Where servers of one cluster are, and what it takes to be let in. Picklable."""

    urls: tuple[str, ...]
    """Such as `nats://host:4222`, with nothing secret in them; `tls://` for TLS."""
    user: str | None = None
    password: Secret | None = None
    token: Secret | None = None
    credentials: str | None = None
    """The path of a file with a user's JWT and seed."""
    tls_ca: str | None = None
    """The path of the certificates that the servers' are checked with."""
    tls_cert: str | None = None
    tls_key: str | None = None
    """The paths of this program's own certificate, and of its key."""
    timeout_s: float = 30.0
    """For how long one step waits at most."""

    @classmethod
    def of(
        cls,
        servers: str | Sequence[str],
        user: str | None = None,
        password: str | Secret | None = None,
        token: str | Secret | None = None,
        credentials: str | None = None,
        tls_ca: str | None = None,
        tls_cert: str | None = None,
        tls_key: str | None = None,
        timeout_s: float = 30.0,
    ) -> "NatsServer":
        """Return the servers of some URLs, which may have a user and a password in them.

        Raises:
            IllegalArgumentError: One is no URL of a NATS server, or an argument can't be
                used.
        """
        given = (servers,) if isinstance(servers, str) else tuple(servers)
        if not given:
            msg = "no server of NATS is given"
            raise IllegalArgumentError(msg, hint="such as nats://localhost:4222")
        for url in given:
            parts = urlsplit(url)
            if parts.scheme not in _SCHEMES or not parts.hostname:
                msg = f"'{without_password(url)}' is no URL of a NATS server"
                raise IllegalArgumentError(msg, hint="such as nats://localhost:4222")
            if parts.username and parts.password:
                user = user or unquote(parts.username)
                password = password or unquote(parts.password)
            elif parts.username:
                token = token or unquote(parts.username)
        if timeout_s <= 0:
            msg = f"a time-out is a positive number of seconds, not {timeout_s}"
            raise IllegalArgumentError(msg)
        return cls(
            urls=tuple(map(without_password, given)),
            user=user,
            password=secret_of(password, "nats.password"),
            token=secret_of(token, "nats.token"),
            credentials=credentials,
            tls_ca=tls_ca,
            tls_cert=tls_cert,
            tls_key=tls_key,
            timeout_s=timeout_s,
        )

    @property
    def where(self) -> str:
        """The servers, for errors and pages."""
        return ",".join(self.urls)

    def ask(self, what: str, work: Callable[[Any, Any], Awaitable[T]]) -> T:
        """Return what `work(client, jetstream)` does, in the loop of the process.

        `what` says it in words. Errors that `work` doesn't treat are told as SparkError.

        Raises:
            SparkError: No server can be reached, or answers in time; or it refuses.
        """
        needed("nats", "nats", "NATS")
        asked = asyncio.run_coroutine_threadsafe(self._asked(what, work), nats_loop())
        try:
            return asked.result(2 * self.timeout_s + _GRACE_S)
        except FutureTimeoutError:
            asked.cancel()
            raise self._silent(what) from None

    async def _asked(self, what: str, work: Callable[[Any, Any], Awaitable[T]]) -> T:
        from nats.errors import Error, MaxPayloadError  # noqa: PLC0415  Optional.
        from nats.js.errors import APIError  # noqa: PLC0415

        client: Any = None
        try:
            client = await _connected(self)
            return await work(client, client.jetstream(timeout=self.timeout_s))
        except TimeoutError as error:
            # The next one doesn't wait for the same silent connection.
            await _drop(self, client)
            raise self._silent(what) from error
        except APIError as error:
            told = f"{error.description or type(error).__name__} ({error.err_code})"
            msg = f"NATS at {self.where} refuses: {what}: {told}"
            raise SparkError(msg, hint="see the server's words") from error
        except MaxPayloadError as error:
            limit = client.max_payload
            msg = f"NATS at {self.where} takes {limit} bytes a message at most: {what}"
            raise SparkError(
                msg, hint="make messages smaller, or raise the servers' max_payload"
            ) from error
        except (Error, OSError) as error:
            await _drop(self, client)
            raise self._told(what, error) from error

    def _silent(self, what: str) -> SparkError:
        msg = f"NATS at {self.where} didn't answer in {self.timeout_s:g} s: {what}"
        return SparkError(
            msg, hint="look whether it is overloaded, or give more `timeout` seconds"
        )

    def _told(self, what: str, error: Exception) -> SparkError:
        words = f"{error}" or type(error).__name__
        if "authorization" in words.lower() or "authentication" in words.lower():
            problem, hint = (
                "doesn't let this program in",
                "check user, password or token",
            )
        elif "permissions" in words.lower():
            problem, hint = "doesn't allow it", "give this user the permissions"
        elif (
            "no responders" in words.lower()
            or "no response from stream" in words.lower()
        ):
            problem = "has no JetStream for this account, or no stream for it"
            hint = "start servers with -js, and create the stream"
        else:
            problem = "can't be reached"
            hint = "look whether it runs, at this address, with TLS or without"
        msg = f"NATS at {self.where} {problem}: {what}: {words}"
        return SparkError(msg, hint=hint)


_clients: dict[NatsServer, Any] = {}
"""Used in the loop only."""
_locks: dict[NatsServer, asyncio.Lock] = {}


@functools.cache
def nats_loop() -> asyncio.AbstractEventLoop:
    """Return the process's loop, and start its thread at first."""
    loop = asyncio.new_event_loop()
    threading.Thread(
        target=loop.run_forever, name="millstream-nats", daemon=True
    ).start()
    return loop


async def _connected(server: NatsServer) -> Any:
    async with _locks.setdefault(server, asyncio.Lock()):
        client = _clients.get(server)
        if client is not None and client.is_connected:
            return client
        await _drop(server, client)
        _clients[server] = client = await _connect(server)
        return client


async def _connect(server: NatsServer) -> Any:
    import nats.aio.client  # noqa: PLC0415  Optional.
    import nats.errors  # noqa: PLC0415

    failed: list[Exception] = []

    async def keep(error: Exception) -> None:
        failed.append(error)

    options: dict[str, Any] = {
        "servers": list(server.urls),
        "connect_timeout": server.timeout_s,
        "allow_reconnect": False,
        "max_reconnect_attempts": 1,
        "reconnect_time_wait": 0.1,
        "error_cb": keep,
        "user": server.user,
        "password": server.password.reveal() if server.password else None,
        "token": server.token.reveal() if server.token else None,
        "user_credentials": server.credentials,
    }
    if server.tls_ca or server.tls_cert:
        options["tls"] = _tls(server)
    client = nats.aio.client.Client()
    try:
        async with asyncio.timeout(server.timeout_s):
            await client.connect(**options)
    except (nats.errors.NoServersError, TimeoutError):
        await _closed(client)
        # Why the last one couldn't be reached says more.
        told = [each for each in failed if not isinstance(each, TimeoutError)]
        if told:
            raise told[-1] from None
        raise
    except BaseException:
        await _closed(client)
        raise
    return client


def _tls(server: NatsServer) -> Any:
    import ssl  # noqa: PLC0415  Only for those that use it.

    made = ssl.create_default_context(cafile=server.tls_ca)
    if server.tls_cert:
        made.load_cert_chain(server.tls_cert, server.tls_key)
    return made


async def _drop(server: NatsServer, client: Any) -> None:
    if client is not None and _clients.get(server) is client:
        del _clients[server]
        await _closed(client)


async def _closed(client: Any) -> None:
    # A server that stands still can't be told.
    with suppress(Exception):
        await asyncio.wait_for(client.close(), 1.0)
