"""Operations: what runs in a process of the engine; each can be ended from here.

They stand between the client and its connection. What ends an operation is known here
first, so it is told here: cancelled, too long, or its process is gone.
"""

import itertools
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import grpc

from millstream.engine.base.errors import JobCancelledError
from millstream.errors import QueryExecutionException
from millstream.sql import client
from millstream.sql.sail.conditions import text_of

_proto = client.module("sql.connect.proto")

_TIMEOUT: Final = "spark.millstream.sql.timeout"
_END_S = 1.0
_LATE = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
"""What a call says whose process is about to be gone."""
_KEPT_MAX = 16 << 10
"""The engine keeps an answer until it is told not to; small ones aren't worth telling."""
_ASK_S = 10.0
_numbers = itertools.count(1)


def _new_id() -> str:
    # The engine wants them in this form.
    return str(uuid.UUID(int=next(_numbers), version=4))


class QueryCancelledError(JobCancelledError, QueryExecutionException):
    """A query was cancelled, by somebody or because it ran for too long."""

    def getCondition(self) -> str:
        """Return Spark's name for it."""
        return "OPERATION_CANCELED"


@dataclass(eq=False, slots=True)
class Operation:
    """A query that runs."""

    id: str
    tags: frozenset[str]
    group: str | None
    text: str
    call: Any = None
    reason: str | None = None
    """Why it was cancelled."""


class Operations:
    """In place of the connection's stub. Thread-safe."""

    def __init__(
        self,
        stub: Any,
        timeout_s: float | None,
        group: Callable[[], str | None],
        end_of: Callable[[float], str | None],
    ) -> None:
        """Call `stub`; cancel what runs longer than `timeout_s`.

        `group` says which group of jobs the calling thread is in, `end_of` how the process
        ended, after so many seconds at most.
        """
        self._stub = stub
        self._timeout_s = timeout_s
        self._group = group
        self._end_of = end_of
        self._lock = threading.Lock()
        self._running: dict[str, Operation] = {}
        self.is_tainted = False
        """Whether the process may go on with something that was cancelled."""

    def cancel(
        self, reason: str, fits: Callable[[Operation], bool] = lambda _: True
    ) -> list[str]:
        """Cancel what runs now and fits; return its ids."""
        with self._lock:
            found = [each for each in self._running.values() if fits(each)]
            for each in found:
                each.reason = each.reason or reason
        for each in found:
            if each.call is not None:
                each.call.cancel()
        return [each.id for each in found]

    # What the client calls.

    def ExecutePlan(
        self, request: Any, metadata: Any = None, timeout: float | None = None
    ) -> Iterator[Any]:
        """Run a query; the engine's answers.

        Raises:
            QueryCancelledError: It was cancelled, or ran for too long.
            QueryExecutionException: Its process ended.
        """
        request.operation_id = request.operation_id or _new_id()
        # Then the engine says when an answer is complete.
        options = _proto.ReattachOptions(reattachable=True)
        request.request_options.add(reattach_options=options)
        operation = Operation(
            request.operation_id,
            frozenset(request.tags),
            self._group(),
            text_of(request.plan),
        )
        with self._lock:
            self._running[operation.id] = operation
        is_over = False
        size = 0
        try:
            operation.call = self._stub.ExecutePlan(
                request, metadata=metadata, timeout=self._timeout_s or timeout
            )
            if operation.reason is not None:
                operation.call.cancel()
            for response in operation.call:
                is_over = response.HasField("result_complete")
                size += response.ByteSize()
                yield response
            if not is_over:
                raise self._incomplete(operation)
        except grpc.RpcError as error:
            is_over = error.code() is not grpc.StatusCode.CANCELLED
            raise self._told(operation, error) from None
        except KeyboardInterrupt:
            self.is_tainted = True
            raise
        finally:
            with self._lock:
                del self._running[operation.id]
            if not is_over:
                self._interrupt(request, operation)
            elif size > _KEPT_MAX:
                self._release(request)

    def AnalyzePlan(
        self, request: Any, metadata: Any = None, timeout: float | None = None
    ) -> Any:
        """Ask about a query.

        Raises:
            QueryCancelledError: It took too long.
            QueryExecutionException: Its process ended.
        """
        try:
            return self._stub.AnalyzePlan(
                request, metadata=metadata, timeout=self._timeout_s or timeout
            )
        except grpc.RpcError as error:
            which = request.WhichOneof("analyze")
            asked = getattr(getattr(request, which), "plan", None)
            text = text_of(asked) if asked is not None else which
            raise self._told(Operation("", frozenset(), None, text), error) from None

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._stub, name)

        def call(request: Any, **more: Any) -> Any:
            try:
                return method(request, **more)
            except grpc.RpcError as error:
                asked = Operation("", frozenset(), None, name)
                raise self._told(asked, error) from None

        return call

    # How an operation ends.

    def _told(self, operation: Operation, error: Any) -> Exception:
        """Return what to raise for an error of the connection's."""
        if operation.reason is not None:
            self.is_tainted = True
            msg = f"the query was cancelled by {operation.reason}: {operation.text}"
            return QueryCancelledError(msg)
        code = error.code()
        if code is grpc.StatusCode.DEADLINE_EXCEEDED and self._timeout_s is not None:
            self.is_tainted = True
            return QueryCancelledError(
                f"the query was cancelled after {self._timeout_s:g} s: {operation.text}",
                hint=f"it may take longer by a larger {_TIMEOUT}",
            )
        ended = self._end_of(_END_S if code in _LATE else 0.0)
        return error if ended is None else _lost(operation, ended)

    def _incomplete(self, operation: Operation) -> Exception:
        if operation.reason is not None:
            self.is_tainted = True
            msg = f"the query was cancelled by {operation.reason}: {operation.text}"
            return QueryCancelledError(msg)
        ended = self._end_of(_END_S)
        if ended is not None:
            return _lost(operation, ended)
        return QueryExecutionException(
            f"the SQL engine has ended its answer too early: {operation.text}",
            hint="run it again; RUST_LOG=info shows what the engine says meanwhile",
        )

    def _interrupt(self, request: Any, operation: Operation) -> None:
        """Have the engine go on with an operation no longer, if it can."""
        if operation.call is not None:
            operation.call.cancel()
        asked = _proto.InterruptRequest(
            session_id=request.session_id,
            user_context=request.user_context,
            interrupt_type=_proto.InterruptRequest.INTERRUPT_TYPE_OPERATION_ID,
            operation_id=operation.id,
        )
        with suppress(ValueError):  # The connection was closed, and the process ends.
            self._stub.Interrupt.future(asked, timeout=_ASK_S)

    def _release(self, request: Any) -> None:
        asked = _proto.ReleaseExecuteRequest(
            session_id=request.session_id,
            user_context=request.user_context,
            operation_id=request.operation_id,
            release_all=_proto.ReleaseExecuteRequest.ReleaseAll(),
        )
        with suppress(ValueError):  # As above.
            self._stub.ReleaseExecute.future(asked, timeout=_ASK_S)


def _lost(operation: Operation, ended: str) -> Exception:
    return QueryExecutionException(
        f"the SQL engine's process ended ({ended}) while it ran: {operation.text}",
        hint="a new one takes the next query: run it again. A function of the query may "
        "have ended the process, or the machine may be out of memory",
    )
