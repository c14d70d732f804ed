"""RedisServer: how a Redis or Valkey server is reached, and a process's client for it."""

import functools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from millstream.engine.base.errors import IllegalArgumentError, SparkError
from millstream.engine.base.extras import needed
from millstream.engine.base.secrets import (
    Secret,
    kept_apart,
    revealed,
    secret_of,
    without_password,
)

_SCHEMES = ("redis", "rediss", "unix")


@dataclass(frozen=True, slots=True)
class RedisServer:
    """Where a server is, and what it takes to be let in. Picklable."""

    url: str
    """`redis://host:port/database`, or `rediss://` for TLS, with nothing secret in it."""
    username: str | None = None
    password: Secret | None = None
    timeout_s: float = 30.0
    """For how long one command waits at most."""
    options: tuple[tuple[str, Any], ...] = ()
    """More of the client's options, such as `ssl_ca_certs`."""

    @classmethod
    def of(
        cls,
        url: str,
        username: str | None = None,
        password: str | Secret | None = None,
        timeout_s: float = 30.0,
        options: Mapping[str, Any] | None = None,
    ) -> "RedisServer":
        """Return the server of a URL, which may have a user's name and password in it.

        Raises:
            IllegalArgumentError: It is no Redis URL, or the time-out isn't positive.
        """
        parts = urlsplit(url)
        if parts.scheme not in _SCHEMES:
            shown = without_password(url)
            msg = f"'{shown}' is no URL of a Redis server"
            raise IllegalArgumentError(msg, hint="such as redis://localhost:6379/0")
        if timeout_s <= 0:
            msg = f"a time-out is a positive number of seconds, not {timeout_s}"
            raise IllegalArgumentError(msg)
        given = password if password is not None else parts.password
        if isinstance(given, str) and password is None:
            given = unquote(given)
        return cls(
            url=without_password(url),
            username=username or (unquote(parts.username) if parts.username else None),
            password=secret_of(given, "redis.password"),
            timeout_s=timeout_s,
            options=tuple(sorted(kept_apart(options or {}, "redis").items())),
        )

    def client(self) -> Any:
        """Return this process's client: thread-safe, and connected when it is used.

        Raises:
            MissingDependencyError: The package `redis` isn't installed.
        """
        needed("redis", "redis", "Redis")
        return _client(self)

    @contextmanager
    def asked(self, what: str) -> Iterator[Any]:
        """Give a client; errors of the server say what was asked, and of whom.

        Raises:
            SparkError: It can't be reached, doesn't answer, or refuses.
        """
        errors = needed("redis.exceptions", "redis", "Redis")
        try:
            yield self.client()
        except errors.RedisError as error:
            raise self._told(what, error, errors) from error

    def _told(self, what: str, error: Exception, errors: Any) -> SparkError:
        if isinstance(error, errors.AuthenticationError) or "NOAUTH" in str(error):
            problem = "doesn't let this program in"
            hint = "check the user name and the password"
        elif isinstance(error, errors.TimeoutError):
            problem = f"didn't answer in {self.timeout_s:g} s"
            hint = "look whether it is overloaded, or give more `timeout` seconds"
        elif isinstance(error, errors.ConnectionError):
            problem = "can't be reached"
            hint = "look whether it runs, at this address, with TLS or without"
        else:
            problem = "refuses"
            hint = "see the server's words"
        msg = f"Redis at {self.url} {problem}: {what}: {error}"
        return SparkError(msg, hint=hint)


@functools.lru_cache(maxsize=64)
def _client(server: RedisServer) -> Any:
    import redis  # noqa: PLC0415  Optional.
    from redis.backoff import NoBackoff  # noqa: PLC0415
    from redis.retry import Retry  # noqa: PLC0415

    # Once more where a connection was closed while it was idle, and never after a
    # time-out: whoever asks decides whether to wait again.
    retry = Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,))
    settings: dict[str, Any] = {
        "username": server.username,
        "password": server.password.reveal() if server.password else None,
        "socket_timeout": server.timeout_s,
        "socket_connect_timeout": server.timeout_s,
        "retry": retry,
        **revealed(dict(server.options)),
    }
    return redis.Redis.from_url(server.url, **settings)
