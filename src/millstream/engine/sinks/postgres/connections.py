"""Postgres connections: kept for a process, so that a task finds one that is open."""

import atexit
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from millstream.engine.base.extras import needed

_KEPT_MAX = 4
_lock = threading.Lock()
_Key = tuple[Any, ...]
_idle: dict[_Key, list[Any]] = {}


@contextmanager
def connected(settings: Mapping[str, Any], timeout_s: float) -> Iterator[Any]:
    """Lend a connection, outside of any transaction; it is closed if the block raises.

    Raises:
        psycopg.OperationalError: The server can't be reached.
        TimeoutError: The server was silent for too long.
    """
    key = _key(settings, timeout_s)
    connection = _idle_one(key) or _new(settings, timeout_s)
    try:
        yield connection
    except BaseException:
        with suppress(Exception):  # It may be broken.
            connection.close()
        raise
    with _lock:
        kept = _idle.setdefault(key, [])
        if len(kept) < _KEPT_MAX:
            kept.append(connection)
            return
    connection.close()


def close_idle(settings: Mapping[str, Any], timeout_s: float) -> None:
    """Close the connections of some settings that nobody uses."""
    with _lock:
        found = _idle.pop(_key(settings, timeout_s), [])
    for each in found:
        each.close()


def _key(settings: Mapping[str, Any], timeout_s: float) -> _Key:
    return timeout_s, *sorted(settings.items())


def _idle_one(key: _Key) -> Any:
    """Return a connection that still answers, or None: servers restart."""
    psycopg = needed("psycopg", "postgres", "PostgresSink")
    while True:
        with _lock:
            kept = _idle.get(key)
            if not kept:
                return None
            connection = kept.pop()
        try:
            connection.execute("")
            connection.rollback()
        except psycopg.Error:
            connection.close()
        else:
            return connection


def _new(settings: Mapping[str, Any], timeout_s: float) -> Any:
    psycopg = needed("psycopg", "postgres", "PostgresSink")
    defaults = {
        "connect_timeout": max(2, round(timeout_s)),
        "application_name": "millstream",
        "client_encoding": "utf8",
    }
    connection = psycopg.connect(**{**defaults, **settings})
    connection.wait = _bounded(connection, timeout_s)
    # The server gives up first, and says what it waited for; and what a frozen process
    # holds doesn't keep others waiting for ever.
    for name, limit_s in (
        ("lock_timeout", timeout_s * 0.8),
        ("idle_in_transaction_session_timeout", timeout_s * 2),
    ):
        connection.execute(f"SET {name} = {round(limit_s * 1000)}")
    connection.execute("SET timezone = 'UTC'")
    connection.commit()
    return connection


def _bounded(connection: Any, timeout_s: float) -> Callable[..., Any]:
    """Return a connection's way to wait that gives up on a server that is silent."""
    psycopg = needed("psycopg", "postgres", "PostgresSink")
    plain = connection.wait

    def wait(*args: Any, **options: Any) -> Any:
        try:
            return plain(*args, **{"timeout": timeout_s, **options})
        except psycopg.OperationalError as error:
            if error.sqlstate is not None:
                raise
            is_silent = connection.pgconn.status == psycopg.pq.ConnStatus.OK
            # Whoever cleans up mustn't wait once more.
            connection.pgconn.finish()
            if not is_silent:
                raise
            msg = f"the server was silent for {timeout_s:g} s"
            raise TimeoutError(msg) from error

    return wait


@atexit.register
def _close_all() -> None:
    with _lock:
        found = [each for kept in _idle.values() for each in kept]
        _idle.clear()
    for each in found:
        with suppress(Exception):
            each.close()
