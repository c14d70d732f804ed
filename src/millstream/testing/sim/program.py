"""Program: the streaming program of a simulation, drawn from its seed.

Written against the public API, as a user would; only its functions ask the world whether
they fail.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Any

from millstream.engine.ingest.block_generator import BlockGeneratorListener
from millstream.engine.ingest.receiver import Receiver
from millstream.streaming.context import StreamingContext
from millstream.streaming.dstream import DStream
from millstream.streaming.state import State, StateSpec
from millstream.testing.sim.sinks import SimDirect, SimSink
from millstream.testing.sim.world import ConnectionLostError, Record, World, find_world

DIRECTORY = "sim:/in"
OPERATIONS = (
    "update",
    "initial",
    "forgetting",
    "mapped",
    "snapshots",
    "idle",
    "window",
    "sliding",
    "inverse",
    "counts",
)
WINDOWS = {"window": (3, 1), "sliding": (4, 2), "inverse": (6, 1)}
"""Window operations with their durations and slides, in batches."""
INITIAL = {0: 5, 7: 1}
FORGOTTEN_AT = 4
IDLE_BATCHES = 3


@dataclass(frozen=True, slots=True)
class Program:
    """What a program reads and does."""

    receiver: str | None
    """How the receiver stores: "blocks", "generator", "single"; None: there is none."""
    reads_files: bool
    operations: tuple[str, ...]
    batch_ms: int
    partitions: int
    concurrent_jobs: int
    """With several at a time batches end in any order."""
    has_sinks: bool = False
    """Whether it reads by ranges, too, and commits what it reads to sinks."""

    @classmethod
    def draw(cls, random: Random, *, has_sinks: bool = False) -> "Program":
        """Return a random program."""
        receiver = random.choice(["blocks", "blocks", "generator", "single", None])
        return cls(
            receiver=receiver,
            reads_files=receiver is None or random.random() < 0.4,
            operations=tuple(random.sample(OPERATIONS, random.randint(1, 3))),
            batch_ms=random.choice([200, 500, 1000]),
            partitions=random.randint(1, 3),
            concurrent_jobs=random.choice([1, 1, 1, 2]),
            has_sinks=has_sinks,
        )

    @property
    def sources(self) -> tuple[str, ...]:
        """What it calls the streams that it reads."""
        there = {
            "received": self.receiver is not None,
            "files": self.reads_files,
            "direct": self.has_sinks,
        }
        return tuple(name for name, is_there in there.items() if is_there)

    def build(self, ssc: StreamingContext, world: World) -> None:
        """Make the program's streams and outputs."""
        number = world.number
        streams: list[DStream[Any]] = []
        if self.receiver is not None:
            received = ssc.receiverStream(SimReceiver(number, self.receiver))
            _write(received, "received", number)
            streams.append(received)
        if self.reads_files:
            lines = ssc.textFileStream(DIRECTORY).map(_parse)
            _write(lines, "files", number)
            streams.append(lines)
        if self.has_sinks:
            direct = ssc.directStream(SimDirect(number, self.partitions))
            _write(direct, "direct", number)
            streams.append(direct)
            for name, stream in zip(self.sources, streams, strict=True):
                stream.writeTo(SimSink(number), name=name)
        records = ssc.union(*streams)
        pairs = records.mapPartitions(_Dying(number)).map(_pair)
        for operation in self.operations:
            self._add(operation, pairs, number)

    def _add(self, operation: str, pairs: "DStream[Any]", number: int) -> None:
        seconds, n = self.batch_ms / 1000, self.partitions
        made: DStream[Any]
        match operation:
            case "update":
                made = pairs.updateStateByKey(_add_up, n).named("update")
            case "initial":
                made = pairs.updateStateByKey(_add_up, n, list(INITIAL.items()))
                made = made.named("initial")
            case "forgetting":
                made = pairs.updateStateByKey(_forget_at, n).named("forgetting")
            case "mapped":
                made = pairs.mapWithState(StateSpec.function(_count).numPartitions(n))
                made = made.named("mapped")
            case "snapshots":
                spec = StateSpec.function(_count).numPartitions(n)
                mapped = pairs.mapWithState(spec)
                mapped.named("kept")
                made = mapped.stateSnapshots()
            case "idle":
                spec = StateSpec.function(_last).numPartitions(n)
                spec = spec.timeout(IDLE_BATCHES * seconds, exact=True)
                made = pairs.mapWithState(spec).named("idle")
            case "counts":
                made = pairs.reduceByKey(_sum, n)
            case _:
                window, slide = WINDOWS[operation]
                made = pairs.reduceByKeyAndWindow(
                    _sum,
                    _minus if operation == "inverse" else None,
                    window * seconds,
                    slide * seconds,
                    n,
                    _is_positive if operation == "inverse" else None,
                )
        made = made.mapPartitions(_Dying(number))
        _write(made, operation, number)


def _parse(line: str) -> Record:
    key, number = line.split(",")
    return Record(int(key), int(number), 0)


def _pair(record: Record) -> tuple[int, int]:
    return record.key, 1


def _sum(a: int, b: int) -> int:
    return a + b


def _minus(a: int, b: int) -> int:
    return a - b


def _is_positive(pair: tuple[int, int]) -> bool:
    return pair[1] > 0


def _add_up(values: list[int], old: int | None) -> int:
    return sum(values) + (old or 0)


def _forget_at(values: list[int], old: int | None) -> int | None:
    total = sum(values) + (old or 0)
    return None if total >= FORGOTTEN_AT else total


def _count(key: int, value: int | None, state: State) -> tuple[int, int]:
    total = (state.getOption() or 0) + (value or 0)
    state.update(total)
    return key, total


def _last(key: int, value: int | None, state: State) -> tuple[int, int]:
    if state.isTimingOut():
        return key, -state.get()
    total = (state.getOption() or 0) + (value or 0)
    state.update(total)
    return key, total


class _Dying:
    """A function for mapPartitions in which a task may die, before its end or there."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __call__(self, rows: Iterator[Any]) -> Iterator[Any]:
        world = find_world(self._number)
        world.in_task()
        yield from rows
        world.in_task()


def _write(stream: "DStream[Any]", name: str, number: int) -> None:
    stream._output(_Write(name, number), name)


class _Write:
    """An output operation that hands its rows to the world."""

    def __init__(self, name: str, number: int) -> None:
        self._name = name
        self._number = number

    def __call__(self, time_ms: int, rdd: Any) -> None:
        find_world(self._number).write(self._name, time_ms, rdd.collect())


class SimReceiver(Receiver[Record]):
    """Takes records from the world's sender, and acknowledges what is stored."""

    def __init__(self, world: int, how: str) -> None:
        """Store `how` says: "blocks", "generator" or "single"."""
        super().__init__()
        self._world = world
        self._how = how
        self._life = 0

    def onStart(self) -> None:
        """Receive in a thread."""
        self._life += 1
        life = self._life
        connection = find_world(self._world).sender.connect()
        storing = self._storing(connection)
        self._run_in_thread(
            lambda: self._receive(connection, storing, life),
            f"sim-receiver-{self.streamId}",
        )

    def onStop(self) -> None:
        """Do nothing: the thread asks."""

    def _storing(self, connection: int) -> Callable[[list[Record]], None]:
        sender = find_world(self._world).sender
        if self._how == "generator":
            generator = self.createBlockGenerator(_Acknowledging(self, connection))
            generator.start()
            return lambda taken: generator.addMultipleDataWithCallback(taken, None)

        def store(taken: list[Record]) -> None:
            if self._how == "blocks":
                self.store(taken)
            else:
                for record in taken:
                    self.store(record)
            sender.acknowledge(connection, taken)

        return store

    def _receive(
        self, connection: int, store: Callable[[list[Record]], None], life: int
    ) -> None:
        world = find_world(self._world)
        while not self.isStopped() and self._life == life:
            try:
                if world.random.random() < world.temper.receiver_fails:
                    world.happened["receiver failed"] += 1
                    self._fail(world)
                    return
                taken = world.sender.take(connection, world.random.randint(1, 4))
                if taken:
                    store(taken)
            except ConnectionLostError:
                return
            except Exception as error:
                # Stopped meanwhile, or storing failed: what was taken comes again.
                if not self.isStopped():
                    self.restart("storing failed", error)
                return
            world.pause(1.0, 120)

    def _fail(self, world: World) -> None:
        error = ValueError("the connection broke")
        way = world.random.randrange(3)
        if way == 0:
            self.restart("Error receiving data", error)
        elif way == 1:
            self.stop("Error receiving data", error)
        else:
            self.reportError("Error receiving data", error)
            self.restart("Error receiving data", error, 50)


class _Acknowledging(BlockGeneratorListener):
    """Notes which records are in a block, and acknowledges them when it is stored."""

    def __init__(self, receiver: SimReceiver, connection: int) -> None:
        self._receiver = receiver
        self._connection = connection
        self._noted: list[Record] = []
        self._of_block: dict[str, list[Record]] = {}

    def onAddData(self, data: Any, metadata: Any) -> None:  # noqa: ARG002
        self._noted += data

    def onGenerateBlock(self, blockId: str) -> None:
        self._of_block[blockId], self._noted = self._noted, []

    def onPushBlock(self, blockId: str, records: list[Any]) -> None:
        self._receiver.store(records)
        sender = find_world(self._receiver._world).sender
        with suppress(ConnectionLostError):  # Then they come again, as other records.
            sender.acknowledge(self._connection, self._of_block.pop(blockId))
