"""Tests of engine/workers/processes.py: tasks run elsewhere, and ends are told apart."""

import os
import queue
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from millstream.engine.base import driver_link, frames
from millstream.engine.base.errors import IllegalStateError
from millstream.engine.workers import processes
from millstream.engine.workers.processes import WorkerProcesses
from millstream.engine.workers.protocol import (
    Broken,
    Done,
    Ending,
    Lost,
    StageBody,
    TaskOrder,
)

SOON_S = 30


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[WorkerProcesses]:
    """Return two worker processes."""
    made = WorkerProcesses(2, tmp_path)
    yield made
    made.close()


class Runs:
    """Runs functions in a pool and hears how they end."""

    def __init__(self, pool: WorkerProcesses) -> None:
        self.pool = pool
        self.endings: queue.SimpleQueue[tuple[int, Ending]] = queue.SimpleQueue()
        self.count = 0

    def start(self, body: Callable[[bytes], bytes], given: bytes = b"") -> int:
        """Start one task and return its number."""
        number = self.count
        self.count += 1
        pickled = frames.dumps_function(lambda given, _inside: body(given))
        stage = StageBody(f"stage-{number}", pickled)
        order = TaskOrder(stage, given, "a test")
        self.ticket = self.pool.submit(
            order, lambda ending: self.endings.put((number, ending))
        )
        return number

    def ending(self) -> Ending:
        """Return how the next task ended."""
        return self.endings.get(timeout=SOON_S)[1]

    def value(self) -> bytes:
        """Return what the next task returned."""
        ending = self.ending()
        assert isinstance(ending, Done), ending
        return bytes(ending.value)


def test_a_task_runs_in_another_process(pool: WorkerProcesses) -> None:
    """Small and large things go there and come back."""
    runs = Runs(pool)
    large = os.urandom(1_000_000)

    runs.start(lambda given: bytes(given) + b"!", b"small")
    assert runs.value() == b"small!"
    runs.start(lambda given: bytes(given)[::-1], large)
    assert runs.value() == large[::-1]
    runs.start(lambda _given: str(os.getpid()).encode())
    assert int(runs.value()) in pool.pids


def test_more_tasks_than_processes_all_run(pool: WorkerProcesses) -> None:
    """Each once."""
    runs = Runs(pool)
    for number in range(50):
        runs.start(lambda given: bytes(given), str(number).encode())

    assert sorted(int(runs.value()) for _ in range(50)) == list(range(50))


def test_a_body_that_raises_is_told_with_its_traceback(pool: WorkerProcesses) -> None:
    """And so is one that can't be loaded; the worker lives on."""
    runs = Runs(pool)

    def raising(_given: bytes) -> bytes:
        msg = "on purpose"
        raise ValueError(msg)

    runs.start(raising)
    broken = runs.ending()
    assert isinstance(broken, Broken)
    assert "ValueError: on purpose" in broken.reason
    pool.submit(
        TaskOrder(StageBody("odd", b"no pickle"), b"", "a test"),
        lambda ending: runs.endings.put((-1, ending)),
    )
    odd = runs.ending()
    assert isinstance(odd, Broken)
    assert "UnpicklingError" in odd.reason


def test_a_process_that_exits_loses_its_task_and_is_replaced(
    pool: WorkerProcesses,
) -> None:
    """By the task's own doing, which is told with the exit code."""
    runs = Runs(pool)

    def exiting(_given: bytes) -> bytes:
        os._exit(7)

    runs.start(exiting)
    lost = runs.ending()
    for _ in range(4):
        runs.start(lambda _given: str(os.getpid()).encode())

    assert isinstance(lost, Lost)
    assert lost.is_own_doing
    assert "exit code 7" in lost.reason
    assert {int(runs.value()) for _ in range(4)} <= set(pool.pids)


def test_a_killed_process_loses_its_task_and_is_replaced(pool: WorkerProcesses) -> None:
    """Not by the task's doing."""
    runs = Runs(pool)

    def killed(_given: bytes) -> bytes:
        os.kill(os.getpid(), signal.SIGKILL)
        return b"never"

    runs.start(killed)
    lost = runs.ending()
    runs.start(lambda _given: b"goes on")

    assert isinstance(lost, Lost)
    assert not lost.is_own_doing
    assert "SIGKILL" in lost.reason
    assert runs.value() == b"goes on"


def test_a_task_that_never_ends_can_be_cancelled(pool: WorkerProcesses) -> None:
    """With its worker; it reports no more, and others run."""
    runs = Runs(pool)

    def endless(_given: bytes) -> bytes:
        while True:
            pass

    runs.start(endless)
    ticket = runs.ticket
    runs.start(lambda _given: b"beside it")
    assert runs.value() == b"beside it"
    ticket.cancel()
    for _ in range(2):
        runs.start(lambda _given: b"afterwards")

    assert [runs.value(), runs.value()] == [b"afterwards", b"afterwards"]
    assert runs.endings.empty()


def test_a_waiting_task_can_be_cancelled(pool: WorkerProcesses, tmp_path: Path) -> None:
    """It never runs; those that were before and behind it do."""
    runs = Runs(pool)
    gate = str(tmp_path / "open")

    def held(_given: bytes) -> bytes:
        import pathlib
        import time

        while not pathlib.Path(gate).exists():
            time.sleep(0.01)
        return b"held"

    for _ in range(2):
        runs.start(held)
    runs.start(lambda _given: b"cancelled")
    cancelled = runs.ticket
    runs.start(lambda _given: b"dropped")
    dropped = runs.ticket
    runs.start(lambda _given: b"last")
    cancelled.cancel()
    dropped.drop()
    Path(gate).touch()

    assert sorted(runs.value() for _ in range(3)) == [b"held", b"held", b"last"]
    pool.close()
    assert runs.endings.empty()


def test_what_a_task_prints_arrives_with_the_workers_number(
    pool: WorkerProcesses, capfd: pytest.CaptureFixture[str]
) -> None:
    """From Python's standard output; its errors, and what C code prints, go to stderr."""
    runs = Runs(pool)

    def talking(_given: bytes) -> bytes:
        import sys

        print("one\ntwo")
        print("to stderr", file=sys.stderr, flush=True)
        return b""

    runs.start(talking)
    runs.value()
    pool.close()

    out, err = capfd.readouterr()
    assert [line.split("] ")[1] for line in out.splitlines()] == ["one", "two"]
    assert out.startswith("[worker ")
    assert "to stderr" in err


def test_a_task_can_ask_its_driver(pool: WorkerProcesses) -> None:
    """Which is how a broadcast value gets there."""
    runs = Runs(pool)
    driver_link.answer("double", lambda number: number * 2)

    def asking(given: bytes) -> bytes:
        from millstream.engine.base import driver_link

        return str(driver_link.ask("double", int(bytes(given)))).encode()

    runs.start(asking, b"21")

    assert runs.value() == b"42"


def test_user_code_cannot_read_or_write_the_channel(pool: WorkerProcesses) -> None:
    """Standard input is empty, and what goes to file descriptor 1 disturbs nothing."""
    runs = Runs(pool)

    def meddling(_given: bytes) -> bytes:
        import sys

        os.write(1, b"raw bytes\n")
        return f"{sys.stdin.read()!r} {os.read(0, 10)!r}".encode()

    runs.start(meddling)

    assert runs.value() == b"'' b''"


def test_a_closed_pool_takes_no_tasks(tmp_path: Path) -> None:
    """And its processes and files are gone."""
    pool = WorkerProcesses(1, tmp_path)
    runs = Runs(pool)
    runs.start(lambda _given: str(os.getpid()).encode())
    pid = int(runs.value())
    pool.close()

    with pytest.raises(IllegalStateError):
        runs.start(lambda _given: b"")
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize(
    ("number", "is_for_memory"), [(signal.SIGKILL, True), (signal.SIGSEGV, False)]
)
def test_only_a_kill_for_want_of_memory_is_told_as_one(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
    is_for_memory: bool,
) -> None:
    """The system has counted one more, and it was a SIGKILL."""
    count = [3]
    monkeypatch.setattr(processes, "out_of_memory_kills", lambda: count[0])
    pool = WorkerProcesses(1, tmp_path)
    runs = Runs(pool)

    def ending(_given: bytes) -> bytes:
        os.kill(os.getpid(), number)
        return b"never"

    runs.start(lambda _given: b"ready")
    assert runs.value() == b"ready"
    count[0] += 1
    runs.start(ending)
    lost = runs.ending()
    pool.close()

    assert isinstance(lost, Lost)
    assert lost.is_own_doing
    assert ("because memory ran out" in lost.reason) == is_for_memory
    assert number.name in lost.reason


def test_a_kill_is_not_blamed_on_one_of_another_process_long_ago(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The count is taken anew while a worker runs tasks."""
    count = [3]
    monkeypatch.setattr(processes, "out_of_memory_kills", lambda: count[0])
    pool = WorkerProcesses(1, tmp_path)
    runs = Runs(pool)

    def killed(_given: bytes) -> bytes:
        os.kill(os.getpid(), signal.SIGKILL)
        return b"never"

    runs.start(lambda _given: b"ready")
    assert runs.value() == b"ready"
    count[0] += 1
    for _ in range(processes._LOOK_EVERY):
        runs.start(lambda _given: b"done")
        assert runs.value() == b"done"
    runs.start(killed)
    lost = runs.ending()
    pool.close()

    assert isinstance(lost, Lost)
    assert not lost.is_own_doing


def test_workers_start_whatever_lies_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file may be called like a module of Python's."""
    for name in ("queue", "threading", "millstream"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(9)\n", "utf-8")
    monkeypatch.chdir(tmp_path)
    pool = WorkerProcesses(1, tmp_path)
    runs = Runs(pool)
    runs.start(lambda _given: str(Path.cwd()).encode())
    found = runs.value()
    pool.close()

    assert Path(found.decode()) == tmp_path


def test_a_crash_on_windows_is_told_by_its_code(pool: WorkerProcesses) -> None:
    """There an exit code is all that there is; small ones are those of `exit`."""
    pool.start()
    worker = pool._workers[0]

    assert worker.lost(0xC0000005).reason == "its worker process crashed (0xC0000005)"
    assert "exit code 3" in worker.lost(3).reason


def test_no_limit_of_memory_where_the_system_tells_nothing(
    pool: WorkerProcesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is no /proc nobody is replaced, and no kill is taken for the system's."""
    monkeypatch.setattr(
        processes, "Path", lambda path: Path("/there is none") / path[1:]
    )

    assert processes._resident_bytes(os.getpid()) == 0
    assert processes.out_of_memory_kills() == 0
