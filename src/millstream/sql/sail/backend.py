"""Backend: what `millstream.sql` asks of an engine, and Sail, which answers.

Sail loses some 0.2 MB with each query, whatever becomes of its session, so its process is
replaced when it has grown by so much: a new one is started and told all settings and
registered functions, then takes all queries that begin; the old one ends with its last.
No query needs what an earlier one has left in the process, for it brings its views along,
and its tables are files.
"""

import atexit
import inspect
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from millstream.engine.base.errors import IllegalStateError, SparkError
from millstream.sql import client
from millstream.sql.sail.conditions import with_condition
from millstream.sql.sail.engine import Engine
from millstream.sql.sail.leftovers import left_by

if TYPE_CHECKING:
    import pyarrow as pa

_log = logging.getLogger(__name__)

Plan: TypeAlias = Any
"""A query that wasn't run yet, as Spark Connect's client has it."""

_LOOK_EVERY = 8
_SETTLED_AFTER = 64
"""So many calls bring a process to what it needs for good: pools, caches, libraries."""
_INTERRUPTS = ("interrupt_all", "interrupt_tag", "interrupt_operation")
# The engine puts many records into a message, however long their texts are.
_CHANNEL = [("grpc.max_receive_message_length", -1)]
_COMMANDS = ("execute_command", "to_table")
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

    def __init__(
        self, timeout_s: float | None, group: Callable[[], str | None]
    ) -> None:
        from millstream.sql.sail.operations import Operations  # noqa: PLC0415  Needs the client.

        self.engine = Engine()
        core = client.module("sql.connect.client.core")
        # It is on this machine and has no other, so trying again is of no use; and what
        # is asked of it is answered on the call itself.
        self.connection = core.SparkConnectClient(
            self.engine.address,
            channel_options=_CHANNEL,
            use_reattachable_execute=False,
        )
        self.connection.set_retry_policies([])
        self.operations = Operations(
            self.connection._internal_stub, timeout_s, group, self.engine.end_of
        )
        self.connection._internal_stub = self.operations
        # It asks for this at Ctrl-C, and would wait for an engine that is busy.
        self.connection.interrupt_operation = lambda _: []
        # It would ask a process that is gone, and keep what was replaced.
        atexit.unregister(self.connection._on_exit)
        self.calls = 0
        self.running = 0
        self.settled_bytes = 0
        self.is_retired = False

    @property
    def is_fit(self) -> bool:
        """Whether it can take queries."""
        return not self.operations.is_tainted and self.engine.end_of() is None

    def close(self) -> None:
        """End it, and what runs there."""
        self.operations.cancel("the end of the SparkSession")
        self.connection.close()
        self.engine.stop()


class SailBackend:
    """Sail in a child process, which is replaced before it takes too much memory."""

    def __init__(
        self,
        growth_max_bytes: int,
        timeout_s: float | None = None,
        group: Callable[[], str | None] = lambda: None,
    ) -> None:
        """Start it; replace it when it has grown by `growth_max_bytes`.

        A query is cancelled that runs longer than `timeout_s`; `group` says which group of
        jobs the calling thread is in.

        Raises:
            MissingDependencyError: It isn't installed.
            SparkError: It doesn't start.
        """
        self._growth_max_bytes = growth_max_bytes
        self._timeout_s = timeout_s
        self._group = group
        self._lock = threading.Lock()
        self._renewing = threading.RLock()
        """Held while a process is made in another's place, or told what others are, too."""
        self._settings: dict[str, str] = {}
        self._registered: dict[tuple[str, str], Callable[[Any], Any]] = {}
        self._replacing: threading.Thread | None = None
        self._retired: set[_Process] = set()
        self._is_closed = False
        self._has_warned = False
        self.keeps = ""
        """What it has that a new process wouldn't have: then it isn't replaced."""
        self.replaced_count = 0
        self._now = self._made()
        self.connection = Connection(self)

    def _made(self) -> _Process:
        return _Process(self._timeout_s, self._group)

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
        if name in _INTERRUPTS:
            return getattr(self, name)
        value = getattr(self._now.connection, name)
        if not callable(value) or inspect.isclass(value):
            return value
        if inspect.isgeneratorfunction(value):
            return lambda *args, **more: self._iterate(name, args, more)
        if name in _REPLAYED:
            return lambda *args, **more: self._register(name, args, more)
        return lambda *args, **more: self._call(name, args, more)

    def _call(self, name: str, args: tuple[Any, ...], more: dict[str, Any]) -> Any:
        process = self._enter()
        try:
            made = getattr(process.connection, name)(*args, **more)
        except Exception as error:
            raise with_condition(error, args[0] if args else None) from error.__cause__
        finally:
            self._leave(process)
        if name in _COMMANDS:
            self._note(args[0])
        return made

    def _iterate(
        self, name: str, args: tuple[Any, ...], more: dict[str, Any]
    ) -> Iterator[Any]:
        process = self._enter()
        try:
            yield from getattr(process.connection, name)(*args, **more)
        except Exception as error:
            raise with_condition(error, args[0] if args else None) from error.__cause__
        finally:
            self._leave(process)

    def _register(self, name: str, args: tuple[Any, ...], more: dict[str, Any]) -> Any:
        with self._renewing:
            made = self._call(name, args, more)
            known = made or getattr(args[0], "__name__", args[0])

            def again(connection: Any) -> Any:
                return getattr(connection, name)(*args, **more)

            self._registered[name, str(known)] = again
        return made

    def set(self, key: str, value: str | None) -> None:
        """Set a key for all queries from now on, or unset it.

        Raises:
            PySparkException: The engine refuses it.
        """
        conf = client.module("sql.connect.conf").RuntimeConf(self.connection)
        with self._renewing:
            if value is None:
                conf.unset(key)
            else:
                conf.set(key, value)
            self._settings.pop(key, None)
            if value is not None:
                self._settings[key] = value

    def _note(self, plan: Any) -> None:
        """Note what a command has left in the process."""
        left = left_by(plan)
        if left is not None:
            self.keeps = left

    def _enter(self) -> _Process:
        while True:
            with self._lock:
                if self._is_closed:
                    msg = "the SparkSession was stopped"
                    raise IllegalStateError(msg, hint="make a new one")
                process = self._now
                is_taken = self._can_take(process)
                if is_taken:
                    process.running += 1
                    process.calls += 1
            if is_taken:
                # `addPyFile` has added to them.
                process.engine.find_modules()
                return process
            self._mend(process)

    def _can_take(self, process: _Process) -> bool:
        if process.is_fit:
            return True
        # What was cancelled may go on there, beside what only it has.
        return bool(self.keeps) and process.engine.end_of() is None

    def _leave(self, process: _Process) -> None:
        with self._lock:
            process.running -= 1
            is_over = process.is_retired and not process.running
            is_to_look = process is self._now and process.calls % _LOOK_EVERY == 0
        if is_over:
            self._end(process)
        elif is_to_look:
            self._look(process)

    # Cancelling.

    def interrupt_all(self) -> list[str]:
        """Cancel all that runs; return the ids of it."""
        return self._cancel("interruptAll", lambda _: True)

    def interrupt_tag(self, tag: str) -> list[str]:
        """Cancel what runs with a tag; return the ids of it."""
        return self._cancel(f"interruptTag({tag!r})", lambda each: tag in each.tags)

    def interrupt_operation(self, op_id: str) -> list[str]:
        """Cancel what runs by an id; return the ids of it."""
        return self._cancel("interruptOperation", lambda each: each.id == op_id)

    def cancel_group(self, group: str | None) -> list[str]:
        """Cancel what runs in a group of jobs, or all if there is none given."""
        if group is None:
            return self._cancel("cancelAllJobs", lambda _: True)
        return self._cancel(
            f"cancelJobGroup({group!r})", lambda each: each.group == group
        )

    def _cancel(self, reason: str, fits: Callable[[Any], bool]) -> list[str]:
        with self._lock:
            processes = [self._now, *self._retired]
        return [
            id_ for each in processes for id_ in each.operations.cancel(reason, fits)
        ]

    # Replacing.

    def _look(self, process: _Process) -> None:
        # One read of a file of the system's, some 12 us.
        held = process.engine.memory_bytes
        if process.calls <= _SETTLED_AFTER or not process.settled_bytes:
            process.settled_bytes = held
            return
        if held - process.settled_bytes <= self._growth_max_bytes:
            return
        with self._lock:
            if self._replacing is not None or self._is_closed:
                return
            if self.keeps:
                has_warned, self._has_warned = self._has_warned, True
                if not has_warned:
                    _log.warning(
                        "SQL engine can't give back memory it has lost memory_mb=%d "
                        "reason=%s",
                        held >> 20,
                        self.keeps,
                    )
                return
            self._replacing = threading.Thread(
                target=self._replace, args=(process,), name="millstream-sql-replace"
            )
            self._replacing.start()

    def replace(self) -> None:
        """Put a new process in the place of the one that there is, and wait for it.

        Raises:
            SparkError: No new one starts; the old one goes on.
        """
        self._renew(self._now)

    def _replace(self, old: _Process) -> None:
        try:
            self._renew(old)
        except Exception:
            # From here on it may grow by as much again.
            old.settled_bytes = old.engine.memory_bytes
            _log.exception(
                "SQL engine can't be replaced, goes on pid=%d", old.engine.pid
            )
        finally:
            self._replacing = None

    def _mend(self, process: _Process) -> None:
        """Have a new process take queries where one can't any more."""
        with self._renewing:
            if self._now is not process:
                return
            ended = process.engine.end_of()
            _log.warning(
                "SQL engine is replaced pid=%d how=%s lost=%s",
                process.engine.pid,
                ended or "a query was cancelled there",
                self.keeps or "nothing",
            )
            self.keeps = ""
            self._renew(process)

    def _renew(self, old: _Process) -> None:
        with self._renewing:
            if self._is_closed or self._now is not old:
                return
            new = self._prepared()
            with self._lock:
                if not self._is_closed:
                    # Tags of threads are the client's, not the process's.
                    new.connection.thread_local = old.connection.thread_local
                    self._now = new
                    old.is_retired = True
                    self._retired.add(old)
                    self.replaced_count += 1
                is_swapped = self._now is new
                is_idle = not old.running
        if not is_swapped:
            new.close()
        elif is_idle:
            self._end(old)
        _log.info("SQL engine replaced pid=%d", new.engine.pid)

    def _end(self, process: _Process) -> None:
        with self._lock:
            self._retired.discard(process)
        process.close()

    def _prepared(self) -> _Process:
        new = self._made()
        try:
            conf = client.module("sql.connect.conf").RuntimeConf(new.connection)
            for key, value in self._settings.items():
                conf.set(key, value)
            for each in self._registered.values():
                each(new.connection)
        except Exception:
            new.close()
            raise
        return new

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
        from millstream.sql.deferred import Filling  # noqa: PLC0415  Needs the client.

        connection = Filling(self.connection)
        table, _, _ = connection.to_table(plan.to_proto(connection), {})
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
            processes = [*self._retired, self._now]
        for each in processes:
            each.close()
        if replacing is not None:
            replacing.join()
        with self._renewing:
            pass  # Whoever makes another has ended it.


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
