"""HostedSupervisor: a receiver that lives apart, as the tracker knows it.

It starts a host, polls it, does for the supervisor in there what that asks for, and tells
how it ended: if the host dies, the receiver has stopped with an error.
"""

import itertools
import logging
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeAlias, assert_never

from millstream.engine.base import driver_link, frames
from millstream.engine.base.clock import Clock, monotonic_s
from millstream.engine.base.errors import SparkError
from millstream.engine.base.threads import ThreadPool
from millstream.engine.durable import frozen_bytes
from millstream.engine.ingest.block_handler import BlockHandler
from millstream.engine.ingest.exchange import POLLS_MAX, DriverEnd, Poll
from millstream.engine.ingest.host import (
    Call,
    Command,
    Cut,
    Deregister,
    Ended,
    Followed,
    HostProgram,
    Keep,
    Launch,
    Pause,
    Question,
    Register,
    Reply,
    ReportedError,
    Resume,
    Said,
    Save,
    Start,
    Stop,
    UpdateRate,
)
from millstream.engine.ingest.supervisor import (
    ReceiverOwner,
    keep_block,
    limit_of,
)
from millstream.engine.workers.receiver_hosting import (
    Host,
    HostLost,
    HostOrder,
    StartHost,
)

_log = logging.getLogger(__name__)

_KEEPING_THREADS = 8
_LOOK_S = 0.5
_AGAIN_S = 0.1
_CUT_MAX_S = 1.0
_POOL_CLOSE_S = 1.0


class HostedOwner(ReceiverOwner, Protocol):
    """Whom a supervisor tells, who also hears where its receiver is."""

    def register(
        self,
        stream_id: int,
        name: str,
        location: str = "localhost",
        executor_id: str = "driver",
    ) -> bool:
        """Note that a receiver starts; False refuses it."""
        ...


@dataclass(frozen=True, slots=True)
class _Answered:
    data: bytes


@dataclass(frozen=True, slots=True)
class _Lost:
    poll: int
    error: BaseException


_Event: TypeAlias = _Answered | _Lost | None
"""None: there is something to say."""


class HostedSupervisor:
    """One life of a receiver that lives apart. All methods may be called by any thread."""

    def __init__(
        self,
        launch: Launch,
        owner: HostedOwner,
        handler: BlockHandler,
        clock: Clock,
        start_host: StartHost,
        preferred_host: str | None = None,
    ) -> None:
        """Prepare; nothing runs yet."""
        self.stream_id = launch.stream_id
        self._launch = launch
        self._owner = owner
        self._handler = handler
        self._start_host = start_host
        self._preferred_host = preferred_host
        # What the host does, here: to be asked for.
        self._limit = limit_of(launch.settings, clock)
        self._lock = threading.Condition()
        self._end = DriverEnd(launch.epoch)
        self._events: queue.SimpleQueue[_Event] = queue.SimpleQueue()
        self._numbers = itertools.count()
        self._followed: set[int] = set()
        self._is_over = False
        self._host: Host | None = None
        self._name: str | None = None
        """What the receiver is called, while it is registered."""
        self._heard_s = 0.0
        self._has_answered = False
        self._pool = ThreadPool(
            _KEEPING_THREADS, f"millstream-keeping-{launch.stream_id}"
        )

    # What the tracker asks for.

    def run(self, until: Callable[[], bool]) -> BaseException | None:
        """Start a host, serve it until its receiver has ended; return its error, if any."""
        error: BaseException | None = None
        try:
            if not until():
                error = self._run()
        except HostLost as lost:
            error = self._mourn(str(lost))
        finally:
            with self._lock:
                self._is_over = True
                self._lock.notify_all()
            self.let_go()
            self._pool.close(_POOL_CLOSE_S)
        return error

    @property
    def rate_per_second(self) -> float | None:
        """How many records a second may come in, or None."""
        return self._limit.per_second

    def update_rate(self, per_second: float | None) -> None:
        """Let so many records a second come in, within the configured limit; None: that."""
        self._limit.update(per_second)
        self._say(UpdateRate(per_second))

    def pause(self) -> None:
        """Make whoever stores wait, until `resume` or the end; before `run`, too."""
        self._say(Pause())

    def resume(self) -> None:
        """Let records come in again."""
        self._say(Resume())

    def cut_singles(self) -> None:
        """Store the single records that have been handed over; return when it is done.

        Bounded: what a host that is busy stores later is the next batch's.
        """
        self._await(Cut(next(self._numbers)), _CUT_MAX_S)

    def stop_soon(self, message: str) -> None:
        """Stop the receiver, store what it has handed over, and end."""
        self._say(Stop(message))

    def save(self, timeout_s: float) -> None:
        """Store what was handed over, and take no more, though the receiver hangs."""
        self._await(Save(next(self._numbers)), timeout_s)

    def join(self, timeout_s: float) -> bool:
        """Do nothing: what the receiver still did has ended with its process."""
        del timeout_s
        return True

    def let_go(self) -> None:
        """End the host, whatever it does."""
        host = self._host
        if host is not None:
            host.end()

    def _say(self, message: Command | Reply) -> None:
        with self._lock:
            self._end.say(message)
        self._events.put(None)

    def _await(self, command: Cut | Save, timeout_s: float) -> None:
        with self._lock:
            if self._is_over or not self._has_answered:
                return  # There is nothing yet, or nothing any more.
        self._say(command)
        with self._lock:
            self._lock.wait_for(
                lambda: command.number in self._followed or self._is_over, timeout_s
            )
            self._followed.discard(command.number)

    # One thread: polls, and hears what the host says.

    def _run(self) -> BaseException | None:
        self._say(Start())
        order = HostOrder(
            f"receiver {self.stream_id}",
            frames.dumps_function(HostProgram(self._launch)),
            POLLS_MAX,
            self._preferred_host,
        )
        host = self._host = self._start_host(order)
        self._heard_s = monotonic_s()
        again_s = 0.0
        while True:
            if monotonic_s() >= again_s:
                self._make_polls(host)
            ended = None
            match self._next_event():
                case _Answered(data):
                    ended = self._hear(data)
                case _Lost(poll, error):
                    if isinstance(error, HostLost):
                        raise error
                    _log.warning(
                        "a poll of a receiver was lost stream=%d error=%s",
                        self.stream_id,
                        error,
                    )
                    with self._lock:
                        self._end.on_lost(poll)
                    again_s = monotonic_s() + _AGAIN_S
                case None:
                    self._check_alive(host)
            if ended is not None:
                return None if ended.error is None else SparkError(ended.error)

    def _next_event(self) -> _Event:
        try:
            return self._events.get(timeout=_LOOK_S)
        except queue.Empty:
            return None

    def _check_alive(self, host: Host) -> None:
        limit_s = host.silence_max_s if self._has_answered else host.starting_max_s
        if monotonic_s() - self._heard_s > limit_s:
            what = "was silent" if self._has_answered else "wasn't ready"
            msg = f"its process {what} for {limit_s:g} s"
            raise HostLost(msg)

    def _make_polls(self, host: Host) -> None:
        while True:
            with self._lock:
                poll = self._end.next_poll()
            if poll is None:
                return
            asked = host.poll(frames.dumps(poll))
            asked.add_done_callback(partial(self._on_done, host, poll.number))

    def _on_done(self, host: Host, poll: int, done: "Future[bytes]") -> None:
        error = done.exception()
        if self._is_over:
            if error is None:
                self._tell_that_it_is_old(host)
            return
        self._events.put(
            _Answered(done.result()) if error is None else _Lost(poll, error)
        )

    def _tell_that_it_is_old(self, host: Host) -> None:
        """Answer a host that was thought to be dead: nobody takes its blocks."""
        newer = Poll(self._launch.epoch + 1, 1, 0, frozenset({1}))
        host.poll(frames.dumps(newer))

    def _hear(self, data: bytes) -> Ended | None:
        self._heard_s = monotonic_s()
        with self._lock:
            said: list[Said] = self._end.on_answer(frames.loads(data))
            self._has_answered = True
        for message in said:
            if isinstance(message, Ended):
                return message
            self._take(message)
        return None

    def _take(self, message: Call | Deregister | ReportedError | Followed) -> None:
        match message:
            case Call(number, Register(name, location)):
                self._name = name
                where = (location, f"receiver-{self.stream_id}")
                accepted = self._owner.register(self.stream_id, name, *where)
                self._say(Reply(number, accepted))
            case Call(number, Keep() as block):
                self._pool.submit(
                    lambda: self._reply(number, partial(self._keep, block))
                )
            case Call(number, Question(topic, asked)):
                answer = partial(driver_link.answer_to, topic, asked)
                self._pool.submit(lambda: self._reply(number, answer))
            case Deregister(told, error):
                self._name = None
                self._owner.deregister(self.stream_id, told, error)
            case ReportedError(told, error):
                self._owner.report_error(self.stream_id, told, error)
            case Followed(number):
                with self._lock:
                    self._followed.add(number)
                    self._lock.notify_all()
            case Call():
                msg = f"a receiver's host asked for {message.deed!r:.100}"
                raise AssertionError(msg)
            case _:
                assert_never(message)

    def _reply(self, number: int, work: Callable[[], Any]) -> None:
        try:
            reply = Reply(number, work())
        except Exception as error:
            reply = Reply(number, error=_pickled(error))
        self._say(reply)

    def _keep(self, block: Keep) -> None:
        frozen = frozen_bytes.decode(block.data, block.record_count)
        keep_block(
            self._owner,
            self._handler,
            self.stream_id,
            block.block_id,
            partial(self._handler.store, block.block_id, frozen, block.level),
            frames.loads(block.metadata),
        )

    def _mourn(self, reason: str) -> SparkError:
        """Tell the owner of a receiver that died with its host."""
        name = self._name or f"receiver {self.stream_id}"
        error = SparkError(
            f"receiver '{name}' of stream {self.stream_id} was lost: {reason}",
            hint="blocks that it was told of as stored are in their batches",
        )
        if self._name is not None:
            self._owner.deregister(self.stream_id, f"{name} was lost", str(error))
        else:
            self._owner.report_error(self.stream_id, f"{name} was lost", str(error))
        return error


def _pickled(error: Exception) -> bytes:
    try:
        data = frames.dumps(error)
        frames.loads(data)
    except Exception:  # One of the program's own log class, say.
        return frames.dumps(SparkError(f"{type(error).__name__}: {error}"))
    return data
