"""Backend: what `millstream.sql` asks of an engine, and Sail, which answers.

Sail loses some 0.2 MB with each query, whatever becomes of its session, so its process is
replaced when it has grown by so much: a new one is started and told all settings and
registered functions, then takes all queries that begin; the old one ends with its last.
No query needs what an earlier one has left in the process, for it brings its views along,
and its tables are files.
"""

import inspect
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from millstream.engine.base.errors import IllegalStateError, SparkError
from millstream.errors import QueryExecutionException
from millstream.sql import client
from millstream.sql.engine import Engine

if TYPE_CHECKING:
    import pyarrow as pa

_log = logging.getLogger(__name__)

Plan: TypeAlias = Any
"""A query that wasn't run yet, as Spark Connect's client has it."""

_LOOK_EVERY = 8
_SETTLED_AFTER = 64
"""So many calls bring a process to what it needs for good: pools, caches, libraries."""
_END_S = 1.0
_REPLAYED = ("register_udf", "register_udtf", "register_data_source", "register_java")


class SqlBackend(Protocol):
    """An engine that queries run on. Thread-safe."""

    @property
    def connection(self) -> Any:
        """What the client's classes take for their connection."""
        ...

    def stage(self, table: "pa.Table") -> Plan:
        """Return a plan that gives a table, however large it is."""
        ...

    def query(self, text: str, views: Mapping[str, Plan]) -> Plan:
        """Return the plan of a query, which carries the plans of the views it names."""
        ...

    def fetch(self, plan: Plan) -> "pa.Table":
        """Run a plan, and return what comes of it.

        Raises:
            QueryExecutionException: The engine ended meanwhile.
            PySparkException: The query is wrong, or failed.
        """
        ...

    def close(self) -> None:
        """End; what runs is lost."""
        ...


class _Process:
    """One process of the engine, and the connection to it."""

    def __init__(self) -> None:
        self.engine = Engine()
        core = client.module("sql.connect.client.core")
        # It is on this machine and has no other, so trying again is of no use; and what
        # is asked of it is answered on the call itself.
        self.connection = core.SparkConnectClient(
            self.engine.address, use_reattachable_execute=True
        )
        self.connection.set_retry_policies([])
        self.calls = 0
        self.running = 0
        self.settled_bytes = 0
        self.is_retired = False

    def close(self) -> None:
        # The session first: a client whose server is gone would wait for it.
        if self.engine.end_of() is None:
            try:
                self.connection.release_session()
            except Exception as error:
                _log.debug("SQL session can't be released error=%r", error)
        self.connection.close()
        self.engine.stop()


class SailBackend:
    """Sail in a child process, which is replaced before it takes too much memory."""

    def __init__(self, growth_max_bytes: int) -> None:
        """Start it; replace it when it has grown by `growth_max_bytes`.

        Raises:
            MissingDependencyError: It isn't installed.
            SparkError: It doesn't start.
        """
        self._growth_max_bytes = growth_max_bytes
        self._lock = threading.Lock()
        self._settings: dict[str, str] = {}
        self._registered: dict[tuple[str, Any], Callable[[Any], Any]] = {}
        self._replacing: threading.Thread | None = None
        self._is_closed = False
        self.keeps = ""
        """What it has that a new process wouldn't have: then it isn't replaced."""
        self.replaced_count = 0
        self._now = _Process()
        self.connection = Connection(self)

    @property
    def pid(self) -> int:
        """The process that takes queries now."""
        return self._now.engine.pid

    @property
    def memory_bytes(self) -> int:
        """How much memory it holds."""
        return self._now.engine.memory_bytes

    # What the client asks.

    def attribute(self, name: str) -> Any:
        """Return what the connection to the current process has by a name."""
        value = getattr(self._now.connection, name)
        if not callable(value) or inspect.isclass(value):
            return value
        return lambda *args, **more: self._call(name, args, more)

    def _call(self, name: str, args: tuple[Any, ...], more: dict[str, Any]) -> Any:
        process = self._enter()
        has_left = False
        try:
            made = getattr(process.connection, name)(*args, **more)
            if inspect.isgenerator(made):
                has_left = True
                return self._pass_on(process, made)
        except Exception as error:
            raise self._told(process, error) from error
        finally:
            if not has_left:
                self._leave(process)
        if name in _REPLAYED:
            self._note_registered(name, args, more)
        return made

    def _pass_on(self, process: _Process, made: Iterator[Any]) -> Iterator[Any]:
        try:
            yield from made
        except Exception as error:
            raise self._told(process, error) from error
        finally:
            self._leave(process)

    def _note_registered(
        self, name: str, args: tuple[Any, ...], more: dict[str, Any]
    ) -> None:
        known = more.get("name", args[1] if len(args) > 1 else None)
        with self._lock:
            self._registered[name, str(known)] = lambda connection: getattr(
                connection, name
            )(*args, **more)

    def set(self, key: str, value: str | None) -> None:
        """Set a key for all queries from now on, or unset it.

        Raises:
            PySparkException: The engine refuses it.
        """
        conf = client.module("sql.connect.conf").RuntimeConf(self.connection)
        if value is None:
            conf.unset(key)
        else:
            conf.set(key, value)
        with self._lock:
            self._settings.pop(key, None)
            if value is not None:
                self._settings[key] = value

    def _enter(self) -> _Process:
        with self._lock:
            if self._is_closed:
                msg = "the SparkSession was stopped"
                raise IllegalStateError(msg, hint="make a new one")
            process = self._now
            process.running += 1
            process.calls += 1
        return process

    def _leave(self, process: _Process) -> None:
        with self._lock:
            process.running -= 1
            is_over = process.is_retired and not process.running
            is_to_look = process is self._now and process.calls % _LOOK_EVERY == 0
        if is_over:
            process.close()
        elif is_to_look:
            self._look(process)

    # Replacing.

    def _look(self, process: _Process) -> None:
        held = process.engine.memory_bytes
        if process.calls <= _SETTLED_AFTER or not process.settled_bytes:
            process.settled_bytes = held
            return
        has_grown = held - process.settled_bytes > self._growth_max_bytes
        with self._lock:
            if not has_grown or self._replacing is not None or self._is_closed:
                return
            if self.keeps:
                _log.warning(
                    "SQL engine can't give back memory it has lost memory_mb=%d reason=%s",
                    held >> 20,
                    self.keeps,
                )
                return
            self._replacing = threading.Thread(
                target=self._replace, args=(process,), name="millstream-sql-replace"
            )
        self._replacing.start()

    def replace(self) -> None:
        """Put a new process in the place of the one that there is, and wait for it."""
        self._replace(self._now)

    def _replace(self, old: _Process) -> None:
        try:
            new = self._prepared()
            with self._lock:
                if self._is_closed or self._now is not old:
                    unwanted = new
                else:
                    # Tags of threads are the client's, not the process's.
                    new.connection.thread_local = old.connection.thread_local
                    self._now, unwanted = new, old
                    self.replaced_count += 1
                    old.is_retired = True
                is_idle = not unwanted.running
            if is_idle:
                unwanted.close()
            _log.info("SQL engine replaced pid=%d", new.engine.pid)
        except Exception:
            _log.exception("SQL engine can't be replaced")
            if old.engine.end_of() is not None:
                raise
        finally:
            self._replacing = None

    def _prepared(self) -> _Process:
        new = _Process()
        with self._lock:
            settings, registered = dict(self._settings), list(self._registered.values())
        conf = client.module("sql.connect.conf").RuntimeConf(new.connection)
        for key, value in settings.items():
            conf.set(key, value)
        for each in registered:
            each(new.connection)
        return new

    def _told(self, process: _Process, error: Exception) -> Exception:
        """Return what to raise for an error of the client's."""
        kind = type(error).__name__
        is_lost = kind in (
            "SparkConnectGrpcException",
            "RetriesExceeded",
            "_InactiveRpcError",
        )
        ended = process.engine.end_of(_END_S if is_lost else 0.0)
        if ended is None:
            return error
        if process is self._now and not self._is_closed:
            _log.warning("SQL engine ended pid=%d how=%s", process.engine.pid, ended)
            self._replace(process)
        return QueryExecutionException(
            f"the SQL engine's process ended ({ended}) while it ran this query",
            hint="a new one takes the next query: run it again. A function of the query "
            "may have ended the process, or the machine may be out of memory",
        )

    # The protocol.

    def stage(self, table: "pa.Table") -> Plan:
        """Return a plan that gives a table, however large it is."""
        from millstream.sql.staging import Staged  # noqa: PLC0415  Needs the client.

        return Staged(table)

    def query(self, text: str, views: Mapping[str, Plan]) -> Plan:
        """Return the plan of a query, which carries the plans of the views it names."""
        plans = client.module("sql.connect.plan")
        named = [plans.SubqueryAlias(plan, name) for name, plan in views.items()]
        return plans.SQL(text, [], {}, named)

    def fetch(self, plan: Plan) -> "pa.Table":
        """Run a plan, and return what comes of it.

        Raises:
            QueryExecutionException: The engine ended meanwhile.
            PySparkException: The query is wrong, or failed.
        """
        table, _, _ = self.connection.to_table(plan.to_proto(self.connection), {})
        if table is None:
            msg = "the SQL engine has answered without a table"
            raise SparkError(msg)
        return table

    def close(self) -> None:
        """End; what runs is lost."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            replacing = self._replacing
        if replacing is not None:
            replacing.join()
        self._now.close()


class Connection:
    """What the client's classes take for their connection: that of the current process."""

    def __init__(self, backend: SailBackend) -> None:
        """Ask `backend`."""
        self._backend = backend

    @property
    def is_closed(self) -> bool:
        """Whether the session was stopped."""
        return self._backend._is_closed

    def __getattr__(self, name: str) -> Any:
        return self._backend.attribute(name)
