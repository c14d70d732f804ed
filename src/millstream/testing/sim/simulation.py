"""Simulation: one seed, one stream with crashes, checked from its first batch to its last.

The fault model. The process may be killed at any turn of its threads, and the machine may
lose its power in the middle of any call of storage, which then keeps what `sim_storage`
says. Calls of storage may fail, single ones or all for a while. Tasks die in the middle and are tried again; output
operations fail before or after they have written, and so do steps of sinks; sources can't
be reached; receivers lose their connection, stop,
or break off. With workers, what becomes of those is told in `workers`. Kept partitions and shuffle outputs vanish. Any of it may be slow. What was
put into a directory by somebody else stays.

In between the process is stopped, gracefully or not, and started again. In the end it is
calm: what is left is processed, the process stops gracefully, and everything that `checks`
says must be true. What was promised then: no acknowledged record is lost or counted twice.
"""

import atexit
import gc
import hashlib
import importlib
import itertools
import logging
import pkgutil
import sys
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import (
    AbstractContextManager,
    contextmanager,
    nullcontext,
    suppress,
)
from dataclasses import dataclass, field
from functools import cache, partial
from random import Random
from typing import Any

import millstream
from millstream.context import SparkContext
from millstream.engine.base import clock as clocks
from millstream.engine.base import scratch
from millstream.engine.base import storage as storages
from millstream.streaming import StreamingContext
from millstream.testing.sim import primitives
from millstream.testing.sim.checks import BrokenPromiseError, check
from millstream.testing.sim.process import set_up
from millstream.testing.sim.program import DIRECTORY, Program
from millstream.testing.sim.runtime import ProcessDiedError, SimRuntime
from millstream.testing.sim.workers import (
    SimWorkers,
    WorkerTemper,
    installed_workers,
)
from millstream.testing.sim.world import Sender, Temper, World
from millstream.testing.sim_storage import SimStorage, SimulatedCrashError

_LIVES_MAX = 5
_CALM_BATCHES_MAX = 60
_ENDING_MAX = 100
_STARTS_MAX = 60
_CHECKPOINT = "sim:/checkpoint"
_START_MS = 1_000_000
_DEATHS = (ProcessDiedError, SimulatedCrashError)


@dataclass(slots=True)
class Outcome:
    """What came of one seed.

    Attributes:
        seed: The seed.
        error: What was wrong, or None.
        where: The traceback of that.
        digest: Stands for the whole run: equal seeds have equal ones.
        trace: What happened, a line each, with the time in ms.
        marks: How often each warning was logged and each fault struck.
    """

    seed: int
    error: str | None = None
    where: str = ""
    digest: str = ""
    trace: list[str] = field(default_factory=list)
    marks: Counter[str] = field(default_factory=Counter)
    lives: int = 0
    steps: int = 0


def simulate(
    seed: int, *, has_workers: bool = False, has_sinks: bool = False
) -> Outcome:
    """Run one seed; the outcome says what went wrong, if anything did.

    With workers, tasks run in simulated worker processes wherever they can; with sinks, the
    program reads by ranges, too, and commits what it reads.
    """
    return _Simulation(seed, has_workers=has_workers, has_sinks=has_sinks).run()


@dataclass(frozen=True, slots=True)
class _Faults:
    """What strikes one life of the process."""

    crash_at: int | None
    """The call of storage at which the power fails."""
    fail_at: frozenset[int]
    dies_after_steps: int | None
    temper: Temper
    ends_gracefully: bool

    @classmethod
    def draw(cls, random: Random) -> "_Faults":
        way = random.randrange(3)
        soon = round(2 ** random.uniform(0, 7))  # Early deaths are the odd ones.
        return cls(
            crash_at=soon if way == 0 else None,
            fail_at=_failing_calls(random),
            dies_after_steps=8 * soon if way == 1 else None,
            temper=Temper(
                task_dies=random.choice([0, 0, 0.05, 0.2]),
                output_fails=random.choice([0, 0, 0.1]),
                receiver_fails=random.choice([0, 0.05]),
                is_slow=random.choice([0, 0, 0.1, 0.5]),
            ),
            ends_gracefully=random.random() < 0.5,
        )


def _failing_calls(random: Random) -> frozenset[int]:
    """Return the calls of storage that fail: single ones, or all for a while."""
    way = random.randrange(4)
    if way == 0:
        begin = random.randint(1, 120)
        return frozenset(range(begin, begin + random.randint(3, 20)))
    if way == 1:
        return frozenset(n for n in range(1, 400) if random.random() < 0.02)
    return frozenset()


_CALM = _Faults(None, frozenset(), None, Temper(), ends_gracefully=True)


class _Simulation:
    """One seed."""

    def __init__(self, seed: int, *, has_workers: bool, has_sinks: bool) -> None:
        self._outcome = Outcome(seed)
        self._of_workers = Random(f"workers {seed}") if has_workers else None
        self._worker_temper = WorkerTemper()
        self._digest = hashlib.blake2b(digest_size=12)
        self._random = Random(f"millstream {seed}")
        self._runtime = SimRuntime(Random(f"turns {seed}"), _START_MS)
        self._runtime.note = self._turn
        self._disk = SimStorage(
            random=Random(f"disk {seed}"),
            now_ms=lambda: int(self._runtime.now_ms),
            on_call=self._on_call,
            on_crash=self._runtime.die,
        )
        self._runtime.on_death = lambda: self._disk.crash("the process is dead")
        world = Random(f"world {seed}")
        self._program = Program.draw(self._random, has_sinks=has_sinks)
        self._world = World(self._runtime, world, self._note, Sender(world))
        self._conf = self._draw_conf() | self._draw_conf_of_workers()
        self._file_numbers = itertools.count()

    def _draw_conf(self) -> dict[str, str]:
        random = self._random
        return {
            "spark.master": f"local[{random.randint(1, 3)},4]",
            "spark.app.name": "simulation",
            "spark.ui.enabled": "false",
            "spark.millstream.gc": "automatic",
            "spark.streaming.blockInterval": f"{random.choice([50, 100, 200])}ms",
            "spark.streaming.receiver.writeAheadLog.enable": "true",
            "spark.streaming.receiver.writeAheadLog.rollingIntervalSecs": "1",
            "spark.streaming.driver.writeAheadLog.rollingIntervalSecs": "1",
            "spark.streaming.receiver.writeAheadLog.closeFileAfterWrite": str(
                random.random() < 0.3
            ).lower(),
            "spark.streaming.driver.writeAheadLog.allowBatching": str(
                random.random() < 0.7
            ).lower(),
            "spark.streaming.sessionByKey.deltaChainThreshold": str(
                random.choice([2, 3, 20])
            ),
            "spark.streaming.receiverRestartDelay": "100",
            "spark.streaming.backpressure.enabled": str(random.random() < 0.3).lower(),
            "spark.streaming.concurrentJobs": str(self._program.concurrent_jobs),
        }

    def _draw_conf_of_workers(self) -> dict[str, str]:
        if self._of_workers is None:
            return {"spark.millstream.processes": "off"}
        speculates = self._of_workers.random() < 0.5
        return {
            "spark.millstream.processes": "always",
            "spark.speculation": str(speculates).lower(),
        }

    def _new_workers(self, count: int) -> SimWorkers:
        assert self._of_workers is not None, "who has no workers makes none"
        marks = self._outcome.marks
        return SimWorkers(
            self._runtime, self._of_workers, self._worker_temper, count, marks
        )

    # What happens, written down.

    def _turn(self, name: str) -> None:
        self._digest.update(name.encode())

    def _note(self, what: str) -> None:
        line = f"{self._runtime.now_ms:.0f} {what}"
        self._outcome.trace.append(line)
        self._digest.update(line.encode())

    def _on_call(self, path: str) -> None:
        del path
        runtime, random = self._runtime, self._world.random
        runtime.check()
        if random.random() < 0.1:
            runtime.sleep_until(runtime.now_ms + random.randint(1, 30))

    # Lives.

    def run(self) -> Outcome:
        outcome, runtime = self._outcome, self._runtime
        try:
            with installed(runtime), self._workers(), _marks(outcome.marks):
                for life in range(self._random.randint(1, _LIVES_MAX)):
                    self._live(life, _Faults.draw(self._random))
                self._live(outcome.lives, _CALM)
                check(self._program, self._world)
        except Exception as error:
            outcome.error = f"{type(error).__name__}: {error}"
            outcome.where = "".join(traceback.format_exception(error))
            self._note(f"broken: {outcome.error}")
            _forget_process()
        outcome.marks.update(self._world.happened)
        outcome.steps = runtime.steps
        outcome.digest = self._digest.hexdigest()
        return outcome

    def _workers(self) -> AbstractContextManager[None]:
        has_none = self._of_workers is None
        return nullcontext() if has_none else installed_workers(self._new_workers)

    def _live(self, life: int, faults: _Faults) -> None:
        """Run the process from a start to its end or death."""
        if self._of_workers is not None:
            is_calm = faults is _CALM
            self._worker_temper = (
                WorkerTemper() if is_calm else WorkerTemper.draw(self._of_workers)
            )
        runtime, world = self._runtime, self._world
        self._outcome.lives = life + 1
        world.life, world.temper = life, faults.temper
        self._disk = self._disk.after_crash(
            crash_at=faults.crash_at, fail_at=faults.fail_at, loses_power=False
        )
        storages.mount("sim", self._disk)
        if faults.dies_after_steps is not None:
            runtime.dies_at_step = runtime.steps + faults.dies_after_steps
        self._note(f"life {life} begins")
        try:
            self._process(faults, is_calm=faults is _CALM)
            _forget_process()
            self._note("stopped")
        except _DEATHS as death:
            self._note(f"died: {death}")
            self._outcome.marks["died"] += 1
            self._bury()
        if runtime.failures:
            name, error = runtime.failures[0]
            msg = f"thread {name} ended with {error!r}"
            raise BrokenPromiseError(msg) from error

    def _bury(self) -> None:
        """Let nothing be left of a dead process but what is on disk."""
        loses_power = self._world.random.random() < 0.5
        self._runtime.reap()
        _forget_process()
        self._disk = self._disk.after_crash(loses_power=loses_power)
        down_ms = self._world.random.randrange(6 * self._program.batch_ms)
        self._runtime.now_ms += down_ms

    def _process(self, faults: _Faults, *, is_calm: bool) -> None:
        ssc = self._start()
        batch_ms = self._program.batch_ms
        if is_calm:
            self._run_until_done(ssc)
        else:
            for _ in range(self._random.randint(1, 6)):
                self._sleep(1)  # A file as old as the stream is an old one.
                self._outside(ssc)
                self._sleep(batch_ms * self._random.choice([0.3, 1, 1.5]))
        self._note(f"stops, gracefully: {faults.ends_gracefully}")
        ssc.stop(stopSparkContext=True, stopGraceFully=faults.ends_gracefully)
        self._await_threads()
        self._runtime.forget_process()

    def _await_threads(self) -> None:
        """Let receivers' own threads and slow user code see to their ends, soon."""
        for _ in range(_ENDING_MAX):
            if not self._runtime.alive():
                return
            self._sleep(50)
        left = "\n  ".join(self._runtime.alive())
        msg = f"threads are left after a stop:\n  {left}"
        raise BrokenPromiseError(msg)

    def _start(self) -> StreamingContext:
        """Start the process; when storage fails it, as its keeper would, again."""
        for tries in itertools.count(1):
            try:
                # An upgrade to the very same program, now and then.
                is_upgrade = self._random.random() < 0.2
                ssc = StreamingContext.getOrCreate(
                    _CHECKPOINT,
                    partial(set_up, self._conf, self._program, self._world),
                    upgrade="apply" if is_upgrade else None,
                )
                ssc.start()
                self._outcome.marks["upgraded"] += is_upgrade and tries == 1
            except (OSError, millstream.errors.PySparkException) as error:
                self._runtime.check()
                if tries == _STARTS_MAX:
                    msg = f"the process can't be started any more: {error}"
                    raise BrokenPromiseError(msg) from error
                self._note(f"start failed: {type(error).__name__}")
                self._outcome.marks["start failed"] += 1
                active = SparkContext._active_spark_context
                if active is not None:
                    active.stop()
                self._sleep(100)
            else:
                return ssc
        msg = "it starts, or it is given up"
        raise AssertionError(msg)

    def _sleep(self, ms: float) -> None:
        self._runtime.sleep_until(self._runtime.now_ms + ms)

    def _outside(self, ssc: StreamingContext) -> None:
        """Let the world send, put files, and take kept partitions away."""
        random, world = self._world.random, self._world
        if self._program.receiver is not None:
            world.sender.produce(random.randrange(12), keys=4)
        if self._program.reads_files and random.random() < 0.7:
            number = next(self._file_numbers)
            lines = [f"{random.randrange(4)},{number * 100 + i}" for i in range(3)]
            path = f"{DIRECTORY.removeprefix('sim:')}/file-{number}"
            self._disk.put_file(path, "".join(f"{x}\n" for x in lines).encode())
            world.lines_put += lines
            self._note(f"file {number}")
        if self._program.has_sinks:
            world.numbers += random.randrange(9)
        if random.random() < 0.3:
            # Kept partitions, shuffle outputs, received blocks: all can be had again.
            blocks = ssc.sparkContext._driver.blocks
            gone = [each for each in blocks.ids() if random.random() < 0.5]
            blocks.remove_all(gone)
            world.happened["blocks lost"] += bool(gone)

    def _run_until_done(self, ssc: StreamingContext) -> None:
        scheduler = ssc._scheduler
        assert scheduler is not None, "a started context has a scheduler"
        self._sleep(1)
        self._outside(ssc)
        for _ in range(_CALM_BATCHES_MAX):
            self._sleep(self._program.batch_ms)
            if self._world.sender.is_done and not scheduler.pending_ms:
                self._sleep(3 * self._program.batch_ms)
                return
        msg = f"batches {scheduler.pending_ms} or records still wait in calm times"
        raise BrokenPromiseError(msg)


def _forget_process() -> None:
    """Take back what a process leaves behind in this one, which goes on."""
    sc, ssc = SparkContext._active_spark_context, StreamingContext._activeContext
    SparkContext._active_spark_context = None
    StreamingContext._activeContext = None
    if sc is not None:
        scratch.remove_directory(sc._driver.local_dir)
    if ssc is not None:
        atexit.unregister(ssc._stop_at_exit)


@contextmanager
def _marks(marks: Counter[str]) -> Iterator[None]:
    """Count what the engine logs, by its text, and print none of it."""

    class Counting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.levelno >= logging.WARNING:
                marks[str(record.msg)] += 1

    logger, handler = logging.getLogger("millstream"), Counting()
    propagates, level = logger.propagate, logger.level
    logger.propagate = False
    logger.setLevel(logging.WARNING)
    logger.addHandler(handler)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagates
        logger.setLevel(level)


# Putting the simulated threads, queues and clock where the engine looks for them.


@cache
def _import_all() -> None:
    """Import all modules of the engine: once, for finding them takes long."""
    for found in pkgutil.walk_packages(
        millstream.engine.__path__, "millstream.engine."
    ):
        if not found.name.endswith("remote_storage"):  # Needs extras.
            importlib.import_module(found.name)


def _modules() -> list[Any]:
    """Return the engine's modules and the faces, all imported."""
    _import_all()
    return [
        module
        for name, module in sorted(sys.modules.items())
        if name.startswith("millstream.") and not name.startswith("millstream.testing")
    ]


_LOCKS: Sequence[tuple[type, str]] = (
    (SparkContext, "_lock"),
    (StreamingContext, "_activation"),
)


@contextmanager
def installed(runtime: SimRuntime) -> Iterator[None]:
    """Run the engine on `runtime`: its threads, its queues, its time.

    Python's collector is off: it would call finalizers at moments of its own choice.
    """
    threads, queues = primitives.SimThreading(runtime), primitives.SimQueues(runtime)
    stand_ins = {
        "threading": (sys.modules["threading"], threads),
        "queue": (sys.modules["queue"], queues),
        "monotonic_s": (clocks.monotonic_s, lambda: runtime.now_ms / 1000),
        "SystemClock": (clocks.SystemClock, lambda: primitives.SimClock(runtime)),
    }
    replaced: list[tuple[Any, str, Any]] = [
        (owner, name, getattr(owner, name)) for owner, name in _LOCKS
    ]
    for module in _modules():
        for name, (real, stand_in) in stand_ins.items():
            if getattr(module, name, None) is real:
                replaced.append((module, name, real))
                setattr(module, name, stand_in)
    for owner, name in _LOCKS:
        setattr(owner, name, threads.RLock())
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    if not gc.get_freeze_count():
        # What is there already isn't looked at again with every life and every seed: of a
        # test run with all its libraries that takes longer than a seed.
        gc.freeze()
        atexit.register(gc.unfreeze)
    try:
        yield
    finally:
        for owner, name, real in replaced:
            setattr(owner, name, real)
        with suppress(Exception):
            runtime.die("the simulation is over")
            runtime.reap()
        if was_enabled:
            gc.enable()
