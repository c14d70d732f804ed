"""ReceiverHost: a receiver with its supervisor, in a process apart from the driver's.

The supervisor is an ordinary one. Whom it tells, and who makes its blocks safe, is the
driver: `store` of a block returns when the driver has stored and noted it.
"""

import itertools
import logging
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from millstream.engine.base import driver_link, frames
from millstream.engine.base.clock import SystemClock, monotonic_s
from millstream.engine.base.config import Settings
from millstream.engine.base.errors import SparkError
from millstream.engine.base.levels import StorageLevel
from millstream.engine.base.threads import SerialLoop
from millstream.engine.columnar.blocks import Frozen
from millstream.engine.durable import frozen_bytes
from millstream.engine.ingest.block_handler import StoredBlock
from millstream.engine.ingest.exchange import HostEnd, Poll
from millstream.engine.ingest.receiver import Receiver
from millstream.engine.ingest.supervisor import ReceiverSupervisor
from millstream.engine.plan.partitions import freeze
from millstream.engine.workers.receiver_hosting import Serve

_log = logging.getLogger(__name__)

HOLD_S = 1.0
"""How long a poll is held, at most: each answer says that the host is alive."""
_UNHEARD_MAX = 16
_DRIVER_SILENCE_MAX_S = 60.0
_SAVE_S = 3600.0  # The driver waits as long as it likes.


@dataclass(frozen=True, slots=True)
class Launch:
    """What a host is started with."""

    stream_id: int
    epoch: int
    receiver: bytes
    settings: Settings
    location: str | None = None
    """What its machine is called; None: it asks there."""


# What the host says.


@dataclass(frozen=True, slots=True)
class Register:
    """The receiver starts; answered by whether it may."""

    name: str
    location: str


@dataclass(frozen=True, slots=True)
class Keep:
    """A block to be stored and noted; answered when it is."""

    block_id: str
    data: bytes
    record_count: int
    level: StorageLevel
    metadata: bytes


@dataclass(frozen=True, slots=True)
class Question:
    """What user code wants to know: see `driver_link`."""

    topic: str
    question: Any


@dataclass(frozen=True, slots=True)
class Call:
    """Something that the driver replies to."""

    number: int
    deed: Register | Keep | Question


@dataclass(frozen=True, slots=True)
class Deregister:
    """The receiver stopped."""

    message: str
    error: str


@dataclass(frozen=True, slots=True)
class ReportedError:
    """The receiver has met an error, and goes on."""

    message: str
    error: str


@dataclass(frozen=True, slots=True)
class Followed:
    """A command has been followed to its end."""

    number: int


@dataclass(frozen=True, slots=True)
class Ended:
    """The supervisor has ended: the host's last words."""

    error: str | None


Said: TypeAlias = Call | Deregister | ReportedError | Followed | Ended

# What the driver says.


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of a call: a value, or a pickled error."""

    number: int
    value: Any = None
    error: bytes | None = None


@dataclass(frozen=True, slots=True)
class Start:
    """Start the receiver."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Make whoever stores wait."""


@dataclass(frozen=True, slots=True)
class Resume:
    """Let records come in again."""


@dataclass(frozen=True, slots=True)
class UpdateRate:
    """Let so many records a second come in; None: as many as settings do."""

    per_second: float | None


@dataclass(frozen=True, slots=True)
class Cut:
    """Store what has been handed over so far."""

    number: int


@dataclass(frozen=True, slots=True)
class Save:
    """Store what has been handed over, and take no more."""

    number: int


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop the receiver, store what it has handed over, and end."""

    message: str


Command: TypeAlias = Start | Pause | Resume | UpdateRate | Cut | Save | Stop


class ReceiverHost:
    """Serves polls, and runs the receiver when the driver says so. Thread-safe."""

    def __init__(self, launch: Launch, leave: Callable[[], None]) -> None:
        """Be of the epoch that `launch` says; `leave` ends the process."""
        self._launch = launch
        self._leave = leave
        self._end = HostEnd(launch.epoch)
        self._changed = threading.Condition()
        self._numbers = itertools.count()
        self._replies: dict[int, Reply] = {}
        self._is_over = False
        self._heard_s = monotonic_s()
        self._left = threading.Event()
        self._supervisor: ReceiverSupervisor | None = None
        self._commands = SerialLoop(
            f"millstream-commands-{launch.stream_id}", self._on_error
        )
        self._commands.start()
        _thread(self._watch, f"millstream-driver-watch-{launch.stream_id}")

    def poll(self, data: bytes) -> bytes:
        """Answer a poll when there is something to say, and after a while anyhow."""
        poll: Poll = frames.loads(data)
        with self._changed:
            self._heard_s = monotonic_s()
            for message in self._end.on_poll(poll):
                self._take(message)
            self._changed.notify_all()
            self._changed.wait_for(
                lambda: self._is_over or self._end.must_answer(poll.number), HOLD_S
            )
            answer = self._end.answer(poll.number)
            is_old = self._end.is_old
            self._changed.notify_all()
        if is_old:
            self._retire("another one was started in its place")
        return frames.dumps(answer)

    def _take(self, message: Reply | Command) -> None:
        if isinstance(message, Reply):
            self._replies[message.number] = message
        else:
            # In their order, and not here: some take a while.
            self._commands.post(lambda: self._follow(message))

    def _follow(self, command: Command) -> None:
        if isinstance(command, Start):
            self._start()
            return
        supervisor = self._made()
        if supervisor is None:
            return
        match command:
            case Pause():
                supervisor.pause()
            case Resume():
                supervisor.resume()
            case UpdateRate(per_second):
                supervisor.update_rate(per_second)
            case Stop(message):
                supervisor.stop_soon(message)
            case Cut(number):
                self._follow_to_the_end(supervisor.blocks.cut, number, "cut")
            case Save(number):
                self._follow_to_the_end(
                    lambda: supervisor.save(_SAVE_S), number, "save"
                )

    def _follow_to_the_end(
        self, work: Callable[[], None], number: int, name: str
    ) -> None:
        def follow() -> None:
            work()
            self.say(Followed(number))

        _thread(follow, f"millstream-{name}-{self._launch.stream_id}")

    def _made(self) -> ReceiverSupervisor | None:
        """Return the supervisor, made with the first command; None if it can't be."""
        if self._supervisor is not None:
            return self._supervisor
        launch = self._launch
        try:
            receiver: Receiver[Any] = frames.loads_function(launch.receiver)
            driver = _Driver(self, launch)
            self._supervisor = ReceiverSupervisor(
                launch.stream_id,
                receiver,
                driver,
                driver,
                launch.settings,
                SystemClock(),
            )
        except Exception as error:
            self.say(Ended(f"it can't be made in a process of its own: {error!r}"))
        return self._supervisor

    def _start(self) -> None:
        supervisor = self._made()
        if supervisor is not None:
            name = f"millstream-receiver-{self._launch.stream_id}"
            _thread(lambda: self._run(supervisor), name)

    def _run(self, supervisor: ReceiverSupervisor) -> None:
        error = supervisor.run(until=lambda: False)
        self.say(Ended(None if error is None else f"{type(error).__name__}: {error}"))

    def call(self, deed: Register | Keep | Question) -> Any:
        """Let the driver do something; return what it replies.

        Raises:
            SparkError: The driver is gone, or has another host.
            Exception: What was raised there.
        """
        number = next(self._numbers)
        self.say(Call(number, deed))
        with self._changed:
            self._changed.wait_for(lambda: self._is_over or number in self._replies)
            reply = self._replies.pop(number, None)
        if reply is None:
            raise _nobody_listens()
        if reply.error is not None:
            raise frames.loads(reply.error)
        return reply.value

    def ask(self, topic: str, question: Any) -> Any:
        """Ask the driver for user code: see `driver_link.ask`."""
        return self.call(Question(topic, question))

    def say(self, message: Said) -> None:
        """Tell the driver, if it still listens.

        Waits while it hears too little of what was said before.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self._is_over or self._end.unheard_count < _UNHEARD_MAX
            )
            if not self._is_over:
                self._end.say(message)
                self._changed.notify_all()

    def _watch(self) -> None:
        """Give up when the driver is silent for long: nobody would store anything."""
        while not self._left.wait(HOLD_S):
            with self._changed:
                silent_s = monotonic_s() - self._heard_s
            if silent_s > _DRIVER_SILENCE_MAX_S:
                self._retire(f"the driver was silent for {silent_s:.0f} s")

    def _retire(self, reason: str) -> None:
        """Stop the receiver, whose blocks nobody takes any more, and end the process."""
        with self._changed:
            if self._is_over:
                return
            self._is_over = True
            self._changed.notify_all()
        self._left.set()
        _log.warning(
            "a receiver ends stream=%d reason=%s", self._launch.stream_id, reason
        )
        _thread(self._end_all, f"millstream-end-{self._launch.stream_id}")

    def _end_all(self) -> None:
        try:
            if self._supervisor is not None:
                self._supervisor.stop("Nobody takes its blocks")
        finally:
            self._leave()

    def _on_error(self, error: BaseException) -> None:
        self.say(Ended(f"a command failed: {error!r}"))


@dataclass(slots=True)
class _Driver:
    """Whom a supervisor tells, and who makes its blocks safe: the driver, far away."""

    host: ReceiverHost
    launch: Launch
    numbers: Iterator[int | str] = field(init=False)

    def __post_init__(self) -> None:
        epoch = self.launch.epoch
        self.numbers = (f"{epoch}-{number}" for number in itertools.count())

    def register(self, stream_id: int, name: str) -> bool:
        """Ask whether the receiver may start."""
        del stream_id
        where = self.launch.location or socket.gethostname()
        return bool(self.host.call(Register(name, where)))

    def deregister(self, stream_id: int, message: str, error: str) -> None:
        """Tell that the receiver stopped."""
        del stream_id
        self.host.say(Deregister(message, error))

    def report_error(self, stream_id: int, message: str, error: str) -> None:
        """Tell of an error of a receiver that goes on."""
        del stream_id
        self.host.say(ReportedError(message, error))

    def storing(self) -> AbstractContextManager[None]:
        """Do nothing: the driver waits for what it stores."""
        return nullcontext()

    def store(
        self, block_id: str, records: Sequence[Any] | Frozen, level: StorageLevel
    ) -> StoredBlock:
        """Make a block ready to travel, which it does with `add_block`, in one call."""
        frozen = records if isinstance(records, Frozen) else freeze(records)
        data = frozen_bytes.encode(frozen)
        return _Packed(block_id, frozen.count, 0, None, data, level)

    def add_block(self, stream_id: int, stored: StoredBlock, metadata: Any) -> bool:
        """Let the driver store and note a block.

        Raises:
            SparkError: It can't be stored, or the driver is gone.
        """
        del stream_id
        assert isinstance(stored, _Packed), "made by `store`"
        level, described = stored.level, frames.dumps(metadata)
        count = stored.record_count
        self.host.call(Keep(stored.block_id, stored.data, count, level, described))
        return True

    def discard(self, block_id: str) -> None:
        """Do nothing: the driver keeps nothing that it hasn't noted."""


@dataclass(frozen=True, slots=True)
class _Packed(StoredBlock):
    """A block that is ready to travel."""

    data: bytes = b""
    level: StorageLevel = StorageLevel.MEMORY_ONLY


@dataclass(frozen=True, slots=True)
class HostProgram:
    """What runs in a host's process: see `receiver_hosting.Program`."""

    launch: Launch

    def __call__(self, leave: Callable[[], None]) -> Serve:
        """Make the host; user code in this process asks the driver through it."""
        host = ReceiverHost(self.launch, leave)
        driver_link.connect(host.ask)
        return host.poll


def _nobody_listens() -> SparkError:
    return SparkError(
        "the driver takes nothing of this receiver any more",
        hint="don't acknowledge what this call was to store: another one receives it",
    )


def _thread(work: Callable[[], None], name: str) -> None:
    threading.Thread(target=work, name=name, daemon=True).start()
