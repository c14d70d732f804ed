"""Processes: worker processes on this machine, started when first needed.

Each is a fresh Python that imports Millstream, never a fork: a process with threads can't
be forked safely, and a script without an `if __name__ == "__main__"` guard would run again.
One that ends, whatever the reason, is replaced, and the task that it ran is told to be
lost.
"""

import itertools
import logging
import mmap
import os  # noqa: TID251  The working directory.
import signal
import subprocess
import sys
import threading
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from millstream.engine.base import driver_link, frames
from millstream.engine.base.errors import DurabilityError
from millstream.engine.columnar.blocks import Frozen
from millstream.engine.durable.frozen_bytes import Held
from millstream.engine.workers.payloads import (
    BlockFile,
    Directories,
    Filed,
    HeldFile,
    PayloadFiles,
    drop,
    new_directories,
    remove_directories,
    take,
)
from millstream.engine.workers.protocol import (
    Broken,
    Done,
    Ending,
    Lost,
    Missed,
    TaskOrder,
)
from millstream.engine.workers.queueing import TaskQueue, Ticket
from millstream.engine.workers.worker_main import BODIES_MAX

_log = logging.getLogger(__name__)

_EARLY_DEATHS_MAX = 3
_END_S = 2.0
_NO_LIMIT = 1 << 62
_LOOK_EVERY = 8
_WINDOWS_ERRORS = 0xC000_0000
"""There are no signals there: exit codes from here on tell of crashes."""
_START = "from millstream.engine.workers.worker_main import main; main()"


class WorkerProcesses(TaskQueue["_Worker"]):
    """Runs tasks on `count` processes. Thread-safe."""

    depth = 8  # A worker needn't wait for the driver between short tasks.

    def __init__(self, count: int, disk: Path) -> None:
        """Keep large payloads below `disk` where there is no room in shared memory.

        Processes start with the first task, or with `start`.
        """
        super().__init__()
        self.count = count
        self._disk = disk
        self._workers: list[_Worker] = []
        self._directories: Directories | None = None
        self._files: PayloadFiles | None = None
        self.memory_max_bytes = _NO_LIMIT
        """A process that has grown larger is replaced after its task."""
        self._early_deaths = 0
        self._known: weakref.WeakValueDictionary[Path, HeldFile] = (
            weakref.WeakValueDictionary()
        )
        """Blocks that something refers to."""

    def start(self) -> None:
        """Start the processes, if they aren't; returns before they are ready."""
        with self._lock:
            self._check_open()
            if self._directories is None:
                self._directories = new_directories(self._disk)
                self._files = PayloadFiles(self._directories)
            while len(self._workers) < self.count:
                self._workers.append(self._spawn(len(self._workers)))

    def submit(self, order: TaskOrder, on_ending: Callable[[Ending], None]) -> Ticket:
        """Run a task; `on_ending` hears how it ended, once, on a thread of ours.

        Raises:
            IllegalStateError: The pool is closed.
            OSError: No process can be started.
        """
        self.start()
        return super().submit(order, on_ending)

    def hold(self, block: Frozen) -> HeldFile:
        """Keep a block of the driver's, for tasks to read.

        Raises:
            IllegalStateError: The pool is closed.
            OSError: There is no room, or no process can be started.
        """
        self.start()
        assert self._files is not None, "made by the start"
        return self._held(self._files.hold(block), None)

    def _held(self, file: BlockFile, holder: int | None) -> HeldFile:
        held = HeldFile(file, holder)
        with self._lock:
            self._known[file.path] = held
        return held

    def copy(self, held: Held) -> None:
        """Do nothing: there is one machine, and files outlive processes."""

    def release(self) -> None:
        """Keep the processes for the next context of this process."""
        from millstream.engine.workers import pool  # noqa: PLC0415  It makes pools.

        pool.release(self)

    @property
    def pids(self) -> list[int]:
        """The ids of the processes that run now."""
        with self._lock:
            return [each.process.pid for each in self._workers]

    def close(self) -> None:
        """End all workers; tasks that run are lost."""
        with self._lock:
            if self._is_closed.is_set():
                return
            self._is_closed.set()
            workers, self._workers = self._workers, []
            self._waiting.clear()
        for each in workers:
            each.hang_up()
        for each in workers:
            each.end(_END_S)
        if self._directories is not None:
            remove_directories(self._directories)

    # Workers.

    def _spawn(self, number: int) -> "_Worker":
        assert self._directories is not None, "made before the first worker"
        return _Worker(number, self._directories, self._on_message, self._on_end)

    def _replace(self, worker: "_Worker") -> None:
        """Put a new process in the place of one that holds too much memory."""
        _log.warning(
            "worker replaced worker=%d reason=its memory is over the limit",
            worker.number,
        )
        self._workers[self._workers.index(worker)] = self._spawn(worker.number)
        worker.hang_up()

    def _executors(self) -> list["_Worker"]:
        return self._workers

    def _is_ready(self, executor: "_Worker") -> bool:
        return executor.is_ready

    def _begin(self, executor: "_Worker", tickets: Sequence[Ticket]) -> None:
        assert self._files is not None, "it is made before the first worker"
        with suppress(BrokenPipeError):  # It has ended, of which its reader hears.
            for ticket in tickets:
                executor.run(ticket, self._files)

    def _end(self, executor: "_Worker") -> None:
        executor.kill()

    def _is_freed(self, executor: "_Worker") -> None:
        is_here = executor in self._workers  # One that has ended is there no more.
        if is_here and executor.is_bloated(self.memory_max_bytes):
            self._replace(executor)

    def _settle_own(self, worker: "_Worker", number: int, ending: Ending) -> None:
        self._settle(worker, worker.taken.pop(number), ending)

    def _on_message(self, worker: "_Worker", message: Any) -> None:
        match message:
            case ("ready",):
                with self._lock:
                    self._early_deaths = 0
                    worker.is_ready = True
                self._dispatch()
            case ("done", number, payload, files):
                held = [self._held(each, worker.number) for each in files]
                self._settle_own(worker, number, Done(take(payload), held))
            case ("missed", number, places):
                self._settle_own(worker, number, Missed(places))
            case ("broken", number, reason):
                self._settle_own(worker, number, Broken(reason))
            case ("printed", line):
                print(f"[worker {worker.number}] {line}", flush=True)  # noqa: T201
            case ("ask", topic, question):
                with suppress(BrokenPipeError):  # It has ended, as its end will tell.
                    worker.send("answer", driver_link.answer_to(topic, question))
            case other:
                msg = f"a worker said {other!r:.100}"
                raise AssertionError(msg)

    def _on_end(self, worker: "_Worker", code: int) -> None:
        with self._lock:
            if self._is_closed.is_set() or worker not in self._workers:
                return
            has_failed_early = not worker.is_ready
            self._early_deaths += has_failed_early
            is_hopeless = self._early_deaths > _EARLY_DEATHS_MAX * self.count
            place = self._workers.index(worker)
            if is_hopeless:
                del self._workers[place]
                waiting, self._waiting = list(self._waiting), deque()
            else:
                self._workers[place] = self._spawn(worker.number)
                waiting = []
        _log.warning("worker ended worker=%d code=%d", worker.number, code)
        assert self._files is not None, "made before the first worker"
        self._files.remove_of(worker.process.pid, but=list(self._known))
        lost = worker.lost(code)
        # In the order in which it was told of them: it ran the first, others waited.
        for ticket in dict.fromkeys((*worker.taken.values(), *worker.tickets)):
            self._settle(worker, ticket, lost)
            reason = "its worker process ended before it began"
            lost = Lost(reason, is_own_doing=False)
        self._dispatch()
        reason = f"worker processes don't start: exit code {code}\n{worker.last_words}"
        for ticket in waiting:
            ticket.on_ending(Broken(reason))


class _Worker:
    """One process, and the two threads that listen to it."""

    def __init__(
        self,
        number: int,
        directories: Directories,
        on_message: Callable[["_Worker", Any], None],
        on_end: Callable[["_Worker", int], None],
    ) -> None:
        self.number = number
        self.is_ready = False
        self.tickets: list[Ticket] = []
        self.freed_s = 0.0
        self.taken: dict[int, Ticket] = {}
        """The tasks that it was told to run, by number, in that order."""
        self._numbers = itertools.count()
        self._handing = threading.Lock()
        self._on_message = on_message
        self._on_end = on_end
        self._sending = threading.Lock()
        self._known: OrderedDict[str, None] = OrderedDict()
        self._words: deque[str] = deque(maxlen=20)
        self._kills_before = out_of_memory_kills()
        self._kill_reason = ""
        self._tasks = 0
        self._environment = dict(os.environ)
        self.process = start_python(_START)
        self.where = f"worker process {self.process.pid}"
        self._threads = [
            threading.Thread(
                target=target, name=f"millstream-worker-{number}-{name}", daemon=True
            )
            for target, name in ((self._listen, "messages"), (self._echo, "errors"))
        ]
        for thread in self._threads:
            thread.start()
        self.send("hello", directories)

    @property
    def last_words(self) -> str:
        """The last lines of its standard error."""
        return "\n".join(self._words)

    def send(self, *message: Any) -> None:
        """Send a message.

        Raises:
            BrokenPipeError: The process has ended.
        """
        sink = self._pipe(self.process.stdin)
        try:
            with self._sending:
                frames.write_frame(sink, frames.dumps(message))
                sink.flush()
        except (BrokenPipeError, ValueError, OSError) as error:
            raise BrokenPipeError from error

    def run(self, ticket: Ticket, files: PayloadFiles) -> None:
        """Hand over a task, and its stage's body if that isn't known there."""
        order = ticket.order
        body = order.stage
        payload = files.put(order.given)
        reads = [_file_of(each) for each in order.reads]
        try:
            # Several threads hand over: a body goes before its tasks.
            with self._handing:
                number = next(self._numbers)
                self.taken[number] = ticket
                if len(self.taken) == 1:  # It takes as long as a short task.
                    self._tell_environment()
                if body.id not in self._known:
                    self._known[body.id] = None
                    if len(self._known) > BODIES_MAX:
                        self._known.popitem(last=False)
                    here = os.getcwd()  # noqa: PTH109
                    self.send("stage", body.id, body.pickled, list(sys.path), here)
                self.send("task", number, body.id, payload, reads)
        except BrokenPipeError:
            if isinstance(payload, Filed):
                drop(payload)
            raise

    def _tell_environment(self) -> None:
        """Let it have what the program has set in its environment since it was started.

        Credentials and addresses of storage are set there, in a notebook as late as that.
        """
        now = dict(os.environ)
        if now == self._environment:
            return
        gone = self._environment.keys() - now.keys()
        changed = dict(now.items() - self._environment.items())
        self._environment = now
        self.send("environment", changed, list(gone))

    def kill(self, reason: str = "") -> None:
        """End it at once; `reason` is told about the task that it runs."""
        self._kill_reason = reason
        self.process.kill()

    def is_bloated(self, memory_max_bytes: int) -> bool:
        """Say whether it holds more memory than it may; looks now and then."""
        self._tasks += 1
        if self._tasks % _LOOK_EVERY:
            return False
        self._kills_before = out_of_memory_kills()
        return _resident_bytes(self.process.pid) > memory_max_bytes

    def hang_up(self) -> None:
        """Let it end when it has nothing more to do."""
        with suppress(OSError):  # It has ended.
            self._pipe(self.process.stdin).close()

    def end(self, timeout_s: float) -> None:
        """Wait for its end, which comes soon."""
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(timeout_s)

    def lost(self, code: int) -> Lost:
        """Return what to tell about a task that ended with the worker."""
        if self._kill_reason:
            return Lost(self._kill_reason, is_own_doing=True)
        if code >= _WINDOWS_ERRORS:
            reason = f"its worker process crashed (0x{code:X})"
            return Lost(reason, is_own_doing=True)
        if code >= 0:
            reason = (
                f"its worker process ended with exit code {code}: code of the task, or of "
                "a library, called exit"
            )
            return Lost(reason, is_own_doing=True)
        name = signal_name(-code)
        if name == "SIGKILL" and out_of_memory_kills() > self._kills_before:
            reason = (
                f"its worker process was killed ({name}) because memory ran out (use "
                "more partitions, or fewer slots)"
            )
            return Lost(reason, is_own_doing=True)
        is_crash = name not in ("SIGKILL", "SIGTERM")
        reason = (
            f"its worker process {'crashed' if is_crash else 'was killed'} ({name})"
        )
        return Lost(reason, is_own_doing=is_crash)

    def _listen(self) -> None:
        # What is cut short: it was killed, of which its exit code tells.
        with self._pipe(self.process.stdout) as source, suppress(DurabilityError):
            for payload in frames.read_frames(source, "a worker's messages"):
                try:
                    self._on_message(self, frames.loads(payload))
                except Exception as error:
                    # Who waits for its task must hear of it.
                    _log.exception("worker's message failed worker=%d", self.number)
                    self.kill(
                        f"what its worker process said wasn't understood: {error!r}"
                    )
        code = self.process.wait()
        self.hang_up()
        self._on_end(self, code)

    def _echo(self) -> None:
        with self._pipe(self.process.stderr) as source:
            for raw in source:
                line = raw.decode("utf-8", "replace").rstrip("\n")
                self._words.append(line)
                print(f"[worker {self.number}] {line}", file=sys.stderr, flush=True)  # noqa: T201

    @staticmethod
    def _pipe(pipe: Any) -> BinaryIO:
        assert pipe is not None, "all three are pipes"
        piped: BinaryIO = pipe
        return piped


def _file_of(held: Held) -> BlockFile:
    assert isinstance(held, HeldFile), "of these workers"
    return held.file


def start_python(code: str) -> "subprocess.Popen[bytes]":
    """Start a fresh Python that runs `code`, with pipes to it; it finds this package."""
    package = str(Path(__file__).parents[3])
    paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.Popen(  # noqa: S603  Our own code.
        # Not from the working directory: the driver's modules may not be there, and what
        # is there may be called like one of Python's.
        [sys.executable, "-P", "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        # Ctrl-C at a terminal is for the driver, which ends its workers.
        start_new_session=True,
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
    )


def signal_name(number: int) -> str:
    """Return what a signal is called."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _resident_bytes(pid: int) -> int:
    """Return how much memory a process holds; 0 where the system doesn't tell."""
    try:
        words = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()
    except OSError:
        return 0
    return int(words[1]) * mmap.PAGESIZE


def out_of_memory_kills() -> int:
    """Return how many processes of this machine were killed for want of memory; Linux."""
    try:
        text = Path("/proc/vmstat").read_text(encoding="ascii")
    except OSError:
        return 0
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        if name == "oom_kill":
            return int(value)
    return 0
